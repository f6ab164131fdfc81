"""Metrics by name: which profile is meant, and its numbers for the counts of one cell.

The definitions stand in `bench.profiles`, what they are made of in `bench.rules`. Undefined is NaN inside numpy and
None wherever a number leaves for a file or a page (`scores`).

In the names: `d` sums the counts over the data set first, `i` scores each image and takes the mean, `c` takes the mean
per class first, `fg` leaves the background out. A name in brackets after a slash is a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench import names
from bench.catalog import unknown
from bench.profiles import DEFAULT, IMAGE_BINARY, PROFILES
from bench.rules import Counts, Metric, Profile, Values, background_share, binary, dice, iou, source
from bench.switches import custom

__all__ = [
    "DEFAULT",
    "IMAGE_BINARY",
    "PROFILES",
    "Counts",
    "Metric",
    "Profile",
    "Values",
    "background_share",
    "binary",
    "dice",
    "iou",
    "profile",
    "scores",
    "source",
]


def profile(name: str) -> Profile:
    """The profile of that name, or the one that `custom[aggregate=image,background=with]` builds.

    Raises:
        NameUnknown: If there is none, or a switch or its value is unknown.
    """
    stem, options = names.parse(name)
    if stem == "custom":
        return custom(options)
    name = name.partition("@")[0]  # as files name it, with the version of its library
    if name not in PROFILES:
        raise unknown("metric profile", name, [*PROFILES, "custom"], "bench list metrics")
    return PROFILES[name]


def scores(
    counts: Counts,
    classes: Sequence[str],
    definition: Profile = DEFAULT,
    measures: Mapping[str, Values] | None = None,
) -> dict[str, float | None]:
    """Every number of a profile, and under `default` IoU and Dice per class.

    Args:
        counts: Integers (images, C, C), true by predicted [pixels].
        classes: The C names, background first.
        definition: The profile.
        measures: What was stored per image beside the counts, (images, ..) each.
    Returns:
        Name to value; None where undefined (a class that neither occurs nor is predicted; no pixels at all), or where
        the measure a metric needs was not stored.
    """
    values: dict[str, float] = {}
    for name, metric in definition.metrics.items():
        found = source(metric, counts, measures or {})
        values[name] = math.nan if found is None else float(metric.compute(found))
    if definition is DEFAULT:
        total = counts.sum(axis=0)
        for prefix, overlap in (("iou_d", iou), ("dice_d", dice)):
            values |= {f"{prefix}/{name}": float(value) for name, value in zip(classes, overlap(total), strict=True)}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
