"""What confusion matrices cannot tell: numbers per image, taken at evaluation and stored beside the counts; numpy only.

A measure sees one image at native size: the truth, the predicted class map and the probabilities. Its values are
stored as they come, one row per image, and summed up later by the profiles that use them. Undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rules import Values, divide, mean
from bench.specs import IGNORE

Compute = Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]], "float | NDArray"]
BATCH = 4  # of seeds 0 and 1 [images]
LOGIT = 1 / (1 + np.exp(-0.5))
"""The probability at a logit of 0.5, the threshold of seed 1: 0.622."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number, or one row of numbers, per image.

    Attributes:
        title: How the column is headed.
        definition: The sentence a reader needs to reproduce it on one image.
        summary: The sentence on how images are summed up.
        compute: truth uint8 (H, W) with IGNORE, predicted uint8 (H, W), probabilities float32 (C, H, W) that sum to 1
            over C, to a number or numbers (K,).
        reduce: Stored values float64 (..., images) or (..., images, K) to (...); leading axes are independent.
        constant: True pixels float64 (images, C) and a class to the stored values of a predictor that calls every
            pixel that class; None where the true pixels do not tell.
    """

    title: str
    definition: str
    summary: str = "Mean over images; where it is undefined it is left out."
    compute: Compute
    reduce: Callable[[NDArray], Values] = mean
    constant: Callable[[Values, int], Values] | None = None


def measured(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    names: Iterable[str] | None = None,
) -> dict[str, Values]:
    """Every measure of one image: float64 () or (K,) by name; all of the registry unless `names` says which."""
    return {
        name: np.asarray(MEASURES[name].compute(truth, predicted, probabilities), np.float64)
        for name in (MEASURES if names is None else names)
    }


def stacked(images: Iterable[Mapping[str, Values]]) -> dict[str, Values]:
    """The measures of all images, float64 (images,) or (images, K) by name; empty without images."""
    rows = list(images)
    return {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def one_hot(predicted: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Certainty: the probabilities float32 (C, H, W) of a predictor that has none, 1 at its class and 0 elsewhere."""
    return (np.arange(classes, dtype=np.uint8)[:, None, None] == predicted).astype(np.float32)


def keras_dice(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> float:
    """Soft Dice of the foreground, with 1 added above and below."""
    hit, true, found = _soft(truth, probabilities)
    return (2 * hit + 1) / (true + found + 1)


def keras_iou(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> float:
    """Soft IoU of the foreground, unsmoothed; NaN where neither the truth nor any probability is above 0."""
    hit, true, found = _soft(truth, probabilities)
    union = true + found - hit
    return hit / union if union > 0 else float("nan")


def keras_dice_multiclass(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> float:
    """Soft Dice of all classes pooled: nearly the mean probability of the true class."""
    hit = sum(float(one[truth == label].sum(dtype=np.float64)) for label, one in enumerate(probabilities))
    valid = truth != IGNORE
    kept = probabilities if valid.all() else probabilities[:, valid]
    return (2 * hit + 1) / (int(valid.sum()) + float(kept.sum(dtype=np.float64)) + 1)


def seed0_hard(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> NDArray:
    """Pixels of cells against background at 512 x 512, the truth above 74 of 255 and widened by a pixel: (4,)."""
    square = [(extra // 2, extra - extra // 2) for extra in (max(truth.shape) - edge for edge in truth.shape)]
    grey, cells, valid = _shrunk(np.pad(truth, square), np.pad(1 - probabilities[0], square), 512)
    framed = np.pad(grey > 74, 1)
    rows = framed[:-2] | framed[1:-1] | framed[2:]
    return _four(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:], cells > 0.5, valid)


def seed1_hard(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> NDArray:
    """Pixels of cells against background at 256 x 256, where a bicubic truth counts as soon as it is not 0: (4,)."""
    grey, cells, valid = _shrunk(truth, 1 - probabilities[0], 256)
    return _four(grey > 0, cells > LOGIT, valid)


def seed3_hard(truth: NDArray, predicted: NDArray, probabilities: NDArray) -> NDArray:
    """Pixels in which every foreground class is on the right side of 0.5, and all pixels: (2,)."""
    sure = probabilities[1:].max(axis=0, initial=0.0) > 0.5  # of the class that is predicted: only one can be
    right = np.where(sure, predicted == truth, (truth == 0) | (truth == IGNORE))
    return np.array([np.count_nonzero(right), truth.size], np.float64)


def pooled_iou(pixels: NDArray) -> Values:
    """IoU of every four images together, in their order, then the mean: (..., images, 4) to (...)."""
    images = pixels.shape[-2]
    padding = [(0, 0)] * (pixels.ndim - 2) + [(0, -images % BATCH), (0, 0)]
    whole = np.pad(pixels.astype(np.float64), padding)
    batches = whole.reshape(*pixels.shape[:-2], -(-images // BATCH), BATCH, 4).sum(axis=-2)
    return mean(divide(batches[..., 3], batches[..., 1:].sum(axis=-1)))


def pooled_share(pixels: NDArray) -> Values:
    """The first number of all images over the second: (..., images, 2) to (...)."""
    total = pixels.sum(axis=-2, dtype=np.float64)
    return divide(total[..., 0], total[..., 1])


def _soft(truth: NDArray, probabilities: NDArray) -> tuple[float, float, float]:
    """Of the foreground as one class: the probability on true pixels, the true pixels, the probability on all."""
    valid, cells, found = truth != IGNORE, _cells(truth), 1 - probabilities[0]
    hit = found.sum(where=cells, dtype=np.float64)
    return float(hit), float(cells.sum()), float(found.sum(where=valid, dtype=np.float64))


def _shrunk(truth: NDArray, cells: NDArray, edge: int) -> tuple[NDArray, NDArray, NDArray]:
    """At edge x edge: the cells of the truth in grey uint8, their probability float32, and where a pixel counts."""
    from PIL import Image

    def small(image: NDArray, how: Image.Resampling) -> NDArray:
        return np.asarray(Image.fromarray(image).resize((edge, edge), how))

    grey = small(_cells(truth).astype(np.uint8) * 255, Image.Resampling.BICUBIC)
    valid = small((truth != IGNORE).astype(np.uint8), Image.Resampling.NEAREST) > 0
    return grey, small(cells, Image.Resampling.BILINEAR), valid


def _cells(truth: NDArray) -> NDArray[np.bool_]:
    return (truth != 0) & (truth != IGNORE)


def _four(truth: NDArray, predicted: NDArray, valid: NDArray) -> NDArray:
    """Pixels of neither, predicted only, true only, and both, float64 (4,)."""
    both, true, found = (np.count_nonzero(part & valid) for part in (truth & predicted, truth, predicted))
    return np.array([np.count_nonzero(valid) - true - found + both, found - both, true - both, both], np.float64)


def _constant_dice(true: Values, label: int) -> Values:
    cells, total = true[:, 1:].sum(axis=1), true.sum(axis=1)
    return 1 / (cells + 1) if label == 0 else (2 * cells + 1) / (cells + total + 1)


def _constant_iou(true: Values, label: int) -> Values:
    cells, total = true[:, 1:].sum(axis=1), true.sum(axis=1)
    return divide(cells * (label > 0), total if label else cells)


MEASURES: dict[str, Measure] = {
    "keras_dice": Measure(
        title="soft Dice (foreground, from probabilities)",
        definition="(2 S + 1) / (T + P + 1) per image, foreground as one class: S the probability on true pixels, T "
        "the true pixels, P the probability on all pixels.",
        compute=keras_dice,
        constant=_constant_dice,
    ),
    "keras_iou": Measure(
        title="soft IoU (foreground, from probabilities)",
        definition="S / (T + P - S) per image, foreground as one class: S the probability on true pixels, T the true "
        "pixels, P the probability on all pixels; undefined where the last sum is 0.",
        compute=keras_iou,
        constant=_constant_iou,
    ),
    "keras_dice_multiclass": Measure(
        title="soft pixel accuracy (dice_coef_multiclass)",
        definition="(2 S + 1) / (T + P + 1) per image over all pixels and classes, background included. T and P are "
        "both the number of pixels, so it is nearly the mean probability of the true class.",
        compute=keras_dice_multiclass,
        constant=lambda true, label: (2 * true[:, label] + 1) / (2 * true.sum(axis=1) + 1),
    ),
    "seed0_hard": Measure(
        title="foreground IoU (widened truth at 512 px, batches of 4)",
        definition="Foreground as one class, padded to a square and brought to 512 x 512, predicted where its "
        "probability is above 0.5; the truth counts where its bicubic grey value is above 74 of 255, and one pixel "
        "around it.",
        summary="IoU of every four images together, in the order of their names; mean over these.",
        compute=seed0_hard,
        reduce=pooled_iou,
    ),
    "seed1_hard": Measure(
        title="foreground IoU (widened truth at 256 px, batches of 4)",
        definition="Foreground as one class at 256 x 256, predicted where its logit is above 0.5 (probability 0.622); "
        "the truth is shrunk with bicubic weights and counts wherever it is not exactly 0.",
        summary="IoU of every four images together, in the order of their names; mean over these.",
        compute=seed1_hard,
        reduce=pooled_iou,
    ),
    "seed3_hard": Measure(
        title="pixel accuracy (every class on the right side of 0.5)",
        definition="A pixel is right when every foreground class is above 0.5 exactly where it is true: background, "
        "and pixels without a label, are right as soon as no class is sure.",
        summary="All pixels of all images.",
        compute=seed3_hard,
        reduce=pooled_share,
        constant=lambda true, label: np.stack([true[:, label], true.sum(axis=1)], axis=1),
    ),
}
"""By the name they are stored under; a measure that needs no probabilities ignores them."""
