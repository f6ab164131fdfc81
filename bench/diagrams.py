"""Ranks across data sets and across definitions, and where variance comes from: plain data first, then drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench import figures, svg, variance
from bench.figures import COLOURS, styles
from bench.ranking import Across
from bench.standings import Board
from bench.svg import INK, drawn
from bench.variance import Decomposition
from bench.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SHOWN = 12
"""Networks in a chart of places, which more lines than that would make a knot."""


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
    names = [svg.fold(label) for label, _ in info.methods]
    step = max(0.24, svg.height(names) + 0.05)
    figure = svg.blank(max(9.0, 2 * svg.room(names) + 5.0), 0.5 + step * half + 0.3 * top)
    axes = figure.subplots()
    width = max(count - 1, 1)
    axes.set_xlim(1 - 0.62 * width, count + 0.62 * width)
    axes.set_ylim(-half - 0.6, top + 0.9)
    axes.set_axis_off()
    axes.plot([1, count], [0, 0], color=INK, lw=1)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.18], color=INK, lw=1)
        axes.text(tick, 0.25, str(tick), ha="center", va="bottom")
    for place, (label, (_, mean)) in enumerate(zip(names, info.methods, strict=True)):
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


class Rise(NamedTuple):
    """One network through the definitions: its place among those shown, and whether it is in the first rank there.

    Attributes:
        places: 1-based, by value; None where it has no value.
        first: Whether it cannot be told from the best row of the board.
    """

    label: str
    places: tuple[int | None, ...]
    first: tuple[bool, ...]


class Bumps(NamedTuple):
    """How the best networks of a data set change places between metric profiles."""

    profiles: tuple[str, ...]
    networks: tuple[Rise, ...]
    of: int


def bumps(shown: Sequence[View], at: int) -> Bumps | None:
    """The networks that come first in some profile, then those that come second, and so on, up to SHOWN.

    Args:
        shown: The chosen profile first.
        at: Which board of theirs.
    Returns:
        None with fewer than two profiles that rank two networks.
    """
    orders = {view.profile.name: order for view in shown if len(order := _order(view.boards[at])) > 1}
    if len(orders) < 2:
        return None
    everyone = list(dict.fromkeys(name for order in orders.values() for name in order))
    best = {name: min(order.index(name) for order in orders.values() if name in order) for name in everyone}
    chosen = set(sorted(everyone, key=lambda name: best[name])[:SHOWN])
    among = {profile: [name for name in order if name in chosen] for profile, order in orders.items()}
    leads = {
        view.profile.name: {(o.architecture, o.loss) for o in view.boards[at].standings if o.rank == 1}
        for view in shown
    }
    called = figures.labels(shown[0].boards[at])
    networks = (
        Rise(
            called[name],
            tuple(order.index(name) + 1 if name in order else None for order in among.values()),
            tuple(name in leads[profile] for profile in among),
        )
        for name in everyone
        if name in chosen
    )
    return Bumps(tuple(among), tuple(networks), len(everyone))


class Shares(NamedTuple):
    """Where the variance of a data set comes from: source and share, in the order of `variance.TERMS`."""

    title: str
    parts: tuple[tuple[str, float], ...]


def shares(title: str, found: Decomposition) -> Shares:
    """Those of one data set."""
    return Shares(title, tuple((one.name, one.share) for one in found.components))


@drawn
def draw_bumps(info: Bumps, title: str) -> Figure:
    """A line for each network from profile to profile; a large dot where it cannot be told from the first."""
    names = [svg.fold(one.label) for one in info.networks]
    heads = [svg.fold(name, 24) for name in info.profiles]
    count = len(info.profiles)
    figure = svg.blank(svg.room(names) * 2 + 0.6 * count + 1.0, 0.31 * len(names) + 0.75 * svg.room(heads) + 0.7)
    axes = figure.subplots()
    looks = styles(one.label for one in info.networks)
    for one in info.networks:
        look = looks[one.label]
        colour, dash = look["color"], look["ls"]
        places = [math.nan if place is None else place for place in one.places]
        axes.plot(range(count), places, color=colour, ls=dash, lw=1.8, alpha=0.9)
        for at, (place, first) in enumerate(zip(one.places, one.first, strict=True)):
            if place is not None:
                axes.plot(at, place, "o", color=colour, ms=8.5 if first else 4, mew=0)
    axes.set_xlim(-0.4, count - 0.6)
    axes.set_ylim(len(names) + 0.6, 0.4)
    axes.set_xticks(range(count), heads, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(*_ends(info, 0), va="center")
    right = axes.secondary_yaxis("right")
    right.set_yticks(*_ends(info, -1), va="center")
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
        side.spines[:].set_visible(False)
    axes.grid(visible=False, axis="y")
    return figure


@drawn
def draw_shares(info: Sequence[Shares], title: str) -> Figure:
    """A panel of bars for each data set, the sources of variance in one order."""
    sources = [name for name in variance.TERMS if any(name in dict(one.parts) for one in info)]
    columns = min(4, len(info))
    lines = math.ceil(len(info) / columns)
    heads = [svg.fold(one.title, 34) for one in info]
    figure = svg.blank(2.2 + 2.7 * columns, (0.5 + 0.24 * len(sources) + svg.height(heads)) * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes, one, head in zip(grid.flat, info, heads, strict=False):
        parts = dict(one.parts)
        axes.barh(range(len(sources)), [parts.get(name, 0.0) for name in sources], color=COLOURS[0], height=0.62)
        for at, name in enumerate(sources):
            text = f"{100 * parts[name]:.1f}%" if name in parts else "cannot be told"
            axes.text(parts.get(name, 0.0) + 0.015, at, text, va="center")
        axes.set_title(head)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
        axes.set_yticks(range(len(sources)), [name.replace(" x ", " × ") for name in sources])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
    grid[0][0].set_ylim(len(sources) - 0.5, -0.5)
    for axes in list(grid.flat)[len(info) :]:
        axes.set_axis_off()
    return figure


def _order(board: Board) -> list[tuple[str, str | None]]:
    """The networks that have a rank, best first."""
    return [(one.architecture, one.loss) for one in board.standings if one.loss is not None and one.rank is not None]


def _ends(info: Bumps, at: int) -> tuple[list[int], list[str]]:
    """Where the lines of a bump chart begin or end, and the names that stand there."""
    found = [(one.places[at], svg.fold(one.label)) for one in info.networks]
    known = [(place, name) for place, name in found if place is not None]
    return [place for place, _ in known], [f"{place}  {name}" if at else f"{name}  {place}" for place, name in known]
