"""The contract of a metric profile: what every metric of it must give on counts that are made up here; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bench.checks import Check
from bench.rules import Counts, Metric, Profile, Values, mean

CLASSES = (2, 3, 6, 10)
IMAGES = 5


def drawn(classes: int, seed: int = 0) -> Counts:
    """Confusion matrices of images in which some classes are missing, int64 (IMAGES, classes, classes)."""
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 60, (IMAGES, classes, classes)) + 200 * np.eye(classes, dtype=np.int64)
    shown = random.random((IMAGES, classes)) < 0.7
    shown[:, 0], shown[0] = True, True  # the background everywhere, and every class somewhere
    return pixels * shown[:, :, None]


def perfect(counts: Counts) -> Counts:
    """The counts of a prediction without an error, on the same images."""
    return counts.sum(axis=-1)[..., None] * np.eye(counts.shape[-1], dtype=counts.dtype)


def filled(profile: Profile) -> Iterator[str]:
    """Fields that tell a reader nothing."""
    yield from (f"`{name}` is empty" for name in ("name", "title", "source", "users") if not getattr(profile, name))
    if profile.primary not in profile.metrics:
        yield f"the primary {profile.primary!r} is none of {', '.join(profile.metrics)}"
    for key, metric in profile.metrics.items():
        if not metric.title:
            yield f"{key} has no title"
        if not metric.definition.endswith("."):
            yield f"the definition of {key} is no sentence: {metric.definition!r}"


def best(metric: Metric, counts: Counts) -> Iterator[str]:
    """Where a prediction without an error is not the best one, or has no value."""
    right, made = float(metric.compute(perfect(counts))), float(metric.compute(counts))
    if metric.better is None:
        return
    if np.isnan(right):
        yield "a prediction without an error has no value"
    worse = made > right if metric.better == "higher" else made < right
    if worse:
        yield f"a prediction without an error scores {right:.4g}, one with errors {made:.4g}"


def defined(metric: Metric, counts: Counts) -> Iterator[str]:
    """Values that are no numbers of any use, and numbers where there was nothing to count."""
    value = np.asarray(metric.compute(counts))
    if value.shape != () or np.isinf(value):
        yield f"it gives {value!r}, not one finite number or NaN"
    for nothing in (counts * 0, counts[:0]):
        found = np.asarray(metric.compute(nothing))
        if not np.isnan(found).all():
            yield f"it gives {found} where there are no pixels ({len(nothing)} images), not NaN"


def order(metric: Metric, counts: Counts) -> Iterator[str]:
    """What depends on the order of the images."""
    one, other = metric.compute(counts), metric.compute(counts[::-1])
    if not np.allclose(one, other, equal_nan=True):
        yield f"it gives {one} for images in one order, {other} in another"


def axes(metric: Metric, counts: Counts) -> Iterator[str]:
    """What does not treat the axes before the images as independent."""
    stacked = np.stack([counts, perfect(counts), counts * 0])
    alone = np.array([metric.compute(one) for one in stacked])
    together = np.asarray(metric.compute(stacked))
    if alone.shape != together.shape:
        yield f"counts {stacked.shape} give values {together.shape}, not {alone.shape}"
    elif not np.allclose(alone, together, equal_nan=True):
        yield f"counts {stacked.shape} give {together}, but each alone {alone}"


def summed(metric: Metric, counts: Counts) -> Iterator[str]:
    """A metric that says that only the sum over the images matters, where more does."""
    whole, each = metric.compute(counts.sum(axis=0, keepdims=True)), metric.compute(counts)
    if metric.summed and not np.allclose(whole, each, equal_nan=True):
        yield f"it is said to need the sum over images alone, but gives {each} with them apart and {whole} summed"


def pooled(metric: Metric, counts: Counts) -> Iterator[str]:
    """Numbers of single images that do not become the metric as it says."""
    if metric.parts is None:
        return
    parts: Values = metric.parts(counts)
    if parts.ndim != 2 or len(parts) != len(counts):
        yield f"`parts` gives {parts.shape} for {len(counts)} images, not (images, K)"
        return
    found = mean(parts.ravel()) if metric.pooling == "pool" else mean(mean(parts.T), strict=metric.pooling == "strict")
    if not np.allclose(found, metric.compute(counts), equal_nan=True):
        yield f"the mean of its `parts` is {found}, the metric {metric.compute(counts)}"


def _each(find: Callable[[Metric, Counts], Iterator[str]], profile: Profile) -> Iterator[str]:
    """The first thing that is wrong with each metric, whatever the number of classes."""
    for key, metric in profile.metrics.items():
        if metric.measure is not None:
            continue
        for classes in CLASSES:
            wrong = next(find(metric, drawn(classes, seed=classes)), None)
            if wrong is not None:
                yield f"{key}, {classes} classes: {wrong}"
                break


CHECKS: tuple[Check[Profile], ...] = (
    Check(
        title="the specification is filled",
        find=filled,
        mend="Say in SPEC what the profile is, where it is defined, and what each metric means.",
    ),
    Check(
        title="a prediction without an error scores best",
        find=partial(_each, best),
        mend="Check what is divided by what; a metric of which less is better says better='lower'.",
    ),
    Check(
        title="every value is a number, or undefined (NaN)",
        find=partial(_each, defined),
        mend="Use bench.rules.divide and bench.rules.mean, which leave out what is undefined.",
    ),
    Check(
        title="the order of the images changes nothing",
        find=partial(_each, order),
        mend="Sum, or take the mean, over axis -3.",
    ),
    Check(
        title="axes before the images are independent",
        find=partial(_each, axes),
        mend="Count axes from the end: -3 the images, -2 the true class, -1 the predicted one.",
    ),
    Check(
        title="`summed` says the truth",
        find=partial(_each, summed),
        mend="Set summed=False where each image counts by itself.",
    ),
    Check(
        title="`parts` become the metric",
        find=partial(_each, pooled),
        mend="`parts` gives a number per image and column, (images, K); leave it out if there is none.",
    ),
)
