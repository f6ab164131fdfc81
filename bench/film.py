"""A film of a training on disk: what it made of some validation images after every epoch, a small file for each.

    <cell>/training/film/{watched.npz, trial-0/1.npz, trial-0/2.npz, .., final/1.npz, ..}

Written by the worker that trains, read by whoever looks on. Frames are pictures: no result depends on them.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import thumbnails
from bench.errors import StoreError
from bench.store import read_arrays, sweep, write_arrays, writing

TRAINING = "training"
"""The folder in that of a cell which tells about its trainings, epoch by epoch."""


class Watched(NamedTuple):
    """The images that are watched: their ids, images uint8 (h, w, 3) and true masks uint8 (h, w), thumbnails all."""

    ids: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...]
    truths: tuple[NDArray[np.uint8], ...]


def folder(cell: Path) -> Path:
    """Where the film of a cell is, below the folder of the cell."""
    return cell / TRAINING / "film"


def begin(
    folder: Path,
    key: str,
    ids: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
) -> None:
    """Write the images (H, W, 3) and true masks (H, W) of a film; frames stay where they are of the same images.

    Args:
        key: What the film is of; frames of another are removed.
    """
    sweep(folder)
    watched = read(folder, key)
    if watched is not None and watched.ids == tuple(ids):
        return
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, np.ndarray] = {}
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        pictures[f"image{number}"] = thumbnails.encoded(thumbnails.image(image))
        pictures[f"truth{number}"] = thumbnails.mask(mask)
    write_arrays(folder / "watched.npz", key=np.array(key), ids=np.array(list(ids)), **pictures)


def write(folder: Path, key: str, trial: int | None, epoch: int, maps: NDArray[np.uint8]) -> None:
    """Write what a training made of the images after an epoch: class maps uint8 (images, h, w)."""
    path = _frame(folder, trial, epoch)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, key=np.array(key), maps=maps)


def read(folder: Path, key: str) -> Watched | None:
    """The images of a film; None where there is none of that key, or it is damaged."""
    with contextlib.suppress(StoreError, KeyError):
        arrays = read_arrays(folder / "watched.npz")
        if str(arrays["key"]) == key:
            count = range(len(arrays["ids"]))
            images = tuple(thumbnails.decoded(arrays[f"image{number}"]) for number in count)
            truths = tuple(arrays[f"truth{number}"] for number in count)
            return Watched(tuple(map(str, arrays["ids"])), images, truths)
    return None


def frames(folder: Path, key: str, trial: int | None, epochs: Sequence[int]) -> Mapping[int, NDArray[np.uint8]]:
    """Class maps uint8 (images, h, w) after those of some epochs that there are frames of."""
    found = {}
    for epoch in epochs:
        with contextlib.suppress(StoreError):
            arrays = read_arrays(_frame(folder, trial, epoch))
            if str(arrays.get("key")) == key and "maps" in arrays:
                found[epoch] = arrays["maps"]
    return found


def _frame(folder: Path, trial: int | None, epoch: int) -> Path:
    return folder / ("final" if trial is None else f"trial-{trial}") / f"{epoch}.npz"
