"""Rows to leaderboards: one standing per architecture and loss, ranked where it can be."""

from __future__ import annotations

import statistics as plain
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench import metrics, paired, statistics
from bench.metrics import Metric, Profile
from bench.paired import Difference, Pairs
from bench.rows import SCORED, Row, sampled, score, scored, stored
from bench.specs import Study
from bench.statistics import Interval, Sample
from bench.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One architecture with one loss on one data set: all its seeds and folds together.

    Attributes:
        rank: 1-based, shared by standings that cannot be told apart; None without a value, or while cells are missing.
        values: Each metric over all images of the folds, then the mean over seeds.
        spread: Standard deviation of the primary metric over seeds; None with fewer than two.
        interval: 95% interval of the primary metric; None where it cannot be had.
        samples: The noise of every number; None where it is not known, or a cell is missing.
        rank_range: The ranks it takes in 95% of the resamples; `leads` is the share of them in which it is first.
        group: 1-based number of its tie group, as the rank.
        done, of: Cells with a score, and cells in all.
        selected: True when the value is that of the tuned run itself, which was chosen for being the best.
    """

    dataset: str
    architecture: str
    loss: str | None
    rank: int | None
    values: dict[str, float | None]
    spread: float | None
    interval: tuple[float, float] | None
    done: int
    of: int
    selected: bool
    rows: tuple[Row, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict[str, Sample])
    rank_range: tuple[int, int] | None = None
    leads: float | None = None
    group: int | None = None

    @property
    def intervals(self) -> dict[str, Interval | None]:
        """The 95% interval of every number, over images, and over seeds where there are several."""
        return {name: statistics.sure(self.samples.get(name)) for name in self.values}

    @property
    def complete(self) -> bool:
        """Whether no cell is missing, so that it is ranked."""
        return self.done == self.of and self.of > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The leaderboard of one data set, best first; rows without a value at the end.

    Attributes:
        pairs: The paired difference of every two standings that were compared, by their places from 0.
    """

    dataset: str
    title: str
    standings: tuple[Standing, ...]
    pairs: Mapping[tuple[int, int], Difference] = field(default_factory=dict[tuple[int, int], Difference])

    @property
    def catalogued(self) -> str:
        """The data set's name in the catalogue, whichever folder's data it is."""
        return next((row.cell.dataset for one in self.standings for row in one.rows), self.dataset)


def rows(study: Study, store: Store, profile: Profile) -> list[Row]:
    """One row per cell of the study, in its order, with its numbers; nothing is left out because it failed."""
    return score(stored(study, store, [profile]), profile)


def boards(table: Sequence[Row], profile: Profile) -> list[Board]:
    """The leaderboard of every data set, in the order of the study."""
    own: dict[str, list[Row]] = {}
    for row in table:
        own.setdefault(row.dataset, []).append(row)
    titles = {
        dataset: next((row.record.data.title for row in rows if row.record and row.record.data), dataset)
        for dataset, rows in own.items()
    }
    same = {title for title in titles.values() if list(titles.values()).count(title) > 1}
    result = []
    for dataset, rows in own.items():
        title = f"{titles[dataset]} ({dataset})" if titles[dataset] in same else titles[dataset]
        standings, pairs = _standings(rows, profile)
        result.append(Board(dataset=dataset, title=title, standings=standings, pairs=pairs))
    return result


def label(row: Row | Standing) -> str:
    """How a standing is called in figures: `unet · dice+ce`, or a baseline's name alone."""
    loss = row.cell.loss if isinstance(row, Row) else row.loss
    return row.architecture if loss is None else f"{row.architecture} · {loss}"


def _standings(own: Sequence[Row], profile: Profile) -> tuple[tuple[Standing, ...], Pairs]:
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in own:
        groups.setdefault((row.architecture, row.cell.loss), []).append(row)
    unranked = [_standing(tuple(group), profile) for group in groups.values()]
    unranked.sort(key=lambda standing: -_or(standing.values.get(profile.primary), -1.0))
    samples = [one.samples.get(profile.primary) if one.complete else None for one in unranked]
    pairs = paired.comparisons(samples, [images(one) for one in unranked])
    values = [one.values.get(profile.primary) if one.complete else None for one in unranked]
    placed = paired.ranks(values, pairs)
    groups_of = {rank: at for at, rank in enumerate(sorted({rank for rank in placed if rank is not None}), start=1)}
    drawn = statistics.draws([sample for sample in samples if sample is not None])
    spread = iter(
        zip(statistics.rank_ranges(drawn), (statistics.places(drawn) == 1).mean(axis=1), strict=True)
        if len(drawn)
        else ()
    )
    ranked = []
    for one, rank, sample in zip(unranked, placed, samples, strict=True):
        between, leads = next(spread) if sample is not None else (None, None)
        ranked.append(
            replace(
                one,
                rank=rank,
                group=groups_of.get(rank) if rank is not None else None,
                rank_range=between,
                leads=None if leads is None else float(leads),
            )
        )
    return tuple(ranked), pairs


def _standing(group: tuple[Row, ...], profile: Profile) -> Standing:
    """A group's standing, yet unranked."""
    counted, selected = _counted(group)
    usable = [row for row in counted if row.counts is not None and row.status in SCORED]
    runs = list(_runs(usable, profile).values())
    primary = [value for run in runs if (value := run.values[profile.primary]) is not None]
    names = runs[0].values if runs and len({len(run.ids) for run in runs}) == 1 else {}
    samples = {name: sample for name in names if (sample := sampled(runs, name)) is not None}
    first = group[0]
    return Standing(
        dataset=first.dataset,
        architecture=first.architecture,
        loss=first.cell.loss,
        rank=None,
        values={name: _mean([run.values[name] for run in runs]) for name in (runs[0].values if runs else ())},
        spread=plain.stdev(primary) if len(primary) > 1 else None,
        interval=statistics.sure(samples.get(profile.primary)),
        done=len(usable),
        of=len(counted),
        selected=selected,
        rows=group,
        samples=samples,
    )


def runs(standing: Standing, metric: Metric) -> dict[int, NDArray]:
    """What a metric is computed from by seed, where it is stored: (images, ..), all folds one after the other."""
    seeds: dict[int, list[NDArray | None]] = {}
    for row in _counted(standing.rows)[0]:
        if row.counts is not None and row.status in SCORED:
            seeds.setdefault(row.cell.seed, []).append(metrics.source(metric, row.counts, row.measures))
    whole = {seed: [one for one in found if one is not None] for seed, found in seeds.items()}
    return {seed: np.concatenate(found) for seed, found in whole.items() if len(found) == len(seeds[seed])}


def images(standing: Standing) -> Hashable:
    """What a standing was scored on: the data, and the test images of each fold."""
    tested = {
        (row.cell.fold, row.record.data.hash, row.ids)
        for row in standing.rows
        if row.record and row.record.data and row.ids
    }
    return frozenset(tested)


def _counted(group: Sequence[Row]) -> tuple[list[Row], bool]:
    """The rows whose mean is shown: fresh seeds where there are some, else the tuned run itself, which says so."""
    fresh = [row for row in group if row.cell.seed > 0]
    return (fresh, False) if fresh else (list(group), group[0].cell.loss is not None)


def _runs(usable: Sequence[Row], profile: Profile) -> dict[int, Row]:
    """Per seed all its folds as one row, their images one after the other."""
    seeds: dict[int, list[Row]] = {}
    for row in usable:
        seeds.setdefault(row.cell.seed, []).append(row)
    return {seed: _joined(rows, profile) for seed, rows in seeds.items()}


def _joined(folds: Sequence[Row], profile: Profile) -> Row:
    if len(folds) == 1:
        return folds[0]
    counts = np.concatenate([row.counts for row in folds if row.counts is not None])
    measures = {
        name: np.concatenate([row.measures[name] for row in folds])
        for name in folds[0].measures
        if all(name in row.measures for row in folds)
    }
    joined = replace(folds[0], ids=tuple(name for row in folds for name in row.ids), counts=counts, measures=measures)
    classes = any("/" in name for name in folds[0].drawn)
    return scored(joined, profile, [name for name in profile.metrics if name in folds[0].drawn], classes=classes)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) and defined else None


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
