"""Arrays at training size: every row where it belongs, made once, whole or not at all, in little memory."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest

from bench import derived, fit, pool, prepare
from bench.errors import DataError
from bench.specs import Recipe
from tests import lookalike

RECIPES = [
    Recipe(size=(16, 20), fit="resize"),
    Recipe(size=(32, 32), fit="letterbox"),
    Recipe(size=(16, 16), fit="tile", overlap=4),
    Recipe(size=(64, 24), fit="tile"),
]


def stage(item: int, folder: Path) -> int:
    """Leave a mark that the work on an item began."""
    (folder / str(item)).touch()
    return item


def fail_at_seven(item: int) -> int:
    if item == 7:
        raise DataError("seven")
    return item


def leave(item: int) -> int:
    os._exit(1) if item == 7 else None
    return item


def pair(entry: tuple[int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return lookalike.picture(*entry, classes=4)


def uneven(count: int) -> tuple[list[tuple[int, tuple[int, int]]], list[tuple[int, int]]]:
    """Pictures of different sizes: what to draw, and how large it is."""
    sizes = [(20 + 7 * (at % 5), 48 - 9 * (at % 3)) for at in range(count)]
    return list(enumerate(sizes)), sizes


@pytest.mark.parametrize("recipe", RECIPES, ids=fit.tag)
@pytest.mark.parametrize("count", [3, 18])
def test_every_row_is_the_window_of_its_image(recipe: Recipe, count: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    items, sizes = uneven(count)
    images, masks = derived.arrays(tmp_path, items, sizes, recipe, pair)
    expected = [(at, window) for at, size in enumerate(sizes) for window in fit.windows(size, recipe)]

    assert [at for at, _ in expected] == derived.owners(sizes, recipe).tolist()
    assert derived.needed(sizes, recipe) == images.nbytes + masks.nbytes
    for (at, window), image, mask in zip(expected, images, masks, strict=True):
        small, labels = fit.cut(*pair(items[at]), window, recipe.size)
        np.testing.assert_array_equal(small, image)
        np.testing.assert_array_equal(labels, mask)


def test_they_are_made_once_with_progress_and_leave_nothing_else(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    items, sizes = uneven(3)
    for _ in range(2):
        derived.arrays(tmp_path, items, sizes, RECIPES[0], pair, lambda *numbers: told.append(numbers))

    assert [(1, 3), (2, 3), (3, 3)] == told
    assert {"images-16x20-resize.npy", "masks-16x20-resize.npy"} == {path.name for path in tmp_path.iterdir()}


def test_an_error_half_way_leaves_nothing_that_could_be_used(tmp_path: Path) -> None:
    items, sizes = uneven(4)

    def broken(item: tuple[int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        if item[0] == 3:
            raise DataError("gone")
        return pair(item)

    with pytest.raises(DataError, match="gone"):
        derived.arrays(tmp_path, items, sizes, RECIPES[2], broken)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("spoil", ["cut short", "one missing", "of another count"])
def test_spoiled_arrays_are_made_anew(spoil: str, tmp_path: Path) -> None:
    items, sizes = uneven(4)
    before = np.array(derived.arrays(tmp_path, items, sizes, RECIPES[0], pair)[1])
    path = tmp_path / "masks-16x20-resize.npy"
    if spoil == "cut short":
        os.truncate(path, 200)
    elif spoil == "one missing":
        path.unlink()
    else:
        np.save(path, before[:2])

    np.testing.assert_array_equal(before, derived.arrays(tmp_path, items, sizes, RECIPES[0], pair)[1])


def test_results_that_nobody_takes_hold_the_work_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    peak = 0
    for taken in pool.each(functools.partial(stage, folder=tmp_path), range(60)):
        waiting = len(list(tmp_path.iterdir())) - taken
        peak = max(peak, waiting)

    assert taken == 59
    assert peak <= pool.AHEAD * 2 + 1


@pytest.mark.parametrize(("work", "message"), [(fail_at_seven, "seven"), (leave, "ended from outside")])
def test_a_failure_in_a_process_is_one_error_here(work, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(DataError, match=message):
        list(pool.each(work, range(40)))


@pytest.mark.parametrize("recipe", RECIPES, ids=fit.tag)
def test_prepared_data_know_whose_row_is_whose(recipe: Recipe, tmp_path: Path) -> None:
    lookalike.folder(tmp_path / "raw", count=4)
    prepared = prepare.prepare(str(tmp_path / "raw"), tmp_path / "home")
    images, masks, owners = prepared.resized(recipe)

    assert len(images) == len(masks) == len(owners)
    for position, entry in enumerate(prepared.index.entries):
        image, mask = prepared.native(entry)
        rows = np.flatnonzero(owners == position)
        for row, window in zip(rows, fit.windows(mask.shape, recipe), strict=True):
            np.testing.assert_array_equal(fit.cut(image, mask, window, recipe.size)[0], images[row])
