"""How the makespan of a study falls with the workers, drawn: as simulated, as it would ideally, and where it stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench import quantities, svg
from bench.drawings import Drawing
from bench.figures import COLOURS
from bench.makespan import Forecast
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOCK = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600, 70 * 24 * 3600)
"""Where the axis of time has its ticks [s]."""


def drawing(info: Sequence[Forecast]) -> Drawing:
    """The figure, to be written as a file."""
    return Drawing("makespan", "", draw_scaling, tuple(info), "How long a study takes by the number of workers")


@drawn
def draw_scaling(info: Sequence[Forecast], title: str) -> Figure:
    """Makespan and efficiency over the number of workers, both on a log axis; a colour for each forecast."""
    figure = svg.blank(9.2, 3.9)
    left, right = figure.subplots(1, 2)
    for colour, one in zip(COLOURS, info, strict=False):
        _draw_makespan(left, one, colour)
        right.plot(
            [row.workers for row in one.rows], [100 * row.efficiency for row in one.rows], "o-", color=colour, ms=4
        )
    _clock(left, [value for one in info for row in one.rows for value in (row.seconds, one.work / row.workers)])
    left.set_ylabel("makespan")
    right.set_ylabel("efficiency, %")
    right.set_ylim(0, 104)
    for axes in (left, right):
        _counts(axes, [row.workers for one in info for row in one.rows])
        axes.set_xlabel("workers")
    keys = [
        svg.key(svg.fold(one.label or f"{one.cells:,} cells", 60), color=colour, marker="o")
        for colour, one in zip(COLOURS, info, strict=False)
    ]
    ideal = svg.key("all workers busy to the end", color=INK, ls="--", lw=1)
    ordered = svg.key("longest groups first", color=INK, lw=3.5, alpha=0.3)
    svg.legend(figure, [*keys, ordered, ideal, svg.key("the longest group", color=INK, ls=":", lw=1)])
    return figure


def _draw_makespan(axes: Axes, one: Forecast, colour: str) -> None:
    """As simulated; beside it the bounds, which cross where more workers cannot help."""
    workers = [row.workers for row in one.rows]
    axes.plot(workers, [row.seconds for row in one.rows], "o-", color=colour, ms=4)
    axes.plot(workers, [row.longest_first for row in one.rows], color=colour, lw=3.5, alpha=0.3)
    axes.plot(workers, [one.work / count for count in workers], "--", color=colour, lw=1)
    axes.plot([workers[0], workers[-1]], [one.longest] * 2, ":", color=colour, lw=1.2)
    if workers[0] < one.useful < workers[-1]:
        axes.plot(one.useful, one.longest, "D", color=colour, ms=5)
        text = f"about {one.useful:,} workers are enough for\nthe longest group, {quantities.duration(one.longest)}"
        axes.annotate(
            text, (one.useful, one.longest), (-8, -8), textcoords="offset points", ha="right", va="top", color=INK
        )


def _counts(axes: Axes, workers: Sequence[int]) -> None:
    """A log axis with every other number of workers written out where there are many."""
    from matplotlib.ticker import NullLocator

    shown = sorted(set(workers))
    shown = shown[:: 2 if len(shown) > 7 else 1]
    axes.set_xscale("log")
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _clock(axes: Axes, seconds: Sequence[float]) -> None:
    """A log axis of time in its usual units."""
    from matplotlib.ticker import NullLocator

    axes.set_yscale("log")
    low, high = min(seconds) / 2, max(seconds) * 1.4
    shown = [tick for tick in CLOCK if low <= tick <= high]
    axes.set_yticks(shown, [_short(tick) for tick in shown])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)


def _short(seconds: int) -> str:
    unit, size = next((u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)) if seconds >= s)
    return f"{seconds // size} {unit}"
