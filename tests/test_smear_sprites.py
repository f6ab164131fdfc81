"""Smear pictures composed from crops: every pixel pasted, every box, no crop in two splits, the published procedure."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bench import catalog, cli, export, prepare
from bench.datasets import _smear_compose as compose
from bench.datasets import _smear_sprites as crops
from bench.errors import DataError
from bench.specs import IGNORE, DatasetSpec, Sample
from bench.split import assign
from tests import sprites

ROOT = Path(__file__).resolve().parents[1]
DIGEST = """
import hashlib, sys
from bench import catalog
spec = catalog.dataset(sys.argv[1])
_, options = catalog.names.parse(sys.argv[1])
for sample in spec.read(spec.raw, **{**spec.options, **options})[2:4]:
    print(hashlib.sha256(b"".join(array.tobytes() for array in spec.load(sample))).hexdigest())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sprites.write(tmp_path_factory.mktemp("crops") / "my cells.v1")


def opened(folder: Path, **options: Any) -> tuple[DatasetSpec, list[Sample]]:
    """The data set of a folder and its samples."""
    options |= {"sprites": str(folder)}
    spec = catalog.dataset(catalog.names.show("smear", options))
    return spec, list(spec.read(spec.raw, **{**spec.options, **options}))


def digest(spec: DatasetSpec, sample: Sample) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in spec.load(sample))).hexdigest()


def boxes(spec: DatasetSpec, samples: list[Sample]) -> list[list[dict[str, Any]]]:
    assert spec.objects is not None
    return [spec.objects(sample) for sample in samples]


def affixed(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [box for box in listed if box["samplePath"] is not None]


def pasted_by_hand(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The same picture by another way: the whole background painted, then cropped, then cells set pixel by pixel."""
    order = compose.read_order(sample.image)
    scene = compose.scene(order)
    _, kind, split, number = scene.background.split("_")
    image = np.full((1000, 1000, 3), 255, np.uint8)
    mask = np.zeros((1000, 1000), np.uint8)
    for red in compose._background(order.root, order.stamp, order.seed, order.split, kind, int(number)):
        pixels, inside = (
            np.array(Image.open(Path(order.root, name)).convert(mode))
            for name, mode in zip(red.files, ("RGB", "L"), strict=True)
        )
        rows, columns = np.nonzero(inside >= 128)
        at = rows - rows.min() + red.top, columns - columns.min() + red.left
        image[at], mask[at] = pixels[rows, columns], red.index
    top, left = order.stream(1).integers(0, 1001 - order.size, 2)
    image, mask = (array[top : top + order.size, left : left + order.size] for array in (image, mask))
    for cell in scene.affixed:
        for row, column in np.argwhere(cell.patch.inside):
            y, x = row + cell.top, column + cell.left
            if 0 <= y < order.size and 0 <= x < order.size:
                image[y, x], mask[y, x] = cell.patch.pixels[row, column], cell.index if cell.index < 10 else IGNORE
    return image, mask


def test_a_picture_holds_pixel_by_pixel_what_was_pasted(folder: Path) -> None:
    spec, samples = opened(folder, train=8, val=1, test=1, partial="ignore")
    for sample in samples:
        image, mask = spec.load(sample)
        expected_image, expected_mask = pasted_by_hand(sample)

        np.testing.assert_array_equal(expected_image, image)
        np.testing.assert_array_equal(expected_mask, mask)
        assert (image[mask == 0] == 255).all()
        assert ((224, 224, 3), np.uint8, (224, 224), np.uint8) == (image.shape, image.dtype, mask.shape, mask.dtype)


def test_pictures_depend_on_their_names_alone(folder: Path) -> None:
    few, many = opened(folder, train=3, val=2, test=1), opened(folder, train=9, val=4, test=2)
    forward = {sample.id: digest(few[0], sample) for sample in few[1]}
    compose._background.cache_clear()
    backward = {sample.id: digest(many[0], sample) for sample in reversed(many[1])}
    again, other = opened(folder, train=3, val=2, test=1, seed=1)

    assert forward == {name: backward[name] for name in forward}
    assert 6 + 15 == len({digest(again, sample) for sample in other} | set(backward.values()))


def test_another_process_composes_the_same_pictures(folder: Path) -> None:
    name = f"smear[sprites={folder},test=1,train=3,val=1]"
    spec, samples = opened(folder, train=3, val=1, test=1)
    command = [sys.executable, "-c", DIGEST, name]
    there = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)

    assert [digest(spec, sample) for sample in samples[2:4]] == there.stdout.split()


def test_no_crop_stands_in_two_splits_and_each_class_is_split_80_10_10(folder: Path, tmp_path: Path) -> None:
    library = crops.survey(folder)
    sizes = {key: len(files) for key, files in library.pools.items()}
    _, samples = opened(folder, train=60, val=60, test=60)
    used: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for sample in samples:
        scene = compose.scene(compose.read_order(sample.image))
        used[sample.split or ""] |= {cell.files[0] for cell in scene.affixed if cell.files}
        _, kind, split, number = scene.background.split("_")
        order = compose.read_order(sample.image)
        reds = compose._background(order.root, order.stamp, 0, order.split, kind, int(number))
        used[split] |= {red.files[0] for red in reds}

    assert {8, 1} == set(sizes.values())
    assert {8} == {size for (_, split), size in sizes.items() if split == "train"}
    assert not used["train"] & used["val"] and not used["train"] & used["test"] and not used["val"] & used["test"]
    assert [9, 9] == [len(used["val"]), len(used["test"])]  # all that there are
    assert 60 <= len(used["train"]) <= 72
    assert {"crops-train", "crops-val", "crops-test"} == {sample.source for sample in samples}


@pytest.mark.parametrize(
    ("count", "expected"), [(3, (1, 1, 1)), (10, (8, 1, 1)), (36, (28, 4, 4)), (407, (325, 41, 41))]
)
def test_the_draw_depends_on_names_and_not_on_their_order(count: int, expected: tuple[int, int, int]) -> None:
    stems = [f"Infected_{number}" for number in range(count)]
    split = crops.drawn(stems)

    assert expected == tuple(list(split.values()).count(name) for name in ("train", "val", "test"))
    assert split == crops.drawn(stems[::-1])


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    parts = ("train", "Valid", "test")
    root = sprites.write(tmp_path, 6, split=lambda number: parts[number % 3])
    library = crops.survey(root)

    assert {("train", "train"), ("val", "Valid"), ("test", "test")} == {
        (split, name.split("/")[1]) for (_, split), cells in library.pools.items() for files in cells for name in files
    }


@pytest.mark.parametrize("names", [{"_": "Healthy"}, {"_": "HEALTHY_rbc", "Clumps": "platelet_clump"}], ids=str)
def test_folders_may_have_our_names_in_any_case_and_hold_png(names: dict[str, str], tmp_path: Path) -> None:
    one = crops.survey(sprites.write(tmp_path / "one", 3))
    other = crops.survey(sprites.write(tmp_path / "other", 3, names=names, suffix="png"))
    pair = (
        one.pools[9, "train"][0],
        next(files for split in crops.SPLITS for files in other.pools[9, split] if files[0].endswith("_0.png")),
    )
    first = next(files for split in crops.SPLITS for files in one.pools[9, split] if files[0] == "_/__0.bmp")

    assert one.pools.keys() == other.pools.keys()
    np.testing.assert_array_equal(one.patch(first).pixels, other.patch(pair[1]).pixels)


def test_boxes_are_those_of_the_cells_inside_the_picture(folder: Path) -> None:
    spec, samples = opened(folder, train=30, val=2, test=2, partial="class")
    for sample, listed in zip(samples, boxes(spec, samples), strict=True):
        mask, top_most = spec.load(sample)[1], affixed(listed)[-1:]
        for box in listed:
            window = mask[box["tlY"] : box["tlY"] + box["bboxH"], box["tlX"] : box["tlX"] + box["bboxW"]]
            assert (box["bboxH"], box["bboxW"]) == window.shape and min(window.shape) > 0
            assert box["classIdx"] in window or box not in affixed(listed)
            assert (box["posX"], box["posY"]) == (box["tlX"] + box["bboxW"] // 2, box["tlY"] + box["bboxH"] // 2)
            assert spec.classes[box["classIdx"]].name == box["className"]
        for box in top_most:  # nothing covers the last one: its box is that of its pixels
            rows, columns = np.nonzero(mask == box["classIdx"])
            near = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
            if sum(one["classIdx"] == box["classIdx"] for one in affixed(listed)) == 1:
                assert near == (box["tlY"], box["tlX"], box["tlY"] + box["bboxH"], box["tlX"] + box["bboxW"])
        assert {"samplePath", "bgPath"} < listed[0].keys()
        assert [*affixed(listed)] == listed[: len(affixed(listed))]
        json.dumps(listed)


def test_a_red_cell_is_listed_unless_its_centre_is_outside_or_under_the_box_of_an_affixed_cell() -> None:
    patch = crops.Patch(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), bool))
    large = crops.Patch(np.zeros((80, 80, 3), np.uint8), np.ones((80, 80), bool))
    cell = compose.Placed(index=1, patch=large, top=60, left=60, files=("a", "b"))

    def listed(top: int, left: int) -> bool:
        return compose._is_listed(compose.Placed(index=9, patch=patch, top=top, left=left), (cell,), 224)

    assert [False, False, False, True, True] == [listed(at, 80) for at in (80, 40, 120, 39, 121)]
    assert [True, False, True] == [listed(0, at) for at in (-20, -21, 203)]
    assert [True, False] == [listed(at, 200) for at in (203, 204)]


def test_occluded_red_cells_are_missing_from_the_boxes_and_stay_in_the_mask(folder: Path) -> None:
    spec, samples = opened(folder, train=40, val=1, test=1)
    dropped = 0
    for sample in samples:
        scene = compose.scene(compose.read_order(sample.image))
        for red in scene.reds:
            inside = all(0 <= middle < 224 for middle in red.middle)
            hidden = any(
                all(
                    abs(a - b) <= edge / 2
                    for a, b, edge in zip(red.middle, cell.middle, cell.patch.inside.shape, strict=True)
                )
                for cell in scene.affixed
            )
            dropped += inside and hidden
        expected = sum(all(0 <= middle < 224 for middle in red.middle) for red in scene.reds)
        found = [box for box in boxes(spec, [sample])[0] if box["samplePath"] is None]
        assert len(found) <= expected
        dropped -= expected - len(found)

    assert 0 == dropped


def test_pictures_follow_the_published_numbers(folder: Path) -> None:
    spec, samples = opened(folder, train=150, val=1, test=1)
    listed = boxes(spec, samples[:150])
    kinds = Counter(found[0]["bgPath"].split("_")[1] for found in listed)
    cells = Counter(len(affixed(found)) for found in listed)
    classes = Counter(box["classIdx"] for found in listed for box in found)
    white = [classes[index] for index in range(1, 8)]

    assert {"nn": 50, "ii": 50, "in": 50} == kinds
    assert 9 < (classes[8] + classes[9]) / 150 < 14 and 0.75 < classes[8] / classes[9] < 1.35
    assert 0 < cells[0] < 20 and 70 < cells[1] < 110 and 34 < cells[2] < 75
    assert max(white) < 2 * min(white)


def test_red_cells_lie_as_densely_and_as_far_apart_as_published(folder: Path) -> None:
    order = compose.read_order(opened(folder, train=1, val=1, test=1)[1][0].image)
    nearest, sizes, counts = [], [], []
    for number in range(6):
        reds = compose._background(order.root, order.stamp, 0, "train", "in", number)
        middles = np.array([(red.top + red.height / 2, red.left + red.width / 2) for red in reds])
        away = np.sqrt(((middles[:, None] - middles) ** 2).sum(axis=-1))
        np.fill_diagonal(away, np.inf)
        nearest += away.min(axis=1).tolist()
        sizes += [red.height for red in reds]
        counts.append(len(reds))
        assert all(min(red.top, red.left) >= 0 and red.top + red.height <= 1000 for red in reds)
        assert all(red.left + red.width <= 1000 for red in reds)

    assert 264 == pytest.approx(np.mean(counts), abs=12)
    assert 39 == pytest.approx(np.mean(sizes), abs=3)
    assert 50 == pytest.approx(np.median(nearest), abs=3)
    assert 29 == pytest.approx(np.percentile(nearest, 5), abs=6)


def test_two_cells_lie_in_different_halves(folder: Path) -> None:
    spec, samples = opened(folder, train=120, val=1, test=1)
    sides = Counter[str]()
    for found in map(affixed, boxes(spec, samples[:120])):
        if len(found) == 2:
            one, other = found
            apart = {
                "right": one["tlX"] - other["tlX"] - other["bboxW"],
                "bottom": one["tlY"] - other["tlY"] - other["bboxH"],
                "left": other["tlX"] - one["tlX"] - one["bboxW"],
                "top": other["tlY"] - one["tlY"] - one["bboxH"],
            }
            assert max(apart.values()) >= 0
            half = {"right": one["tlX"] >= 112, "bottom": one["tlY"] >= 112}
            half |= {"left": one["tlX"] + one["bboxW"] <= 112, "top": one["tlY"] + one["bboxH"] <= 112}
            assert any(half[side] and apart[side] >= 0 for side in half)
            sides.update(side for side in half if half[side])

    assert min(sides[side] for side in ("right", "bottom", "left", "top")) >= 3


def test_cells_are_mirrored_turned_or_left_at_the_published_shares(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, done = crops.survey(folder), Counter[str]()
    files = cells.pools[1, "train"][0]
    for name in ("flipped", "quarter", "turned"):

        def noted(patch: crops.Patch, how: int, name: str = name) -> crops.Patch:
            done[f"{name} {how}" if name == "flipped" else name] += 1
            return getattr(crops, name)(patch, how)

        monkeypatch.setattr(compose, name, noted)
    random = np.random.default_rng(0)
    for _ in range(1000):
        compose._augmented(random, cells, 1, files)

    assert {"flipped 0", "flipped 1", "quarter", "turned"} == done.keys()
    assert [200] * 4 == [pytest.approx(count, abs=40) for count in done.values()]


def test_a_turned_cell_keeps_its_colour_to_the_edge_and_its_area() -> None:
    rows, columns = np.indices((61, 41)) - np.array([30, 20])[:, None, None]
    inside = (rows / 30) ** 2 + (columns / 20) ** 2 <= 1
    pixels = np.where(inside[..., None], np.array([200, 100, 50], np.uint8), np.uint8(7))
    patch = crops.trimmed(pixels, inside)
    for degrees in range(0, 360, 15):
        found = crops.turned(patch, degrees)

        assert inside.sum() == pytest.approx(found.inside.sum(), rel=0.02)
        assert np.abs(found.pixels[found.inside].astype(int) - [200, 100, 50]).max() <= 2
        assert found.inside.any(axis=0)[[0, -1]].all() and found.inside.any(axis=1)[[0, -1]].all()
    straight = crops.turned(patch, 90)
    overlap = (straight.inside & np.rot90(patch.inside)[: straight.inside.shape[0], : straight.inside.shape[1]]).sum()
    assert overlap > 0.97 * inside.sum()


def test_partial_white_cells_are_ignored_or_an_eleventh_class(folder: Path) -> None:
    whole, cut, named = (opened(folder, train=90, val=1, test=1, partial=mode) for mode in ("none", "ignore", "class"))
    seen = Counter[tuple[bool, bool]]()
    for plain, ignored, classed in zip(whole[1], cut[1], named[1], strict=True):
        image, mask = cut[0].load(ignored)
        same, classes = named[0].load(classed)
        np.testing.assert_array_equal(image, same)
        np.testing.assert_array_equal(np.where(mask == IGNORE, 10, mask), classes)
        assert 255 not in whole[0].load(plain)[1]
        for box in affixed(boxes(named[0], [classed])[0]):
            if box["classIdx"] == 10:
                at_side = box["tlX"] == 0 or box["tlX"] + box["bboxW"] == 224
                at_end = box["tlY"] == 0 or box["tlY"] + box["bboxH"] == 224
                seen[at_side, at_end] += 1
                assert at_side or at_end
        assert (IGNORE in mask) == any(box["classIdx"] == IGNORE for box in boxes(cut[0], [ignored])[0])

    assert 10 == len(whole[0].classes) == len(cut[0].classes)
    assert ("partial_wbc", (0, 0, 255)) == (named[0].classes[10].name, named[0].classes[10].colour)
    assert 5 <= seen[True, True] + seen[True, False] + seen[False, True] <= 25
    assert seen[True, True] and seen[True, False] + seen[False, True]


def test_half_of_a_cut_cell_is_outside_or_three_quarters_at_a_corner() -> None:
    patch = crops.Patch(np.zeros((60, 40, 3), np.uint8), np.ones((60, 40), bool))
    cell = compose.Placed(index=3, patch=patch, top=0, left=0, files=("a", "b"))
    random, shares = np.random.default_rng(0), Counter[float]()
    for _ in range(2000):
        placed = compose._cut(random, cell, 224)
        _, part = placed.overlap(224)
        shares[float(placed.patch.inside[part].sum() / patch.inside.size)] += 1

    assert {0.5, 0.25} == shares.keys()
    assert 1200 == pytest.approx(shares[0.5], abs=80)


def test_it_is_prepared_end_to_end_and_again_when_a_crop_changes(tmp_path: Path) -> None:
    root, home = sprites.write(tmp_path / "my cells.v1", 4), tmp_path / "home"
    name = f"smear[sprites={root},train=8,val=4,test=4,size=96]"
    prepared = prepare.prepare(name, home)
    spec, samples = opened(root, train=8, val=4, test=4, size=96)
    for entry, sample in zip(prepared.index.entries, samples, strict=True):
        for expected, found in zip(spec.load(sample), prepared.native(entry), strict=True):
            np.testing.assert_array_equal(expected, found)
    assert {"train": 8, "val": 4, "test": 4} == {split: len(group) for split, group in prepared.split(0, 1).items()}
    assert prepared == prepare.open_prepared(name, home) and [prepared.folder] == list(home.iterdir())

    first = next(path for path in sorted((root / "Infected").iterdir()) if not path.stem.endswith("_mask"))
    sprites.save(first, 255 - np.array(Image.open(first)))
    changed = prepare.open_prepared(name, home)
    assert prepared.index.hash != changed.index.hash
    assert 16 == export.export(name, home, tmp_path / "out")
    exported = json.loads((tmp_path / "out/val/labels/val-00000.json").read_text())
    assert boxes(*opened(root, train=8, val=4, test=4, size=96))[8] == list(exported.values())
    again = prepare.prepare(str(tmp_path / "out"), home)
    assert sorted(entry.hash for entry in changed.index.entries) == sorted(entry.hash for entry in again.index.entries)


def test_it_does_not_matter_where_the_crops_lie(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "elsewhere")
    found = [
        prepare.prepare(f"smear[sprites={root},test=2,train=2,val=2]", tmp_path / str(at))
        for at, root in enumerate((folder, other))
    ]

    assert found[0].index.hash == found[1].index.hash


def test_a_relative_path_is_a_name_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    name = "smear[sprites=./my cells.v1,test=1,train=2,val=1]"

    assert folder == catalog.dataset(name).raw
    assert tmp_path == prepare.location(name, tmp_path).parent
    assert name == catalog.canonical("datasets", name)
    assert 4 == len(prepare.prepare(name, tmp_path).index.entries)


def test_its_loading_travels_to_other_processes(folder: Path) -> None:
    spec, samples = opened(folder, train=1, val=1, test=1)
    travelled = pickle.loads(pickle.dumps(spec.load))

    np.testing.assert_array_equal(spec.load(samples[0])[0], travelled(samples[0])[0])


def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    spec, samples = opened(sprites.write(tmp_path, 4), train=1, val=1, test=1)
    (tmp_path / "_" / "__0.bmp").unlink()
    (tmp_path / "_" / "__0_mask.bmp").unlink()
    with pytest.raises(DataError, match=r"has changed since its crops were listed\. Prepare the data set again"):
        spec.load(samples[0])


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda root: [delete(path) for path in list(root.iterdir())], "infected_rbc nor healthy_rbc.*no class"),
    "no healthy cells": (lambda root: delete(root / "_"), "no folder of healthy_rbc; found: Basophil, .*Wanted: Eos"),
    "red cells only": (
        lambda root: [delete(path) for path in list(root.iterdir()) if path.name not in ("_", "Infected")],
        "no folder of any white cell or platelet; found: Infected, _",
    ),
    "unknown class": (lambda root: (root / "Monocytes").rename(root / "Monocite"), "lies in Monocite, which is no"),
    "class twice": (lambda root: shutil.copytree(root / "_", root / "Healthy"), "are the same class"),
    "no mask": (lambda root: delete(root / "_/__1_mask.bmp"), r"__1.bmp has no partner __1_mask.bmp"),
    "no crop": (lambda root: delete(root / "_/__1.bmp"), r"__1_mask.bmp has no partner __1.bmp"),
    "two cells": (
        lambda root: [delete(path) for path in (root / "Clumps").glob("Clumps_[0-1]*")],
        "Clumps has 1 cells and none for the split train",
    ),
    "one split": (
        lambda root: shutil.move(root / "Clumps", root / "x") and shutil.move(root / "x", root / "Clumps/train"),
        "Clumps has 3 cells and none for the split val",
    ),
    "same stem": (lambda root: shutil.copy(root / "_/__1.bmp", root / "_/__1.png"), "have the same stem"),
    "loose files": (lambda root: (root / "_/train").mkdir(), "lies beside folders of splits"),
    "split twice": (lambda root: [(root / f"_/{name}").mkdir() for name in ("val", "valid")], "are the same split"),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_folder_is_refused_in_one_line(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = sprites.write(tmp_path / "crops", 3)
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare(f"smear[sprites={root}]", tmp_path / "home")

    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    assert [] == list((tmp_path / "home").iterdir())


SPOILED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no picture": (lambda crop, _: crop.write_bytes(b"BM"), "cannot be read as an image"),
    "cut off": (lambda _, mask: mask.write_bytes(mask.read_bytes()[:500]), "cannot be read as an image"),
    "black mask": (lambda _, mask: sprites.save(mask, np.zeros((56, 56), np.uint8)), "shows no cell"),
    "other size": (lambda _, mask: sprites.save(mask, np.ones((9, 8), np.uint8)), "is 56x56 but its mask"),
    "too large": (
        lambda crop, mask: [sprites.save(path, np.full((1001, 4), 255, np.uint8)) for path in (crop, mask)],
        "is 4x1001; at most 1000x1000 fit",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_a_spoiled_crop_is_refused_in_one_line(
    spoil: Callable[[Path, Path], object], message: str, tmp_path: Path
) -> None:
    root = sprites.write(tmp_path / "crops", 3)
    for name in ("Infected", "_"):
        for number in range(3):
            spoil(root / name / f"{name}_{number}.bmp", root / name / f"{name}_{number}_mask.bmp")
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare(f"smear[sprites={root},train=1,val=1,test=1]", tmp_path / "home")

    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    assert [] == list((tmp_path / "home").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("sprites=/nowhere/cells", "sprites=/nowhere/cells of data set smear is not a folder"),
        ("sprites=12", "sprites=12 of data set smear is not a folder"),
        ("partial=class", "partial='class' of data set smear is not one of none"),
        ("sprites=.,partial=maybe", "partial='maybe' of data set smear is not one of none, ignore, class"),
        ("sprites=.,partial=true", "partial=True of data set smear is not one of"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_in_one_line(options: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        catalog.dataset(f"smear[{options}]")

    assert "\n" not in str(caught.value)


def test_a_picture_cannot_be_larger_than_its_background(folder: Path) -> None:
    spec, samples = opened(folder, train=1, val=1, test=1, size=1000)
    assert (1000, 1000) == spec.load(samples[0])[1].shape
    with pytest.raises(DataError, match="size=1001 of data set smear is not a whole number from 64 to 1000"):
        opened(folder, size=1001)


def test_a_misspelt_name_with_a_path_in_it_is_not_taken_for_a_path(folder: Path) -> None:
    with pytest.raises(catalog.NameUnknown, match=r"no data set named 'smaer'\. Did you mean smear"):
        catalog.dataset(f"smaer[sprites={folder}]")


def test_the_command_line_takes_a_path_in_brackets(folder: Path, tmp_path: Path) -> None:
    name = f"smear[sprites={folder},size=64,train=3,val=1,test=2]"
    options = ["--results", str(tmp_path / "results"), "--data-home", str(tmp_path / "home")]
    study = ["--architecture", "tiny", "--loss", "ce", "--epochs", "1", "--trials", "1", "--size", "32"]
    told = CliRunner().invoke(cli.app, ["data", "prepare", name, "--data-home", str(tmp_path / "home")])
    ran = CliRunner().invoke(
        cli.app, ["run", "matrix", "--dataset", f"{name},{name}", *study, *options,
                  "--workers", "0"]
    )  # fmt: skip
    (prepared,) = (path for path in (tmp_path / "home").iterdir() if "%2F" in path.name)
    cell = f"{catalog.canonical('datasets', name)}/tiny/ce/f0-s0"
    why = CliRunner().invoke(cli.app, ["status", "--why", cell, *options])

    assert f"Prepared in {prepared}" in told.output
    assert (0, 0, 0) == (told.exit_code, ran.exit_code, why.exit_code), ran.output
    assert 1 == len(list((tmp_path / "results/custom/cells").iterdir()))
    assert "It is done" in why.output


def test_folds_never_part_pictures_that_share_crops(folder: Path) -> None:
    _, samples = opened(folder, train=6, val=2, test=2)
    for fold in (1, 2, 3):
        found = assign(samples, fold, 3)
        assert 3 == len({(sample.split, found[sample.id]) for sample in samples})
    with pytest.raises(DataError, match="would be empty: there are 3 sources"):
        assign(samples, 5, 5)
