"""One raw pair, decoded and checked, to one entry of the prepared data; runs in helper processes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import duplicates
from bench.errors import DataError
from bench.specs import IGNORE, Sample

Load = Callable[[Sample], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prepared sample: what it is, and where its pixels lie in pixels.bin."""

    sample: Sample
    height: int
    width: int
    offset: int
    hash: str  # sha256 of image and mask bytes
    pixels: tuple[int, ...]  # of each class
    doubtful: int = 0  # mask pixels that a threshold or the nearest colour decided


Decoded = tuple[Entry, np.ndarray | None]
"""An entry, and the fingerprint of the image when nobody knows its source."""


def attempt(
    load: Load, doubtful: Callable[[Sample], int] | None, classes: int, target: Path | None, sample: Sample
) -> Decoded | DataError:
    """Decode one pair; what is wrong with it comes back, so that all that is wrong can be told at once."""
    try:
        return decode(load, doubtful, classes, target, sample)
    except DataError as error:
        return error


def decode(
    load: Load, doubtful: Callable[[Sample], int] | None, classes: int, target: Path | None, sample: Sample
) -> Decoded:
    """Decode one pair and append it to the file; runs in a process of its own, so that no pixels travel between them.

    Appending is one write, after which the position of the file says where it ended, whoever else appends.

    Returns:
        The entry, and the fingerprint of the image when nobody knows its source.
    """
    image, mask = load(sample)
    counts = _checked(sample, image, mask, classes)
    parts = [np.ascontiguousarray(image), np.ascontiguousarray(mask)]
    size, offset = sum(part.nbytes for part in parts), 0
    if target is not None:
        with target.open("ab", buffering=0) as file:
            if os.writev(file.fileno(), [part.data for part in parts]) != size:
                raise OSError(errno.ENOSPC, "No space left on device")
            offset = os.lseek(file.fileno(), 0, os.SEEK_CUR) - size
    digest = hashlib.sha256(parts[0].data)
    digest.update(parts[1].data)
    height, width = mask.shape
    entry = Entry(
        sample=sample,
        height=height,
        width=width,
        offset=offset,
        hash=digest.hexdigest(),
        pixels=counts,
        doubtful=0 if doubtful is None else doubtful(sample),
    )
    return entry, None if sample.source else duplicates.fingerprint(image)


def sizes(load: Load, samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Height and width of the images, from the headers of their files; where there are none, from the first pair.

    A file that cannot be read is left out: decoding it will say so.
    """
    from PIL import Image

    if not samples or not Path(samples[0].image).is_file():
        return [load(sample)[1].shape for sample in samples[:1]] * len(samples)
    found = []
    for sample in samples:
        failures = contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError)
        with failures, Image.open(sample.image) as image:
            found.append((image.height, image.width))
    return found


def refuse(wrong: Sequence[tuple[Sample, DataError]], of: int) -> None:
    """Raise the first of the errors, for all files that are wrong."""
    if len(wrong) == 1:
        raise wrong[0][1]
    if wrong:
        files = tuple(file for sample, error in wrong for file in error.files or (sample.image,))
        raise DataError(f"{wrong[0][1]} {len(wrong)} of {of} pairs are wrong.", files)


def _checked(sample: Sample, image: np.ndarray, mask: np.ndarray, classes: int) -> tuple[int, ...]:
    """The pixels of every class, if image and mask are what a data set may load."""
    if image.dtype != np.uint8 or mask.dtype != np.uint8 or mask.ndim != 2 or image.shape != (*mask.shape, 3):
        raise DataError(
            f"{sample.image} was loaded as {image.dtype} {image.shape} with a mask {mask.dtype} {mask.shape}; it must "
            "be uint8 (H, W, 3) with uint8 (H, W). Mend `load` of the data set."
        )
    counts = tuple(int(np.count_nonzero(mask == label)) for label in range(classes))
    if sum(counts) + np.count_nonzero(mask == IGNORE) != mask.size:
        strange = np.setdiff1d(mask, [*range(classes), IGNORE])
        raise DataError(
            f"{sample.mask} holds the class {int(strange[0])}; allowed are 0 to {classes - 1}, and {IGNORE} "
            "to ignore a pixel. Mend the file, or its reader."
        )
    return counts
