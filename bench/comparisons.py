"""What the leaderboard of a data set can tell apart, and where the variance of its scores comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bench import ranking, standings, statistics, variance
from bench.metrics import Profile
from bench.paired import Difference
from bench.ranking import Across
from bench.standings import Board, Standing
from bench.statistics import LEVEL
from bench.variance import Decomposition

SCHEMA = 1
"""Version of statistics.json, which docs/statistics.schema.json describes."""


class Precision(NamedTuple):
    """What the leaderboard of one data set can tell.

    Attributes:
        images: Test images; `seeds` are the fewest behind a network.
        coverage: How often an interval from so much holds the truth, as measured [percent]; None where it was not.
        excludes_seeds: True when a network is a single run, so that its ties and intervals exclude seed noise.
        detectable: The difference that two networks compared alone would show in 80% of such studies; None without
            two networks. `corrected` is the same under Holm's strictest level.
        pairs: How many comparisons Holm's correction counts.
        leader: The best row, which may be a baseline.
        first, second: The two best networks.
        seeds_needed: Seeds that would separate them with 80% power; None when none would, or with single runs.
        against: Every other ranked row with the leader's lead over it.
        variance: Where the variance of the networks' scores of single images comes from.
    """

    images: int
    seeds: int
    coverage: int | None
    excludes_seeds: bool
    detectable: float | None
    corrected: float | None
    pairs: int
    leader: Standing
    first: Standing | None
    second: Standing | None
    seeds_needed: int | None
    against: tuple[tuple[Standing, Difference], ...]
    variance: Decomposition | None


def precision(board: Board, profile: Profile) -> Precision | None:
    """What the leaderboard of a data set can tell; None where no row has an interval."""
    ranked = [at for at, one in enumerate(board.standings) if one.rank is not None]
    samples = [board.standings[at].samples.get(profile.primary) for at in ranked]
    known = [sample for sample in samples if sample is not None]
    if not known:
        return None
    networks = {at for at in ranked if board.standings[at].loss is not None}
    runs = [len(s.runs) for at, s in zip(ranked, samples, strict=True) if s is not None and at in networks]
    seeds = min(runs, default=1)
    usual = _usual([one for pair, one in board.pairs.items() if networks.issuperset(pair)])
    best = [at for at in ranked if at in networks]  # a baseline has no seeds
    first, second = (board.standings[at] if at is not None else None for at in [*best, None, None][:2])
    top = [one.samples.get(profile.primary) for one in (first, second) if one is not None]
    images = min(sample.images for sample in known)
    return Precision(
        images=images,
        seeds=seeds,
        coverage=statistics.covers(images, seeds),
        excludes_seeds=bool(networks) and seeds < 2,
        detectable=statistics.detectable(usual.error, usual.freedom) if usual else None,
        corrected=statistics.detectable(usual.error, usual.freedom, (1 - LEVEL) / len(board.pairs)) if usual else None,
        pairs=len(board.pairs),
        leader=board.standings[ranked[0]],
        first=first,
        second=second,
        seeds_needed=statistics.seeds_needed(*top) if len(top) == 2 and None not in top else None,  # ty: ignore
        against=tuple(_against(board, ranked)),
        variance=decomposition(board, profile),
    )


def decomposition(board: Board, profile: Profile) -> Decomposition | None:
    """The variance components of the primary metric of single images, over the networks of a data set."""
    networks = [one for one in board.standings if one.loss is not None and one.done]
    if not networks:
        return None
    common = standings.images(max(networks, key=lambda one: one.done))
    metric = profile.metrics[profile.primary]
    scores = {
        (one.architecture, one.loss or "", seed): np.asarray(metric.compute(counts[:, None]), dtype=np.float64)
        for one in networks
        if standings.images(one) == common
        for seed, counts in standings.runs(one, metric).items()
    }
    longest = max((len(score) for score in scores.values()), default=0)
    return variance.decompose({key: score for key, score in scores.items() if len(score) == longest})


def as_dict(boards: Sequence[Board], profile: Profile, table: Across | None) -> dict[str, Any]:
    """Everything of the two functions above, for statistics.json."""
    return {
        "schema": SCHEMA,
        "profile": profile.id,
        "primary": profile.primary,
        "datasets": [_board(board, profile) for board in boards],
        "across": None if table is None else ranking.as_dict(table),
    }


def _usual(differences: Sequence[Difference]) -> Difference | None:
    """The comparison with the median error."""
    noisy = sorted((one for one in differences if one.error > 0), key=lambda one: one.error)
    return noisy[len(noisy) // 2] if noisy else None


def _against(board: Board, ranked: Sequence[int]) -> list[tuple[Standing, Difference]]:
    leader = ranked[0]
    return [(board.standings[at], board.pairs[leader, at]) for at in ranked[1:] if (leader, at) in board.pairs]


def _board(board: Board, profile: Profile) -> dict[str, Any]:
    found = precision(board, profile)
    return {
        "dataset": board.dataset,
        "title": board.title,
        "standings": [
            {
                "architecture": one.architecture,
                "loss": one.loss,
                "rank": one.rank,
                "rank_range": one.rank_range,
                "tie_group": one.group,
                "leads": one.leads,
                "seeds": len(standings.runs(one, profile.metrics[profile.primary])),
                "values": one.values,
                "intervals": one.intervals,
            }
            for one in board.standings
        ],
        "differences": [
            {
                "first": standings.label(board.standings[one]),
                "second": standings.label(board.standings[other]),
                "difference": found_.value,
                "interval": found_.interval,
                "p": found_.p,
                "p_holm": found_.adjusted,
            }
            for (one, other), found_ in board.pairs.items()
        ],
        "precision": None if found is None else _precision(found),
    }


def _precision(found: Precision) -> dict[str, Any]:
    plain = ("images", "seeds", "coverage", "excludes_seeds", "detectable", "corrected", "pairs", "seeds_needed")
    parts = found.variance
    return {name: getattr(found, name) for name in plain} | {
        "variance": None
        if parts is None
        else {
            "components": [one._asdict() for one in parts.components],
            "levels": parts.levels,
            "dropped": parts.dropped,
        }
    }
