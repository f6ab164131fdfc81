"""Images of one scene are found whatever was done to them, and images of different scenes are told apart."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bench.datasets import smear
from bench.presets import SYMMETRIES
from bench.resemblance import GROUP, TRIES, Copies, Pair, Seen, copies, repeated, seen
from tests.distorted import deformed, distorted, encoded, lenses, resized, shrunk

COPIED = 3

Copy = Callable[[np.ndarray], np.ndarray]


def flags(image: np.ndarray, position: str) -> np.ndarray:
    """As SYMMETRIES defines it: transposed first, then rows reversed, then columns reversed."""
    rows, columns, transposed = SYMMETRIES[position]
    image = image.transpose(1, 0, 2) if transposed else image
    image = np.flipud(image) if rows else image
    return np.fliplr(image) if columns else image


POSITIONS: dict[str, Copy] = {name: lambda image, name=name: flags(image, name) for name in SYMMETRIES}
COPIES: dict[str, Copy] = {
    "re-encoded": lambda image: encoded(image, 50),
    "half the size": lambda image: resized(image, 0.5),
    "larger": lambda image: resized(image, 1.3),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "flatter": lambda image: (image * 0.6 + 80).astype(np.uint8),
    "of another gamma": lambda image: (255 * (image / 255) ** 1.5).astype(np.uint8),
    "shifted": lambda image: np.roll(image, (3, -3), axis=(0, 1)),
    "turned by 3 degrees": lambda image: np.asarray(Image.fromarray(image).rotate(3, fillcolor=tuple(image[2, 2]))),
}
BENT: dict[str, Copy] = {
    "barrel": lambda image: lenses(image, 0.3, 1),
    "five barrels": lambda image: lenses(image, 0.3),
    "pincushion": lambda image: lenses(image, -0.3, 1),
    "five pincushions": lambda image: lenses(image, -0.3),
    "deformed": lambda image: deformed(image, 8),
    "deformed less": lambda image: deformed(image, 10),
    "distorted": lambda image: distorted(image, 10, 1),
    "distorted more": lambda image: distorted(image, 15, 2),
    "shrunk": shrunk,
    "turned, bent and re-encoded": lambda image: encoded(lenses(np.rot90(image).copy(), 0.3), 60),
}


def contents(count: int) -> list[str]:
    return [f"content {at}" for at in range(count)]


def found(first: list[Seen | None], second: list[np.ndarray]) -> list[Pair]:
    """The pairs among images and more of them, all of different bytes."""
    return copies([*first, *map(seen, second)], contents(len(first) + len(second))).found


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_every_planted_copy_is_found_and_nothing_else_is(
    copy: Copy, smears: list[np.ndarray], seen_smears: list[Seen | None]
) -> None:
    pairs = found(seen_smears, [copy(image) for image in smears[:COPIED]])

    assert [(at, len(smears) + at, "none", False) for at in range(COPIED)] == [
        (one.first, one.second, one.position, one.exact) for one in pairs
    ]


@pytest.mark.parametrize("position", SYMMETRIES)
def test_the_position_says_what_was_done_to_the_first_to_give_the_second(
    position: str, smears: list[np.ndarray], seen_smears: list[Seen | None]
) -> None:
    pairs = found(seen_smears[:10], [POSITIONS[position](image) for image in smears[:COPIED]])

    assert [(at, 10 + at, position) for at in range(COPIED)] == [pair[:2] + pair[4:5] for pair in pairs]
    assert all(one.correlation > 0.99 and one.displacement == 0 for one in pairs)


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT)
def test_photographs_bent_as_published_are_found(bend: Copy, photographs: list[np.ndarray]) -> None:
    squares = [np.asarray(Image.fromarray(image[:, 200:1400]).resize((512, 512))) for image in photographs[:8]]
    pairs = found([seen(image) for image in squares], [bend(image) for image in squares[:2]])

    assert [(0, 8), (1, 9)] == [pair[:2] for pair in pairs]
    assert all(one.correlation > 0.85 for one in pairs)


def test_displacement_and_brightness_are_measured(smears: list[np.ndarray]) -> None:
    large = np.asarray(Image.fromarray(smears[0]).resize((448, 448)))
    shifted = np.roll(large, 12, axis=1)
    darker = (large * 0.8).astype(np.uint8)
    [bent] = found([seen(large)], [shifted])
    [dark] = found([seen(large)], [darker])

    assert 12 == pytest.approx(bent.displacement, abs=6)
    assert float(darker.mean() - large.mean()) == pytest.approx(dark.brightness, abs=1)
    assert 0 == dark.displacement


def test_no_two_smears_resemble_each_other_at_any_size(seen_smears: list[Seen | None]) -> None:
    assert Copies([], 0) == copies(seen_smears, contents(len(seen_smears)))
    for size in (96, 256):
        small = [seen(smear.load(sample)[0]) for sample in smear.read(train=60, size=size)[:60]]

        assert [] == copies(small, contents(60)).found


def test_no_two_real_photographs_are_copies(photographs: list[np.ndarray]) -> None:
    assert [] == copies([seen(image) for image in photographs], contents(40)).found


def test_equal_bytes_are_exact_copies_even_of_images_that_show_nothing(smears: list[np.ndarray]) -> None:
    blank = np.full((40, 40, 3), 200, np.uint8)
    one = seen(smears[0])
    pairs = copies([None, one, None, one, seen(encoded(smears[0], 70))], ["blank", "a", "blank", "a", "b"]).found

    assert seen(blank) is None
    assert [(0, 2, True), (1, 3, True), (1, 4, False), (3, 4, False)] == [pair[:3] for pair in pairs]


def dimmed(image: np.ndarray, count: int) -> list[Seen | None]:
    """An image and darker copies of it."""
    return [seen((image * (1 - at / 200)).astype(np.uint8)) for at in range(count)]


def test_every_pair_of_a_small_group_is_told_and_of_a_large_one_as_many_as_connect_it(
    smears: list[np.ndarray],
) -> None:
    small = copies(dimmed(smears[0], GROUP), contents(GROUP)).found
    large = copies(dimmed(smears[0], GROUP + 5), contents(GROUP + 5)).found

    assert GROUP * (GROUP - 1) // 2 == len(small)
    assert GROUP + 4 == len(large)
    assert set(range(1, GROUP + 5)) == repeated(large)


def test_copies_bent_apart_meet_through_their_source_wherever_it_stands(photographs: list[np.ndarray]) -> None:
    square = np.asarray(Image.fromarray(photographs[0][:, 200:1400]).resize((512, 512)))
    pairs = found([seen(lenses(square, 0.3)), seen(lenses(square, -0.3))], [square])

    assert {(0, 2), (1, 2)} <= {pair[:2] for pair in pairs}
    assert {1, 2} == repeated(pairs)


def test_pairs_that_are_left_out_because_all_looks_alike_are_counted(
    smears: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = dimmed(smears[0], 3)
    monkeypatch.setattr("bench.resemblance.TRIES", 0)

    assert Copies([], 3) == copies(many, contents(3))
    assert TRIES > GROUP


def test_what_is_kept_of_an_image_is_small_and_travels(photographs: list[np.ndarray]) -> None:
    travelled = pickle.dumps(seen(photographs[0]))

    assert len(travelled) < 60_000
    assert pickle.loads(travelled).thumbnail.shape == (144, 192)
