"""The command line: each command is a few lines that call the engine and show what it says."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bench import (
    __version__,
    catalog,
    cli_architecture,
    cli_cell,  # noqa: F401 - it adds itself to `bench run`
    cli_check,
    cli_compare,
    cli_convert,
    cli_dashboard,
    cli_explain,
    cli_figures,
    cli_plan,
    cli_predict,
    cli_share,
    cli_watch,
)
from bench.cli_data import data_app
from bench.cli_options import (
    RESULTS,
    DataHome,
    Results,
    Stored,
    complain,
    console,
    home,
    leave,
    packed,
    say,
    show,
    study_folder,
)
from bench.cli_run import run_app
from bench.errors import BenchError, StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report import Content
    from bench.specs import Place


class Program(TyperGroup):
    """The commands, by what they are for; `--catalog DIR` may also stand behind a command."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names as help shows them: group by group, in each as ORDER has them."""
        return [name for names in ORDER.values() for name in names]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring `--catalog` to the front, wherever it stands."""
        return super().parse_args(ctx, catalogues_first(args))


ORDER = {
    "Run": ("run", "status", "plan", "dashboard"),
    "Read": ("report", "compare", "explain"),
    "Look up": ("list", "show", "data", "doctor", "version"),
    "Check": ("check", "verify"),
    "Use": ("predict", "convert"),
    "Share": ("export", "share"),
}
"""The commands by what they are for; README.md has the same groups."""
PANEL = {name: panel for panel, names in ORDER.items() for name in names}


def catalogues_first(args: list[str]) -> list[str]:
    """The arguments with every `--catalog DIR` before the command; what stands behind `--` stays."""
    end = args.index("--") if "--" in args else len(args)
    found, others, rest = [], [], iter(args[:end])
    for one in rest:
        if one == "--catalog":
            found += [one, *itertools.islice(rest, 1)]
        else:
            (found if one.startswith("--catalog=") else others).append(one)
    return found + others + args[end:]


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Benchmark segmentation architectures across microscopy data sets; leaderboards a careful reader can trust.",
    epilog="Start with [bold]bench run matrix[/bold]: a small study on generated pictures, in a few minutes.",
)
for _name, _commands in {"data": data_app, "run": run_app, "show": cli_architecture.show_app}.items():
    app.add_typer(_commands, name=_name, rich_help_panel=PANEL[_name])
for _name, _command in {
    "plan": cli_plan.plan,
    "dashboard": cli_dashboard.dashboard,
    "compare": cli_compare.compare,
    "explain": cli_explain.explain,
    "check": cli_check.check,
    "verify": cli_compare.verify,
    "predict": cli_predict.predict,
    "convert": cli_convert.convert,
    "export": cli_share.export,
    "share": cli_share.share,
}.items():
    app.command(_name, rich_help_panel=PANEL[_name])(_command)


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
    LATEX = "tex"
    JSON = "json"
    PARQUET = "parquet"


class Absent(StrEnum):
    """What `bench report` does where a network lacks a score that a ranking across data sets needs."""

    COMMON = "common"
    BASELINE = "baseline"


def main() -> None:
    """Run the program; an error of the user's is one line on stderr and an exit code, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a letter that a terminal has no code for ends no study
    try:
        app()
    except BenchError as error:
        complain(f"Error: {error}")
        sys.exit(error.exit_code)
    finally:
        leave.close()


@app.callback()
def options(
    catalog_folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--catalog",
            metavar="DIR",
            help="A folder with datasets/, architectures/, losses/ or profiles/ of your own; repeatable, anywhere.",
        ),
    ] = None,
) -> None:
    """Options of every command."""
    allowed = ", ".join(f"{kind}/" for kind in catalog.KINDS)
    for folder in catalog_folder or []:
        if not folder.is_dir():
            raise StudyError(f"The catalogue folder {folder} does not exist. It should hold {allowed}.")
        if not any((folder / kind).is_dir() for kind in catalog.KINDS):
            raise StudyError(
                f"The catalogue folder {folder} holds none of {allowed}. Put your files into one of them, and name the "
                "folder above it."
            )
    entries = [str(folder.resolve()) for folder in catalog_folder or []]
    if entries:
        os.environ["BENCH_PATH"] = os.pathsep.join([*entries, *filter(None, [os.environ.get("BENCH_PATH")])])


@app.command("list", rich_help_panel=PANEL["list"])
def list_(
    axis: Annotated[Axis | None, typer.Argument(help="One axis; default: all.")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Of architectures: parameters, GFLOPs, divisor, paper, licence, origin.")
    ] = False,
) -> None:
    """List data sets, architectures, losses, metrics and studies."""
    from bench import listing

    if details and axis is not Axis.ARCHITECTURES:
        raise StudyError("--details is told of architectures only: bench list architectures --details.")
    if details:
        cli_architecture.details()
        return
    for chosen in [axis] if axis else list(Axis):
        show(listing.table(chosen.value), title=chosen.value)


@app.command(rich_help_panel=PANEL["status"])
def status(
    study: Stored = None,
    why: Annotated[str | None, typer.Option(metavar="KEY", help="Explain one cell, as smear/unet/ce/f0-s0.")] = None,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Tell what is done, failed, stale and pending, and what another shell is running."""
    from bench import cli_status, runner
    from bench import study as studies
    from bench.store import Store

    folder = study_folder(study, results)
    stored = dataclasses.replace(studies.load(str(folder / "study.toml")), name=folder.name)
    planned = runner.survey(runner.resolve(stored), _place(folder.parent, data_home), fetch=False)
    if why is not None:
        known = {one.cell.key: one for one in planned}
        if why not in known:
            raise catalog.unknown("cell", why, known, "bench status")
        console().print("\n".join(runner.why(known[why])), markup=False, soft_wrap=True)
        return
    rows, counts = cli_status.rows(planned, Store(folder), stored.tuning.trials)
    show(rows, title=folder.name)
    console().print(counts)


@app.command(cls=cli_figures.ReportCommand, rich_help_panel=PANEL["report"])
def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(metavar="RESULTS", help=f"{RESULTS}; several for one page; default: the newest."),
    ] = None,
    profile: Annotated[str, typer.Option(help="The metric profile; see bench list metrics.")] = "default",
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TABLE,
    missing: Annotated[
        Absent,
        typer.Option(help="Across data sets: rank networks with a score everywhere, or fill in the best baseline."),
    ] = Absent.COMMON,
    published: Annotated[
        bool, typer.Option("--published", help="Below each board, what papers reported on the same data set.")
    ] = False,
    target: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Where the page of several goes (default: results/merged), or one export."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write the page again whenever something was stored, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="With --watch: how often the folders are looked at.")
    ] = 2.0,
    figures: Annotated[
        list[str] | None,
        typer.Option(
            "--figures", metavar="pdf|svg|png", help="Also write every figure as files; default: pdf and svg."
        ),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Print the leaderboard, and write it beside the records: index.html, and leaderboard.csv, .md, .tex and .json.

    Several folders become one page: a row where they agree, two where they do not, which says why.
    """
    from bench import paper, parquet, ranking
    from bench import report as reports

    if form is Format.PARQUET:
        parquet.check(sys.stdout.isatty())
    formats = paper.chosen(figures) if figures is not None else ()
    folders, target = _folders(study or [None], results, target)
    if target is None and len(folders) > 1:
        target = results / reports.MERGED
    collect = functools.partial(reports.collect, folders, profile, ranking.Missing(missing.value), target=target)
    if watch:
        if form is not Format.TABLE:
            raise StudyError("--watch writes the page and its tables; it prints none. Leave out --format.")
        if published:
            raise StudyError("--watch prints no boards for --published to stand below. Leave it out.")
        if formats:
            raise StudyError("--watch does not write --figures. Run bench report --figures once the study has ended.")
        cli_watch.watch(folders, collect, every)
        return
    content = collect()
    _print(content, reports.publish(content), form, published=published)
    if formats:
        cli_figures.write(content, formats, quiet=form is not Format.TABLE)


@app.command(rich_help_panel=PANEL["doctor"])
def doctor(data_home: DataHome = None) -> None:
    """Print versions, extras, devices, data sets found, and what is missing."""
    from bench import listing

    show(listing.versions(), title="versions")
    show(listing.extras(), title="extras")
    show(listing.devices(), title="devices")
    show(listing.data_found(home(data_home)), title="data sets")


@app.command(rich_help_panel=PANEL["version"])
def version() -> None:
    """Print the version of bench."""
    console().print(__version__)


def _folders(wanted: Sequence[str | None], results: Path, target: Path | None) -> tuple[list[Path], Path | None]:
    """The folders of a page, and where it goes; an export is unpacked to stay, where --to says if it is alone."""
    from bench import unpacking

    archives = {name: packed(name, results) for name in wanted if name is not None}
    if len(wanted) == 1 and (alone := archives.get(wanted[0] or "")) is not None:
        return [unpacking.beside(alone, target)], None
    folders = [
        study_folder(name, results) if archive is None else unpacking.beside(archive)
        for name, archive in ((name, archives.get(name or "")) for name in wanted)
    ]
    return folders, target


def _print(content: Content, page: Path, form: Format, *, published: bool) -> None:
    """What `bench report` says of a page that was written."""
    from bench import cli_screen, parquet, ranking
    from bench import report as reports

    if form is Format.PARQUET:
        sys.stdout.buffer.write(parquet.as_parquet(content.rows, content.boards, content.profile))
        return
    if form is not Format.TABLE:
        sys.stdout.write(reports.texts(content)[f"leaderboard.{form}"])
        return
    tables = cli_screen.boards(content.boards, content.profile, console().width)
    for board, table in zip(content.boards, tables, strict=True):
        console().print(table)
        if published:
            console().print(cli_screen.published(board, content.profile))
    for table in cli_screen.worths(content):
        console().print(table)
    if content.across is not None:
        console().print(ranking.sentence(content.across), markup=False)
    for line in cli_screen.merged(content):
        say(line)
    console().print(f"Page: {page.resolve()}", soft_wrap=True)


def _place(results: Path, data_home: Path | None) -> Place:
    from bench.specs import Place

    return Place(results=results, data_home=home(data_home))
