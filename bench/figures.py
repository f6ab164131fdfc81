"""The figures of a report: plain data first, which is what the tests look at, then an <svg> drawn from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import names, svg
from bench.errors import NameUnknown
from bench.metrics import Profile
from bench.records import Status
from bench.rows import Row
from bench.specs import Option
from bench.standings import Board, Standing
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0173b2", "#d55e00", "#029e73", "#c066b0", "#a9773f", "#7d6bd6")
"""Told apart by colour-blind readers, and at 3:1 or more on white and on near black; after Wong 2011."""
GREY = "#808080"
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))


class Curve(NamedTuple):
    """One training, epoch by epoch; None where a loss is not a number."""

    architecture: str
    loss: str
    seed: int
    fold: int
    epochs: tuple[int, ...]
    losses: tuple[float | None, ...]
    values: tuple[float | None, ...]
    best_epoch: int | None


class Bar(NamedTuple):
    """One standing of the forest; `shared` when another has the same rank; `reason` says why there is no value."""

    label: str
    rank: int | None
    shared: bool
    baseline: bool
    value: float | None
    interval: tuple[float, float] | None
    reason: str = ""


def short(full: Iterable[str]) -> dict[str, str]:
    """Every name with no more options than tell it from the others: the stem alone where it stands alone."""
    parsed = {name: _parsed(names.apart(name)[0]) for name in full}
    result: dict[str, str] = {}
    for name, (stem, options) in parsed.items():
        family = [other for other_stem, other in parsed.values() if other_stem == stem]
        own = {key: value for key, value in options.items() if any(other.get(key) != value for other in family)}
        shown = {key: _tail(own[key], [other.get(key) for other in family]) for key in own}
        result[name] = names.marked(names.show(stem, shown), names.apart(name)[1])
    return result


def labels(board: Board) -> dict[tuple[str, str | None], str]:
    """How the standings of a data set are called in figures: short architecture, then loss."""
    brief = short(standing.architecture for standing in board.standings)
    pairs = [(standing.architecture, standing.loss) for standing in board.standings]
    return {(name, loss): brief[name] if loss is None else f"{brief[name]} · {loss}" for name, loss in pairs}


def missing(standing: Standing) -> str:
    """Why a standing has no value: the first status that is not ok, else n/a."""
    return next((row.status.replace("_", " ") for row in standing.rows if row.status != Status.OK), "n/a")


def curves(board: Board) -> list[Curve]:
    """The training curve of every run that was scored or diverged, best standing first."""
    brief = short(standing.architecture for standing in board.standings)
    return [
        Curve(
            architecture=brief[row.architecture],
            loss=row.cell.loss,
            seed=row.cell.seed,
            fold=row.cell.fold,
            epochs=tuple(epoch.epoch for epoch in row.record.history),
            losses=tuple(epoch.loss for epoch in row.record.history),
            values=tuple(epoch.value for epoch in row.record.history),
            best_epoch=row.record.best_epoch,
        )
        for row in trained(board)
        if row.record and row.record.history and row.cell.loss is not None
    ]


def forest(board: Board, profile: Profile) -> list[Bar]:
    """Every standing with its interval, best first."""
    ranks = [standing.rank for standing in board.standings]
    called = labels(board)
    return [
        Bar(
            label=called[one.architecture, one.loss],
            rank=one.rank,
            shared=one.rank is not None and ranks.count(one.rank) > 1,
            baseline=one.loss is None,
            value=one.values.get(profile.primary),
            interval=one.interval,
            reason=missing(one) if one.values.get(profile.primary) is None else "",
        )
        for one in board.standings
    ]


@drawn
def draw_curves(info: Sequence[Curve], title: str) -> Figure:
    """Per architecture the validation score above, the training loss below; one colour per loss."""
    panels = list(dict.fromkeys(curve.architecture for curve in info))
    columns = min(4, len(panels))
    heads = [svg.fold(name, 34) for name in panels]
    blocks = math.ceil(len(panels) / columns)
    figure = svg.blank(max(5.0, min(11.0, 4.2 * columns)), (3.45 + svg.height(heads)) * blocks + 0.4)
    grid = figure.subplots(
        2 * blocks, columns, squeeze=False, sharex=True, gridspec_kw={"height_ratios": [1.25, 1] * blocks}
    )
    style = styles(curve.loss for curve in info)
    for place in range(blocks * columns):
        above, below = (grid[2 * (place // columns) + half][place % columns] for half in (0, 1))
        if place >= len(panels):
            above.set_axis_off()
            below.set_axis_off()
            continue
        for curve in (curve for curve in info if curve.architecture == panels[place]):
            _draw_curve(above, below, curve, style[curve.loss])
        above.set_title(heads[place])
        svg.logarithmic(below, "y")
        if place % columns == 0:
            above.set_ylabel("validation mDice")
            below.set_ylabel("training loss")
        below.set_xlabel("epoch")
        below.tick_params(labelbottom=True)
        below.locator_params(axis="x", nbins=8, integer=True)
    _share(list(grid[0::2].flat), columns)
    _share(list(grid[1::2].flat), columns)
    svg.legend(
        figure,
        [svg.key(svg.fold(loss), **look) for loss, look in style.items()]
        + [svg.key("weights kept", color=INK, marker="o", ls="")],
    )
    return figure


@drawn
def draw_forest(info: Sequence[Bar], title: str, metric: str) -> Figure:
    """Values with their intervals; standings of one shaded band cannot be told apart."""
    names = [svg.fold(bar.label, 60) for bar in info]
    figure = svg.blank(max(10.0, svg.room(names) + 5.0), 0.85 + max(0.27, svg.height(names) + 0.05) * len(info))
    axes = figure.subplots()
    for place, bar in enumerate(info):
        colour = GREY if bar.baseline else COLOURS[0]
        if bar.shared:
            axes.axhspan(place - 0.5, place + 0.5, color=INK, alpha=0.07, lw=0)
        if bar.value is None:
            axes.text(0.01, place, bar.reason, va="center", style="italic", transform=axes.get_yaxis_transform())
            continue
        if bar.interval is not None:
            axes.plot(bar.interval, [place, place], color=colour, lw=2, solid_capstyle="butt")
        axes.plot(bar.value, place, "s" if bar.baseline else "o", color=colour, ms=5.5)
    for place in range(1, len(info)):
        if info[place].rank != info[place - 1].rank:
            axes.axhline(place - 0.5, color=INK, alpha=0.15, lw=0.8)
    for place, bar in enumerate(info):
        rank = "–" if bar.rank is None else f"{bar.rank}=" if bar.shared else str(bar.rank)
        axes.text(1.012, place, rank, va="center", transform=axes.get_yaxis_transform())
    axes.text(1.012, -0.75, "rank", va="bottom", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(info)), names)
    axes.set_ylim(len(info) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(metric)
    axes.grid(visible=False, axis="y")
    svg.legend(
        figure,
        [svg.key("network", color=COLOURS[0], marker="o", lw=2), svg.key("baseline", color=GREY, marker="s", lw=2)],
    )
    return figure


def _tail(value: Option, family: Sequence[Option | None]) -> Option:
    """Of a path, no more of its end than tells it from the others."""
    others = [f"/{other}" for other in family if other != value]
    ends = ("/".join(str(value).split("/")[-count:]) for count in range(1, str(value).count("/") + 1))
    return next((end for end in ends if not any(other.endswith(f"/{end}") for other in others)), value)


def _parsed(name: str) -> tuple[str, dict[str, Option]]:
    try:
        return names.parse(name)
    except NameUnknown:
        return name, {}


def trained(board: Board) -> list[Row]:
    """The cells of the networks of a data set, best standing first."""
    return [row for standing in board.standings for row in standing.rows if row.cell.loss is not None]


def _draw_curve(above: Axes, below: Axes, curve: Curve, look: dict[str, Any]) -> None:
    fresh: dict[str, Any] = {"alpha": 0.55, "lw": 1.0} if curve.seed > 0 else {}
    fresh["marker"] = "o" if len(curve.epochs) <= 12 else ""  # a point per epoch where there are few
    above.plot(curve.epochs, _floats(curve.values), **look | fresh)
    below.plot(curve.epochs, _floats(curve.losses), **look | fresh)
    if curve.best_epoch in curve.epochs:
        value = curve.values[curve.epochs.index(curve.best_epoch)]
        above.plot(curve.best_epoch, math.nan if value is None else value, "o", color=look["color"], ms=5)


def styles(losses: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash of each loss; the dash changes when the colours are used up."""
    unique = sorted(set(losses))
    return {
        loss: {
            "color": COLOURS[at % len(COLOURS)],
            "ls": DASHES[at // len(COLOURS) % len(DASHES)],
            "lw": 1.5,
            "marker": "o",
            "ms": 2,
        }
        for at, loss in enumerate(unique)
    }


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _share(panels: Sequence[Axes], columns: int) -> None:
    """One range of values for all panels of a kind; only the first of a line is labelled."""
    low, high = zip(*(axes.get_ylim() for axes in panels if axes.axison), strict=True)
    for place, axes in enumerate(panels):
        axes.set_ylim(min(low), max(high))
        axes.tick_params(labelleft=place % columns == 0)
