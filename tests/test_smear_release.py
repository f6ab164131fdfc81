"""The released smear folders: written from our own composer in their layout, read back to the same masks."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bench import catalog, export, prepare
from bench.datasets import smear_release
from bench.errors import DataError
from bench.specs import IGNORE, DatasetSpec, Sample
from tests import lookalike, sprites

Written = dict[str, Sample]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSpec, list[Sample]]:
    root = sprites.write(tmp_path_factory.mktemp("crops"), 4)
    options = {"sprites": str(root), "train": 16, "val": 4, "test": 4, "partial": "class"}
    spec = catalog.dataset(catalog.names.show("smear", options))
    return spec, list(spec.read(spec.raw, **{**spec.options, **options}))


@pytest.fixture(scope="module")
def released(
    composed: tuple[DatasetSpec, list[Sample]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Written]:
    root = tmp_path_factory.mktemp("release")
    return root, sprites.release(root, *composed)


@pytest.fixture
def root(released: tuple[Path, Written], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(released[0], tmp_path / "release")


def first(folder: Path) -> Path:
    return min(folder.iterdir())


@pytest.mark.parametrize("partial", ["ignore", "class"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_masks_read_back_as_they_were_composed(
    partial: str,
    packed: bool,
    composed: tuple[DatasetSpec, list[Sample]],
    released: tuple[Path, Written],
    tmp_path: Path,
) -> None:
    source, written = released
    name = "smear_release[partial=class]" if partial == "class" else "smear_release"
    if packed:
        source = lookalike.zipped(shutil.copytree(source, tmp_path / "raw"))
    prepared = prepare.prepare(name, tmp_path / "home", source)
    seen = 0
    for entry in prepared.index.entries:
        image, mask = composed[0].load(written[entry.sample.id])
        expected = mask if partial == "class" else np.where(mask == 10, IGNORE, mask)
        np.testing.assert_array_equal(image, prepared.native(entry)[0])
        np.testing.assert_array_equal(expected, prepared.native(entry)[1])
        seen += int((mask == 10).sum())

    assert written.keys() == {entry.sample.id for entry in prepared.index.entries}
    assert seen > 0
    assert {"train": 16, "val": 4, "test": 4} == {key: len(group) for key, group in prepared.split(0, 1).items()}
    assert (11 if partial == "class" else 10) == len(prepared.index.classes)


@pytest.mark.parametrize("partial", ["ignore", "class"])
def test_boxes_read_back_with_our_names_and_indices(
    partial: str, composed: tuple[DatasetSpec, list[Sample]], released: tuple[Path, Written]
) -> None:
    spec = catalog.dataset(f"smear_release[partial={partial}]")
    assert spec.objects is not None and composed[0].objects is not None
    for sample in spec.read(released[0], partial=partial):
        expected = composed[0].objects(released[1][sample.id])
        for box in expected:
            box["classIdx"] = IGNORE if box["classIdx"] == 10 and partial == "ignore" else box["classIdx"]
        assert expected == spec.objects(sample)


def test_every_picture_is_a_source_and_keeps_the_split_of_its_name(released: tuple[Path, Written]) -> None:
    for sample in smear_release.read(released[0]):
        assert sample.id == sample.source == Path(sample.image).stem
        assert sample.id.split("_")[-2] == {"val": "valid"}.get(sample.split or "", sample.split)
        assert "_seg_" in Path(sample.mask).name


def test_folders_of_splits_and_a_folder_around_are_read_too(root: Path, tmp_path: Path) -> None:
    expected = {(sample.id, sample.split) for sample in smear_release.read(root)}
    outer = tmp_path / "outer/dataset"
    for kind in ("images", "segments", "labels"):
        for path in (root / kind).iterdir():
            target = outer / path.stem.split("_")[-2] / kind / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    assert expected == {(sample.id, sample.split) for sample in smear_release.read(outer)}
    assert expected == {(sample.id, sample.split) for sample in smear_release.read(outer.parent)}


def test_colours_are_exact_and_all_others_are_ignored() -> None:
    published = [(0, 0, 0), (0, 255, 255), (0, 128, 128), (250, 190, 190), (128, 128, 0), (0, 0, 128), (255, 225, 0),
                 (255, 0, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]  # fmt: skip
    near = [(255, 255, 0), (0, 254, 255), (1, 0, 0), (127, 0, 127), (255, 255, 255)]
    colours = np.array([[*published, *near]], np.uint8)

    assert [*range(11), *[IGNORE] * 5] == smear_release.decode(colours, "class")[0].tolist()
    assert [*range(10), *[IGNORE] * 6] == smear_release.decode(colours, "ignore")[0].tolist()


@given(arrays(np.uint8, (5, 7), elements=st.sampled_from([*range(11), IGNORE])))
def test_any_mask_survives_its_colours(mask: np.ndarray) -> None:
    found = smear_release.decode(sprites.painted(mask), "class")

    np.testing.assert_array_equal(np.where(mask == IGNORE, 10, mask), found)


def test_smoothed_edges_are_ignored(root: Path) -> None:
    sample = smear_release.read(root)[0]
    before = smear_release.load(sample)[1]
    colours = np.array(Image.open(sample.mask))
    edge = before != np.roll(before, 1, axis=1)
    colours[edge] = colours[edge] // 2 + 3
    sprites.save(Path(sample.mask), colours)
    after = smear_release.load(sample)[1]

    assert 0 < edge.mean() < 0.05
    np.testing.assert_array_equal(np.where(edge, IGNORE, before), after)


def test_labels_may_be_missing_as_a_whole(root: Path) -> None:
    shutil.rmtree(root / "labels")
    samples = smear_release.read(root)

    assert 24 == len(samples) and (224, 224) == smear_release.load(samples[0])[1].shape
    assert [] == smear_release.objects(samples[0])


def test_loading_travels_to_other_processes_with_its_option(released: tuple[Path, Written]) -> None:
    spec = catalog.dataset("smear_release[partial=class]")
    for sample in spec.read(released[0], partial="class"):
        np.testing.assert_array_equal(spec.load(sample)[1], pickle.loads(pickle.dumps(spec.load))(sample)[1])


def test_an_export_has_the_boxes_and_one_from_a_zip_says_where_they_went(root: Path, tmp_path: Path) -> None:
    prepare.prepare("smear_release", tmp_path / "home", root)
    assert 24 == export.export("smear_release", tmp_path / "home", tmp_path / "out")
    assert 24 == len(list((tmp_path / "out").glob("*/labels/*.json")))

    prepare.prepare("smear_release", tmp_path / "other", lookalike.zipped(root))
    with pytest.raises(DataError, match=r"is gone, and its boxes with it\. Prepare from the unpacked folder"):
        export.export("smear_release", tmp_path / "other", tmp_path / "again")


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    boxes = json.loads(path.read_text())
    edit(boxes)
    path.write_text(json.dumps(boxes))


def jpeg(path: Path) -> None:
    """What a segment looks like after it was a small JPEG once."""
    Image.open(path).save(path.with_suffix(".jpg"), quality=30)
    Image.open(path.with_suffix(".jpg")).save(path)
    path.with_suffix(".jpg").unlink()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no segments": (lambda root: shutil.rmtree(root / "segments"), "is not the released smear data set.*Unpack"),
    "a segment missing": (lambda root: first(root / "segments").unlink(), r"has no segment\. Put .*_seg_lisc_.*\.bmp"),
    "a label missing": (lambda root: first(root / "labels").unlink(), r"has no boxes\. Put .*json into"),
    "a picture missing": (lambda root: first(root / "images").unlink(), "has no picture in"),
    "another name": (
        lambda root: first(root / "images").rename(root / "images/a_b.bmp"),
        r"a_b\.bmp is not <C1>.*for <split>",
    ),
    "another split": (
        lambda root: first(root / "images").rename(root / "images/back_lisc_nn_all_3.bmp"),
        r"back_lisc_nn_all_3\.bmp is not <C1>.*for <split>",
    ),
    "twice": (
        lambda root: shutil.copy(first(root / "images"), first(root / "images").with_suffix(".png")),
        "have the same stem",
    ),
    "no pictures": (
        lambda root: [path.unlink() for path in (root / "images").iterdir()],
        "images holds none of its files",
    ),
    "cut off": (lambda root: first(root / "images").write_bytes(b"BM123"), "cannot be read as an image"),
    "other size": (
        lambda root: sprites.save(first(root / "segments"), np.zeros((100, 224, 3), np.uint8)),
        "is 224x224 but its mask",
    ),
    "jpeg": (lambda root: jpeg(first(root / "segments")), "is not painted in the class colours: .* of its pixels"),
    "no json": (lambda root: first(root / "labels").write_text("{"), "is not JSON"),
    "deep json": (lambda root: first(root / "labels").write_text("[" * 100_000), "is not JSON"),
    "a list": (lambda root: first(root / "labels").write_text("[]"), "holds no objects numbered from 0, but a list"),
    "no class": (
        lambda root: change(first(root / "labels"), lambda boxes: boxes["0"].pop("className")),
        "object '0' has no known className",
    ),
    "an unknown class": (
        lambda root: change(first(root / "labels"), lambda boxes: boxes["0"].update(className="Blast")),
        "object '0' has no known className.*Blast",
    ),
    "no number": (
        lambda root: change(first(root / "labels"), lambda boxes: boxes["0"].update(tlX="left")),
        "object '0' has no known className with the numbers posX, posY",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_release_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, root: Path, tmp_path: Path
) -> None:
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare("smear_release", tmp_path / "home", root)

    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    assert [] == list((tmp_path / "home").iterdir())


def test_a_picture_in_two_splits_is_refused(root: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(root, tmp_path / "twice" / split)
    with pytest.raises(DataError, match="have the same stem"):
        smear_release.read(tmp_path / "twice")


def test_an_option_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(DataError, match="partial='none' of data set smear_release is not one of ignore, class"):
        catalog.dataset("smear_release[partial=none]")
