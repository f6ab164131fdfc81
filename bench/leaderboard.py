"""Records and counts to tables: one row per cell, one standing per architecture and loss, ranked where it can be."""

from __future__ import annotations

import csv
import io
import json
import statistics as plain
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench import metrics, plan, statistics
from bench.metrics import Counts, Profile
from bench.specs import Cell, Record, Status, Study
from bench.store import Store

SCORED = (Status.OK, Status.DIVERGED)
"""Whose counts are shown: a network that collapsed to one class has a score, and is not averaged away for being bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of the study, stored or not.

    Attributes:
        status: The record's, or `pending` without one, or `stale` when it was trained by another recipe, budget or
            tuning than the study now says.
        values: Metric name to value under the profile; None where undefined; empty without counts.
        measures: What was stored beside the counts, in the order of `ids`; only where the profile uses some.
    """

    cell: Cell
    status: str
    record: Record | None
    values: dict[str, float | None]
    ids: tuple[str, ...] = ()
    counts: Counts | None = None
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, NDArray[np.float64]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One architecture with one loss on one data set: all its seeds and folds together.

    Attributes:
        rank: 1-based, shared by standings that cannot be told apart; None without a value, or while cells are missing.
        values: Each metric over all images of the folds, then the mean over seeds.
        spread: Standard deviation of the primary metric over seeds; None with fewer than two.
        interval: 95% bootstrap interval of the primary metric over images; None where it cannot be had.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The leaderboard of one data set, best first; rows without a value at the end."""

    dataset: str
    title: str
    standings: tuple[Standing, ...]


def rows(study: Study, store: Store, profile: Profile) -> list[Row]:
    """One row per cell of the study, in its order; nothing is left out because it failed."""
    return [_row(cell, study, store, profile) for cell in plan.cells(study)]


def boards(table: Sequence[Row], profile: Profile) -> list[Board]:
    """The leaderboard of every data set, in the order of the study."""
    result = []
    for dataset in dict.fromkeys(row.cell.dataset for row in table):
        own = [row for row in table if row.cell.dataset == dataset]
        title = next((row.record.data.title for row in own if row.record and row.record.data), dataset)
        result.append(Board(dataset=dataset, title=title, standings=_standings(own, profile)))
    return result


def label(row: Row | Standing) -> str:
    """How a standing is called in figures: `unet · dice+ce`, or a baseline's name alone."""
    architecture, loss = (
        (row.cell.architecture, row.cell.loss) if isinstance(row, Row) else (row.architecture, row.loss)
    )
    return architecture if loss is None else f"{architecture} · {loss}"


def as_json(table: Sequence[Row], profile: Profile) -> str:
    """A list of `{dataset, architecture, loss, seed, fold, status, lr, profile, metrics}`, one per cell."""
    return json.dumps([_flat(row) | {"profile": profile.id} for row in table], indent=1, allow_nan=False) + "\n"


def as_csv(table: Sequence[Row]) -> str:
    """One line per cell, one column per metric; undefined is empty."""
    names = list(dict.fromkeys(name for row in table for name in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "architecture", "loss", "seed", "fold", "status", "lr", *names])
    for row in table:
        flat = _flat(row)
        head = [flat[key] for key in ("dataset", "architecture", "loss", "seed", "fold", "status", "lr")]
        writer.writerow([*head, *(row.values.get(name) for name in names)])
    return text.getvalue()


def as_markdown(tables: Sequence[Board], profile: Profile) -> str:
    """One table per data set, and the definition of every column below them."""
    lines: list[str] = [f"Profile `{profile.id}`: {profile.title}.", ""]
    head = ["rank", "architecture", "loss", *profile.metrics, "95% interval", "cells"]
    for board in tables:
        lines += [f"## {_plain(board.title)}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        lines += [
            f"| {' | '.join(_plain(text) for text in as_texts(standing, profile))} |" for standing in board.standings
        ]
        lines.append("")
    lines += [f"- `{name}`: {metric.definition}" for name, metric in profile.metrics.items()]
    return "\n".join(lines) + "\n"


def as_texts(standing: Standing, profile: Profile) -> list[str]:
    """The fields of a standing as a reader sees them: rank, architecture, loss, metrics, interval, coverage."""
    interval = "n/a" if standing.interval is None else f"{standing.interval[0]:.3f} to {standing.interval[1]:.3f}"
    coverage = f"{standing.done}/{standing.of}"
    failures = sorted({row.status for row in standing.rows} - {Status.OK})
    numbers = [number(standing.values.get(name)) for name in profile.metrics]
    rank = "-" if standing.rank is None else str(standing.rank)
    return [rank, standing.architecture, standing.loss or "-", *numbers, interval, " ".join([coverage, *failures])]


def number(value: float | None) -> str:
    """Four decimals, or n/a."""
    return "n/a" if value is None else f"{value:.4f}"


def _row(cell: Cell, study: Study, store: Store, profile: Profile) -> Row:
    record = store.read(cell)
    if record is None:
        return Row(cell=cell, status="pending", record=None, values={})
    status = str(record.status)
    if (
        cell.loss is not None
        and record.ingredients.get("recipe") is not None
        and _protocol(record) != plan.protocol(study)
    ):
        status = "stale"
    if record.counts_hash is None or record.data is None:
        return Row(cell=cell, status=status, record=record, values={})
    ids, counts = store.counts(cell)
    order = np.argsort(np.array(ids))
    counts, measures = counts[order], _measures(record, store, profile)
    values = metrics.scores(counts, [spec.name for spec in record.data.classes], profile, measures)
    return Row(
        cell=cell,
        status=status,
        record=record,
        values=values,
        ids=tuple(ids[at] for at in order),
        counts=counts,
        measures=measures,
    )


def _measures(record: Record, store: Store, profile: Profile) -> dict[str, NDArray[np.float64]]:
    """The measures of a cell in the order of its image ids, where the profile needs some and they were stored."""
    if not any(metric.measure for metric in profile.metrics.values()):
        return {}
    ids, measures = store.measures(record)
    order = np.argsort(np.array(ids))
    return {name: values[order] for name, values in measures.items()}


def _protocol(record: Record) -> str:
    return plan.digest({name: record.ingredients.get(name) for name in ("recipe", "tuning", "budget")})


def _standings(own: Sequence[Row], profile: Profile) -> tuple[Standing, ...]:
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in own:
        groups.setdefault((row.cell.architecture, row.cell.loss), []).append(row)
    unranked = [_standing(tuple(group), profile) for group in groups.values()]
    samples = [sample for _, sample in unranked]
    values = [
        standing.values.get(profile.primary) if standing.done == standing.of else None for standing, _ in unranked
    ]
    placed = statistics.ranks(values, samples, [_images(standing) for standing, _ in unranked])
    ranked = [replace(standing, rank=rank) for (standing, _), rank in zip(unranked, placed, strict=True)]
    return tuple(sorted(ranked, key=lambda standing: -_or(standing.values.get(profile.primary), -1.0)))


def _standing(group: tuple[Row, ...], profile: Profile) -> tuple[Standing, NDArray[np.float64] | None]:
    """A group's standing, yet unranked, and its resampled values for the comparison with others."""
    counted, selected = _counted(group)
    usable = [row for row in counted if row.counts is not None and row.status in SCORED]
    runs = _runs(usable)
    metric = profile.metrics[profile.primary]
    inputs = [found for run in runs if (found := metrics.source(metric, *run)) is not None]
    paired = inputs and len(inputs) == len(runs) and len({one.shape for one in inputs}) == 1
    samples = statistics.resampled(metric, inputs) if paired else None
    classes = next((row.record.data.classes for row in group if row.record and row.record.data), ())
    scored = [metrics.scores(run[0], [spec.name for spec in classes], profile, run[1]) for run in runs]
    primary = [value for one in scored if (value := one[profile.primary]) is not None]
    first = group[0].cell
    standing = Standing(
        dataset=first.dataset,
        architecture=first.architecture,
        loss=first.loss,
        rank=None,
        values={name: _mean([one[name] for one in scored]) for name in (scored[0] if scored else ())},
        spread=plain.stdev(primary) if len(primary) > 1 else None,
        interval=None if samples is None else statistics.interval(samples),
        done=len(usable),
        of=len(counted),
        selected=selected,
        rows=group,
    )
    return standing, samples


def _images(standing: Standing) -> Hashable:
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


def _runs(usable: Sequence[Row]) -> list[tuple[Counts, dict[str, NDArray[np.float64]]]]:
    """Per seed the counts and the measures of all its folds, one after the other."""
    seeds: dict[int, list[Row]] = {}
    for row in usable:
        seeds.setdefault(row.cell.seed, []).append(row)
    return [
        (
            np.concatenate([row.counts for row in group if row.counts is not None]),
            {
                name: np.concatenate([row.measures[name] for row in group])
                for name in group[0].measures
                if all(name in row.measures for row in group)
            },
        )
        for group in seeds.values()
    ]


def _flat(row: Row) -> dict[str, object]:
    return {
        "dataset": row.cell.dataset,
        "architecture": row.cell.architecture,
        "loss": row.cell.loss,
        "seed": row.cell.seed,
        "fold": row.cell.fold,
        "status": row.status,
        "lr": row.record.lr if row.record else None,
        "metrics": row.values,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) and defined else None


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
