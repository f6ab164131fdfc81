"""Cells to rows: what is stored of each, its numbers under a metric profile, and the noise of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench import metrics, names, plan, statistics
from bench.metrics import Counts, Metric, Profile, Values
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
            self._sure.update({name: statistics.sure(sampled([self], name)) for name in self.values})
        return self._sure


def stored(study: Study, store: Store, profiles: Sequence[Profile]) -> list[Row]:
    """One row per cell of the study, in its order, with its counts, and the measures that some profile needs."""
    needed = any(metric.measure for profile in profiles for metric in profile.metrics.values())
    return [_row(cell, study, store, measured=needed) for cell in plan.cells(study)]


def score(table: Sequence[Row], profile: Profile) -> list[Row]:
    """Stored rows with their numbers under a profile, and the noise of each: of single classes up to MANY cells."""
    classes = profile is metrics.DEFAULT and len(table) <= MANY
    return [
        row if row.counts is None else scored(row, profile, list(profile.metrics), classes=classes) for row in table
    ]


def score_all(table: Sequence[Row], profiles: Sequence[Profile]) -> list[list[Row]]:
    """Stored rows with their numbers under each profile, and the noise of its primary metric alone."""
    found = [row if row.counts is None else _scored_all(row, profiles) for row in table]
    return [[row if isinstance(row, Row) else row[at] for row in found] for at in range(len(profiles))]


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


def scored(row: Row, profile: Profile, sure: Sequence[str], *, classes: bool) -> Row:
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


def sampled(runs: Sequence[Row], name: str) -> Sample | None:
    """The noise of one number over runs on the same images; None where a run leaves it undefined."""
    values = [value for run in runs if (value := run.values.get(name)) is not None and name in run.drawn]
    if not values or len(values) < len(runs):
        return None
    drawn = np.mean([run.drawn[name] for run in runs], axis=0)
    return Sample(runs=np.array(values), drawn=drawn, images=len(runs[0].ids), share=name not in runs[0].amounts)
