"""The audit as a user meets it: planted leaks and defects, told in a table, as JSON, on a page and by the exit code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import audit, auditfile, maskfiles, prepare
from bench.errors import StoreError
from bench.findings import Audit, Finding, Kind
from bench.maskfiles import MaskFile
from tests import commands, distorted, plain_folder
from tests.plain_folder import Pair, moved, put, take

FEW = {"train": 5, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without anything wrong."""
    return plain_folder.write(tmp_path_factory.mktemp("clean") / "cells")


@pytest.fixture(scope="module")
def planted(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one of every kind that does not hide the others."""
    root = tmp_path_factory.mktemp("planted") / "cells"
    shutil.copytree(clean, root)
    source = [take(root, "train", f"t{at:02d}") for at in range(8)]
    *_, other, aside, sparse, odd = plain_folder.pairs(sum(plain_folder.SPLITS.values()) + 4)
    put(root, "test", "exact", source[0])
    put(root, "test", "encoded", source[1], suffix="jpg", quality=70)
    put(root, "test", "turn", tuple(map(np.rot90, source[2])))
    put(root, "val", "mirror", tuple(map(np.fliplr, source[3])))
    put(root, "val", "shine", (np.clip(source[4][0] + 18.0, 0, 255).astype(np.uint8), source[4][1]))
    put(root, "test", "bulge", bulged(source[5]))
    put(root, "test", "part", tuple(one[10:130, 20:150] for one in source[6]))
    put(root, "val", "rotated_90_t07", other)
    put(root, "train", "aside", (aside[0], moved(aside[1], 4, 4)))
    specks = np.zeros_like(sparse[1])
    specks[70:72, 70:73] = 1
    put(root, "train", "specks", (sparse[0], specks))
    odd[1][60:70, 60:70] = 3
    put(root, "train", "odd", odd)
    return root


def bulged(pair: Pair) -> Pair:
    """A barrel of image and mask, class by class."""
    image, mask = pair
    sure = [distorted.lenses(np.repeat(np.uint8(255) * (mask == at)[..., None], 3, axis=2), 0.3) for at in range(3)]
    return distorted.lenses(image, 0.3), np.argmax([one[..., 0] for one in sure], axis=0).astype(np.uint8)


def told(folder: Path, home: Path, *words: str) -> tuple[int, Audit, dict[str, list[str]]]:
    """What the command prints as JSON, read back as strictly as the program does: exit code, findings, leaked ids."""
    page, text = home / "page.html", home / "printed.json"
    code, out, _ = commands.call("data", "audit", folder, "--data-home", home, "--format", "json", "--to", page, *words)
    text.write_text(out)
    assert page.read_text().startswith("<!doctype html>")
    return code, auditfile.load(text), json.loads(out)["leaked"]


def of(found: Audit, kind: Kind) -> list[Finding]:
    return [one for one in found.findings if one.kind is kind]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data of the folders above, audited once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def audited(planted: Path, home: Path) -> tuple[int, Audit, dict[str, list[str]]]:
    return told(planted, home)


PLANTED = [
    (Kind.EXACT, ("train-t00", "test-exact"), "none"),
    (Kind.NEAR, ("train-t01", "test-encoded"), "none"),
    (Kind.NEAR, ("train-t02", "test-turn"), "left_turn"),
    (Kind.NEAR, ("train-t03", "val-mirror"), "mirror"),
    (Kind.NEAR, ("train-t04", "val-shine"), "none"),
    (Kind.NEAR, ("train-t05", "test-bulge"), "none"),
    (Kind.CROP, ("test-part", "train-t06"), "none"),
    (Kind.SOURCE, ("train-t07", "val-rotated_90_t07"), "none"),
    (Kind.SHIFTED, ("train-aside",), "none"),
    (Kind.EMPTY, ("train-specks",), "none"),
    (Kind.ABSENT, (), "none"),
]


def test_everything_that_was_planted_is_found_and_nothing_else(audited: tuple[int, Audit, dict[str, list[str]]]):
    code, found, _ = audited

    assert 1 == code
    assert sorted(PLANTED) == sorted((one.kind, one.images, one.position) for one in found.findings)


def test_what_was_planted_is_measured_as_it_was_planted(audited: tuple[int, Audit, dict[str, list[str]]]):
    found = audited[1]
    brighter = next(one for one in found.findings if "val-shine" in one.images)
    [cut], [aside], [absent] = (of(found, kind) for kind in (Kind.CROP, Kind.SHIFTED, Kind.ABSENT))

    assert 18 == pytest.approx(brighter.measures["brightness"], abs=1)
    np.testing.assert_allclose((20, 10, 150, 130), cut.box, atol=2)
    np.testing.assert_allclose((-4, -4), (aside.measures["right"], aside.measures["down"]), atol=0.5)
    assert "The class class_3 is in no mask of the val or test split." == absent.note


def test_every_planted_leak_counts_the_images_of_validation_and_test(
    audited: tuple[int, Audit, dict[str, list[str]]],
):
    expected = {
        "val": ["val-mirror", "val-rotated_90_t07", "val-shine"],
        "test": ["test-bulge", "test-encoded", "test-exact", "test-part", "test-turn"],
    }

    assert expected == audited[2]


def test_records_will_count_every_planted_leak_those_by_name_as_well(
    planted: Path, home: Path, audited: tuple[int, Audit, dict[str, list[str]]]
):
    prepared = prepare.open_prepared(str(planted), home)
    split = prepared.split(0, 1)

    assert {"val": 3, "test": 5} == prepared.card(split).leaked


def test_the_folder_without_plants_raises_no_alarm(clean: Path, home: Path, tmp_path: Path):
    code, out, _ = commands.call("data", "audit", clean, "--data-home", home, "--to", tmp_path / "cells.html")

    assert 0 == code
    assert "No leak found: none of the 7 test and 6 validation images has a copy in another split." in out
    assert "what to do" not in out
    assert () == told(clean, home)[1].findings


def test_the_table_shows_leaks_first_and_the_page_has_them_all(planted: Path, home: Path, tmp_path: Path):
    page = tmp_path / "cells.html"
    code, out, _ = commands.call("data", "audit", planted, "--data-home", home, "--to", page)

    assert 1 == code
    assert (
        "5 of 12 test images have copies or overlapping images in the training split: scores on them measure memory as well."
        in out
    )
    assert out.index("exact copy") < out.index("shared source") < out.index("mask off its image")
    text = page.read_text()
    for _, images, _ in PLANTED:
        assert all(name in text for name in images)
    assert re.search(r"moved by −[34][.\d]* right, −[34][.\d]* down", text), "the mask as it would fit is shown"


def test_masks_that_are_all_off_are_one_finding(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", FEW)
    for path in root.glob("*/masks/*.png"):
        Image.fromarray(moved(np.asarray(Image.open(path)), -4, -4)).save(path)
    code, found, _ = told(root, tmp_path)
    [one] = found.findings

    assert (1, Kind.SHIFTED) == (code, one.kind)
    assert f"{found.images} of {found.images} masks fit 4.0 px further right and 4.0 px further down." == one.note


def test_masks_of_0_and_255_are_told_and_no_reason_to_stop(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", FEW)
    for path in root.glob("*/masks/*.png"):
        Image.fromarray(np.uint8(255) * (np.asarray(Image.open(path)) > 0)).save(path)
    code, found, _ = told(root, tmp_path)

    assert (0, [Kind.BINARY]) == (code, [one.kind for one in found.findings])


@pytest.fixture
def thresholded(tmp_path: Path) -> Path:
    """A folder whose masks are greys that a threshold parts."""
    root = plain_folder.write(tmp_path / "cells", {"train": 16, "val": 3, "test": 3}, size=96)
    for path in root.glob("*/masks/*.png"):
        Image.fromarray(np.uint8(255) * (np.asarray(Image.open(path)) > 0)).save(path)
    (root / "dataset.toml").write_text("[reader]\nthreshold = 127\n")
    return root


def test_an_area_of_a_value_that_is_no_class_is_off_the_palette(thresholded: Path, tmp_path: Path):
    path = thresholded / "train/masks/t02.png"
    mask = np.array(Image.open(path))
    mask[40:60, 40:60] = 90
    area = int((mask == 90).sum())
    Image.fromarray(mask).save(path)
    code, found, _ = told(thresholded, tmp_path)
    [one] = of(found, Kind.PALETTE)

    assert (1, ("train-t02",), area) == (code, one.images, one.measures["pixels"])
    assert one.note.endswith("areas of values that stand for no class: 90.")


def test_a_class_that_one_mask_alone_has_is_not_off_the_palette_a_second_strange_value_there_is(tmp_path: Path):
    root = tmp_path / "cells"
    names = "".join(
        f'[[classes]]\nname = "{name}"\nvalue = {value}\n'
        for name, value in zip("abcd", (0, 60, 120, 180), strict=True)
    )
    for at, (image, mask) in enumerate(plain_folder.pairs(21, size=96)):
        values = mask * np.uint8(60)
        if at == 0:
            values[20:40, 20:40] = 180
        for split in ("train",) if at < 17 else ("val",) if at < 19 else ("test",):
            put(root, split, f"{split[0]}{at:02d}", (image, values))
    (root / "dataset.toml").write_text(names)
    rare = told(root, tmp_path)

    assert Kind.PALETTE not in {one.kind for one in rare[1].findings}
    stray = {name: MaskFile("PNG", "L", (96, 96), ((0, 9000), (60, 90)), (), 2, 0, 40) for name in map(str, range(30))}
    stray["7"] = stray["7"]._replace(areas=((0, 9000), (180, 90), (99, 50)), distinct=3)
    counted = dict.fromkeys(stray, (9000, 90, 0, 0)) | {"7": (9050, 0, 0, 90)}
    [found] = maskfiles.filed(stray, {}, classes=4, pixels=counted)
    assert (Kind.PALETTE, ("7",)) == (found.kind, found.images)


def test_masks_that_were_resized_smoothly_are_told(thresholded: Path, tmp_path: Path):
    for path in thresholded.glob("*/masks/*.png"):
        with Image.open(path) as mask:
            smooth = mask.resize((80, 80), Image.Resampling.BICUBIC).resize(mask.size, Image.Resampling.BICUBIC)
        smooth.save(path)
    code, found, _ = told(thresholded, tmp_path)
    [one] = of(found, Kind.GREYS)

    assert (0, 22) == (code, one.measures["masks"])


def test_a_flat_folder_is_split_by_looks_so_that_copies_are_no_leak(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", FEW)
    for split in FEW:
        for kind in ("images", "masks"):
            shutil.copytree(root / split / kind, tmp_path / "flat" / kind, dirs_exist_ok=True)
    for kind in ("images", "masks"):
        with Image.open(tmp_path / f"flat/{kind}/t00.png") as image:
            image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / f"flat/{kind}/again.png")
    code, found, leaked = told(tmp_path / "flat", tmp_path)
    [one] = found.findings

    assert (0, {"val": [], "test": []}) == (code, leaked)
    assert (Kind.NEAR, {"again", "t00"}) == (one.kind, set(one.images))


def test_an_audit_is_kept_until_the_data_or_the_version_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, made = plain_folder.write(tmp_path / "cells", {"train": 3, "val": 1, "test": 1}, size=96), []
    work = audit._made
    monkeypatch.setattr(audit, "_made", lambda *words: made.append(1) or work(*words))
    told(root, tmp_path)
    told(root, tmp_path)
    assert 1 == len(made)

    [stored] = tmp_path.glob(f"*/{auditfile.FILE}")
    stored.write_text("{ damaged")
    told(root, tmp_path)
    assert 2 == len(made)

    put(root, "test", "exact", take(root, "train", "t00"))
    assert 1 == told(root, tmp_path)[0]
    assert 3 == len(made)

    monkeypatch.setattr(audit, "VERSION", audit.VERSION + 1)
    told(root, tmp_path)
    assert 4 == len(made)
    told(root, tmp_path, "--again")
    assert 5 == len(made)


def test_a_search_that_ran_out_of_time_says_how_to_give_it_more(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", FEW, size=128)
    code, found, _ = told(root, tmp_path, "--crops", "0")
    _, out, _ = commands.call("data", "audit", root, "--data-home", tmp_path, "--to", tmp_path / "a.html", "--crops", 0)

    assert (0, [Kind.UNFINISHED]) == (code, [one.kind for one in found.findings])
    assert "--crops SECONDS" in out


def test_a_hasty_search_for_crops_neither_stands_for_a_patient_one_nor_takes_its_place(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", FEW, size=160)
    put(root, "test", "part", tuple(one[10:130, 20:150] for one in take(root, "train", "t01")))
    hasty = told(root, tmp_path, "--crops", "0")
    patient = told(root, tmp_path)
    told(root, tmp_path, "--crops", "0")
    kept = told(root, tmp_path)

    assert (0, [Kind.UNFINISHED]) == (hasty[0], [one.kind for one in hasty[1].findings])
    assert (1, [Kind.CROP]) == (patient[0], [one.kind for one in patient[1].findings])
    assert patient == kept


def test_an_audit_that_cannot_be_kept_is_shown_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = plain_folder.write(tmp_path / "cells", FEW, size=96)
    put(root, "test", "exact", take(root, "train", "t00"))

    def refused(path: Path, content: bytes) -> None:
        raise StoreError(f"Cannot write {path}: Read-only file system.")

    monkeypatch.setattr(audit, "write_bytes", refused)
    page = tmp_path / "a.html"
    code, out, err = commands.call("data", "audit", root, "--data-home", tmp_path / "home", "--to", page)

    assert (1, True) == (code, page.is_file())
    assert "1 of 3 test images has copies" in out
    assert "The audit is not kept for the next study. Cannot write" in err.replace("\n", " ")


@pytest.mark.parametrize("target", ["page.txt", "."])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_looked_at(
    clean: Path, tmp_path: Path, target: str
):
    code, _, err = commands.call("data", "audit", clean, "--data-home", tmp_path / "home", "--to", tmp_path / target)

    assert (2, 1) == (code, err.count("\n"))
    assert "ends in .html" in err
    assert not (tmp_path / "home").exists()


def test_empty_fields_are_no_copies_of_each_other(tmp_path: Path) -> None:
    for number in range(6):
        mask = np.zeros((48, 48), np.uint8)
        mask[8:24, 8 : 16 + number] = 1
        for kind, picture in (("images", np.zeros((48, 48, 3), np.uint8)), ("masks", mask)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "set" / kind / f"{number}.png")

    code, found, leaked = told(tmp_path / "set", tmp_path)

    assert not {Kind.EXACT, Kind.NEAR} & {one.kind for one in found.findings}
    assert (0, {"val": [], "test": []}) == (code, leaked)
