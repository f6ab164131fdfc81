"""The commands below `bench data`."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import cli_audit, cli_download, cli_show
from bench.cli_options import DataHome, console, home, say, show

if TYPE_CHECKING:
    from bench.prepare import Prepared
    from bench.specs import Recipe

data_app = typer.Typer(
    no_args_is_help=True, help="Prepare data sets, show them, tell how they are split, and write them out."
)
data_app.command("show")(cli_show.show)
data_app.command("audit")(cli_audit.audit)


class Sheet(StrEnum):
    """How a table can be printed."""

    TABLE = "table"
    CSV = "csv"


@data_app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="As in bench list datasets, or the path of a folder.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="The folder or zip you downloaded.")
    ] = None,
    native: Annotated[
        bool | None,
        typer.Option(
            "--native/--no-native", help="Keep the decoded pixels (default), or read the raw files again for scoring."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="S|HxW", help="Bring the images to this training size at once.")
    ] = None,
    fit: Annotated[str | None, typer.Option(help="How: resize, letterbox or tile.")] = None,
    download: cli_download.Download = False,
    accept: cli_download.Accept = False,
    release: cli_download.ReleaseName = None,
    mirror: cli_download.Mirror = None,
    sha256: cli_download.Sha256 = None,
    data_home: DataHome = None,
) -> None:
    """Decode and check a data set once, so that every cell can read it."""
    from bench import cli_screen, problems
    from bench import prepare as preparation

    recipe, place = _recipe(size, fit), home(data_home)
    wish = cli_download.Wish(download=download, accept=accept, release=release, mirror=mirror, sha256=sha256)
    source = cli_download.source(name, place, source, wish)
    with problems.logged(name, place), cli_screen.bar(console(), f"Preparing {name}") as progress:
        prepared = preparation.prepare(name, place, source, progress, native=native, recipe=recipe, say=say)
    if recipe is not None:
        with cli_screen.bar(console(), "Fitting images to the training size") as progress:
            prepared.resized(recipe, progress)
    _show_classes(prepared)
    say(f"Prepared in {prepared.folder}")


@data_app.command("split")
def split(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="As in bench list datasets, or the path of a folder.")],
    folds: Annotated[int, typer.Option(metavar="K", help="Cross-validate; 1 is the official split.", min=1)] = 1,
    form: Annotated[Sheet, typer.Option("--format", help="What to print.")] = Sheet.TABLE,
    data_home: DataHome = None,
) -> None:
    """Print which images train, validate and test: id, source and kind of each, and its split in every fold."""
    from bench.prepare import open_prepared
    from bench.split import SPLIT_VERSION, assign, strata

    prepared = open_prepared(name, home(data_home))
    labelled = any(one.label is not None for one in prepared.samples)
    kinds = strata(prepared.samples, prepared.present)
    kinds = kinds if labelled else {source: prepared.classes[int(kind)] for source, kind in kinds.items()}
    numbers = range(1, folds + 1) if folds > 1 else [0]
    columns = {f"f{at}": assign(prepared.samples, at, folds, present=prepared.present) for at in numbers}
    rows: list[dict[str, object]] = [
        {"id": one.id, "source": one.source, "label": kinds[one.source]} | {f: c[one.id] for f, c in columns.items()}
        for one in sorted(prepared.samples, key=lambda one: one.id)
    ]
    if form is Sheet.CSV:
        table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return
    show(rows, title=f"{prepared.index.title}: split version {SPLIT_VERSION}")


@data_app.command("export")
def export(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="As in bench list datasets, or the path of a folder.")],
    target: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder that does not exist yet.")],
    data_home: DataHome = None,
) -> None:
    """Write a data set as a plain folder: images, palette masks, object boxes where they are known."""
    from bench import problems
    from bench.export import export as write

    with problems.logged(name, home(data_home)):
        count = write(name, home(data_home), target)
    say(f"Wrote {count} images with masks to {target}; read them back with --dataset {target}")


def _show_classes(prepared: Prepared) -> None:
    sizes = {split: len(group) for split, group in prepared.split(0, 1).items()}
    pixels = [sum(column) for column in zip(*(entry.pixels for entry in prepared.index.entries), strict=True)]
    show(
        [
            {"class": spec.name, "pixels": f"{100 * count / max(1, sum(pixels)):.2f}%"}
            for spec, count in zip(prepared.index.classes, pixels, strict=True)
        ],
        title=f"{prepared.index.title}: {sizes['train']} train, {sizes['val']} val, {sizes['test']} test",
    )
    if doubtful := sum(entry.doubtful for entry in prepared.index.entries):
        share = doubtful / sum(height * width for height, width in prepared.sizes)
        say(f"{share:.2%} of the mask pixels are between the classes (as JPEG leaves them) and went to the nearest.")


def _recipe(size: str | None, fit: str | None) -> Recipe | None:
    """The geometry asked for; None when nothing is."""
    from bench import study as studies
    from bench.specs import Study

    if size is None and fit is None:
        return None
    return studies.override(Study(name="data"), {"size": size, "fit": fit}).recipe
