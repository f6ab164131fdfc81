"""Objects in class maps: counts, AJI and panoptic quality on connected components, and two ways to count touching ones.

Masks here hold classes, not objects. An object is what hangs together: a component of pixels of one class, neighbours
in eight directions. Cells of one class that touch are one such component, in the truth as well, so that none of these
numbers compares with one that was computed from instance masks.

Ignored pixels belong to no object. A predicted object that lies more than half under them and matches nothing is left
out, since nobody knows what is there; the others lose what lies under them (Kirillov 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.boundary import Mask, Measure, Values
from bench.errors import DataError
from bench.specs import IGNORE

EIGHT = np.ones((3, 3), bool)
APART = 0.7
"""How far two centres of touching cells are apart at least, of the radius of a typical cell in the picture."""

SPECK = 0.2
"""Area of the smallest cell, of that of a disc with the typical radius: half of the smallest in Blood-Cell's masks."""

Labels = NDArray[np.int32]
"""0 for the background, 1 to n for the objects (H, W)."""


class Overlaps(NamedTuple):
    """Which objects of two maps lie on each other.

    Attributes:
        true: Areas of the objects of the truth, int64 (n,) [pixels].
        predicted: Areas of the predicted objects, int64 (m,) [pixels].
        pairs: Every pair that shares pixels, its position in either list, int64 (k, 2), in order.
        shared: What they share, int64 (k,) [pixels].
    """

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def iou(self) -> Values:
        """Intersection over union of each pair, float64 (k,)."""
        return self.shared / (self.true[self.pairs[:, 0]] + self.predicted[self.pairs[:, 1]] - self.shared)


class Quality(NamedTuple):
    """Panoptic quality and its two factors, in [0, 1]; NaN where undefined."""

    pq: float
    sq: float
    rq: float


def components(mask: Mask) -> Labels:
    """Number the connected components of a mask, bool (H, W), by their first pixels; neighbours in eight directions."""
    from scipy import ndimage

    return ndimage.label(mask, EIGHT)[0]


def numbered(true: Mask, predicted: Mask, ignored: Mask) -> tuple[Labels, Labels]:
    """The objects of one class in both maps that count, without their ignored pixels.

    Args:
        true: Where the class is, bool (H, W); False where ignored.
        predicted: Where it was found, bool (H, W), also where ignored: what hangs together there is one object.
        ignored: Pixels that do not count, bool (H, W).
    """
    ours, theirs = components(true), components(predicted)
    if not (ignored & predicted).any():
        return ours, theirs
    whole = np.bincount(theirs.ravel())
    kept = 2 * np.bincount(theirs[ignored], minlength=len(whole)) <= whole
    seen = np.where(ignored, 0, theirs)
    found = overlaps(ours, seen)
    kept[1 + found.pairs[found.iou > 0.5, 1]] = True
    kept[0] = False
    return ours, np.where(kept, np.cumsum(kept), 0).astype(np.int32)[seen]


def overlaps(true: Labels, predicted: Labels) -> Overlaps:
    """Compare two numberings of objects of the same picture, (H, W) each."""
    areas = [np.bincount(labels.ravel(), minlength=1)[1:] for labels in (true, predicted)]
    both = (true > 0) & (predicted > 0)
    keys, shared = np.unique((true[both] - 1).astype(np.int64) << 32 | (predicted[both] - 1), return_counts=True)
    return Overlaps(areas[0], areas[1], np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=-1), shared)


def panoptic(found: Overlaps) -> Quality:
    """Panoptic quality: objects match where their IoU is above one half, which no two can be with the same object.

    SQ is the mean IoU of the matches, RQ their share (the F1 score), PQ the product.

    Returns:
        NaN where neither map has an object; SQ is NaN, RQ and PQ 0 where nothing matches.
    Source: Kirillov 2019, doi:10.1109/CVPR.2019.00963.
    """
    iou = found.iou
    matched = iou[iou > 0.5]
    sides = found.true.size + found.predicted.size
    if not sides:
        return Quality(math.nan, math.nan, math.nan)
    if not matched.size:
        return Quality(0.0, math.nan, 0.0)
    quality, share = float(matched.mean()), 2 * matched.size / sides
    return Quality(quality * share, quality, share)


def aji(found: Overlaps) -> float:
    """Aggregated Jaccard index: every true object with the predicted one of the largest IoU (the first among equals).

    Intersections are summed, and divided by the sum of the unions and of the predicted objects that were never chosen.
    A predicted object may be chosen twice, and then counts twice.

    Returns:
        In [0, 1]; NaN where neither map has an object.
    Source: Kumar 2017, doi:10.1109/TMI.2017.2677499.
    """
    order = np.lexsort((found.pairs[:, 1], -found.iou, found.pairs[:, 0]))
    chosen = order[np.unique(found.pairs[order, 0], return_index=True)[1]]
    partners = found.pairs[chosen, 1]
    shared = int(found.shared[chosen].sum())
    unused = np.delete(found.predicted, partners)
    union = int(found.true.sum() + found.predicted[partners].sum() + unused.sum()) - shared
    return shared / union if union else math.nan


def watershed_split(objects: Labels) -> Labels:
    """Part components that look like several round cells: by a watershed from the centres of the largest discs in them.

    Centres are the maxima of the distance to the outside, `APART` times the typical radius apart in rows or columns.
    The typical radius is that of the largest disc in a component, its median over components weighted by area: no
    length has to be given, and specks do not count. Every component keeps a centre. Rods are cut into pieces.

    Args:
        objects: int32 (H, W), as `components` gives them.
    Source: Meyer 1994, doi:10.1016/0165-1684(94)90060-4 (the flooding).
    """
    from skimage.segmentation import watershed

    depth, markers = np.zeros(objects.shape), np.zeros(objects.shape, np.int32)
    for window, part, centres in _centred(objects):
        depth[window] += part
        markers[window][tuple(centres.T)] = 1
    markers[markers > 0] = np.arange(1, np.count_nonzero(markers) + 1)
    return watershed(-depth, markers, mask=objects > 0, connectivity=2)


def watershed_count(objects: Labels, least: float | None = 0) -> int:
    """How many pieces `watershed_split` would make of components of `least` pixels and more; None for `SPECK`."""
    found = [(depth.max(), np.count_nonzero(depth), len(centres)) for _, depth, centres in _centred(objects)]
    radii, areas, pieces = np.array(found).reshape(-1, 3).T
    if least is None and found:
        least = SPECK * math.pi * _weighted_median(radii, areas) ** 2
    return int(pieces[areas >= (least or 0)].sum())


def pixels_per_object(masks: Iterable[np.ndarray], classes: int) -> Values:
    """Mean area of the components of each class over the masks of a training split, which may be a stream.

    Args:
        masks: uint8 (H, W) each; ignored pixels belong to no object.
    Returns:
        float64 (C,) [pixels]; NaN for the background and for a class without objects.
    """
    pixels, counts = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for mask in masks:
        pixels += np.bincount(mask[mask != IGNORE], minlength=classes)[:classes]
        counts += [0, *(int(components(mask == label).max(initial=0)) for label in range(1, classes))]
    return np.divide(pixels, counts, out=np.full(classes, np.nan), where=counts > 0)


def count_by_pixels(predicted: np.ndarray, ignored: Mask, table: Values) -> Values:
    """Objects in a class map as its pixels over the mean area of an object: the table of abhanjac's project.

    Args:
        predicted: uint8 (H, W).
        ignored: Pixels that do not count, bool (H, W).
        table: Mean area of an object of each class, float64 (C,) [pixels], as `pixels_per_object` gives it.
    Returns:
        float64 (C,), not rounded; NaN where the table has no area.
    """
    pixels = np.bincount(predicted[~ignored], minlength=len(table))[: len(table)]
    return np.divide(pixels, table, out=np.full(len(table), np.nan), where=table > 0)


def annotated_counts(objects: Iterable[Mapping[str, Any]], classes: int) -> Values:
    """Objects of each class in the annotation of a sample, where a data set has one (`DatasetSpec.objects`).

    Args:
        objects: Mappings with `classIdx`, the value of the class in the mask; IGNORE is left out.
    Returns:
        float64 (C,), to be compared with any of the counts; NaN for the background.
    Raises:
        DataError: If an object is of no class.
    """
    counts = np.zeros(classes)
    for number, described in enumerate(objects):
        label = described.get("classIdx")
        if not isinstance(label, int) or not (0 < label < classes or label == IGNORE):
            raise DataError(f"Object {number} has classIdx {label!r}; it must be 1 to {classes - 1}, or {IGNORE}.")
        if label != IGNORE:
            counts[label] += 1
    counts[:1] = np.nan
    return counts


def merged(labels: np.ndarray) -> np.ndarray:
    """All foreground classes as class 1, uint8 (H, W); IGNORE stays. For measures of the foreground as a whole."""
    return np.where(labels == IGNORE, IGNORE, labels > 0).astype(np.uint8)


def measure(
    truth: np.ndarray, predicted: np.ndarray, pixel_size_um: float | None, classes: int, *, table: Values | None = None
) -> dict[str, Values]:
    """Every object measure of a picture in one pass.

    Args:
        truth: uint8 (H, W), IGNORE where a pixel does not count.
        predicted: uint8 (H, W).
        pixel_size_um: Not used; every measure has it.
        classes: How many there are, C; class 0 is the background.
        table: Mean area of an object, float64 (C,) [pixels], from the training split; None leaves out what needs it.
    Returns:
        By the names of `MEASURES` (and of `by_pixels`), float64 (C,); NaN for the background and where undefined.
    """
    ignored = truth == IGNORE
    columns = {name: np.full(classes, np.nan) for name in MEASURES}
    for label in range(1, classes):
        for name, value in _class(*numbered(truth == label, predicted == label, ignored)).items():
            columns[name][label] = value
    if table is not None:
        guessed = np.where(np.arange(classes) > 0, count_by_pixels(predicted, ignored, table), np.nan)
        columns["pixels_predicted"] = guessed
        columns["count_error_pixels"] = np.abs(guessed - columns["components_true"])
    return columns


def by_pixels(table: Values) -> dict[str, Measure]:
    """The measures that need to know how large objects are: counts by pixels, with their error.

    Args:
        table: Mean area of an object of each class, float64 (C,) [pixels], from the training split.
    """
    return {
        name: Measure(title, definition, undefined, partial(_only, name, table=table), better)
        for name, title, definition, undefined, better in _BY_PIXELS
    }


def _class(true: Labels, predicted: Labels) -> dict[str, float]:
    """The measures of one class."""
    found = overlaps(true, predicted)
    quality, counts = panoptic(found), (found.true.size, found.predicted.size)
    split = watershed_count(true), watershed_count(predicted)
    return {
        "components_true": counts[0],
        "components_predicted": counts[1],
        "count_error_components": abs(counts[1] - counts[0]),
        "aji_components": aji(found),
        "pq_components": quality.pq,
        "sq_components": quality.sq,
        "rq_components": quality.rq,
        "watershed_true": split[0],
        "watershed_predicted": split[1],
        "count_error_watershed": abs(split[1] - split[0]),
    }


def _centred(objects: Labels) -> Iterator[tuple[tuple[slice, ...], Values, NDArray[np.int64]]]:
    """For each object its bounding box, the distance to its outside there (h, w), and the centres in it, int64 (n, 2).

    Objects do not touch, so that the distance to the outside of all of them is that to the outside of one.
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max

    windows = ndimage.find_objects(objects)
    insides = [objects[window] == number for number, window in enumerate(windows, 1)]
    depths = [ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] for inside in insides]  # the frame ends it
    if not depths:
        return
    radii, areas = (np.array([way(part) for part in parts]) for way, parts in ((np.max, depths), (np.sum, insides)))
    apart = max(1, round(APART * _weighted_median(radii, areas)))
    for window, depth in zip(windows, depths, strict=True):
        if depth.max() <= 1 or max(depth.shape) <= apart:  # too thin, or too small, for two
            centres = np.argwhere(depth == depth.max())[:1]
        else:  # padded, or a rectangle of one depth would have no peak
            centres = peak_local_max(np.pad(depth, 1), min_distance=apart, threshold_abs=0, exclude_border=False) - 1
        yield window, depth, centres


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)])


def _only(
    name: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    pixel_size_um: float | None,
    classes: int,
    *,
    table: Values | None = None,
) -> Values:
    return measure(truth, predicted, pixel_size_um, classes, table=table)[name]


_OBJECTS = "connected components of a class, neighbours in eight directions, touching cells being one"
_NONE = "NaN for the background, and where neither map has an object of the class"
_ALWAYS = "NaN for the background; 0 is a count like any other."
_UNKNOWN = "NaN for the background, and for a class without objects in the training split."
_PIECES = "How many pieces a watershed on the distance to the outside makes of"

MEASURES: dict[str, Measure] = {
    name: Measure(title, definition, undefined, partial(_only, name), better)
    for name, title, definition, undefined, better in (
        ("components_true", "objects (truth, components)", f"How many {_OBJECTS}, the truth has.", _ALWAYS, None),
        (
            "components_predicted",
            "objects (predicted, components)",
            f"Likewise of the prediction: {_OBJECTS}.",
            _ALWAYS,
            None,
        ),
        (
            "count_error_components",
            "count error (components)",
            f"Predicted minus true number of objects, without its sign; objects are {_OBJECTS}.",
            _ALWAYS,
            "lower",
        ),
        (
            "aji_components",
            "AJI (components)",
            f"Aggregated Jaccard index of {_OBJECTS}: not comparable with one of annotated cells.",
            f"{_NONE}.",
            "higher",
        ),
        (
            "pq_components",
            "PQ (components)",
            f"Panoptic quality, SQ times RQ, of {_OBJECTS}; objects match above an IoU of one half.",
            f"{_NONE}.",
            "higher",
        ),
        (
            "sq_components",
            "SQ (components)",
            "Mean IoU of the objects that match above an IoU of one half; objects as in PQ.",
            f"{_NONE}, or nothing matches.",
            "higher",
        ),
        (
            "rq_components",
            "RQ (components)",
            "F1 score of the objects that match above an IoU of one half; objects as in PQ.",
            f"{_NONE}.",
            "higher",
        ),
        ("watershed_true", "objects (truth, watershed)", f"{_PIECES} the components of the truth.", _ALWAYS, None),
        ("watershed_predicted", "objects (predicted, watershed)", f"{_PIECES} those of the prediction.", _ALWAYS, None),
        (
            "count_error_watershed",
            "count error (watershed)",
            "Predicted minus true number of watershed pieces, without its sign.",
            _ALWAYS,
            "lower",
        ),
    )
}

_BY_PIXELS = (
    (
        "pixels_predicted",
        "objects (predicted, pixels)",
        "Predicted pixels of a class over the mean area of its components in the training split.",
        _UNKNOWN,
        None,
    ),
    (
        "count_error_pixels",
        "count error (pixels)",
        "Count by pixels minus the number of true components, without its sign.",
        _UNKNOWN,
        "lower",
    ),
)
