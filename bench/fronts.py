"""Quality against cost: which networks of a data set none beats in both, plain data first, then small multiples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import figures, quantities, svg
from bench.efficiency import Price
from bench.figures import COLOURS, GREY
from bench.metrics import Profile
from bench.standings import Board
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 12
"""Networks on a front that get a number and a line in the key; the others on it are marked alone."""
DECIMAL = tuple(digit * 10.0**power for power in range(-3, 19) for digit in (1, 2, 5))
BINARY = tuple(2.0**power for power in range(-3, 31))
CLOCK = (
    0.01,
    0.03,
    0.1,
    0.3,
    1,
    3,
    10,
    30,
    60,
    180,
    600,
    1800,
    3600,
    3 * 3600,
    10 * 3600,
    24 * 3600,
    72 * 3600,
    240 * 3600,
)


class Cost(NamedTuple):
    """One kind of cost: the attribute of a price, its name on an axis, how it is written and where ticks may stand."""

    of: str
    title: str
    show: Callable[[float], str]
    ticks: tuple[float, ...]


def _clock(seconds: float) -> str:
    """Seconds as short as they can be read, as 30 s, 3 min, 10 h."""
    unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if seconds >= s), ("s", 1))
    return f"{seconds / size:.3g} {unit}"


COSTS = (
    Cost("params", "parameters", quantities.amount, DECIMAL),
    Cost("flops", "FLOPs per image", quantities.amount, DECIMAL),
    Cost("gpu_seconds_to_best", "GPU time to the best epoch", _clock, CLOCK),
    Cost("seconds_to_best", "training time to the best epoch", _clock, CLOCK),
    Cost("memory", "peak memory", quantities.memory, BINARY),
    Cost("energy_j", "energy of a cell", lambda value: f"{quantities.amount(value)}J", DECIMAL),
)


class Point(NamedTuple):
    """One network: what it costs, its value with the interval, and whether it is on the front."""

    label: str
    cost: float
    value: float
    interval: tuple[float, float] | None
    front: bool


class Panel(NamedTuple):
    """All networks of a data set by one cost, cheapest first."""

    cost: str
    points: tuple[Point, ...]


class Fronts(NamedTuple):
    """The panels of a data set; `numbered` are the networks that the key names, best value first."""

    panels: tuple[Panel, ...]
    numbered: tuple[str, ...]
    lower: bool


def fronts(board: Board, profile: Profile, prices: Sequence[Price]) -> Fronts:
    """A panel for every cost that is known of two networks or more; where it is the same for all, it tells nothing.

    On the front is a network than which none is both as cheap and better, or cheaper and as good. It is told from the
    values as they are, so networks that cannot be told apart may stand on it and beside it.
    """
    called = figures.labels(board)
    lower = profile.metrics[profile.primary].better == "lower"
    panels = []
    for cost in COSTS:
        known = [
            (called[one.standing.architecture, one.standing.loss], float(price), value, one.standing.interval)
            for one in prices
            if (price := getattr(one, cost.of)) is not None
            and price > 0
            and (value := one.standing.values.get(profile.primary)) is not None
        ]
        if len({price for _, price, _, _ in known}) > 1:
            ahead = front([(price, -value if lower else value) for _, price, value, _ in known])
            points = [Point(*one, front=at in ahead) for at, one in enumerate(known)]
            panels.append(Panel(cost.of, tuple(sorted(points, key=lambda one: (one.cost, one.label)))))
    return Fronts(tuple(panels), _numbered(panels, lower), lower)


def front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Which points (cost, quality) no other dominates, being no worse in both and better in one."""
    found, best = set(), -math.inf
    for cost in sorted({cost for cost, _ in points}):
        own = max(quality for at, quality in points if at == cost)
        if own > best:
            found |= {place for place, point in enumerate(points) if point == (cost, own)}
            best = own
    return found


@drawn
def draw_fronts(info: Fronts, title: str, metric: str) -> Figure:
    """A panel for each cost on a log axis: dominated networks grey, the front joined and numbered as in the key."""
    columns = min(3, len(info.panels)) if len(info.panels) != 4 else 2
    lines = math.ceil(len(info.panels) / columns)
    key = [svg.fold(f"{at}  {name}", 60) for at, name in enumerate(info.numbered, start=1)]
    figure = svg.blank(max(3.9 * columns, 7.0), 2.9 * lines + 0.5 + svg.height(key))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, info.panels, strict=False):
        _draw_panel(axes, panel, info)
    for axes in list(grid.flat)[len(info.panels) :]:
        axes.set_axis_off()
    for line in grid:
        line[0].set_ylabel(metric)
    marks = [
        svg.key("on the front, with its 95% interval", color=COLOURS[0], marker="o", ls="-", lw=1.4, ms=8),
        svg.key("another costs no more and is no worse", color=GREY, marker="o", ls="", alpha=0.6),
    ]
    svg.legend(figure, marks)
    if key:
        svg.legend(figure, [svg.key(name, color="none") for name in key], "outside lower left")
    return figure


def _numbered(panels: Sequence[Panel], lower: bool) -> tuple[str, ...]:
    """The networks that are on most fronts, best value first."""
    often = Counter(point.label for panel in panels for point in panel.points if point.front)
    value = {point.label: -point.value if lower else point.value for panel in panels for point in panel.points}
    chosen = sorted(often, key=lambda name: (-often[name], -value[name], name))[:NUMBERED]
    return tuple(sorted(chosen, key=lambda name: (-value[name], name)))


def _draw_panel(axes: Axes, panel: Panel, info: Fronts) -> None:
    cost = next(cost for cost in COSTS if cost.of == panel.cost)
    ahead = [point for point in panel.points if point.front]
    behind = [point for point in panel.points if not point.front]
    _logarithmic(axes, cost, [point.cost for point in panel.points])
    axes.plot([p.cost for p in behind], [p.value for p in behind], "o", color=GREY, ms=4.5, mew=0, alpha=0.6)
    axes.plot([p.cost for p in ahead], [p.value for p in ahead], color=COLOURS[0], lw=1.2, drawstyle="steps-post")
    for point in ahead:
        if point.interval is not None:
            axes.plot([point.cost] * 2, point.interval, color=COLOURS[0], lw=1, alpha=0.6)
    named = [point for point in ahead if point.label in info.numbered]
    rest = [point for point in ahead if point.label not in info.numbered]
    for own, size in ((rest, 5.0), (named, 9.5)):
        axes.plot([p.cost for p in own], [p.value for p in own], "o", color=COLOURS[0], ms=size, mew=0)
    look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": "white", "size": 6.5, "weight": "bold"}
    for point in named:
        number = str(info.numbered.index(point.label) + 1)
        axes.text(point.cost, point.value, number, **look).set_in_layout(False)
    axes.set_title(cost.title)
    axes.margins(y=0.1)


def _logarithmic(axes: Axes, cost: Cost, values: Sequence[float]) -> None:
    """A log scale with few round numbers; where all values lie closer together than those, with the outermost two."""
    from matplotlib.ticker import NullLocator

    low, high = min(values), max(values)
    low, high = (end * (low / high) ** (0.08 * side) for end, side in ((low, 1), (high, -1)))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in cost.ticks if low <= tick <= high]
    ticks = ticks[:: math.ceil(len(ticks) / 6)] if len(ticks) > 1 else sorted({min(values), max(values)})
    if len({cost.show(tick) for tick in ticks}) < len(ticks):
        ticks = ticks[:1]
    axes.set_xticks(ticks, [cost.show(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", colors=INK)
