"""The command line: each command is a few lines that call the engine and show what it says."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench import __version__, catalog
from bench.cli_data import data_app
from bench.cli_options import DataHome, console, home, say, show
from bench.errors import BenchError, StudyError

if TYPE_CHECKING:
    from bench.cell import Job
    from bench.cli_screen import Live
    from bench.run import Planned
    from bench.specs import Place, Study
    from bench.workers import Limits

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Benchmark segmentation architectures across microscopy data sets; leaderboards a careful reader can trust.",
    epilog="Start with [bold]bench run matrix[/bold]: a small study on generated pictures, in a few minutes.",
)
run_app = typer.Typer(no_args_is_help=True, help="Train and score cells of the matrix.")
app.add_typer(data_app, name="data")
app.add_typer(run_app, name="run")


class Axis(StrEnum):
    """What `bench list` can list."""

    DATASETS = "datasets"
    ARCHITECTURES = "architectures"
    LOSSES = "losses"
    METRICS = "metrics"
    STUDIES = "studies"


class Format(StrEnum):
    """What `bench report` can print."""

    TABLE = "table"
    CSV = "csv"
    MARKDOWN = "md"
    JSON = "json"


Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.")]
StudyName = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="A study file (.toml), or a built-in study; default: quick.")
]
Many = list[str] | None


def main() -> None:
    """Run the program; an error of the user's is one line on stderr and an exit code, never a traceback."""
    try:
        app()
    except BenchError as error:
        _complain(f"Error: {error}")
        sys.exit(error.exit_code)


@app.callback()
def options(
    catalog_folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--catalog", metavar="DIR", help="A folder with datasets/ or architectures/ of your own; repeatable."
        ),
    ] = None,
) -> None:
    """Options of every command."""
    for folder in catalog_folder or []:
        if not folder.is_dir():
            raise StudyError(
                f"The catalogue folder {folder} does not exist. It should hold datasets/ or architectures/."
            )
    entries = [str(folder.resolve()) for folder in catalog_folder or []]
    if entries:
        os.environ["BENCH_PATH"] = os.pathsep.join([*entries, *filter(None, [os.environ.get("BENCH_PATH")])])


@app.command("list")
def list_(axis: Annotated[Axis | None, typer.Argument(help="One axis; default: all.")] = None) -> None:
    """List data sets, architectures, losses, metrics and studies."""
    from bench import listing

    for chosen in [axis] if axis else list(Axis):
        show(listing.table(chosen.value), title=chosen.value)


@run_app.command("matrix")
def matrix(
    study: StudyName = None,
    dataset: Annotated[
        Many, typer.Option(help="A data set, or the path of a folder; repeat or separate by commas.")
    ] = None,
    architecture: Annotated[Many, typer.Option(help="An architecture, as unet or 'unet[encoder=resnet50]'.")] = None,
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
    name: Annotated[str | None, typer.Option(help="Name of the results folder; default: the study's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Cells at once; default: one per core or GPU; 0: in this process."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="MINUTES", help="A cell that takes longer is ended; default: no limit."),
    ] = None,
    silence_limit: Annotated[
        float,
        typer.Option(
            "--silence-limit", metavar="MINUTES", help="A worker that gives no sign of life for so long is ended."
        ),
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells with parameters and cost; train nothing.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out data sets that are not prepared.")
    ] = False,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Run a study: every data set x architecture x loss, each with a tuned learning rate; then the leaderboard."""
    changes: dict[str, object] = {
        "datasets": dataset, "architectures": architecture, "losses": loss, "seeds": seeds, "folds": folds,
        "epochs": epochs, "trials": trials, "size": size, "fit": fit, "batch": batch, "lr_range": lr_range,
        "augment": augment,
    }  # fmt: skip
    limits = _limits(time_limit, silence_limit)
    place = _place(results, data_home)
    chosen = _study(study, changes, name)
    _run(chosen, place, device, workers, limits, dry_run=dry_run, retry_failed=retry_failed, skip_missing=skip_missing)


@app.command()
def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A study or its results folder; default: the newest.")
    ] = None,
    why: Annotated[str | None, typer.Option(metavar="CELL", help="Explain one cell, as smear/unet/ce/f0-s0.")] = None,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Tell what is done, failed, stale and pending."""
    from bench import run
    from bench import study as studies

    folder = _folder(study, results)
    stored = dataclasses.replace(studies.load(str(folder / "study.toml")), name=folder.name)
    planned = run.survey(run.resolve(stored), _place(folder.parent, data_home))
    if why is not None:
        known = {one.cell.key: one for one in planned}
        if why not in known:
            raise catalog.unknown("cell", why, known, "bench status")
        console().print("\n".join(run.why(known[why])), markup=False, soft_wrap=True)
        return
    rows: list[dict[str, object]] = [
        {"cell": one.cell.key, "standing": one.standing, "lr": one.record and one.record.lr} for one in planned
    ]
    show(rows, title=folder.name)
    counts = {standing: sum(one.standing is standing for one in planned) for standing in run.Standing}
    console().print(", ".join(f"{count} {standing}" for standing, count in counts.items()))


@app.command()
def report(
    study: Annotated[
        str | None, typer.Argument(metavar="[RESULTS]", help="A study's results folder; default: the newest.")
    ] = None,
    profile: Annotated[str, typer.Option(help="The metric profile; see bench list metrics.")] = "default",
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TABLE,
    results: Results = Path("results"),
) -> None:
    """Print the leaderboard, and write index.html, leaderboard.csv, .md and .json beside the records."""
    from bench import cli_screen, leaderboard
    from bench import report as reports

    folder = _folder(study, results)
    content = reports.collect(folder, profile)
    printers: dict[Format, Callable[[], str]] = {
        Format.CSV: lambda: leaderboard.as_csv(content.rows),
        Format.JSON: lambda: leaderboard.as_json(content.rows),
        Format.MARKDOWN: lambda: leaderboard.as_markdown(content.boards, content.profile),
    }
    page = reports.publish(content)
    if form in printers:
        sys.stdout.write(printers[form]())
        return
    for table in cli_screen.boards(content.boards, content.profile):
        console().print(table)
    console().print(f"Page: {page.resolve()}", soft_wrap=True)


@app.command()
def doctor(data_home: DataHome = None) -> None:
    """Print versions, devices, data sets found, and what is missing."""
    from bench import listing

    show(listing.versions(), title="versions")
    show(listing.devices(), title="devices")
    show(listing.data_found(home(data_home)), title="data sets")


@app.command()
def version() -> None:
    """Print the version of bench."""
    console().print(__version__)


def _run(
    study: Study,
    place: Place,
    device: str,
    workers: int | None,
    limits: Limits,
    *,
    dry_run: bool,
    retry_failed: bool,
    skip_missing: bool,
) -> None:
    from bench import cli_screen, plan, run

    run.check_device(device)
    if place.results.exists() and not place.results.is_dir():
        raise StudyError(f"{place.results} is a file, not a folder for results. Choose another --results.")
    study = _prepared(study, place, skip_missing=skip_missing)
    planned = run.survey(study, place)
    todo = run.pending(planned, retry_failed=retry_failed)
    count = min(run.default_workers(device) if workers is None else workers, len(plan.groups([t.cell for t in todo])))
    job = run.job(study, place, device, count)
    if dry_run:
        cli_screen.costs(console(), run.costs(planned, job), todo, count)
        return
    if not todo:
        failed = sum(one.standing is run.Standing.FAILED for one in planned)
        state = f"; {failed} failed, which --retry-failed runs again" if failed else " and up to date"
        console().print(f"Nothing to run: all {len(planned)} cells of {study.name} are stored{state}.")
    else:
        with cli_screen.bar(console(), "Fitting images to the training size") as progress:
            run.derive(job, todo, progress)
        _train(job, todo, count, limits, cli_screen.Live(console(), study, todo, len(planned)))
    _finish(place.results / study.name)


def _train(job: Job, todo: list[Planned], count: int, limits: Limits, live: Live) -> None:
    """Run cells with their progress shown; Ctrl-C and SIGTERM stop it, and say that nothing finished is lost."""
    from bench import run

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with live:
            run.run_study(job, todo, count=count, on_event=live.tell, limits=limits)
    except KeyboardInterrupt:
        _complain("Interrupted. Finished cells are kept; the same command goes on from here.")
        raise typer.Exit(130) from None


def _prepared(study: Study, place: Place, *, skip_missing: bool) -> Study:
    """Prepare what prepares itself; without --skip-missing the first missing data set ends the run."""
    from bench import cli_screen, prepare, problems
    from bench.errors import DataError

    kept = []
    for name in study.datasets:
        try:
            with problems.logged(name, place.data_home), cli_screen.bar(console(), f"Preparing {name}") as progress:
                prepare.prepare(name, place.data_home, progress=progress, recipe=study.recipe, say=say)
            kept.append(name)
        except DataError as error:
            if not skip_missing:
                raise
            _complain(f"Left out: {error}")
    if not kept:
        raise StudyError(f"None of the data sets {', '.join(study.datasets)} is prepared. See bench doctor.")
    return dataclasses.replace(study, datasets=tuple(kept))


def _finish(folder: Path) -> None:
    """The leaderboard in the terminal, the page on disk, and exit code 1 when a cell failed."""
    from bench import cli_screen
    from bench import report as reports

    content = reports.collect(folder, "default")
    page = reports.publish(content)
    for table in cli_screen.boards(content.boards, content.profile):
        console().print(table)
    console().print(f"Page: {page.resolve()}", soft_wrap=True)
    failed = [row for row in content.rows if row.status not in ("ok", "diverged")]
    if failed:
        _complain(
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


def _limits(time_limit: float | None, silence_limit: float) -> Limits:
    """What a worker may use; minutes on the command line, seconds inside."""
    from bench.workers import Limits

    for option, minutes in (("--time-limit", time_limit), ("--silence-limit", silence_limit)):
        if minutes is not None and not minutes > 0:  # nan too
            raise StudyError(f"{option} is {minutes:g}. Give minutes, more than 0, as {option} 90 or {option} 0.5.")
    return Limits(seconds=None if time_limit is None else 60 * time_limit, silence=60 * silence_limit)


def _folder(study: str | None, results: Path) -> Path:
    """The results folder of a study: a path, a name below --results, or the newest one."""
    from bench import report as reports

    if study is None:
        return reports.newest(results)
    for candidate in (Path(study), results / study):
        if (candidate / "study.toml").is_file():
            return candidate
    raise StudyError(
        f"Neither {study} nor {results / study} is the results folder of a study. Run bench run matrix first."
    )


def _place(results: Path, data_home: Path | None) -> Place:
    from bench.specs import Place

    return Place(results=results, data_home=home(data_home))


def _complain(message: str) -> None:
    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)
