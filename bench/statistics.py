"""How sure a number is: bootstrap intervals over images, and which rows cannot be told apart; numpy only."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.metrics import Counts, Metric

RESAMPLES = 1000
LEVEL = 0.95
SEED = 20231


def resampled(metric: Metric, counts: Sequence[Counts], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """A metric on bootstrap samples of the images, averaged over several runs on the same images.

    Rows with the same images are resampled alike, so differences of two results are paired.

    Args:
        counts: One array (images, C, C) per run, all on the same images in the same order.
    Returns:
        float64 (resamples,); NaN where a resample leaves the metric undefined.
    Source: Efron and Tibshirani 1993, ch. 13 (percentile method).
    """
    images = len(counts[0])
    generator = np.random.Generator(np.random.PCG64(SEED))
    drawn = generator.integers(images, size=(resamples, images))
    runs = []
    for matrices in counts:
        if metric.summed:
            times = np.stack([np.bincount(row, minlength=images) for row in drawn])  # (resamples, images)
            total = np.tensordot(times, matrices.astype(np.int64), axes=1)  # (resamples, C, C)
            runs.append(metric.compute(total[:, None]))
        else:
            runs.append(np.concatenate([metric.compute(matrices[rows]) for rows in np.array_split(drawn, 20)]))
    return np.mean(runs, axis=0)


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95% of resampled values; None when fewer than half of them are defined."""
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values) or not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def ranks(
    values: Sequence[float | None], samples: Sequence[NDArray[np.float64] | None], images: Sequence[Hashable]
) -> list[int | None]:
    """Competition ranks in which a row shares the rank of a leader it cannot be told from.

    Rows are walked from the best down; a row joins the group of its leader when the interval of their paired
    difference holds 0, else it leads a new group. A row without a value has no rank; one without samples, or with
    samples of other images, stands alone.

    Args:
        values: The metric of each row, higher is better.
        samples: Its `resampled` values.
        images: What it was scored on; rows are compared only when this is equal, since only then they are paired.
    Returns:
        1-based ranks in the order given.
    """
    order = sorted((at for at, value in enumerate(values) if value is not None), key=lambda at: -(values[at] or 0.0))
    result: list[int | None] = [None] * len(values)
    leader = -1
    for place, at in enumerate(order, start=1):
        paired = leader >= 0 and images[leader] == images[at]
        if paired and _inseparable(samples[leader], samples[at], values[leader], values[at]):
            result[at] = result[leader]
        else:
            leader, result[at] = at, place
    return result


def _inseparable(
    one: NDArray[np.float64] | None, other: NDArray[np.float64] | None, value: float | None, second: float | None
) -> bool:
    if one is None or other is None:
        return False
    difference = interval(one - other)
    if difference is None:
        return value is not None and second is not None and math.isclose(value, second)
    return difference[0] <= 0 <= difference[1]
