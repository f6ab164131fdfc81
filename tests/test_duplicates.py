"""Copies of a picture are found whatever was done to them, and different pictures are told apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bench import duplicates, prepare
from bench.datasets import smear
from bench.specs import Sample
from tests import lookalike

COUNT = 60


def encoded(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    with Image.open(file) as again:
        return np.asarray(again.convert("RGB"))


def enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: np.asarray(kind(Image.fromarray(image)).enhance(factor))


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda image: image,
    "re-encoded": lambda image: encoded(image, 75),
    "re-encoded badly": lambda image: encoded(image, 40),
    "rotated": lambda image: np.rot90(image).copy(),
    "turned over": lambda image: np.rot90(image, 2).copy(),
    "flipped": lambda image: image[:, ::-1].copy(),
    "upside down": lambda image: image[::-1].copy(),
    "transposed": lambda image: image.transpose(1, 0, 2).copy(),
    "transposed otherwise": lambda image: np.rot90(image, 2).transpose(1, 0, 2).copy(),
    "brighter": enhanced(ImageEnhance.Brightness, 1.1),
    "darker": enhanced(ImageEnhance.Brightness, 0.8),
    "flatter": enhanced(ImageEnhance.Contrast, 0.8),
    "rotated and re-encoded": lambda image: encoded(np.rot90(image).copy(), 75),
}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Sixty distinct smears, uint8 (224, 224, 3)."""
    return [smear.load(sample)[0] for sample in smear.read(train=COUNT)[:COUNT]]


def named(count: int) -> list[str]:
    return [f"p{at:03d}" for at in range(count)]


def test_distinct_pictures_are_not_merged(pictures: list[np.ndarray]) -> None:
    prints = [duplicates.fingerprint(image) for image in pictures]

    assert named(COUNT) == duplicates.groups(named(COUNT), prints, named(COUNT))


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_every_planted_copy_is_found_and_nothing_else_is(
    copy: Callable[[np.ndarray], np.ndarray], pictures: list[np.ndarray]
) -> None:
    both = [duplicates.fingerprint(image) for image in [*pictures, *map(copy, pictures[:10])]]
    found = duplicates.groups(named(COUNT + 10), both, named(COUNT + 10))

    assert named(COUNT) + named(10) == found


def test_the_eight_positions_of_a_fingerprint_are_those_of_the_picture(pictures: list[np.ndarray]) -> None:
    image = pictures[0]
    turned = [np.rot90(side, times).copy() for side in (image, image[:, ::-1]) for times in range(4)]
    expected = [duplicates.fingerprint(one) for one in turned]
    found = list(duplicates.positions(expected[0]))

    assert 8 == len(found)
    for signs in expected:
        assert min(int((signs != other).sum()) for other in found) <= 4


def test_groups_do_not_depend_on_the_order_and_reach_from_copy_to_copy() -> None:
    exact = ["a", "b", "a", "c", "b", "d"]
    names = named(6)
    prints = [None] * 6
    order = [4, 2, 0, 5, 1, 3]
    found = dict(zip(names, duplicates.groups(names, prints, exact), strict=True))
    shuffled = duplicates.groups([names[at] for at in order], prints, [exact[at] for at in order])

    assert ["p000", "p001", "p000", "p003", "p001", "p005"] == list(found.values())
    assert [found[names[at]] for at in order] == shuffled


def test_pictures_that_show_nothing_are_copies_only_when_they_are_the_same() -> None:
    blank = np.full((40, 40, 3), 200, np.uint8)

    assert duplicates.fingerprint(blank) is None
    assert ["a", "b", "a"] == duplicates.groups(["a", "b", "c"], [None] * 3, ["x", "y", "x"])


def test_copies_in_a_folder_never_part(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    for at, image in enumerate(pictures[:20]):
        for number, kind in enumerate(("exact", "re-encoded", "rotated", "flipped", "darker")):
            lookalike.save(tmp_path / f"raw/images/{number}-{at}.png", COPIES[kind](image))
            mask = np.eye(image.shape[0], dtype=np.uint8) * 255
            lookalike.save(tmp_path / f"raw/masks/{number}-{at}.png", mask)
    prepared = prepare.prepare(str(tmp_path / "raw"), tmp_path / "home")
    for fold, folds in ((0, 1), (1, 3), (2, 3)):
        where = {
            (prepared.index.entries[position].sample.id.split("-")[1], split)
            for split, group in prepared.split(fold, folds).items()
            for position in group
        }
        assert 20 == len(where)
    assert {f"0-{at}" for at in range(20)} == {sample.source for sample in prepared.samples}


def test_an_official_split_stands_and_its_copies_are_told() -> None:
    samples = [Sample(id=f"{split}-1", image="", mask="", source="", split=split) for split in ("train", "test", "val")]
    said: list[str] = []
    found = duplicates.sourced(samples, [None] * 3, ["x", "x", "y"], said.append)

    assert ["train-1", "test-1", "val-1"] == [sample.source for sample in found]
    assert 1 == len(said)
    assert said[0].startswith("1 pictures have copies in more than one official split, the first is test-1")


def test_a_known_source_is_left_as_it_is() -> None:
    samples = [Sample(id=name, image="", mask="", source=f"photo {name}") for name in "ab"]

    assert samples == duplicates.sourced(samples, [None] * 2, ["x", "x"], pytest.fail)
