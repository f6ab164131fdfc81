"""`bench data prepare NAME --download`: the terms first, then the files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import cli_rows, quantities
from bench.cli_options import console, say
from bench.errors import DataError, StudyError

if TYPE_CHECKING:
    from bench.fetch import Progress as Report

PANEL = "Downloading"
MIRROR = "BENCH_MIRROR"
Download = Annotated[
    bool, typer.Option("--download", rich_help_panel=PANEL, help="Fetch the files, where a public address is known.")
]
Accept = Annotated[
    bool, typer.Option("--accept-licence", rich_help_panel=PANEL, help="Go on without asking; read the terms first.")
]
ReleaseName = Annotated[
    str | None,
    typer.Option("--release", metavar="NAME", rich_help_panel=PANEL, help="Which one, where there are several."),
]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        envvar=MIRROR,
        rich_help_panel=PANEL,
        help="Another address of the file; one that ends in a slash stands before the file's name.",
    ),
]
Sha256 = Annotated[
    str | None, typer.Option("--sha256", metavar="HEX", rich_help_panel=PANEL, help="The hash that the file must have.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the options say about downloading."""

    download: bool = False
    accept: bool = False
    release: str | None = None
    mirror: str | None = None
    sha256: str | None = None


def source(name: str, data_home: Path, given: Path | None, wish: Wish) -> Path | None:
    """Where the raw files of a data set are: what `--from` says, or what was downloaded.

    Raises:
        StudyError: If options do not go together.
        DataError: If there is nothing to download, the terms are not accepted, or a file cannot be had.
    """
    if not wish.download:
        mirror = wish.mirror and wish.mirror != os.environ.get(MIRROR)  # which may be set for other times
        if wish.accept or wish.release or wish.sha256 or mirror:
            raise StudyError(
                "--accept-licence, --release, --mirror and --sha256 are for --download. Add it, or leave them out."
            )
        return given
    if given is not None:
        raise StudyError(f"--download and --from {given} are two ways to the same files. Leave one out.")
    if wish.sha256 and (len(wish.sha256) != 64 or set(wish.sha256.lower()) - set("0123456789abcdef")):
        raise StudyError(f"--sha256 {wish.sha256}: must be 64 hexadecimal digits.")
    from bench import download

    release = download.chosen(name, wish.release, wish.mirror, wish.sha256)
    found = download.there(name, release, data_home)
    if found is not None:
        say(f"Downloaded before, and unchanged: {found} (remove it to download it again)")
        return found
    _agree(name, download.terms(name, release), wish)
    with _bars() as (bar, tell):
        return download.download(name, release, data_home, bar, tell)


def _agree(name: str, terms: dict[str, str], wish: Wish) -> None:
    """Show the terms, and go on only with the user's consent.

    Raises:
        DataError: If there is none; nothing was asked of any server.
    """
    console().print(cli_rows.table([{"what": key, "value": text} for key, text in terms.items()], f"Terms of {name}"))
    console().print()
    if wish.accept:
        return
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    if not (asked and typer.confirm("Do you accept the licence?")):
        raise DataError(
            f"{name} was not downloaded, since its licence was not accepted. Read the terms above, then add "
            "--accept-licence."
        )


@contextlib.contextmanager
def _bars() -> Generator[tuple[Callable[[str], Report], Callable[[str], None]]]:
    """A bar for each file with its bytes and speed, in a log a line when it begins; and what prints a line above."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    out = console()
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=out,
    )

    def tell(line: str) -> None:
        out.print(line, markup=False, soft_wrap=True)

    def bar(name: str) -> Report:
        task = shown.add_task(name, total=None)
        begun: list[bool] = []

        def count(done: int, total: int | None) -> None:
            if not begun and not out.is_interactive:
                size = "of unknown size" if total is None else quantities.size(total)
                tell(f"Downloading {name}, {size}, from byte {done:,}.")
            begun.append(True)
            shown.update(task, completed=done, total=total)

        return count

    if out.is_interactive:
        shown.start()
    try:
        yield bar, tell
    finally:
        shown.stop()
