"""PanNuke's arrays, in small: every patch, type and fold comes out as it went in."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench import prepare
from bench.errors import DataError
from tests import lookalike

SIZE = 16


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def fold(root: Path, number: int, count: int = 3, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """A fold as it unpacks; images uint8 (N, H, W, 3) and the type of every pixel, 0 without a nucleus, (N, H, W)."""
    generator = np.random.default_rng(number)
    images = generator.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    types = generator.integers(0, 6, (count, SIZE, SIZE))
    channels = np.zeros((count, SIZE, SIZE, 6))
    for channel in range(5):
        channels[..., channel] = np.where(types == channel + 1, generator.integers(1, 2000, types.shape), 0)
    channels[..., 5] = types == 0
    for what, array in (("images", images), ("masks", channels)):
        folder = root / f"Fold {number}" / what / f"fold{number}"
        folder.mkdir(parents=True)
        np.save(folder / f"{what}.npy", array.astype(dtype))
    np.save(images_of(root, number).with_name("types.npy"), np.array([f"tissue{at % 2}" for at in range(count)]))
    return images, types


def images_of(root: Path, number: int = 1) -> Path:
    return root / f"Fold {number}/images/fold{number}/images.npy"


def masks_of(root: Path, number: int = 1) -> Path:
    return root / f"Fold {number}/masks/fold{number}/masks.npy"


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_three_folds_train_validate_and_test(dtype: type, packed: bool, raw: Path, home: Path) -> None:
    truth = {number: fold(raw, number, dtype=dtype) for number in (1, 2, 3)}
    prepared = prepare.prepare("pannuke", home, lookalike.zipped(raw) if packed else raw)
    groups = prepared.split(0, 1)

    lookalike.check(
        prepared,
        {
            f"fold{number}-{at:05d}": (images[at], (types[at] > 0).astype(np.uint8))
            for number, (images, types) in truth.items()
            for at in range(3)
        },
    )
    assert {"train": "fold1", "val": "fold2", "test": "fold3"} == {
        name: prepared.index.entries[group[0]].sample.id[:5] for name, group in groups.items()
    }
    assert ["background", "nucleus"] == prepared.classes
    assert {"tissue0", "tissue1"} == {entry.sample.label for entry in prepared.index.entries}
    assert len(prepared.index.entries) == len({entry.sample.source for entry in prepared.index.entries})


def test_types_are_the_channels_in_their_order(raw: Path, home: Path) -> None:
    _, types = fold(raw, 1, count=8)
    prepared = prepare.prepare("pannuke[classes=types]", home, raw)

    assert ["background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"] == prepared.classes
    for entry, expected in zip(prepared.index.entries, types, strict=True):
        np.testing.assert_array_equal(expected, prepared.native(entry)[1])
    assert {None} == {entry.sample.split for entry in prepared.index.entries}  # one fold has to be split


def test_of_two_types_in_a_pixel_the_first_has_it(raw: Path, home: Path) -> None:
    fold(raw, 1, count=8)
    channels = np.load(masks_of(raw))
    channels[0, 0, 0] = [0, 0, 9, 0, 4, 0]
    np.save(masks_of(raw), channels)
    prepared = prepare.prepare("pannuke[classes=types]", home, raw)

    assert 3 == prepared.native(prepared.index.entries[0])[1][0, 0]


def test_both_arrays_may_lie_in_one_folder(raw: Path, home: Path) -> None:
    fold(raw, 2, count=8)
    (raw / "mine").mkdir()
    images_of(raw, 2).rename(raw / "mine/images.npy")
    masks_of(raw, 2).rename(raw / "mine/masks.npy")

    entry = prepare.prepare("pannuke", home, raw).index.entries[0]
    assert ("mine-00000", None) == (entry.sample.id, entry.sample.label)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_unpickled_and_pickled_tissues_are_no_labels(raw: Path, home: Path, tmp_path: Path) -> None:
    fold(raw, 1, count=8)
    trap = np.array([Trap(tmp_path / "sprung")] * 8, dtype=object)
    np.save(images_of(raw).with_name("types.npy"), trap, allow_pickle=True)
    prepared = prepare.prepare("pannuke", home, raw)

    assert {None} == {entry.sample.label for entry in prepared.index.entries}
    np.save(masks_of(raw), trap, allow_pickle=True)
    with pytest.raises(DataError, match=r"masks\.npy cannot be read: .*without Python objects"):
        prepare.prepare("pannuke", home, raw)
    masks_of(raw).write_bytes(pickle.dumps(trap))
    with pytest.raises(DataError, match=r"masks\.npy cannot be read: "):
        prepare.prepare("pannuke", home, raw)
    assert not (tmp_path / "sprung").exists()


def _change(path: Callable[[Path], Path], action: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: np.save(path(root), action(np.load(path(root))))


def _spoilt(array: np.ndarray, value: float) -> np.ndarray:
    array[1, 2, 3, 0] = value
    return array


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no arrays": (lambda root: images_of(root).rename(root / "x.npy"), r"has no images\.npy below it\. Unpack"),
    "no masks": (lambda root: masks_of(root).unlink(), r"images\.npy has no .*masks\.npy\. Put it there"),
    "cut": (lambda root: masks_of(root).write_bytes(masks_of(root).read_bytes()[:900]), r"masks\.npy cannot be read"),
    "empty": (lambda root: images_of(root).write_bytes(b""), r"images\.npy cannot be read"),
    "text": (lambda root: images_of(root).write_text("hello"), r"images\.npy cannot be read"),
    "strings": (lambda root: np.save(images_of(root), np.array(["a"])), "not numbers"),
    "other channels": (
        _change(masks_of, lambda masks: masks[..., :5]),
        r"has the shape \(8, 16, 16, 5\); PanNuke's is",
    ),
    "other count": (_change(masks_of, lambda masks: masks[:7]), "but its masks .* have"),
    "negative": (_change(images_of, lambda images: _spoilt(images, -1)), r"images\.npy#1 has values from -1"),
    "too bright": (_change(images_of, lambda images: _spoilt(images, 256)), "to 256.0; allowed are 0 to 255"),
    "image not finite": (_change(images_of, lambda images: _spoilt(images, np.nan)), "has values from nan"),
    "mask not finite": (
        _change(masks_of, lambda masks: _spoilt(masks, np.inf)),
        r"masks\.npy#1 has values that are not",
    ),
    "fold twice": (
        lambda root: (root / "b").mkdir() or fold(root / "b", 1),
        "are both fold1. Remove one of them",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arrays_are_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, raw: Path, home: Path
) -> None:
    fold(raw, 1, count=8)
    spoil(raw)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare("pannuke", home, raw)

    assert "\n" not in str(caught.value) and str(raw) in str(caught.value)
    assert not list(home.iterdir())


def test_other_classes_are_refused(home: Path) -> None:
    with pytest.raises(DataError, match="classes='tissue' of data set pannuke is not allowed"):
        prepare.prepare("pannuke[classes=tissue]", home)
