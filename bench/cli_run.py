"""`bench run matrix`: a study from its options to its leaderboard."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import signal
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import DataHome, Results, complain, console, home, say
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.cli_live import View
    from bench.events import Script
    from bench.job import Event
    from bench.progress import Account
    from bench.specs import Place, Study
    from bench.workers import Limits

run_app = typer.Typer(no_args_is_help=True, help="Train and score cells of the matrix.")

StudyName = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="A study file (.toml), or a built-in study; default: quick.")
]
Many = list[str] | None
RUNNING = "How it is run"
SHOWING = "What is shown"


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


@run_app.command("matrix")
def matrix(
    study: StudyName = None,
    dataset: Annotated[
        Many, typer.Option(help="A data set, or the path of a folder; repeat or separate by commas.")
    ] = None,
    architecture: Annotated[Many, typer.Option(help="An architecture, as unet or 'unet\\[encoder=resnet50]'.")] = None,
    loss: Annotated[Many, typer.Option(help="A loss expression, as dice+ce.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Retrain the tuned rate under N fresh seeds.")] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="K", help="Cross-validate by source; 1 keeps the official split.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs of one training.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Learning rates tried per cell.")] = None,
    size: Annotated[str | None, typer.Option(metavar="S|HxW", help="Training size; scores are at native size.")] = None,
    fit: Annotated[
        str | None, typer.Option(help="resize, letterbox (keeps the shape) or tile (keeps the scale).")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images per step.")] = None,
    lr_range: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Rates to search, as 1e-5:1e-1.")] = None,
    augment: Annotated[str | None, typer.Option(help="none, light, standard, heavy or seed0, 1, 2, 4.")] = None,
    measures: Annotated[
        Many, typer.Option(help="Computed beside the counts: boundary, objects; no training depends on it.")
    ] = None,
    protocol: Annotated[
        Many, typer.Option(help="clean, as-published (a leak: copies are made, then files are split) or split-first.")
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option("--deterministic", help="Run so that it repeats to the last bit; nothing is chosen by timing."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the results folder; default: the study's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.", rich_help_panel=RUNNING)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            rich_help_panel=RUNNING,
            help="Cells at once; default: one per core or GPU (a few for small batches); 0: in this process.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=RUNNING, help="Per worker; default: the cores divided."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", rich_help_panel=RUNNING, help="A cell that takes longer is ended; default: none."
        ),
    ] = None,
    silence_limit: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", rich_help_panel=RUNNING, help="A worker without a sign of life for so long is ended."
        ),
    ] = 60.0,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, rich_help_panel=RUNNING, help="A longer training can be taken up at an epoch."
        ),
    ] = 60.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=RUNNING, help="List the cells with parameters and cost; train nothing."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", rich_help_panel=RUNNING, help="Run failed cells again.")
    ] = False,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", rich_help_panel=RUNNING, help="Leave out data sets that are not prepared."),
    ] = False,
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak", rich_help_panel=RUNNING, help="Run although test images have copies in training; stamped."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel=SHOWING,
            help="For scripts: events as lines of JSON on stdout, all else on stderr.",
        ),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=SHOWING, help="Write training curves there; needs cytobench\\[tensorboard]."
        ),
    ] = None,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Run a study: every data set x architecture x loss, each with a tuned learning rate; then the leaderboard."""
    from bench import events
    from bench.specs import Place

    changes: dict[str, object] = {
        "datasets": dataset, "architectures": architecture, "losses": loss, "seeds": seeds, "folds": folds,
        "epochs": epochs, "trials": trials, "size": size, "fit": fit, "batch": batch, "lr_range": lr_range,
        "augment": augment, "deterministic": deterministic, "measures": measures, "protocol": protocol,
    }  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with events.script() if as_json else contextlib.nullcontext() as script, _interruptible(script):
        how = How(
            device=device, workers=workers, threads=threads, limits=_limits(time_limit, silence_limit, workers),
            dry_run=dry_run, checkpoint_s=checkpoint_every, retry_failed=retry_failed, skip_missing=skip_missing,
            allow_leak=allow_leak,
            tensorboard=tensorboard,
        )  # fmt: skip
        chosen = _study(study, changes, name)
        _run(chosen, Place(results=results, data_home=home(data_home)), how, script)


@contextlib.contextmanager
def _interruptible(script: Script | None) -> Generator[None]:
    """Ctrl-C and SIGTERM end the program, whatever it is at, and say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if script:
            script.say("interrupted")
        complain("Interrupted. Finished cells are kept; the same command goes on from here.")
        raise typer.Exit(130) from None


def _run(study: Study, place: Place, how: How, script: Script | None) -> None:
    from bench import cli_audit, cli_live, cli_screen, machine, plan, run
    from bench.progress import Account
    from bench.scalars import Scalars

    extra: list[View] = [*([script] if script else []), *([Scalars(how.tensorboard)] if how.tensorboard else [])]
    run.check_device(how.device)
    if place.results.exists() and not place.results.is_dir():
        raise StudyError(f"{place.results} is a file, not a folder for results. Choose another --results.")
    if how.dry_run:
        _price(study, place, how, script)
        return
    study, _ = _prepared(study, place, how)
    cli_audit.before(study, place, allow_leak=how.allow_leak)
    planned = run.survey(study, place, say)
    todo = run.pending(planned, retry_failed=how.retry_failed)
    wanted = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
    # threads follow from the whole plan: what is resumed with fewer cells left computes as before
    whole, left = (len(plan.groups([one.cell for one in some])) for some in (planned, todo))
    count = min(wanted, left)
    job = dataclasses.replace(run.job(study, place, how.device, min(wanted, whole)), checkpoint_s=how.checkpoint_s)
    if how.threads:
        job = dataclasses.replace(job, threads=how.threads)
    account = Account(
        study, [one.cell for one in todo], stored=len(planned) - len(todo), workers=count, began=time.monotonic()
    )
    if script:
        script.study(account, place.results / study.name)
    run.write_splits(job, [one for one in planned if one.standing is run.Standing.DONE])  # what an audit found since
    if not todo:
        failed = sum(one.standing is run.Standing.FAILED for one in planned)
        state = f"; {failed} failed, which --retry-failed runs again" if failed else " and up to date"
        console().print(f"Nothing to run: all {len(planned)} cells of {study.name} are stored{state}.")
    else:
        run.refuse(todo, isolated=count > 0)
        with cli_screen.bar(console(), "Fitting images to the training size") as progress:
            run.derive(job, todo, progress)
        views = [cli_live.view(console(), account), *extra]
        with _shown(account, views) as tell:
            run.run_study(job, todo, count=count, on_event=tell, limits=how.limits)
    _finish(place.results / study.name, script)


def _price(study: Study, place: Place, how: How, script: Script | None) -> None:
    """What the cells of a study would cost; exit code 2 when a network of it cannot be built, or its data leak."""
    from bench import cli_audit, cli_costs, cli_screen, machine, plan, run
    from bench.errors import DataError
    from bench.progress import Account

    study, missing = _prepared(study, place, how)
    there = tuple(name for name in study.datasets if name not in missing)
    leak = ""
    try:
        cli_audit.before(dataclasses.replace(study, datasets=there), place, allow_leak=how.allow_leak)
    except DataError as error:
        leak = str(error)
    planned = run.survey(dataclasses.replace(study, datasets=there), place, fetch=False)
    stands = {one.cell for one in planned} - {one.cell for one in run.pending(planned, retry_failed=how.retry_failed)}
    cells = plan.cells(study)
    todo = [cell for cell in cells if cell not in stands]
    wanted = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
    count = min(wanted, len(plan.groups(todo)))
    job = run.job(study, place, how.device, min(wanted, len(plan.groups(cells))))
    if script:
        account = Account(study, todo, stored=len(cells) - len(todo), workers=count, began=time.monotonic())
        script.study(account, place.results / study.name)
    with cli_screen.bar(console(), "Timing networks and losses") as progress:
        prices = run.costs(dataclasses.replace(job, threads=how.threads or job.threads), missing, progress)
    cli_costs.show(console(), prices, set(todo), missing, count)
    if script:
        script.costs(prices)
    if leak:
        complain(leak)  # below the table, where it is seen
    if leak or any(price.refused for price in prices):
        raise typer.Exit(2)


@contextlib.contextmanager
def _shown(account: Account, views: Sequence[View]) -> Generator[Callable[[Event], None]]:
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


def _study(argument: str | None, changes: dict[str, object], name: str | None) -> Study:
    from bench import run
    from bench import study as studies

    base = studies.load(argument or "quick")
    changed = studies.override(base, changes)
    if name is None and argument is None and changed != base:
        name = "custom"
    return run.resolve(dataclasses.replace(changed, name=studies.folder_name(name or base.name)))


def _limits(time_limit: float | None, silence_limit: float, workers: int | None) -> Limits:
    """What a worker may use; minutes on the command line, seconds inside."""
    from bench.workers import Limits

    if workers == 0 and time_limit is not None:
        raise StudyError("--time-limit needs a worker to end: with --workers 0 nothing can be ended. Use --workers 1.")
    for option, minutes in (("--time-limit", time_limit), ("--silence-limit", silence_limit)):
        if minutes is not None and not minutes > 0:  # nan too
            raise StudyError(f"{option} is {minutes:g}. Give minutes, more than 0, as {option} 90 or {option} 0.5.")
    return Limits(seconds=None if time_limit is None else 60 * time_limit, silence=60 * silence_limit)
