"""`bench predict`: a stored cell applied to pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import EDGES, Force, Results, StoredCell, StudyOfKey, console, say, show, study_folder
from bench.errors import BenchError, DataError, StudyError
from bench.pictured import MANIFEST, found, read, turned

if TYPE_CHECKING:
    import numpy as np

    from bench.overlay import Count
    from bench.predict import Model, Options


class How(StrEnum):
    """How a picture comes to the network."""

    AS_TRAINED = "as-trained"
    WHOLE = "whole"
    TILE = "tile"


class Depth(StrEnum):
    """How probabilities are stored."""

    HALF = "float16"
    SINGLE = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is written of each picture, and where.

    Attributes:
        folder: Where everything goes.
        names: Of each picture, what its files begin with.
        earlier: The same of earlier predictions in the folder.
        probabilities: How they are stored; None for not at all.
        objects: Whether objects are counted, and of how many pixels at least; None for a share of the typical one.
    """

    folder: Path
    names: dict[Path, str]
    earlier: set[str]
    probabilities: Depth | None
    objects: bool
    min_area: int | None


@dataclass(slots=True, kw_only=True)
class Done:
    """What has become of the pictures so far.

    Attributes:
        rows: The table of counts.
        skipped: The pictures that could not be used, each with the reason.
        turned: Those that were turned upright.
        predicted: How many are written.
    """

    rows: list[Count] = field(default_factory=list["Count"])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    turned: list[str] = field(default_factory=list[str])
    predicted: int = 0


def predict(
    cell: StoredCell,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Files, folders, or patterns in quotes.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where predictions go.")] = Path("predictions"),
    how: Annotated[How, typer.Option(help="How a picture comes to the network.")] = How.AS_TRAINED,
    size: Annotated[
        str | None, typer.Option(metavar=EDGES, help="What the network sees; default: the study's.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Between windows, with --how tile; default: a quarter of one.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="S", help="With --how whole or tile: show the picture S times as large.")
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Mean over the picture and its three flips.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="T", help="Of two classes: from which probability a pixel is of the second; default: 0.5."
        ),
    ] = None,
    blur: Annotated[float, typer.Option(metavar="SIGMA", help="Blur the probabilities by so many pixels.")] = 0.0,
    probabilities: Annotated[Depth | None, typer.Option(help="Write them, too, as NPY (C, H, W).")] = None,
    objects: Annotated[bool, typer.Option("--objects", help="Count objects, touching ones by a watershed.")] = False,
    min_area: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=0, help="Smaller objects do not count; default: a fifth of the typical."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures at once; default: the study's.")
    ] = None,
    study: StudyOfKey = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
    force: Force = False,
    results: Results = Path("results"),
) -> None:
    """Apply a stored cell to pictures: class maps, overlays, counts."""
    from bench import overlay, pictured
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
        size=edges(size), overlap=overlap, scale=scale, flips=flips, blur=blur, threshold=threshold,
        probabilities=probabilities is not None,
    )  # fmt: skip
    model = Model(trained, device, batch)
    check_room(to)
    names = dict(zip(paths, overlay.stems(paths), strict=True))
    wanted = Wanted(
        folder=to, names=names, earlier=pictured.names(to),
        probabilities=probabilities, objects=objects, min_area=min_area,
    )  # fmt: skip
    done = Done()
    try:
        _predicted(model, paths, options, wanted, done)
    except BenchError as error:
        raise type(error)(f"{error}{_kept(done)}") from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise StudyError(
            f"The memory of {model.device} is too small for that. Use --how tile, or --batch 1.{_kept(done)}"
        ) from error
    finally:
        if done.predicted:
            overlay.write_counts(to / "counts.csv", done.rows)
            _manifest(model, options, wanted, done)
    _hint(model, options)
    _told(done, to)


def _predicted(model: Model, paths: list[Path], options: Options, wanted: Wanted, done: Done) -> None:
    """Predict, and write what is wanted of each picture as soon as it is there; what cannot be used is left out."""
    from bench import cli_screen, overlay
    from bench.store import write_bytes

    held = list[tuple[Path, "np.ndarray"]]()
    with cli_screen.bar(console(), "Predicting") as progress:
        progress(0, len(paths))
        for one in model.predict_many(_read(paths, held, len(model.classes), done), options):
            path, image = held.pop(0)
            if not done.predicted:  # from now on, what is in the folder is known to be no picture
                _manifest(model, options, wanted, done)
            target = wanted.folder / wanted.names[path]
            drawn = overlay.overlay(image, one.labels, model.classes)
            write_bytes(Path(f"{target}-classes.png"), overlay.class_map(one.labels, model.classes))
            write_bytes(Path(f"{target}-overlay.png"), overlay.picture(drawn))
            if wanted.probabilities:
                write_bytes(Path(f"{target}-probabilities.npy"), overlay.npy(one.probabilities, wanted.probabilities))
            done.rows += overlay.counts(
                str(path), one.labels, model.classes, split=wanted.objects, min_area=wanted.min_area
            )
            done.predicted += 1
            progress(done.predicted + len(done.skipped), len(paths))


def _read(paths: list[Path], held: list[tuple[Path, np.ndarray]], classes: int, done: Done) -> Iterator[np.ndarray]:
    """The pictures that can be used, each kept in `held` until its prediction has been drawn on it."""
    from bench import overlay

    for path in paths:
        try:
            image = read(path)
            overlay.check_picture(path, image, classes)
        except DataError as error:
            done.skipped[str(path)] = str(error)
            continue
        if turned(path):
            done.turned.append(str(path))
        held.append((path, image))
        yield image


def _hint(model: Model, options: Options) -> None:
    """Say so where cells would have another size than the network knows."""
    if options.how.value == "as-trained" or model.recipe.fit == "tile" or options.scale or options.size:
        return
    height, width = model.recipe.size
    say(
        f"The study showed its pictures at {height}x{width}; --how {options.how.value} shows them at their own scale. "
        "Where that is another, --scale S brings cells to the size that the network knows."
    )


def _kept(done: Done) -> str:
    return f" The {done.predicted} pictures before are done." if done.predicted else ""


def _told(done: Done, to: Path) -> None:
    """What was done, at the end.

    Raises:
        DataError: Where pictures had to be left out.
    """
    if done.turned:
        say(f"Turned upright, as their EXIF says: {len(done.turned)}, the first {done.turned[0]}")
    if done.predicted:
        _summary(done.rows, done.predicted)
        console().print(f"Predictions: {to.resolve()}", markup=False, soft_wrap=True)
    if done.skipped:
        first = next(iter(done.skipped.values()))
        count = len(done.skipped)
        raise DataError(
            f"{count} of {count + done.predicted} pictures skipped{', the first' if count > 1 else ''}: {first}"
            + (f" The others are done; {to / MANIFEST} lists all." if done.predicted else ""),
            list(done.skipped),
        )


def _manifest(model: Model, options: Options, wanted: Wanted, done: Done) -> None:
    """What was made of what, and how, as JSON beside it."""
    from bench import __version__
    from bench.store import write_bytes

    content = {
        "bench": __version__,
        "study": model.record.study,
        "cell": model.record.cell.key,
        "fingerprint": model.record.fingerprint,
        "weights_sha256": model.record.weights_hash,
        "classes": [asdict(one) for one in model.classes],
        "options": asdict(options) | {"device": str(model.device)},
        "images": {name: str(path) for path, name in wanted.names.items() if str(path) not in done.skipped},
        "earlier": sorted(wanted.earlier - set(wanted.names.values())),
        "turned": done.turned,
        "skipped": done.skipped,
    }
    write_bytes(wanted.folder / MANIFEST, json.dumps(content, indent=1).encode())


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
