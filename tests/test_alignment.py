"""Masks that are off their images are found, as a whole and bent; masks as they are raise no alarm."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from bench import alignment
from bench.alignment import Alignment, aligned, judge, misaligned
from bench.datasets import blood_cell, smear
from bench.findings import Finding, Kind
from tests.real import REAL, real

Pair = tuple[np.ndarray, np.ndarray]
EDGE = 512


@pytest.fixture(scope="module")
def clean() -> list[Pair]:
    """A hundred generated smears, 224 pixels."""
    samples = smear.SPEC.read(Path(), **smear.SPEC.options)[:100]
    return [smear.SPEC.load(sample) for sample in samples]


@pytest.fixture(scope="module")
def squares() -> list[Pair]:
    """Every other of the real pairs as the seed projects store them: squares of 512 pixels."""
    return [squared(*blood_cell.load(sample)) for sample in blood_cell.read(REAL)[::2]]


def squared(image: np.ndarray, mask: np.ndarray) -> Pair:
    """Both padded to a square, with a colour of the background and with black, and shrunk."""
    side = max(mask.shape)
    top = (side - mask.shape[0]) // 2
    canvas = Image.new("RGB", (side, side), tuple(image[-10, 40].tolist()))
    canvas.paste(Image.fromarray(image), (0, top))
    drawn = Image.new("L", (side, side))
    drawn.paste(Image.fromarray(mask * 255), (0, top))
    small = np.asarray(canvas.resize((EDGE, EDGE), Image.Resampling.BICUBIC))
    return small, (np.asarray(drawn.resize((EDGE, EDGE))) > 127).astype(np.uint8)


def moved(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    """A mask moved by so many pixels, background behind it."""
    far = 32
    padded = np.pad(mask, far)
    top, left = far - down, far - right
    return padded[top : top + mask.shape[0], left : left + mask.shape[1]].copy()


def field(shape: tuple[int, int], most: float, generator: np.random.Generator) -> np.ndarray:
    """A random smooth displacement float64 (2, H, W), at most so many pixels, as `distorted_*` copies are made with."""
    noise = generator.normal(size=(2, *shape))
    for axis in (0, 1):
        noise = np.stack([ndimage.gaussian_filter1d(one, 40, axis=axis, order=axis, mode="wrap") for one in noise])
    return noise * most / np.abs(noise).max()


def bent(pair: Pair, most: float, generator: np.random.Generator, *, alike: bool = False) -> Pair:
    """Image and mask, each bent by a field of its own, or both by one."""
    image, mask = pair
    places = np.mgrid[: mask.shape[0], : mask.shape[1]]
    there = places + field(mask.shape, most, generator)
    channels = [ndimage.map_coordinates(image[..., one], there, order=1, mode="nearest") for one in range(3)]
    own = there if alike else places + field(mask.shape, most, generator)
    return np.stack(channels, axis=-1), ndimage.map_coordinates(mask, own, order=0, mode="nearest")


def looked_at(pairs: list[Pair]) -> dict[str, Alignment | None]:
    return {f"{at:03d}": aligned(*pair) for at, pair in enumerate(pairs)}


def singles(alignments: dict[str, Alignment | None]) -> dict[str, str]:
    """What single masks are told to be, by id."""
    return {one.images[0]: one.how for one in judge(alignments) if len(one.images) == 1}


def disc(radius: float = 40, size: int = 200, dark: int = 90) -> Pair:
    """A dark disc on a bright ground with some noise, and its mask."""
    rows, columns = np.mgrid[:size, :size]
    mask = (np.hypot(rows - size / 2, columns - size / 2) < radius).astype(np.uint8)
    image = 220 - (220 - dark) * mask[..., None].astype(np.int64)
    return (image + np.random.default_rng(0).integers(-8, 8, (size, size, 3))).clip(0, 255).astype(np.uint8), mask


@pytest.mark.parametrize(("right", "down"), [(0, 0), (4, 4), (-5, 2), (0, -7)])
@pytest.mark.parametrize("dark", [90, 250], ids=["darker", "brighter"])
def test_the_shift_that_brings_a_mask_back_is_measured_to_half_a_pixel(right: int, down: int, dark: int):
    image, mask = disc(dark=dark)
    found = aligned(image, moved(mask, -right, -down))

    assert found is not None
    np.testing.assert_allclose((right, down), found.shift, atol=0.5)
    assert found.fit >= found.here


def test_large_images_are_shrunk_and_shifts_are_told_in_their_own_pixels():
    image, mask = (np.kron(part, np.ones((8, 8, 1)[: part.ndim], np.uint8)) for part in disc())
    found = aligned(image, moved(mask, -10, -6))

    assert found is not None and (2, 32) == (found.step, found.reach)
    np.testing.assert_allclose((10, 6), found.shift, atol=1)


@pytest.mark.parametrize("wider", [-5, 3, 6])
def test_a_mask_that_is_drawn_too_wide_or_too_narrow_all_around_is_not_shifted(wider: int):
    image, mask = disc()[0], disc(40 + wider)[1]
    found = aligned(image, mask)

    assert found is not None
    np.testing.assert_allclose((0, 0), found.shift, atol=0.7)
    assert wider == pytest.approx(found.wider, abs=1.5)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (disc()[0], np.zeros((200, 200), np.uint8)),
        (disc()[0], np.ones((200, 200), np.uint8)),
        (disc()[0], np.full((200, 200), 255, np.uint8)),
        (np.full((200, 200, 3), 77, np.uint8), disc()[1]),
        (disc(size=20)[0], disc(radius=5, size=20)[1]),
        disc(radius=9, size=27),
        (disc(size=200)[0][:30], disc(size=200)[1][85:115]),
        (np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.uint8)),
    ],
    ids=["no foreground", "no background", "ignored", "a flat image", "tiny", "small", "a strip", "one pixel"],
)
def test_where_nothing_can_be_said_nothing_is(image: np.ndarray, mask: np.ndarray):
    assert aligned(image, mask) is None


def test_ignored_pixels_have_no_outline():
    image, mask = disc()
    mask[:, :100] = np.where(mask[:, :100] > 0, 255, 0)
    whole, half = aligned(*disc()), aligned(image, mask)

    assert whole is not None and half is not None
    np.testing.assert_allclose((0, 0), half.shift, atol=1)


def test_no_mask_of_a_hundred_clean_smears_is_off(clean: list[Pair]):
    alignments = looked_at(clean)

    assert 100 == sum(one is not None for one in alignments.values())
    assert [] == judge(alignments)


def test_a_shift_that_all_masks_share_is_one_finding(clean: list[Pair]):
    (found,) = misaligned(looked_at([(image, moved(mask, -2, -2)) for image, mask in clean[:40]]))

    assert (Kind.SHIFTED, 8) == (found.kind, len(found.images))
    assert "40 of 40 masks fit 2.0 px further right and 2.0 px further down." == found.note
    assert (2, 2) == (round(found.measures["right"], 1), round(found.measures["down"], 1))


def test_single_masks_that_are_moved_or_of_another_image_are_found_among_clean_ones(clean: list[Pair]):
    pairs = list(clean)
    for at in (3, 40):
        pairs[at] = (clean[at][0], moved(clean[at][1], 3, 4))
    pairs[70] = (clean[70][0], clean[71][1])
    found = singles(looked_at(pairs))

    assert {"003": "shifted", "040": "shifted"} == {name: found.get(name) for name in ("003", "040")}
    assert {"003", "040", "070"} == found.keys()


def test_copies_whose_mask_was_bent_apart_are_found_among_clean_ones(clean: list[Pair]):
    generator = np.random.default_rng(7)
    pairs = [bent(pair, 10, generator) if at % 9 == 0 else pair for at, pair in enumerate(clean)]

    assert {f"{at:03d}" for at in range(0, 100, 9)} == singles(looked_at(pairs)).keys()


def test_copies_that_were_bent_together_with_their_mask_raise_no_alarm(clean: list[Pair]):
    generator = np.random.default_rng(8)
    copies = [bent(pair, 15, generator, alike=True) for pair in clean[:20]]

    assert [] == judge(looked_at([*clean, *copies]))


def test_findings_are_plain_values(clean: list[Pair]):
    pairs = [*clean[:30], (clean[0][0], moved(clean[0][1], 6, 0)), bent(clean[1], 15, np.random.default_rng(3))]
    found = misaligned(looked_at(pairs))

    assert {("030",), ("031",)} == {one.images for one in found}
    assert found == [Finding(**{**one, "kind": Kind.SHIFTED, "images": tuple(one["images"])}) for one in plain(found)]


def plain(found: list[Finding]) -> list[dict]:
    return json.loads(json.dumps([asdict(one) for one in found]))


def test_masks_that_all_belong_to_other_images_are_told_as_one(clean: list[Pair]):
    (found,) = misaligned(looked_at([(image, np.rot90(mask, 2).copy()) for image, mask in clean[:30]]))

    assert "fit their images nowhere, moved by up to 16 px." in found.note
    assert 15 < found.measures["masks"]


def test_a_data_set_without_anything_to_look_at_has_no_findings():
    assert [] == misaligned({}) == misaligned({"a": None})


def test_many_single_masks_become_one_finding_that_names_the_worst():
    usual = Alignment((0, 0), 0.7, 0.7, 0.5, 0.0, 40, 1, 16)
    one = usual._replace(spread=5.0, local=0.3)
    few = misaligned({str(at): one._replace(spread=5.0 + at) if at < 5 else usual for at in range(200)})
    many = misaligned({str(at): one._replace(spread=5.0 + at) if at < 30 else usual for at in range(200)})

    assert [("4",), ("3",), ("2",), ("1",), ("0",)] == [found.images for found in few]
    assert "This mask is bent against its image: its parts fit 9.0 px apart." == few[0].note
    assert 1 == len(many) and ("29", "28") == many[0].images[:2] and 30 == many[0].measures["masks"]
    assert "30 of 200 masks are bent against their images: their parts fit up to 34.0 px apart." == many[0].note


@real
def test_no_mask_of_real_pairs_is_off_and_distorted_copies_among_them_are(squares: list[Pair]):
    generator, alignments = np.random.default_rng(10), looked_at(squares)
    copies = {f"bent {at}": aligned(*bent(squares[at], 10 if at % 2 else 15, generator)) for at in (3, 8, 15)}

    assert [] == judge(alignments)
    assert copies.keys() == singles(alignments | copies).keys()


@real
def test_the_shift_of_lisc_is_found_in_real_pairs(squares: list[Pair]):
    common = judge(looked_at([(image, moved(mask, -4, -4)) for image, mask in squares]))[0]

    assert ("common", len(squares)) == (common.how, len(common.images))
    np.testing.assert_allclose((4, 4), common.shift, atol=0.5)


@real
def test_real_masks_drawn_too_wide_raise_no_alarm(squares: list[Pair]):
    wider = [
        (image, ndimage.binary_dilation(mask, iterations=1 + at % 5).astype(np.uint8))
        for at, (image, mask) in enumerate(squares)
    ]

    assert [] == judge(looked_at(wider))


@real
@pytest.mark.slow
def test_no_mask_of_the_forty_real_pairs_is_off_at_native_size():
    assert [] == judge(looked_at([blood_cell.load(sample) for sample in blood_cell.read(REAL)]))


@real
@pytest.mark.slow
@pytest.mark.parametrize("most", [10, 15])
def test_every_real_pair_is_found_when_it_is_bent(most: float):
    pairs = [squared(*blood_cell.load(sample)) for sample in blood_cell.read(REAL)]
    generator, alignments = np.random.default_rng(int(most)), looked_at(pairs)
    copies = {f"bent {at}": aligned(*bent(pair, most, generator)) for at, pair in enumerate(pairs)}
    for start in range(8):  # 5 among 40 at a time
        few = dict(list(copies.items())[start::8])

        assert few.keys() == singles(alignments | few).keys()


def test_a_masks_smallest_told_shift_grows_with_the_shrinking():
    usual = Alignment((0, 0), 0.7, 0.7, 0.5, 0.0, 40, 2, 32)
    alignments: dict[str, Alignment | None] = {str(at): usual for at in range(30)}

    assert [] == judge(alignments | {"x": usual._replace(shift=(3.0, 0.0), here=0.5)})
    assert ["x"] == list(singles(alignments | {"x": usual._replace(shift=(5.0, 0.0), here=0.5)}))
    assert [] == judge(alignments | {"x": usual._replace(shift=(5.0, 0.0), here=0.7 - alignment.GAIN / 2)})
