"""Blood-Cell as its authors released it: png and jpg mixed, masks cut above 127, files without a partner."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import blood_cell
from bench.errors import DataError
from bench.prepare import prepare
from tests import lookalike, lookalike_archives
from tests.lookalike import check, save, zipped

INNER = "New folder"
FIRST = "00000000-0000-0000-0000-000000000001"
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda raw: raw,
    "inner folder": lambda raw: raw / INNER,
    "folder around": lambda raw: raw.parent,
    "zip": zipped,
    "zip of the inner folder": lambda raw: zipped(raw / INNER),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def refused(name: str, raw: Path, home: Path) -> str:
    """The one line that says why nothing is prepared."""
    with pytest.raises(DataError) as caught:
        prepare(name, home, raw)
    assert "\n" not in str(caught.value)
    assert not home.exists() or [] == list(home.iterdir())
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_authors_release_is_prepared_from_folder_and_zip(
    layout: Callable[[Path], Path], raw: Path, home: Path
) -> None:
    truth = lookalike_archives.blood_cell_original(raw)
    prepared = prepare("blood_cell", home, layout(raw))

    check(prepared, truth)
    assert sorted(truth) == [entry.sample.source for entry in prepared.index.entries]
    assert {None} == {entry.sample.split for entry in prepared.index.entries}


def test_folders_may_be_written_in_any_case(raw: Path, home: Path) -> None:
    truth = lookalike_archives.blood_cell_original(raw)
    (raw / INNER / "Original").rename(raw / INNER / "original")
    (raw / INNER / "Mask").rename(raw / INNER / "MASK")

    check(prepare("blood_cell", home, raw), truth)


def test_jpeg_masks_have_doubtful_pixels_and_png_masks_have_none(raw: Path) -> None:
    lookalike_archives.blood_cell_original(raw)
    found = {Path(sample.mask).suffix: blood_cell.doubtful(sample) for sample in blood_cell.read(raw)}

    assert 0 == found[".png"]
    assert 0 < found[".jpg"] < 1000


@pytest.mark.parametrize("kind", ["authors", "kaggle"])
def test_files_without_a_partner_are_refused_and_left_out_when_asked(kind: str, raw: Path, home: Path) -> None:
    truth = lookalike_archives.blood_cell_original(raw) if kind == "authors" else lookalike.blood_cell(raw)
    alone = sorted(truth)[0]
    stem = alone.removeprefix("test-")
    mask = next(path for path in raw.rglob(f"{stem}.*") if path.parent.name.lower() == "mask")
    mask.unlink()
    del truth[alone]
    found = refused("blood_cell", raw, home)

    assert re.search(rf"1 of \d files have no mask, the first is .*{stem}", found), found
    assert f"Put its mask into {mask.parent}, or write blood_cell[skip_unpaired=true] to leave such files out" in found
    check(prepare("blood_cell[skip_unpaired=true]", home, raw), truth)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "mask without image": (
        lambda raw: (raw / INNER / f"Original/{FIRST}.png").unlink(),
        rf"1 of 4 files have no image, the first is .*Mask/{FIRST}\.jpg",
    ),
    "no masks": (
        lambda raw: shutil.rmtree(raw / INNER / "Mask"),
        "is not the Blood-Cell archive.*or Original/ and Mask",
    ),
    "empty masks": (
        lambda raw: [path.unlink() for path in (raw / INNER / "Mask").iterdir()],
        "Mask holds no file of type|is not the Blood-Cell archive",  # a zip has no empty folders
    ),
    "two masks": (
        lambda raw: shutil.copy(raw / INNER / f"Mask/{FIRST}.jpg", raw / INNER / f"Mask/{FIRST}.png"),
        rf"{FIRST}\.jpg and .*{FIRST}\.png are both called '{FIRST}'\. Rename",
    ),
    "sizes differ": (
        lambda raw: save(raw / INNER / f"Mask/{FIRST}.jpg", np.zeros((120, 161), np.uint8)),
        rf"{FIRST}\.png is 160x120 but its mask .*is 161x120",
    ),
    "cut mask": (
        lambda raw: (raw / INNER / f"Mask/{FIRST}.jpg").write_bytes(b"\xff\xd8\xff"),
        rf"{FIRST}\.jpg cannot be read as an image",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_release_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, packed: bool, raw: Path, home: Path
) -> None:
    lookalike_archives.blood_cell_original(raw)
    spoil(raw)
    found = refused("blood_cell", zipped(raw) if packed else raw, home)

    assert re.search(message, found), found


def test_nothing_is_left_when_no_file_has_a_partner(raw: Path, home: Path) -> None:
    lookalike_archives.blood_cell_original(raw, count=1)
    path = raw / INNER / f"Mask/{FIRST}.jpg"
    path.rename(path.with_stem("other"))

    assert re.search("1 of 1 files have no mask", refused("blood_cell[skip_unpaired=true]", raw, home))


@pytest.mark.parametrize("value", ["yes", "1", "0.5"])
def test_an_option_that_is_neither_true_nor_false_is_refused(value: str, raw: Path, home: Path) -> None:
    lookalike_archives.blood_cell_original(raw, count=1)

    assert r"Write blood_cell[skip_unpaired=true]" in refused(f"blood_cell[skip_unpaired={value}]", raw, home)


def test_one_half_of_the_kaggle_archive_is_not_taken_for_the_authors_release(raw: Path, home: Path) -> None:
    lookalike.blood_cell(raw)

    assert "train is not the Blood-Cell archive" in refused("blood_cell", raw / "BCCD Dataset with mask/train", home)
