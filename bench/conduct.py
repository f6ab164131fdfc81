"""A study from its data to its records: the steps that the command line and `bench.run` share; prints nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench import audit as audits
from bench import auditpage, engines, machine, order, plan, prepare, problems, runner
from bench.engines import Engine
from bench.errors import DataError, NotPrepared, StudyError
from bench.job import Event, Job
from bench.prepare import Prepared, Progress
from bench.progress import Account
from bench.runner import Planned
from bench.specs import Place, Split, Study
from bench.workers import Limits


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a study is run; nothing of it changes what a cell is.

    Attributes:
        device: auto, cpu, cuda or cuda:i.
        workers: Cells at once; None for as many as the machine carries, 0 for none: cells run in this process.
        threads: Of the processor, for each; None divides the cores.
        checkpoint_s: A training that goes on longer leaves a checkpoint every so often [s].
        retry_failed: Whether cells that failed run again.
        skip_missing: Whether data sets that are not prepared are left out.
        allow_leak: Whether a study runs although images of one split have copies in another.
        engine: A name of `bench.engines.ENGINES`; `address` and `engine_options` (KEY=VALUE) are told to a cluster.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)
    checkpoint_s: float = 60.0
    retry_failed: bool = False
    skip_missing: bool = False
    allow_leak: bool = False
    engine: str = "local"
    address: str | None = None
    engine_options: tuple[str, ...] = ()


class Listener:
    """Who is told how a study goes; this one keeps it to itself."""

    def say(self, line: str) -> None:
        """Told what may be of interest."""

    def warn(self, line: str) -> None:
        """Told what has to be known, although it stops nothing."""

    def bar(self, text: str) -> AbstractContextManager[Progress]:
        """Follow one piece of work that a text describes."""
        return contextlib.nullcontext(lambda done, of: None)

    def begin(self, account: Account, folder: Path) -> None:
        """Told what is about to run, and where its results go."""

    def follow(self, account: Account) -> AbstractContextManager[Callable[[Event], None]]:
        """Follow the cells while they run; `account` is what is known of them."""
        return contextlib.nullcontext(lambda event: account.take(event, time.monotonic()))


def run(study: Study, place: Place, how: How, listener: Listener) -> Study:
    """Run what is missing of a study, and say which study that was: data sets may have been left out.

    Args:
        study: Resolved.
    Raises:
        BenchError: What keeps it from running, before anything is written, or what ended it.
        KeyboardInterrupt: After the cells that were running were stored as interrupted.
    """
    check(place, how)
    study, _ = prepared(study, place, how, listener)
    audited(study, place, listener, allow_leak=how.allow_leak)
    planned = runner.survey(study, place, listener.say)
    todo = runner.pending(planned, retry_failed=how.retry_failed)
    # threads follow from the whole plan: what is resumed with fewer cells left computes as before
    whole, left = (len(plan.groups([one.cell for one in some])) for some in (planned, todo))
    with _engine(how, study, left) as engine:
        job = _job(study, place, how, engine, whole)
        done = [one for one in planned if one.standing is runner.Standing.DONE]
        runner.write_splits(job, done)  # with what an audit found since
        account = Account(
            study,
            [one.cell for one in todo],
            stored=len(planned) - len(todo),
            workers=min(engine.slots, left) if engine else 0,
            began=time.monotonic(),
        )
        listener.begin(account, place.results / study.name)
        if engine is not None:
            todo = order.longest_first(todo, planned, study, place)
        if todo:
            _train(job, todo, engine, account, listener)
        else:
            listener.say(_nothing(planned, study))
    return study


def check(place: Place, how: How, *, dry: bool = False) -> None:
    """Refuse what cannot work, before anything is written.

    Args:
        dry: Whether cells are timed on this machine, wherever they would run.
    Raises:
        StudyError: If there is no such device, results cannot be kept, or options contradict each other.
        NameUnknown: If there is no such engine.
    """
    runner.check_device(how.device, here=dry or how.engine == "local")
    if place.results.exists() and not place.results.is_dir():
        raise StudyError(f"{place.results} is a file, not a folder for results. Choose another --results.")
    if how.workers == 0 and how.limits.seconds is not None:
        raise StudyError("--time-limit needs a worker to end: with --workers 0 nothing can be ended. Use --workers 1.")
    engines.options(how.engine, how.address, how.engine_options)
    if not dry:
        engines.installed(how.engine)
    if how.engine != "local" and how.workers == 0:
        raise StudyError("--workers 0 runs cells in this process, not on a cluster. Leave it out, or give 1 or more.")


def prepared(
    study: Study, place: Place, how: How, listener: Listener, *, dry: bool = False
) -> tuple[Study, dict[str, str]]:
    """Prepare what prepares itself; unless it may be skipped, the first missing data set ends the run.

    Args:
        dry: Whether what is not prepared is only told of.
    Returns:
        The study without the data sets that are left out, and why others of it are not prepared: those of a dry run.
    """
    kept: list[str] = []
    missing: dict[str, str] = {}
    for name in study.datasets:
        try:
            with problems.logged(name, place.data_home), listener.bar(f"Preparing {name}") as progress:
                prepare.prepare(name, place.data_home, progress=progress, recipe=study.recipe, say=listener.say)
            kept.append(name)
        except DataError as error:
            if how.skip_missing:
                listener.warn(f"Left out: {error}")
            elif dry and isinstance(error, NotPrepared):
                kept.append(name)
                missing[name] = str(error)
            else:
                raise
    if not kept:
        raise StudyError(f"None of the data sets {', '.join(study.datasets)} is prepared. See bench doctor.")
    return dataclasses.replace(study, datasets=tuple(kept)), missing


def audited(study: Study, place: Place, listener: Listener, *, allow_leak: bool) -> None:
    """Audit the data of a study before it runs; what was found before still stands, and is told again.

    Raises:
        DataError: If images of one split have copies in another, unless that is allowed or what the study is for.
    """
    for name in study.datasets:
        data = prepare.open_prepared(name, place.data_home)
        found = audits.audit(name, place.data_home, listener.bar)
        folds = {fold: split(data, fold, study.folds, study.ratios) for fold in plan.folds(study)}
        wholes = {fold: audits.in_split(found, data, one) for fold, one in folds.items()}
        for note in audits.unfinished(found):
            listener.warn(f"Leaks of {name} may be missed. {note} See bench data audit {shlex.quote(name)}.")
        found_in = {one: audits.across(wholes[one], folds[one], one) for one in folds}
        # defects are the same in every fold, a leak may be in the last one only
        fold = next((one for one in folds if found_in[one]), next(iter(folds)))
        if not audits.serious(wholes[fold], folds[fold]):
            continue
        page = auditpage.publish(wholes[fold], data, folds[fold], data.folder / "audit.html")
        if leak := found_in[fold]:
            if not allow_leak and not audits.intended(name):
                raise DataError(
                    f"{leak}. See {page}, or bench data audit {shlex.quote(name)}. Mend the data, or run with "
                    "--allow-leak: the leaderboard then bears the stamp LEAK."
                )
            meant = ", as its protocol is meant to" if audits.intended(name) else ""
            listener.warn(f"{leak}{meant}. The leaderboard bears the stamp LEAK.")
        else:
            listener.warn(f"{name} has defects, which do not stop the study: see {page}")


def split(data: Prepared, fold: int, folds: int, *ratios: tuple[float, float, float]) -> dict[str, Split]:
    """The split that each image of a data set stands in, by its name."""
    ids = data.ids(fold, folds, *ratios)
    return {image: name for name, group in ids.items() for image in group}


def _engine(how: How, study: Study, left: int) -> AbstractContextManager[Engine | None]:
    """Where cells run; None is this process. A cluster is not reached for when there is nothing to run."""
    if how.engine == "local":
        slots = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
        return contextlib.nullcontext(engines.Local(slots, how.limits) if slots else None)
    if not left:
        return contextlib.nullcontext(None)
    return engines.connect(
        how.engine,
        address=how.address,
        options=engines.options(how.engine, how.address, how.engine_options),
        slots=how.workers,
        limits=how.limits,
    )


def _job(study: Study, place: Place, how: How, engine: Engine | None, whole: int) -> Job:
    count = 1 if engine is None else min(engine.slots, whole)
    job = dataclasses.replace(runner.job(study, place, how.device, count), checkpoint_s=how.checkpoint_s)
    threads = how.threads or (None if engine is None else engine.threads)
    return dataclasses.replace(job, threads=threads) if threads else job


def _train(job: Job, todo: Sequence[Planned], engine: Engine | None, account: Account, listener: Listener) -> None:
    runner.refuse(todo, isolated=engine is not None)
    with listener.bar("Fitting images to the training size") as progress:
        runner.derive(job, todo, progress)
    with listener.follow(account) as tell:
        runner.run_study(job, todo, engine=engine, on_event=tell)


def _nothing(planned: Sequence[Planned], study: Study) -> str:
    failed = sum(one.standing is runner.Standing.FAILED for one in planned)
    state = f"; {failed} failed, which --retry-failed runs again" if failed else " and up to date"
    return f"Nothing to run: all {len(planned)} cells of {study.name} are stored{state}."
