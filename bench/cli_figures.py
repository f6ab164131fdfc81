"""`bench report --figures`, with formats behind it or without: the figures as files for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from bench.cli_options import complain, say

if TYPE_CHECKING:
    from bench.report import Content

OPTION = "--figures"
IMAGES = {"pdf", "svg", "png", "eps", "ps", "gif", "jpg", "jpeg", "tif", "tiff", "webp"}
"""What stands behind the option as a format, known to us or not; anything else there is a results folder."""


class ReportCommand(TyperCommand):
    """A command whose `--figures` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the option the empty value, which means the usual formats, where none follows it."""
        return super().parse_args(ctx, valued(args))


def valued(args: list[str]) -> list[str]:
    """The arguments with `--figures=` in place of `--figures` where no format follows."""
    plain = args[: args.index("--")] if "--" in args else args
    found = []
    for at, one in enumerate(plain):
        after = plain[at + 1] if at + 1 < len(plain) else ""
        alone = one == OPTION and IMAGES.isdisjoint(part.strip().lower() for part in after.split(","))
        found.append(f"{OPTION}=" if alone else one)
    return found + args[len(plain) :]


def write(content: Content, formats: tuple[str, ...], *, quiet: bool) -> None:
    """Write the figures, and say where they are: on standard error where the other one holds a table for programs."""
    from bench import paper, report

    folder: Path = content.store.root / paper.FOLDER
    count = len(report.write_figures(content, formats))
    (complain if quiet else say)(f"Figures: {count} files ({', '.join(formats)}) in {folder.resolve()}")
