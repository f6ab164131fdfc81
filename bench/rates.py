"""Learning rates: every trial of every tuning, which rates a network tolerates, and what tuning gained."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import figures, svg
from bench.figures import styles, trained
from bench.records import TrialStatus
from bench.rows import Row
from bench.standings import Board
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT = 1e-3
"""The rate that most would start from, Adam's default; after Kingma and Ba 2015."""
CLOSE = 0.01
"""A validation score so far below the best counts as equal: one point of Dice."""
PANELS = 24
"""Up to so many pairs of architecture and loss get a panel each; beyond it, the losses share one per architecture."""


class Tolerance(NamedTuple):
    """Which rates do as well as the best that was tried, and what tuning gained.

    Attributes:
        rate, best: The best trial that ran its whole budget, and its validation score.
        low, high: The rates next to it, without a gap, whose score is at most `within` lower.
        within: CLOSE, or the spread over three or more further seeds, where that is larger.
        lowest, highest: Whether the tolerated range reaches the lowest or highest rate tried; more may lie beyond.
        default: The rate tried that is nearest to DEFAULT.
        gain: The best score minus that at `default`.
        reached: How the trial at `default` ended; stopped, it gives no more than an upper bound of the gain.
    """

    architecture: str
    loss: str
    fold: int
    tried: int
    rate: float
    best: float
    low: float
    high: float
    within: float
    lowest: bool
    highest: bool
    default: float
    gain: float
    reached: TrialStatus


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


def sweeps(board: Board) -> list[Sweep]:
    """Every trial of every tuning of a data set, once, although each seed's record repeats it."""
    brief = figures.short(standing.architecture for standing in board.standings)
    found: dict[tuple[str, str, int], Sweep] = {}
    for row in sorted(trained(board), key=lambda row: row.cell.seed):
        cell, record = row.cell, row.record
        key = (brief[row.architecture], cell.loss or "", cell.fold)
        if record and record.trials and key not in found:
            trials = tuple(Tried(trial.lr, trial.value, trial.status) for trial in record.trials)
            found[key] = Sweep(*key, trials, record.lr if cell.seed == 0 else None, record.lr_smooth)
    order = list(dict.fromkeys(brief[standing.architecture] for standing in board.standings))
    return sorted(found.values(), key=lambda sweep: (order.index(sweep.architecture), sweep.loss, sweep.fold))


def tolerances(board: Board) -> list[Tolerance]:
    """Of every tuning with two or more rates, of which one ran its whole budget and saw more than one class."""
    brief = figures.short(standing.architecture for standing in board.standings)
    runs: dict[tuple[str, str, int], list[Row]] = {}
    for row in trained(board):
        runs.setdefault((brief[row.architecture], row.cell.loss or "", row.cell.fold), []).append(row)
    found = (tolerance(sweep, noise(runs[sweep[:3]])) for sweep in sweeps(board))
    return [one for one in found if one is not None]


def tolerance(sweep: Sweep, spread: float | None = None) -> Tolerance | None:
    """What the trials of one tuning say; None where they say nothing.

    Args:
        spread: Standard deviation of the validation score over seeds; None where it is not known.
    """
    tried = sorted(sweep.trials)
    complete = [at for at, trial in enumerate(tried) if trial.status is TrialStatus.COMPLETE]
    if not complete or tried[0].lr == tried[-1].lr:
        return None
    top = max(complete, key=lambda at: tried[at].value)
    within = max(CLOSE, spread or 0.0)
    alive = (TrialStatus.COMPLETE, TrialStatus.STOPPED)
    near = [t.status in alive and tried[top].value - t.value <= within + 1e-12 for t in tried]
    low = next((at + 1 for at in range(top - 1, -1, -1) if not near[at]), 0)
    high = next((at - 1 for at in range(top + 1, len(tried)) if not near[at]), len(tried) - 1)
    usual = min(tried, key=lambda trial: abs(math.log(trial.lr / DEFAULT)))
    return Tolerance(
        *sweep[:3],
        tried=len(tried),
        rate=tried[top].lr,
        best=tried[top].value,
        low=tried[low].lr,
        high=tried[high].lr,
        within=within,
        lowest=tried[low].lr == tried[0].lr,
        highest=tried[high].lr == tried[-1].lr,
        default=usual.lr,
        gain=tried[top].value - usual.value,
        reached=usual.status,
    )


def noise(rows: Sequence[Row]) -> float | None:
    """Standard deviation over further seeds of the best validation score of a training; None with fewer than three.

    The tuned run is left out: it was chosen for its score.
    """
    curves = [row.record.history for row in rows if row.record and row.cell.seed > 0]
    reached = [max((epoch.value for epoch in curve if epoch.value is not None), default=None) for curve in curves]
    known = [value for value in reached if value is not None]
    return plain.stdev(known) if len(known) >= 3 else None


def leading(board: Board, info: Sequence[Sweep], most: int) -> list[Sweep]:
    """The tunings of the leading networks of a data set, in the order they had."""
    brief = figures.short(standing.architecture for standing in board.standings)
    networks = [(brief[one.architecture], one.loss) for one in board.standings if one.loss is not None]
    return [sweep for sweep in info if (sweep.architecture, sweep.loss) in networks[:most]]


@drawn
def draw_sweeps(info: Sequence[Sweep], title: str) -> Figure:
    """Small multiples of rate against validation score; marks tell how a trial ended, and which rate was taken."""
    split = len({(sweep.architecture, sweep.loss) for sweep in info}) <= PANELS
    style = styles(sweep.loss for sweep in info)
    panels: dict[str, list[Sweep]] = {}
    for sweep in info:
        panels.setdefault(f"{sweep.architecture} · {sweep.loss}" if split else sweep.architecture, []).append(sweep)
    columns = min(len(panels), len(style) * max(1, 4 // len(style)) if len(style) <= 4 else 4)
    lines = math.ceil(len(panels) / columns)
    heads = [svg.fold(name, 34) for name in panels]
    figure = svg.blank(max(7.2, min(11.0, 4.2 * columns)), (1.55 + svg.height(heads)) * lines + 0.8)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    rates = [trial.lr for sweep in info for trial in sweep.trials]
    for place, (name, inside) in enumerate(zip(heads, panels.values(), strict=True)):
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
        else [svg.key(svg.fold(loss), color=look["color"], marker="o", ls="") for loss, look in style.items()]
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
