"""Shared by data sets annotated with LabelMe: one JSON file per image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ._shapes import Region, bad_json, corners_of, is_size, read_json

IGNORED = "__ignore__"  # LabelMe's own name
CIRCLE = 128  # corners a circle is drawn with


def regions(path: Path) -> tuple[tuple[int, int] | None, list[Region]]:
    """The shapes of an annotation file in their order, and the (height, width) it gives for its image, if any.

    The label `__ignore__` marks pixels to ignore.

    Raises:
        DataError: If the file is not LabelMe's, or has a shape without an area (a point, a line).
    """
    content = read_json(path)
    size = (content.get("imageHeight"), content.get("imageWidth"))
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise bad_json(path, "it has no list `shapes`, so it is not LabelMe's")
    if size != (None, None) and not all(is_size(edge) for edge in size):
        raise bad_json(path, f"imageHeight and imageWidth are {size[0]!r} and {size[1]!r}, not numbers of pixels")
    found = []
    for number, shape in enumerate(shapes):
        try:
            found.append(_region(shape))
        except ValueError as error:
            raise bad_json(path, f"shape {number}: {error}") from error
    return None if size == (None, None) else size, found


def _region(shape: object) -> Region:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"]:
        raise ValueError("it has no label")
    kind, corners = shape.get("shape_type") or "polygon", corners_of(shape.get("points"))
    if kind == "rectangle" and len(corners) == 2:
        (left, top), (right, bottom) = corners
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle" and len(corners) == 2:
        turn = np.arange(CIRCLE) * (2 * np.pi / CIRCLE)
        radius = np.hypot(*(corners[1] - corners[0]))
        corners = corners[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    elif kind != "polygon" or len(corners) < 3:
        raise ValueError(
            f"a {kind!s:.20} of {len(corners)} points has no area; polygons of three or more points, rectangles and "
            "circles of two are read"
        )
    return Region(label=None if shape["label"] == IGNORED else shape["label"], polygons=(corners,))
