"""How a native image becomes training images, and where their predictions go back to: plain geometry.

`resize` stretches the image to the training size. `letterbox` keeps its shape and fills up around it. `tile` keeps
its scale and covers it with windows. What is filled up is black in the image and IGNORE in the mask.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.specs import IGNORE, Recipe


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a window [pixels].

    Attributes:
        start: Where the part of the native image begins.
        length: How long that part is.
        at: Where it lies in the training image.
        inner: How long it is there.
        first: The first native pixel that this window scores.
        last: One past the last native pixel that it scores.
    """

    start: int
    length: int
    at: int
    inner: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Window:
    """Where one training image comes from: its rows and its columns."""

    rows: Span
    columns: Span

    @property
    def native(self) -> tuple[int, int]:
        """Height and width of the part of the native image [pixels]."""
        return self.rows.length, self.columns.length

    @property
    def inside(self) -> tuple[slice, slice]:
        """The part of the training image that is no padding."""
        rows, columns = self.rows, self.columns
        return slice(rows.at, rows.at + rows.inner), slice(columns.at, columns.at + columns.inner)


def tag(recipe: Recipe) -> str:
    """The recipe's geometry as part of a file name; equal geometry, equal name."""
    height, width = recipe.size
    overlap = f"-{recipe.overlap}" if recipe.fit == "tile" else ""
    return f"{height}x{width}-{recipe.fit}{overlap}"


@functools.lru_cache(maxsize=4096)  # most images of a data set are of one size
def windows(native: tuple[int, int], recipe: Recipe) -> tuple[Window, ...]:
    """The training images of a native image (height, width), top to bottom and left to right.

    Every native pixel is scored by exactly one of them: the one whose centre is nearest, the earlier one of two.
    """
    if recipe.fit == "tile":
        rows, columns = (_tiles(length, room, recipe.overlap) for length, room in zip(native, recipe.size, strict=True))
        return tuple(Window(row, column) for row in rows for column in columns)
    inner = recipe.size if recipe.fit == "resize" else _inscribed(native, recipe.size)
    spans = [
        Span(0, length, (room - short) // 2, short, 0, length)
        for length, room, short in zip(native, recipe.size, inner, strict=True)
    ]
    return (Window(*spans),)


def cut(image: np.ndarray, mask: np.ndarray, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One training image uint8 (H, W, 3) and its mask uint8 (H, W), out of a native pair, at `size` (H, W)."""
    rows, columns = window.rows, window.columns
    part = slice(rows.start, rows.start + rows.length), slice(columns.start, columns.start + columns.length)
    small = resize(image[part], mask[part], (rows.inner, columns.inner))
    if small[1].shape == size:
        return small
    framed = np.zeros((*size, 3), np.uint8), np.full(size, IGNORE, np.uint8)
    for whole, inner in zip(framed, small, strict=True):
        whole[window.inside] = inner
    return framed


def join(native: tuple[int, int], pieces: Iterable[tuple[Window, np.ndarray]]) -> np.ndarray:
    """The map (..., height, width) of a native image, out of those of its windows: classes, or probabilities of each.

    Args:
        native: Height and width of the image [pixels].
        pieces: Every window with its map, at the native size of the window, without padding; at least one.
    """
    pieces = list(pieces)
    leading, kind = pieces[0][1].shape[:-2], pieces[0][1].dtype
    whole = np.empty((*leading, *native), kind)  # every pixel is scored by one of the windows
    for window, piece in pieces:
        rows, columns = window.rows, window.columns
        whole[..., rows.first : rows.last, columns.first : columns.last] = piece[
            ...,
            rows.first - rows.start : rows.last - rows.start,
            columns.first - columns.start : columns.last - columns.start,
        ]
    return whole


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image with antialiasing and its mask by nearest neighbour, to (height, width)."""
    from PIL import Image

    height, width = size
    if image.shape[:2] == size:
        return np.asarray(image), np.asarray(mask)
    small = Image.fromarray(np.asarray(image)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small), np.asarray(
        Image.fromarray(np.asarray(mask)).resize((width, height), Image.Resampling.NEAREST)
    )


def _inscribed(native: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the native shape that fits into the training size; at least a pixel."""
    scale = min(room / length for length, room in zip(native, size, strict=True))
    height, width = (min(room, max(1, round(length * scale))) for length, room in zip(native, size, strict=True))
    return height, width


def _tiles(length: int, room: int, overlap: int) -> list[Span]:
    """Windows along one axis: one with padding when all fits into it; else the last one ends where the image ends."""
    if length <= room:
        return [Span(0, length, (room - length) // 2, length, 0, length)]
    starts = [*range(0, length - room, room - overlap), length - room]
    borders = [0, *((one + next_one + room + 1) // 2 for one, next_one in pairwise(starts)), length]
    return [
        Span(start, room, 0, room, first, last) for start, (first, last) in zip(starts, pairwise(borders), strict=True)
    ]
