"""What must be beaten: each baseline on hand-made pairs, Otsu against scikit-image and Pillow."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.filters import threshold_otsu

from bench.baselines import BASELINES, GRID, Pair, Predictor, grey
from bench.specs import IGNORE

RED, GREEN, WHITE = (200, 20, 20), (20, 200, 20), (240, 240, 240)


def flat(colour: tuple[int, int, int], label: int, size: tuple[int, int] = (4, 6)) -> Pair:
    """A picture of one colour and one class."""
    return np.full((*size, 3), colour, np.uint8), np.full(size, label, np.uint8)


def side_by_side(*pairs: Pair) -> Pair:
    """One picture of several."""
    images, masks = zip(*pairs, strict=True)
    return np.concatenate(images, axis=1), np.concatenate(masks, axis=1)


def fitted(name: str, *pairs: Pair, classes: int = 3) -> Predictor:
    return BASELINES[name].fit(iter(pairs), classes)


def picture(seed: int, size: tuple[int, int] = (23, 31)) -> np.ndarray:
    """A random picture, dark on the left."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, size[1])[None, :, None]
    return (ramp + generator.integers(0, 130, (*size, 3))).astype(np.uint8)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_a_map_of_classes_of_the_size_of_the_picture(name: str) -> None:
    predict = fitted(name, side_by_side(flat(RED, 1), flat(WHITE, 0)))
    found = predict(picture(0, (5, 9)))

    assert ((5, 9), np.uint8) == (found.shape, found.dtype)
    assert found.max() < 3


@pytest.mark.parametrize("name", BASELINES)
def test_without_training_pairs_everything_is_background(name: str) -> None:
    assert {0} == set(np.unique(fitted(name)(picture(0))))


@pytest.mark.parametrize("name", [name for name, baseline in BASELINES.items() if baseline.constant])
def test_a_constant_baseline_is_constant(name: str) -> None:
    predict = fitted(name, side_by_side(flat(RED, 2), flat(RED, 1), flat(WHITE, 2)))

    assert 1 == len({*np.unique(predict(picture(1))), *np.unique(predict(picture(2)))})


def test_all_background_is_0_whatever_it_is_shown() -> None:
    assert {0} == set(np.unique(fitted("all_background", flat(RED, 2))(picture(0))))


def test_majority_is_the_class_with_the_most_pixels_over_all_pictures() -> None:
    predict = fitted("majority_class", flat(RED, 1), flat(WHITE, 0), flat(GREEN, 2, (5, 6)))

    assert {2} == set(np.unique(predict(picture(0))))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_otsu_is_that_of_scikit_image_on_the_grey_of_pillow(seed: int, height: int, width: int) -> None:
    image = picture(seed, (height, width))
    values = np.asarray(Image.fromarray(image).convert("L"))
    dark = values <= threshold_otsu(values)
    predict = fitted("otsu", side_by_side(flat((10, 10, 10), 1), flat(WHITE, 0)))

    np.testing.assert_array_equal(values, grey(image))
    np.testing.assert_array_equal(dark, predict(image))


def test_otsu_gives_each_half_its_majority_class() -> None:
    night = side_by_side(flat((5, 5, 5), 0, (4, 8)), flat((5, 5, 5), 2, (4, 2)), flat(WHITE, 1))
    predict = fitted("otsu", night)

    assert [0] * 10 + [1] * 6 == predict(night[0])[0].tolist()


def test_otsu_calls_a_picture_of_one_colour_bright() -> None:
    predict = fitted("otsu", side_by_side(flat(RED, 1), flat(WHITE, 0)))

    assert {0} == set(np.unique(predict(flat(RED, 0)[0])))


def test_colours_are_told_apart_where_grey_could_not() -> None:
    one, other = (200, 60, 60), (60, 131, 60)
    predict = fitted("pixel_colour", side_by_side(flat(one, 1), flat(other, 2), flat(WHITE, 0)))
    values = [int(grey(flat(colour, 0)[0])[0, 0]) for colour in (one, other)]

    assert abs(values[0] - values[1]) <= 2
    assert [2, 1, 0] == predict(np.array([[other, one, WHITE]], np.uint8))[0].tolist()


def test_a_colour_is_a_bin_of_16_and_one_never_seen_is_background() -> None:
    predict = fitted("pixel_colour", flat((32, 64, 96), 2))
    row = [(32, 64, 96), (47, 79, 111), (48, 64, 96), (32, 80, 96), (32, 64, 112), (96, 64, 32)]

    assert [2, 2, 0, 0, 0, 0] == predict(np.array([row], np.uint8))[0].tolist()


def test_a_colour_gets_its_majority_class_over_all_pictures() -> None:
    predict = fitted("pixel_colour", flat(RED, 1, (3, 3)), flat(RED, 2, (2, 2)), flat(RED, 2, (2, 2)))

    assert {1} == set(np.unique(predict(flat(RED, 0)[0])))


def test_the_constant_baselines_are_those_of_one_class() -> None:
    assert {"all_background", "majority_class"} == {name for name in BASELINES if BASELINES[name].constant}


def shapes(seed: int, sizes: list[tuple[int, int]]) -> list[Pair]:
    """Pictures of random classes, 3 of them and IGNORE."""
    generator = np.random.default_rng(seed)
    values = np.array([0, 1, 2, IGNORE], np.uint8)
    return [(np.zeros((*size, 3), np.uint8), values[generator.integers(0, 4, size)]) for size in sizes]


def voted(pairs: list[Pair], size: tuple[int, int]) -> list[list[int]]:
    """The mean shape at a size, square by square of the grid, counted one vote after the other."""
    grid = np.zeros((GRID, GRID), int)
    for row, column in np.ndindex(GRID, GRID):
        votes = [0, 0, 0]
        for _, mask in pairs:
            vote = mask[int((row + 0.5) / GRID * mask.shape[0]), int((column + 0.5) / GRID * mask.shape[1])]
            if vote != IGNORE:
                votes[vote] += 1
        grid[row, column] = votes.index(max(votes))
    height, width = size
    return [
        [int(grid[int((row + 0.5) / height * GRID), int((column + 0.5) / width * GRID)]) for column in range(width)]
        for row in range(height)
    ]


@pytest.mark.parametrize("size", [(GRID, GRID), (31, 200), (1, 1)])
def test_the_mean_shape_is_the_most_frequent_class_of_each_position_in_pictures_of_all_sizes(
    size: tuple[int, int],
) -> None:
    pairs = shapes(0, [(40, 60), (128, 128), (7, 300), (256, 5), (1, 1)])

    assert voted(pairs, size) == fitted("mean_shape", *pairs)(np.zeros((*size, 3), np.uint8)).tolist()


def test_the_mean_shape_does_not_look_at_the_picture() -> None:
    predict = fitted("mean_shape", side_by_side(flat(RED, 2), flat(WHITE, 1)))

    np.testing.assert_array_equal(predict(picture(0)), predict(picture(1)))
    assert [2] * 3 + [1] * 3 == predict(picture(0, (4, 6)))[0].tolist()


def test_a_large_picture_has_no_more_votes_for_the_mean_shape_than_a_small_one() -> None:
    predict = fitted("mean_shape", flat(RED, 2, (300, 400)), flat(RED, 1, (3, 4)), flat(RED, 1, (5, 2)))

    assert {1} == set(np.unique(predict(picture(0))))


def test_where_every_training_picture_is_ignored_the_mean_shape_is_background() -> None:
    predict = fitted("mean_shape", side_by_side(flat(RED, IGNORE), flat(RED, 2)))

    assert [0] * 6 + [2] * 6 == predict(picture(0, (3, 12)))[0].tolist()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_sees_one_pair_at_a_time_and_keeps_none(name: str) -> None:
    alive = list[weakref.ref]()

    def stream() -> Iterator[Pair]:
        for seed in range(4):
            assert not [one for one in alive[:-1] if one() is not None]
            image, mask = picture(seed), np.full((23, 31), seed % 3, np.uint8)
            alive.append(weakref.ref(mask))
            yield image, mask

    BASELINES[name].fit(stream(), 3)


@pytest.mark.parametrize("name", ["majority_class", "otsu", "pixel_colour"])
def test_ignored_pixels_are_not_counted(name: str) -> None:
    image, mask = side_by_side(flat(RED, IGNORE, (4, 20)), flat(RED, 2, (4, 3)), flat(WHITE, IGNORE, (4, 9)))
    with_white = fitted(name, (image, mask))(image)

    assert {2} == set(np.unique(with_white[:, :23]))


def test_pictures_that_cannot_be_written_to_are_enough() -> None:
    image, mask = side_by_side(flat(RED, 1), flat(WHITE, 0))
    image.flags.writeable = mask.flags.writeable = False

    for name in BASELINES:
        assert (4, 12) == fitted(name, (image, mask))(image).shape
