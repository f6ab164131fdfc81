"""Rows scored on the same images: every paired difference at once, Holm's correction, and the ranks that ties share."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.statistics import LEVEL, Interval, Sample, image_variances, quantile, student


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


class Pairs(Mapping[tuple[int, int], Difference]):
    """The paired differences of rows, computed at once and told one by one; keys are the places of two rows.

    Attributes:
        places: int64 (P, 2), the first row's place below the second's.
        value, error, freedom, p, adjusted: float64 (P,), as in `Difference`.
    """

    def __init__(self, places: NDArray[np.int64], numbers: NDArray[np.float64]) -> None:
        self.places = places
        self.value, self.error, self.freedom, self.p = numbers
        self.adjusted = np.array(holm(self.p))

    @functools.cached_property
    def _rows(self) -> dict[tuple[int, int], int]:
        return {(int(one), int(other)): row for row, (one, other) in enumerate(self.places)}

    def __getitem__(self, pair: tuple[int, int]) -> Difference:
        row = self._rows[pair]
        value, error, freedom = float(self.value[row]), float(self.error[row]), float(self.freedom[row])
        half = quantile(freedom) * error
        return Difference(
            value=value,
            interval=(value - half, value + half),
            p=float(self.p[row]),
            adjusted=float(self.adjusted[row]),
            error=error,
            freedom=freedom,
        )

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self.places)


def compare(one: Sample, other: Sample) -> Difference | None:
    """The paired difference of two numbers on the same images; None where its noise cannot be had.

    Runs are not paired: seed 1 of one network has nothing in common with seed 1 of another.
    """
    return comparisons([one, other], [0, 0]).get((0, 1))


def comparisons(samples: Sequence[Sample | None], images: Sequence[Hashable]) -> Pairs:
    """Every pair of rows on the same images, first minus second, with Holm's correction over all of them.

    All pairs, since the leader is chosen by the data: against the leader alone, the best of ten equal networks would
    be called better than the worst far more often than in 5%.

    Args:
        samples: The noise of each row; None for a row that has none.
        images: What it was scored on; rows are compared only when this is equal, since only then they are paired.
    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    alike: dict[Hashable, list[int]] = {}
    for at, one in enumerate(samples):
        if one is not None:
            alike.setdefault(images[at], []).append(at)
    places, numbers = [np.empty((0, 2), np.int64)], [np.empty((4, 0))]
    for rows in alike.values():
        table = _table([one for at in rows if (one := samples[at]) is not None])
        for at in range(len(rows) - 1):
            found = _differences(table, at)
            kept = ~np.isnan(found[1])
            after = np.array(rows[at + 1 :])[kept]
            places.append(np.stack([np.full(len(after), rows[at]), after], axis=1))
            numbers.append(found[:, kept])
    whole, joined = np.concatenate(places), np.concatenate(numbers, axis=1)
    order = np.lexsort((whole[:, 1], whole[:, 0]))
    return Pairs(whole[order], joined[:, order])


class _Table(NamedTuple):
    """Samples on the same images as columns.

    Attributes:
        values: float64 (rows,); `drawn` float64 (rows, B).
        variances: Of the mean, from the seeds, float64 (rows,), with its degrees of freedom; both 0 for a single run.
    """

    values: NDArray[np.float64]
    drawn: NDArray[np.float64]
    variances: NDArray[np.float64]
    degrees: NDArray[np.float64]
    images: int


def _table(own: Sequence[Sample]) -> _Table:
    return _Table(
        values=np.array([one.value for one in own]),
        drawn=np.stack([one.drawn for one in own]),
        variances=np.array([one.seed_variance for one in own]),
        degrees=np.array([len(one.runs) - 1.0 for one in own]),
        images=own[0].images,
    )


def _differences(table: _Table, at: int) -> NDArray[np.float64]:
    """Value, standard error, degrees of freedom and p of one row less each of those after it, float64 (4, others).

    The error is NaN where it cannot be had: with one image, or fewer than half of the resamples defined.
    """
    value = table.values[at] - table.values[at + 1 :]
    image = image_variances(table.drawn[at] - table.drawn[at + 1 :], table.images)
    parts = [
        (image, np.full(len(value), table.images - 1.0)),
        (np.full(len(value), table.variances[at]), np.full(len(value), table.degrees[at])),
        (table.variances[at + 1 :], table.degrees[at + 1 :]),
    ]
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / np.maximum(degrees, 1) for part, degrees in parts)
    fewest = np.min([np.where(degrees > 0, degrees, np.inf) for _, degrees in parts], axis=0)
    with np.errstate(invalid="ignore"):
        freedom = np.where(below > 0, variance**2 / np.where(below > 0, below, 1), fewest)
        error = np.sqrt(variance)
    degrees = parts[1][1] + parts[2][1]
    freedom = np.where(degrees > 0, np.minimum(freedom, 2 * degrees), freedom)  # in the tails Welch's promises too much
    exact = error < 1e-12
    p = 2 * student().sf(np.abs(value) / np.where(exact, 1, error), freedom)
    return np.stack([value, error, freedom, np.where(exact, np.abs(value) <= 1e-12, p)])


def holm(ps: Sequence[float] | NDArray[np.float64]) -> list[float]:
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
