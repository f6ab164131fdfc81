"""What several commands share: where prepared data live, and how things are printed; loads nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import cli_rows

DataHome = Annotated[
    Path | None,
    typer.Option(
        "--data-home",
        metavar="DIR",
        envvar="BENCH_DATA",
        help="Where prepared data live (default: the user's cache folder).",
    ),
]


def home(data_home: Path | None) -> Path:
    """The folder of prepared data: the one that was given, or the user's cache folder."""
    if data_home is not None:
        return data_home
    import platformdirs

    return Path(platformdirs.user_cache_dir("cytobench"))


def show(rows: list[dict[str, object]], *, title: str) -> None:
    """Print a table."""
    console().print(cli_rows.table(rows, title))
    console().print()


def say(line: str) -> None:
    """Print a line as it is."""
    console().print(line, markup=False, soft_wrap=True)


def console() -> Console:
    """Standard output; as wide as needed when it is not a terminal, so that nothing is cut off in a log."""
    wide = None if sys.stdout.isatty() else 200
    return Console(width=wide, highlight=False)
