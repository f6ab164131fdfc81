"""Which images tell most about networks and about masks: ranked by scores, counts and masks; numpy and scipy only."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.metrics import Counts, Metric, source
from bench.rows import Row
from bench.specs import IGNORE

Pixels = NDArray[np.uint8]
LEAST = 1e-3
"""The smallest doubtful region that is told of, as a share of its image."""


def scores(row: Row, metric: Metric) -> dict[str, float]:
    """The metric on each image alone, by id; without those on which it is undefined, or not measured."""
    found = None if row.counts is None else source(metric, row.counts, row.measures)
    if found is None:
        return {}
    values = np.asarray(metric.compute(found[:, None]), np.float64)
    return {name: float(value) for name, value in zip(row.ids, values, strict=True) if not math.isnan(value)}


def extremes(points: Mapping[str, float], metric: Metric) -> dict[str, str]:
    """The ids of the best, the median and the worst image; of equal ones the first by id; fewer of fewer than three."""
    order = sorted(points, key=lambda name: (loss(points[name], metric), name))
    kinds = {1: ("best",), 2: ("best", "worst")}.get(len(order), ("best", "median", "worst"))
    at = {"best": 0, "median": len(order) // 2, "worst": -1}
    return {kind: order[at[kind]] for kind in kinds} if order else {}


def hardest(points: Mapping[int, Mapping[str, float]], metric: Metric) -> list[tuple[str, int, float]]:
    """Images by the best score that any of several networks has on them, the lowest first: id, whose, and the score."""
    best: dict[str, tuple[int, float]] = {}
    for at, own in points.items():
        for name, value in own.items():
            if name not in best or loss(value, metric) < loss(best[name][1], metric):
                best[name] = at, value
    found = [(name, at, value) for name, (at, value) in best.items()]
    return sorted(found, key=lambda one: (-loss(one[2], metric), one[0]))


def suspicious(truth: Pixels, agreed: Pixels) -> NDArray[np.bool_]:
    """Where networks agree on another class than the mask's, in connected regions that are no rims and no specks.

    Args:
        truth: The mask, IGNORE where a pixel does not count.
        agreed: The class that all networks agree on, IGNORE where they do not.
    Returns:
        bool (H, W): regions of one agreed class, what a square of three pixels fits into, each LEAST of the image.
    """
    from scipy import ndimage

    wrong = (agreed != IGNORE) & (truth != IGNORE) & (agreed != truth)
    kept = np.zeros(truth.shape, bool)
    for label in np.unique(agreed[wrong]):
        thick = ndimage.binary_opening(wrong & (agreed == label), np.ones((3, 3)))
        parts, _ = ndimage.label(thick)
        large = np.bincount(parts.ravel()) >= LEAST * truth.size
        large[0] = False
        kept |= large[parts]
    return kept


def majority(masks: Sequence[Pixels]) -> Pixels:
    """The class that most masks have at each pixel; of equally many the lowest."""
    stack = np.stack(masks)
    labels = np.unique(stack)
    votes = np.stack([(stack == label).sum(axis=0) for label in labels])
    return labels[votes.argmax(axis=0)]


def agreement(masks: Sequence[Pixels]) -> Pixels:
    """The class that all masks have at each pixel, IGNORE where they differ."""
    return np.where(np.all(np.stack(masks) == masks[0], axis=0), masks[0], np.uint8(IGNORE))


def loss(value: float, metric: Metric) -> float:
    """Smaller is better."""
    return value if metric.better == "lower" else -value


def doubtful(counts: Sequence[Counts]) -> NDArray[np.float64]:
    """At most which share of each image all networks can give one class and the mask another, by their counts.

    Args:
        counts: Integers (images, C, C) of each network, on the same images.
    Returns:
        (images,), in [0, 1]; 0 where no pixel counts.
    """
    least = functools.reduce(np.minimum, counts)  # never all of them once more in memory
    wrong = least.sum(axis=(1, 2), dtype=np.int64) - np.trace(least, axis1=1, axis2=2, dtype=np.int64)
    return wrong / np.maximum(counts[0].sum(axis=(1, 2), dtype=np.int64), 1)
