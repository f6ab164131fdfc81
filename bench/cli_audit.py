"""`bench data audit`, and the audit that comes before every study."""

from __future__ import annotations

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import DataHome, complain, console, home, say, show
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.audit import Bar
    from bench.specs import Place, Study


class Form(StrEnum):
    """What `bench data audit` can print."""

    TABLE = "table"
    JSON = "json"


def audit(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="As in bench list datasets, or the path of a folder.")],
    target: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.html", help="Where the page goes; default: NAME-audit.html here."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="What to print.")] = Form.TABLE,
    crops: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="How long to look for crops; default: 60. Looks again at all."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Look again, even if nothing changed since.")] = False,
    data_home: DataHome = None,
) -> None:
    """Look for leaks and defects: copies, turned, bent or cut out, across splits; masks off their images, and more.

    Exit code 1 when there is a leak across the splits, a mask off its image or off the palette; 0 otherwise.
    """
    from bench import audit as audits
    from bench import auditfile, auditpage, catalog, conduct, prepare, problems, verdict
    from bench.store import escape

    page = target or Path(f"{escape(Path(name).name if catalog.is_folder(name) else name)}-audit.html")
    if page.suffix.lower() != ".html" or page.is_dir():
        raise StudyError(f"The page cannot be written to {page}. Give the name of a file that ends in .html.")
    place, quiet = home(data_home), form is Form.JSON
    with problems.logged(name, place):
        found = audits.audit(
            name,
            place,
            _bar(quiet=quiet),
            crops_s=audits.CROPS_S if crops is None else crops,
            again=again or crops is not None,
            unkept=lambda error: complain(f"The audit is not kept for the next study. {error}"),
        )
    prepared = prepare.open_prepared(name, place)
    split = conduct.split(prepared, 0, 1)
    whole = audits.in_split(found, prepared, split)
    auditpage.publish(whole, prepared, split, page)
    if quiet:
        sys.stdout.write(auditfile.dump(whole, split))
    else:
        said = verdict.verdict(whole, split)
        for line in said.main:
            console().print(line, markup=False, soft_wrap=True, style="bold red" if said.bad else "bold")
        for line in said.rests:
            say(line)
        if rows := verdict.rows(whole, split):
            console().print()
            show(rows, title=f"{whole.title}: {whole.images} images")
        console().print(f"Page: {page.resolve()}", markup=False, soft_wrap=True)
    if audits.serious(whole, split):
        raise typer.Exit(1)


def before(study: Study, place: Place, *, allow_leak: bool) -> None:
    """Audit the data of a study before it runs, on the screen; raises what `conduct.audited` raises."""
    from bench import cli_screen, conduct

    conduct.audited(study, place, cli_screen.Screen(), allow_leak=allow_leak)


def _bar(*, quiet: bool) -> Bar:
    """Progress on the screen; on stderr where stdout is for a program."""
    from rich.console import Console

    from bench import cli_screen

    return functools.partial(cli_screen.bar, Console(stderr=True) if quiet else console())
