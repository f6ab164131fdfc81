"""How far apart the outlines of two class maps are: surface Dice, HD95, mean distance, boundary IoU; numpy and SciPy.

The outline of a class are its pixels that have one of their four neighbours outside the class. The frame of the picture
counts as outside, as in MONAI, surface-distance and boundary IoU. An ignored pixel belongs to no class and ends none:
where a class meets it nobody knows the outline, so that there is none. Pixels are square.

Libraries disagree about a class that a map lacks. The functions on one class give 1, or 0 pixels, where both maps lack
it, and 0, or infinitely many, where one does; the table `MEASURES` leaves out a class that neither map has, as Dice
does here: a rare class would else score by its absence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.specs import IGNORE

TOLERANCE = 2.0  # how far outlines may be apart to agree [pixels]
TOLERANCE_UM = 0.5  # likewise [micrometres]
DILATION = 0.02  # width of the band of boundary IoU, of the diagonal of the picture; Cheng 2021

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]
Compute = Callable[[np.ndarray, np.ndarray, float | None, int], Values]
"""(truth uint8 (H, W), predicted uint8 (H, W), pixel size [micrometres] or None, classes C) to values (C,)."""


class Measure(NamedTuple):
    """One definition on a pair of class maps, which no confusion matrix can tell.

    Attributes:
        title: How the column is headed, with its unit.
        definition: The sentence a reader needs to reproduce the number.
        undefined: When the value is NaN, and when infinite.
        compute: Truth, predicted, pixel size and classes to a value per class.
        better: Which values are better; None where a value is a description.
    """

    title: str
    definition: str
    undefined: str
    compute: Compute
    better: Literal["higher", "lower"] | None = "higher"


class Distances(NamedTuple):
    """What separates the outlines of one class in two maps.

    Attributes:
        forth: From every outline pixel of the truth to the nearest one of the prediction, float64 (n,) [pixels].
        back: From every outline pixel of the prediction to the nearest one of the truth, float64 (m,) [pixels].
        true: Whether the truth has the class at all; `predicted` likewise.
    """

    forth: Values
    back: Values
    true: bool
    predicted: bool


def distances(true: Mask, predicted: Mask, ignored: Mask) -> Distances:
    """Distances between the outlines of one class, by one Euclidean distance transform for each map.

    Args:
        true: Where the class is, bool (H, W); False where ignored.
        predicted: Where it was found, likewise.
        ignored: Pixels that do not count, bool (H, W).
    """
    occurs = bool(true.any()), bool(predicted.any())
    if not all(occurs):
        return Distances(np.empty(0), np.empty(0), *occurs)
    window = _window(true | predicted, 1)  # all outlines lie in it, so that the distances are those of the whole
    one, other = (_outline(mask[window], ignored[window]) for mask in (true, predicted))
    if not (one.any() and other.any()):
        return Distances(np.empty(0), np.empty(0), *occurs)
    from scipy import ndimage

    forth, back = (ndimage.distance_transform_edt(~far)[near] for near, far in ((one, other), (other, one)))
    return Distances(forth, back, *occurs)


def surface_dice(found: Distances, tolerance: float) -> float:
    """Normalised surface Dice: the share of outline pixels, of both maps, within `tolerance` [pixels] of the other one.

    Returns:
        In [0, 1]; 1 where neither map has the class, 0 where one has, NaN where one has it without a visible outline.
    Source: Nikolov 2021, doi:10.2196/26151, counted in pixels as MONAI does.
    """
    case = _special(found, 1.0, 0.0)
    if case is not None:
        return case
    within = sum(np.count_nonzero(side <= tolerance * (1 + 1e-9)) for side in (found.forth, found.back))
    return within / (found.forth.size + found.back.size)


def hd95(found: Distances) -> float:
    """The larger of the two directed 95th percentiles (linear between ranks) of outline distances [pixels].

    Returns:
        0 where neither map has the class, infinity where one has, NaN where one has it without a visible outline.
    Source: Huttenlocher 1993, doi:10.1109/34.232073; percentile per direction, then the larger, as MONAI.
    """
    case = _special(found, 0.0, math.inf)
    return case if case is not None else float(max(np.percentile(side, 95) for side in (found.forth, found.back)))


def assd(found: Distances) -> float:
    """Average symmetric surface distance: the mean over the outline pixels of both maps [pixels].

    Returns:
        0 where neither map has the class, infinity where one has, NaN where one has it without a visible outline.
    Source: Heimann 2009, doi:10.1109/TMI.2009.2013851.
    """
    case = _special(found, 0.0, math.inf)
    return case if case is not None else float(np.concatenate([found.forth, found.back]).mean())


def boundary_iou(true: Mask, predicted: Mask, ignored: Mask, ratio: float = DILATION) -> float:
    """IoU of the inner bands of a class: its pixels within a distance of its outline, by steps in eight directions.

    Args:
        true: Where the class is, bool (H, W); False where ignored. `predicted` and `ignored` likewise.
        ratio: Width of the band as a share of the diagonal of the picture, rounded, at least one pixel.
    Returns:
        In [0, 1]; 1 where neither map has the class, 0 where one has, NaN where one has it without a visible outline.
    Source: Cheng 2021, doi:10.1109/CVPR46437.2021.01508.
    """
    if not (true.any() and predicted.any()):
        return float(true.any() == predicted.any())
    width = max(1, round(ratio * math.hypot(*true.shape)))
    window = _window(true | predicted, width)  # as far as the band looks
    one, other = (_band(mask[window], ignored[window], width) for mask in (true, predicted))
    if not (one.any() and other.any()):
        return math.nan
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def to_pixels(micrometres: float, pixel_size_um: float) -> float:
    """A length in pixels [pixels], from micrometres and the edge of a pixel [micrometres]."""
    return micrometres / pixel_size_um


def measure(truth: np.ndarray, predicted: np.ndarray, pixel_size_um: float | None, classes: int) -> dict[str, Values]:
    """Every boundary measure of a picture in one pass.

    Args:
        truth: uint8 (H, W), IGNORE where a pixel does not count.
        predicted: uint8 (H, W).
        pixel_size_um: Edge of a pixel [micrometres]; None when unknown.
        classes: How many there are, C; class 0 is the background.
    Returns:
        By the names of `MEASURES`, float64 (C,); NaN for the background and where undefined.
    """
    values = {name: np.full(classes, np.nan) for name in MEASURES}
    ignored = truth == IGNORE
    for label in range(1, classes):
        true, guess = truth == label, (predicted == label) & ~ignored
        if true.any() or guess.any():
            for name, value in _class(true, guess, ignored, pixel_size_um).items():
                values[name][label] = value
    return values


def _class(true: Mask, predicted: Mask, ignored: Mask, pixel_size_um: float | None) -> dict[str, float]:
    found, size = distances(true, predicted, ignored), math.nan if pixel_size_um is None else pixel_size_um
    far, mean = hd95(found), assd(found)
    return {
        "nsd_2px": surface_dice(found, TOLERANCE),
        "nsd_500nm": math.nan if math.isnan(size) else surface_dice(found, to_pixels(TOLERANCE_UM, size)),
        "hd95_px": far,
        "hd95_um": far * size,
        "assd_px": mean,
        "assd_um": mean * size,
        "boundary_iou": boundary_iou(true, predicted, ignored),
    }


def _special(found: Distances, neither: float, one: float) -> float | None:
    """The value where there are no distances to look at; None where there are."""
    if not (found.true and found.predicted):
        return neither if found.true == found.predicted else one
    return None if found.forth.size else math.nan


def _outline(mask: Mask, ignored: Mask) -> Mask:
    solid = np.pad(mask | ignored, 1)  # False beyond the frame
    inside = solid[:-2, 1:-1] & solid[2:, 1:-1] & solid[1:-1, :-2] & solid[1:-1, 2:]
    return mask & ~inside


def _band(mask: Mask, ignored: Mask, width: int) -> Mask:
    """The pixels of a class that have something else, or the frame, within so many steps in eight directions."""
    from scipy import ndimage

    solid = (mask | ignored).view(np.uint8)
    for axis in (0, 1):
        solid = ndimage.minimum_filter1d(solid, 2 * width + 1, axis=axis, mode="constant", cval=0)
    return mask & (solid == 0)


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The bounding box of a mask that is not empty, widened by a margin within the picture."""
    edges = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    rows, columns = (slice(max(0, int(low) - margin), int(high) + margin + 1) for low, high in edges)
    return rows, columns


def _only(name: str, truth: np.ndarray, predicted: np.ndarray, pixel_size_um: float | None, classes: int) -> Values:
    return measure(truth, predicted, pixel_size_um, classes)[name]


_NOWHERE = "NaN for the background, for a class that is in neither map, and for one without a visible outline"
_SCALE = "; NaN where the data set does not say how large a pixel is"

MEASURES: dict[str, Measure] = {
    name: Measure(title, definition, undefined, partial(_only, name), better)
    for name, title, definition, undefined, better in (
        (
            "nsd_2px",
            "surface Dice at 2 px",
            "Share of the outline pixels of truth and prediction that lie within 2 pixels of the other outline.",
            f"{_NOWHERE}; 0 where only one map has the class.",
            "higher",
        ),
        (
            "nsd_500nm",
            "surface Dice at 0.5 µm",
            "Share of the outline pixels of truth and prediction that lie within 0.5 micrometres of the other outline.",
            f"{_NOWHERE}{_SCALE}; 0 where only one map has the class.",
            "higher",
        ),
        (
            "hd95_px",
            "HD95 [px]",
            "95th percentile of the distances from each outline to the other; the larger of the two directions.",
            f"{_NOWHERE}; infinite where only one map has the class.",
            "lower",
        ),
        (
            "hd95_um",
            "HD95 [µm]",
            "HD95 in pixels times the edge of a pixel.",
            f"{_NOWHERE}{_SCALE}; infinite where only one map has the class.",
            "lower",
        ),
        (
            "assd_px",
            "mean surface distance [px]",
            "Mean distance of the outline pixels of both maps to the other outline (ASSD).",
            f"{_NOWHERE}; infinite where only one map has the class.",
            "lower",
        ),
        (
            "assd_um",
            "mean surface distance [µm]",
            "Mean surface distance in pixels times the edge of a pixel.",
            f"{_NOWHERE}{_SCALE}; infinite where only one map has the class.",
            "lower",
        ),
        (
            "boundary_iou",
            "boundary IoU",
            "IoU of the inner bands of a class, 2% of the diagonal of the picture wide.",
            f"{_NOWHERE}; 0 where only one map has the class.",
            "higher",
        ),
    )
}
