"""How networks rank over several data sets: mean ranks, and which of their differences are real, by SciPy."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import protocols, statistics
from bench.metrics import Profile
from bench.paired import holm
from bench.standings import Board, Standing
from bench.statistics import LEVEL

FEW = 10
"""With fewer data sets than that, tests across them have little power, and the page says so."""
Name = tuple[str, str | None]


class Missing(StrEnum):
    """What happens to a network that lacks a score on some data set when data sets are ranked together."""

    COMMON = "common"
    """It is left out, and named."""
    BASELINE = "baseline"
    """It gets the score of the best baseline there, and the cell is marked."""


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
        leads: Share of the resamples in which each has the best mean rank; `between` holds 95% of its mean ranks.
        dropped: Networks and data sets left out for a missing score.
        imputed: Cells (data set, architecture, loss) that got the best baseline's score.
    """

    missing: Missing
    datasets: tuple[str, ...]
    methods: tuple[Name, ...]
    values: NDArray[np.float64]
    ranking: Ranking
    leads: tuple[float, ...]
    between: tuple[tuple[float, float] | None, ...]
    dropped: tuple[str, ...]
    imputed: tuple[tuple[str, str, str | None], ...]


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
    apart = np.abs(means[:, None] - means[None])
    nemenyi = stats.studentized_range.sf(apart / unit * math.sqrt(2), methods, np.inf)
    np.fill_diagonal(nemenyi, 1.0)
    statistic = p = None
    if methods > 2 and (values != values[:, :1]).any():
        statistic, p = (float(number) for number in stats.friedmanchisquare(*values.T))
    least = critical(methods, datasets)
    return Ranking(tuple(means.tolist()), statistic, p, least, nemenyi, _wilcoxon(values), _cliques(means, least))


@functools.cache
def critical(methods: int, datasets: int) -> float:
    """The difference of mean ranks that Nemenyi's test calls real at 5%."""
    from scipy import stats

    unit = math.sqrt(methods * (methods + 1) / (6 * datasets))
    return float(stats.studentized_range.isf(1 - LEVEL, methods, np.inf)) / math.sqrt(2) * unit


def across(boards: Sequence[Board], profile: Profile, missing: Missing = Missing.COMMON) -> Across | None:
    """The networks of several data sets ranked together; None with fewer than two data sets or networks in common.

    Data sets without any scored network are left out first; then either the networks that lack a score somewhere are,
    or their missing scores are imputed.
    """
    found = _common(boards, profile, missing)
    if found is None:
        return None
    leads, between = _resampled([[own[name] for name in found.methods] for own in found.scores.values()], profile)
    return Across(
        missing=missing,
        datasets=tuple(board.title for board in boards if board.dataset in found.scores),
        methods=found.methods,
        values=found.values,
        ranking=rank(found.values),
        leads=leads,
        between=between,
        dropped=found.dropped,
        imputed=found.imputed,
    )


def mean_ranks(
    boards: Sequence[Board], profile: Profile, missing: Missing
) -> tuple[list[tuple[Name, float]], float | None]:
    """The networks that `across` ranks with their mean ranks, best first, and the difference that Nemenyi calls real.

    Nothing and None where it ranks none.
    """
    found = _common(boards, profile, missing)
    if found is None:
        return [], None
    means = list(zip(found.methods, _mean_ranks(found.values).tolist(), strict=True))
    return means, critical(len(means), len(found.values))


class _Common(NamedTuple):
    """The networks that have a score on every data set, best mean rank first; the rest as in `Across`."""

    scores: dict[str, dict[Name, Standing]]
    methods: tuple[Name, ...]
    values: NDArray[np.float64]
    dropped: tuple[str, ...]
    imputed: tuple[tuple[str, str, str | None], ...]


def _common(boards: Sequence[Board], profile: Profile, missing: Missing) -> _Common | None:
    scored = [board for board in boards if _scores(board, profile)]
    dropped = [f"data set {board.dataset}: no network has a score" for board in boards if board not in scored]
    first: dict[str, Board] = {}  # the same images under several protocols count once
    for board in sorted(scored, key=lambda board: protocols.told(board.catalogued)[1].distrust):
        first.setdefault(protocols.told(board.catalogued)[0], board)
    used = [board for board in scored if board in first.values()]
    dropped += [
        f"data set {board.dataset}: other data of that name is ranked already" for board in scored if board not in used
    ]
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
    return _Common(scores, tuple(methods[at] for at in order), values[:, order], tuple(dropped), tuple(imputed))


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


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import stats

    return stats.rankdata(-values, axis=1).mean(axis=0)


def _wilcoxon(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wilcoxon's signed-rank test of every two columns, Holm's correction over all; 1 where they are equal."""
    from scipy import stats

    pairs = list(combinations(range(values.shape[1]), 2))
    ones, others = np.array(pairs).T
    apart = values[:, ones] - values[:, others]
    size = np.sort(np.abs(apart), axis=0)
    plain = (size[0] > 0) & (np.diff(size, axis=0) > 0).all(axis=0)  # neither zeros nor ties: all at once, exactly
    ps = np.ones(len(pairs))
    if plain.any():
        ps[plain] = stats.wilcoxon(apart[:, plain], axis=0).pvalue
    for at in np.flatnonzero(~plain & apart.any(axis=0)):
        ps[at] = stats.wilcoxon(apart[:, at]).pvalue
    result = np.ones((values.shape[1],) * 2)
    for (one, other), p in zip(pairs, holm(ps), strict=True):
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


def _resampled(
    table: Sequence[Sequence[Standing]], profile: Profile
) -> tuple[tuple[float, ...], tuple[tuple[float, float] | None, ...]]:
    """How often each method has the best mean rank on other images and seeds, and 95% of the mean ranks it has there.

    NaN and None where the noise of a row is not known.
    """
    from scipy import stats

    summed: Any = 0.0
    for row in table:
        samples = [one.samples.get(profile.primary) for one in row]
        drawn = statistics.draws([sample for sample in samples if sample is not None])
        if len(drawn) < len(row):
            return (math.nan,) * len(row), (None,) * len(row)
        summed = summed + stats.rankdata(-np.nan_to_num(drawn, nan=-1.0), axis=0)
    first = np.isclose(summed, summed.min(axis=0))
    low, high = np.quantile(summed / len(table), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    between = tuple((float(one), float(other)) for one, other in zip(low, high, strict=True))
    return tuple((first / first.sum(axis=0)).mean(axis=1).tolist()), between


def as_dict(table: Across) -> dict[str, Any]:
    """All of it, for statistics.json."""
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
        "mean_rank_ranges": table.between,
        "dropped": table.dropped,
        "imputed": table.imputed,
    }
