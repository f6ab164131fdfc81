"""Records and counts to tables: one row per cell, one standing per architecture and loss, ranked where it can be."""

from __future__ import annotations

import statistics as plain
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench import metrics, names, paired, plan, statistics
from bench.metrics import Counts, Metric, Profile, Values
from bench.paired import Difference, Pairs
from bench.records import Record, Status
from bench.specs import Cell, Study
from bench.statistics import Interval, Sample
from bench.store import Store

CLASSES = {
    prefix: Metric(title=prefix, definition="", compute=compute)
    for prefix, compute in (
        ("iou_d", lambda counts: metrics.iou(counts.sum(axis=-3))),
        ("dice_d", lambda counts: metrics.dice(counts.sum(axis=-3))),
    )
}
"""The scores per class that `metrics.scores` adds under `default`, all classes at once: counts to (..., C)."""
Measures = Mapping[str, Values]
MANY = 1000
"""Cells up to which everything is computed; beyond it no intervals of single classes, and one metric profile alone."""
DISPUTED = "not_reproducible"
"""The status of a cell that two folders scored under one fingerprint, with other counts."""
SCORED = (Status.OK, Status.DIVERGED, DISPUTED)
"""Whose counts are shown: a network that collapsed to one class has a score, and is not averaged away for being bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of the study, stored or not.

    Attributes:
        status: The record's, or `pending` without one, or `stale` when it was trained by another recipe, budget or
            tuning than the study now says, or DISPUTED.
        store: Where it is stored.
        values: Metric name to value under the profile; None where undefined; empty without counts.
        intervals: Its 95% interval over the test images; None where it cannot be had.
        measures: What was stored beside the counts, in the order of `ids`; only where the profile uses some.
        drawn: Its values on resampled images, float64 (B,).
        amounts: The values that are no shares in [0, 1], but counts or distances.
        variant: The results folder whose standing this is, where several have one of the same name; else empty.
        edition: Likewise that of its data, where folders have other data under one name.
        differs: In what its standing differs from those of the same name; empty where there are none.
        confirmed: Further folders that hold the same counts under the same fingerprint.
    """

    cell: Cell
    status: str
    record: Record | None
    values: dict[str, float | None]
    store: Store | None = None
    ids: tuple[str, ...] = ()
    counts: Counts | None = None
    measures: Measures = field(default_factory=dict[str, Values])
    drawn: Mapping[str, Values] = field(default_factory=dict[str, Values])
    amounts: frozenset[str] = frozenset()
    variant: str = ""
    edition: str = ""
    differs: str = ""
    confirmed: tuple[str, ...] = ()
    _sure: dict[str, Interval | None] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def dataset(self) -> str:
        """The name of its leaderboard: that of the data set, and the folder's where folders have other data."""
        return names.marked(self.cell.dataset, self.edition)

    @property
    def architecture(self) -> str:
        """The name of its network there: the cell's, and the folder's where several stand side by side."""
        return names.marked(self.cell.architecture, self.variant)

    @property
    def intervals(self) -> dict[str, Interval | None]:
        """For every value; computed once."""
        if len(self._sure) < len(self.values):
            self._sure.update({name: statistics.sure(_sample([self], name)) for name in self.values})
        return self._sure


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


def stored(study: Study, store: Store, profiles: Sequence[Profile]) -> list[Row]:
    """One row per cell of the study, in its order, with its counts, and the measures that some profile needs."""
    needed = any(metric.measure for profile in profiles for metric in profile.metrics.values())
    return [_row(cell, study, store, measured=needed) for cell in plan.cells(study)]


def score(table: Sequence[Row], profile: Profile) -> list[Row]:
    """Stored rows with their numbers under a profile, and the noise of each: of single classes up to MANY cells."""
    classes = profile is metrics.DEFAULT and len(table) <= MANY
    return [
        row if row.counts is None else _scored(row, profile, list(profile.metrics), classes=classes) for row in table
    ]


def score_all(table: Sequence[Row], profiles: Sequence[Profile]) -> list[list[Row]]:
    """Stored rows with their numbers under each profile, and the noise of its primary metric alone."""
    found = [row if row.counts is None else _scored_all(row, profiles) for row in table]
    return [[row if isinstance(row, Row) else row[at] for row in found] for at in range(len(profiles))]


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


def _row(cell: Cell, study: Study, store: Store, *, measured: bool) -> Row:
    record = store.read(cell)
    if record is None:
        return Row(cell=cell, status="pending", record=None, values={}, store=store)
    status = str(record.status)
    if (
        cell.loss is not None
        and record.ingredients.get("recipe") is not None
        and _protocol(record) != plan.protocol(study)
    ):
        status = "stale"
    if record.counts_hash is None or record.data is None:
        return Row(cell=cell, status=status, record=record, values={}, store=store)
    ids, counts = store.counts(cell)
    order = np.argsort(np.array(ids))
    return Row(
        cell=cell,
        status=status,
        record=record,
        values={},
        store=store,
        ids=tuple(ids[at] for at in order),
        counts=counts[order],
        measures=_measures(record, store) if measured else {},
    )


def _scored(row: Row, profile: Profile, sure: Sequence[str], *, classes: bool) -> Row:
    """A row with its numbers, and the noise of some of them, of the single classes too where that is asked for."""
    assert row.counts is not None
    drawn = _drawn(row.counts, row.measures, {name: profile.metrics[name] for name in sure})
    if classes:
        for prefix, values in zip(CLASSES, statistics.draw(list(CLASSES.values()), row.counts), strict=True):
            drawn |= {f"{prefix}/{name}": values[:, at] for at, name in enumerate(_classes([row]))}
    return _numbered(row, profile, drawn)


def _scored_all(row: Row, profiles: Sequence[Profile]) -> list[Row]:
    """A row under each profile: its images are resampled once for all."""
    assert row.counts is not None
    primaries = {profile.name: profile.metrics[profile.primary] for profile in profiles}
    drawn = _drawn(row.counts, row.measures, primaries)
    own = ({profile.primary: drawn[profile.name]} if profile.name in drawn else {} for profile in profiles)
    return [_numbered(row, profile, values) for profile, values in zip(profiles, own, strict=True)]


def _numbered(row: Row, profile: Profile, drawn: Mapping[str, Values]) -> Row:
    assert row.counts is not None
    return replace(
        row,
        values=metrics.scores(row.counts, _classes([row]), profile, row.measures),
        drawn=drawn,
        amounts=frozenset(name for name, metric in profile.metrics.items() if metric.better != "higher"),
    )


def _classes(rows: Sequence[Row]) -> list[str]:
    return next([spec.name for spec in row.record.data.classes] for row in rows if row.record and row.record.data)


def _measures(record: Record, store: Store) -> dict[str, Values]:
    """The measures of a cell in the order of its image ids, where they were stored."""
    ids, measures = store.measures(record)
    order = np.argsort(np.array(ids))
    return {name: values[order] for name, values in measures.items()}


def _protocol(record: Record) -> str:
    return plan.digest({name: record.ingredients.get(name) for name in ("recipe", "tuning", "budget")})


def _drawn(counts: Counts, measures: Measures, wanted: Mapping[str, Metric]) -> dict[str, Values]:
    """Numbers on resampled images, float64 (B,) each; without those that were not measured."""
    counted = {name: metric for name, metric in wanted.items() if metric.measure is None}
    result = dict(zip(counted, statistics.draw(list(counted.values()), counts), strict=True))
    for name, metric in wanted.items():
        if metric.measure is not None and (stored := metrics.source(metric, counts, measures)) is not None:
            [result[name]] = statistics.draw([metric], stored)
    return result


def _sample(runs: Sequence[Row], name: str) -> Sample | None:
    """The noise of one number over runs on the same images; None where a run leaves it undefined."""
    values = [value for run in runs if (value := run.values.get(name)) is not None and name in run.drawn]
    if not values or len(values) < len(runs):
        return None
    drawn = np.mean([run.drawn[name] for run in runs], axis=0)
    return Sample(runs=np.array(values), drawn=drawn, images=len(runs[0].ids), share=name not in runs[0].amounts)


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
    samples = {name: sample for name in names if (sample := _sample(runs, name)) is not None}
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
    return _scored(joined, profile, [name for name in profile.metrics if name in folds[0].drawn], classes=classes)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) and defined else None


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
