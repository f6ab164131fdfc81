"""Raw folders and zips to prepared pixels: exact, once, all or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import catalog, derived, export, metrics, prepare, store
from bench.baselines import BASELINES, Pair
from bench.datasets import blood_cell
from bench.errors import DataError, StoreError
from bench.evaluate import confusion
from bench.prepare import Prepared
from bench.specs import IGNORE, ClassSpec, DatasetSpec, Recipe, Sample
from tests import lookalike
from tests.lookalike import check, save
from tests.real import REAL, real

REFERENCE = {"dice_fg": 0.9406, "iou_fg": 0.8886, "dice_mean": 0.9572, "pixel_acc": 0.9653}
BACK = np.zeros((4, 5), np.uint8)
INNER = "BCCD Dataset with mask"
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda raw: raw,
    "inner folder": lambda raw: raw / INNER,
    "folder around": lambda raw: raw.parent,
    "zip": lookalike.zipped,
    "zip of the inner folder": lambda raw: lookalike.zipped(raw / INNER),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def explode(*_: object) -> None:
    pytest.fail("a picture was decoded again")


def custom(monkeypatch: pytest.MonkeyPatch, count: int, pair: Pair, **changes: str) -> None:
    """Let every data-set name be a generated one that loads the same pair each time."""
    samples = [
        Sample(**{"id": f"s{at}", "image": f"s{at}.png", "mask": f"s{at}.mask", "source": f"s{at}"} | changes)
        for at in range(count)
    ]
    spec = DatasetSpec(
        title="custom 🔬",
        classes=(ClassSpec(name="back", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(9, 9, 9))),
        read=lambda _: samples,
        load=lambda _: pair,
        licence="",
        citation="",
        homepage="",
        generated=True,
        pixel_size_um=0.25,
    )
    monkeypatch.setattr(catalog, "dataset", lambda _: spec)
    monkeypatch.setattr(catalog, "code_hash", lambda kind, name: "code")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_blood_cell_is_prepared_from_folder_and_zip(layout: Callable[[Path], Path], raw: Path, home: Path) -> None:
    truth = lookalike.blood_cell(raw)
    prepared = prepare.prepare("blood_cell", home, layout(raw))

    check(prepared, truth)
    assert {"train": 3, "val": 1, "test": 2} == {name: len(group) for name, group in prepared.split(0, 1).items()}
    assert ["blood_cell"] == [path.name for path in home.iterdir()]
    assert prepared == prepare.open_prepared("blood_cell", home)


BLOOD_WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "another layout": (lambda raw: (raw / INNER).rename(raw / "x"), "is not the Blood-Cell archive.*Unpack"),
    "no masks": (lambda raw: shutil.rmtree(raw / INNER / "train/mask"), "train/mask does not exist"),
    "no test split": (lambda raw: shutil.rmtree(raw / INNER / "test"), "test/original does not exist"),
    "same photograph in two splits": (
        lambda raw: shutil.copytree(raw / INNER / "train", raw / INNER / "test", dirs_exist_ok=True),
        "are the same photograph in two splits. Remove one pair",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BLOOD_WRONG.values(), ids=BLOOD_WRONG)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_wrong_archive_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, packed: bool, raw: Path, home: Path
) -> None:
    lookalike.blood_cell(raw)
    spoil(raw)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare("blood_cell", home, lookalike.zipped(raw) if packed else raw)

    assert "\n" not in str(caught.value)
    assert [] == list(home.iterdir())


def test_a_missing_source_is_an_error_that_names_it(raw: Path, home: Path) -> None:
    with pytest.raises(DataError, match=r"raw does not exist\. Give the folder or the zip"):
        prepare.prepare("blood_cell", home, raw)
    with pytest.raises(DataError, match=r"The folder .*/raw does not exist"):
        prepare.prepare(str(raw), home)


def test_what_was_not_prepared_is_an_error_with_the_command_that_prepares_it(home: Path) -> None:
    with pytest.raises(DataError, match="bench data prepare blood_cell --from PATH"):
        prepare.open_prepared("blood_cell", home)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_preparing_twice_decodes_once(packed: bool, raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookalike.blood_cell(raw)
    source = lookalike.zipped(raw) if packed else raw
    first = prepare.prepare("blood_cell", home, source)
    monkeypatch.setattr(Image, "open", explode)
    monkeypatch.setattr(prepare, "_write", explode)

    assert first == prepare.prepare("blood_cell", home, source)


def test_a_folder_is_prepared_once(raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookalike.folder(raw)
    first = prepare.prepare(str(raw), home)
    monkeypatch.setattr(prepare, "_write", explode)

    assert first == prepare.open_prepared(str(raw), home)


@pytest.mark.parametrize("change", ["pixels", "touched", "removed", "added"])
def test_changed_raw_files_are_prepared_anew(change: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw)
    before = prepare.prepare(str(raw), home)
    before.resized(Recipe(size=(16, 16)))
    path = raw / "images/cell0.png"
    if change == "pixels":
        truth["cell0"] = (255 - truth["cell0"][0], truth["cell0"][1])
        save(path, truth["cell0"][0])
    elif change == "touched":
        os.utime(path, (1, 1))
    elif change == "removed":
        path.unlink()
        (raw / "masks/cell0.png").unlink()
        del truth["cell0"]
    else:
        truth = lookalike.folder(raw, count=7)
    after = prepare.prepare(str(raw), home)

    check(after, truth)
    assert (change == "touched") == (before.index.hash == after.index.hash)
    assert len(truth) == len(after.resized(Recipe(size=(16, 16)))[0])


def test_an_error_in_the_middle_leaves_nothing_new_and_keeps_the_old(raw: Path, home: Path) -> None:
    truth = lookalike.blood_cell(raw)
    old = prepare.prepare("blood_cell", home, raw)
    last = sorted((raw / INNER / "test/original").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:300])
    with pytest.raises(DataError, match=last.name):
        prepare.prepare("blood_cell", home, raw)
    with pytest.raises(DataError, match=last.name):
        prepare.prepare("blood_cell", home / "empty", raw)

    check(prepare.open_prepared("blood_cell", home), truth)
    assert old == prepare.open_prepared("blood_cell", home)
    assert [] == list((home / "empty").iterdir())
    assert {"blood_cell", "empty"} == {path.name for path in home.iterdir()}


@pytest.mark.parametrize("spoil", ["index", "schema", "pixels"])
def test_a_spoiled_preparation_is_made_anew(spoil: str, raw: Path, home: Path) -> None:
    truth = lookalike.blood_cell(raw)
    folder = prepare.prepare("blood_cell", home, raw).folder
    index = folder / "index.json"
    if spoil == "pixels":
        (folder / "pixels.bin").unlink()
    else:
        index.write_text("{" if spoil == "index" else index.read_text().replace('"schema": 1', '"schema": 99'))

    check(prepare.prepare("blood_cell", home, raw), truth)


def test_progress_is_told_after_every_sample(raw: Path, home: Path) -> None:
    lookalike.folder(raw, count=3)
    told: list[tuple[int, int]] = []
    prepare.prepare(str(raw), home, progress=lambda *numbers: told.append(numbers))

    assert [(1, 3), (2, 3), (3, 3)] == told


def test_many_samples_are_decoded_by_several_processes_in_order(
    raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = lookalike.folder(raw, count=16, size=(12, 10))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    check(prepare.prepare(str(raw), home), truth)


def test_the_hash_does_not_depend_on_where_the_files_lie(raw: Path, tmp_path: Path, home: Path) -> None:
    lookalike.blood_cell(raw)
    other = shutil.copytree(raw, tmp_path / "else where")
    found = [
        prepare.prepare("blood_cell", home / str(at), path)
        for at, path in enumerate((raw, other, lookalike.zipped(raw)))
    ]

    assert 1 == len({prepared.index.hash for prepared in found})


@pytest.mark.parametrize("change", ["a pixel", "a mask pixel", "a name", "a split", "a class"])
def test_the_hash_depends_on_all_that_a_score_depends_on(change: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, splits=("train", "test"))
    before = prepare.prepare(str(raw), home).index.hash
    image, mask = truth["train-cell0"]
    image[5, 5, 0] ^= 1
    mask[5, 5] ^= 1
    if change == "a pixel":
        save(raw / "train/images/cell0.png", image)
    elif change == "a mask pixel":
        save(raw / "train/masks/cell0.png", mask)
    elif change == "a class":
        (raw / "dataset.toml").write_text("".join(f'[[classes]]\nname = "c{at}"\nvalue = {at}\n' for at in range(2)))
    else:
        target = "test/{}/new.png" if change == "a split" else "train/{}/new.png"
        for kind in ("images", "masks"):
            (raw / f"train/{kind}/cell0.png").rename(raw / target.format(kind))

    assert before != prepare.prepare(str(raw), home).index.hash


def test_the_hash_depends_on_split_source_and_label(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for at, changes in enumerate(
        ({}, {"split": "val"}, {"source": "other"}, {"label": "blurred"}, {"image": "elsewhere"})
    ):
        custom(monkeypatch, 1, (np.zeros((4, 5, 3), np.uint8), BACK), **changes)
        hashes.add(prepare.prepare("custom", home / str(at)).index.hash)

    assert 4 == len(hashes)


def test_a_mask_pixel_above_127_is_a_cell(raw: Path, home: Path) -> None:
    lookalike.blood_cell(raw)
    path = next((raw / INNER / "train/mask").iterdir())
    save(path, np.arange(1200).astype(np.uint8).reshape(40, 30))
    prepared = prepare.prepare("blood_cell", home, raw)
    entry = next(entry for entry in prepared.index.entries if entry.sample.source == path.stem)

    np.testing.assert_array_equal((np.arange(1200) % 256 > 127).reshape(40, 30), prepared.native(entry)[1])


def test_the_options_of_a_name_are_prepared_apart(home: Path) -> None:
    found = [prepare.prepare(f"smear[size=64,test={count},train=2,val=1]", home) for count in (1, 2)]

    assert [4, 5] == [len(prepared.index.entries) for prepared in found]
    assert 2 == len(list(home.iterdir()))
    assert prepare.location("smear[val=1,size=32]", home) == prepare.location("smear[ size=32, val=1 ]", home)


@pytest.mark.parametrize("name", ["..", "a/b", "ü" * 200, "con:"])
def test_folders_of_any_name_are_prepared_inside_the_data_home(name: str, tmp_path: Path) -> None:
    assert tmp_path == prepare.location(f"x[a={name}]", tmp_path).parent


def test_pixels_cannot_be_written_to(raw: Path, home: Path) -> None:
    lookalike.folder(raw)
    prepared = prepare.prepare(str(raw), home)
    image, mask = prepared.native(prepared.index.entries[0])

    assert not image.flags.writeable
    assert not mask.flags.writeable


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((4, 5, 3), np.float32), BACK, "loaded as float32"),
        (np.zeros((4, 5), np.uint8), BACK, r"loaded as uint8 \(4, 5\)"),
        (np.zeros((5, 4, 3), np.uint8), BACK, r"loaded as uint8 \(5, 4, 3\) with a mask uint8 \(4, 5\)"),
        (np.zeros((4, 5, 3), np.uint8), BACK.astype(np.int64), "with a mask int64"),
        (np.zeros((4, 5, 3), np.uint8), BACK + 2, "s0.mask holds the class 2; allowed are 0 to 1, and 255"),
    ],
)
def test_a_data_set_that_loads_something_else_is_refused(
    image: np.ndarray, mask: np.ndarray, message: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custom(monkeypatch, 3, (image, mask))
    with pytest.raises(DataError, match=message):
        prepare.prepare("custom", home)

    assert [] == list(home.iterdir())


@pytest.mark.parametrize("size", [(16, 16), (32, 20), (80, 61), (40, 30)])
def test_resizing_is_antialiased_for_images_and_nearest_for_masks(size: tuple[int, int], raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, count=3, classes=4)
    images, masks, _ = prepare.prepare(str(raw), home).resized(Recipe(size=size))
    turned = size[::-1]

    assert ((3, *size, 3), np.uint8, (3, *size), np.uint8) == (images.shape, images.dtype, masks.shape, masks.dtype)
    for name, image, mask in zip(sorted(truth), images, masks, strict=True):
        small = Image.fromarray(truth[name][0]).resize(turned, Image.Resampling.BILINEAR)
        labels = Image.fromarray(truth[name][1]).resize(turned, Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(small), image)
        np.testing.assert_array_equal(np.asarray(labels), mask)


def test_resizing_is_done_once(raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookalike.folder(raw)
    prepared = prepare.prepare(str(raw), home)
    first = prepared.resized(Recipe(size=(16, 20)))
    monkeypatch.setattr(derived, "_make", explode)

    np.testing.assert_array_equal(first[0], prepared.resized(Recipe(size=(16, 20)))[0])


def test_without_native_pixels_the_raw_files_are_read_again(raw: Path, home: Path) -> None:
    truth = lookalike.blood_cell(raw)
    kept, bare = (prepare.prepare("blood_cell", home / str(native), raw, native=native) for native in (True, False))

    check(bare, truth)
    assert ["index.json"] == [path.name for path in bare.folder.iterdir()]
    assert kept.index.hash == bare.index.hash
    assert bare == prepare.open_prepared("blood_cell", home / "False")
    for one, other in zip(kept.resized(Recipe(size=(16, 16))), bare.resized(Recipe(size=(16, 16))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_generated_data_set_without_native_pixels_is_drawn_again(home: Path) -> None:
    name = "smear[size=64,test=1,train=2,val=1]"
    kept, bare = (prepare.prepare(name, home / str(native), native=native) for native in (True, False))

    for one, other in zip(kept.index.entries, bare.index.entries, strict=True):
        np.testing.assert_array_equal(kept.native(one)[0], bare.native(other)[0])


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_raw_files_that_are_not_the_prepared_ones_are_not_scored(change: str, raw: Path, home: Path) -> None:
    lookalike.blood_cell(raw)
    prepare.prepare("blood_cell", home, raw, native=False)
    path = next((raw / INNER / "test/original").iterdir())
    path.unlink() if change == "gone" else os.utime(path, (1, 1))
    prepared = prepare.open_prepared("blood_cell", home)
    with pytest.raises(
        DataError, match=r"native pixels of 'blood_cell' were not kept.* gone or changed\. .*bench data"
    ):
        prepared.native(prepared.index.entries[0])


def test_native_pixels_can_be_dropped_and_taken_back_and_are_left_as_they_are_else(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw)
    for native, kept in ((None, True), (False, False), (None, False), (True, True), (None, True)):
        prepared = prepare.prepare(str(raw), home, native=native)

        assert kept == prepared.index.native == (prepared.folder / "pixels.bin").is_file()
        check(prepared, truth)


def test_a_zip_cannot_go_without_native_pixels(raw: Path, home: Path) -> None:
    lookalike.blood_cell(raw)
    with pytest.raises(DataError, match=r"raw\.zip is packed and cannot be read again.* Unpack it"):
        prepare.prepare("blood_cell", home, lookalike.zipped(raw), native=False)


@pytest.mark.parametrize("native", [True, False])
def test_a_full_disk_is_told_before_the_start(
    native: bool, raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookalike.folder(raw, count=2)
    said: list[str] = []
    usage = shutil.disk_usage(raw)._replace(free=store.ROOM + 4 * 2 * 40 * 30 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if native:
        with pytest.raises(StoreError, match="are needed to start"):
            prepare.prepare(str(raw), home, native=native, say=said.append)
        assert [] == list(home.iterdir())
    else:
        prepare.prepare(str(raw), home, native=native, say=said.append)
        assert said[0].startswith("2 pairs need about 0.0 kB on ")


def exported(name: str, home: Path, target: Path) -> tuple[Prepared, Prepared]:
    """A prepared data set, and what comes back after exporting it."""
    assert len(prepare.open_prepared(name, home).index.entries) == export.export(name, home, target)
    return prepare.open_prepared(name, home), prepare.prepare(str(target), home / "again")


@pytest.mark.parametrize("kind", ["blood_cell", "folder", "smear[size=64,test=2,train=3,val=2]"])
def test_an_exported_data_set_reads_back_to_the_same(kind: str, raw: Path, home: Path, tmp_path: Path) -> None:
    if kind == "blood_cell":
        lookalike.blood_cell(raw)
        prepare.prepare(kind, home, raw)
    elif kind == "folder":
        lookalike.folder(raw, count=8, classes=5)
        (raw / "images/cell0.png").rename(raw / "images/a b ü.x.png")
        (raw / "masks/cell0.png").rename(raw / "masks/a b ü.x.png")
        (raw / "dataset.toml").write_text('title = "Zellen 🔬"', encoding="utf-8")
        kind = str(raw)
    before, after = exported(kind, home, tmp_path / "out")

    def pixels(prepared: Prepared) -> dict[str, list[str]]:
        found = prepared.split(0, 1)
        return {name: sorted(prepared.index.entries[at].hash for at in group) for name, group in found.items()}

    assert before.index.classes == after.index.classes
    assert (before.index.title, before.index.licence) == (after.index.title, after.index.licence)
    assert pixels(before) == pixels(after)


def test_ignored_pixels_keep_their_value_in_an_export(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.array([[0, 1], [IGNORE, 1]], np.uint8)
    custom(monkeypatch, 3, (np.zeros((2, 2, 3), np.uint8), mask))
    export.export("custom", home, tmp_path / "out")
    with Image.open(next((tmp_path / "out").glob("*/masks/s0.png"))) as stored:
        found = np.asarray(stored)

    assert mask.tolist() == found.tolist()
    assert "pixel_size_um = 0.25" in (tmp_path / "out/dataset.toml").read_text(encoding="utf-8")


def test_an_export_overwrites_nothing(raw: Path, home: Path, tmp_path: Path) -> None:
    lookalike.folder(raw)
    (tmp_path / "file").write_text("mine")
    for target in (raw, tmp_path / "file"):
        with pytest.raises(DataError, match=r"is not an empty folder\. Give a folder that does not exist yet"):
            export.export(str(raw), home, target)

    assert "mine" == (tmp_path / "file").read_text()


@real
def test_otsu_on_the_real_test_pairs_gives_the_published_numbers() -> None:
    pairs = [blood_cell.load(sample) for sample in blood_cell.read(REAL) if sample.split == "test"]
    otsu = BASELINES["otsu"].fit(pairs[:2], 2)
    counts = np.stack([confusion(mask, otsu(image), 2) for image, mask in pairs])
    scores = metrics.scores(counts, ("background", "cell"), metrics.IMAGE_BINARY)

    assert 20 == len(pairs)
    assert REFERENCE == {name: round(value or 0.0, 4) for name, value in scores.items()}
