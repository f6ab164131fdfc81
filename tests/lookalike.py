"""Small archives that look like the real ones, with their true pixels: for tests that read raw files."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from bench.datasets import blood_cell as reader
from bench.prepare import Prepared
from bench.specs import Sample

Truth = dict[str, tuple[np.ndarray, np.ndarray]]
"""Sample id to image uint8 (H, W, 3) and mask uint8 (H, W)."""


def picture(seed: int, size: tuple[int, int] = (40, 30), classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 (H, W, 3) and its mask uint8 (H, W): a rectangle of every class, each darker, and noise.

    Args:
        seed: Equal seeds give equal pictures.
        size: Height and width [pixels].
        classes: How many, the background among them.
    """
    generator = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    for label in range(1, classes):
        top, left = generator.integers(height // 2), generator.integers(width // 2)
        mask[top : top + height // 3, left : left + width // 3] = label
    mask[0, :classes] = np.arange(classes)  # no class is ever hidden behind another
    shade = 230 - mask.astype(np.int64) * (180 // classes)
    image = shade[..., None] + generator.integers(-10, 10, (height, width, 3))
    return image.astype(np.uint8), mask


def save(path: Path, pixels: np.ndarray) -> None:
    """An image file; the format is that of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def blood_cell(root: Path, train: int = 4, test: int = 2, size: tuple[int, int] = (40, 30)) -> Truth:
    """The Blood-Cell archive: black and white RGB masks, UUIDs for names; sample ids to their true pixels."""
    truth: Truth = {}
    for split, count, start in (("train", train, 0), ("test", test, 1000)):
        for number in range(start, start + count):
            stem = str(uuid.UUID(int=number))
            image, mask = picture(number, size)
            save(root / "BCCD Dataset with mask" / split / "original" / f"{stem}.png", image)
            save(root / "BCCD Dataset with mask" / split / "mask" / f"{stem}.png", np.stack([mask * 255] * 3, axis=-1))
            truth[f"{split}-{stem}"] = image, mask
    return truth


def folder(
    root: Path,
    count: int = 6,
    classes: int = 2,
    size: tuple[int, int] = (40, 30),
    *,
    suffix: str = "png",
    values: tuple[int, ...] | None = None,
    splits: tuple[str, ...] = (),
) -> Truth:
    """A plain folder of images and masks; sample ids to their true pixels.

    Args:
        root: The folder, made when needed.
        count: Pairs, per split where there are splits.
        classes: How many, the background among them.
        size: Height and width [pixels].
        suffix: Format of the images; the masks are png unless the format keeps every pixel as it is.
        values: What the mask files hold for each class; 0, 1, 2, .. by default.
        splits: Names of subfolders with official splits.
    """
    truth: Truth = {}
    table = np.array(values or range(classes), np.uint8)
    for at, split in enumerate(splits or ("",)):
        for number in range(count):
            image, mask = picture(100 * at + number, size, classes)
            save(root / split / "images" / f"cell{number}.{suffix}", image)
            save(root / split / "masks" / f"cell{number}.{'png' if suffix.startswith('jp') else suffix}", table[mask])
            truth[f"{split}-cell{number}" if split else f"cell{number}"] = image, mask
    return truth


def zipped(root: Path) -> Path:
    """A folder as a zip beside it."""
    return Path(shutil.make_archive(str(root), "zip", root))


def check(prepared: Prepared, truth: Truth) -> None:
    """A prepared data set holds, pixel by pixel, what was written."""
    assert truth.keys() == {entry.sample.id for entry in prepared.index.entries}
    for entry in prepared.index.entries:
        image, mask = prepared.native(entry)
        np.testing.assert_array_equal(truth[entry.sample.id][0], image)
        np.testing.assert_array_equal(truth[entry.sample.id][1], mask)
        counts = np.bincount(mask.ravel(), minlength=len(prepared.classes))
        assert counts[: len(prepared.classes)].tolist() == list(entry.pixels)  # ignored pixels are of no class


def decoded_bytes(sample: Sample) -> int:
    """Decode a pair of the Blood-Cell archive and do nothing with it: what preparing is compared with."""
    image, mask = reader.load(sample)
    return image.nbytes + mask.nbytes
