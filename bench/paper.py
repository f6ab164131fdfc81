"""The figures of a report as files for a paper: vectors and fonts, black on white, and the same bytes every time."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from bench import names, svg
from bench.drawings import Drawing
from bench.errors import StudyError
from bench.store import escape, write_bytes

FOLDER = "figures"
FORMATS = ("pdf", "svg", "png")
USUAL = ("pdf", "svg")
DOTS = 200
"""Resolution of a PNG [dots per inch]."""
_DATES = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}, "png": {"Software": None}}


def chosen(given: Iterable[str]) -> tuple[str, ...]:
    """Formats that were asked for, separated by commas or one at a time, each once.

    Raises:
        StudyError: If one is not known.
    """
    asked = [one.lower() for text in given for one in names.split(text)]
    for one in asked:
        if one not in FORMATS:
            raise StudyError(
                f"--figures cannot write {one!r}. Use {', '.join(FORMATS)}, or several: --figures pdf,png."
            )
    return tuple(dict.fromkeys(asked)) or USUAL


def write(folder: Path, drawings: Iterable[Drawing], formats: Sequence[str]) -> list[Path]:
    """Write figures below a folder, by data set and kind, and return the paths of those there are now.

    Raises:
        StoreError: If a file cannot be written.
    """
    found = []
    for one in drawings:
        for suffix, data in files(one, formats).items():
            path = folder / f"{place(one)}.{suffix}"
            if not path.is_file() or path.read_bytes() != data:
                write_bytes(path, data)
            found.append(path)
    return found


def place(drawing: Drawing) -> str:
    """Where a figure lies below the folder, without its suffix: `DATA SET/KIND` or `DATA SET/KIND/NETWORK`."""
    parts = (escape(part) for part in (drawing.dataset, drawing.kind, drawing.of) if part)
    return "/".join(parts)


def files(drawing: Drawing, formats: Sequence[str]) -> dict[str, bytes]:
    """The figure in each format; drawn once, by the function that draws it for the page."""
    import matplotlib as mpl

    found = {}
    look = svg.look(drawing.title) | {
        "pdf.fonttype": 42,
        "svg.fonttype": "path",  # nobody knows which fonts a reader has
        "figure.facecolor": "white",
    }
    with mpl.rc_context(look), _black():
        figure = inspect.unwrap(drawing.draw)(drawing.info, drawing.title, **drawing.named)
        for suffix in formats:
            text = io.BytesIO()
            figure.savefig(text, format=suffix, metadata=_DATES[suffix], dpi=DOTS)
            found[suffix] = text.getvalue()
    return found


@contextlib.contextmanager
def _black() -> Generator[None]:
    """Draw black what stands on the page in the colour of its text."""
    from matplotlib.colors import get_named_colors_mapping

    named = get_named_colors_mapping()
    named[svg.INK] = "#000000"  # names are looked up before a colour is read as red, green and blue
    try:
        yield
    finally:
        del named[svg.INK]
