"""A study from its data to its leaderboard, as the commands that run one show it."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench import engines, machine, plan, runner
from bench.cli_options import complain, console, say
from bench.errors import StudyError
from bench.progress import Account

if TYPE_CHECKING:
    from bench.cli_live import View
    from bench.engines import Engine
    from bench.events import Script
    from bench.job import Event, Job
    from bench.runner import Planned
    from bench.specs import Place, Study
    from bench.workers import Limits


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a study is run, as the options say; nothing of it changes what a cell is."""

    device: str
    workers: int | None
    threads: int | None
    limits: Limits
    checkpoint_s: float
    dry_run: bool
    retry_failed: bool
    skip_missing: bool
    allow_leak: bool
    tensorboard: Path | None
    engine: str = "local"
    address: str | None = None
    engine_options: tuple[str, ...] = ()


@contextlib.contextmanager
def interruptible(script: Script | None) -> Generator[None]:
    """Ctrl-C and SIGTERM end the program, whatever it is at, and say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if script:
            script.say("interrupted")
        complain("Interrupted. Finished cells are kept; the same command goes on from here.")
        raise typer.Exit(130) from None


def run(study: Study, place: Place, how: How, script: Script | None) -> None:
    """Run what is missing of a study, then show its leaderboard; exit code 1 when a cell failed, 2 when data leak."""
    from bench import cli_audit

    runner.check_device(how.device, here=how.engine == "local" or how.dry_run)
    if place.results.exists() and not place.results.is_dir():
        raise StudyError(f"{place.results} is a file, not a folder for results. Choose another --results.")
    if how.dry_run:
        _price(study, place, how, script)
        return
    study, _ = _prepared(study, place, how)
    cli_audit.before(study, place, allow_leak=how.allow_leak)
    planned = runner.survey(study, place, say)
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
        if script:
            script.study(account, place.results / study.name)
        if todo:
            _train(job, todo, engine, account, how, script)
        else:
            console().print(_nothing(planned, study))
    _finish(place.results / study.name, script)


def _engine(how: How, study: Study, left: int) -> AbstractContextManager[Engine | None]:
    """Where cells run; None is this process. A cluster is not reached for when there is nothing to run."""
    if how.engine == "local" or not left:
        engines.options(how.engine, how.engine_options)  # refused all the same
        if how.engine == "local" and how.address is not None:
            raise StudyError("--address is that of a cluster: give --engine ray or --engine slurm too.")
        slots = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
        return contextlib.nullcontext(engines.Local(slots, how.limits) if slots else None)
    if how.workers == 0:
        raise StudyError("--workers 0 runs cells in this process, not on a cluster. Leave it out, or give 1 or more.")
    return engines.connect(
        how.engine,
        address=how.address,
        options=engines.options(how.engine, how.engine_options),
        slots=how.workers,
        limits=how.limits,
    )


def _job(study: Study, place: Place, how: How, engine: Engine | None, whole: int) -> Job:
    count = 1 if engine is None else min(engine.slots, whole)
    job = dataclasses.replace(runner.job(study, place, how.device, count), checkpoint_s=how.checkpoint_s)
    threads = how.threads or (None if engine is None else engine.threads)
    return dataclasses.replace(job, threads=threads) if threads else job


def _train(
    job: Job, todo: Sequence[Planned], engine: Engine | None, account: Account, how: How, script: Script | None
) -> None:
    from bench import cli_live, cli_screen
    from bench.scalars import Scalars

    extra: list[View] = [*([script] if script else []), *([Scalars(how.tensorboard)] if how.tensorboard else [])]
    runner.refuse(todo, isolated=engine is not None)
    with cli_screen.bar(console(), "Fitting images to the training size") as progress:
        runner.derive(job, todo, progress)
    with shown(account, [cli_live.view(console(), account), *extra]) as tell:
        runner.run_study(job, todo, engine=engine, on_event=tell)


def _nothing(planned: Sequence[Planned], study: Study) -> str:
    failed = sum(one.standing is runner.Standing.FAILED for one in planned)
    state = f"; {failed} failed, which --retry-failed runs again" if failed else " and up to date"
    return f"Nothing to run: all {len(planned)} cells of {study.name} are stored{state}."


def _price(study: Study, place: Place, how: How, script: Script | None) -> None:
    """What the cells of a study would cost; exit code 2 when a network of it cannot be built, or its data leak."""
    from bench import cli_audit, cli_costs, cli_screen, machine, plan, runner
    from bench.errors import DataError
    from bench.progress import Account

    study, missing = _prepared(study, place, how)
    there = tuple(name for name in study.datasets if name not in missing)
    leak = ""
    try:
        cli_audit.before(dataclasses.replace(study, datasets=there), place, allow_leak=how.allow_leak)
    except DataError as error:
        leak = str(error)
    planned = runner.survey(dataclasses.replace(study, datasets=there), place, fetch=False)
    stands = {one.cell for one in planned} - {
        one.cell for one in runner.pending(planned, retry_failed=how.retry_failed)
    }
    cells = plan.cells(study)
    todo = [cell for cell in cells if cell not in stands]
    wanted = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
    count = min(wanted, len(plan.groups(todo)))
    job = runner.job(study, place, how.device, min(wanted, len(plan.groups(cells))))
    if script:
        account = Account(study, todo, stored=len(cells) - len(todo), workers=count, began=time.monotonic())
        script.study(account, place.results / study.name)
    with cli_screen.bar(console(), "Timing networks and losses") as progress:
        prices = runner.costs(dataclasses.replace(job, threads=how.threads or job.threads), missing, progress)
    cli_costs.show(console(), prices, set(todo), missing, count)
    if script:
        script.costs(prices)
    if leak:
        complain(leak)  # below the table, where it is seen
    if leak or any(price.refused for price in prices):
        raise typer.Exit(2)


@contextlib.contextmanager
def shown(account: Account, views: Sequence[View]) -> Generator[Callable[[Event], None]]:
    """Show a run on all views."""

    def tell(event: Event) -> None:
        account.take(event, time.monotonic())
        for view in views:
            view.tell(event)

    with contextlib.ExitStack() as stack:
        for view in views:
            stack.enter_context(view)
        yield tell


def _prepared(study: Study, place: Place, how: How) -> tuple[Study, dict[str, str]]:
    """Prepare what prepares itself; without --skip-missing the first missing data set ends the run.

    Returns:
        The study without the data sets that are left out, and why others of it are not prepared: a dry run goes on.
    """
    from bench import cli_screen, prepare, problems
    from bench.errors import DataError, NotPrepared

    kept: list[str] = []
    missing: dict[str, str] = {}
    for name in study.datasets:
        try:
            with problems.logged(name, place.data_home), cli_screen.bar(console(), f"Preparing {name}") as progress:
                prepare.prepare(name, place.data_home, progress=progress, recipe=study.recipe, say=say)
            kept.append(name)
        except DataError as error:
            if how.skip_missing:
                complain(f"Left out: {error}")
            elif how.dry_run and isinstance(error, NotPrepared):
                kept.append(name)
                missing[name] = str(error)
            else:
                raise
    if not kept:
        raise StudyError(f"None of the data sets {', '.join(study.datasets)} is prepared. See bench doctor.")
    return dataclasses.replace(study, datasets=tuple(kept)), missing


def _finish(folder: Path, script: Script | None) -> None:
    """The leaderboard in the terminal, the page on disk, and exit code 1 when a cell failed."""
    from bench import cli_screen
    from bench import report as reports

    content = reports.collect(folder, "default")
    page = reports.publish(content)
    for table in cli_screen.boards(content.boards, content.profile):
        console().print(table)
    for table in cli_screen.worths(content):
        console().print(table)
    console().print(f"Page: {page.resolve()}", soft_wrap=True)
    failed = [row for row in content.rows if row.status not in ("ok", "diverged")]
    if script:
        script.report(page, cells=len(content.rows), failed=len(failed))
    if failed:
        complain(
            f"{len(failed)} of {len(content.rows)} cells have no result; see bench status {shlex.quote(str(folder))}."
        )
        raise typer.Exit(1)
