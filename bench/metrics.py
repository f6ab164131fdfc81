"""Confusion matrices to numbers: named definitions over stored counts; numpy only.

Counts are integers of shape (images, C, C), true class by predicted class, class 0 the background. Undefined is NaN
here and None wherever a number leaves for a file or a page (`scores`).

In the names: `d` sums the counts over the data set first, `i` scores each image and takes the mean, `fg` leaves the
background out. A name in brackets after a slash is a class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.catalog import unknown

Counts = NDArray[np.integer]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One definition.

    Attributes:
        title: How the column is headed.
        definition: The sentence a reader needs to reproduce the number.
        compute: Counts (..., images, C, C) to values (...), NaN where undefined; leading axes are independent.
        summed: True when only the sum of the counts over the images matters.
        parts: Where it is a mean of means, the numbers (images, K) of each image, NaN where undefined: their mean over
            images, then over K, is the metric. With it resampling is a product of matrices.
    """

    title: str
    definition: str
    compute: Callable[[Counts], Values]
    summed: bool = True
    parts: Callable[[Counts], Values] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A family of definitions that are published together."""

    title: str
    primary: str
    metrics: dict[str, Metric]


def iou(counts: Counts) -> Values:
    """Intersection over union per class.

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where a class is neither in the truth nor predicted.
    Source: Jaccard 1912; NaN rule as mmseg IoUMetric.
    """
    hit, true, predicted = _margins(counts)
    return _divide(hit, true + predicted - hit)


def dice(counts: Counts) -> Values:
    """Dice overlap per class.

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where a class is neither in the truth nor predicted.
    Source: Dice 1945, doi:10.2307/1932409.
    """
    hit, true, predicted = _margins(counts)
    return _divide(2 * hit, true + predicted)


def _dataset_mean(overlap: Callable[[Counts], Values]) -> Callable[[Counts], Values]:
    """Mean over foreground classes that occur in the truth, from counts summed over the images."""

    def compute(counts: Counts) -> Values:
        total = counts.sum(axis=-3)
        present = total.sum(axis=-1)[..., 1:] > 0
        return _mean(np.where(present, overlap(total)[..., 1:], np.nan))

    return compute


def _image_mean(overlap: Callable[[Counts], Values]) -> Callable[[Counts], Values]:
    """Per image and class, mean over images per class, then mean over foreground classes."""

    def compute(counts: Counts) -> Values:
        return _mean(_mean(overlap(counts)[..., 1:], axis=-2))

    return compute


def _image_parts(overlap: Callable[[Counts], Values]) -> Callable[[Counts], Values]:
    """What `_image_mean` is the mean of: one number per image and foreground class."""
    return lambda counts: overlap(counts)[..., 1:]


def pixel_accuracy(counts: Counts) -> Values:
    """Share of all pixels whose class is right, summed over the images; NaN without pixels."""
    total = counts.sum(axis=-3)
    return _divide(np.trace(total, axis1=-2, axis2=-1), total.sum(axis=(-2, -1)))


def background_share(counts: Counts) -> Values:
    """Pixel accuracy that a predictor of background everywhere would reach on the same images."""
    total = counts.sum(axis=-3)
    return _divide(total[..., 0, :].sum(axis=-1), total.sum(axis=(-2, -1)))


def _binary_mean(overlap: Callable[[Counts], Values], index: int | None) -> Callable[[Counts], Values]:
    """Foreground (1), background (0) or their mean (None) of merged classes; mean over images."""
    parts = _binary_parts(overlap, index)
    return lambda counts: _mean(parts(counts)[..., 0])


def _binary_parts(overlap: Callable[[Counts], Values], index: int | None) -> Callable[[Counts], Values]:
    """What `_binary_mean` is the mean of: one number per image."""

    def parts(counts: Counts) -> Values:
        per_image = overlap(binary(counts))
        return (per_image[..., index] if index is not None else _mean(per_image))[..., None]

    return parts


def binary(counts: Counts) -> Counts:
    """Merge all foreground classes into one: (..., C, C) to (..., 2, 2)."""
    foreground = np.arange(counts.shape[-1]) > 0
    rows = np.stack([counts[..., ~foreground, :].sum(axis=-2), counts[..., foreground, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., ~foreground].sum(axis=-1), rows[..., foreground].sum(axis=-1)], axis=-1)


def _image_accuracy(counts: Counts) -> Values:
    return _mean(_accuracy_parts(counts)[..., 0])


def _accuracy_parts(counts: Counts) -> Values:
    merged = binary(counts)
    return _divide(np.trace(merged, axis1=-2, axis2=-1), merged.sum(axis=(-2, -1)))[..., None]


DEFAULT = Profile(
    title="Data-set level, foreground only",
    primary="mdice_d_fg",
    metrics={
        "mdice_d_fg": Metric(
            title="mDice (data set, foreground)",
            definition="Pixels summed over all test images; Dice per class; mean over the foreground classes that "
            "occur in the truth.",
            compute=_dataset_mean(dice),
        ),
        "miou_d_fg": Metric(
            title="mIoU (data set, foreground)",
            definition="Pixels summed over all test images; IoU per class; mean over the foreground classes that "
            "occur in the truth.",
            compute=_dataset_mean(iou),
        ),
        "mdice_i_fg": Metric(
            title="mDice (per image, foreground)",
            definition="Dice per image and class, where the class is in the truth or predicted (0 where only "
            "predicted); mean over images per class, then over foreground classes. nnU-Net's rule.",
            compute=_image_mean(dice),
            summed=False,
            parts=_image_parts(dice),
        ),
        "miou_i_fg": Metric(
            title="mIoU (per image, foreground)",
            definition="IoU per image and class, where the class is in the truth or predicted (0 where only "
            "predicted); mean over images per class, then over foreground classes.",
            compute=_image_mean(iou),
            summed=False,
            parts=_image_parts(iou),
        ),
        "pixel_acc": Metric(
            title="pixel accuracy (aAcc)",
            definition="Share of all test pixels with the right class, background included: read it against "
            "background_share.",
            compute=pixel_accuracy,
        ),
        "background_share": Metric(
            title="background share",
            definition="What pixel_acc would be if every pixel were called background.",
            compute=background_share,
        ),
    },
)

IMAGE_BINARY = Profile(
    title="Cells against background, per image",
    primary="dice_fg",
    metrics={
        "dice_fg": Metric(
            title="Dice (foreground, per image)",
            definition="All foreground classes as one; Dice of the foreground per image; mean over images.",
            compute=_binary_mean(dice, 1),
            summed=False,
            parts=_binary_parts(dice, 1),
        ),
        "iou_fg": Metric(
            title="IoU (foreground, per image)",
            definition="All foreground classes as one; IoU of the foreground per image; mean over images.",
            compute=_binary_mean(iou, 1),
            summed=False,
            parts=_binary_parts(iou, 1),
        ),
        "dice_mean": Metric(
            title="Dice (mean of foreground and background, per image)",
            definition="All foreground classes as one; mean of the Dice of foreground and background per image; mean "
            "over images.",
            compute=_binary_mean(dice, None),
            summed=False,
            parts=_binary_parts(dice, None),
        ),
        "pixel_acc": Metric(
            title="pixel accuracy (per image)",
            definition="All foreground classes as one; share of right pixels per image; mean over images.",
            compute=_image_accuracy,
            summed=False,
            parts=_accuracy_parts,
        ),
    },
)

PROFILES: dict[str, Profile] = {"default": DEFAULT, "image_binary": IMAGE_BINARY}


def profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        NameUnknown: If there is none.
    """
    if name not in PROFILES:
        raise unknown("metric profile", name, PROFILES, "bench list metrics")
    return PROFILES[name]


def scores(counts: Counts, classes: Sequence[str], definition: Profile = DEFAULT) -> dict[str, float | None]:
    """Every number of a profile, and under `default` IoU and Dice per class.

    Args:
        counts: Integers (images, C, C), true by predicted [pixels].
        classes: The C names, background first.
    Returns:
        Name to value; None where undefined (a class that neither occurs nor is predicted; no pixels at all).
    """
    values = {name: float(metric.compute(counts)) for name, metric in definition.metrics.items()}
    if definition is DEFAULT:
        total = counts.sum(axis=0)
        for prefix, overlap in (("iou_d", iou), ("dice_d", dice)):
            values |= {f"{prefix}/{name}": float(value) for name, value in zip(classes, overlap(total), strict=True)}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _margins(counts: Counts) -> tuple[Values, Values, Values]:
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    return hit, counts.sum(axis=-1, dtype=np.float64), counts.sum(axis=-2, dtype=np.float64)


def _divide(numerator: NDArray, denominator: NDArray) -> Values:
    result = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)


def _mean(values: Values, axis: int = -1) -> Values:
    """The mean of what is defined; NaN where nothing is (numpy's nanmean warns there)."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis))
