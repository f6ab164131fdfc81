"""Plain folders of images and masks: what their masks mean, and every wrong one said in one line."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import export, prepare
from bench.errors import DataError
from bench.specs import IGNORE
from tests import lookalike
from tests.lookalike import check, save

TOML = """
title = "Zellen 🔬"
licence = "CC0"
[[classes]]
name = "nothing"
colour = [10, 0, 0]
[[classes]]
name = 'a "cell"'
colour = [0, 200, 0]
[[classes]]
name = "other"
colour = [0, 0, 255]
"""
VALUES = "".join(f'[[classes]]\nname = "c{at}"\nvalue = {value}\n' for at, value in enumerate((0, 128, 9)))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def refused(name: str, home: Path, source: Path | None = None) -> str:
    """The one line with which raw files are refused; nothing may be left of them."""
    with pytest.raises(DataError) as caught:
        prepare.prepare(name, home, source)
    assert "\n" not in str(caught.value)
    assert not home.exists() or not list(home.iterdir())
    return str(caught.value)


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (3, 7)])
def test_two_values_are_background_and_foreground(values: tuple[int, int], raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, values=values)
    prepared = prepare.prepare(str(raw), home)

    check(prepared, truth)
    assert ["background", "foreground"] == prepared.classes


def test_small_integers_are_classes_and_one_that_is_missing_keeps_its_place(raw: Path, home: Path) -> None:
    lookalike.folder(raw, classes=3, values=(0, 2, 5))
    prepared = prepare.prepare(str(raw), home)

    assert ["background", *(f"class_{value}" for value in range(1, 6))] == prepared.classes
    assert {0, 2, 5} == set(np.unique(prepared.native(prepared.index.entries[0])[1]))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "PNG"])
def test_formats_that_keep_pixels_are_read_exactly(suffix: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=4, suffix=suffix)

    check(prepare.prepare(str(raw), home), truth)


def test_jpeg_images_are_read_as_pillow_reads_them(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, suffix="jpg")
    decoded = {name: np.asarray(Image.open(raw / "images" / f"{name}.jpg").convert("RGB")) for name in truth}

    check(prepare.prepare(str(raw), home), {name: (decoded[name], mask) for name, (_, mask) in truth.items()})


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_binary_mask_may_be_stored_in_any_mode(mode: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, values=(0, 255))
    for path in (raw / "masks").iterdir():
        Image.open(path).convert(mode).save(path)

    check(prepare.prepare(str(raw), home), truth)


def test_images_may_be_grey_or_have_transparency(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, count=2)
    for name, mode in zip(truth, ("L", "RGBA"), strict=True):
        path = raw / "images" / f"{name}.png"
        Image.open(path).convert(mode).save(path)
        truth[name] = np.asarray(Image.open(path).convert("RGB")), truth[name][1]

    check(prepare.prepare(str(raw), home), truth)


def test_subfolders_are_official_splits(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, count=2, splits=("train", "val", "test"))
    prepared = prepare.prepare(str(raw), home)
    split = prepared.split(0, 1)

    check(prepared, truth)
    assert {name: [f"{name}-cell0", f"{name}-cell1"] for name in split} == {
        name: [prepared.index.entries[at].sample.id for at in group] for name, group in split.items()
    }


@pytest.mark.parametrize("stored", ["RGB", "P"])
def test_colours_of_a_description_are_classes(stored: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=3)
    (raw / "dataset.toml").write_text(TOML, encoding="utf-8")
    palette = [10, 0, 0, 0, 200, 0, 0, 0, 255]
    for path in (raw / "masks").iterdir():
        with Image.open(path) as grey:
            mask = grey.convert("P")
        mask.putpalette(palette)
        mask.convert(stored).save(path)
    prepared = prepare.prepare(str(raw), home)

    check(prepared, truth)
    assert (["nothing", 'a "cell"', "other"], "Zellen 🔬", "CC0") == (
        prepared.classes,
        prepared.index.title,
        prepared.index.licence,
    )


def test_values_of_a_description_are_classes(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=3, values=(0, 128, 9))
    (raw / "dataset.toml").write_text(VALUES)

    check(prepare.prepare(str(raw), home), truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "is not TOML"),
        ("classes = 3", "class 0 has no name"),
        ("[[classes]]\ncolour = [0, 0, 0]", "class 0 has no name"),
        ('[[classes]]\nname = "a"', r"has 1 entries \[\[classes\]\]; 2"),
        ('[[classes]]\nname = "a"\ncolour = [0, 0]', r"must be \[red, green, blue\]"),
        ('[[classes]]\nname = "a"\ncolour = [0, 0, 256]', r"must be \[red, green, blue\]"),
        ('[[classes]]\nname = "a"\nvalue = 256', "must be an integer from 0 to 255"),
        ('[[classes]]\nname = "a"\nvalue = "1"', "must be an integer from 0 to 255"),
        (
            "".join(f'[[classes]]\nname = "c{at}"\nvalue = 1\n' for at in range(2)),
            "'c0' and 'c1' share the value or colour 1",
        ),
        ("".join(f'[[classes]]\nname = "c"\nvalue = {at}\n' for at in range(2)), "two classes are named 'c'"),
        ("".join(f'[[classes]]\nname = "c{at}"\nvalue = {at}\n' for at in range(70)), "has 70 entries"),
        ("ignored = 255", "there is no key 'ignored'"),
        ("ignore = 256", "ignore is 256; it must be"),
        ("ignore = [0, 0, 0]", r"ignore is \[0, 0, 0\]; it must be"),
        (f"ignore = 128\n{VALUES}", "ignore is 128, which is the class 'c1'"),
        ("pixel_size_um = -1", "pixel_size_um is -1; it must be"),
        ("reader = 3", "reader is 3. Write a table"),
        ("[reader]\nthresh = 3", "there is no option 'thresh'. There are: threshold, blur"),
        ("[reader]\nthreshold = 255", "threshold is 255; allowed is a whole number from 0 to 254, or one of otsu"),
        ("[reader]\nblur = 3", "blur needs a threshold"),
        (f"{VALUES}[reader]\nthreshold = 9", "with a threshold there are two classes"),
        ("[" * 3000, "is not TOML"),
    ],
)
def test_a_malformed_description_is_refused_by_its_name(text: str, message: str, raw: Path, home: Path) -> None:
    lookalike.folder(raw)
    (raw / "dataset.toml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        prepare.prepare(str(raw), home)

    assert str(raw / "dataset.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _jpeg(raw: Path) -> None:
    for path in list((raw / "masks").iterdir()):
        with Image.open(path) as mask:
            mask.save(path.with_suffix(".jpg"))
        path.unlink()


def _deep(path: Path) -> None:
    Image.fromarray(np.full((40, 30), 4000, np.uint16)).save(path)


def _real(path: Path) -> None:
    Image.fromarray(np.zeros((40, 30), np.float32)).save(path, "TIFF")


def _stack(path: Path) -> None:
    Image.new("L", (30, 40)).save(path, "TIFF", save_all=True, append_images=[Image.new("L", (30, 40))])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no masks": (lambda raw: shutil.rmtree(raw / "masks"), r"masks does not exist\. It must hold files of type \.png"),
    "no images": (lambda raw: shutil.rmtree(raw / "images"), r"has no images/ .*Make it so"),
    "empty folder": (
        lambda raw: [path.unlink() for path in (raw / "images").iterdir()],
        r"images holds none of its files\. It must",
    ),
    "image without mask": (
        lambda raw: (raw / "masks/cell3.png").unlink(),
        r"1 of 6 files have no mask.*images/cell3\.png\. Put",
    ),
    "mask without image": (
        lambda raw: (raw / "images/cell3.png").unlink(),
        r"1 of 6 files have no image.*masks/cell3\.png\. Put",
    ),
    "sizes differ": (
        lambda raw: save(raw / "masks/cell3.png", np.eye(33, 20, dtype=np.uint8)),
        r"cell3\.png is 30x40 but its mask .*cell3\.png is 20x33\. .*replace",
    ),
    "cut image": (lambda raw: _cut(raw / "images/cell3.png"), r"images/cell3\.png cannot be read .*Replace the file"),
    "cut mask": (lambda raw: _cut(raw / "masks/cell3.png"), r"masks/cell3\.png cannot be read .*Replace the file"),
    "text": (lambda raw: (raw / "images/cell3.png").write_text("hello"), r"images/cell3\.png cannot be read .*Replace"),
    "nothing in it": (
        lambda raw: (raw / "masks/cell3.png").write_text(""),
        r"masks/cell3\.png cannot be read .*Replace",
    ),
    "32 bits": (
        lambda raw: _real(raw / "images/cell3.png"),
        r"images/cell3\.png has the pixel type F of Pillow.*Convert it to 8 bits",
    ),
    "large numbers in 16 bits": (
        lambda raw: _deep(raw / "masks/cell3.png"),
        r"masks/cell3\.png holds the value 4000; .*Number its classes from 0",
    ),
    "several pictures": (lambda raw: _stack(raw / "images/cell3.png"), r"images/cell3\.png is a stack of 2 pictures"),
    "another format": (
        lambda raw: Image.fromarray(np.eye(40, 30, dtype=np.uint8)).save(raw / "images/cell3.png", "GIF"),
        r"images/cell3\.png cannot be read as an image: cannot identify",
    ),
    "stem twice": (
        lambda raw: save(raw / "images/cell3.bmp", np.eye(4, dtype=np.uint8)),
        r"cell3\.bmp and .*cell3\.png have the same stem\. Rename",
    ),
    "one value": (
        lambda raw: [save(path, np.zeros((40, 30), np.uint8)) for path in (raw / "masks").iterdir()],
        r"masks hold the values \[0\]\. Allowed: two values, or small integers.*dataset\.toml",
    ),
    "strange values": (
        lambda raw: save(raw / "masks/cell3.png", np.full((40, 30), 77, np.uint8)),
        r"values \[0, 1, 77\]\. Allowed.* 77 is in .*cell3\.png alone\.",
    ),
    "many values": (
        lambda raw: save(raw / "masks/cell3.png", np.arange(1200).astype(np.uint8).reshape(40, 30)),
        r"masks/cell3\.png brings the masks to more than 64 values.*JPEG.*dataset\.toml",
    ),
    "JPEG masks": (_jpeg, r"masks/cell0\.jpg is a JPEG, .*Save the masks as png"),
    "colours": (
        lambda raw: save(raw / "masks/cell3.png", lookalike.picture(1)[0]),
        r"masks/cell3\.png holds colours\. .*dataset\.toml",
    ),
    "a value no class has": (
        lambda raw: (
            (raw / "dataset.toml").write_text(VALUES),
            save(raw / "masks/cell3.png", np.full((40, 30), 7, np.uint8)),
            [save(raw / f"masks/cell{at}.png", np.zeros((40, 30), np.uint8)) for at in range(3)],
        ),
        r"masks/cell3\.png holds 7 at column 0, row 0, .*Allowed: 0, 128, 9\. Mend the mask",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_folder_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, raw: Path, home: Path
) -> None:
    lookalike.folder(raw)
    spoil(raw)
    found = refused(str(raw), home)

    assert re.search(message, found), found
    assert str(raw) in found


def test_all_wrong_files_are_counted_and_listed(raw: Path, home: Path) -> None:
    lookalike.folder(raw)
    wrong = [str(raw / "masks" / name) for name in ("cell1.png", "cell4.png")]
    for path in wrong:
        Path(path).write_text("no picture")
    with pytest.raises(DataError, match=rf"^2 of 6 files are wrong, the first: {wrong[0]} cannot be read") as caught:
        prepare.prepare(str(raw), home)

    assert tuple(wrong) == caught.value.files
    assert tuple(wrong) == pickle.loads(pickle.dumps(caught.value)).files  # it may come from another process


def test_files_without_a_partner_are_all_listed(raw: Path, home: Path) -> None:
    lookalike.folder(raw)
    for name in ("cell1.png", "cell4.png"):
        (raw / "masks" / name).unlink()
    with pytest.raises(DataError, match="2 of 6 files have no mask") as caught:
        prepare.prepare(str(raw), home)

    assert (str(raw / "images/cell1.png"), str(raw / "images/cell4.png")) == caught.value.files


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_of_16_bits_are_scaled_from_their_whole_range(suffix: str, raw: Path, home: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 30)).astype(np.uint16)
    deep[0, :6] = 0, 128, 129, 257, 65406, 65535
    for number in range(3):
        save(raw / f"images/{number}.{suffix}", deep)
        save(raw / f"masks/{number}.png", np.eye(40, 30, dtype=np.uint8))
    image, _ = prepare.prepare(str(raw), home).native(prepare.open_prepared(str(raw), home).index.entries[0])

    assert [0, 0, 1, 1, 254, 255] == image[0, :6, 0].tolist()
    np.testing.assert_array_equal(np.rint(deep / 65535 * 255), image[..., 0])
    np.testing.assert_array_equal(image[..., :1].repeat(3, axis=2), image)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_masks_of_16_bits_hold_small_integers(suffix: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=4)
    for path in (raw / "masks").iterdir():
        save(path.with_suffix(f".{suffix}"), np.asarray(Image.open(path)).astype(np.uint16))
        if suffix != "png":
            path.unlink()

    check(prepare.prepare(str(raw), home), truth)


def test_a_mask_of_16_bits_with_0_and_65535_is_binary(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw)
    for path in (raw / "masks").iterdir():
        save(path, np.asarray(Image.open(path)).astype(np.uint16) * 65535)

    check(prepare.prepare(str(raw), home), truth)


@pytest.mark.parametrize("text", ["ignore = 255", f"ignore = 255\n{VALUES}"], ids=["found", "declared"])
def test_ignored_pixels_are_read_as_such(text: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=3, values=(0, 128, 9) if "classes" in text else None)
    (raw / "dataset.toml").write_text(text)
    for name, (_, mask) in truth.items():
        path = raw / f"masks/{name}.png"
        stored = np.array(Image.open(path))
        stored[5:9, 3:8] = 255
        mask[5:9, 3:8] = IGNORE
        save(path, stored)
    prepared = prepare.prepare(str(raw), home)

    assert 3 == len(prepared.classes)
    for entry in prepared.index.entries:
        np.testing.assert_array_equal(truth[entry.sample.id][1], prepared.native(entry)[1])
        assert 40 * 30 - 20 == sum(entry.pixels)


@pytest.mark.parametrize("ignore", ["[255, 255, 255]", "255"])
def test_a_colour_may_be_ignored(ignore: str, raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, classes=3)
    (raw / "dataset.toml").write_text(f"ignore = {ignore}\n{TOML}", encoding="utf-8")
    colours = np.zeros((256, 3), np.uint8)
    colours[:3], colours[IGNORE] = [(10, 0, 0), (0, 200, 0), (0, 0, 255)], 255
    for name, (_, mask) in truth.items():
        mask[5:9, 3:8] = IGNORE
        save(raw / f"masks/{name}.png", colours[mask])
    prepared = prepare.prepare(str(raw), home)

    for entry in prepared.index.entries:
        np.testing.assert_array_equal(truth[entry.sample.id][1], prepared.native(entry)[1])


def test_an_export_with_ignored_pixels_reads_back(raw: Path, home: Path, tmp_path: Path) -> None:
    lookalike.folder(raw, classes=3, count=8)
    (raw / "dataset.toml").write_text("ignore = 2")
    before = prepare.prepare(str(raw), home)
    export.export(str(raw), home, tmp_path / "out")
    after = prepare.prepare(str(tmp_path / "out"), home)

    assert any(sum(entry.pixels) < 40 * 30 for entry in before.index.entries)
    assert sorted(entry.hash for entry in before.index.entries) == sorted(entry.hash for entry in after.index.entries)


def test_a_reader_is_chosen_in_the_description(raw: Path, home: Path) -> None:
    truth = lookalike.folder(raw, values=(20, 220))
    (raw / "dataset.toml").write_text('[reader]\nthreshold = "otsu"\norder = "bgr"')
    for path in (raw / "masks").iterdir():  # as a JPEG leaves it
        noise = np.random.default_rng(0).integers(-9, 9, (40, 30))
        save(path, (np.asarray(Image.open(path)) + noise).astype(np.uint8))

    check(prepare.prepare(str(raw), home), {name: (image[..., ::-1], mask) for name, (image, mask) in truth.items()})
