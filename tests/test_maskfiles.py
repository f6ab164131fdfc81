"""What is wrong with mask files as they are stored, with what masks hold, and with names that tell of one photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import contents, lineage
from bench.datasets import smear
from bench.datasets._sources import source_of
from bench.findings import Finding, Kind
from bench.maskfiles import MaskFile, filed, inspected
from bench.specs import Sample, Split

COLOURS = np.array([spec.colour for spec in smear.SPEC.classes], np.uint8)


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    """The masks of a hundred generated smears."""
    samples = smear.SPEC.read(Path(), **smear.SPEC.options)[:100]
    return [smear.SPEC.load(sample)[1] for sample in samples]


def resized(pixels: np.ndarray, edge: int = 180) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BICUBIC))


def black_and_white(mask: np.ndarray) -> np.ndarray:
    return (mask > 0).astype(np.uint8) * 255


def written(folder: Path, pixels: list[np.ndarray], suffix: str = "png") -> dict[str, MaskFile]:
    """Files as `inspected` sees them."""
    found = {}
    for at, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{at}.{suffix}")
        file = inspected(folder / f"{at}.{suffix}")
        assert file is not None
        found[str(at)] = file
    return found


def findings(files: dict[str, MaskFile], **options: object) -> list[Finding]:
    return filed(files, {name: one.size for name, one in files.items()}, **options)


def test_a_mask_file_is_described_as_it_is_stored(tmp_path: Path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[5:15, 10:20] = 3
    pixels[0, 0] = 9
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    indexed = Image.fromarray(pixels)
    indexed.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 250, 0, 0, *range(30)])
    indexed.save(tmp_path / "indexed.png")
    Image.fromarray(np.stack([pixels, pixels, 255 - pixels], axis=-1)).save(tmp_path / "colours.bmp")
    Image.fromarray(pixels.astype(np.uint16) * 100).save(tmp_path / "deep.tif")
    grey, colours, deep, table = (
        inspected(tmp_path / name) for name in ("grey.png", "colours.bmp", "deep.tif", "indexed.png")
    )

    assert grey is not None and colours is not None and deep is not None and table is not None
    assert ("PNG", "L", (20, 30), ((0, 499), (3, 100)), (), 3, 0) == grey[:7]
    assert ("BMP", "RGB", ((0, 0, 255), (3, 3, 252))) == (colours.format, colours.mode, colours.values)
    assert ("TIFF", (0, 300)) == (deep.format, deep.values)
    assert ("P", (0, 3), ((0, 0, 0), (250, 0, 0))) == (table.mode, table.values, table.colours)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x89PNG\r\n\x1a\nnot really", b"\x93NUMPY"])
def test_what_is_no_picture_is_left_alone(tmp_path: Path, content: bytes):
    (tmp_path / "mask.png").write_bytes(content)

    assert inspected(tmp_path / "mask.png") is None
    assert inspected(tmp_path) is None is inspected(tmp_path / "nothing.png")
    assert [] == filed({"a": None}, {"a": (3, 4)})


def test_a_picture_too_large_to_be_meant_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert inspected(tmp_path / "mask.png") is None


def test_clean_masks_of_numbers_or_colours_have_no_findings(tmp_path: Path, masks: list[np.ndarray]):
    numbers, colours = written(tmp_path, masks), written(tmp_path, [COLOURS[mask] for mask in masks], "bmp")
    palette = [spec.colour for spec in smear.SPEC.classes]

    assert [] == findings(numbers, classes=10)
    assert [] == findings(colours, classes=10)
    assert [] == findings(colours, classes=10, palette=palette)


def test_masks_of_0_and_255_are_told_once_with_their_number(tmp_path: Path, masks: list[np.ndarray]):
    (found,) = findings(written(tmp_path, [black_and_white(mask) for mask in masks[:30]]))

    assert (Kind.BINARY, {"masks": 30, "of": 30}, 8) == (found.kind, found.measures, len(found.images))
    assert "30 of 30 masks hold 0 and 255, where classes would be 0 and 1." == found.note


def test_masks_of_one_bit_are_not_called_0_and_255(tmp_path: Path):
    pixels = np.eye(20, dtype=bool)

    assert [] == findings(written(tmp_path, [pixels, ~pixels]))


@pytest.mark.parametrize(
    ("spoilt", "suffix"),
    [
        (lambda mask: resized(black_and_white(mask)), "png"),
        (lambda mask: resized(black_and_white(mask), 512), "png"),
        (lambda mask: resized(mask), "png"),
        (lambda mask: resized(COLOURS[mask]), "png"),
        (black_and_white, "jpg"),
        (lambda mask: COLOURS[mask], "jpg"),
    ],
    ids=["shrunk", "enlarged", "numbers", "colours", "jpeg", "jpeg of colours"],
)
def test_masks_resized_smoothly_or_stored_as_jpeg_are_blurred(tmp_path: Path, masks: list, spoilt, suffix: str):
    (found,) = findings(written(tmp_path, [spoilt(mask) for mask in masks[:8]], suffix), classes=10)

    assert (Kind.GREYS, 8, 8) == (found.kind, found.measures["masks"], len(found.images))
    assert 0.01 < found.measures["share"] < 0.6 and found.measures["pixels"] > 1000


def test_one_blurred_mask_among_many_is_named(tmp_path: Path, masks: list[np.ndarray]):
    pixels = [black_and_white(mask) for mask in masks[:20]]
    pixels[7] = resized(pixels[7], 300)
    binary, blurred = findings(written(tmp_path, pixels))

    assert (19, ("7",)) == (binary.measures["masks"], blurred.images)
    assert blurred.note.startswith("The mask of 7 (PNG) holds values between those of the classes along the outlines, ")


def test_values_that_few_masks_hold_or_that_no_class_has_are_off_the_palette(tmp_path: Path, masks: list[np.ndarray]):
    pixels = [mask.copy() for mask in masks]
    pixels[3][5:15, 5:20] = 77
    pixels[4][5:25, 5:20] = 78
    (found,) = findings(written(tmp_path, pixels), classes=10)
    (by_colour,) = findings(
        written(tmp_path, [COLOURS[mask] for mask in masks[:4]]), palette=[tuple(one) for one in COLOURS[:-1].tolist()]
    )

    assert (Kind.PALETTE, ("4", "3"), 2, 450) == (
        found.kind, found.images, found.measures["values"], found.measures["pixels"],
    )  # fmt: skip
    assert "2 of 100 masks hold areas of values that stand for no class: 77, 78." == found.note
    assert (Kind.PALETTE, 4) == (by_colour.kind, by_colour.measures["masks"])
    assert by_colour.note.endswith(f"{tuple(COLOURS[-1].tolist())}.")


def test_the_colours_of_indices_are_compared_where_classes_are_colours(tmp_path: Path, masks: list[np.ndarray]):
    image = Image.fromarray(masks[0])
    image.putpalette(COLOURS.ravel().tolist())
    image.save(tmp_path / "mask.png")
    file = inspected(tmp_path / "mask.png")
    assert file is not None

    assert [] == findings({"a": file}, palette=[tuple(one) for one in COLOURS.tolist()])
    assert [Kind.PALETTE] == [one.kind for one in findings({"a": file}, palette=[(1, 2, 3)])]


def test_a_mask_of_another_size_than_its_image_is_told_with_both_sizes(tmp_path: Path):
    files = written(tmp_path, [np.zeros((568, 712), np.uint8)] * 2)
    (found,) = filed(files, dict.fromkeys(files, (576, 720)))
    (one,) = filed(files, {"0": (576, 720), "1": (568, 712)})

    assert "2 of 2 masks differ in size from their image: 712x568 for an image of 720x576." == found.note
    assert "The mask of 0 is 712x568 for an image of 720x576." == one.note
    assert (Kind.SHIFTED, -8, -8) == (found.kind, found.measures["wider"], found.measures["higher"])


def test_masks_without_foreground_with_next_to_none_and_with_specks_are_told_apart():
    pixels = {str(at): (9000, 1000) for at in range(40)} | {"empty": (10000, 0), "few": (9991, 9), "specks": (9000, 99)}
    found = contents.nearly_empty(pixels, {"0": 400, "few": 9, "specks": 4})

    assert [("empty",), ("few",), ("specks",)] == [one.images for one in found]
    assert {Kind.EMPTY} == {one.kind for one in found}
    assert "This mask has no foreground at all, which is allowed." == found[0].note
    assert "This mask has fewer than 16 pixels of foreground; it has 9." == found[1].note
    assert "This mask has no object of 16 pixels or more; it has 4." == found[2].note
    assert [] == contents.nearly_empty({"a": (5, 40), "b": (0, 45)}) == contents.nearly_empty({})


def test_next_to_none_is_measured_by_the_median_of_the_data_set():
    pixels = {str(at): (0, 100_000) for at in range(9)} | {"a": (0, 99), "b": (0, 101)}

    assert [("a",)] == [one.images for one in contents.nearly_empty(pixels)]


def test_the_largest_object_hangs_together_at_corners_and_across_classes():
    mask = np.zeros((10, 10), np.uint8)
    mask[1, 1], mask[2, 2], mask[3, 3], mask[8, 8], mask[4, 4] = 1, 2, 1, 1, 255

    assert 3 == contents.largest(mask)
    assert 0 == contents.largest(np.full((4, 4), 255, np.uint8))


def test_clean_smear_has_no_empty_masks(masks: list[np.ndarray]):
    pixels = {str(at): np.bincount(mask.ravel(), minlength=10).tolist() for at, mask in enumerate(masks)}
    largest = {str(at): contents.largest(mask) for at, mask in enumerate(masks)}

    assert [] == contents.nearly_empty(pixels, largest)


def test_a_class_that_a_split_or_the_data_set_lacks_is_named():
    pixels = {"a": (9, 1, 0, 0), "b": (9, 1, 1, 0), "c": (9, 1, 0, 0)}
    split: dict[str, Split] = {"a": "train", "b": "val", "c": "test"}
    found = contents.absent(pixels, split, ["background", "red", "blue", "green"])

    assert [
        "The class blue is in no mask of the train or test split.",
        "The class green is in no mask of the data set.",
    ] == [one.note for one in found]
    assert {"class": 2, "train": 0, "val": 1, "test": 0} == found[0].measures
    assert {(Kind.ABSENT, ())} == {(one.kind, one.images) for one in found}


SEEDS = (
    "rotated_90_10005", "mirrored_0b04-ec46", "flipped_X", "hflipped_10001", "vflipped_10001", "deformed_1300_8.0_baso_1",
    "deformed_alpha_1300_sigmoid_8.0_10005", "distorted_0.02_rsigma0.5_sigma40_baso_12", "shrinked_0_8_10001",
    "barrdistorted_103_0.3_0.3_10005", "pincdistorted_101_0.3_-0.3_neut_5", "rotated_180_flipped_x", "baso_11", "10005",
)  # fmt: skip


@pytest.mark.parametrize("stem", SEEDS)
def test_the_names_that_readers_know_are_known_to_the_audit(stem: str):
    assert source_of(stem) == lineage.origin(stem)


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("X_aug3", "X"), ("X_flip_lr", "X"), ("X_rot90", "X"), ("X-Rotated-270", "X"), ("X_png.rf.0123456789abcdef", "X"),
        ("hflip_X", "X"), ("X_aug_2_flip", "X"), ("img_12", "img_12"), ("X (1)", "X (1)"), ("cell_copy", "cell_copy"),
        ("bright_1", "bright_1"), ("neutrophil_1", "neutrophil_1"), ("flip", "flip"), ("rotator_cuff", "rotator_cuff"),
    ],
)  # fmt: skip
def test_only_names_of_known_operations_are_believed_by_themselves(stem: str, source: str):
    assert source == lineage.origin(stem)


@pytest.mark.parametrize(
    "stem", ["X (1)", "X - Copy", "X - Copy (2)", "Copy of X", "X-1", "X_2", "X_copy2", "bright_X"]
)
def test_names_that_may_say_anything_are_believed_where_the_file_is_there(stem: str):
    assert (stem, "X") == (lineage.origin(stem), lineage.origin(stem, {"X"}))


def placed(**splits: Split) -> tuple[list[Sample], dict[str, Split]]:
    """Samples by id, their stem behind two underscores when there is one."""
    samples = [Sample(id=name, image=f"/x/{name.split('__')[-1]}.png", mask="", source="") for name in splits]
    return samples, splits


def test_copies_by_name_in_two_splits_are_one_finding_for_each_photograph():
    (found,) = lineage.shared(*placed(a="train", rotated_90_a="test", flipped_a="val", b="train", rotated_90_b="train"))

    assert (Kind.SOURCE, ("a", "rotated_90_a", "flipped_a")) == (found.kind, found.images)
    assert "3 files are of the photograph a." == found.note
    assert {"sources": 1, "images": 3, "val": 1, "test": 1} == found.measures


def test_sources_that_the_data_set_knows_are_believed_over_names():
    samples = [Sample(id=name, image="", mask="", source="slide 7") for name in ("p", "q")]
    (found,) = lineage.shared(samples, {"p": "train", "q": "test"})

    assert (("p", "q"), "2 files are of the photograph slide 7.") == (found.images, found.note)
    assert [] == lineage.shared(samples, {"p": "train"})


def test_files_that_are_numbered_anew_in_each_split_are_no_copies():
    assert [] == lineage.shared(*placed(train__1="train", test__1="test", train__rotated_90_1="train"))


@pytest.mark.parametrize("name", ["crop_{:03}_HE", "tissue-crop-{}", "liver_zoom{}", "aug_{}_cell"])
def test_a_label_that_most_files_share_is_no_photograph(name: str):
    places: tuple[Split, ...] = ("train", "val", "test")
    splits = {name.format(at): places[at % 3] for at in range(9)}
    one, *others = lineage.shared(*placed(**splits, x="train", flip_x="test"))

    assert (("x", "flip_x"), []) == (one.images, others)


def test_augmenting_before_splitting_is_one_finding_with_all_its_copies():
    splits: dict[str, Split] = {f"x{at}": "train" for at in range(60)} | {
        f"rotated_90_x{at}": "test" for at in range(60)
    }
    (found,) = lineage.shared(*placed(**splits))

    assert "60 photographs have files in several splits, the first is x0." == found.note
    assert (120, 120, 60) == (len(found.images), found.measures["images"], found.measures["test"])


def test_smear_has_no_shared_sources():
    samples = smear.SPEC.read(Path(), **smear.SPEC.options)

    assert [] == lineage.shared(samples, {one.id: one.split for one in samples})


def test_long_lists_are_cut(tmp_path: Path):
    pixels = np.zeros((60, 60), np.uint8)
    for at in range(14):
        pixels[4 * at : 4 * at + 3, 5:25] = 30 + 10 * at
    (found,) = findings(written(tmp_path, [pixels]), palette=[0])

    assert found.note.endswith("for no class: 30, 40, 50, 60, 70, 80, 90, 100 ...")
    assert 14 == found.measures["values"]
