"""Whether a machine of a cluster is like the one a study was planned on: Python, packages, code and prepared data."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping

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
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of packages that are installed here."""
    found = {"Python": python()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def planned(tasks: Iterable[Task], python: str) -> dict[str, str]:
    """The versions that tasks were planned with."""
    found = {"Python": python}
    for task in tasks:
        for _, ingredients in task.cells:
            packages = ingredients["versions"]
            found |= packages if isinstance(packages, Mapping) else {}
    return found


def differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """In what this machine differs, as a sentence about the first package that does; None if in nothing.

    Args:
        theirs: The versions here, by package.
        ours: Those that the study was planned with; what is not among them does not matter.
    """
    for package, version in ours.items():
        if theirs.get(package) != version:
            there = f"{package} {theirs[package]}" if package in theirs else f"no {package}"
            fix = "" if package == "Python" else f" (pip install {package}=={version})"
            return (
                f"The node {name()} has {there}, and the study was planned with {version}: results of both cannot "
                f"stand in one leaderboard. Give every node the same versions{fix}, or take this one out."
            )
    return None


def other_code(task: Task) -> str | None:
    """Whether the code of a network or a loss here is not the one that the fingerprints name, as a sentence."""
    for cell, ingredients in task.cells:
        if cell.loss is not None:
            found = catalog.code_hash("architectures", cell.architecture), losses.code_hash(cell.loss)
            if found != (ingredients["code"], ingredients.get("loss_code", "")):
                return (
                    f"The node {name()} has other code of {cell.architecture} or {cell.loss} than the study was "
                    "planned with. Let all nodes see the same folder, change nothing in it, and run the study again."
                )
    return None


def check(job: Job, task: Task, python: str) -> None:
    """Refuse this machine for a task unless all that was planned with is here too; loads no torch.

    Args:
        python: `python()` where the study was planned.
    Raises:
        StudyError: If Python, a package or the code of a network or a loss is another one here.
        DataError: If the prepared data are not here, or are others.
    """
    ours = planned([task], python)
    if wrong := differing(versions(ours), ours) or other_code(task):
        raise StudyError(wrong)
    _check_data(job, task, name())


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
