"""Prepared images at training size: one pair of arrays per geometry, made once, on all cores, whole or not at all.

<folder>/{images,masks}-<H>x<W>-<fit>.npy     uint8 (N, H, W, 3) and (N, H, W), one row per window of each image
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench import pool
from bench.fit import cut, tag, windows
from bench.specs import Recipe
from bench.store import check_room, writing

Progress = Callable[[int, int], None]
"""Called with the samples done and the samples in all."""
Item = TypeVar("Item")
Read = Callable[[Item], tuple[np.ndarray, np.ndarray]]


def owners(sizes: Sequence[tuple[int, int]], recipe: Recipe) -> np.ndarray:
    """Which image each row belongs to: its position, int64 (N,), rising.

    Args:
        sizes: The native sizes (height, width) of all images, in order.
        recipe: How they come to the training size.
    """
    return np.repeat(np.arange(len(sizes)), [len(windows(size, recipe)) for size in sizes])


def needed(sizes: Sequence[tuple[int, int]], recipe: Recipe) -> int:
    """What the two arrays take on disk [bytes]."""
    return 4 * len(owners(sizes, recipe)) * recipe.size[0] * recipe.size[1]


def arrays(
    folder: Path,
    items: Sequence[Item],
    sizes: Sequence[tuple[int, int]],
    recipe: Recipe,
    read: Read[Item],
    progress: Progress = lambda done, of: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, H, W, 3) and masks uint8 (N, H, W), memory-mapped; made first when they are not there.

    Args:
        folder: Where they are kept.
        items: What `read` gives the native pair of; can be pickled, as `read` can.
        sizes: Their native sizes (height, width).
        recipe: How they come to the training size.
        read: Gives image uint8 (h, w, 3) and mask uint8 (h, w) of an item.
        progress: Told how far the making is.
    Raises:
        StoreError: If the disk has no room for them.
    """
    owner = owners(sizes, recipe)
    shapes = [(len(owner), *recipe.size, 3), (len(owner), *recipe.size)]
    paths = [folder / f"{what}-{tag(recipe)}.npy" for what in ("images", "masks")]
    found = [_open(path, shape) for path, shape in zip(paths, shapes, strict=True)]
    if not all(array is not None for array in found):
        _make(paths, shapes, items, owner, recipe, read, progress)
        found = [_open(path, shape) for path, shape in zip(paths, shapes, strict=True)]
    images, masks = (array for array in found if array is not None)
    return images, masks


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file; None when it is not there, cut short, or of another shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _make(
    paths: Sequence[Path],
    shapes: Sequence[tuple[int, ...]],
    items: Sequence[Item],
    owner: np.ndarray,
    recipe: Recipe,
    read: Read[Item],
    progress: Progress,
) -> None:
    """Write both arrays under other names, row by row, and rename them when all rows are there."""
    folder = paths[0].parent
    check_room(folder, sum(int(np.prod(shape)) for shape in shapes))
    parts = [path.with_suffix(f".{os.getpid()}.part") for path in paths]
    try:
        with writing(folder):
            bases = [_reserve(part, shape) for part, shape in zip(parts, shapes, strict=True)]
            files = list(zip(parts, bases, strict=True))
            firsts = np.searchsorted(owner, np.arange(len(items))).tolist()
            work = functools.partial(_fill, read, recipe, files)
            for done, _ in enumerate(pool.each(work, list(zip(items, firsts, strict=True)))):
                progress(done + 1, len(items))
            for part, path in zip(parts, paths, strict=True):
                part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _reserve(path: Path, shape: tuple[int, ...]) -> int:
    """An .npy file of zeros; gives where its rows begin [bytes]."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    return array.offset


def _fill(read: Read[Item], recipe: Recipe, files: Sequence[tuple[Path, int]], one: tuple[Item, int]) -> None:
    """Write the rows of one image; runs wherever, since no two images share a row.

    Plain writes rather than a mapping: what was written does not count as memory of the process.
    """
    item, row = one
    image, mask = read(item)
    pairs = [cut(image, mask, window, recipe.size) for window in windows(mask.shape, recipe)]
    for (path, base), rows in zip(files, zip(*pairs, strict=True), strict=True):
        with path.open("r+b") as file:
            file.seek(base + row * rows[0].nbytes)
            for pixels in rows:
                file.write(np.ascontiguousarray(pixels).data)
