"""Object measures against loops over all pairs of objects, torchmetrics, scikit-image, and cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label as skimage_label
from torchmetrics.functional.detection import panoptic_quality

from bench import catalog, objects
from bench.errors import DataError
from bench.objects import MEASURES, Labels
from bench.specs import IGNORE

Box = tuple[int, int, int, int]


def drawn(*boxes: Box, size: tuple[int, int] = (12, 40), label: int = 1) -> np.ndarray:
    """A map with rectangles (top, left, height, width) of a class."""
    labels = np.zeros(size, np.uint8)
    for top, left, height, width in boxes:
        labels[top : top + height, left : left + width] = label
    return labels


def discs(centres: list[tuple[int, int]], radius: float, size: tuple[int, int] = (100, 200)) -> np.ndarray:
    """A map with discs of class 1."""
    rows, columns = np.indices(size)
    return np.any([np.hypot(rows - y, columns - x) <= radius for y, x in centres], axis=0).astype(np.uint8)


def blobs(seed: int, size: tuple[int, int] = (40, 50), jitter: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Two alike maps of the classes 0 to 2, uint8, with a dozen objects each."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(3, *size))
    other = noise + jitter * generator.normal(size=noise.shape)
    first, second = (ndimage.gaussian_filter(one, (0, 2, 2)) for one in (noise, other))
    return first.argmax(axis=0).astype(np.uint8), second.argmax(axis=0).astype(np.uint8)


def compared(truth: np.ndarray, predicted: np.ndarray) -> objects.Overlaps:
    return objects.overlaps(objects.components(truth == 1), objects.components(predicted == 1))


def values(truth: np.ndarray, predicted: np.ndarray, classes: int = 2) -> dict[str, float]:
    """The measures of class 1."""
    return {name: float(column[1]) for name, column in objects.measure(truth, predicted, None, classes).items()}


def by_hand(true: Labels, predicted: Labels) -> tuple[float, float, float, float]:
    """AJI, PQ, SQ and RQ, one object after the other."""
    ours = [true == number for number in range(1, true.max() + 1)]
    theirs = [predicted == number for number in range(1, predicted.max() + 1)]
    used, shared, union, matched = set(), 0, 0, []
    for one in ours:
        ratios = [(one & other).sum() / (one | other).sum() for other in theirs]
        best = int(np.argmax(ratios)) if theirs and max(ratios) > 0 else None
        matched += [ratio for ratio in ratios if ratio > 0.5]
        shared += 0 if best is None else (one & theirs[best]).sum()
        union += one.sum() if best is None else (one | theirs[best]).sum()
        used |= set() if best is None else {best}
    union += sum(other.sum() for number, other in enumerate(theirs) if number not in used)
    if not union:
        return (math.nan,) * 4
    missed, wrong = len(ours) - len(matched), len(theirs) - len(matched)
    quality = float(np.mean(matched)) if matched else math.nan
    return (
        shared / union,
        sum(matched) / (len(matched) + missed / 2 + wrong / 2),
        quality,
        len(matched) / (len(matched) + missed / 2 + wrong / 2),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 2))
def test_aji_and_panoptic_quality_are_those_of_a_loop_over_all_pairs(seed: int, jitter: float) -> None:
    truth, predicted = blobs(seed, (25, 30), jitter)
    maps = [objects.components(labels == 1) for labels in (truth, predicted)]
    found = objects.overlaps(*maps)

    np.testing.assert_allclose(by_hand(*maps), [objects.aji(found), *objects.panoptic(found)], rtol=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("with_ignored", [False, True])
def test_panoptic_quality_is_that_of_torchmetrics(seed: int, with_ignored: bool) -> None:
    truth, predicted = blobs(seed)
    if with_ignored:
        truth[blobs(seed + 100)[0] == 2] = IGNORE
    measured = objects.measure(truth, predicted, None, 3)
    maps = []
    for labels in (predicted, truth):
        instances = sum(skimage_label(labels == one, connectivity=2) for one in (1, 2))
        maps.append(torch.from_numpy(np.stack([labels, instances], axis=-1).astype(np.int64))[None])
    expected = panoptic_quality(*maps, things={1, 2}, stuffs={0}, return_sq_and_rq=True, return_per_class=True)
    assert with_ignored == ((truth == IGNORE).mean() > 0.1)
    for column, name in enumerate(("pq_components", "sq_components", "rq_components")):
        np.testing.assert_allclose(expected[:2, column], measured[name][1:], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_components_are_those_of_scikit_image_in_eight_directions(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((20, 23)) < share

    np.testing.assert_array_equal(skimage_label(mask, connectivity=2), objects.components(mask))


def test_corners_join_an_object() -> None:
    assert 1 == objects.components(np.eye(5, dtype=bool)).max()


def test_an_object_found_twice_one_missed_and_one_made_up() -> None:
    truth = drawn((0, 0, 4, 10), (6, 0, 4, 10))
    predicted = drawn((0, 0, 4, 8), (0, 9, 4, 1), (6, 20, 2, 5))
    found = values(truth, predicted)

    # IoU of the first pair 32/40; three predicted, two true, one match
    assert (2, 3, 1) == (found["components_true"], found["components_predicted"], found["count_error_components"])
    assert (0.8, 1 / 2.5) == (found["sq_components"], found["rq_components"])
    assert math.isclose(0.8 / 2.5, found["pq_components"])
    assert math.isclose(32 / (40 + 40 + 4 + 10), found["aji_components"])


def test_an_iou_of_one_half_is_no_match() -> None:
    assert 0.0 == values(drawn((0, 0, 4, 10)), drawn((0, 0, 4, 5)))["pq_components"]
    assert 0.6 == values(drawn((0, 0, 4, 10)), drawn((0, 0, 4, 6)))["pq_components"]


def test_aji_lets_two_objects_choose_the_same_one_and_counts_it_twice() -> None:
    truth, predicted = drawn((0, 0, 4, 5), (0, 6, 4, 5)), drawn((0, 0, 4, 11))

    assert 2 * 20 / (44 + 44) == values(truth, predicted)["aji_components"]


def test_two_touching_cells_are_one_object_in_truth_and_prediction_alike() -> None:
    touching = discs([(50, 50), (50, 80)], 16)
    found = values(touching, touching)

    assert (1, 1, 0, 1.0) == tuple(
        found[name] for name in ("components_true", "components_predicted", "count_error_components", "pq_components")
    )
    assert (2, 2) == (found["watershed_true"], found["watershed_predicted"])


def test_what_is_said_of_a_class_that_maps_lack() -> None:
    nothing, full = drawn(), drawn((1, 1, 3, 3))
    neither, missed, made_up = values(nothing, nothing), values(full, nothing), values(nothing, full)
    qualities = ("aji_components", "pq_components", "sq_components", "rq_components")

    assert all(math.isnan(neither[name]) for name in qualities)
    assert [0] * 6 == [value for name, value in neither.items() if name not in qualities]
    for one in (missed, made_up):
        assert (0.0, 0.0, 0.0) == (one["aji_components"], one["pq_components"], one["rq_components"])
        assert math.isnan(one["sq_components"])
        assert 1 == one["count_error_components"] == one["count_error_watershed"]


def test_the_background_has_no_objects() -> None:
    measured = objects.measure(*blobs(0), None, 3, table=np.array([np.nan, 30.0, 20.0]))

    assert {*MEASURES, "pixels_predicted", "count_error_pixels"} == measured.keys()
    assert all(math.isnan(column[0]) for column in measured.values())


def numbered(truth: np.ndarray, predicted: np.ndarray) -> Labels:
    """The predicted objects that count."""
    return objects.numbered(truth == 1, predicted == 1, truth == IGNORE)[1]


def test_an_object_more_than_half_under_ignored_pixels_is_left_out_and_others_lose_that_part() -> None:
    truth = drawn((6, 0, 4, 10))
    truth[:, 20:] = IGNORE
    half, more = drawn((0, 15, 4, 10)), drawn((0, 15, 4, 11))

    assert [20] == np.bincount(numbered(truth, half).ravel())[1:].tolist()
    assert 0 == numbered(truth, more).max()
    assert [1, 0] == [values(truth, one)["components_predicted"] for one in (half, more)]


def test_an_object_that_matches_what_is_seen_counts_however_much_of_it_is_ignored() -> None:
    truth = drawn((0, 15, 4, 5))
    truth[:, 20:] = IGNORE

    assert 1.0 == values(truth, drawn((0, 15, 4, 20)))["pq_components"]


def test_an_object_that_ignored_pixels_cut_in_two_stays_one() -> None:
    truth = drawn((0, 0, 4, 20))
    truth[:, 20:22] = IGNORE

    assert 1 == values(truth, drawn((0, 0, 4, 40)))["components_predicted"]


def test_numbers_of_objects_have_no_gaps_when_some_are_left_out() -> None:
    truth = drawn((0, 5, 12, 10), label=IGNORE)

    assert [0, 1, 2] == np.unique(numbered(truth, drawn((0, 0, 2, 2), (0, 8, 2, 2), (0, 30, 2, 2)))).tolist()


@pytest.mark.parametrize("radius", [8, 12, 30])
@pytest.mark.parametrize(
    ("centres", "count"),
    [
        ([(0, 0)], 1),
        ([(0, 0), (0, 1.8)], 2),
        ([(0, 0), (0, 1.5)], 2),
        ([(0, 0), (0, 1.8), (0, 3.6)], 3),
        ([(0, 0), (0, 1.8), (1.6, 0.9)], 3),
        ([(0, 0), (0, 0.3)], 1),
    ],
    ids=["one", "two", "two overlapping", "chain", "triangle", "nearly one"],
)
def test_round_cells_that_touch_are_parted(radius: int, centres: list[tuple[float, float]], count: int) -> None:
    at = [(round(radius * (y + 1.5)), round(radius * (x + 1.5))) for y, x in centres]
    labels = objects.components(discs(at, radius, (5 * radius, 7 * radius)) == 1)
    split = objects.watershed_split(labels)

    assert 1 == labels.max()
    assert count == objects.watershed_count(labels) == split.max()
    np.testing.assert_array_equal(labels > 0, split > 0)
    if count == 3:
        areas = np.bincount(split.ravel())[1:]
        assert areas.max() < 1.3 * areas.min()


@pytest.mark.parametrize("seed", range(4))
def test_the_count_of_a_watershed_is_that_of_its_pieces_and_never_less_than_the_components(seed: int) -> None:
    labels = objects.components(blobs(seed, (90, 110))[0] == 1)
    split = objects.watershed_split(labels)

    assert split.max() == len(np.unique(split)) - 1 == objects.watershed_count(labels) >= labels.max()
    for number in range(1, split.max() + 1):
        assert 1 == len(np.unique(labels[split == number]))


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((4, 5), bool),
        np.ones((4, 5), bool),
        np.ones((1, 1), bool),
        np.ones((2, 30), bool),
        drawn((0, 0, 1, 1), (4, 0, 1, 30)) == 1,
    ],
    ids=["empty", "full", "a pixel", "a bar", "speck and line"],
)
def test_every_component_keeps_a_centre_whatever_its_shape(mask: np.ndarray) -> None:
    labels = objects.components(mask)
    split = objects.watershed_split(labels)

    assert set(np.unique(labels)) == set(np.unique(labels[split > 0])) | {0} & set(np.unique(labels))
    assert split.max() == objects.watershed_count(labels) >= labels.max()


def test_the_frame_of_the_picture_ends_a_cell_as_background_does() -> None:
    labels = objects.components(discs([(4, 40), (20, 60), (48, 64), (50, 95)], 18, (52, 100)) == 1)
    padded = np.pad(labels, 7)

    np.testing.assert_array_equal(objects.watershed_split(padded)[7:-7, 7:-7], objects.watershed_split(labels))
    assert 1 == labels.max() < objects.watershed_count(labels)


@pytest.mark.parametrize("seed", range(4))
def test_depths_found_object_by_object_are_those_of_the_picture_with_a_frame_around(seed: int) -> None:
    labels = objects.components(blobs(seed, (60, 70))[0] == 1)
    depths = np.zeros(labels.shape)
    for window, depth, _ in objects._centred(labels):
        depths[window] += depth

    np.testing.assert_array_equal(ndimage.distance_transform_edt(np.pad(labels > 0, 1))[1:-1, 1:-1], depths)


def test_specks_do_not_change_into_how_many_pieces_cells_are_cut() -> None:
    cells = discs([(50, 50), (50, 62), (50, 130)], 24)
    specks = cells.copy()
    specks[:20:3, ::3] = 1

    assert 2 == objects.watershed_count(objects.components(cells == 1))
    assert 2 + 7 * 67 == objects.watershed_count(objects.components(specks == 1))


def test_pixels_per_object_is_the_mean_area_of_the_components_of_a_stream() -> None:
    first, second = drawn((0, 0, 4, 5), (6, 0, 4, 15)), drawn((0, 0, 2, 5), label=2)
    first[11] = IGNORE

    np.testing.assert_array_equal([np.nan, 40, 10, np.nan], objects.pixels_per_object(iter([first, second]), 4))
    assert np.isnan(objects.pixels_per_object(iter([]), 2)).all()


def test_objects_are_counted_by_their_pixels_and_not_rounded() -> None:
    predicted, table = drawn((0, 0, 4, 30)), np.array([np.nan, 50.0, np.nan])
    ignored = drawn((0, 25, 4, 15)) == 1

    np.testing.assert_array_equal([np.nan, 2.0, np.nan], objects.count_by_pixels(predicted, ignored, table))
    measured = objects.measure(drawn((0, 0, 4, 10)), predicted, None, 3, table=table)
    assert (2.4, 1.4) == (measured["pixels_predicted"][1], round(measured["count_error_pixels"][1], 12))


def test_the_published_areas_of_the_smear_give_its_number_of_cells_back() -> None:
    """Pixels of a class from its published weight (all pixels over those of the class), mean areas as published."""
    pixels = 65_350 * 224 * 224 / np.array([57.496, 109.076, 58.761, 104.468, 42.830, 163.219, 1177.220, 467.332])
    areas = [4986.6, 4994.2, 4879.3, 2744.5, 6694.1, 1982.7, 243.5, 613.5]
    million = np.arange(1, 9, dtype=np.uint8).repeat(1_000_000)[None]
    counted = objects.count_by_pixels(million, million == 0, np.array([np.nan, *areas]))[1:] * pixels / 1e6

    expected = [11_437, 6_019, 11_437, 11_437, 11_437, 10_132, 11_437, 11_437]
    np.testing.assert_allclose(expected, counted, atol=2)


def test_annotated_objects_are_counted_by_class_without_the_ignored_ones() -> None:
    listed = [{"classIdx": 2}, {"classIdx": 1}, {"classIdx": 2}, {"classIdx": IGNORE}]

    np.testing.assert_array_equal([np.nan, 1, 2, 0], objects.annotated_counts(listed, 4))


@pytest.mark.parametrize("index", [0, 4, -1, "2", None, 1.0])
def test_an_annotated_object_of_no_class_is_refused(index: object) -> None:
    with pytest.raises(DataError, match="Object 1 has classIdx"):
        objects.annotated_counts([{"classIdx": 1}, {"classIdx": index}], 4)


def test_the_objects_of_the_smear_can_be_counted_and_compared() -> None:
    spec = catalog.dataset("smear[size=96]")
    assert spec.objects is not None
    for sample in spec.read(None, **{**spec.options, "size": 96, "train": 2, "val": 1, "test": 1}):
        mask = spec.load(sample)[1]
        annotated = objects.annotated_counts(spec.objects(sample), len(spec.classes))
        counted = objects.measure(mask, mask, None, len(spec.classes))["components_true"]

        assert annotated[1:].sum() > 0
        assert (annotated > 0)[1:][counted[1:] > 0].all()  # what is seen is listed


def test_merged_classes_are_one_foreground_and_ignored_pixels_stay() -> None:
    labels = np.array([[0, 1, 2, IGNORE, 9]], np.uint8)

    assert ([[0, 1, 1, IGNORE, 1]], np.uint8) == (objects.merged(labels).tolist(), objects.merged(labels).dtype)


def test_cells_of_two_classes_that_touch_are_one_object_of_the_foreground() -> None:
    truth = drawn((0, 0, 4, 5)) | drawn((0, 5, 4, 5), label=2)
    maps = objects.merged(truth), objects.merged(truth)

    assert [1, 1] == objects.measure(truth, truth, None, 3)["components_true"][1:].tolist()
    assert 1 == objects.measure(*maps, None, 2)["components_true"][1]


@pytest.mark.parametrize("name", [*MEASURES, "pixels_predicted", "count_error_pixels"])
def test_a_measure_alone_is_what_it_is_among_all(name: str) -> None:
    (truth, predicted), table = blobs(3), np.array([np.nan, 25.0, 31.5])
    alone = (MEASURES | objects.by_pixels(table))[name].compute(truth, predicted, 0.25, 3)

    assert ((3,), np.float64) == (alone.shape, alone.dtype)
    np.testing.assert_array_equal(objects.measure(truth, predicted, 0.25, 3, table=table)[name], alone)


def test_many_specks_need_no_table_of_all_pairs() -> None:
    specks = np.zeros((600, 600), np.uint8)
    specks[::2, ::2] = 1  # 90,000 objects: a table of all pairs would hold 8e9 numbers
    found = compared(specks, specks)

    assert (90_000, 1.0) == (len(found.pairs), objects.panoptic(found).pq)
    assert 1.0 == objects.aji(found)


def test_maps_that_cannot_be_written_to_are_enough() -> None:
    truth, predicted = blobs(1)
    truth.flags.writeable = predicted.flags.writeable = False

    assert MEASURES.keys() == objects.measure(truth, predicted, None, 3).keys()
