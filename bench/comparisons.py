"""What a whole leaderboard can tell apart, and how networks rank across data sets; SciPy does the work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import leaderboard, statistics, variance
from bench.leaderboard import Board, Standing
from bench.metrics import Profile
from bench.statistics import LEVEL, Difference
from bench.variance import Decomposition

FEW = 10
"""With fewer data sets than that, tests across them have little power, and the page says so."""
Name = tuple[str, str | None]


class Missing(StrEnum):
    """What happens to a network that lacks a score on some data set when data sets are ranked together."""

    COMMON = "common"
    """It is left out, and named."""
    BASELINE = "baseline"
    """It gets the score of the best baseline there, and the cell is marked."""


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


class Ranking(NamedTuple):
    """Several methods on several data sets: (N data sets, k methods), higher is better.

    Attributes:
        mean_ranks: 1 is best; ties get the mean of their ranks.
        statistic, p: Friedman's test that all methods are alike; None for fewer than three methods, or where all tie.
        critical: The difference of mean ranks that Nemenyi's test calls real.
        nemenyi, wilcoxon: p of every two methods (k, k), Nemenyi's and Wilcoxon's signed ranks with Holm's correction.
        cliques: The largest sets of methods, best first, in which no two differ by more than `critical`.
    """

    mean_ranks: tuple[float, ...]
    statistic: float | None
    p: float | None
    critical: float
    nemenyi: NDArray[np.float64]
    wilcoxon: NDArray[np.float64]
    cliques: tuple[tuple[int, ...], ...]


class Across(NamedTuple):
    """The networks of a study ranked over its data sets.

    Attributes:
        methods: Architecture and loss, best mean rank first; `values` (data sets, methods).
        leads: Share of the resamples in which each has the best mean rank.
        dropped: Networks and data sets left out for a missing score.
        imputed: Cells (data set, architecture, loss) that got the best baseline's score.
    """

    missing: Missing
    datasets: tuple[str, ...]
    methods: tuple[Name, ...]
    values: NDArray[np.float64]
    ranking: Ranking
    leads: tuple[float, ...]
    dropped: tuple[str, ...]
    imputed: tuple[tuple[str, str, str | None], ...]


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
    common = leaderboard.images(max(networks, key=lambda one: one.done))
    metric = profile.metrics[profile.primary]
    scores = {
        (one.architecture, one.loss or "", seed): np.asarray(metric.compute(counts[:, None]), dtype=np.float64)
        for one in networks
        if leaderboard.images(one) == common
        for seed, counts in leaderboard.runs(one, metric).items()
    }
    longest = max((len(score) for score in scores.values()), default=0)
    return variance.decompose({key: score for key, score in scores.items() if len(score) == longest})


def rank(values: NDArray[np.float64]) -> Ranking:
    """Friedman's test and what may follow it.

    Args:
        values: float64 (N data sets, k methods) with k >= 2, all defined, higher is better.
    Source: Demsar 2006, JMLR 7, 1-30 (mean ranks, Nemenyi, critical difference); ties corrected in Friedman's test.
    """
    from scipy import stats

    datasets, methods = values.shape
    means = _mean_ranks(values)
    unit = math.sqrt(methods * (methods + 1) / (6 * datasets))
    critical = float(stats.studentized_range.isf(1 - LEVEL, methods, np.inf)) / math.sqrt(2) * unit
    apart = np.abs(means[:, None] - means[None])
    nemenyi = stats.studentized_range.sf(apart / unit * math.sqrt(2), methods, np.inf)
    np.fill_diagonal(nemenyi, 1.0)
    statistic = p = None
    if methods > 2 and (values != values[:, :1]).any():
        statistic, p = (float(number) for number in stats.friedmanchisquare(*values.T))
    return Ranking(tuple(means.tolist()), statistic, p, critical, nemenyi, _wilcoxon(values), _cliques(means, critical))


def across(boards: Sequence[Board], profile: Profile, missing: Missing = Missing.COMMON) -> Across | None:
    """The networks of several data sets ranked together; None with fewer than two data sets or networks in common.

    Data sets without any scored network are left out first; then either the networks that lack a score somewhere are,
    or their missing scores are imputed.
    """
    used = [board for board in boards if _scores(board, profile)]
    dropped = [f"data set {board.dataset}: no network has a score" for board in boards if board not in used]
    scores = {board.dataset: _scores(board, profile) for board in used}
    everyone = list(dict.fromkeys(name for found in scores.values() for name in found))
    imputed: list[tuple[str, str, str | None]] = []
    if missing is Missing.BASELINE:
        imputed = _impute(used, scores, everyone, profile)
    methods = [name for name in everyone if all(name in found for found in scores.values())]
    for name in everyone:
        if name not in methods:
            places = [dataset for dataset, found in scores.items() if name not in found]
            dropped.append(f"{name[0]} · {name[1]}: no score on {', '.join(places)}")
    if len(used) < 2 or len(methods) < 2:
        return None
    values = np.array([[_value(found[name], profile) for name in methods] for found in scores.values()])
    order = np.argsort(_mean_ranks(values), kind="stable")
    methods, values = [methods[at] for at in order], values[:, order]
    return Across(
        missing=missing,
        datasets=tuple(board.title for board in used),
        methods=tuple(methods),
        values=values,
        ranking=rank(values),
        leads=_leads([[found[name] for name in methods] for found in scores.values()], profile),
        dropped=tuple(dropped),
        imputed=tuple(imputed),
    )


def sentence(table: Across) -> str:
    """Who leads over all data sets, and what was left out or filled in for it: the line below the leaderboards."""
    (architecture, loss), ranking = table.methods[0], table.ranking
    p = "" if ranking.p is None else f"; Friedman p = {ranking.p:.3g}"
    parts = [
        f"Across {len(table.datasets)} data sets {architecture} · {loss} has the best mean rank, "
        f"{ranking.mean_ranks[0]:.2f} of {len(table.methods)} (critical difference {ranking.critical:.2f}{p})."
    ]
    if table.dropped:
        parts.append(f"Left out: {'; '.join(table.dropped)}.")
    if table.imputed:
        parts.append(f"The best baseline stands in for: {'; '.join(f'{a} · {b} on {d}' for d, a, b in table.imputed)}.")
    return " ".join(parts)


def as_dict(boards: Sequence[Board], profile: Profile, table: Across | None) -> dict[str, Any]:
    """Everything of the two functions above, for statistics.json."""
    return {
        "profile": profile.id,
        "primary": profile.primary,
        "datasets": [_board(board, profile) for board in boards],
        "across": None if table is None else _across(table),
    }


def _usual(differences: Sequence[Difference]) -> Difference | None:
    """The comparison with the median error."""
    noisy = sorted((one for one in differences if one.error > 0), key=lambda one: one.error)
    return noisy[len(noisy) // 2] if noisy else None


def _against(board: Board, ranked: Sequence[int]) -> list[tuple[Standing, Difference]]:
    leader = ranked[0]
    return [(board.standings[at], board.pairs[leader, at]) for at in ranked[1:] if (leader, at) in board.pairs]


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import stats

    return stats.rankdata(-values, axis=1).mean(axis=0)


def _wilcoxon(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wilcoxon's signed-rank test of every two columns, Holm's correction over all; 1 where they are equal."""
    from scipy import stats

    pairs = list(combinations(range(values.shape[1]), 2))
    ps = []
    for one, other in pairs:
        difference = values[:, one] - values[:, other]
        ps.append(float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0)
    result = np.ones((values.shape[1],) * 2)
    for (one, other), p in zip(pairs, statistics.holm(ps), strict=True):
        result[one, other] = result[other, one] = p
    return result


def _cliques(means: NDArray[np.float64], critical: float) -> tuple[tuple[int, ...], ...]:
    """The longest runs of neighbouring mean ranks that span no more than the critical difference."""
    order = np.argsort(means, kind="stable")
    found: list[tuple[int, ...]] = []
    for start, first in enumerate(order):
        run = tuple(int(at) for at in order[start:] if means[at] - means[first] <= critical)
        if len(run) > 1 and not (found and set(run) <= set(found[-1])):
            found.append(run)
    return tuple(found)


def _scores(board: Board, profile: Profile) -> dict[Name, Standing]:
    return {
        (one.architecture, one.loss): one
        for one in board.standings
        if one.loss is not None and one.complete and one.values.get(profile.primary) is not None
    }


def _impute(
    boards: Sequence[Board], scores: Mapping[str, dict[Name, Standing]], names: Sequence[Name], profile: Profile
) -> list[tuple[str, str, str | None]]:
    """Fill what is missing with the best baseline of the data set, in place; return what was filled."""
    filled = []
    for board in boards:
        baselines = [one for one in board.standings if one.loss is None and one.values.get(profile.primary) is not None]
        for name in names:
            if baselines and name not in scores[board.dataset]:
                scores[board.dataset][name] = baselines[0]
                filled.append((board.dataset, *name))
    return filled


def _value(standing: Standing, profile: Profile) -> float:
    value = standing.values[profile.primary]
    assert value is not None
    return value


def _leads(table: Sequence[Sequence[Standing]], profile: Profile) -> tuple[float, ...]:
    """How often each method has the best mean rank when images and seeds of every data set are drawn again."""
    from scipy import stats

    summed: Any = 0.0
    for row in table:
        samples = [one.samples.get(profile.primary) for one in row]
        drawn = statistics.draws([sample for sample in samples if sample is not None])
        if len(drawn) < len(row):
            return (math.nan,) * len(row)
        summed = summed + stats.rankdata(-np.nan_to_num(drawn, nan=-1.0), axis=0)
    first = np.isclose(summed, summed.min(axis=0))
    return tuple((first / first.sum(axis=0)).mean(axis=1).tolist())


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
                "seeds": len(leaderboard.runs(one, profile.metrics[profile.primary])),
                "values": one.values,
                "intervals": one.intervals,
            }
            for one in board.standings
        ],
        "differences": [
            {
                "first": leaderboard.label(board.standings[one]),
                "second": leaderboard.label(board.standings[other]),
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


def _across(table: Across) -> dict[str, Any]:
    ranking = table.ranking
    return {
        "missing": table.missing,
        "datasets": table.datasets,
        "methods": [f"{architecture} · {loss}" for architecture, loss in table.methods],
        "values": table.values.tolist(),
        "mean_ranks": ranking.mean_ranks,
        "friedman": {"statistic": ranking.statistic, "p": ranking.p},
        "critical_difference": ranking.critical,
        "nemenyi_p": ranking.nemenyi.tolist(),
        "wilcoxon_holm_p": ranking.wilcoxon.tolist(),
        "leads": [None if math.isnan(share) else share for share in table.leads],
        "dropped": table.dropped,
        "imputed": table.imputed,
    }
