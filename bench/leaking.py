"""What a leak did to a leaderboard: how many of its images stand in two splits, and the scores without those."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bench import leaderboard
from bench.leaderboard import Board, Standing
from bench.metrics import Metric, Profile
from bench.records import DataCard
from bench.rows import Row


class Without(NamedTuple):
    """One standing: its value over all test images, and over those that have no copy in another split."""

    standing: Standing
    value: float
    clean: float


class Leak(NamedTuple):
    """What of a data set stands in two splits.

    Attributes:
        test, tests: Test images with a copy in another split, and test images, over all folds.
        val, vals: Likewise of validation.
        without: The standings with a score on both; empty where every test image has a copy, or the list of those that
            do is not here any more.
    """

    test: int
    tests: int
    val: int
    vals: int
    without: tuple[Without, ...]


def leak(board: Board, profile: Profile) -> Leak | None:
    """What of the board's images stands in two splits; None where nothing does, as far as anyone has looked."""
    rows = [row for one in board.standings for row in one.rows]
    cards = [(row.cell.fold, row.record.data) for row in rows if row.record and row.record.data]
    # of a fold that was run more than once the audit that found the most counts, as others may have looked less far
    folds = dict(sorted(cards, key=lambda one: sum((one[1].leaked or {}).values())))
    test, tests = _sums(folds, "test")
    val, vals = _sums(folds, "val")
    if not test + val:
        return None
    return Leak(test, tests, val, vals, tuple(_without(board, profile)) if test else ())


def audited(rows: Sequence[Row]) -> bool:
    """Whether all data of these rows were searched for copies."""
    cards = [row.record.data for row in rows if row.record and row.record.data]
    return bool(cards) and all(card.leaked is not None for card in cards)


def sentence(found: Leak) -> str:
    """What a reader has to know before any number of the board."""
    parts = [
        f"{count} of {of} {name} images"
        for count, of, name in ((found.test, found.tests, "test"), (found.val, found.vals, "validation"))
        if count
    ]
    effect = "scores on them measure memory as well" if found.test else "the tuning chose by memory as well"
    return f"LEAK: {' and '.join(parts)} have a copy in another split; {effect}."


def _sums(folds: Mapping[int, DataCard], split: str) -> tuple[int, int]:
    cards = folds.values()
    return sum((card.leaked or {}).get(split, 0) for card in cards), sum(getattr(card, split) for card in cards)


def _without(board: Board, profile: Profile) -> list[Without]:
    """Every standing that has a value both ways."""
    metric, found = profile.metrics[profile.primary], []
    for one in board.standings:
        kept = [_clean(row) for row in one.rows]
        value, clean = one.values.get(profile.primary), None
        if all(row is not None for row in kept):
            clean = _value(replace(one, rows=tuple(row for row in kept if row is not None)), metric)
        if value is not None and clean is not None:
            found.append(Without(one, value, clean))
    return found


def _value(one: Standing, metric: Metric) -> float | None:
    """The mean over seeds, as the leaderboard has it; None where it is undefined."""
    found = [float(metric.compute(counts)) for counts in leaderboard.runs(one, metric).values() if len(counts)]
    return float(np.mean(found)) if found and not np.isnan(found).any() else None


def _clean(row: Row) -> Row | None:
    """A row on the test images that have no copy elsewhere; None where nobody knows any more which those are."""
    if row.counts is None or row.store is None:
        return row
    try:
        split = json.loads(row.store.split(row.cell.dataset, row.cell.fold).read_bytes())
        leaked = set(split["leaked"]["test"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    keep = np.array([name not in leaked for name in row.ids], bool)
    return replace(
        row,
        ids=tuple(name for name in row.ids if name not in leaked),
        counts=row.counts[keep],
        measures={name: values[keep] for name, values in row.measures.items()},
    )
