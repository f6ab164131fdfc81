"""How sure a number is: resampled images, intervals, paired differences, ranks and power; numpy and SciPy.

Two sources of noise are counted: which images were drawn for the test, by the bootstrap, and which seeds a network was
trained with, by the spread between them. Why these intervals and no others is measured in docs/adr/0008-intervals.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
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
        images: How many there are.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two numbers on the same images.

    Attributes:
        value: The first minus the second.
        interval: Its 95% interval, for this pair alone.
        p: Two-sided, for this pair alone; `adjusted` is Holm's, over all pairs that were compared.
        error: Standard error; `freedom` its degrees of freedom.
    """

    value: float
    interval: Interval
    p: float
    adjusted: float
    error: float
    freedom: float

    @property
    def separated(self) -> bool:
        """Whether the two can be told apart among all that were compared."""
        return self.adjusted < 1 - LEVEL


def draw(metrics: Sequence[Metric], counts: Counts, resamples: int = RESAMPLES) -> list[Values]:
    """Metrics on bootstrap samples of the images; equal numbers of images are drawn alike.

    Args:
        metrics: What to compute.
        counts: Integers (images, ...), one matrix per image.
        resamples: How many samples B.
    Returns:
        For each metric float64 (B, ...); NaN where a resample leaves it undefined.
    Source: Efron and Tibshirani 1993, ch. 6.
    """
    chosen, times = _times(len(counts), resamples)
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
            result.append(np.concatenate([metric.compute(counts[rows]) for rows in np.array_split(chosen, 20)]))
    return result


def resampled(metric: Metric, counts: Sequence[Counts], resamples: int = RESAMPLES) -> Values:
    """A metric on bootstrap samples of the images, averaged over several runs on the same images.

    Args:
        counts: One array (images, C, C) per run, all on the same images in the same order.
    Returns:
        float64 (resamples,); NaN where a resample leaves the metric undefined.
    """
    return np.mean([draw([metric], run, resamples)[0] for run in counts], axis=0)


def sample(metric: Metric, counts: Sequence[Counts], resamples: int = RESAMPLES) -> Sample | None:
    """A metric over runs on the same images, with its noise; None where any run leaves it undefined."""
    runs = np.array([float(metric.compute(run)) for run in counts])
    if not len(runs) or np.isnan(runs).any():
        return None
    return Sample(runs=runs, drawn=resampled(metric, counts, resamples), images=len(counts[0]))


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
    value, half = one.value, _quantile(freedom) * error
    if not one.share:
        return (value * math.exp(-half / value), value * math.exp(half / value)) if value > 0 else (0.0, half)
    slope = value * (1 - value)
    if slope <= 0:
        return value - half, value + half
    middle = math.log(value / (1 - value))
    return _logistic(middle - half / slope), _logistic(middle + half / slope)


def compare(one: Sample, other: Sample) -> Difference | None:
    """The paired difference of two numbers on the same images; None where its noise cannot be had.

    Runs are not paired: seed 1 of one network has nothing in common with seed 1 of another.
    """
    found = _error(one.drawn - other.drawn, one.images, [one, other])
    if found is None:
        return None
    error, freedom = found
    if degrees := len(one.runs) + len(other.runs) - 2:  # far out in the tails Welch's would promise too much
        freedom = min(freedom, 2.0 * degrees)
    value = one.value - other.value
    if error < 1e-12:
        p = 1.0 if math.isclose(value, 0.0, abs_tol=1e-12) else 0.0
    else:
        p = float(2 * _student().sf(abs(value) / error, freedom))
    half = _quantile(freedom) * error
    return Difference(value=value, interval=(value - half, value + half), p=p, adjusted=p, error=error, freedom=freedom)


def comparisons(samples: Sequence[Sample | None], images: Sequence[Hashable]) -> dict[tuple[int, int], Difference]:
    """Every pair of rows on the same images, first minus second, with Holm's correction over all of them.

    All pairs, since the leader is chosen by the data: against the leader alone, the best of ten equal networks would
    be called better than the worst far more often than in 5%.

    Args:
        samples: The noise of each row; None for a row that has none.
        images: What it was scored on; rows are compared only when this is equal, since only then they are paired.
    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    found: dict[tuple[int, int], Difference] = {}
    for at, one in enumerate(samples):
        for after, other in enumerate(samples[at + 1 :], start=at + 1):
            if one is not None and other is not None and images[at] == images[after]:
                difference = compare(one, other)
                if difference is not None:
                    found[at, after] = difference
    adjusted = holm([one.p for one in found.values()])
    return {pair: replace(one, adjusted=p) for (pair, one), p in zip(found.items(), adjusted, strict=True)}


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p of each: reject below a level, and the chance of any wrong rejection is below that level."""
    order = np.argsort(ps, kind="stable")
    result = np.empty(len(ps))
    result[order] = np.maximum.accumulate(np.minimum(1.0, np.asarray(ps)[order] * np.arange(len(ps), 0, -1)))
    return [float(p) for p in result]


def ranks(values: Sequence[float | None], pairs: Mapping[tuple[int, int], Difference]) -> list[int | None]:
    """Competition ranks in which a row shares the rank of a leader it cannot be told from.

    Rows are walked from the best down; a row joins the group of its leader when they were compared and could not be
    separated, else it leads a new group. A row without a value has no rank.

    Args:
        values: The metric of each row, higher is better.
        pairs: What `comparisons` found; rows it left out stand alone.
    Returns:
        1-based ranks in the order given.
    """
    order = sorted((at for at, value in enumerate(values) if value is not None), key=lambda at: -(values[at] or 0.0))
    result: list[int | None] = [None] * len(values)
    leader = -1
    for place, at in enumerate(order, start=1):
        found = pairs.get((min(leader, at), max(leader, at)))
        if found is not None and not found.separated:
            result[at] = result[leader]
        else:
            leader, result[at] = at, place
    return result


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
    shift, bounds = abs(difference) / error, _student().isf(level / 2, freedom) * _chi(freedom)
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
    """Variance that comes from the images; resampling shrinks it by (n - 1) / n, which is undone."""
    defined = _defined(drawn)
    if defined is None or len(defined) < 2 or images < 2:
        return None
    return float(defined.var(ddof=1)) * images / (images - 1)


def _error(drawn: Values, images: int, samples: Sequence[Sample]) -> tuple[float, float] | None:
    """Standard error and degrees of freedom from the resampled images and the seeds of each sample."""
    image = _image_variance(drawn, images)
    if image is None:
        return None
    parts = [(image, images - 1)]
    parts += [(one.seed_variance, len(one.runs) - 1) for one in samples if len(one.runs) > 1]
    return math.sqrt(sum(variance for variance, _ in parts)), _freedom(parts)


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite); the fewest where all are 0."""
    below = sum(variance**2 / degrees for variance, degrees in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below > 0 else float(min(d for _, d in parts))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


@functools.lru_cache(maxsize=4096)
def _quantile(freedom: float) -> float:
    return float(_student().ppf((1 + LEVEL) / 2, freedom))


@functools.lru_cache(maxsize=64)
def _chi(freedom: float) -> Values:
    """An estimated standard error over the true one, at evenly spread probabilities."""
    from scipy.stats import chi2

    return np.sqrt(chi2.ppf((np.arange(4000) + 0.5) / 4000, freedom) / freedom)


def _student() -> Any:
    """SciPy is imported when it is needed."""
    from scipy.stats import t

    return t
