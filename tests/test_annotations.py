"""Folders with annotations in JSON: LabelMe's and COCO's become the pixels they outline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import draw

from bench import prepare
from bench.datasets import _shapes  # ty: ignore[unresolved-import]
from bench.errors import DataError
from bench.specs import IGNORE
from tests.lookalike import picture, save

SIZE = 40, 30
SQUARE = [[2, 3], [12, 3], [12, 20], [2, 20]]  # columns 2 to 11, rows 3 to 19


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def shape(label: str, points: list[list[float]], kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


def labelme(path: Path, shapes: list[dict[str, Any]], size: tuple[int, int] = SIZE) -> None:
    content = {"version": "5.5.0", "shapes": shapes, "imageHeight": size[0], "imageWidth": size[1], "imageData": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def box(columns: tuple[int, int], rows: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def masks(root: Path, home: Path) -> dict[str, np.ndarray]:
    prepared = prepare.prepare(str(root), home)
    return {entry.sample.id: prepared.native(entry)[1] for entry in prepared.index.entries}


def coco_content(annotations: list[dict[str, Any]], count: int = 3, names: tuple[str, ...] = ("wbc", "rbc")) -> dict:
    """Categories have the ids 7, 3, ..: the second name comes first by id."""
    return {
        "info": {},
        "images": [{"id": at, "file_name": f"{at}.png", "height": SIZE[0], "width": SIZE[1]} for at in range(count)],
        "categories": [{"id": 7 - 4 * at, "name": name} for at, name in enumerate(names)],
        "annotations": [{"id": at, "image_id": 0, "iscrowd": 0} | one for at, one in enumerate(annotations)],
    }


def coco(root: Path, content: dict[str, Any], images: str = "") -> Path:
    for entry in content.get("images", []):
        save(root / images / entry["file_name"], picture(entry["id"], SIZE)[0])
    (root / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, background first."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *edges, mask.size]).tolist()


def compressed(lengths: list[int]) -> str:
    """The text that COCO writes run lengths as; written from its description, as the reader's inverse."""
    text = ""
    for at, length in enumerate(lengths):
        number = length - lengths[at - 2] if at > 2 else length
        more = True
        while more:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
    return text


@pytest.mark.parametrize("place", ["images", "labels", "json"])
def test_labelme_files_lie_beside_the_images_or_in_a_sibling_folder(place: str, raw: Path, home: Path) -> None:
    for at, label in enumerate(("platelet", "cell", "cell")):
        save(raw / f"images/{at}.png", picture(at, SIZE)[0])
        labelme(raw / place / f"{at}.json", [shape(label, SQUARE)])
    prepared = prepare.prepare(str(raw), home)

    assert ["background", "cell", "platelet"] == prepared.classes
    for entry, value in zip(prepared.index.entries, (2, 1, 1), strict=True):
        image, mask = prepared.native(entry)
        np.testing.assert_array_equal(picture(int(entry.sample.id), SIZE)[0], image)
        np.testing.assert_array_equal(value * box((2, 12), (3, 20)), mask)


def test_a_later_shape_lies_on_an_earlier_one_and_an_ignored_one_is_ignored(raw: Path, home: Path) -> None:
    shapes = [
        shape("b", SQUARE),
        shape("a", [[8, 10], [20, 30]], "rectangle"),
        shape("__ignore__", [[0, 35], [5, 40]], "rectangle"),
        shape("_background_", [[2, 3], [4, 5]], "rectangle"),
    ]
    for at in range(3):
        save(raw / f"{at}.png", picture(at, SIZE)[0])
        labelme(raw / f"{at}.json", shapes)
    expected = np.zeros(SIZE, np.uint8)
    for value, columns, rows in ((2, (2, 12), (3, 20)), (1, (8, 20), (10, 30)), (IGNORE, (0, 5), (35, 40))):
        expected[box(columns, rows)] = value
    expected[3:5, 2:4] = 0

    np.testing.assert_array_equal(expected, masks(raw, home)["1"])


def test_a_circle_covers_its_area(raw: Path, home: Path) -> None:
    for at in range(3):
        save(raw / f"{at}.png", picture(at, SIZE)[0])
        labelme(raw / f"{at}.json", [shape("a", [[15, 20], [15, 30]], "circle")])

    assert np.pi * 100 == pytest.approx(masks(raw, home)["0"].sum(), rel=0.02)


def test_a_description_names_the_classes_of_annotations_and_their_order(raw: Path, home: Path) -> None:
    for at in range(3):
        save(raw / f"{at}.png", picture(at, SIZE)[0])
        labelme(raw / f"{at}.json", [shape("a", SQUARE)])
    toml = '[[classes]]\nname = "none"\n[[classes]]\nname = "z"\n[[classes]]\nname = "a"\ncolour = [1, 2, 3]\n'
    (raw / "dataset.toml").write_text(toml)
    prepared = prepare.prepare(str(raw), home)

    assert (["none", "z", "a"], (1, 2, 3)) == (prepared.classes, prepared.index.classes[2].colour)
    np.testing.assert_array_equal(2 * box((2, 12), (3, 20)), masks(raw, home)["0"])
    (raw / "dataset.toml").write_text(toml.replace('"a"', '"b"'))
    with pytest.raises(DataError, match=r"have the label 'a', which is no class of dataset\.toml: none, z, b"):
        prepare.prepare(str(raw), home)


@pytest.mark.parametrize("images", ["", "images"])
def test_coco_polygons_and_runs_of_both_kinds_become_the_same_pixels(images: str, raw: Path, home: Path) -> None:
    flat = [float(part) for point in SQUARE for part in point]
    square, size = box((2, 12), (3, 20)), list(SIZE)
    content = coco_content(
        [
            {"category_id": 7, "segmentation": [flat]},
            {"category_id": 7, "image_id": 1, "segmentation": {"counts": runs(square), "size": size}},
            {"category_id": 7, "image_id": 2, "segmentation": {"counts": compressed(runs(square)), "size": size}},
        ]
    )
    prepared = prepare.prepare(str(coco(raw, content, images)), home)

    assert ["background", "rbc", "wbc"] == prepared.classes  # in the order of ids
    for mask in masks(raw, home).values():
        np.testing.assert_array_equal(2 * square, mask)


NOISE = [[0, 1, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
STRIPES = np.add.outer(np.arange(90), np.arange(70)) % 97 < 60


@pytest.mark.parametrize(
    ("text", "mask"),  # as pycocotools 2.0 writes them
    [
        ("63204", np.pad(np.ones((3, 2)), ((1, 1), (1, 1)))),
        ("06", np.ones((3, 2))),
        ("341M000040L14OM", np.array(NOISE)),
        ("0l1n0" + "O1" * 7 + "O" + "0" * 105 + "1O" * 8 + "000UO", STRIPES),
    ],
    ids=["square", "full", "noise", "stripes"],
)
def test_compressed_runs_are_read_as_the_tools_of_coco_write_them(text: str, mask: np.ndarray) -> None:
    assert runs(mask.astype(bool)) == _shapes.decoded_runs(text)


@pytest.mark.parametrize("seed", range(20))
def test_any_runs_survive_compression(seed: int) -> None:
    mask = np.random.default_rng(seed).random((60, 70)) < 0.02 * seed

    assert runs(mask) == _shapes.decoded_runs(compressed(runs(mask)))


def test_crowds_are_ignored_below_everything_else_and_parts_are_one_region(raw: Path, home: Path) -> None:
    content = coco_content(
        [
            {"category_id": 3, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4], [20, 30, 25, 30, 25, 35, 20, 35]]},
            {"category_id": 7, "segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]]},
            {"category_id": 3, "iscrowd": 1, "segmentation": {"counts": runs(box((0, 30), (3, 40))), "size": [40, 30]}},
        ]
    )
    expected = np.zeros(SIZE, np.uint8)
    expected[3:] = IGNORE
    expected[:4, :4] = expected[30:35, 20:25] = 1
    expected[2:8, 2:8] = 2

    np.testing.assert_array_equal(expected, masks(coco(raw, content), home)["0"])


def test_splits_may_each_have_a_file_of_coco_and_valid_means_val(raw: Path, home: Path) -> None:
    for name in ("train", "valid", "test"):
        coco(raw / name, coco_content([{"category_id": 3, "segmentation": [[0, 0, 4, 0, 4, 4]]}], names=("a", "b")))
    prepared = prepare.prepare(str(raw), home)
    groups = prepared.split(0, 1)

    assert {"train": 3, "val": 3, "test": 3} == {name: len(group) for name, group in groups.items()}
    assert {"valid-0", "valid-1", "valid-2"} == {prepared.index.entries[at].sample.id for at in groups["val"]}


def test_a_category_named_background_is_no_class_of_its_own(raw: Path, home: Path) -> None:
    content = coco_content([{"category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 4]]}], names=("cell", "Background"))

    assert ["background", "cell"] == prepare.prepare(str(coco(raw, content)), home).classes


@pytest.mark.parametrize("seed", range(30))
def test_a_polygon_is_filled_as_scikit_image_fills_it(seed: int) -> None:
    generator = np.random.default_rng(seed)
    corners = generator.uniform(-10, 60, (generator.integers(3, 12), 2))  # crosses itself, and the border
    found, expected = np.zeros((50, 45), np.uint8), np.zeros((50, 45), np.uint8)
    _shapes.fill(found, corners, 7)
    expected[draw.polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, expected.shape)] = 7

    np.testing.assert_array_equal(expected, found)


def test_polygons_with_a_common_edge_neither_overlap_nor_leave_a_gap() -> None:
    total = np.zeros(SIZE, int)
    fan = [[0, 0], [30, 0], [30, 40], [0, 40]]
    for one, other in zip(fan, fan[1:] + fan[:1], strict=True):
        part = np.zeros(SIZE, np.uint8)
        _shapes.fill(part, np.array([one, other, [14.5, 20.5]]), 1)
        total += part

    assert {1} == set(total.ravel().tolist())


def _nothing(_: object) -> None:
    """No change."""


def _coco(
    change: Callable[[dict[str, Any]], object], more: Callable[[Path], object] = _nothing
) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        content = coco_content([{"category_id": 3, "segmentation": [[0, 0, 4, 0, 4, 4]]}])
        coco(root, content)
        change(content)
        (root / "instances.json").write_text(json.dumps(content))
        more(root)

    return build


def _labelme(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for at in range(3):
            save(root / f"images/{at}.png", picture(at, SIZE)[0])
            labelme(root / f"images/{at}.json", [shape("a", SQUARE)])
        change(root / "images/1.json")

    return build


def _first(content: dict[str, Any]) -> dict[str, Any]:
    return content["annotations"][0]


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (_labelme(lambda path: path.write_text("{")), r"1\.json cannot be read: Expecting"),
    "deep JSON": (_labelme(lambda path: path.write_text("[" * 100_000)), r"1\.json cannot be read: "),
    "a list": (_labelme(lambda path: path.write_text("[]")), "it holds no object"),
    "no shapes": (_labelme(lambda path: path.write_text("{}")), "it has no list `shapes`"),
    "no partner": (_labelme(lambda path: path.unlink()), r"1 of 3 files have no annotation.*images/1\.png\. Put"),
    "no image": (_labelme(lambda path: path.rename(path.with_name("x.json"))), "1 of 3 files have no annotation"),
    "no label": (_labelme(lambda path: labelme(path, [shape("", SQUARE)])), "shape 0: it has no label"),
    "no numbers": (_labelme(lambda path: labelme(path, [shape("a", [["1", 2]] * 3)])), "not pairs of numbers"),
    "not finite": (_labelme(lambda path: labelme(path, [shape("a", [[float("nan"), 2]] * 3)])), "not pairs of numbers"),
    "far away": (_labelme(lambda path: labelme(path, [shape("a", [[1e9, 2]] * 3)])), "within a million pixels"),
    "a point": (
        _labelme(lambda path: labelme(path, [shape("a", [[1, 2]] * 2, "line")])),
        "'?line'? of 2 points has no area",
    ),
    "another size": (
        _labelme(lambda path: labelme(path, [shape("a", SQUARE)], (41, 30))),
        r"1\.png is 30x40 but its mask .*1\.json is 30x41",
    ),
    "huge size": (_labelme(lambda path: labelme(path, [shape("a", SQUARE)], (10**12, 1))), "not numbers of pixels"),
    "COCO without images": (_coco(lambda all_: all_.pop("images")), "no list `images` of objects, so it is not COCO's"),
    "no categories": (_coco(lambda all_: all_.update(categories=[])), "its list `categories` is empty"),
    "id twice": (_coco(lambda all_: all_["images"].append(all_["images"][0])), "entry 3 of images has the id 0"),
    "name twice": (_coco(lambda all_: all_["categories"][0].update(name="rbc")), "is named 'rbc'; each needs a name"),
    "unknown image": (_coco(lambda all_: _first(all_).update(image_id=9)), "annotation 0 has the image_id 9, which"),
    "unknown category": (_coco(lambda all_: _first(all_).update(category_id=1)), "has the category_id 1, which"),
    "missing file": (
        _coco(lambda all_: all_["images"][0].update(file_name="x.png")),
        r"1 of 3 images it names are missing, the first is .*x\.png",
    ),
    "outside": (_coco(lambda all_: all_["images"][0].update(file_name="../x.png")), "no .*path below the folder"),
    "absolute": (_coco(lambda all_: all_["images"][0].update(file_name="/x.png")), "no .*path below the folder"),
    "no picture": (_coco(lambda all_: all_["images"][0].update(file_name="instances.json")), "files of type"),
    "another size in COCO": (_coco(lambda all_: all_["images"][0].update(height=39)), "is 30x40 but its mask .*30x39"),
    "no size": (_coco(lambda all_: all_["images"][0].pop("height")), "has no height and width"),
    "no outline": (_coco(lambda all_: _first(all_).update(segmentation=[])), "annotation 0 of 0.png: its segmentation"),
    "two corners": (_coco(lambda all_: _first(all_).update(segmentation=[[1, 2, 3, 4]])), "fewer than three points"),
    "odd numbers": (_coco(lambda all_: _first(all_).update(segmentation=[[1, 2, 3, 4, 5]])), "not pairs of numbers"),
    "short runs": (
        _coco(lambda all_: _first(all_).update(segmentation={"counts": [9, 9], "size": [40, 30]})),
        "its runs cover 18 pixels",
    ),
    "runs below zero": (
        _coco(lambda all_: _first(all_).update(segmentation={"counts": [-1, 1201], "size": [40, 30]})),
        "neither run lengths nor compressed text",
    ),
    "runs of another size": (
        _coco(lambda all_: _first(all_).update(segmentation={"counts": [1200], "size": [30, 40]})),
        r"of height and width \[30, 40\], but the image has \[40, 30\]",
    ),
    "no runs": (
        _coco(lambda all_: _first(all_).update(segmentation={"counts": "é", "size": [40, 30]})),
        "is no part of a run length",
    ),
    "cut runs": (
        _coco(lambda all_: _first(all_).update(segmentation={"counts": "6o", "size": [40, 30]})),
        "the last run length is cut off",
    ),
    "two files": (
        _coco(_nothing, lambda root: (root / "b.json").write_text("{}")),
        r"holds 2 JSON files.*b\.json, instances\.json",
    ),
    "a mask option": (
        _coco(_nothing, lambda root: (root / "dataset.toml").write_text("ignore = 255")),
        "threshold, blur and ignore are for masks/",
    ),
    "splits of two kinds": (
        lambda root: [_coco(_nothing)(root / "train"), _labelme(_nothing)(root / "test")],
        "train has coco, but .*test has labelme",
    ),
    "no labels": (
        _labelme(lambda path: [labelme(one, []) for one in path.parent.glob("*.json")]),
        "the annotations have 0 labels; 1 to 254",
    ),
}


@pytest.mark.parametrize(("build", "message"), WRONG.values(), ids=WRONG)
def test_wrong_annotations_are_refused_in_one_line(
    build: Callable[[Path], object], message: str, raw: Path, home: Path
) -> None:
    build(raw)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare(str(raw), home)

    assert "\n" not in str(caught.value) and str(raw) in str(caught.value)
    assert not home.exists() or not list(home.iterdir())


def test_all_wrong_annotation_files_are_listed(raw: Path, home: Path) -> None:
    _labelme(lambda path: [one.write_text("{}") for one in path.parent.glob("*.json")])(raw)
    with pytest.raises(DataError, match=r"^3 of 3 files are wrong, the first: ") as caught:
        prepare.prepare(str(raw), home)

    assert tuple(str(raw / f"images/{at}.json") for at in range(3)) == caught.value.files
