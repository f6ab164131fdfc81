"""What must be beaten: each baseline on hand-made pairs, Otsu against scikit-image and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.filters import threshold_otsu

from bench.baselines import BASELINES, Pair, Predictor, grey
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
