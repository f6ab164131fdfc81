"""Boundary measures against distances between all pairs of outline pixels, MONAI where it is there, and closed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bench import boundary
from bench.boundary import MEASURES, Mask
from bench.specs import IGNORE


def square(top: int, left: int, edge: int = 20, size: tuple[int, int] = (64, 64)) -> Mask:
    mask = np.zeros(size, bool)
    mask[top : top + edge, left : left + edge] = True
    return mask


def blobs(seed: int, size: tuple[int, int] = (21, 26), share: float = 0.6) -> np.ndarray:
    """Smooth random classes 0 to 2, uint8, some of which touch the frame."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(3, *size)), (0, 2, 2))
    noise[0] += np.quantile(noise, share) / 2
    return noise.argmax(axis=0).astype(np.uint8)


def outline_by_hand(mask: Mask, ignored: Mask) -> list[tuple[int, int]]:
    """Pixels of a mask with a neighbour that is known to be outside: one pixel and one neighbour after the other."""
    found = []
    for row, column in zip(*np.nonzero(mask), strict=True):
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            at = row + down, column + right
            beyond = not (0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1])
            if beyond or not (mask[at] or ignored[at]):
                found.append((int(row), int(column)))
                break
    return found


def all_distances(mine: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> np.ndarray:
    return np.array([min(math.dist(one, other) for other in theirs) for one in mine])


def nothing(mask: Mask) -> Mask:
    return np.zeros(mask.shape, bool)


def found(true: Mask, predicted: Mask) -> boundary.Distances:
    return boundary.distances(true, predicted, nothing(true))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_every_measure_is_that_of_the_distances_between_all_outline_pixels(seed: int, with_ignored: bool) -> None:
    truth, predicted = blobs(seed), blobs(seed + 1)
    if with_ignored:
        truth[blobs(seed + 2) == 2] = IGNORE
    ignored = truth == IGNORE
    values = boundary.measure(truth, predicted, 0.3, 3)
    for label in (1, 2):
        masks = truth == label, (predicted == label) & ~ignored
        one, other = (outline_by_hand(mask, ignored) for mask in masks)
        if not (one and other):
            continue
        forth, back = all_distances(one, other), all_distances(other, one)
        both = np.concatenate([forth, back])

        assert math.isclose(np.mean(both <= 2), values["nsd_2px"][label])
        assert math.isclose(np.mean(both * 0.3 <= 0.5), values["nsd_500nm"][label])
        assert math.isclose(max(np.percentile(forth, 95), np.percentile(back, 95)), values["hd95_px"][label])
        assert math.isclose(both.mean(), values["assd_px"][label])
        assert math.isclose(0.3 * both.mean(), values["assd_um"][label])
        assert math.isclose(0.3 * values["hd95_px"][label], values["hd95_um"][label])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_surface_dice_and_hd95_are_those_of_monai(seed: int) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    import torch

    truth, predicted = blobs(seed), blobs(seed + 1)
    one_hot = [
        torch.from_numpy(np.stack([labels == label for label in range(3)]))[None] for labels in (predicted, truth)
    ]
    values = boundary.measure(truth, predicted, None, 3)
    dice = metrics.compute_surface_dice(*one_hot, class_thresholds=[2.0, 2.0])[0].numpy()
    far = metrics.compute_hausdorff_distance(*one_hot, percentile=95)[0].numpy()
    mean = metrics.compute_average_surface_distance(*one_hot, symmetric=True)[0].numpy()

    np.testing.assert_allclose(dice, values["nsd_2px"][1:], rtol=1e-6)
    np.testing.assert_allclose(far, values["hd95_px"][1:], rtol=1e-6)
    np.testing.assert_allclose(mean, values["assd_px"][1:], rtol=1e-6)


def test_a_square_moved_by_three_pixels() -> None:
    moved = found(square(20, 20), square(20, 23))

    # 76 outline pixels each: 34 of them coincide, 4 are one pixel away, 4 two, 34 three
    assert 3.0 == boundary.hd95(moved)
    assert [34 / 76, 38 / 76, 42 / 76, 1.0] == [boundary.surface_dice(moved, tolerance) for tolerance in (0, 1, 2, 3)]
    assert (4 * 1 + 4 * 2 + 34 * 3) / 76 == boundary.assd(moved)


def test_equal_maps_agree_wholly() -> None:
    same = found(square(3, 4), square(3, 4))

    assert (1.0, 0.0, 0.0) == (boundary.surface_dice(same, 0), boundary.hd95(same), boundary.assd(same))
    assert 1.0 == boundary.boundary_iou(square(3, 4), square(3, 4), nothing(square(0, 0)))


def test_concentric_squares_are_as_far_apart_as_their_edges_and_corners() -> None:
    around = found(square(10, 10, 41), square(15, 15, 31))

    assert {5.0} == set(around.back)
    assert (5.0, math.sqrt(50)) == (around.forth.min(), around.forth.max())
    assert [0.0, 1.0] == [boundary.surface_dice(around, tolerance) for tolerance in (4.99, math.sqrt(50))]


def test_hd95_takes_the_percentile_of_each_direction_before_the_larger_one() -> None:
    speck = square(10, 10)
    speck[60, 60] = True  # 1 of 77 outline pixels, so that no direction sees it at 95%
    many = square(10, 10)
    many[55:60:2, 30:60:2] = True  # 45 more that no pixel of the truth answers to

    assert 0.0 == boundary.hd95(found(square(10, 10), speck))
    one_way = boundary.hd95(found(square(10, 10), many))
    assert one_way == boundary.hd95(found(many, square(10, 10))) > 30


def test_the_frame_of_the_picture_ends_an_object() -> None:
    half = np.zeros((9, 12), bool)
    half[:, :6] = True
    less = half.copy()
    less[0] = False  # the upper row is missing: seen only because the frame is an outline

    assert 2 * (9 + 4) == found(half, half).forth.size
    assert 1.0 > boundary.surface_dice(found(half, less), 0.5)


def test_where_a_class_meets_ignored_pixels_there_is_no_outline() -> None:
    truth = square(10, 10).astype(np.uint8)
    truth[:, 25:] = IGNORE
    fine, cut = square(10, 10, 30), square(10, 10, 15)
    fine[30:] = False
    values = boundary.measure(truth, fine.astype(np.uint8), None, 2)

    assert (1.0, 0.0, 1.0) == tuple(values[name][1] for name in ("nsd_2px", "hd95_px", "boundary_iou"))
    assert 15 + 15 + 18 == found_with(truth, cut).forth.size


def found_with(truth: np.ndarray, predicted: Mask) -> boundary.Distances:
    ignored = truth == IGNORE
    return boundary.distances(truth == 1, predicted & ~ignored, ignored)


def test_what_is_predicted_on_ignored_pixels_changes_nothing() -> None:
    truth, predicted = blobs(1), blobs(2)
    truth[4:9, 3:20] = IGNORE
    other = predicted.copy()
    other[4:9, 3:20] = np.random.default_rng(0).integers(0, 3, (5, 17))

    for name, values in boundary.measure(truth, predicted, 1.0, 3).items():
        np.testing.assert_array_equal(values, boundary.measure(truth, other, 1.0, 3)[name], err_msg=name)


def test_what_the_functions_say_when_maps_lack_the_class() -> None:
    full, empty = square(5, 5), nothing(square(5, 5))
    neither, one = found(empty, empty), (found(full, empty), found(empty, full))

    assert (1.0, 0.0, 0.0) == (boundary.surface_dice(neither, 2), boundary.hd95(neither), boundary.assd(neither))
    assert 1.0 == boundary.boundary_iou(empty, empty, empty)
    for lacking in one:
        assert (0.0, math.inf, math.inf) == (
            boundary.surface_dice(lacking, 2),
            boundary.hd95(lacking),
            boundary.assd(lacking),
        )
    assert 0.0 == boundary.boundary_iou(full, empty, empty) == boundary.boundary_iou(empty, full, empty)


def test_the_table_leaves_out_a_class_that_neither_map_has_and_keeps_one_that_is_missed() -> None:
    truth, predicted = square(5, 5).astype(np.uint8), np.zeros((64, 64), np.uint8)
    values = boundary.measure(truth, predicted, 0.5, 3)

    for name in MEASURES:
        missed = math.inf if name.startswith(("hd95", "assd")) else 0.0
        np.testing.assert_array_equal([np.nan, missed, np.nan], values[name], err_msg=name)


def test_a_class_without_a_visible_outline_is_undefined() -> None:
    truth = np.full((20, 20), IGNORE, np.uint8)
    truth[8:12, 8:12] = 1
    predicted = np.zeros((20, 20), np.uint8)
    predicted[9:11, 9:11] = 1
    values = boundary.measure(truth, predicted, 0.5, 2)

    assert all(math.isnan(values[name][1]) for name in MEASURES)


def test_micrometres_need_the_size_of_a_pixel() -> None:
    truth, predicted = square(20, 20).astype(np.uint8), square(20, 23).astype(np.uint8)
    unknown, known = boundary.measure(truth, predicted, None, 2), boundary.measure(truth, predicted, 0.5, 2)

    assert all(math.isnan(unknown[name][1]) for name in ("nsd_500nm", "hd95_um", "assd_um"))
    assert (1.5, 38 / 76) == (known["hd95_um"][1], known["nsd_500nm"][1])
    assert 2.0 == boundary.to_pixels(0.5, 0.25)


def test_a_tolerance_that_is_a_distance_but_for_rounding_holds_it() -> None:
    moved = found(square(20, 20), square(20, 23))

    assert boundary.to_pixels(0.3, 0.1) < 3
    assert 1.0 == boundary.surface_dice(moved, boundary.to_pixels(0.3, 0.1))


@pytest.mark.parametrize("seed", range(8))
def test_boundary_iou_is_that_of_masks_eroded_step_by_step(seed: int) -> None:
    truth, predicted = (blobs(seed + at, (50, 70)) == 1 for at in (0, 1))
    truth[:3, :3] = predicted[:3, :5] = True
    width = round(0.02 * math.hypot(50, 70) * 2)
    bands = []
    for mask in (truth, predicted):
        kept = np.pad(mask, 1)
        for _ in range(width):  # as in the paper's code: zeros around, a square of three by three
            kept = ndimage.binary_erosion(kept, np.ones((3, 3)))
        bands.append(mask & ~kept[1:-1, 1:-1])

    expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert math.isclose(expected, boundary.boundary_iou(truth, predicted, nothing(truth), 0.04))


def test_the_band_is_two_percent_of_the_diagonal_and_at_least_a_pixel() -> None:
    outer, inner = square(10, 10, 60, (300, 400)), square(20, 20, 40, (300, 400))  # diagonal 500, band 10

    assert 0.0 == boundary.boundary_iou(outer, inner, nothing(outer))
    assert 0.0 < boundary.boundary_iou(outer, inner, nothing(outer), 0.022)
    small, ring = square(1, 1, 4, (6, 6)), square(1, 1, 4, (6, 6)) & ~square(2, 2, 2, (6, 6))
    assert 1.0 == boundary.boundary_iou(small, ring, nothing(small))


def test_distances_in_a_window_are_those_of_the_whole_picture() -> None:
    truth, predicted = square(30, 34, 5, (80, 90)), square(60, 70, 9, (80, 90))
    ignored = nothing(truth)
    values = found(truth, predicted)
    outlines = [boundary._outline(mask, ignored) for mask in (truth, predicted)]

    np.testing.assert_array_equal(ndimage.distance_transform_edt(~outlines[1])[outlines[0]], values.forth)
    np.testing.assert_array_equal(ndimage.distance_transform_edt(~outlines[0])[outlines[1]], values.back)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_alone_is_what_it_is_among_all(name: str) -> None:
    truth, predicted = blobs(5), blobs(6)
    alone = MEASURES[name].compute(truth, predicted, 0.25, 3)

    assert ((3,), np.float64) == (alone.shape, alone.dtype)
    np.testing.assert_array_equal(boundary.measure(truth, predicted, 0.25, 3)[name], alone)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3))
def test_exchanging_truth_and_prediction_changes_nothing_and_scores_stay_in_range(
    seed: int, height: int, width: int
) -> None:
    truth, predicted = np.random.default_rng(seed).integers(0, 3, (2, height, width), dtype=np.uint8)
    values, swapped = boundary.measure(truth, predicted, 1.0, 3), boundary.measure(predicted, truth, 1.0, 3)

    for name, measure in MEASURES.items():
        np.testing.assert_allclose(swapped[name], values[name], err_msg=name)
        defined = values[name][~np.isnan(values[name])]
        assert (defined >= 0).all()
        assert measure.better == "lower" or (defined <= 1).all()


def test_maps_that_cannot_be_written_to_are_enough_and_stay_as_they_are() -> None:
    truth, predicted = blobs(1), blobs(2)
    truth.flags.writeable = predicted.flags.writeable = False

    assert MEASURES.keys() == boundary.measure(truth, predicted, None, 3).keys()
