"""Shared by masks that are not stored as classes: nearest colours, grey JPEG masks, LabelMe polygons."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError

DARK, BRIGHT = 16, 239  # JPEG moves black and white by less than 16
OPEN = ("point", "points", "line", "linestrip")  # LabelMe's shapes that enclose nothing
FARTHEST = 1e6  # pixels; a point beyond this is no point of a picture

Colour = tuple[int, int, int]


def ambiguous(grey: np.ndarray) -> int:
    """How many pixels of a black and white mask, uint8 (H, W), are neither nearly black nor nearly white (16..239)."""
    return int(np.count_nonzero((grey >= DARK) & (grey <= BRIGHT)))


def nearest(pixels: np.ndarray, palette: Sequence[Colour]) -> np.ndarray:
    """The palette index nearest to each colour, the first of equally near ones.

    Args:
        pixels: Colours uint8 (H, W, 3).
        palette: At most 255 colours.
    Returns:
        Indices uint8 (H, W).
    """
    packed = _packed(pixels)
    colours, where = np.unique(packed, return_inverse=True)  # a mask holds few colours
    channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1)
    distance = ((channels[:, None] - np.array(palette, np.int64)) ** 2).sum(axis=-1)
    return distance.argmin(axis=1).astype(np.uint8)[where].reshape(packed.shape)


def off_palette(pixels: np.ndarray, palette: Sequence[Colour]) -> int:
    """How many colours of uint8 (H, W, 3) are none of the palette."""
    known = [(red << 16) | (green << 8) | blue for red, green, blue in palette]
    return int(np.count_nonzero(~np.isin(_packed(pixels), known)))


def read_polygons(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """The polygons of a LabelMe file, whatever their labels.

    Points and lines, and polygons of fewer than three points, enclose nothing and are left out; points may lie outside
    the picture.

    Args:
        path: The JSON file.
        size: Height and width of the picture it belongs to.
    Returns:
        Points float64 (N, 2) as (x, y) [pixels] each.
    Raises:
        DataError: If the file is no LabelMe file, or belongs to a picture of another size.
    """
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig", errors="replace"))  # only numbers are of interest
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}. Download the file again.") from error
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise DataError(f"{path} has no list `shapes`, so it is not a LabelMe file. Download the file again.")
    for key, pixels in zip(("imageHeight", "imageWidth"), size, strict=True):
        if content.get(key) not in (None, pixels):
            raise DataError(
                f"{path} has {key} {content[key]!r}, but its picture has {pixels}. Replace the picture or the file."
            )
    polygons = [_points(shape, number, path) for number, shape in enumerate(shapes)]
    return [points for points in polygons if len(points) >= 3]


def fill(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The pixels whose (column, row) lies in or on the edge of any polygon, each filled by the even-odd rule.

    Args:
        polygons: Points float64 (N, 2) as (x, y) [pixels] each; what lies outside the picture is cut off.
        size: Height and width [pixels].
    Returns:
        Mask uint8 (H, W), 1 in the polygons.
    """
    height, width = size
    steps = np.zeros((height, width + 1), np.int32)  # +1 where a span begins, -1 behind its end
    for points in polygons:
        for rows, left, right in _spans(points, height):
            first, last = np.ceil(left).clip(0, width), np.floor(right).clip(-1, width - 1)
            there = first <= last
            np.add.at(steps, (rows[there], first[there].astype(np.int64)), 1)
            np.add.at(steps, (rows[there], last[there].astype(np.int64) + 1), -1)
    return (steps.cumsum(axis=1)[:, :width] > 0).astype(np.uint8)


def _spans(points: np.ndarray, height: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Where rows of pixels run within a polygon: rows int64 (N,), left and right ends float64 (N,), both inside."""
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    low, high = max(0, math.ceil(y0.min())), min(height - 1, math.floor(y0.max()))
    for start in range(low, high + 1, step := max(1, 2**20 // len(points))):
        rows = np.arange(start, min(start + step, high + 1))
        crossed = (y0 <= rows[:, None]) != (y1 <= rows[:, None])  # an edge holds its upper end, not its lower one
        row, edge = np.nonzero(crossed)
        across = x0[edge] + (rows[row] - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        order = np.lexsort((across, row))  # every row is crossed an even number of times
        yield rows[row[::2]], across[order][::2], across[order][1::2]
    flat = (y0 == np.floor(y0)) & (y0 >= 0) & (y0 < height)  # lowest points and level edges, which nothing crosses
    level = flat & (y1 == y0)
    yield y0[flat].astype(np.int64), x0[flat], x0[flat]
    yield y0[level].astype(np.int64), np.minimum(x0, x1)[level], np.maximum(x0, x1)[level]


def _points(shape: Any, number: int, path: Path) -> np.ndarray:
    points = shape.get("points") if isinstance(shape, dict) else None
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise DataError(f"{path}: shape {number} has no list `points` of [x, y]. Mend it, or remove the shape.")
    strange = next((point for point in points for value in point if not _is_coordinate(value)), None)
    if strange is not None:
        raise DataError(f"{path}: shape {number} has the point {strange}, which is no place. Mend or remove the shape.")
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("polygon", *OPEN):
        raise DataError(f"{path}: shape {number} is a {kind!r}; a nucleus is a polygon. Redraw or remove the shape.")
    return np.array(points if kind == "polygon" else [], np.float64).reshape(-1, 2)


def _is_coordinate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= FARTHEST


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Each colour as one number, int64 (H, W)."""
    wide = pixels.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
