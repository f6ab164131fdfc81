"""The first screen of the page: what was compared, the answer over all data sets, what to beware of, who is where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench import figures, names, quantities, views
from bench.metrics import Profile
from bench.quantities import word
from bench.ranking import Across
from bench.rows import DISPUTED, Row
from bench.sections import Section, short_title
from bench.specs import Study
from bench.standings import Board

SHOWN = 8
"""Rows of the ranking on the first screen, before a reader asks for more."""


class Place(NamedTuple):
    """One network on one data set: its row there, its value and its rank as it is written."""

    at: int
    value: float | None
    rank: str


class Method(NamedTuple):
    """One network over all data sets.

    Attributes:
        mean: Its mean rank; None where it lacks a score somewhere. `between` holds 95% of what resampling gives.
        tied: Whether no test tells it from the first.
        places: One for each data set; None where it is not part of the study.
        coverage: Data sets with a score, and data sets in all.
    """

    architecture: str
    loss: str | None
    mean: float | None
    between: tuple[float, float] | None
    tied: bool
    places: tuple[Place | None, ...]
    coverage: tuple[int, int]


class Caution(NamedTuple):
    """Something to know before a number is believed: in a few words, and the section that says more."""

    text: str
    section: str
    bad: bool


def compared(study: Study, boards: Sequence[Board]) -> str:
    """What stands against what, in one sentence."""
    networks = [one for board in boards for one in board.standings if one.loss is not None]
    losses, architectures = {one.loss for one in networks}, {names.apart(one.architecture)[0] for one in networks}
    datasets = {board.catalogued for board in boards}
    tuned = study.tuning.trials > 1
    fewest = min((max(row.cell.seed for row in one.rows) for one in networks), default=study.seeds)
    tests = sum(max((len(row.ids) for one in board.standings for row in one.rows), default=0) for board in boards)
    runs = (
        f"{'up to ' * (fewest < study.seeds)}{_count(study.seeds, 'seed')}"
        if study.seeds
        else f"one {'tuned ' * tuned}run"
    )
    folds = "" if study.folds == 1 else f" in {study.folds} folds"
    trials, epochs = _count(study.tuning.trials, "trial"), _count(study.budget.epochs, "epoch")
    low, high = study.tuning.lr_range
    rate = (
        f"every rate tuned by {trials} of up to {epochs}"
        if tuned
        else f"rate {quantities.rate(math.sqrt(low * high))}, not tuned, up to {epochs}"
    )
    images = f", on {tests:,} test images" if tests else ""
    said = (
        f"{_count(len(architectures), 'architecture')} with {_count(len(losses), 'loss')} on "
        f"{_count(len(datasets), 'data set')}, {runs} each{folds}{images}; {rate}."
    )
    return said[0].upper() + said[1:]


def answer(across: Across, profile: Profile) -> str:
    """Who leads over all data sets, and how surely."""
    brief = figures.short(architecture for architecture, _ in across.methods)
    (architecture, loss), means = across.methods[0], across.ranking.mean_ranks
    ties = sum(mean - means[0] <= across.ranking.critical for mean in means[1:])
    others = (
        f"{word(ties)} other{'s' * (ties != 1)} cannot be told apart from it"
        if ties
        else "every other network can be told apart from it"
    )
    metric = short_title(profile.metrics[profile.primary].title)
    return (
        f"Across {word(len(across.datasets))} data sets, {brief[architecture]} · {loss} has the best mean rank by "
        f"{metric} ({means[0]:.2f} of {len(means)}); {others}."
    )


def methods(boards: Sequence[Board], across: Across | None, profile: Profile) -> list[Method]:
    """Every network over all data sets, best mean rank first; those without one after them, by coverage."""
    found: dict[tuple[str, str | None], dict[int, Place]] = {}
    for number, board in enumerate(boards):
        ranks = [one.rank for one in board.standings]
        for at, one in enumerate(board.standings):
            place = Place(at, one.values.get(profile.primary), views.shown_rank(one, ranks))
            found.setdefault((one.architecture, one.loss), {})[number] = place
    ranked = {} if across is None else {name: at for at, name in enumerate(across.methods)}
    result = [
        Method(
            architecture=name[0],
            loss=name[1],
            mean=None if across is None or name not in ranked else across.ranking.mean_ranks[ranked[name]],
            between=None if across is None or name not in ranked else across.between[ranked[name]],
            tied=across is not None and name in ranked and _tied(across, ranked[name]),
            places=tuple(own.get(number) for number in range(len(boards))),
            coverage=(sum(place.value is not None for place in own.values()), len(boards)),
        )
        for name, own in found.items()
    ]
    return sorted(
        result,
        key=lambda one: (one.loss is None, ranked.get((one.architecture, one.loss), len(found)), -one.coverage[0]),
    )


def cautions(parts: Sequence[Section], table: Sequence[Row], tally: Mapping[str, int]) -> list[Caution]:
    """What a reader should know before believing a number, the worst first."""
    found = [Caution(f"{part.board.title}: test images leaked", "leaderboard", True) for part in parts if part.leak]
    for status, count in tally.items():
        if status in ("failed", "out_of_memory", "timed_out", "interrupted", "diverged", "stale"):
            found.append(Caution(f"{_count(count, 'cell')} {status.replace('_', ' ')}", "failures", True))
    if disputed := {row.cell for row in table if row.status == DISPUTED}:
        found.append(Caution(f"{_count(len(disputed), 'cell')} not reproducible: all results stand", "merged", True))
    if any(row.differs and row.status != DISPUTED for row in table):
        found.append(Caution("rows of one name that differ in code, versions or data", "merged", True))
    if any(row.edition for row in table):
        found.append(Caution("other data under one name: never compared", "merged", True))
    if tally.get("pending"):
        found.append(Caution(f"{_count(tally['pending'], 'cell')} still to be run", "failures", False))
    for part in parts:
        if _beaten(part.board):
            found.append(Caution(f"{part.board.title}: no network beats the best baseline", "leaderboard", True))
    checks = (
        ("a single run per network: seed noise is not shown", "leaderboard", any(
            line.standing.selected and line.rank != "–" for part in parts for line in part.lines)),
        ("two seeds tell almost nothing apart: run three or more", "statistics", any(
            part.precision is not None and part.precision.seeds == 2 for part in parts)),
        ("the order depends on the definition", "leaderboard", any(part.disagreement for part in parts)),
        ("a metric that a constant predictor satisfies", "leaderboard", any(part.easy for part in parts)),
        ("a learning rate at the edge of its range", "rates", any(line.edge for part in parts for line in part.lines)),
        ("few test images or seeds: intervals are narrower than they say", "statistics", any(
            part.precision is not None and (part.precision.coverage or 0) < 93 for part in parts)),
    )  # fmt: skip
    return found + [Caution(text, section, False) for text, section, so in checks if so]


def _beaten(board: Board) -> bool:
    """Whether a baseline stands in the first rank."""
    return any(one.rank == 1 and one.loss is None for one in board.standings) and any(
        one.loss is not None and one.rank is not None for one in board.standings
    )


def _tied(across: Across, at: int) -> bool:
    """Whether it cannot be told from the first, or is the first and not alone."""
    means, least = across.ranking.mean_ranks, across.ranking.critical
    return means[at] - means[0] <= least and means[1] - means[0] <= least


def _count(number: int, thing: str) -> str:
    plural = {"loss": "losses"}.get(thing, f"{thing}s")
    return f"{word(number)} {thing if number == 1 else plural}"
