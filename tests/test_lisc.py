"""LISC from its archive and from its released copies: the pixels that made them, sources kept together."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import catalog
from bench.datasets import lisc
from bench.errors import DataError
from bench.prepare import open_prepared, prepare
from bench.specs import IGNORE
from tests import lookalike_archives as archives
from tests.lookalike import Truth, check, save, zipped

INDEX = {label: index for index, label in enumerate(archives.LISC_COLOURS, 1)}
WANTED: dict[str, Callable[[str, np.ndarray], np.ndarray]] = {
    "types": lambda name, parts: np.where(parts > 0, INDEX[name.split("_")[0]], 0),
    "nucleus_cytoplasm": lambda name, parts: np.where(parts == 3, IGNORE, parts),
    "wbc": lambda name, parts: parts > 0,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("lisc")
    return root, archives.lisc(root)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def expected(truth: Truth, classes: str, *, mixt: bool = False) -> Truth:
    return {
        name: (image, WANTED[classes](name, parts).astype(np.uint8))
        for name, (image, parts) in truth.items()
        if mixt or not name.startswith("mixt")
    }


def refused(name: str, raw: Path, home: Path) -> str:
    """The one line that says why nothing is prepared."""
    with pytest.raises(DataError) as caught:
        prepare(name, home, raw)
    assert "\n" not in str(caught.value)
    assert not home.exists() or [] == list(home.iterdir())
    return str(caught.value)


@pytest.mark.parametrize(
    ("classes", "mixt"), [(name, mixt) for name in WANTED for mixt in (False, True) if not mixt or name != "types"]
)
def test_every_option_gives_the_pixels_that_made_the_archive(
    classes: str, mixt: bool, archive: tuple[Path, Truth], home: Path
) -> None:
    prepared = prepare(f"lisc[classes={classes},mixt={str(mixt).lower()}]", home, archive[0])

    check(prepared, expected(archive[1], classes, mixt=mixt))
    assert (["background", "cytoplasm", "nucleus"] == prepared.classes) == (classes == "nucleus_cytoplasm")
    labels = {entry.sample.label for entry in prepared.index.entries}
    assert {*archives.LISC_COLOURS, *(["mixt"] if mixt else [])} == labels


@pytest.mark.parametrize("inner", ["", "LISC Database"])
def test_the_folder_and_a_zip_of_it_give_the_same(
    inner: str, archive: tuple[Path, Truth], home: Path, tmp_path: Path
) -> None:
    raw = Path(shutil.copytree(archive[0], tmp_path / "raw")) / inner
    prepared = prepare("lisc", home, zipped(raw))

    check(prepared, expected(archive[1], "types"))
    assert prepare("lisc", home / "folder", raw).index.hash == prepared.index.hash
    assert prepared == open_prepared("lisc", home)


def test_a_mask_lies_on_the_cell_of_its_image(archive: tuple[Path, Truth]) -> None:
    for sample in lisc.read(archive[0]):
        image, mask = lisc.SPEC.load(sample)
        with Image.open(sample.mask) as stored:
            assert ((720, 576), (712, 568), "L") == (image.shape[1::-1], stored.size, stored.mode)
        np.testing.assert_array_equal(image[..., 1] < 150, mask > 0)


def test_a_photograph_is_its_class_and_number_in_any_order_of_the_folder(archive: tuple[Path, Truth]) -> None:
    samples = lisc.read(archive[0])

    assert [f"{label}_{number}" for label in INDEX for number in (1, 2)] == [sample.source for sample in samples]
    assert [sample.id for sample in samples] == [sample.source for sample in samples]
    assert {None} == {sample.split for sample in samples}
    assert [0] * 10 == [lisc.doubtful(sample) for sample in samples]


def test_folders_may_be_written_in_any_case(raw: Path, home: Path) -> None:
    truth = archives.lisc(raw, count=1, mixt=0)
    base = raw / "LISC Database"
    for path in sorted(base.glob("*/*"), reverse=True):
        path.rename(path.with_name(path.name.swapcase()))
    (base / "Main Dataset").rename(base / "main_dataset")
    (base / "Ground Truth Segmentation").rename(base / "GROUND TRUTH SEGMENTATION")

    check(prepare("lisc", home, raw), expected(truth, "types"))


@pytest.mark.parametrize("levels", [(175, 200), (200, 175), (60, 255), (25, 50)])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.93], ids=["small nucleus", "half", "a lymphocyte's rim"])
def test_the_nucleus_is_the_part_that_lies_within_whichever_is_brighter(levels: tuple[int, int], share: float) -> None:
    cell = archives.disc((90, 100), 45, 50, 40)
    nucleus = archives.disc((90, 100), 45, 50 - 40 * (1 - share), 40 * share)  # touches the rim on the left
    mask = np.zeros((90, 100), np.uint8)
    mask[cell], mask[nucleus] = levels

    np.testing.assert_array_equal(cell.astype(int) + nucleus, lisc.parts(mask))


def test_equal_parts_side_by_side_are_told_apart_by_brightness() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:4], mask[2:6, 4:6] = 100, 75

    assert [0, 0, 2, 2, 1, 1, 0, 0] == lisc.parts(mask)[3].tolist()


def test_cells_of_several_types_are_taken_level_by_level() -> None:
    mask = np.zeros((40, 90), np.uint8)
    wanted = np.zeros((40, 90), np.uint8)
    for at, (cytoplasm, nucleus) in enumerate([(75, 100), (225, 255)]):
        mask[archives.disc(mask.shape, 20, 15 + 30 * at, 12)] = cytoplasm
        wanted[archives.disc(mask.shape, 20, 15 + 30 * at, 12)] = 1
        mask[archives.disc(mask.shape, 20, 15 + 30 * at, 7)] = nucleus
        wanted[archives.disc(mask.shape, 20, 15 + 30 * at, 7)] = 2
    lone = archives.disc(mask.shape, 20, 75, 10)
    mask[lone], wanted[lone] = 50, IGNORE

    np.testing.assert_array_equal(wanted, lisc.parts(mask))
    assert 0 == lisc.parts(np.zeros((3, 3), np.uint8)).max()


WRONG_OPTIONS = {
    "lisc[classes=cells]": r"classes='cells' .*Allowed: types, nucleus_cytoplasm, wbc",
    "lisc[mixt=yes]": r"mixt='yes' .*Write lisc\[mixt=true\]",
    "lisc[skip_unpaired=no]": r"skip_unpaired='no' ",
    "lisc[mixt=true]": r"lisc\[mixt=true\] has no types: .*Write lisc\[classes=wbc,mixt=true\]",
}


@pytest.mark.parametrize(("name", "message"), WRONG_OPTIONS.items())
def test_a_wrong_option_is_refused_in_one_line(name: str, message: str, home: Path, raw: Path) -> None:
    assert re.search(message, refused(name, raw, home))


BASE = "LISC Database"
TRUTH = f"{BASE}/Ground Truth Segmentation/mono/areaforexpert1"
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no ground truth": (
        lambda raw: shutil.rmtree(raw / BASE / "Ground Truth Segmentation"),
        "is not the LISC archive: it has no Main Dataset.*Unpack the archive",
    ),
    "no class": (lambda raw: shutil.rmtree(raw / BASE / "Main Dataset/neut"), "Main Dataset/neut does not exist"),
    "no first expert": (lambda raw: shutil.rmtree(raw / TRUTH), "mono/areaforexpert1 does not exist"),
    "empty class": (
        lambda raw: (raw / TRUTH / "1_expert.bmp").unlink(),
        r"mono/areaforexpert1 holds no file of type .*Unpack the archive again",
    ),
    "image without mask": (
        lambda raw: save(raw / BASE / "Main Dataset/mono/9.bmp", np.zeros((8, 8, 3), np.uint8)),
        r"1 of 2 files have no mask, the first is .*mono/9\.bmp\. Put its mask into .*areaforexpert1, or write lisc\[skip_u",
    ),
    "mask without image": (
        lambda raw: save(raw / TRUTH / "9_expert.bmp", np.zeros((8, 8), np.uint8)),
        r"1 of 2 files have no image, the first is .*9_expert\.bmp\. Put",
    ),
    "two masks": (
        lambda raw: shutil.copy(raw / TRUTH / "1_expert.bmp", raw / TRUTH / "1_expert2.bmp"),
        r"1_expert\.bmp and .*1_expert2\.bmp are both called '1'\. Rename",
    ),
    "stretched mask": (
        lambda raw: save(raw / TRUTH / "1_expert.bmp", np.zeros((96, 120), np.uint8)),
        r"1_expert\.bmp is 120x96 and its image .*mono/1\.bmp 120x96\. .*8 pixels less .*712x568",
    ),
    "cut image": (
        lambda raw: (raw / BASE / "Main Dataset/mono/1.bmp").write_bytes(b"BM" + bytes(60)),
        r"mono/1\.bmp cannot be read as an image.*Replace",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_archive_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, packed: bool, raw: Path, home: Path
) -> None:
    archives.lisc(raw, count=1, mixt=0, size=(96, 120))
    spoil(raw)
    found = refused("lisc", zipped(raw) if packed else raw, home)

    assert re.search(message, found), found


def test_what_has_no_partner_is_left_out_when_asked(raw: Path, home: Path) -> None:
    truth = archives.lisc(raw, mixt=0, size=(96, 120))
    (raw / TRUTH / "1_expert.bmp").unlink()
    (raw / BASE / "Main Dataset/neut/1.bmp").unlink()
    del truth["mono_1"], truth["neut_1"]

    check(prepare("lisc[skip_unpaired=true]", home, raw), expected(truth, "types"))


def test_grey_levels_that_cannot_be_paired_are_refused(raw: Path, home: Path) -> None:
    archives.lisc(raw, count=1, mixt=0, size=(96, 120))
    save(raw / TRUTH / "1_expert.bmp", np.arange(88 * 112, dtype=np.uint8).reshape(88, 112))

    assert re.search(
        r"1_expert\.bmp has the grey levels \[1, 2, .*; two are allowed, cytoplasm and nucleus",
        refused("lisc[classes=nucleus_cytoplasm]", raw, home),
    )


def test_released_masks_are_the_nearest_colours_and_copies_never_part(raw: Path, home: Path) -> None:
    truth = archives.lisc_release(
        raw / "Leukocyte", {"train": (1, 2), "valid": (1, 2), "test": (1, 2)}, archives.COPIES[:3]
    )
    prepared = prepare("lisc", home, raw)
    entries = prepared.index.entries

    check(prepared, truth)
    assert (512, 512) == (entries[0].height, entries[0].width)
    assert {f"{label}_{number}" for label in INDEX for number in (1, 2)} == {entry.sample.source for entry in entries}
    assert {None} == {entry.sample.split for entry in entries}
    sides: dict[str, set[str]] = {}
    for split, positions in prepared.split(0, 1).items():
        for position in positions:
            sides.setdefault(entries[position].sample.source, set()).add(split)
    assert [] == [source for source, splits in sides.items() if len(splits) > 1]


def test_a_released_split_without_shared_photographs_is_kept(raw: Path, home: Path) -> None:
    truth = archives.lisc_release(raw, {"train": (1, 2), "valid": (3,), "test": (4,)}, copies=("", "flipped_"), size=64)
    prepared = prepare("lisc[classes=wbc]", home, zipped(raw))

    check(prepared, {name: (image, (mask > 0).astype(np.uint8)) for name, (image, mask) in truth.items()})
    assert {"train": 20, "val": 10, "test": 10} == {
        split: len(positions) for split, positions in prepared.split(0, 1).items()
    }


def test_colours_of_no_class_are_counted(raw: Path) -> None:
    archives.lisc_release(raw, {"train": (1,)}, copies=("",), size=64)
    sample = lisc.read(raw)[0]
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:8, :8], colours[8, :5], colours[9, :7] = (0, 0, 255), (0, 0, 140), (250, 250, 10)
    save(Path(sample.mask), colours)

    assert 12 == lisc.doubtful(sample)
    assert [0] * 64**2 != catalog.dataset("lisc").load(sample)[1].ravel().tolist()
    assert {0: 4096 - 76, 1: 69, 3: 7} == dict(
        zip(*np.unique(lisc.SPEC.load(sample)[1], return_counts=True), strict=True)
    )


@pytest.mark.parametrize("options", ["classes=nucleus_cytoplasm", "classes=wbc,mixt=true"])
def test_released_masks_have_neither_parts_nor_mixt(options: str, raw: Path, home: Path) -> None:
    archives.lisc_release(raw, {"train": (1,)}, copies=("",), size=64)

    assert re.search(r"released colour masks, .*Write lisc\[classes=types\]", refused(f"lisc[{options}]", raw, home))


RELEASE_WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no masks": (lambda raw: shutil.rmtree(raw / "train/eosi/masks"), "eosi/masks does not exist"),
    "image without mask": (
        lambda raw: (raw / "train/eosi/masks/eosi_1.png").unlink(),
        r"no mask, the first .*eosi_1\.png",
    ),
    "sizes differ": (
        lambda raw: save(raw / "train/eosi/masks/eosi_1.png", np.zeros((64, 60, 3), np.uint8)),
        r"eosi_1\.png is 64x64 but its mask .*is 60x64",
    ),
    "cut mask": (
        lambda raw: (raw / "train/eosi/masks/eosi_1.png").write_bytes(b"\x89PNG\r\n"),
        r"masks/eosi_1\.png cannot be read",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), RELEASE_WRONG.values(), ids=RELEASE_WRONG)
def test_a_wrong_release_is_refused_in_one_line(
    spoil: Callable[[Path], object], message: str, raw: Path, home: Path
) -> None:
    archives.lisc_release(raw, {"train": (1, 2)}, copies=("",), size=64)
    spoil(raw)
    found = refused("lisc", raw, home)

    assert re.search(message, found), found
