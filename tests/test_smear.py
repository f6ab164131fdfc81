"""The generated smear: repeatable, evenly filled, truly boxed, and not to be solved by colour alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bench.datasets import _smear_cells as cells
from bench.datasets import smear
from bench.errors import DataError
from bench.specs import Sample

ROOT = Path(__file__).resolve().parents[1]
WHITE_CELLS = {"eosinophil": 80, "basophil": 80, "neutrophil": 80, "lymphocyte": 59, "monocyte": 92}
PAINTERS = [value for name, value in vars(cells).items() if name.startswith("draw_") and name != "draw_stain"]
DIGEST = """
import hashlib
from bench.datasets import smear
for sample in smear.read(train=3, val=1, test=1)[2:4]:
    print(hashlib.sha256(b"".join(array.tobytes() for array in smear.load(sample))).hexdigest())
"""


def samples(split: str, **options: int) -> list[Sample]:
    """The samples of one split."""
    return [sample for sample in smear.read(**options) if sample.split == split]


def digest(sample: Sample) -> str:
    """The sha256 of a picture and its mask."""
    return hashlib.sha256(b"".join(array.tobytes() for array in smear.load(sample))).hexdigest()


def box_of(found: dict[str, Any]) -> tuple[slice, slice]:
    """The rows and columns of an object's box."""
    return (
        slice(found["tlY"], found["tlY"] + found["bboxH"]),
        slice(found["tlX"], found["tlX"] + found["bboxW"]),
    )


def whole_objects(drawn: list[Sample], size: int) -> list[dict[str, Any]]:
    """The objects that no edge of their picture cuts."""
    found = [box for sample in drawn for box in smear.objects(sample)]
    low = [min(box["tlX"], box["tlY"]) for box in found]
    high = [max(box["tlX"] + box["bboxW"], box["tlY"] + box["bboxH"]) for box in found]
    return [box for box, near, far in zip(found, low, high, strict=True) if near > 0 and far < size]


def test_the_same_seed_and_index_give_the_same_picture() -> None:
    first, other = smear.read()[:2]
    image, mask = smear.load(first)
    smear.load(other)
    smear.objects(first)
    again, mask_again = smear.load(first)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)


def test_a_fresh_process_draws_the_same_pictures_in_any_order() -> None:
    here = [digest(sample) for sample in reversed(smear.read(train=3, val=1, test=1)[2:4])]
    command = [sys.executable, "-c", DIGEST]
    there = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert there.stdout.split() == here[::-1]


def test_a_picture_does_not_depend_on_how_many_there_are() -> None:
    few, many = samples("val", train=1, val=3, test=1), samples("val", train=50, val=40, test=9)
    assert few == many[:3]
    assert [sample.id for sample in few] == ["val-00000", "val-00001", "val-00002"]
    assert {sample.source for sample in many} == {sample.id for sample in many}


def test_every_picture_differs_between_splits_indices_sizes_and_seeds() -> None:
    drawn = smear.read(train=4, val=4, test=4) + smear.read(train=4, val=4, test=4, seed=1)
    assert len({digest(sample) for sample in drawn}) == len(drawn) == 24
    (small,), (large,) = samples("val", val=1, size=128), samples("val", val=1, size=224)
    assert not np.array_equal(smear.load(small)[0], smear.load(large)[0][:128, :128])


@pytest.mark.parametrize("size", [64, 101, 224, 448])
def test_pictures_and_masks_have_the_promised_shape_and_values(size: int) -> None:
    image, mask = smear.load(smear.read(size=size)[0])
    assert image.shape == (size, size, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert mask.shape == (size, size) and mask.dtype == np.uint8
    assert mask.max() < len(smear.SPEC.classes)
    assert image[mask == 0].mean() > 190  # a light slide


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_class_occurs_in_every_split(split: str) -> None:
    count: Counter[str] = Counter()
    for sample in samples(split):
        count.update(found["className"] for found in smear.objects(sample))
    assert set(count) == {kind.name for kind in smear.SPEC.classes[1:]}
    white = [count[name] for name in WHITE_CELLS]
    assert min(white) >= 5 and max(white) <= 3 * min(white), f"white cells out of balance: {count}"


def test_cells_have_the_sizes_and_numbers_of_a_smear() -> None:
    found = [box for sample in samples("train") for box in smear.objects(sample)]
    whole = whole_objects(samples("train"), 224)
    expected = WHITE_CELLS | {"healthy_rbc": 39, "infected_rbc": 39, "thrombocyte": 17, "platelet_clump": 32}
    for name, diameter in expected.items():
        sides = [(box["bboxW"] + box["bboxH"]) / 2 for box in whole if box["className"] == name]
        assert np.mean(sides) == pytest.approx(diameter, rel=0.12), name
    per_picture = Counter(box["className"] for box in found)
    red = (per_picture["healthy_rbc"] + per_picture["infected_rbc"]) / 128
    assert 8 < red < 14
    assert 1 < sum(per_picture[name] for name in WHITE_CELLS) / 128 < 2
    assert 1 < per_picture["thrombocyte"] / 128 < 3
    assert 0.3 < per_picture["platelet_clump"] / 128 < 0.6


@pytest.mark.parametrize("size", [128, 448])
def test_a_larger_picture_shows_more_cells_and_not_larger_ones(size: int) -> None:
    def fill(edge: int) -> tuple[float, float]:
        drawn = samples("train", train=60 * 224 * 224 // (edge * edge), size=edge)
        covered = np.mean([(smear.load(sample)[1] > 0).mean() for sample in drawn])
        red = [box for box in whole_objects(drawn, edge) if box["classIdx"] >= 8]
        return float(covered), len(red) / (len(drawn) * (edge - 39) ** 2)  # where such a cell fits whole

    assert fill(size) == pytest.approx(fill(224), rel=0.25)


def test_boxes_hold_every_labelled_pixel_of_their_class() -> None:
    for sample in smear.read(train=20, val=5, test=5):
        _, mask = smear.load(sample)
        left_over = mask.copy()
        for found in smear.objects(sample):
            box = left_over[box_of(found)]
            assert box.size == found["bboxW"] * found["bboxH"] > 0  # the box is clipped to the picture
            assert (mask[box_of(found)] == found["classIdx"]).any(), "an object that nobody can see"
            assert smear.SPEC.classes[found["classIdx"]].name == found["className"]
            assert found["posX"] == found["tlX"] + found["bboxW"] // 2
            assert found["posY"] == found["tlY"] + found["bboxH"] // 2
            box[box == found["classIdx"]] = 0
        assert not left_over.any(), f"{sample.id} has labelled pixels outside all boxes of their class"


def test_the_box_of_a_free_cell_is_the_box_of_its_pixels() -> None:
    checked = 0
    for sample in smear.read(train=20, val=5, test=5):
        _, mask = smear.load(sample)
        listed = smear.objects(sample)
        coverage = np.zeros(mask.shape, int)
        for found in listed:
            coverage[box_of(found)] += 1
        islands, _ = ndimage.label(mask > 0)
        tight = ndimage.find_objects(islands)
        for found in listed:
            box = box_of(found)
            around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
            if coverage[around].sum() == coverage[box].size:  # no other box overlaps or touches this one
                assert box in tight
                checked += 1
    assert checked > 150


@pytest.mark.parametrize("draw", PAINTERS, ids=lambda draw: draw.__name__)
def test_no_cell_is_cut_off_by_its_patch(draw: cells.Painter) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        cell = draw(random, cells.draw_stain(random))
        frame = np.ones(cell.opacity.shape, bool)
        frame[1:-1, 1:-1] = False
        assert not cell.opacity[frame].any() and not cell.inside[frame].any()
        assert ndimage.label(cell.inside)[1] == 1, "a cell in two pieces"
        assert cell.opacity.dtype == cell.colour.dtype == np.float32
        assert cell.opacity.min() >= 0 and cell.opacity.max() <= 1


def test_shared_textures_cannot_be_written_to() -> None:
    shared = [cells.mottle(4), cells.granules(5, 2.3, 1.0), cells.grid(56).radius, cells.grid(56).sector]
    assert not any(array.flags.writeable for array in shared)


def test_colour_alone_does_not_tell_the_classes() -> None:
    def bins(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image.astype(int) // 16, -1, 0)
        return (red * 16 + green) * 16 + blue

    classes = len(smear.SPEC.classes)
    seen = np.zeros((16**3, classes), int)
    for image, mask in map(smear.load, samples("train")):
        np.add.at(seen, (bins(image), mask), 1)
    majority = seen.argmax(axis=1)
    confusion = np.zeros((classes, classes), int)
    for image, mask in map(smear.load, samples("test")):
        np.add.at(confusion, (mask, majority[bins(image)]), 1)
    dice = 2 * np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1))
    report = {kind.name: round(float(value), 3) for kind, value in zip(smear.CLASSES, dice, strict=True)}
    print(f"\ncolour baseline: {report}, mean of the foreground {dice[1:].mean():.3f}")
    assert dice[0] > 0.95  # the slide itself is told by its colour, as it should be
    assert dice[1:].mean() < 0.45
    assert dice[1:].max() < 0.7


@pytest.mark.parametrize(
    "options",
    [{"size": 63}, {"size": 4097}, {"size": 224.0}, {"train": 0}, {"val": -1}, {"test": True}, {"seed": -1}],
    ids=str,
)
def test_an_option_out_of_its_range_is_refused_in_one_line(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(DataError, match=rf"{name}={value!r} of data set smear") as caught:
        smear.read(**options)
    message = str(caught.value)
    assert "\n" not in message and "whole number from" in message and f"smear[{name}=" in message


def test_the_options_of_the_specification_are_the_defaults_of_read() -> None:
    assert smear.read(Path("nowhere"), **smear.SPEC.options) == smear.read()
    assert Counter(sample.split for sample in smear.read()) == {"train": 128, "val": 32, "test": 64}
