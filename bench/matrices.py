"""Tables in shades: architecture by loss, networks by data sets or by classes, truth by prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bench import figures, svg
from bench.figures import missing
from bench.metrics import Profile
from bench.standings import Board, Standing
from bench.svg import INK, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = 0.005
"""A share below it is not written into a confusion matrix: it would read 0.00."""


class Matrix(NamedTuple):
    """Rows by columns: a number, or None, and what is written there."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]


def heatmap(board: Board, profile: Profile) -> Matrix:
    """The primary metric of every trained pair of a data set, architectures by losses in alphabetical order."""
    trained = {(one.architecture, one.loss): one for one in board.standings if one.loss is not None}
    brief = figures.short(standing.architecture for standing in board.standings)
    rows, columns = (sorted({str(pair[axis]) for pair in trained}) for axis in (0, 1))
    cells = [[trained.get((row, column)) for column in columns] for row in rows]
    return _scores([brief[row] for row in rows], columns, cells, profile)


def joint(boards: Sequence[Board], profile: Profile, order: Sequence[tuple[str, str | None]] = ()) -> Matrix:
    """The primary metric of every network on every data set.

    Args:
        order: The networks as they are ranked over the data sets, best first; the others follow by their mean value.
    """
    found: list[dict[tuple[str, str | None], Standing]] = [
        {(one.architecture, one.loss): one for one in board.standings if one.loss is not None} for board in boards
    ]
    brief = figures.short(name for own in found for name, _ in own)
    place = {name: at for at, name in enumerate(order)}

    def key(name: tuple[str, str | None]) -> tuple[int, float, str, str]:
        values = [own[name].values.get(profile.primary) for own in found if name in own]
        known = [value for value in values if value is not None]
        sign = 1 if profile.metrics[profile.primary].better == "lower" else -1
        mean = sign * sum(known) / len(known) if known else math.inf
        return place.get(name, len(place)), mean, name[0], str(name[1])

    networks = sorted({name for own in found for name in own}, key=key)
    cells = [[own.get(name) for own in found] for name in networks]
    return _scores([f"{brief[a]} · {loss}" for a, loss in networks], [b.title for b in boards], cells, profile)


def classes(board: Board) -> Matrix:
    """Dice per class of every standing that has it, best first."""
    named = [name.removeprefix("dice_d/") for name in _first_values(board) if name.startswith("dice_d/")]
    called = figures.labels(board)
    scored = [one for one in board.standings if any(f"dice_d/{name}" in one.values for name in named)]
    values = tuple(tuple(one.values.get(f"dice_d/{name}") for name in named) for one in scored)
    rows = tuple(called[one.architecture, one.loss] for one in scored)
    texts = tuple(tuple("n/a" if value is None else f"{value:.3f}" for value in line) for line in values)
    return Matrix(rows, tuple(named), values, texts)


def leader(board: Board) -> Standing | None:
    """The first network of a data set of which there are counts."""
    return next((one for one in board.standings if one.loss is not None and _counts(one) is not None), None)


def confusion(standing: Standing) -> Matrix | None:
    """Where the pixels of each class went, over all test images, seeds and folds; None without counts.

    Each row is a true class, named with its share of all pixels, and sums to 1 over the predicted classes; a class
    without a pixel has no shares.
    """
    counts = _counts(standing)
    if counts is None:
        return None
    card = next((row.record.data for row in standing.rows if row.record and row.record.data), None)
    named = [one.name for one in card.classes] if card else [str(at) for at in range(len(counts))]
    total, own = int(counts.sum()), [int(line.sum()) for line in counts]
    values = tuple(
        tuple(int(count) / pixels if pixels else None for count in line)
        for line, pixels in zip(counts, own, strict=True)
    )
    texts = tuple(tuple("no pixel" if v is None else f"{v:.2f}" if v >= FAINT else "" for v in line) for line in values)
    rows = tuple(f"{name}  {100 * pixels / max(total, 1):.1f}%" for name, pixels in zip(named, own, strict=True))
    return Matrix(rows, tuple(named), values, texts)


def first(info: Matrix, rows: int) -> Matrix:
    """No more than the first rows."""
    return info._replace(rows=info.rows[:rows], values=info.values[:rows], texts=info.texts[:rows])


@drawn
def draw_matrix(
    info: Matrix,
    title: str,
    *,
    across: str = "",
    down: str = "",
    shades: Literal["all", "columns", "shares"] = "all",
) -> Figure:
    """The matrix in shades; what has no value is hatched and says why.

    Args:
        across, down: What the columns and the rows are.
        shades: They span all values, those of each column, or 0 to 1.
    """
    import seaborn as sns

    rows, columns = ([svg.fold(name) for name in names] for names in (info.rows, info.columns))
    values = np.array([[math.nan if value is None else value for value in line] for line in info.values], float)
    cell = max(0.5, 0.02 + svg.LETTER * max((len(text) for line in info.texts for text in line), default=0))
    slanted = svg.room(columns) > cell + 0.3
    wide = cell if slanted else max(cell, svg.room(columns) + 0.1)
    below = 0.72 * (svg.room(columns) + svg.height(columns)) if slanted else svg.height(columns)
    left = max(svg.room(rows), below - wide / 2 if slanted else 0.0)
    tall = max(0.34, svg.height(rows) + 0.06, svg.room([down]) / len(rows))
    bar = shades != "columns" and len(rows) > 2
    figure = svg.blank(
        left + wide * len(columns) + 0.9 * bar + 0.3 + svg.height([down]) + 0.05 * bool(down),
        below + tall * len(rows) + 0.2 + 0.2 * bool(across),
    )
    axes = figure.subplots()
    scaled = _scaled(values, shades)
    sns.heatmap(
        scaled,
        ax=axes,
        mask=np.isnan(values),
        annot=np.array(info.texts),
        fmt="",
        cmap="crest",
        vmin=0.0 if shades == "columns" else _ends(values, shades)[0],
        vmax=1.0 if shades == "columns" else _ends(values, shades)[1],
        linewidths=1.0,
        linecolor="none",
        xticklabels=columns,
        yticklabels=rows,
        cbar=bar,
        cbar_kws={"shrink": 0.9, "pad": 0.02, "format": "%.3g"} if bar else None,
    )
    for row, column in np.argwhere(np.isnan(values)):
        _hatch(axes, float(column), float(row), info.texts[row][column])
    for text in axes.texts:
        text.set_in_layout(False)  # they lie inside the cells, and measuring each takes long
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    for label in axes.get_xticklabels():
        label.set(
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
        )
    return figure


def _scores(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Standing | None]], profile: Profile
) -> Matrix:
    """The primary metric of standings in their places."""
    values = [[one.values.get(profile.primary) if one else None for one in line] for line in cells]
    texts = [
        [
            "n/a" if one is None else missing(one) if value is None else f"{value:.3f}"
            for one, value in zip(*line, strict=True)
        ]
        for line in zip(cells, values, strict=True)
    ]
    return Matrix(tuple(rows), tuple(columns), tuple(map(tuple, values)), tuple(map(tuple, texts)))


def _first_values(board: Board) -> Mapping[str, float | None]:
    return next((one.values for one in board.standings if one.values), {})


def _counts(standing: Standing) -> np.ndarray | None:
    """The confusion matrix of all runs, int64 (C, C), true by predicted [pixels]; None without any."""
    found = [row.counts.sum(axis=0, dtype=np.int64) for row in standing.rows if row.counts is not None]
    return sum(found[1:], found[0]) if found else None


def _ends(values: np.ndarray, shades: str) -> tuple[float, float]:
    """The values of the lightest and the darkest shade, never so close that noise looks like a difference."""
    if shades == "shares" or np.isnan(values).all():
        return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    middle, half = (low + high) / 2, max(high - low, 0.02) / 2
    return middle - half, middle + half


def _scaled(values: np.ndarray, shades: str) -> np.ndarray:
    """The values as they are shaded: as they are, or each column from 0 to 1."""
    if shades != "columns":
        return values
    ends = [_ends(column, shades) for column in values.T]
    return np.stack([(c - low) / (high - low) for c, (low, high) in zip(values.T, ends, strict=True)], axis=1)


def _hatch(axes: Axes, column: float, row: float, text: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", ec=INK, alpha=0.3, lw=0.5))
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", style="italic")
