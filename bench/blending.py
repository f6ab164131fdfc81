"""Overlapping windows of a picture blended into one map, a row of windows at a time: memory goes with the width."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.fit import Window

Probabilities = NDArray[np.float32]
"""Of each class (C, H, W); they sum to 1."""


def blended(
    native: tuple[int, int],
    tiles: Sequence[Window],
    size: tuple[int, int],
    classes: int,
    predict: Callable[[Sequence[Window]], Iterable[Probabilities]],
    *,
    keep: bool,
) -> tuple[NDArray[np.uint8], Probabilities]:
    """The mean of the windows at each pixel, weighted by how far it is from their frames, and its largest class.

    Args:
        native: (height, width) of the picture [pixels].
        tiles: The windows, top to bottom and left to right, as `bench.fit.windows` gives them.
        size: (height, width) of a window [pixels].
        classes: How many there are, C.
        predict: Of some windows of one row, the probabilities of the part of each that is no padding (C, h, w).
        keep: Whether the probabilities are wanted.
    Returns:
        Classes uint8 (H, W), and probabilities float32 (C, H, W); (C, 0, W) where they are not wanted.
    """
    height, width = native
    labels = np.empty(native, np.uint8)
    kept = np.empty((classes, height if keep else 0, width), np.float32)
    ramp, band = _ramp(size), min(size[0], height)
    total, weights = np.zeros((classes, band, width), np.float32), np.zeros((band, width), np.float32)
    top = 0

    def finish(below: int) -> None:
        """Rows that no later window reaches."""
        nonlocal top
        done = below - top
        mean = total[:, :done] / weights[:done]
        labels[top:below] = mean.argmax(axis=0)
        if keep:
            kept[:, top:below] = mean
        for sums in (total, weights):
            sums[..., : band - done, :] = sums[..., done:, :].copy()
            sums[..., band - done :, :] = 0
        top = below

    for start, row in itertools.groupby(tiles, key=lambda window: window.rows.start):
        if start > top:
            finish(start)
        some = list(row)
        for window, found in zip(some, predict(some), strict=True):
            columns = slice(window.columns.start, window.columns.start + window.columns.length)
            weight = ramp[window.inside]
            total[:, :, columns] += found * weight
            weights[:, columns] += weight
    finish(height)
    return labels, kept


def _ramp(size: tuple[int, int]) -> Probabilities:
    """Weights float32 (H, W) that fall linearly from the centre of a window to its frame, and are nowhere 0."""
    rows, columns = (np.minimum(np.arange(1, edge + 1), np.arange(edge, 0, -1)) / edge for edge in size)
    return np.outer(rows, columns).astype(np.float32)
