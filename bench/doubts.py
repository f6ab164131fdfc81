"""What to doubt about a number: metrics that a constant predictor satisfies, winners that change with the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.measures import MEASURES
from bench.profiles import PROFILES, SHARE
from bench.rows import Row
from bench.rules import Counts, Metric, Profile, constant
from bench.shapes import GROUPS
from bench.standings import Board, label

EASY = 0.6
"""A constant predictor above this makes a metric worth a warning."""


class Easy(NamedTuple):
    """How much the best constant predictor scores, and which class it calls everywhere."""

    value: float
    label: int


class Flip(NamedTuple):
    """A profile under which another network comes first: its value there, and that of the leader it overtakes."""

    profile: Profile
    first: str
    value: float
    instead: float


def easy(counts: Counts, profile: Profile, limit: float = EASY) -> dict[str, Easy]:
    """The metrics of a profile on which a predictor of one class everywhere scores above a limit.

    Args:
        counts: Integers (images, C, C) of any prediction: only the true pixels matter.
    Returns:
        Metric name to the best such predictor; a metric whose measure the true pixels do not determine is left out.
    """
    result: dict[str, Easy] = {}
    for name, metric in profile.metrics.items():
        if metric is SHARE or not counts.size:
            continue
        values = np.array([_constant(metric, counts, label) for label in range(counts.shape[-1])])
        if (values > limit).any():  # NaN is not
            best = int(np.nanargmax(values))
            result[name] = Easy(float(values[best]), best)
    return result


def easy_sentences(board: Board, profile: Profile) -> dict[str, str]:
    """Metric name to the reason for its warning sign, on the test images of a leaderboard."""
    row = next((row for one in board.standings for row in one.rows if row.counts is not None), None)
    if row is None or row.counts is None or row.record is None or row.record.data is None:
        return {}
    classes = [spec.name for spec in row.record.data.classes]
    return {
        name: f"calling every pixel {classes[found.label]} already scores {found.value:.3f} on these images"
        for name, found in easy(row.counts, profile).items()
    }


def rankings(candidates: Mapping[str, Sequence[Counts]], chosen: Profile) -> list[Flip]:
    """The profiles that put another candidate first than the chosen one does, by their primary metrics.

    Args:
        candidates: Name to the counts (images, C, C) of each of its runs; the value is the mean over the runs.
        chosen: The profile whose leader is compared.
    Returns:
        In the order of PROFILES, without those that need more than counts or leave the leader undefined.
    """
    table = {name: _ranked(profile, candidates) for name, profile in (PROFILES | {chosen.name: chosen}).items()}
    leading = table.pop(chosen.name)
    if not leading:
        return []
    leader = max(leading, key=lambda name: leading[name])
    flips: list[Flip] = []
    for name, values in table.items():
        first = max(values, key=lambda one: values[one], default=leader)
        if leader in values and values[first] > values[leader] + 1e-9:
            flips.append(Flip(PROFILES[name], first, values[first], values[leader]))
    return flips


def sentence(flips: Sequence[Flip]) -> str:
    """What a reader should know about the ranking; empty where all profiles agree."""
    groups: dict[str, list[str]] = {}
    for flip in flips:
        groups.setdefault(flip.first, []).append(flip.profile.name)
    parts = [f"{first} under {', '.join(profiles)}" for first, profiles in groups.items()]
    return f"Other definitions put another network first, by value alone: {'; '.join(parts)}." if parts else ""


def unmeasured(board: Board, profile: Profile) -> str:
    """Why no row has a value, where that is for want of measuring; else nothing."""
    metric = profile.metrics[profile.primary]
    if metric.measure is None or any(one.values.get(profile.primary) is not None for one in board.standings):
        return ""
    option = f" Run with --measures {profile.name} into another results folder." if profile.name in GROUPS else ""
    return f"{profile.primary} was not measured in these cells, or is undefined in all.{option}"


def disagreement(board: Board, profile: Profile) -> str:
    """The sentence on a leaderboard's networks that have a rank and were scored on the same images."""
    networks = {label(one): _runs(one.rows) for one in board.standings if one.loss is not None and one.rank is not None}
    shapes = {run.shape for runs in networks.values() for run in runs}
    return sentence(rankings(networks, profile)) if len(networks) > 1 and len(shapes) == 1 else ""


def _constant(metric: Metric, counts: Counts, label: int) -> float:
    if metric.measure is None:
        return float(metric.compute(constant(counts, label)))
    measure = MEASURES.get(metric.measure)  # outlines and objects have no simple constant
    compute = None if measure is None else measure.constant
    true = counts.sum(axis=-1).astype(np.float64)
    return np.nan if compute is None else float(metric.compute(compute(true, label)))


def _ranked(profile: Profile, candidates: Mapping[str, Sequence[Counts]]) -> dict[str, float]:
    """The primary metric of every candidate that has one; empty where it is not computed from counts."""
    metric = profile.metrics[profile.primary]
    if metric.measure is not None:
        return {}
    values = {name: np.mean(metric.compute(np.stack(runs))) for name, runs in candidates.items()}
    return {name: float(value) for name, value in values.items() if not np.isnan(value)}


def _runs(rows: Sequence[Row]) -> list[Counts]:
    """The counts of each run, its folds one after the other: of the fresh seeds where there are some."""
    fresh = [row for row in rows if row.cell.seed > 0] or list(rows)
    seeds = dict.fromkeys(row.cell.seed for row in fresh)
    return [
        np.concatenate([row.counts for row in fresh if row.cell.seed == seed and row.counts is not None])
        for seed in seeds
    ]
