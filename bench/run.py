"""A study on workers: what is stored already is skipped, every ending becomes a record, torch stays in the workers."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from bench import catalog, losses, plan, workers
from bench import study as studies
from bench.baselines import BASELINES
from bench.catalog import unknown
from bench.errors import DataError, StoreError, StudyError
from bench.prepare import Prepared, Progress, open_prepared
from bench.presets import preset
from bench.specs import FINAL, Cell, Failure, Place, Record, Status, Study
from bench.split import SPLIT_VERSION
from bench.store import Store, check_room, write_bytes

if TYPE_CHECKING:
    from bench.estimate import Cost
    from bench.job import Event, Job

PACKAGES = ("torch", "timm", "segmentation-models-pytorch", "optuna", "numpy", "scipy", "scikit-image", "pillow")
"""Whose arithmetic reaches a result; their versions are part of every fingerprint."""


class Standing(StrEnum):
    """How a cell of the study stands in the results folder."""

    DONE = "done"
    """Stored, final, and made from the same ingredients."""
    FAILED = "failed"
    """Stored as a failure of the same ingredients; runs again with --retry-failed."""
    STALE = "stale"
    """Stored, but something that can change the result is different now; runs again."""
    PENDING = "pending"
    """Not stored, or interrupted; runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A cell, what would go into it now, and how it stands."""

    cell: Cell
    ingredients: dict[str, object]
    standing: Standing
    record: Record | None


def resolve(study: Study) -> Study:
    """The study with every name checked and spelled in its one way.

    Raises:
        NameUnknown: If a data set, architecture, loss, baseline or augmentation does not exist.
    """
    preset(study.recipe.augment)
    for name in study.baselines:
        if name not in BASELINES:
            raise unknown("baseline", name, BASELINES, "bench list architectures")
    return replace(
        study,
        datasets=tuple(dict.fromkeys(_dataset_name(name) for name in study.datasets)),
        architectures=tuple(dict.fromkeys(catalog.canonical("architectures", name) for name in study.architectures)),
        losses=tuple(dict.fromkeys(losses.canonical(name) for name in study.losses)),
    )


def survey(study: Study, place: Place) -> list[Planned]:
    """Every cell of a study and how it stands; prepares generated data sets and folders on the way.

    Raises:
        DataError: If a data set is not prepared, or cannot be split.
    """
    store = Store(place.results / study.name)
    prepared = {name: open_prepared(name, place.data_home) for name in study.datasets}
    for name, data in prepared.items():
        for fold in plan.folds(study):
            _check_foreground(name, data, fold, study)
    versions = {name: _version(name) for name in PACKAGES}
    hashes = {
        (name, fold): prepared[name].hash(fold, study.folds, study.ratios)
        for name, fold in dict.fromkeys((cell.dataset, cell.fold) for cell in plan.cells(study))
    }
    planned = []
    for cell in plan.cells(study):
        ingredients = plan.ingredients(
            cell,
            study,
            data=hashes[cell.dataset, cell.fold],
            code="" if cell.loss is None else catalog.code_hash("architectures", cell.architecture),
            versions=versions,
        )
        record = store.read(cell)
        planned.append(
            Planned(cell=cell, ingredients=ingredients, record=record, standing=_standing(record, ingredients))
        )
    return planned


def pending(planned: Sequence[Planned], *, retry_failed: bool) -> list[Planned]:
    """The cells that a run would run."""
    skipped = {Standing.DONE} if retry_failed else {Standing.DONE, Standing.FAILED}
    return [one for one in planned if one.standing not in skipped]


def job(study: Study, place: Place, device: str, count: int) -> Job:
    """What workers are told: the study, where things are, and a fair share of the cores."""
    from bench.job import Job

    return Job(study=study, place=place, device=device, threads=max(1, cores() // max(count, 1)), workers=max(count, 1))


def costs(planned: Sequence[Planned], job: Job) -> list[Cost]:
    """The price of every cell, measured here; imports torch into this process."""
    from bench import estimate

    prepared = {name: open_prepared(name, job.place.data_home) for name in job.study.datasets}
    return estimate.costs([one.cell for one in planned], prepared, job)


def derive(job: Job, todo: Sequence[Planned], progress: Progress = lambda done, of: None) -> None:
    """Bring the images of all cells to the training size, once, so that no two workers do the same.

    Raises:
        StoreError: If the disk has no room for them.
    """
    for name in dict.fromkeys(one.cell.dataset for one in todo if one.cell.loss is not None):
        open_prepared(name, job.place.data_home).resized(job.study.recipe, progress)


@contextlib.contextmanager
def writing_study(study: Study, place: Place) -> Generator[None]:
    """Hold the study's folder for this process alone, with the resolved study in it.

    Raises:
        StoreError: If another run holds it, there is no room, or the folder cannot be written.
    """
    folder = place.results / study.name
    check_room(folder)
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise StoreError(f"Another run is writing to {folder}. Wait for it, or choose another --name.") from error
    try:
        write_study(study, place)
        yield
    finally:
        lock.release()


def run_study(job: Job, todo: Sequence[Planned], *, count: int, on_event: Callable[[Event], None]) -> None:
    """Run cells on worker processes; every one ends as a stored record.

    Args:
        count: How many workers; 0 runs the cells in this process, one after another.
        on_event: Told what the cells tell about themselves.
    Raises:
        BenchError: What ends a study: a full disk, a device that is not there.
        KeyboardInterrupt: After the cells that workers were running were stored as interrupted.
    """
    with writing_study(job.study, job.place):
        _run_study(job, todo, count, on_event)


def _run_study(job: Job, todo: Sequence[Planned], count: int, on_event: Callable[[Event], None]) -> None:
    from bench.job import Event

    write_splits(job, todo)
    derive(job, todo)
    ingredients = {one.cell: one.ingredients for one in todo}
    groups = plan.groups([one.cell for one in todo])
    jobs = [[(cell, ingredients[cell]) for cell in group] for group in groups]
    if count == 0:
        for group in jobs:
            run_group(job, group, on_event)
        return
    _quiet_threads(job.threads)
    unfinished = {number: list(group) for number, group in enumerate(groups)}
    running: dict[int, Cell] = {}
    try:
        for message in workers.run(functools.partial(run_group, job), jobs, workers=count):
            if isinstance(message, workers.Said) and isinstance(message.content, Event):
                event = message.content
                running[message.job] = event.cell
                if event.kind == "finished":
                    unfinished[message.job].remove(event.cell)
                    running.pop(message.job, None)
                on_event(event)
            elif isinstance(message, workers.Died):
                for cell in unfinished[message.job]:
                    error = Failure(phase="worker", kind="WorkerDied", message=message.reason)
                    record = _without_result(job, cell, ingredients[cell], Status.FAILED, error)
                    on_event(Event(kind="finished", cell=cell, record=record))
                running.pop(message.job, None)
    except KeyboardInterrupt:
        for cell in running.values():
            error = Failure(phase="run", kind="KeyboardInterrupt", message="Stopped from outside.")
            _without_result(job, cell, ingredients[cell], Status.INTERRUPTED, error)
        raise


def run_group(job: Job, group: Sequence[tuple[Cell, dict[str, object]]], say: Callable[[Event], None]) -> None:
    """The cells that share a tuning, in order of their seeds; runs in a worker."""
    from bench import cell as cells

    for cell, ingredients in group:
        cells.run(cell, ingredients, job, say)


def write_splits(job: Job, todo: Sequence[Planned]) -> None:
    """Write down which images train, validate and test in every fold that is about to run."""
    for name, fold in dict.fromkeys((one.cell.dataset, one.cell.fold) for one in todo):
        prepared = open_prepared(name, job.place.data_home)
        content = {
            "version": SPLIT_VERSION,
            "dataset": name,
            "data": prepared.index.hash,
            "fold": fold,
            "folds": job.study.folds,
            "ratios": job.study.ratios,
            **prepared.ids(fold, job.study.folds, job.study.ratios),
        }
        write_bytes(job.store.split(name, fold), json.dumps(content, indent=1).encode())


def write_study(study: Study, place: Place) -> Path:
    """Write the resolved study beside its results, and say where.

    Raises:
        StoreError: If there is no room, or the folder cannot be written.
    """
    folder = place.results / study.name
    check_room(folder)
    path = folder / "study.toml"
    text = studies.dump(study).encode()
    if not path.is_file() or path.read_bytes() != text:
        write_bytes(path, text)
    return path


def why(one: Planned) -> list[str]:
    """What keeps a cell from being done: one line per ingredient that differs, or what became of it."""
    if one.record is None:
        return ["It has not run yet."]
    if one.record.error is not None:
        return [f"{one.record.status} in {one.record.error.phase}: {one.record.error.kind}: {one.record.error.message}"]
    return list(_differences(one.record.ingredients, one.ingredients, "")) or [
        "It is done: nothing that matters changed."
    ]


def default_workers(device: str) -> int:
    """Workers when nobody says: one per core on a processor (up to 8), one on a GPU."""
    on_gpu = device.startswith("cuda") or (device == "auto" and Path("/dev/nvidia0").exists())
    return 1 if on_gpu else min(cores(), 8)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(name: str) -> None:
    """Refuse a device that is not here before anything is written; torch is loaded only to look for a CUDA device.

    Raises:
        StudyError: If there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise StudyError(f"There is no device {name!r}. Allowed: auto, cpu, cuda, cuda:0, cuda:1, ..")
    if name.startswith("cuda"):
        from bench.device import resolve_device

        resolve_device(name)


def _standing(record: Record | None, ingredients: dict[str, object]) -> Standing:
    if record is None or record.status is Status.INTERRUPTED:
        return Standing.PENDING
    if record.fingerprint != plan.digest(ingredients):
        return Standing.STALE
    return Standing.DONE if record.status in FINAL else Standing.FAILED


def _without_result(job: Job, cell: Cell, ingredients: dict[str, object], status: Status, error: Failure) -> Record:
    record = Record(
        study=job.study.name,
        cell=cell,
        fingerprint=plan.digest(ingredients),
        ingredients=ingredients,
        status=status,
        error=error,
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    job.store.write(record)
    return record


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
        yield f"{path}: was {old}, is {new}"


def _dataset_name(name: str) -> str:
    """A folder stays the path it was given as, in one spelling; preparing it will look inside."""
    return os.path.normpath(name) if catalog.is_folder(name) else catalog.canonical("datasets", name)


def _check_foreground(name: str, data: Prepared, fold: int, study: Study) -> None:
    """A split without a foreground pixel can neither tune nor score anything."""
    for split, positions in data.split(fold, study.folds, study.ratios).items():
        if not any(sum(data.index.entries[at].pixels[1:]) for at in positions):
            raise DataError(
                f"The {split} split of {name} (fold {fold}) has no foreground pixel in its {len(positions)} images. "
                "Add images that show something, or give an official split with train/, val/ and test/."
            )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"The package {package} is not installed. Install the project again: pip install -e ."
        ) from error


def _quiet_threads(threads: int) -> None:
    """Said before the workers start: waiting threads sleep, since spinning ones stall every other process."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
