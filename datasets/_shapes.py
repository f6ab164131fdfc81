"""Shared by data sets with annotations in JSON: outlines and run lengths become pixels.

A pixel belongs to a polygon when its centre, half a pixel right of and below its corner, lies inside by the even-odd
rule; so two polygons with a common edge neither overlap nor leave a gap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError
from bench.specs import IGNORE

from ._files import one_line

FARTHEST = 1e6  # a corner further outside is a mistake, and would cost accuracy [pixels]
LARGEST_JSON = 2**30  # bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """One annotated thing: its label, and its pixels as outlines or as runs.

    Attributes:
        label: None where the pixels are to be ignored.
        polygons: Corners (x, y), float64 (N, 2) each [pixels]; their union counts.
        runs: Lengths of runs without and with the region in turn, down the columns from the left; None for polygons.
        below: Painted before every other region.
    """

    label: str | None
    polygons: tuple[np.ndarray, ...] = ()
    runs: tuple[int, ...] | None = None
    below: bool = False


def painted(regions: Sequence[Region], size: tuple[int, int], classes: Mapping[str, int]) -> np.ndarray:
    """A mask, uint8 (H, W), of regions painted one over another in their order; the background is 0.

    Args:
        regions: What is to be painted.
        size: Height and width [pixels].
        classes: The class of each label.
    """
    mask = np.zeros(size, np.uint8)
    for region in sorted(regions, key=lambda one: not one.below):
        value = IGNORE if region.label is None else classes[region.label]
        for corners in region.polygons:
            fill(mask, corners, value)
        if region.runs is not None:
            inside = np.repeat(np.arange(len(region.runs)) % 2 == 1, region.runs)
            mask[inside.reshape(size, order="F")] = value
    return mask


def fill(mask: np.ndarray, corners: np.ndarray, value: int) -> None:
    """Paint a polygon into a mask (H, W), in place.

    Every edge is crossed by the lines through the pixel centres of some rows; right of each crossing, inside and
    outside change places.

    Args:
        mask: Where to paint.
        corners: (x, y), float64 (N, 2) [pixels]; the last is joined to the first.
        value: What to paint.
    """
    start, end = corners, np.roll(corners, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).clip(0, mask.shape[0]).astype(np.int64)
    count = np.ceil(high - 0.5).clip(0, mask.shape[0]).astype(np.int64) - first
    if not count.any():
        return
    edge = np.repeat(np.arange(len(corners)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (left, top), (across, down) = start[edge].T, (end - start)[edge].T
    column = np.ceil(left + (row + 0.5 - top) * across / down - 0.5).clip(0, mask.shape[1]).astype(np.int64)
    box = slice(row.min(), row.max() + 1), slice(column.min(), column.max())
    changes = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start + 1), np.int32)
    np.add.at(changes, (row - box[0].start, column - box[1].start), 1)
    mask[box][np.cumsum(changes[:, :-1], axis=1) % 2 == 1] = value


def decoded_runs(text: str) -> list[int]:
    """The run lengths behind COCO's compressed text.

    A number is written five bits per character, lowest first, as the character 48 + bits; 32 is added where more
    follow. The sixteens place of the last is its sign. From the fourth run on, the difference to the run two before is
    written.

    Raises:
        ValueError: If a character is none of these, or the last number is cut off.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"the character {character!r} is no part of a run length")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("the last run length is cut off")
    return runs


def corners_of(points: object) -> np.ndarray:
    """Corners float64 (N, 2) from a list of pairs [x, y].

    Raises:
        ValueError: If they are not pairs of numbers, fewer than two, or far outside any picture.
    """
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        raise ValueError("its points are not pairs of numbers [x, y] within a million pixels")
    if len(points) < 2:
        raise ValueError(f"it has {len(points)} points; an outline has three or more, a rectangle or circle two")
    return np.array(points, np.float64)


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_size(value: object) -> bool:
    """Whether a value of a JSON file is a height or width [pixels]."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < FARTHEST


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        DataError: If the file is not JSON, is larger than 1 GiB, or holds something else.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it is larger than {LARGEST_JSON >> 30} GiB")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it holds no object {..}")
    except (OSError, ValueError, RecursionError) as error:
        raise bad_json(path, error) from error
    return content


def bad_json(path: Path, error: object) -> DataError:
    """The error for an annotation file that cannot be used."""
    return DataError(f"{path} cannot be read: {one_line(error)}. Mend or replace the file.", files=[str(path)])


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list) and len(point) == 2 and all(is_number(part) and abs(part) <= FARTHEST for part in point)
    )
