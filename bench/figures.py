"""The figures of a report: plain data first, which is what the tests look at, then an <svg> drawn from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import names, svg
from bench.errors import NameUnknown
from bench.leaderboard import Board, Row, Standing
from bench.metrics import Profile
from bench.records import Status, TrialStatus
from bench.specs import Option
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0173b2", "#d55e00", "#029e73", "#c066b0", "#a9773f", "#7d6bd6")
"""Told apart by colour-blind readers, and at 3:1 or more on white and on near black; after Wong 2011."""
GREY = "#808080"
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
PANELS = 24
"""Up to so many pairs of architecture and loss get a panel each; beyond it, the losses share one per architecture."""


MOST = 48
"""Networks of a data set whose curves and rates are drawn, the leading ones: more can be read by nobody."""


class Heatmap(NamedTuple):
    """Architectures by losses: the primary metric, and what is written where it is missing."""

    architectures: tuple[str, ...]
    losses: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]


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


class Tried(NamedTuple):
    """One trial: its rate, the best validation value it reached, and how it ended."""

    lr: float
    value: float
    status: TrialStatus


class Sweep(NamedTuple):
    """The trials of one tuning, the rate of the tuned run, and the rate at the top of the smoothed curve."""

    architecture: str
    loss: str
    fold: int
    trials: tuple[Tried, ...]
    chosen: float | None
    smooth: float | None


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


def heatmap(board: Board, profile: Profile) -> Heatmap:
    """The primary metric of every trained pair of a data set, in alphabetical order."""
    trained = {(one.architecture, one.loss): one for one in board.standings if one.loss is not None}
    brief = short(standing.architecture for standing in board.standings)
    rows, columns = (sorted({str(pair[axis]) for pair in trained}) for axis in (0, 1))
    cells = [[trained.get((row, column)) for column in columns] for row in rows]
    values = [[one.values.get(profile.primary) if one else None for one in line] for line in cells]
    texts = [
        [
            "n/a" if one is None else missing(one) if value is None else f"{value:.3f}"
            for one, value in zip(*line, strict=True)
        ]
        for line in zip(cells, values, strict=True)
    ]
    return Heatmap(
        tuple(brief[row] for row in rows), tuple(columns), tuple(map(tuple, values)), tuple(map(tuple, texts))
    )


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
        for row in _drawn(board)
        if row.record and row.record.history and row.cell.loss is not None
    ]


def sweeps(board: Board) -> list[Sweep]:
    """Every trial of every tuning of a data set, once, although each seed's record repeats it."""
    brief = short(standing.architecture for standing in board.standings)
    found: dict[tuple[str, str, int], Sweep] = {}
    for row in sorted(_drawn(board), key=lambda row: row.cell.seed):
        cell, record = row.cell, row.record
        key = (brief[row.architecture], cell.loss or "", cell.fold)
        if record and record.trials and key not in found:
            trials = tuple(Tried(trial.lr, trial.value, trial.status) for trial in record.trials)
            found[key] = Sweep(*key, trials, record.lr if cell.seed == 0 else None, record.lr_smooth)
    order = list(dict.fromkeys(brief[standing.architecture] for standing in board.standings))
    return sorted(found.values(), key=lambda sweep: (order.index(sweep.architecture), sweep.loss, sweep.fold))


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
def draw_heatmap(info: Heatmap, title: str) -> Figure:
    """The matrix in shades; what has no value is hatched and says why."""
    import numpy as np
    import seaborn as sns

    values = np.array([[math.nan if value is None else value for value in line] for line in info.values])
    figure = svg.blank(2.0 + 1.4 * len(info.losses), 0.6 + 0.42 * len(info.architectures))
    axes = figure.subplots()
    low, high = (np.nanmin(values), np.nanmax(values)) if not np.isnan(values).all() else (0.0, 1.0)
    middle, half = (low + high) / 2, max(high - low, 0.02) / 2
    sns.heatmap(
        values,
        ax=axes,
        mask=np.isnan(values),
        annot=np.array(info.texts),
        fmt="",
        cmap="crest",
        vmin=middle - half,
        vmax=middle + half,
        linewidths=1.5,
        linecolor="none",
        xticklabels=list(info.losses),
        yticklabels=list(info.architectures),
        cbar_kws={"shrink": 0.9, "pad": 0.02, "format": "%.2f"},
    )
    for row, column in np.argwhere(np.isnan(values)):
        _hatch(axes, float(column), float(row), info.texts[row][column])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.tick_params(axis="x", rotation=0 if max(map(len, info.losses), default=0) <= 12 else 20)
    return figure


@drawn
def draw_curves(info: Sequence[Curve], title: str) -> Figure:
    """Per architecture the validation score above, the training loss below; one colour per loss."""
    panels = list(dict.fromkeys(curve.architecture for curve in info))
    columns = min(4, len(panels))
    blocks = math.ceil(len(panels) / columns)
    figure = svg.blank(min(11.0, 4.2 * columns), 3.6 * blocks + 0.4)
    grid = figure.subplots(
        2 * blocks, columns, squeeze=False, sharex=True, gridspec_kw={"height_ratios": [1.25, 1] * blocks}
    )
    style = _styles(curve.loss for curve in info)
    for place in range(blocks * columns):
        above, below = (grid[2 * (place // columns) + half][place % columns] for half in (0, 1))
        if place >= len(panels):
            above.set_axis_off()
            below.set_axis_off()
            continue
        for curve in (curve for curve in info if curve.architecture == panels[place]):
            _draw_curve(above, below, curve, style[curve.loss])
        above.set_title(panels[place])
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
        [svg.key(loss, **look) for loss, look in style.items()]
        + [svg.key("weights kept", color=INK, marker="o", ls="")],
    )
    return figure


@drawn
def draw_sweeps(info: Sequence[Sweep], title: str) -> Figure:
    """Small multiples of rate against validation score; marks tell how a trial ended, and which rate was taken."""
    split = len({(sweep.architecture, sweep.loss) for sweep in info}) <= PANELS
    style = _styles(sweep.loss for sweep in info)
    panels: dict[str, list[Sweep]] = {}
    for sweep in info:
        panels.setdefault(f"{sweep.architecture} · {sweep.loss}" if split else sweep.architecture, []).append(sweep)
    columns = min(len(panels), len(style) * max(1, 4 // len(style)) if len(style) <= 4 else 4)
    lines = math.ceil(len(panels) / columns)
    figure = svg.blank(max(7.2, min(11.0, 4.2 * columns)), 1.7 * lines + 0.8)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    rates = [trial.lr for sweep in info for trial in sweep.trials]
    for place, (name, inside) in enumerate(panels.items()):
        axes = grid[place // columns][place % columns]
        axes.set_title(name)
        svg.logarithmic(axes, "x")
        axes.set_xlim(min(rates) / 1.5, max(rates) * 1.5)
        axes.margins(y=0.16)
        axes.tick_params(labelbottom=place + columns >= len(panels))
        for sweep in inside:
            _draw_sweep(axes, sweep, style[sweep.loss]["color"])
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel("best validation mDice", fontsize=9)
    colours = (
        []
        if len(style) == 1
        else [svg.key(loss, color=look["color"], marker="o", ls="") for loss, look in style.items()]
    )
    svg.legend(
        figure,
        [
            *colours,
            svg.key("complete", color=INK, marker="o", ls=""),
            svg.key("stopped early", color=INK, marker="v", ls="", mfc="none"),
            svg.key("one class only", color=INK, marker="s", ls="", mfc="none"),
            svg.key("diverged", color=INK, marker="x", ls=""),
            svg.key("chosen", color=INK, marker="o", ls="", mfc="none", ms=10),
            svg.key("top of the smoothed curve", color=INK, lw=1, ls=(0, (3, 2))),
        ],
    )
    return figure


@drawn
def draw_forest(info: Sequence[Bar], title: str, metric: str) -> Figure:
    """Values with their intervals; standings of one shaded band cannot be told apart."""
    figure = svg.blank(10.0, 0.85 + 0.27 * len(info))
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
    axes.set_yticks(range(len(info)), [bar.label for bar in info])
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


def _drawn(board: Board) -> list[Row]:
    """The rows of the leading networks that are drawn, best first; of many runs the tuned ones alone."""
    leading = [one for one in board.standings if one.loss is not None][:MOST]
    rows = [row for one in leading for row in one.rows]
    tuned = [row for row in rows if row.cell.seed == 0]
    return tuned if len(rows) > 4 * MOST and tuned else rows


def _draw_curve(above: Axes, below: Axes, curve: Curve, look: dict[str, Any]) -> None:
    fresh: dict[str, Any] = {"alpha": 0.55, "lw": 1.0} if curve.seed > 0 else {}
    fresh["marker"] = "o" if len(curve.epochs) <= 12 else ""  # a point per epoch where there are few
    above.plot(curve.epochs, _floats(curve.values), **look | fresh)
    below.plot(curve.epochs, _floats(curve.losses), **look | fresh)
    if curve.best_epoch in curve.epochs:
        value = curve.values[curve.epochs.index(curve.best_epoch)]
        above.plot(curve.best_epoch, math.nan if value is None else value, "o", color=look["color"], ms=5)


def _draw_sweep(axes: Axes, sweep: Sweep, colour: str) -> None:
    looks: dict[TrialStatus, dict[str, Any]] = {
        TrialStatus.COMPLETE: {"marker": "o", "facecolors": colour, "edgecolors": colour},
        TrialStatus.STOPPED: {"marker": "v", "facecolors": "none", "edgecolors": colour},
        TrialStatus.COLLAPSED: {"marker": "s", "facecolors": "none", "edgecolors": colour},
        TrialStatus.DIVERGED: {"marker": "x", "color": colour},
    }
    if sweep.smooth is not None:
        axes.axvline(sweep.smooth, color=colour, lw=1, ls=(0, (3, 2)))
    for trial in sweep.trials:
        axes.scatter([trial.lr], [trial.value], s=26, linewidths=1.2, zorder=3, **looks[trial.status])
        if sweep.chosen is not None and math.isclose(trial.lr, sweep.chosen, rel_tol=1e-9):
            axes.scatter([trial.lr], [trial.value], s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)


def _hatch(axes: Axes, column: float, row: float, text: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", ec=INK, alpha=0.3, lw=0.5))
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", style="italic")


def _styles(losses: Iterable[str]) -> dict[str, dict[str, Any]]:
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
