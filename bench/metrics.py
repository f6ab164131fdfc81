"""Metrics by name: which profile is meant, and its numbers for the counts of one cell.

The definitions stand in `bench.profiles`, what they are made of in `bench.rules`. Undefined is NaN inside numpy and
None wherever a number leaves for a file or a page (`scores`).

In the names: `d` sums the counts over the data set first, `i` scores each image and takes the mean, `c` takes the mean
per class first, `fg` leaves the background out. A name in brackets after a slash is a class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import catalog, names
from bench.catalog import unknown
from bench.errors import BenchError, NameUnknown
from bench.profiles import DEFAULT, IMAGE_BINARY, PROFILES
from bench.rules import (
    ByClasses,
    Counts,
    Metric,
    Profile,
    Rule,
    Values,
    background_share,
    binary,
    dice,
    iou,
    source,
)
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
    "own",
    "profile",
    "scores",
    "source",
]


def profile(name: str) -> Profile:
    """The profile of that name, or the one that `custom[aggregate=image,background=with]` builds.

    Raises:
        NameUnknown: If there is none, a switch or its value is unknown, or a user's own file is no profile.
    """
    stem, options = names.parse(name)
    if stem == "custom":
        return custom(options)
    name = name.partition("@")[0]  # as files name it, with the version of its library
    if name in PROFILES:
        return PROFILES[name]
    if name not in own():
        raise unknown("metric profile", name, [*PROFILES, *own(), "custom"], "bench list metrics")
    return _own(name)


def own() -> dict[str, catalog.Entry]:
    """The files of the user's own profiles, by name; none of them is imported.

    Raises:
        NameUnknown: If one is named like a profile of ours.
    """
    return catalog.own("profiles", [*PROFILES, "custom"])


def check_own(identity: str) -> None:
    """Refuse the id of a user's own profile whose file is not here, or is another one now.

    Raises:
        NameUnknown: With what to do about it.
    """
    name, _, version = identity.partition("@")
    if name in PROFILES or not re.fullmatch(r"(.*-)?[0-9a-f]{8}", version):
        return
    if name not in own():
        raise NameUnknown(
            f"The metric profile {identity} is a user's own file, which is not here. Name the folder that has "
            f"profiles/{name}.py by --catalog."
        )
    if profile(name).id != identity:
        raise NameUnknown(
            f"The metric profile {identity} is {profile(name).id} by now: {own()[name].path} changed. Write the tables "
            f"anew, bench report --profile {name}, or bring the file of that time."
        )


@dataclass(frozen=True, slots=True)
class Guarded:
    """A function of a user's own file; an error in it is told in one line, and nothing but floats leaves it."""

    compute: Callable[[NDArray], Values]
    what: str
    path: Path

    def __call__(self, counts: NDArray) -> Values:
        """The values of the counts."""
        try:
            return np.asarray(self.compute(counts), np.float64)
        except BenchError:
            raise
        except Exception as error:
            told = f"{self.what} cannot be computed: {catalog.reason(error)}. Mend {catalog.place(error, self.path)}."
            raise NameUnknown(told) from error


def _own(name: str) -> Profile:
    """The profile of a user's file: its version is the hash of its code, since a change of it changes the numbers."""
    found, path = catalog.specification("profiles", name, Profile), own()[name].path
    if found.name not in ("", name):
        raise NameUnknown(f"{path}: its SPEC is named {found.name!r}, and the file {name!r}. Leave the name out.")
    if found.primary not in found.metrics:
        raise NameUnknown(f"{path}: its primary {found.primary!r} is none of its metrics: {', '.join(found.metrics)}.")
    measured = [key for key, metric in found.metrics.items() if metric.measure is not None]
    if measured:
        raise NameUnknown(f"{path}: {measured[0]} has a measure. A metric of your own is computed from counts.")
    metrics = {key: _guarded(metric, f"{key} of {name}", path) for key, metric in found.metrics.items()}
    version = "-".join(filter(None, [found.library, catalog.code_hash("profiles", name)[:8]]))
    told = {"source": found.source or str(path.name), "users": found.users or "Whoever has this file."}
    return replace(found, name=name, library=version, metrics=metrics, **told)


def _guarded(metric: Metric, what: str, path: Path) -> Metric:
    """A metric whose functions are ours, or guarded; the rules of ours stay what they are."""
    if isinstance(metric.compute, Rule | ByClasses):
        return metric
    parts = None if metric.parts is None else Guarded(metric.parts, what, path)
    return replace(metric, compute=Guarded(metric.compute, what, path), parts=parts)


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
