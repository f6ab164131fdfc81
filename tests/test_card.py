"""Cards and contact sheets: figures as data, outlines where the masks have their borders, names of any kind."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from bench import card as cards
from bench import cli, contact
from bench.prepare import Prepared, prepare
from bench.presets import PRESETS
from bench.specs import IGNORE, ClassSpec
from tests import lookalike
from tests.small import SMEAR

CLASSES = (
    ClassSpec(name="background", colour=(0, 0, 0)),
    ClassSpec(name="cell", colour=(10, 20, 200)),
    ClassSpec(name="nucleus", colour=(90, 0, 90)),
)
HOSTILE = "[red]\x1b[31m <script> 细胞 " + "x" * 300


@pytest.fixture
def show(tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run `bench data show` in an empty folder; give its exit code, what it printed, and what it complained."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "data", "show", *words, "--data-home", str(data_home)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def cells(tmp_path: Path) -> tuple[str, Prepared, lookalike.Truth]:
    """A folder of pictures of three classes with official splits; two sizes, and one class that is missing at times."""
    truth = lookalike.folder(tmp_path / "cells", 3, 3, splits=("train", "val", "test"))
    wide, empty = lookalike.picture(50, (20, 60), 3)[0], np.zeros((20, 60), np.uint8)
    lookalike.save(tmp_path / "cells" / "train" / "images" / "wide.png", wide)
    lookalike.save(tmp_path / "cells" / "train" / "masks" / "wide.png", empty)
    truth["train-wide"] = wide, empty
    name = str(tmp_path / "cells")
    return name, prepare(name, tmp_path / "home"), truth


def test_a_card_counts_what_is_in_the_masks(cells: tuple[str, Prepared, lookalike.Truth]) -> None:
    name, prepared, truth = cells
    found = cards.card(name, prepared)

    assert {"train": 4, "val": 3, "test": 3} == found.images
    assert 10 == found.sources
    assert (20, 40, 40) == found.heights == (20, median(m.shape[0] for _, m in truth.values()), 40)
    assert (30, 30, 60) == found.widths
    for split in ("train", "val", "test"):
        masks = [mask for key, (_, mask) in truth.items() if key.startswith(split)]
        pixels = np.concatenate([mask.ravel() for mask in masks])
        for label in range(3):
            share = found.balance[label][split]
            assert (pixels == label).mean() == pytest.approx(share.pixels)
            assert sum((mask == label).any() for mask in masks) == share.images
    assert 3 == found.balance[1]["train"].images


def test_a_card_says_where_the_data_come_from(data_home: Path) -> None:
    found = cards.card(SMEAR, prepare(SMEAR, data_home))

    assert "https://github.com/abhanjac/blood_cell_image_segmentation" == found.homepage
    assert found.licence and found.citation
    told = {row["fact"]: row["value"] for row in cards.facts(found)}
    assert ("13 from 13 sources", "64 x 64 pixels", "unknown") == (told["images"], told["size"], told["pixel"])
    assert ["background", "eosinophil"] == [row["class"] for row in cards.balance(found)][:2]


def test_the_chosen_samples_show_every_class_however_rare(data_home: Path) -> None:
    entries = prepare("smear[size=64,test=40,train=4,val=4]", data_home).index.entries
    present = [{label for label, pixels in enumerate(entry.pixels) if pixels} for entry in entries]
    chosen = cards.choose(entries, 9)

    assert sorted(set(chosen)) == chosen and 9 == len(chosen)
    assert set().union(*present) == set().union(*(present[position] for position in chosen))
    assert list(range(len(entries))) == cards.choose(entries, 1000)
    assert [] == cards.choose(entries, 0)


def blobs(size: tuple[int, int] = (60, 80)) -> np.ndarray:
    rows, columns = np.indices(size)
    mask = np.zeros(size, np.uint8)
    mask[(rows - 20) ** 2 + (columns - 25) ** 2 < 15**2] = 1
    mask[(rows - 20) ** 2 + (columns - 25) ** 2 < 6**2] = 2
    mask[(rows - 58) ** 2 + (columns - 70) ** 2 < 12**2] = 1  # cut by the frame
    return mask


def test_an_outline_is_the_two_outermost_pixels_of_an_area_in_the_colour_of_its_class() -> None:
    mask, image = blobs(), np.full((60, 80, 3), 77, np.uint8)
    found = contact.outlined(image, mask, CLASSES)
    line = np.zeros(mask.shape, bool)
    for label in (1, 2):
        area = mask == label
        rim = area & ~binary_erosion(area, np.ones((3, 3)), iterations=2, border_value=1)
        assert (found[rim] == CLASSES[label].colour).all()
        line |= rim
    around = ~line & ~binary_erosion(~line, np.ones((3, 3)), border_value=1)

    assert (found[around] == 255).all()
    assert (found[~line & ~around] == 77).all()
    assert (image == 77).all()  # the picture itself is not drawn on


def test_every_border_of_a_mask_lies_between_an_outline_and_what_is_outside() -> None:
    mask = blobs()
    found = contact.outlined(np.full((60, 80, 3), 77, np.uint8), mask, CLASSES)
    colours = {spec.colour for spec in CLASSES[1:]}
    for (upper, lower), (one, other) in (
        ((found[:-1], found[1:]), (mask[:-1], mask[1:])),
        ((found[:, :-1], found[:, 1:]), (mask[:, :-1], mask[:, 1:])),
    ):
        border = one != other
        for pair in zip(upper[border].tolist(), lower[border].tolist(), strict=True):
            assert {tuple(pixel) for pixel in pair} & colours


def test_ignored_pixels_are_hatched_and_the_background_has_no_outline() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = IGNORE
    image = np.full((40, 40, 3), 77, np.uint8)
    found = contact.outlined(image, mask, CLASSES)

    assert (found[:, :20] == 77).all()
    assert 2 == len(np.unique(found[:, 20:]))
    assert found[:, 20:].min() > 77


def test_a_sheet_holds_every_tile_and_a_legend_in_class_colours() -> None:
    image = np.full((60, 80, 3), 77, np.uint8)
    plain = contact.Tile(image, np.zeros((60, 80), np.uint8), "a")
    rows = [[plain, plain._replace(mask=blobs())], [plain._replace(image=image[:30], mask=plain.mask[:30])]]
    pixels = np.asarray(contact.sheet("Title", "note", rows, CLASSES)).reshape(-1, 3)
    drawn = contact.outlined(image, blobs(), CLASSES)

    assert 60 * 80 + (drawn == 77).all(-1).sum() + 30 * 80 == (pixels == 77).all(1).sum()
    for spec in CLASSES[1:]:
        swatch = 14 * 14
        assert (pixels == spec.colour).all(1).sum() == (drawn == spec.colour).all(-1).sum() + swatch


def test_native_tiles_keep_their_proportions_and_their_masks(cells: tuple[str, Prepared, lookalike.Truth]) -> None:
    _, prepared, truth = cells
    tiles = [tile for row in contact.natives(prepared, 100) for tile in row]

    assert len(truth) == len(tiles)
    for tile in tiles:
        name, width, height = re.fullmatch(r"(.*)  \((\d+) x (\d+)\)", tile.caption).groups()
        assert contact.EDGE == max(tile.mask.shape)
        assert tile.image.shape[:2] == tile.mask.shape
        assert int(width) / int(height) == pytest.approx(tile.mask.shape[1] / tile.mask.shape[0])
        mask = truth[name][1]
        step = contact.EDGE // max(mask.shape)
        np.testing.assert_array_equal(mask.repeat(step, 0).repeat(step, 1), tile.mask)


@pytest.mark.parametrize("name", ["standard", "seed2"])
def test_augmented_rows_begin_with_the_training_picture_as_it_is(name: str, cells) -> None:
    _, prepared, _ = cells
    rows = contact.augmented(prepared, PRESETS[name], 3, (32, 48))
    again = contact.augmented(prepared, PRESETS[name], 3, (32, 48))

    assert [1 + contact.VERSIONS] * 3 == [len(row) for row in rows]
    assert all(row[0].caption.startswith("train-") for row in rows)
    for row, same in zip(rows, again, strict=True):
        for tile, other in zip(row, same, strict=True):
            assert ((32, 48, 3), np.uint8, np.uint8) == (tile.image.shape, tile.image.dtype, tile.mask.dtype)
            np.testing.assert_array_equal(tile.image, other.image)


def test_names_of_any_kind_are_drawn_inside_the_sheet() -> None:
    tile = contact.Tile(np.full((40, 50, 3), 77, np.uint8), blobs((40, 50)), HOSTILE + "\n\nmore")
    classes = (CLASSES[0], *(ClassSpec(name=f"{n}{HOSTILE}", colour=(n, 0, 0)) for n in range(1, 12)))
    picture = contact.sheet(HOSTILE, HOSTILE, [[tile]], classes)
    pixels = np.asarray(picture)

    assert (pixels[:, -contact.MARGIN :] == contact.PAPER).all()
    assert (pixels[-contact.MARGIN :] == contact.PAPER).all()


def test_show_prints_the_card_and_writes_the_sheet(show, tmp_path: Path) -> None:
    code, out, err = show(SMEAR)
    (written,) = tmp_path.glob("*.png")

    assert (0, "") == (code, err)
    assert "smear[size=64,test=4,train=6,val=3].png" == written.name
    assert all(part in out for part in ("train (6)", "13 from 13 sources", "healthy_rbc", "abhanjac", "MIT"))
    assert f"Contact sheet: {written}" in out
    with Image.open(written) as picture:
        assert "PNG" == picture.format


def test_show_with_a_preset_draws_training_pictures(show, tmp_path: Path) -> None:
    code, _, err = show(SMEAR, "--augment", "heavy", "--count", "2", "--size", "48x64", "--to", "a/b.png")

    assert (0, "") == (code, err)
    with Image.open(tmp_path / "a" / "b.png") as picture:
        assert 2 * contact.MARGIN + 760 == picture.width  # the narrowest sheet there is


def test_a_folder_with_a_hostile_description_is_shown_all_the_same(show, tmp_path: Path) -> None:
    folder = tmp_path / "a [b] ünï"
    lookalike.folder(folder, 8)
    text = HOSTILE.replace("\x1b", "\\u001b")
    (folder / "dataset.toml").write_text(f'title = "{text}"\nlicence = "{text}"\n', "utf-8")
    code, out, err = show(str(folder))

    assert (0, "") == (code, err)
    assert "\x1b" not in out
    assert "[red]" in out
    assert ["a%20[b]%20%C3%BCn%C3%AF.png"] == [path.name for path in tmp_path.glob("*.png")]


WRONG = {
    "an unknown preset": (["--augment", "hevy"], ["'hevy'", "Did you mean heavy"]),
    "another format": (["--to", "sheet.jpg"], ["sheet.jpg", ".png"]),
    "a folder as file": (["--to", "folder.png"], ["folder.png", ".png"]),
    "a file as folder": (["--to", "file/sheet.png"], ["file", "Check the folder"]),
    "a size out of range": (["--size", "100000"], ["--size 100000", "16 to 8192"]),
    "a size that is none": (["--size", "big"], ["--size big", "HEIGHTxWIDTH"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_to_show_is_one_line(show, case: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    words, expected = WRONG[case]
    code, _, err = show(SMEAR, *words)

    assert 2 == code
    assert 1 == err.count("\n")
    assert all(part in err for part in expected), err
