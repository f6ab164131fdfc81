"""Curves and pictures in a terminal: braille dots, eight to a letter, and quarter blocks, four pixels to a letter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille letter, by row and column of its eight dots, above U+2800."""
QUARTERS = " ▘▝▀▖▌▞▛"
"""Letters whose upper left, upper right and lower left quarters are filled as the bits of their places say."""
LEAST_SPAN = 0.05
"""What an axis with fixed ends shows at least: labels have two digits, and small is to look small."""
LABEL = 6
"""Letters for the labels of the vertical axis, the axis itself included."""


class Layer(NamedTuple):
    """One curve: heights by epoch, and a style of the terminal's own theme; later layers lie on top."""

    points: Sequence[tuple[int, float]]
    style: str


class Plot(NamedTuple):
    """Where curves are drawn: letters across and down, the last epoch there will be, and the kind of scale."""

    width: int
    height: int
    last: int
    logarithmic: bool = False
    unit: tuple[float, float] | None = None  # the range that heights cannot leave


def plotted(layers: Sequence[Layer], plot: Plot, mark: tuple[int, float] | None = None) -> list[Text]:
    """Curves with their axes, a line of text for each line of the terminal; empty axes where there is no point.

    Args:
        mark: The point of the last layer that gets a dot.
    """
    heights = [height for layer in layers for _, height in layer.points]
    low, high = _range(heights, plot)
    across, down = plot.width - LABEL, plot.height - 1
    bits, styles = np.zeros((down, across), int), np.full((down, across), "", dtype=object)
    for layer in layers:
        for column, row in _dots(layer.points, plot, (low, high), (2 * across, 4 * down)):
            bits[row // 4, column // 2] |= DOTS[row % 4][column % 2]
            styles[row // 4, column // 2] = layer.style
    signs = np.array([[chr(0x2800 + code) if code else " " for code in line] for line in bits.tolist()])
    for column, row in _dots([mark] if mark else [], plot, (low, high), (2 * across, 4 * down)):
        signs[row // 4, column // 2] = "●"
    lines = []
    for row in range(down):
        label = _label(high, plot) if row == 0 and heights else _label(low, plot) if row == down - 1 and heights else ""
        line = Text(f"{label:>{LABEL - 1}}", "dim", no_wrap=True)
        line.append("┤" if label else "│", "dim")
        for sign, style in zip(signs[row], styles[row], strict=True):
            line.append(str(sign), style)
        lines.append(line)
    end = str(plot.last)
    ruler = "└1" + "─" * max(0, across - 1 - len(end)) + end
    lines.append(Text(" " * (LABEL - 1) + ruler, "dim", no_wrap=True))
    return lines


def blocks(pixels: NDArray[np.uint8]) -> list[Text]:
    """A picture uint8 (2 h, 2 w, 3) as h lines of w letters, each the two colours and the shape that are nearest."""
    height, width = len(pixels) // 2, pixels.shape[1] // 2
    quarters = (
        pixels.reshape(height, 2, width, 2, 3).transpose(0, 2, 1, 3, 4).reshape(height, width, 4, 3).astype(float)
    )
    masks = np.array([[(shape >> quarter) & 1 for quarter in range(4)] for shape in range(8)], float)  # (8, 4)
    inks = np.einsum("sq,hwqc->hwsc", masks, quarters) / np.maximum(masks.sum(1), 1)[:, None]
    papers = np.einsum("sq,hwqc->hwsc", 1 - masks, quarters) / (1 - masks).sum(1)[:, None]
    drawn = masks[:, :, None] * inks[:, :, :, None] + (1 - masks)[:, :, None] * papers[:, :, :, None]
    best = ((drawn - quarters[:, :, None]) ** 2).sum((3, 4)).argmin(2)
    rows, columns = np.indices(best.shape)
    looks = np.concatenate([inks[rows, columns, best], papers[rows, columns, best]], 2).round().astype(int)
    lines = []
    for shapes, colours in zip(best.tolist(), looks.tolist(), strict=True):
        line = Text(no_wrap=True)
        for shape, (red, green, blue, *behind) in zip(shapes, colours, strict=True):
            line.append(QUARTERS[shape], Style(color=_hex(red, green, blue), bgcolor=_hex(*behind)))
        lines.append(line)
    return lines


def _hex(red: int, green: int, blue: int) -> str:
    return f"#{red:02x}{green:02x}{blue:02x}"


def _range(heights: Sequence[float], plot: Plot) -> tuple[float, float]:
    """The ends of the vertical axis; never the same."""
    if not heights:
        return 0.1, 1.0
    low, high = min(heights), max(heights)
    if plot.unit is not None:
        margin = max(0.0, LEAST_SPAN - (high - low)) / 2
        low = min(max(low - margin, plot.unit[0]), plot.unit[1] - LEAST_SPAN) if margin else low
        return low, max(high, low + LEAST_SPAN)
    margin = 0.1 * max(abs(low), 1e-3) if high - low < 1e-9 else 0.0
    return low - margin, high + margin


def _dots(
    points: Sequence[tuple[int, float]], plot: Plot, ends: tuple[float, float], size: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """The dots of a curve (column, row), its points joined by straight lines."""

    def share(height: float) -> float:
        low, high = ends
        if plot.logarithmic:
            low, high, height = (math.log(max(one, 1e-12)) for one in (low, high, height))
        return (height - low) / (high - low)

    places = [
        (
            round((epoch - 1) / max(plot.last - 1, 1) * (size[0] - 1)),
            round((1 - min(max(share(height), 0.0), 1.0)) * (size[1] - 1)),
        )
        for epoch, height in points
    ]
    yield from (place for place in places if 0 <= place[0] < size[0])
    for (left, top), (right, bottom) in pairwise(places):
        steps = max(abs(right - left), abs(bottom - top), 1)
        for step in range(steps + 1):
            column = round(left + (right - left) * step / steps)
            if 0 <= column < size[0]:
                yield column, round(top + (bottom - top) * step / steps)


def _label(height: float, plot: Plot) -> str:
    text = f"{height:.2f}" if plot.unit is not None else f"{height:.3g}"
    return text[: LABEL - 1]
