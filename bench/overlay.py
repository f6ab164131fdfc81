"""Predictions as files: class maps as PNG in the colours of their classes, overlays, and objects counted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import objects
from bench.errors import DataError, StoreError
from bench.pictures import colours, indexed, png
from bench.specs import ClassSpec
from bench.store import escape, write_bytes

SHARE = 0.45
"""How much of the colour of a class is added to the picture."""
SAMPLED = 4096
"""Pixels that show a photograph to be none of a few colours, before all are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A line of the table of all pictures.

    Attributes:
        objects: Watershed pieces of the class; None where they were not asked for, and for the background.
        pixels: Of the class [pixels].
        share: Of the picture, in [0, 1].
    """

    image: str
    name: str
    objects: int | None
    pixels: int
    share: float


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[ClassSpec], share: float = SHARE
) -> NDArray[np.uint8]:
    """A picture with the colours of its classes added: sums end at 255 and never wrap; background is as it was.

    Args:
        image: uint8 (H, W, 3).
        labels: Places in `classes`, uint8 (H, W).
        share: How much of a colour is added, in [0, 1].
    Returns:
        uint8 (H, W, 3).
    """
    added = np.array([(0, 0, 0), *(spec.colour for spec in classes[1:])], np.float32) * share
    return np.clip(np.rint(image + added[labels]), 0, 255).astype(np.uint8)


def class_map(labels: NDArray[np.uint8], classes: Sequence[ClassSpec]) -> bytes:
    """A class map uint8 (H, W) as a PNG whose values are the classes and whose palette their colours."""
    return png(indexed(labels, classes), colours(classes))


def picture(image: NDArray[np.uint8]) -> bytes:
    """An image uint8 (H, W, 3) as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def npy(probabilities: NDArray[np.float32], kind: str) -> bytes:
    """Probabilities (C, H, W) as the bytes of an NPY, float16 or float32."""
    buffer = io.BytesIO()
    np.save(buffer, probabilities.astype(kind), allow_pickle=False)
    return buffer.getvalue()


def counts(
    image: str,
    labels: NDArray[np.uint8],
    classes: Sequence[ClassSpec],
    *,
    split: bool,
    min_area: int | None = None,
) -> list[Count]:
    """Pixels of each class, and its objects where asked for: components, touching cells parted by a watershed.

    Args:
        image: The name of the picture.
        labels: Places in `classes`, uint8 (H, W).
        classes: All of them.
        split: Whether objects are counted.
        min_area: Components below do not count [pixels]; None for `objects.SPECK` of the typical one.
    """
    pixels = np.bincount(labels.ravel(), minlength=len(classes))
    return [
        Count(
            image=image,
            name=spec.name,
            objects=_objects(labels == label, min_area) if split and label else None,
            pixels=int(pixels[label]),
            share=int(pixels[label]) / labels.size,
        )
        for label, spec in enumerate(classes)
    ]


def _objects(mask: NDArray[np.bool_], min_area: int | None) -> int:
    return objects.watershed_count(objects.components(mask), min_area)


def write_counts(path: Path, rows: Iterable[Count]) -> None:
    """The table of all pictures as CSV: image, class, objects, pixels, share."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["class" if field.name == "name" else field.name for field in fields(Count)])
    table.writerows({**asdict(row), "image": _plain(row.image), "name": _plain(row.name)}.values() for row in rows)
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe goes before what would begin one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def check_picture(path: Path, image: NDArray[np.uint8], classes: int) -> None:
    """Refuse a mask that was given as a picture: one with no more colours than classes, but for a picture of one.

    Raises:
        DataError: Saying how many colours it has.
    """
    values = image.reshape(-1, 3).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    if len(np.unique(values[:: max(1, len(values) // SAMPLED)])) > classes + 1:
        return
    found = len(np.unique(values))
    if 1 < found <= classes + 1:
        raise DataError(
            f"{path} has {found} colours only: it looks like a mask, not a picture. Name the pictures alone.",
            [str(path)],
        )


def stems(paths: Sequence[Path]) -> list[str]:
    """A file name for each picture, escaped; those of equal name in any spelling get a number."""
    taken, found = set[str](), list[str]()
    for path in paths:
        stem = name = escape(path.stem)
        number = 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        found.append(name)
    return found


def check_apart(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse predictions that would be written over one of their pictures.

    Raises:
        StoreError: Naming the picture.
    """
    read = {path.resolve(): path for path in paths}
    for stem in stems(paths):
        for kind in ("classes", "overlay"):
            if path := read.get((folder / f"{stem}-{kind}.png").resolve()):
                raise StoreError(f"A prediction would be written over the picture {path}. Choose another --to.")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder for predictions that holds something.

    Raises:
        StoreError: Unless that may be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, not a folder for predictions. Choose another --to.")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise StoreError(f"The folder {folder} is not empty. Choose another --to, or add --overwrite.")
