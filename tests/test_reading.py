"""What a reader may do to images and masks, against scikit-image, Pillow and hand-made values."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import color, filters

from bench import catalog, prepare
from bench.datasets import _reading  # ty: ignore[unresolved-import]
from bench.errors import DataError
from tests import lookalike

PICTURE = np.random.default_rng(3).integers(0, 256, (40, 30, 3)).astype(np.uint8)
SOFT = np.clip(filters.gaussian(np.eye(40, 30) + 0.4 * np.random.default_rng(1).random((40, 30)), 2) * 600, 0, 255)
GREY = SOFT.astype(np.uint8)


def read(**options: object) -> _reading.Reading:
    return _reading.chosen("here", options)


def test_the_defaults_change_nothing():
    assert PICTURE is read().image(PICTURE)
    np.testing.assert_array_equal(GREY > 127, read(threshold=127).mask(GREY))
    assert _reading.OPTIONS == {**_reading.OPTIONS, "threshold": 127, "blur": 0, "colour": "rgb", "gamma": 1.0}


@pytest.mark.parametrize(
    ("name", "reference"), [("otsu", filters.threshold_otsu), ("triangle", filters.threshold_triangle)]
)
def test_a_threshold_is_that_of_scikit_image(name: str, reference):
    found = read(threshold=name).mask(GREY)

    np.testing.assert_array_equal(GREY > reference(GREY), found)
    assert 0 < found.mean() < 1 and np.uint8 == found.dtype


@pytest.mark.parametrize("name", ["otsu", "triangle", 127])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 1)])
def test_a_mask_of_one_value_is_all_background_or_all_foreground(name: str | int, value: int, expected: int):
    assert {expected} == set(read(threshold=name).mask(np.full((5, 4), value, np.uint8)).ravel().tolist())


@pytest.mark.parametrize("name", ["otsu", 74])
def test_a_mask_of_two_values_comes_out_as_it_is(name: str | int):
    _, mask = lookalike.picture(1)

    np.testing.assert_array_equal(mask, read(threshold=name).mask(mask * 255))


def test_a_blur_averages_a_square_before_the_threshold():
    mask = np.zeros((7, 7), np.uint8)
    mask[3, 3] = 255  # 255 / 9 = 28.3 in the square around it

    assert 0 == read(threshold=28, blur=3).mask(mask).sum()
    found = read(threshold=27, blur=3).mask(mask)
    assert 9 == found.sum() == found[2:5, 2:5].sum()


def test_gamma_follows_its_table():
    expected = {0: 0, 16: 1, 64: 16, 127: 63, 128: 64, 192: 145, 255: 255}  # 255 (v / 255)^2 by hand

    assert expected == {value: int(_reading.gamma_table(2.0)[value]) for value in expected}
    np.testing.assert_array_equal(_reading.gamma_table(2.0)[PICTURE], read(gamma=2).image(PICTURE))
    assert read(gamma=0.5).image(PICTURE).mean() > PICTURE.mean()


def test_sharpening_takes_from_a_pixel_what_its_neighbours_have():
    picture = np.full((5, 5, 3), 100, np.uint8)
    picture[2, 2] = 110
    found = read(sharpen=0.5).image(picture)

    assert (1 + 8 * 0.5) * 110 - 8 * 0.5 * 100 == found[2, 2, 0]
    assert 100 - 0.5 * 10 == found[1, 1, 0] == found[2, 1, 2]
    assert 100 == found[0, 0, 0]


def test_hue_saturation_and_value_are_those_of_scikit_image():
    found, expected = read(colour="hsv").image(PICTURE), color.rgb2hsv(PICTURE) * 255
    error = np.abs(found - expected)
    error[..., 0] = np.minimum(error[..., 0], 256 - error[..., 0])  # hue is a circle

    assert error.max() <= 2


def test_lab_holds_lightness_and_two_colours_about_128():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)

    assert [[0, 128, 128], [255, 128, 128], [136, 208, 195], [82, 207, 20]] == read(colour="lab").image(primaries)[
        0
    ].tolist()
    lab = color.rgb2lab(PICTURE)
    np.testing.assert_allclose(lab[..., 0] * 2.55, read(colour="lab").image(PICTURE)[..., 0], atol=0.51)
    np.testing.assert_allclose(lab[..., 1:] + 128, read(colour="lab").image(PICTURE)[..., 1:], atol=0.51)


def test_grey_is_that_of_pillow_three_times():
    grey = np.asarray(Image.fromarray(PICTURE).convert("L"))

    np.testing.assert_array_equal(np.stack([grey] * 3, axis=-1), read(colour="grey").image(PICTURE))


def test_order_turns_the_channels_round():
    np.testing.assert_array_equal(PICTURE[..., ::-1], read(order="bgr").image(PICTURE))


def test_a_stretch_spans_all_bytes_and_keeps_the_colours_apart():
    dull = (60 + PICTURE // 4).astype(np.uint8)
    dull[..., 2] //= 2
    found = read(normalise="stretch").image(dull)
    low, high = np.percentile(dull, (0.5, 99.5))

    assert (0, 255) == (found.min(), found.max())
    np.testing.assert_allclose(((dull - low) * 255 / (high - low)).clip(0, 255), found, atol=0.51)
    np.testing.assert_array_equal(
        np.full((3, 3, 3), 9), read(normalise="stretch").image(np.full((3, 3, 3), 9, np.uint8))
    )


def test_a_stretch_of_a_dark_16_bit_image_loses_no_depth():
    ramp = np.repeat(np.arange(4096, dtype=np.uint16).reshape(64, 64, 1), 3, axis=2)  # 12 bits of a camera

    assert 17 == len(np.unique(read().image(ramp)))
    assert 256 == len(np.unique(read(normalise="stretch").image(ramp)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 255}, "threshold is 255; allowed is a whole number from 0 to 254, or one of otsu, triangle"),
        ({"threshold": "mean"}, "threshold is 'mean'"),
        ({"threshold": True}, "threshold is True"),
        ({"threshold": 12.5}, "threshold is 12.5"),
        ({"blur": 4}, "blur is 4; allowed is 0, or an odd number"),
        ({"blur": 101}, "blur is 101"),
        ({"blur": -1}, "blur is -1"),
        ({"blur": False}, "blur is False"),
        ({"colour": "cmyk"}, "colour is 'cmyk'; allowed is one of rgb, hsv, lab, grey"),
        ({"order": []}, r"order is \[\]; allowed is one of rgb, bgr"),
        ({"gamma": 0}, "gamma is 0; allowed is a number from 0.1 to 10"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"sharpen": -0.5}, "sharpen is -0.5; allowed is a number from 0 to 10"),
        ({"normalise": "max"}, "normalise is 'max'; allowed is one of none, stretch"),
        ({"bluur": 3}, "there is no option 'bluur'. There are: threshold, blur"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options: dict[str, object], message: str):
    with pytest.raises(DataError, match=f"^here: {message}"):
        _reading.chosen("here", options)


def test_options_reach_a_named_data_set_and_change_its_pixels(tmp_path: Path):
    truth = lookalike.blood_cell(tmp_path / "raw")
    plain = prepare.prepare("blood_cell", tmp_path, tmp_path / "raw")
    name = "blood_cell[colour=grey,threshold=otsu]"
    grey = prepare.prepare(name, tmp_path, tmp_path / "raw")

    assert name == catalog.canonical("datasets", "blood_cell[threshold=otsu,colour=grey,blur=0]")
    assert plain.index.hash != grey.index.hash
    lookalike.check(grey, {key: (read(colour="grey").image(image), mask) for key, (image, mask) in truth.items()})
    with pytest.raises(DataError, match="blood_cell: threshold is 'mean'"):
        catalog.dataset("blood_cell[threshold=mean]")


def test_a_reading_travels_to_other_processes():
    assert read(gamma=2, threshold="otsu") == pickle.loads(pickle.dumps(read(gamma=2, threshold="otsu")))
