"""`bench predict`: a stored cell applied to pictures."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bench.cli_options import Results, console, say, show, study_folder
from bench.errors import DataError, StudyError

if TYPE_CHECKING:
    import numpy as np

    from bench.overlay import Count
    from bench.predict import Model, Options

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class How(StrEnum):
    """How a picture comes to the network."""

    AS_TRAINED = "as-trained"
    WHOLE = "whole"
    TILE = "tile"


class Depth(StrEnum):
    """How probabilities are stored."""

    HALF = "float16"
    SINGLE = "float32"


class Wanted(NamedTuple):
    """What is written of each picture, and where."""

    folder: Path
    probabilities: Depth | None
    objects: bool


def predict(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A key as smear/unet/ce/f0-s0, or the folder of a cell.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, or patterns in quotes.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where predictions go.")] = Path("predictions"),
    how: Annotated[How, typer.Option(help="How a picture comes to the network.")] = How.AS_TRAINED,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="What the network sees; default: the study's.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Of windows, with --how tile; default: a quarter.")
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Mean over the picture and its three flips.")] = False,
    threshold: Annotated[float | None, typer.Option(metavar="T", help="Of two classes: from where on.")] = None,
    blur: Annotated[float, typer.Option(metavar="SIGMA", help="Blur the probabilities by so many pixels.")] = 0.0,
    probabilities: Annotated[Depth | None, typer.Option(help="Write them, too, as NPY (C, H, W).")] = None,
    objects: Annotated[bool, typer.Option("--objects", help="Count objects, touching ones by a watershed.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures at once; default: the study's.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study a key belongs to; default: the newest.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if the code of the network changed since.")] = False,
    results: Results = Path("results"),
) -> None:
    """Apply a stored cell to pictures: class maps, overlays, counts."""
    from bench import overlay
    from bench.store import check_room
    from bench.trained import find, itself, opened

    paths = found(images)
    overlay.check_folder(to, overwrite=overwrite)
    overlay.check_apart(to, paths)
    trained = opened(Path(cell) if itself(cell) else find(cell, study_folder(study, results)), force=force)
    from bench.device import out_of_memory
    from bench.predict import Model, Options  # torch is loaded only for what can be done

    options = Options(
        how=how.value,  # ty: ignore[invalid-argument-type] - made one of its own
        size=edges(size), overlap=overlap, flips=flips, blur=blur, threshold=threshold,
    )  # fmt: skip
    model = Model(trained, device, batch)
    check_room(to)
    _check(paths, len(model.classes))
    try:
        rows = _predicted(model, paths, options, Wanted(to, probabilities, objects))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise StudyError(
            f"The memory of {model.device} is too small for that. Use --how tile, or --batch 1."
        ) from error
    overlay.write_counts(to / "counts.csv", rows)
    _manifest(model, options, paths, to)
    _summary(rows, len(paths))
    console().print(f"Predictions: {to.resolve()}", markup=False, soft_wrap=True)


def found(wanted: list[str]) -> list[Path]:
    """The pictures behind files, folders and patterns; each once, in the order they were named.

    Raises:
        DataError: If one of them stands for no picture.
    """
    paths: list[Path] = []
    for name in wanted:
        path = Path(name)
        inside = glob.glob(name, recursive=True)  # noqa: PTH207 - Path has no absolute ones
        matched = path.iterdir() if path.is_dir() else map(Path, inside)
        some = [path] if path.is_file() else sorted(matched)
        if not path.is_file():
            some = [one for one in some if one.suffix.lower() in SUFFIXES and one.is_file() and one.name[0] != "."]
        if not some:
            raise DataError(
                f"{name} is no picture, and no folder or pattern with one of {', '.join(SUFFIXES)}. Check it."
            )
        paths += some
    return list({path.resolve(): path for path in paths}.values())


def _predicted(model: Model, paths: list[Path], options: Options, wanted: Wanted) -> list[Count]:
    """Predict, and write what is wanted of each picture as soon as it is there."""
    from bench import cli_screen, overlay
    from bench.store import write_bytes

    rows, held = [], list["np.ndarray"]()
    with cli_screen.bar(console(), "Predicting") as progress:
        progress(0, len(paths))
        names = overlay.stems(paths)
        predictions = model.predict_many(_read(paths, held), options)
        for number, (path, name, one) in enumerate(zip(paths, names, predictions, strict=True), 1):
            target = wanted.folder / name
            drawn = overlay.overlay(held.pop(0), one.labels, model.classes)
            write_bytes(Path(f"{target}-classes.png"), overlay.class_map(one.labels, model.classes))
            write_bytes(Path(f"{target}-overlay.png"), overlay.picture(drawn))
            if wanted.probabilities:
                write_bytes(Path(f"{target}-probabilities.npy"), overlay.npy(one.probabilities, wanted.probabilities))
            rows += overlay.counts(str(path), one.labels, model.classes, split=wanted.objects)
            progress(number, len(paths))
    return rows


def _check(paths: list[Path], classes: int) -> None:
    """Read every picture once before anything is computed, so that a wrong one among many is told at once."""
    from bench import cli_screen, overlay

    with cli_screen.bar(console(), "Checking pictures") as progress:
        for number, path in enumerate(paths, 1):
            overlay.check_picture(path, reader()(path), classes)
            progress(number, len(paths))


def _read(paths: list[Path], held: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The pictures, each kept in `held` until its prediction has been drawn on it."""
    for path in paths:
        held.append(reader()(path))
        yield held[-1]


def reader() -> Callable[[Path], np.ndarray]:
    """Reads a file as every data set made of files is read: RGB, uint8 (H, W, 3)."""
    import importlib

    return importlib.import_module("bench.datasets._files").read_rgb


def _manifest(model: Model, options: Options, paths: list[Path], folder: Path) -> None:
    """What was made of what, and how, as JSON beside it."""
    from bench import __version__, overlay
    from bench.store import write_bytes

    content = {
        "bench": __version__,
        "study": model.record.study,
        "cell": model.record.cell.key,
        "fingerprint": model.record.fingerprint,
        "weights_sha256": model.record.weights_hash,
        "classes": [asdict(one) for one in model.classes],
        "options": asdict(options) | {"device": str(model.device)},
        "images": dict(zip(overlay.stems(paths), map(str, paths), strict=True)),
    }
    write_bytes(folder / "predictions.json", json.dumps(content, indent=1).encode())


def _summary(rows: list[Count], images: int) -> None:
    """The sums over all pictures, by class."""
    total = sum(row.pixels for row in rows)
    table: list[dict[str, object]] = []
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        counted = [row.objects for row in own if row.objects is not None]
        pixels = sum(row.pixels for row in own)
        line = {"class": name, "objects": sum(counted) if counted else None, "pixels": pixels}
        table.append(line | {"share": f"{pixels / total:.2%}"})
    show(table, title=f"{images} pictures" if images > 1 else "1 picture")
    say("By picture: counts.csv")


def edges(text: str | None) -> tuple[int, int] | None:
    """The (height, width) in the text of an option `--size` [pixels].

    Raises:
        StudyError: If it is no such text.
    """
    if text is None:
        return None
    edges = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if edges is None:
        raise StudyError(f"--size is {text!r}. Give height x width in pixels, as 256x320, or one number for both.")
    return int(edges[1]), int(edges[2] or edges[1])
