"""What was measured on outlines and objects at evaluation, as profiles; a study takes these only where it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench import boundary, objects
from bench.rules import Metric, Profile, Values, mean

Take = Callable[[np.ndarray, np.ndarray, float | None, int], dict[str, Values]]
GROUPS: dict[str, Take] = {"boundary": boundary.measure, "objects": objects.measure}
"""What `Study.measures` may name: one pass over an image that gives all measures of a group, float64 (C,) each."""
SUMMARY = (
    "Mean over images per class, where it is defined, then over foreground classes; no number where one is infinite."
)


def classwise(values: NDArray) -> Values:
    """The foreground's values (.., images, C - 1) of what is stored, (.., images, C); all NaN where one is infinite.

    A mean without the infinite ones would reward a class for being missed altogether.
    """
    found = values[..., 1:]
    return np.where(np.isinf(found).any(axis=(-2, -1), keepdims=True), np.nan, found)


def summed_up(values: NDArray) -> Values:
    """Stored values (..., images, C) to (...): the mean over images per class, then over foreground classes."""
    return mean(mean(np.swapaxes(classwise(values), -1, -2)))


def takers(names: Sequence[str], masks: Callable[[], Iterable[np.ndarray]], classes: int) -> list[Take]:
    """The passes of some groups; objects are counted by the mean area that they have in the training masks, too."""
    known = {"objects": objects.pixels_per_object(masks(), classes)} if "objects" in names else {}
    return [partial(objects.measure, table=known[name]) if name in known else GROUPS[name] for name in names]


def _metrics(table: Mapping[str, boundary.Measure]) -> dict[str, Metric]:
    return {
        name: Metric(
            title=one.title,
            definition=f"{one.definition} {one.undefined[0].upper()}{one.undefined[1:]} {SUMMARY}",
            compute=summed_up,
            summed=False,
            parts=classwise,
            measure=name,
            better=one.better,
        )
        for name, one in table.items()
    }


PROFILES = (
    Profile(
        name="boundary",
        title="How far apart outlines are, per class",
        primary="nsd_2px",
        metrics=_metrics(boundary.MEASURES),
        source="docs/objects-and-boundaries.md",
        users='Studies with measures = ["boundary"].',
    ),
    Profile(
        name="objects",
        title="Objects counted and matched, on connected components, per class",
        primary="pq_components",
        metrics=_metrics({**objects.MEASURES, **objects.by_pixels(np.ones(2))}),
        source="docs/objects-and-boundaries.md",
        users='Studies with measures = ["objects"].',
    ),
)
