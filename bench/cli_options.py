"""What several commands share: where prepared data live, and how things are printed; loads nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import cli_rows
from bench.places import home as home
from bench.places import study_folder as study_folder

DataHome = Annotated[
    Path | None,
    typer.Option(
        "--data-home",
        metavar="DIR",
        envvar="BENCH_DATA",
        help="Where prepared data live (default: the user's cache folder).",
    ),
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.")]


def show(rows: list[dict[str, object]], *, title: str) -> None:
    """Print a table."""
    console().print(cli_rows.table(rows, title))
    console().print()


def say(line: str) -> None:
    """Print a line as it is."""
    console().print(line, markup=False, soft_wrap=True)


def console() -> Console:
    """Standard output; when it is not a terminal, nothing moves in it, and it is wide, so that a log is not cut off."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else 200, highlight=False, force_interactive=None if terminal else False)


def complain(message: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)
