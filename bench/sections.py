"""All that the page shows of one data set: what a reader came for, the rows of its leaderboard, classes and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench import (
    comparisons,
    doubts,
    drawings,
    efficiency,
    figures,
    leaking,
    matrices,
    metrics,
    published,
    rates,
    tables,
    views,
)
from bench.comparisons import Precision
from bench.efficiency import Price
from bench.leaking import Leak
from bench.metrics import Profile
from bench.published import Beside
from bench.quantities import word
from bench.rates import Tolerance
from bench.records import DataCard, Status
from bench.rows import Row
from bench.specs import ClassSpec
from bench.standings import Board, Standing
from bench.views import View


class Line(NamedTuple):
    """One standing as a row of the leaderboard.

    Attributes:
        rank: `1`, or `1=` when shared; a dash without a value.
        shared: Whether another standing has the same rank; `follows` when that of the line above is the same.
        best: The metrics in which no network is better, at the precision shown.
        background_share: What pixel accuracy has to be read against, under every profile.
        rates: The learning rates of the runs behind the value.
        troubles: The rows that are not ok.
        differs: In what it differs from the standings of the same name.
        confirmed: The folders that hold each of its scores too.
        family, encoder: Of the architecture, empty where nobody knows; `statuses` are those of its cells.
    """

    standing: Standing
    rank: str
    shared: bool
    follows: bool
    baseline: bool
    best: frozenset[str]
    background_share: float | None
    rates: tuple[float, ...]
    edge: bool
    params: int | None
    troubles: tuple[Row, ...]
    family: str
    encoder: str
    statuses: tuple[str, ...]
    differs: str
    confirmed: tuple[str, ...]


class ClassTable(NamedTuple):
    """Dice and IoU per class for every standing with a value, and the share of the test pixels each class has."""

    classes: tuple[ClassSpec, ...]
    share: tuple[float | None, ...]
    rows: tuple[tuple[Standing, tuple[tuple[float | None, float | None], ...]], ...]


class Section(NamedTuple):
    """All that the page shows of one data set.

    Attributes:
        easy: Metrics that a constant predictor satisfies, with the reason.
        disagreement: Which profiles put another network first; empty where all agree.
        drawings: The figures by kind; `confused` is the network whose confusion of classes is among them.
        tolerances: What the trials of every tuning say about its learning rates.
        unmeasured: Why no row has a value, where that is for want of measuring; else empty.
        leak: What of its images stands in two splits; None where nothing is known to.
        audited: Whether its data were searched for copies.
    """

    board: Board
    answer: str
    lines: tuple[Line, ...]
    classes: ClassTable | None
    data: DataCard | None
    prices: tuple[Price, ...]
    precision: Precision | None
    drawings: Mapping[str, str]
    confused: str
    tolerances: tuple[Tolerance, ...]
    easy: Mapping[str, str]
    disagreement: str
    unmeasured: str
    published: tuple[Beside, ...]
    leak: Leak | None
    audited: bool


def section(board: Board, profile: Profile, shown: Sequence[View] = (), at: int = 0) -> Section:
    """Everything of one data set, computed and drawn; the leaderboards under every profile hold it as board `at`."""
    leader = matrices.leader(board)
    return Section(
        board=board,
        answer=answer(board, profile),
        lines=tuple(lines(board, profile)),
        classes=class_table(board),
        data=_data(board),
        prices=efficiency.prices(board),
        precision=comparisons.precision(board, profile),
        drawings={one.kind: one.svg() for one in drawings.of_board(board, profile, shown, at)},
        confused="" if leader is None else figures.labels(board)[leader.architecture, leader.loss],
        tolerances=tuple(rates.tolerances(board)),
        easy=doubts.easy_sentences(board, profile),
        disagreement=doubts.disagreement(board, profile),
        unmeasured=doubts.unmeasured(board, profile),
        published=tuple(published.beside(board, profile, published.load())),
        leak=leaking.leak(board, profile),
        audited=leaking.audited([row for one in board.standings for row in one.rows]),
    )


def answer(board: Board, profile: Profile) -> str:
    """What a reader came for, in one sentence: who leads, what cannot be told from it, and whether networks help."""
    called = figures.labels(board)
    scored = [one for one in board.standings if one.rank is not None]
    networks = [one for one in scored if one.loss is not None]
    baseline = next((one for one in scored if one.loss is None), None)
    silent = sum(one.loss is not None for one in board.standings) - len(networks)

    def show(one: Standing, metric: str = "") -> str:
        return f"{called[one.architecture, one.loss]} ({metric}{one.values[profile.primary]:.3f})"

    metric = short_title(profile.metrics[profile.primary].title) + " "
    parts = []
    if not networks:
        parts = ["no network has a score yet"] + (
            [f"the best baseline is {show(baseline, metric)}"] if baseline else []
        )
        return f"On {board.title}, {'; '.join(parts)}."
    leader = networks[0]
    if baseline is not None and leader.rank >= baseline.rank:  # ty: ignore[unsupported-operator]
        parts = [f"no network beats the baseline {show(baseline, metric)}", f"the best network is {show(leader)}"]
        if leader.rank == baseline.rank:
            ahead = (leader.values[profile.primary] or 0.0) > (baseline.values[profile.primary] or 0.0)
            parts += [f"{'it is ahead, but ' * ahead}the two cannot be told apart"]
        elif next(one for one in scored if one.rank == leader.rank) is leader:
            ties = sum(one.rank == leader.rank for one in networks[1:])
            parts += [_ties(ties, len(networks))] if ties else []
    else:
        parts = [
            f"{show(leader, metric)} leads",
            _ties(sum(one.rank == leader.rank for one in networks[1:]), len(networks)),
        ]
        parts += [_against(networks, baseline, called[baseline.architecture, None], silent > 0)] if baseline else []
    if silent:
        parts.append(f"{word(silent)} network{'s have' if silent > 1 else ' has'} no score")
    return f"On {board.title}, {'; '.join(part for part in parts if part)}."


def lines(board: Board, profile: Profile) -> list[Line]:
    """The standings of a data set as rows of its leaderboard."""
    best = tables.best(board, profile, 3)
    ranks = [one.rank for one in board.standings]
    result: list[Line] = []
    for one in board.standings:
        shared = one.rank is not None and ranks.count(one.rank) > 1
        records = [row.record for row in one.rows if row.record is not None]
        counted = [row.record for row in one.rows if row.record and (one.selected or row.cell.seed > 0)]
        leads = (name for name, top in best.items() if top == _shown(one, name))
        result.append(
            Line(
                standing=one,
                rank=views.shown_rank(one, ranks),
                shared=shared,
                follows=bool(result) and shared and result[-1].standing.rank == one.rank,
                baseline=one.loss is None,
                best=frozenset(leads) if one.loss is not None else frozenset(),
                background_share=_background_share(one),
                rates=tuple(sorted({record.lr for record in counted if record.lr is not None})),
                edge=any(record.edge for record in records),
                params=next((record.params for record in records if record.params is not None), None),
                troubles=tuple(row for row in one.rows if row.status != Status.OK),
                statuses=_statuses(one),
                differs=next((row.differs for row in one.rows if row.differs), ""),
                confirmed=_confirmed(one),
                **views.axes(one.architecture),
            )
        )
    return result


def class_table(board: Board) -> ClassTable | None:
    """Scores per class; None when the profile has none, or nothing is scored."""
    data = _data(board)
    if data is None or not any(f"dice_d/{spec.name}" in one.values for one in board.standings for spec in data.classes):
        return None
    scored = [one for one in board.standings if one.values]
    rows = (
        (
            one,
            tuple(
                (one.values.get(f"dice_d/{spec.name}"), one.values.get(f"iou_d/{spec.name}")) for spec in data.classes
            ),
        )
        for one in scored
    )
    counts = next(row.counts for one in scored for row in one.rows if row.counts is not None)
    pixels = counts.sum(axis=(0, 2), dtype=np.int64)
    total = int(pixels.sum())
    return ClassTable(data.classes, tuple(int(own) / total if total else None for own in pixels), tuple(rows))


def short_title(title: str) -> str:
    """`mDice (data set, foreground)` without its brackets."""
    return title.partition(" (")[0]


def _statuses(standing: Standing) -> tuple[str, ...]:
    """What its cells can be asked for by."""
    merged = {"differs": any(row.differs for row in standing.rows), "confirmed": bool(_confirmed(standing))}
    own = (row.status.replace("_", " ") for row in standing.rows)
    return tuple(dict.fromkeys((*own, *(name for name, so in merged.items() if so))))


def _confirmed(standing: Standing) -> tuple[str, ...]:
    """The folders that hold every score of a standing a second time."""
    scored = [row.confirmed for row in standing.rows if row.counts is not None]
    return tuple(name for name in scored[0] if all(name in other for other in scored)) if scored else ()


def _ties(count: int, networks: int) -> str:
    if networks == 1:
        return ""
    return (
        f"{word(count)} other{'s' * (count != 1)} cannot be told apart from it"
        if count
        else "every other network can be told apart from it"
    )


def _against(networks: Sequence[Standing], baseline: Standing, name: str, partly: bool) -> str:
    """How many networks stand in a group above the best baseline's."""
    better = sum(one.rank < baseline.rank for one in networks)  # ty: ignore[unsupported-operator]
    if better == len(networks):
        return f"every {'scored ' * partly}network beats every baseline" if better > 1 else "it beats every baseline"
    return f"{word(better)} of {word(len(networks))} networks beat{'s' * (better == 1)} the best baseline, {name}"


def _shown(standing: Standing, name: str) -> float | None:
    value = standing.values.get(name)
    return None if value is None else round(value, 3)


def _background_share(standing: Standing) -> float | None:
    counts = next((row.counts for row in standing.rows if row.counts is not None), None)
    if counts is None or not counts.sum():
        return None
    return float(metrics.background_share(counts))


def _data(board: Board) -> DataCard | None:
    return next(
        (row.record.data for one in board.standings for row in one.rows if row.record and row.record.data), None
    )
