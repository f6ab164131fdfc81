"""Predictors that learn next to nothing: what a network must beat before its score means anything.

A baseline is fitted to the training images at native size and then labels an image by simple rules; numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bench.specs import IGNORE

Pair = tuple[np.ndarray, np.ndarray]
Predictor = Callable[[np.ndarray], np.ndarray]
"""Image uint8 (H, W, 3) to mask uint8 (H, W)."""


GRID = 128
"""Rows and columns of the grid that pictures of all sizes share in `mean_shape`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One rule.

    Attributes:
        fit: `fit(pairs, classes)` looks at the training pairs, one at a time, and gives the predictor.
        constant: True when it calls every pixel of every picture the same class: what a metric gives it, it gives for
            nothing.
    """

    title: str
    fit: Callable[[Iterable[Pair], int], Predictor]
    constant: bool = False


def fit_background(pairs: Iterable[Pair], classes: int) -> Predictor:
    """Background everywhere."""
    return lambda image: np.zeros(image.shape[:2], np.uint8)


def fit_majority(pairs: Iterable[Pair], classes: int) -> Predictor:
    """The class with the most training pixels, everywhere."""
    pixels = sum((_histogram(mask, mask, 1, classes) for _, mask in pairs), start=np.zeros((1, classes), np.int64))
    return lambda image: np.full(image.shape[:2], pixels[0].argmax(), np.uint8)


def fit_otsu(pairs: Iterable[Pair], classes: int) -> Predictor:
    """Dark and bright part of each image by its Otsu threshold; each part gets its majority training class.

    Two classes at most are ever called; more thresholds were no better on the smear, and `pixel_colour` is the rule for
    several classes.
    """
    table = sum(
        (_histogram(_dark(image), mask, 2, classes) for image, mask in pairs), start=np.zeros((2, classes), np.int64)
    )
    return lambda image: table.argmax(axis=1).astype(np.uint8)[_dark(image)]


def fit_colour(pairs: Iterable[Pair], classes: int) -> Predictor:
    """The majority training class of each colour, colours being 16 x 16 x 16 bins: all that colour alone can tell."""
    table = sum(
        (_histogram(_bins(image), mask, 4096, classes) for image, mask in pairs),
        start=np.zeros((4096, classes), np.int64),
    )
    return lambda image: table.argmax(axis=1).astype(np.uint8)[_bins(image)]


def fit_mean_shape(pairs: Iterable[Pair], classes: int) -> Predictor:
    """The most frequent training class of each position, relative to the size of the picture; blind to the picture.

    Every training picture has one vote in each square of a grid: the class in its middle, none where that is ignored.
    Where nobody votes is background; among equals the first class wins.
    """
    votes, square = np.zeros((classes, GRID * GRID), np.int32), np.arange(GRID * GRID)
    for _, mask in pairs:
        vote = _stretched(np.asarray(mask), (GRID, GRID)).ravel()
        valid = vote != IGNORE
        votes[vote[valid], square[valid]] += 1  # no square stands twice
    shape = votes.argmax(axis=0).astype(np.uint8).reshape(GRID, GRID)
    return lambda image: _stretched(shape, image.shape[:2])


BASELINES: dict[str, Baseline] = {
    "all_background": Baseline(title="Background everywhere", fit=fit_background, constant=True),
    "majority_class": Baseline(title="The most frequent class everywhere", fit=fit_majority, constant=True),
    "otsu": Baseline(title="Otsu's threshold, majority class on either side", fit=fit_otsu),
    "pixel_colour": Baseline(title="Majority class of each colour, pixel by pixel", fit=fit_colour),
    "mean_shape": Baseline(title="Majority class of each position, blind to the picture", fit=fit_mean_shape),
}


def grey(image: np.ndarray) -> np.ndarray:
    """8-bit grey, uint8 (H, W), exactly as Pillow's mode L."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.asarray(image)).convert("L"))


def _dark(image: np.ndarray) -> np.ndarray:
    """1 where the grey value is at or below Otsu's threshold, else 0; int64 (H, W)."""
    from skimage.filters import threshold_otsu

    values = grey(image)
    if values.min() == values.max():
        return np.zeros(values.shape, np.int64)
    return (values <= threshold_otsu(values)).astype(np.int64)


def _bins(image: np.ndarray) -> np.ndarray:
    red, green, blue = (np.asarray(image)[..., channel].astype(np.int64) >> 4 for channel in range(3))
    return red << 8 | green << 4 | blue


def _stretched(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A map of classes at another size, each pixel the one of `labels` that holds its middle."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def _histogram(bins: np.ndarray, mask: np.ndarray, count: int, classes: int) -> np.ndarray:
    """How often each class occurs in each bin, int64 (count, classes); ignored pixels are left out."""
    valid = np.asarray(mask) != IGNORE
    joint = (bins[valid] if count > 1 else 0) * classes + np.asarray(mask)[valid].astype(np.int64)
    return np.bincount(joint, minlength=count * classes).reshape(count, classes)
