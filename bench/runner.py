"""A study on workers: what is stored already is skipped, every ending becomes a record, torch stays in the workers."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import re
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bench import catalog, locks, losses, machine, plan, protocols, refusals
from bench import study as studies
from bench.attempts import Ledger, blameless, run_group
from bench.baselines import BASELINES
from bench.catalog import unknown
from bench.engines import Engine, Team
from bench.errors import DataError, NotFetched, StudyError
from bench.job import Event, Job
from bench.prepare import Prepared, Progress, open_prepared
from bench.presets import preset
from bench.records import FINAL, Record, Status
from bench.serve import Said
from bench.specs import Cell, Place, Study
from bench.split import SPLIT_VERSION
from bench.store import Store, check_room, write_bytes
from bench.workers import Died

if TYPE_CHECKING:
    from bench.estimate import Cost

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
    """The study with every name checked and spelled in its one way, and every entry of an axis for its `all`.

    Every data set stands under each protocol of the study, and its name says so: the study then has none of its own.

    Raises:
        NameUnknown: If a data set, architecture, loss, baseline or augmentation does not exist.
    """
    preset(study.recipe.augment)
    for name in study.baselines:
        if name not in BASELINES:
            raise unknown("baseline", name, BASELINES, "bench list architectures")
    every = [name for name in catalog.entries("datasets") if name != "folder"]
    datasets = protocols.expand(_axis(study.datasets, every, _dataset_name), study.protocol, study.copies)
    return replace(
        study,
        protocol=Study(name="").protocol,
        datasets=tuple(dict.fromkeys(map(_dataset_name, datasets))),
        architectures=_axis(
            study.architectures,
            catalog.entries("architectures"),
            functools.partial(catalog.canonical, "architectures"),
        ),
        losses=_axis(study.losses, losses.available(), losses.canonical),
    )


def survey(
    study: Study, place: Place, say: Callable[[str], None] = lambda line: None, *, fetch: bool = True
) -> list[Planned]:
    """Every cell of a study and how it stands; prepares generated data sets and folders, and downloads weights.

    Args:
        say: Told which weights a network starts from.
        fetch: Whether weights may be downloaded; cells that start from what is not here are then not done.
    Raises:
        NameUnknown: If there are no such weights.
        DataError: If a data set is not prepared, or cannot be split, or weights cannot be had.
    """
    store = Store(place.results / study.name)
    prepared = {name: open_prepared(name, place.data_home) for name in study.datasets}
    for name, data in prepared.items():
        for fold in plan.folds(study):
            _check_foreground(name, data, fold, study)
    versions = {name: _version(name) for name in PACKAGES}
    codes = {name: catalog.code_hash("architectures", name) for name in study.architectures}
    loss_codes = {name: losses.code_hash(name) for name in study.losses}
    hashes = {
        (name, fold): prepared[name].hash(fold, study.folds, study.ratios)
        for name, fold in dict.fromkeys((cell.dataset, cell.fold) for cell in plan.cells(study))
    }
    started = {name: _started(name, say, fetch=fetch) for name in study.architectures}
    planned = []
    for cell in plan.cells(study):
        ingredients = plan.ingredients(
            cell,
            study,
            data=hashes[cell.dataset, cell.fold],
            code="" if cell.loss is None else codes[cell.architecture],
            versions=versions,
            weights=None if cell.loss is None else started[cell.architecture],
            loss="" if cell.loss is None else loss_codes[cell.loss],
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
    return Job(
        study=study, place=place, device=device, threads=max(1, machine.cores() // max(count, 1)), workers=max(count, 1)
    )


def costs(job: Job, missing: Collection[str] = (), progress: Progress = lambda done, of: None) -> list[Cost]:
    """The price of every cell of a study, measured here; imports torch into this process.

    Args:
        job: The study, and how it would run.
        missing: Its data sets that are not prepared, whose cells have no price.
        progress: Told how many networks and losses are timed.
    """
    from bench import estimate

    there = [name for name in job.study.datasets if name not in missing]
    prepared = {name: open_prepared(name, job.place.data_home) for name in there}
    return estimate.costs(plan.cells(job.study), prepared, job, progress)


def refuse(todo: Sequence[Planned], *, isolated: bool) -> None:
    """Refuse architectures that cannot be built, before anything runs; only those that have something to run.

    Raises:
        NameUnknown: All of them, each with its reason.
    """
    names = dict.fromkeys(one.cell.architecture for one in todo if one.cell.loss is not None)
    if names:
        refusals.refuse(list(names), isolated=isolated)


def derive(job: Job, todo: Sequence[Planned], progress: Progress = lambda done, of: None) -> None:
    """Bring the images of all cells to the training size, once, so that no two workers do the same.

    Raises:
        StoreError: If the disk has no room for them.
    """
    for name in dict.fromkeys(one.cell.dataset for one in todo if one.cell.loss is not None):
        open_prepared(name, job.place.data_home).resized(job.study.recipe, progress)


@contextlib.contextmanager
def writing_study(study: Study, place: Place) -> Generator[None]:
    """Write to the study's folder, with the resolved study in it; other runs of the same study may do so too.

    Raises:
        StoreError: If a run of another study writes to it, there is no room, or the folder cannot be written.
    """
    folder = place.results / study.name
    check_room(folder)
    path, text = folder / "study.toml", studies.dump(study).encode()

    def same() -> bool:
        return not path.is_file() or path.read_bytes() == text

    with locks.among_others(folder, same, functools.partial(write_study, study, place)):
        yield


def run_study(
    job: Job,
    todo: Sequence[Planned],
    *,
    engine: Engine | None,
    on_event: Callable[[Event], None],
) -> None:
    """Run cells where an engine says; every one ends as a stored record.

    Args:
        engine: None runs the cells in this process, one after another, where nothing is isolated.
        on_event: Told what the cells tell about themselves.
    Raises:
        BenchError: What ends a study: a full disk, a device that is not there, a cluster that cannot be used.
        KeyboardInterrupt: After the cells that were running were stored as interrupted.
    """
    with writing_study(job.study, job.place):
        write_splits(job, todo)
        derive(job, todo)
        ledger = Ledger(job, {one.cell: one.ingredients for one in todo}, on_event)
        try:
            if engine is None:
                _run_here(job, ledger)
            else:
                _run_on(engine, job, ledger)
        except KeyboardInterrupt:
            ledger.stopped()
            raise


def _run_here(job: Job, ledger: Ledger) -> None:
    waiting = deque(ledger.left)
    while waiting:
        number = waiting.popleft()
        with blameless(functools.partial(ledger.heard, number)) as say:
            run_group(job, ledger.task(number), say)
        if ledger.left[number]:  # another run is at them
            waiting.append(number)


def _run_on(engine: Engine, job: Job, ledger: Ledger) -> None:
    _quiet_threads(job.threads)
    tasks = {number: ledger.task(number) for number in ledger.left}
    with engine.team(job, list(tasks.values())) as team:
        for number, task in tasks.items():
            team.add(number, task)
        for message in team:
            if isinstance(message, Said):
                _pass_on(ledger, team, message)
                continue
            if isinstance(message, Died):
                ledger.died(message)
            if ledger.left[message.job]:  # it died, or another run is at them
                team.add(message.job, ledger.task(message.job), fresh=isinstance(message, Died))


def _pass_on(ledger: Ledger, team: Team, said: Said) -> None:
    if isinstance(said.content, Event):
        if said.content.record is not None and said.content.record.error is not None:
            ledger.note(said.content.cell, team.output(said.job))
        ledger.heard(said.job, said.content)


def write_splits(job: Job, wanted: Sequence[Planned]) -> None:
    """Write down which images train, validate and test in the folds of some cells, and which of them leak."""
    for name, fold in dict.fromkeys((one.cell.dataset, one.cell.fold) for one in wanted):
        prepared = open_prepared(name, job.place.data_home)
        ids = prepared.ids(fold, job.study.folds, job.study.ratios)
        leaked = prepared.leaked({one: split for split, group in ids.items() for one in group})
        content = {
            "version": SPLIT_VERSION,
            "dataset": name,
            "data": prepared.index.hash,
            "fold": fold,
            "folds": job.study.folds,
            "ratios": job.study.ratios,
            **ids,
            **({} if leaked is None else {"leaked": leaked}),
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
    error = None if one.standing is Standing.STALE else one.record.error  # what ended it was something else then
    told = [] if error is None else [f"{one.record.status} in {error.phase}: {error.kind}: {error.message}"]
    if told and one.standing is not Standing.DONE:
        return told
    changed = plan.differences(one.record.ingredients, one.ingredients)
    lines = [f"{name}: was {old}, is {new}" for name, old, new in changed]
    return [*told, *(lines or ["It is done: nothing that matters changed."])]


def check_device(name: str, *, here: bool = True) -> None:
    """Refuse a device that is not here before anything is written; torch is loaded only to look for a CUDA device.

    Args:
        here: Whether cells run on this machine; where they do not, a cluster says what devices it has.
    Raises:
        StudyError: If there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise StudyError(f"There is no device {name!r}. Allowed: auto, cpu, cuda, cuda:0, cuda:1, ..")
    if here and name.startswith("cuda"):
        from bench.device import resolve_device

        resolve_device(name)


def _standing(record: Record | None, ingredients: dict[str, object]) -> Standing:
    if record is None or record.status is Status.INTERRUPTED:
        return Standing.PENDING
    if record.fingerprint != plan.digest(ingredients):
        return Standing.STALE
    return Standing.DONE if record.status in FINAL else Standing.FAILED


def _axis(names: Iterable[str], every: Iterable[str], spelled: Callable[[str], str]) -> tuple[str, ...]:
    """The names of an axis, each once and in its one spelling; `every` name takes the place of `all`."""
    entries = list(every)
    wanted = [one for name in names for one in (entries if name == catalog.ALL else [name])]
    return tuple(dict.fromkeys(map(spelled, wanted)))


def _dataset_name(name: str) -> str:
    """A folder stays the path it was given as, in one spelling; preparing it will look inside."""
    if not catalog.is_folder(name):
        return catalog.canonical("datasets", name)
    base, protocol = protocols.apart(name)
    path = os.path.normpath(base)
    path = path if path != catalog.ALL else f"./{path}"  # a folder of that name keeps its ./
    return protocols.under(path, protocol)


def _check_foreground(name: str, data: Prepared, fold: int, study: Study) -> None:
    """A split without a foreground pixel can neither tune nor score anything."""
    for split, positions in data.split(fold, study.folds, study.ratios).items():
        if not any(sum(data.index.entries[at].pixels[1:]) for at in positions):
            raise DataError(
                f"The {split} split of {name} (fold {fold}) has no foreground pixel in its {len(positions)} images. "
                "Add images that show something, or give an official split with train/, val/ and test/."
            )


def _started(name: str, say: Callable[[str], None], *, fetch: bool) -> dict[str, str] | None:
    """What a network starts from, told where it is anything; torch is imported then."""
    before = os.environ.get("HF_HUB_OFFLINE", "0")
    try:
        os.environ["HF_HUB_OFFLINE"] = before if fetch else "1"
        found = catalog.initial(name)
    except NotFetched:
        if fetch:
            raise
        return {"source": "not on this machine yet", "sha256": ""}
    finally:
        os.environ["HF_HUB_OFFLINE"] = before
    if found is not None:
        say(f"{name} starts from {found['source']} (sha256 {found['sha256'][:16]}).")
    return found


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
