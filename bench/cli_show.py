"""`bench data show`: the card of a data set in the terminal, its contact sheet as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import cli_rows
from bench.cli_options import DataHome, console, home
from bench.errors import StudyError


def show(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="As in bench list datasets, or the path of a folder.")],
    augment: Annotated[
        str | None,
        typer.Option(metavar="PRESET", help="Show pictures as training sees them: none, light, standard, .."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.png", help="Where the contact sheet goes; default: NAME.png here."),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="How many pictures.")] = 12,
    size: Annotated[str, typer.Option(metavar="S|HxW", help="Training size, with --augment.")] = "256",
    data_home: DataHome = None,
) -> None:
    """Show a data set: classes, sizes and licence, and a contact sheet with the outlines of its masks."""
    from bench import card as cards
    from bench import catalog, contact, prepare
    from bench import study as studies
    from bench.presets import preset
    from bench.store import escape

    changes = preset(augment) if augment is not None else None
    edges, (low, high) = studies.size(size), studies.BOUNDS["recipe.size"]
    if not all(low <= edge <= high for edge in edges):
        raise StudyError(f"--size {size}: must be {low} to {high} pixels.")
    path = target or Path(f"{escape(Path(name).name if catalog.is_folder(name) else name)}.png")
    if path.suffix.lower() != ".png" or path.is_dir():
        raise StudyError(f"The contact sheet cannot be written to {path}. Give the name of a file that ends in .png.")
    prepared = prepare.open_prepared(name, home(data_home))
    card = cards.card(name, prepared)
    if changes is None:
        rows, what = contact.natives(prepared, count), "as they are"
    else:
        rows = contact.augmented(prepared, changes, count, edges)
        what = f"at {edges[0]} x {edges[1]} on the left, and {contact.VERSIONS} times under the preset {augment}"
    total = sum(card.images.values())
    note = f"{sum(map(len, rows)) if changes is None else len(rows)} of {total} images, {what}"
    contact.save(contact.sheet(card.title, note, rows, card.classes), path)
    console().print(cli_rows.table(cards.balance(card), card.title))
    console().print()
    console().print(cli_rows.table(cards.facts(card), "facts"))
    console().print(f"\nContact sheet: {path.resolve()}", markup=False, soft_wrap=True)
