"""Whether a machine of a cluster has what a task was planned with: Python, packages, code and prepared data."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
from collections.abc import Iterator, Mapping

from bench import catalog, losses
from bench.attempts import Task
from bench.errors import BenchError, DataError, StudyError
from bench.job import Job
from bench.prepare import reopen


def python() -> str:
    """The version of Python that decides what runs alike: `3.12`."""
    return ".".join(platform.python_version_tuple()[:2])


def name() -> str:
    """What this machine is called: in SLURM's tables, where that started us, else by itself."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def check(job: Job, task: Task, wanted: str) -> None:
    """Refuse this machine for a task unless all that was planned with is here too; loads no torch.

    Args:
        wanted: `python()` where the study was planned.
    Raises:
        StudyError: If Python, a package or the code of a network or a loss is another one here.
        DataError: If the prepared data are not here, or are others.
    """
    node = name()
    for what, planned, found in _versions(task, wanted):
        if planned != found:
            fix = "" if what == "python" else f" (pip install {what}=={planned})"
            raise StudyError(
                f"The node {node} has {what} {found}; the study was planned with {planned}. Give every node the same "
                f"environment: one on a shared disk, or the same versions everywhere{fix}."
            )
    for cell, ingredients in task.cells:
        if cell.loss is not None:
            found = catalog.code_hash("architectures", cell.architecture), losses.code_hash(cell.loss)
            if found != (ingredients["code"], ingredients.get("loss_code", "")):
                raise StudyError(
                    f"The node {node} has other code of {cell.architecture} or {cell.loss} than the study was planned "
                    "with. Let the nodes see the same folder, and change nothing in it while a study runs."
                )
    _check_data(job, task, node)


def _versions(task: Task, wanted: str) -> Iterator[tuple[str, str, str]]:
    """What has a version, the one that was planned with, and the one that is here."""
    yield "python", wanted, python()
    packages: dict[str, str] = {}
    for _, ingredients in task.cells:
        versions = ingredients["versions"]
        packages |= versions if isinstance(versions, Mapping) else {}
    for name, planned in packages.items():
        try:
            yield name, planned, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, planned, "not installed"


def _check_data(job: Job, task: Task, node: str) -> None:
    seen: set[tuple[str, int]] = set()
    for cell, ingredients in task.cells:
        if (cell.dataset, cell.fold) in seen:
            continue
        seen.add((cell.dataset, cell.fold))
        try:
            prepared = reopen(cell.dataset, job.place.data_home)
        except BenchError as error:
            raise DataError(
                f"The node {node} cannot see the prepared data of {cell.dataset} in {job.place.data_home}. Give a "
                "--data-home that every node sees, or prepare the data there."
            ) from error
        if prepared.hash(cell.fold, job.study.folds, job.study.ratios) != ingredients["data"]:
            raise DataError(
                f"The node {node} has other prepared data of {cell.dataset} in {job.place.data_home} than the study "
                "was planned with. Give a --data-home that every node sees, or prepare the same data there."
            )
