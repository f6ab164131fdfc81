"""What several commands share: where prepared data live, and how things are printed; loads nothing heavy."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import cli_rows, places
from bench.places import home as home

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
RESULTS = "A study's results: its folder, its name below --results, or an export"
Stored = Annotated[str | None, typer.Argument(metavar="RESULTS", help=f"{RESULTS}; default: the newest.")]
StoredCell = Annotated[
    str,
    typer.Argument(metavar="CELL", help="A key, as smear/unet/ce/f0-s0; a cell's folder; or MODEL.safetensors."),
]
StudyOfKey = Annotated[
    str | None, typer.Option("--study", metavar="RESULTS", help="Where a key is looked up; default: the newest.")
]
Force = Annotated[bool, typer.Option("--force", help="Even if the code of the network has changed since.")]
EDGES = "S|HxW"
"""How sizes are written [pixels]: of a square, or height and width."""
PRESETS = "none, light, standard, heavy, seed0, seed1, seed2 or seed4."


leave = contextlib.ExitStack()
"""What the program undoes when it ends."""


def study_folder(study: str | None, results: Path) -> Path:
    """The results folder of a study: a path, a name below --results, or the newest one; of an export for a while."""
    archive = None if study is None else packed(study, results)
    return places.study_folder(study, results) if archive is None else unpacked(archive)


def packed(text: str, results: Path) -> Path | None:
    """The export that a text names, here or below --results; None where it is something else."""
    from bench import unpacking

    return next((path for path in (Path(text), results / text) if unpacking.is_archive(path)), None)


def unpacked(archive: Path) -> Path:
    """The folder behind an export, checked; it is removed when the command ends."""
    from bench import unpacking

    return leave.enter_context(unpacking.unpacked(archive))


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
