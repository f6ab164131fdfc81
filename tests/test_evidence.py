"""The pictures of what an audit found show what they say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import evidence
from bench.presets import SYMMETRIES
from bench.specs import ClassSpec

CLASSES = (ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(220, 60, 60)))
TURNS = {
    "none": lambda image: image,
    "mirror": np.fliplr,
    "flip": np.flipud,
    "half_turn": lambda image: np.rot90(image, 2),
    "transpose": lambda image: np.swapaxes(image, 0, 1),
    "left_turn": lambda image: np.rot90(image, 1),
    "right_turn": lambda image: np.rot90(image, -1),
    "antitranspose": lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
}


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth picture without any symmetry, uint8 (H, W, 3)."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * rows + 4 * columns), np.cos(7 * columns * rows), np.sin(5 * columns - rows)]
    return np.round(127 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def decoded(shot: evidence.Shot) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shot.data)).convert("RGB")).astype(int)


def shot(shots: list[evidence.Shot], part: str) -> evidence.Shot:
    [found] = [one for one in shots if part in one.caption]
    return found


@pytest.mark.parametrize("position", SYMMETRIES)
def test_undo_turns_back_what_numpy_turned(position: str):
    image = picture(5, 7)

    assert np.array_equal(image, evidence.undo(TURNS[position](image), position))


@pytest.mark.parametrize("position", SYMMETRIES)
def test_a_turned_copy_is_laid_upon_its_original(position: str):
    image = picture()
    shots = evidence.pair(image, np.ascontiguousarray(TURNS[position](image)), position)

    assert (4 if position == "none" else 5) == len(shots)
    assert 12 > decoded(shot(shots, "difference")).max()
    assert 3 > np.abs(decoded(shot(shots, "alternating")) - image).mean()
    if position != "none":
        assert 3 > np.abs(decoded(shot(shots, "turned back")) - image).mean()


def test_a_brighter_smaller_copy_shows_no_difference_and_another_picture_does():
    image = picture()
    half = np.asarray(Image.fromarray(image).resize((64, 48), Image.Resampling.BOX))
    brighter = np.round(0.7 * half.astype(float) + 60).astype(np.uint8)

    assert 5 > decoded(shot(evidence.pair(image, brighter, "none"), "difference")).mean()
    assert 50 < decoded(shot(evidence.pair(image, image[::-1].copy(), "none"), "difference")).mean()


def test_the_difference_is_that_of_the_greys_times_four():
    first = np.zeros((2, 2, 3), np.uint8)
    first[0] = 30
    second = first.copy()
    second[0, 0], second[1, 0] = 27, 3  # mean 15 and deviation 13.58; brought to 15 and 15
    scale = 15 / np.std([27, 30, 3, 0])
    expected = 4 * np.abs([30 - (15 + 12 * scale), 30 - (15 + 15 * scale), -(15 - 12 * scale), -(15 - 15 * scale)])

    assert np.array_equal(expected.astype(np.uint8), evidence.difference(first, second)[..., 0].ravel())


def test_flat_pictures_can_be_compared():
    flat = np.full((40, 40, 3), 90, np.uint8)

    assert 4 == len(evidence.pair(flat, flat, "none"))
    assert 0 == evidence.difference(flat, flat).max()


@pytest.mark.parametrize("position", ["none", "right_turn"])
def test_a_crop_stands_beside_the_place_it_was_cut_from(position: str):
    outer = picture(200, 240)
    left, top, right, bottom = box = (60, 40, 180, 130)
    inner = np.ascontiguousarray(evidence.undo(outer[top:bottom, left:right], position))
    shots = evidence.crop(inner, outer, box, position)
    located = decoded(shots[0])

    assert 3 > np.abs(decoded(shot(shots, "the same place")) - inner).mean()
    for place in ((top + 20, left - 1), (bottom, right - 30)):
        assert 80 > np.abs(located[place] - evidence.RED).max()
        assert 100 < np.abs(outer[place].astype(int) - evidence.RED).max()


def test_images_that_overlap_in_part_are_not_laid_upon_each_other():
    outer = picture(200, 240)
    shots = evidence.crop(picture(90, 120), outer, (200, 40, 240, 130), "none")

    assert "what the outer image has of it" == shots[-1].caption
    assert 3 > np.abs(decoded(shots[-1]) - outer[40:130, 200:240]).mean()


@pytest.mark.parametrize("box", [None, (-50, -50, 1000, 1000), (500, 500, 600, 600), (10, 10, 10, 10)])
def test_a_box_that_is_none_or_lies_outside_breaks_nothing(box: tuple[int, int, int, int] | None):
    assert 2 <= len(evidence.crop(picture(40, 40), picture(), box, "none"))


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, -2), (-4, 1), (20, 0), (0, -20)])
def test_a_moved_mask_is_rolled_and_what_comes_from_outside_is_background(right: int, down: int):
    mask = np.random.default_rng(0).integers(1, 4, (9, 12)).astype(np.uint8)
    expected = np.roll(np.pad(mask, 30), (down, right), (0, 1))[30:-30, 30:-30]

    assert np.array_equal(expected, evidence.moved_by(mask, right, down))


def test_a_mask_off_its_image_is_shown_where_it_is_and_where_it_fits():
    image, mask = np.full((300, 400, 3), 200, np.uint8), np.zeros((300, 400), np.uint8)
    mask[100:140, 180:240] = 1
    image[90:130, 200:260] = 60
    where, close, fits = evidence.misplaced(image, mask, CLASSES, (20.0, -10.0))

    assert "moved by +20 right, −10 down [pixels]" == fits.caption
    assert 30 > np.abs(decoded(where) - evidence.RED).max(axis=2).min()  # the box around what is enlarged
    inside = np.asarray([(one[..., 0] < 100).sum() for one in map(decoded, (close, fits))])
    assert inside[1] < inside[0]  # the outline covers the dark rim only where it fits
    assert 2 == len(evidence.misplaced(image, mask, CLASSES, None))


def test_the_middle_of_what_is_enlarged_is_the_speck():
    image, mask = np.full((600, 800, 3), 200, np.uint8), np.zeros((600, 800), np.uint8)
    mask[301:304, 501:504] = 1
    image[302, 502] = 0
    _, _, plain = evidence.sparse(image, mask, CLASSES)
    dark = np.argwhere(decoded(plain).sum(2) < 500).mean(0) / decoded(plain).shape[:2]

    assert np.allclose(0.5, dark, atol=0.05)
    assert 1 == len(evidence.sparse(image, np.zeros_like(mask), CLASSES))


@pytest.mark.parametrize("file", ["grey.png", "palette.png", "colour.png", "bits.bmp"])
def test_the_rare_values_of_a_mask_file_are_red(tmp_path: Path, file: str):
    labels = np.zeros((90, 120), np.uint8)
    labels[:, 60:] = 1
    labels[40:42, 30:33] = 7
    made = Image.fromarray(labels)
    if file == "palette.png":
        made = made.convert("P")
        made.putpalette(bytes(range(256)) * 3)
    if file == "colour.png":
        made = Image.fromarray(np.stack([labels * 30, labels, 255 - labels], axis=2))
    if file == "bits.bmp":
        made = Image.fromarray(labels > 0)
    made.save(tmp_path / file)
    shots = evidence.raw(tmp_path / file, np.zeros((90, 120, 3), np.uint8), labels % 7)

    if file == "bits.bmp":
        assert 1 == len(shots)
        return
    marked = shot(shots, "red: 6 pixels of 1 rarer value in the file")
    assert marked.crisp
    assert 6 == (decoded(marked) == evidence.RED).all(axis=2).sum()
    assert "the image there" == shots[-1].caption


@pytest.mark.parametrize("content", [None, b"", b"{}", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_a_mask_file_that_is_gone_or_no_picture_gives_no_pictures(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "mask.png").write_bytes(content)

    assert [] == evidence.raw(tmp_path / "mask.png", picture(), np.zeros((96, 128), np.uint8))
