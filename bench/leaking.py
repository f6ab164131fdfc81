"""What a leak did to a leaderboard: how many of its images stand in two splits, and the scores without those."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bench import standings
from bench.metrics import Metric, Profile
from bench.records import DataCard
from bench.rows import Row
from bench.standings import Board, Standing


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
    # of a fold that was run more than once the audit that found the most counts, as others may have looked less far
    known = sorted(
        ((row.cell.fold, *one) for row in rows if (one := _known(row))), key=lambda one: sum(one[1].values())
    )
    folds = {fold: (card, counts) for fold, counts, card in known}
    test, val = (sum(counts.get(name, 0) for _, counts in folds.values()) for name in ("test", "val"))
    if not test + val:
        return None
    tests, vals = (sum(getattr(card, name) for card, _ in folds.values()) for name in ("test", "val"))
    return Leak(test, tests, val, vals, tuple(_without(board, profile)) if test else ())


def audited(rows: Sequence[Row]) -> bool:
    """Whether all data of these rows were searched for copies."""
    scored = [row for row in rows if row.record and row.record.data]
    return bool(scored) and all(
        _listed(row) is not None or (row.record and row.record.data and row.record.data.leaked is not None)
        for row in scored
    )


def sentence(found: Leak) -> str:
    """What a reader has to know before any number of the board."""
    parts = [
        f"{count} of {of} {name} images"
        for count, of, name in ((found.test, found.tests, "test"), (found.val, found.vals, "validation"))
        if count
    ]
    effect = "scores on them measure memory as well" if found.test else "the tuning chose by memory as well"
    return f"LEAK: {' and '.join(parts)} have a copy in another split; {effect}."


def _known(row: Row) -> tuple[dict[str, int], DataCard] | None:
    """How many images leaked, by what the record says or a later audit listed, and the card of its data."""
    card = row.record.data if row.record else None
    if card is None:
        return None
    listed = {name: len(ids) for name, ids in (_listed(row) or {}).items()}
    said = dict(card.leaked or {})
    return {name: max(said.get(name, 0), listed.get(name, 0)) for name in ("test", "val")}, card


def _listed(row: Row) -> dict[str, list[str]] | None:
    """The leaked images of the split that a row was scored on; None where nobody listed them, or the list is lost."""
    if row.store is None:
        return None
    try:
        found = json.loads(row.store.split(row.cell.dataset, row.cell.fold).read_bytes())["leaked"]
        return {name: [str(one) for one in found[name]] for name in ("test", "val")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    found = [float(metric.compute(counts)) for counts in standings.runs(one, metric).values() if len(counts)]
    return float(np.mean(found)) if found and not np.isnan(found).any() else None


def _clean(row: Row) -> Row | None:
    """A row on the test images that have no copy elsewhere; None where nobody knows any more which those are."""
    if row.counts is None or row.store is None:
        return row
    listed = _listed(row)
    if listed is None:
        return None
    leaked = set(listed["test"])
    keep = np.array([name not in leaked for name in row.ids], bool)
    return replace(
        row,
        ids=tuple(name for name in row.ids if name not in leaked),
        counts=row.counts[keep],
        measures={name: values[keep] for name, values in row.measures.items()},
    )
