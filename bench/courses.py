"""The trainings of one cell as a figure: validation value, loss and learning rate, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench import svg
from bench.diary import Course, Diary
from bench.drawings import Drawing
from bench.figures import COLOURS, GREY
from bench.paper import files
from bench.svg import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.diary import Line


class Curve(NamedTuple):
    """One training: nan where a value is not known or no number."""

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    losses: tuple[float, ...]
    rates: tuple[float, ...]
    best: int | None


class Curves(NamedTuple):
    """The trainings of a cell, and the one that is drawn in colour; `role` says what that one is."""

    shown: Curve
    others: tuple[Curve, ...]
    role: str


def curves(diary: Diary, shown: Course, role: str) -> Curves:
    """What is drawn of a diary, with one of its courses in colour."""
    others = tuple(_curve(course) for course in diary.courses if course is not shown and course.lines)
    return Curves(_curve(shown), others, role)


def drawing(info: Curves, title: str) -> Drawing:
    """The figure, to be written in any format."""
    return Drawing("curves", "", draw, info, title)


def painted(info: Curves, title: str) -> dict[str, bytes]:
    """The figure as a PNG and as an SVG."""
    return files(drawing(info, title), ("svg", "png"))


@drawn
def draw(info: Curves, title: str) -> Figure:
    """Validation above, loss in the middle, rate below; the other trainings thin and grey behind."""
    figure = svg.blank(6.4, 6.2)
    figure.suptitle(svg.fold(title, 84), x=0.01, ha="left", fontsize=9)
    panels: Sequence[Axes] = list(figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [1.5, 1.1, 0.7]}))
    kinds = ("values", "losses", "rates")
    for axes, kind, name in zip(panels, kinds, ("validation mDice", "training loss", "learning rate"), strict=True):
        for curve in info.others:
            axes.plot(curve.epochs, getattr(curve, kind), color=GREY, alpha=0.55, lw=0.9)
        heights = getattr(info.shown, kind)
        axes.plot(
            info.shown.epochs, heights, color=COLOURS[0], lw=1.8, marker="o" if len(heights) <= 30 else "", ms=2.5
        )
        if info.shown.best is not None:
            axes.axvline(info.shown.best, color=COLOURS[1], lw=0.9, ls=(0, (4, 2)))
        axes.set_ylabel(name)
        if kind != "values" and _wide([one for curve in (info.shown, *info.others) for one in getattr(curve, kind)]):
            svg.logarithmic(axes, "y")
    best = "best epoch"
    if info.shown.best is not None:
        value = info.shown.values[info.shown.epochs.index(info.shown.best)]
        panels[0].plot(info.shown.best, value, "o", color=COLOURS[1], ms=6)
        best = f"best epoch {info.shown.best}: {value:.4f}"
    panels[-1].set_xlabel("epoch")
    figure.align_ylabels()
    panels[-1].locator_params(axis="x", nbins=10, integer=True)
    keys = [
        svg.key(f"{info.shown.name}{info.role}", color=COLOURS[0], lw=1.8),
        svg.key(best, color=COLOURS[1], ls=(0, (4, 2)), marker="o"),
    ]
    if info.others:
        keys.append(svg.key("other trials", color=GREY, lw=0.9))
    svg.legend(figure, keys, "outside lower left")
    return figure


def _wide(heights: Sequence[float]) -> bool:
    """Whether heights are better told apart on a logarithmic scale."""
    known = [height for height in heights if not math.isnan(height)]
    return bool(known) and min(known) > 0 and max(known) > 5 * min(known)


def _curve(course: Course) -> Curve:
    best = course.best
    return Curve(
        name=course.name if course.lr is None else f"{course.name}, lr {course.lr:.3g}",
        epochs=tuple(line.epoch for line in course.lines),
        values=_known(course.lines, "value"),
        losses=_known(course.lines, "loss"),
        rates=_known(course.lines, "rate"),
        best=None if best is None else best.epoch,
    )


def _known(lines: Sequence[Line], name: str) -> tuple[float, ...]:
    values = (getattr(line, name) for line in lines)
    return tuple(math.nan if value is None else value for value in values)
