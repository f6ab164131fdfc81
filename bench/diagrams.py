"""The figure of ranks across data sets: plain data first, then an <svg> drawn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench import figures, svg
from bench.figures import COLOURS
from bench.ranking import Across
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Ranks(NamedTuple):
    """A critical-difference diagram: methods by mean rank, best first, and the groups no test tells apart.

    Attributes:
        bars: First and last mean rank of every group of methods within the critical difference.
    """

    methods: tuple[tuple[str, float], ...]
    critical: float
    bars: tuple[tuple[float, float], ...]


def ranks(table: Across) -> Ranks:
    """The diagram of a ranking."""
    brief = figures.short(architecture for architecture, _ in table.methods)
    means = table.ranking.mean_ranks
    methods = ((f"{brief[name]} · {loss}", mean) for (name, loss), mean in zip(table.methods, means, strict=True))
    bars = ((means[clique[0]], means[clique[-1]]) for clique in table.ranking.cliques)
    return Ranks(tuple(methods), table.ranking.critical, tuple(bars))


@drawn
def draw_ranks(info: Ranks, title: str) -> Figure:
    """Mean ranks on a line, names on both sides, a bar over what cannot be told apart; after Demsar 2006."""
    count, half = len(info.methods), (len(info.methods) + 1) // 2
    top = 0.55 + 0.16 * len(info.bars)
    figure = svg.blank(9.0, 0.5 + 0.24 * half + 0.3 * top)
    axes = figure.subplots()
    width = max(count - 1, 1)
    axes.set_xlim(1 - 0.62 * width, count + 0.62 * width)
    axes.set_ylim(-half - 0.6, top + 0.9)
    axes.set_axis_off()
    axes.plot([1, count], [0, 0], color=INK, lw=1)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.18], color=INK, lw=1)
        axes.text(tick, 0.25, str(tick), ha="center", va="bottom")
    for place, (label, mean) in enumerate(info.methods):
        left = place < half
        line = -(place if left else count - 1 - place) - 0.8
        side = 1 - 0.06 * width if left else count + 0.06 * width
        axes.plot([mean, mean, side], [0, line, line], color=INK, lw=0.8)
        axes.plot(mean, 0, "o", color=COLOURS[0], ms=4.5, zorder=3)
        text = f"{label}  {mean:.2f}" if left else f"{mean:.2f}  {label}"
        axes.text(
            side - 0.01 * width if left else side + 0.01 * width,
            line,
            text,
            ha="right" if left else "left",
            va="center",
        )
    for at, (low, high) in enumerate(info.bars):
        height = -0.22 - 0.14 * at
        axes.plot(
            [low - 0.01 * width, high + 0.01 * width], [height, height], color=COLOURS[1], lw=3, solid_capstyle="butt"
        )
    end = min(1 + info.critical, count + 0.5 * width)
    axes.plot([1, end], [top + 0.45, top + 0.45], color=INK, lw=1.2)
    for edge in (1, end):
        axes.plot([edge, edge], [top + 0.33, top + 0.57], color=INK, lw=1.2)
    axes.text(end + 0.03 * width, top + 0.45, f"critical difference {info.critical:.2f}", va="center")
    return figure
