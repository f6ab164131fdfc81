"""How sure a number is: resampled images, intervals, ranges of ranks and power; numpy and SciPy.

Two sources of noise are counted: which images were drawn for the test, by the bootstrap, and which seeds a network was
trained with, by the spread between them. Why these intervals and no others is measured in docs/adr/0008-intervals.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics import Counts, Metric, Values
from bench.rules import Pooling, divide, mean

RESAMPLES = 1000
LEVEL = 0.95
POWER = 0.8
SEED = 20231
MOST_SEEDS = 1000
"""More seeds than that are called never."""

COVERAGE = {(20, 1): 94, (100, 1): 94, (20, 3): 94, (100, 3): 91, (20, 5): 93, (100, 5): 94}
"""Share of nominal 95% intervals that hold the truth [percent], by images and seeds, in the worst of the simulated
worlds of ADR 0008; for one seed, of the truth about these very weights. tests/test_coverage.py measures them."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One number with what is known of its noise.

    Attributes:
        runs: float64 (S,), its value in each run (seed) on all images.
        drawn: float64 (B,), its mean over the runs on resampled images; NaN where a resample leaves it undefined. Two
            samples of the same images are drawn alike, which makes their difference paired.
        images: How many there are; of photographs, where their copies were drawn together.
        share: Whether it lies in [0, 1]; else it is a count or a distance, at least 0.
    """

    runs: Values
    drawn: Values
    images: int
    share: bool = True

    @property
    def value(self) -> float:
        """The mean over the runs."""
        return float(self.runs.mean())

    @property
    def seed_variance(self) -> float:
        """Variance of the mean that comes from the seeds; 0 for one run, where it is not known."""
        return float(self.runs.var(ddof=1)) / len(self.runs) if len(self.runs) > 1 else 0.0


def draw(
    metrics: Sequence[Metric], counts: Counts, resamples: int = RESAMPLES, groups: NDArray[np.int64] | None = None
) -> list[Values]:
    """Metrics on bootstrap samples of the images; equal numbers of images are drawn alike.

    Args:
        metrics: What to compute.
        counts: Integers (images, ...), one matrix per image.
        resamples: How many samples B.
        groups: Which group each image is of, (images,) from 0; a group is drawn whole. None draws single images.
    Returns:
        For each metric float64 (B, ...); NaN where a resample leaves it undefined.
    Source: Efron and Tibshirani 1993, ch. 6; for groups Davison and Hinkley 1997, ch. 3.8.
    """
    chosen, times = _times(len(counts), resamples) if groups is None else _grouped(groups, resamples)
    total: NDArray | None = None
    result = []
    for metric in metrics:
        if metric.summed:
            if total is None:
                total = np.tensordot(times, counts.astype(np.float64), axes=1)[:, None]  # whole numbers: exact
            result.append(metric.compute(total))
        elif metric.parts is not None:
            result.append(_resampled_mean(metric.parts(counts), times, metric.pooling))
        else:
            parts = np.array_split(chosen, 20) if groups is None else chosen
            computed = [metric.compute(counts[rows]) for rows in parts]
            result.append(np.concatenate(computed) if groups is None else np.stack(computed))
    return result


def resampled(
    metric: Metric, counts: Sequence[Counts], resamples: int = RESAMPLES, groups: NDArray[np.int64] | None = None
) -> Values:
    """A metric on bootstrap samples of the images, averaged over several runs on the same images.

    Args:
        counts: One array (images, C, C) per run, all on the same images in the same order.
        groups: As for `draw`.
    Returns:
        float64 (resamples,); NaN where a resample leaves the metric undefined.
    """
    return np.mean([draw([metric], run, resamples, groups)[0] for run in counts], axis=0)


def sample(
    metric: Metric, counts: Sequence[Counts], resamples: int = RESAMPLES, groups: NDArray[np.int64] | None = None
) -> Sample | None:
    """A metric over runs on the same images, with its noise; None where any run leaves it undefined.

    With `groups`, as for `draw`, these are what counts as independent.
    """
    runs = np.array([float(metric.compute(run)) for run in counts])
    if not len(runs) or np.isnan(runs).any():
        return None
    drawn, images = (
        resampled(metric, counts, resamples, groups),
        len(counts[0] if groups is None else np.unique(groups)),
    )
    return Sample(runs=runs, drawn=drawn, images=images)


def interval(values: Values) -> Interval | None:
    """The middle 95% of resampled values; None when fewer than half of them are defined."""
    defined = _defined(values)
    if defined is None:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def sure(one: Sample | None) -> Interval | None:
    """The 95% interval of a number: Student's t, of a share on the logit scale, of a count or distance on a log scale.

    So it stays where such numbers are.

    The variance is that of the resampled means plus that between the seeds; the degrees of freedom are Welch's. None
    for fewer than two images, and where fewer than half of the resamples are defined.
    Source: Satterthwaite 1946, doi:10.2307/3002019; delta method for the logit.
    """
    found = None if one is None else _error(one.drawn, one.images, [one])
    if one is None or found is None:
        return None
    error, freedom = found
    value, half = one.value, quantile(freedom) * error
    if not one.share:
        return (value * math.exp(-half / value), value * math.exp(half / value)) if value > 0 else (0.0, half)
    slope = value * (1 - value)
    if slope <= 0:
        return value - half, value + half
    middle = math.log(value / (1 - value))
    return _logistic(middle - half / slope), _logistic(middle + half / slope)


def unpaired(one: Sample, other: Sample) -> Interval | None:
    """The 95% interval of `other` minus `one` on images of their own: Welch's, with the noise of images and seeds.

    None for fewer than two images on a side, and where fewer than half of the resamples are defined.
    Source: Welch 1947, doi:10.2307/2332510; Satterthwaite 1946, doi:10.2307/3002019.
    """
    found = [_error(side.drawn, side.images, [side]) for side in (one, other)]
    if None in found:
        return None
    parts = [(error**2, freedom) for error, freedom in found]  # ty: ignore[not-iterable]
    half = quantile(_freedom(parts)) * math.sqrt(sum(variance for variance, _ in parts))
    difference = other.value - one.value
    return possible((difference - half, difference + half), one, other)


def possible(interval: Interval, one: Sample, other: Sample) -> Interval:
    """What of an interval of a difference there can be: two shares differ by 1 at most."""
    low, high = interval
    return (max(low, -1.0), min(high, 1.0)) if one.share and other.share else interval


def draws(samples: Sequence[Sample]) -> Values:
    """What other images and other seeds might have given: (rows, B), seed noise added to the resampled means.

    Returns:
        float64, NaN where a resample is undefined; the same for the same rows, whatever the machine.
    """
    rows = []
    for at, one in enumerate(samples):
        noise = np.random.Generator(np.random.PCG64([SEED, at])).standard_t(max(len(one.runs) - 1, 1), len(one.drawn))
        rows.append(one.drawn + math.sqrt(one.seed_variance) * noise)
    return np.array(rows)


def places(values: Values) -> NDArray[np.int64]:
    """The rank of each row in each resample: 1 and one more for each row that is better; undefined comes last.

    Args:
        values: (rows, B), higher is better.
    Returns:
        int64 (rows, B).
    """
    filled = np.where(np.isnan(values), -np.inf, values)
    return np.stack([1 + (filled > row).sum(axis=0) for row in filled]) if len(filled) else np.zeros((0, 0), np.int64)


def rank_ranges(values: Values) -> list[tuple[int, int]]:
    """The ranks between which each row stays in 95% of the resamples; `values` as for `places`."""
    low, high = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return [
        (int(first), int(last))
        for first, last in (np.quantile(row, [low, high], method="inverted_cdf") for row in places(values))
    ]


def power(difference: float, error: float, freedom: float, level: float = 1 - LEVEL) -> float:
    """The chance that a true difference is found by a two-sided t test at a level.

    The non-central t, as the mean over the error's own distribution: SciPy's is not a number far out in its tails.
    Source: Cohen 1988, ch. 2.
    """
    from scipy.special import ndtr

    if error <= 0:
        return 1.0 if difference else 0.0
    shift, bounds = abs(difference) / error, student().isf(level / 2, freedom) * _chi(freedom)
    return float((ndtr(shift - bounds) + ndtr(-shift - bounds)).mean())


def detectable(error: float, freedom: float, level: float = 1 - LEVEL) -> float:
    """The true difference that is found with 80% power, from the error of a paired difference."""
    from scipy.optimize import brentq

    if error <= 0:
        return 0.0
    top = 1.0
    while power(top, 1.0, freedom, level) < POWER:
        top *= 2
    return error * float(brentq(lambda shift: power(shift, 1.0, freedom, level) - POWER, 0.0, top))


def seeds_needed(one: Sample, other: Sample) -> int | None:
    """How many seeds each of two networks needs so that their difference, if true, is found with 80% power.

    None for single runs, whose seed noise is unknown, and where no number of seeds is enough: images are the limit.
    """
    image = _image_variance(one.drawn - other.drawn, one.images)
    if image is None or max(len(one.runs), len(other.runs)) < 2:
        return None
    per_seed = [float(s.runs.var(ddof=1)) for s in (one, other) if len(s.runs) > 1]
    difference, degrees = one.value - other.value, one.images - 1

    def enough(seeds: int) -> bool:
        parts = [(image, degrees), *((variance / seeds, seeds - 1) for variance in per_seed)]
        return power(difference, math.sqrt(sum(part for part, _ in parts)), _freedom(parts)) >= POWER

    if not enough(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # not enough (one seed has no spread), enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def covers(images: int, seeds: int) -> int | None:
    """The measured coverage of an interval from so many images and seeds [percent], from the nearest case below.

    None for two seeds, which were not simulated: one seed's figure is of these very weights, and says nothing of them.
    """
    fitting = [(n, s) for n, s in COVERAGE if n <= max(images, 20) and (s == 1) == (seeds < 2) and s <= max(seeds, 1)]
    return COVERAGE[max(fitting)] if fitting else None


@functools.lru_cache(maxsize=16)
def _times(images: int, resamples: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which images each resample draws (B, images), and how often each image is drawn (B, images)."""
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(images, size=(resamples, images))
    return drawn, np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.float64)


def _grouped(groups: NDArray[np.int64], resamples: int) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    """As `_times`, but whole groups are drawn: resamples differ in size."""
    _, places = np.unique(groups, return_inverse=True)
    times = _times(int(places.max()) + 1, resamples)[1][:, places]
    return [np.repeat(np.arange(len(groups)), row.astype(np.int64)) for row in times], times


def _resampled_mean(parts: Values, times: Values, pooling: Pooling) -> Values:
    """The mean of parts (images, K) over drawn images as `Metric.pooling` says: (B,)."""
    there = (~np.isnan(parts)).astype(np.float64)
    totals, weight = times @ np.nan_to_num(parts), times @ there
    if pooling == "pool":
        return divide(totals.sum(1), weight.sum(1))
    return mean(divide(totals, weight), strict=pooling == "strict")


def _defined(values: Values) -> Values | None:
    defined = values[~np.isnan(values)]
    return None if 2 * len(defined) < len(values) or not len(defined) else defined


def _image_variance(drawn: Values, images: int) -> float | None:
    """Variance that comes from the images; None where fewer than half of the resamples are defined."""
    found = float(image_variances(drawn[None], images)[0])
    return None if math.isnan(found) else found


def image_variances(drawn: Values, images: int) -> Values:
    """Variance that comes from the images, per row of (rows, B); resampling shrinks it by (n - 1) / n, undone here."""
    defined = ~np.isnan(drawn)
    if defined.all() and drawn.shape[1] > 1 and images > 1:  # as always where every resample has every class
        return drawn.var(axis=1, ddof=1) * images / (images - 1)
    count = defined.sum(axis=1)
    enough = (2 * count >= drawn.shape[1]) & (count > 1) & (images > 1)
    filled = np.where(defined, drawn, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = (np.where(defined, drawn - mean[:, None], 0.0) ** 2).sum(axis=1)
    return np.where(enough, squares / np.maximum(count - 1, 1) * images / max(images - 1, 1), np.nan)


def _error(drawn: Values, images: int, samples: Sequence[Sample]) -> tuple[float, float] | None:
    """Standard error and degrees of freedom from the resampled images and the seeds of each sample."""
    image = _image_variance(drawn, images)
    if image is None:
        return None
    parts = [(image, images - 1)]
    parts += [(one.seed_variance, len(one.runs) - 1) for one in samples if len(one.runs) > 1]
    return math.sqrt(sum(variance for variance, _ in parts)), _freedom(parts)


def _freedom(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite); the fewest where all are 0."""
    below = sum(variance**2 / degrees for variance, degrees in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below > 0 else float(min(d for _, d in parts))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


@functools.lru_cache(maxsize=4096)
def quantile(freedom: float) -> float:
    """How many standard errors a 95% interval reaches either way, by Student's t."""
    from scipy.special import stdtrit  # what scipy.stats ends in, without what it looks at first: 180 times as fast

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


@functools.lru_cache(maxsize=64)
def _chi(freedom: float) -> Values:
    """An estimated standard error over the true one, at evenly spread probabilities."""
    from scipy.stats import chi2

    return np.sqrt(chi2.ppf((np.arange(4000) + 0.5) / 4000, freedom) / freedom)


def student() -> Any:
    """SciPy is imported when it is needed."""
    from scipy.stats import t

    return t
