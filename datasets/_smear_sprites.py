"""Crops of single cells and their masks in a user's folder: found, split once and for all, and read.

    DIR/<Class>/<Class>_<n>.bmp    DIR/<Class>/<Class>_<n>_mask.bmp        or DIR/<Class>/{train,val,test}/..

bmp and png are read. A class is named as in A. Banerjee's blood cell data set or as in ours, in any case. Where
there is no folder per split, every class is split 80/10/10 by a hash of the file names, before anything is composed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from pathlib import Path

import numpy as np
from PIL import Image

from bench.errors import DataError
from bench.specs import Split

from ._files import check_sizes, read_grey, read_rgb
from ._smear_classes import CLASSES, HEALTHY, INFECTED, PARTIAL_INDEX, PUBLISHED, index_of

SUFFIXES = (".bmp", ".png")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SPELLINGS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LARGEST = 1000  # edge of a cell: it must fit a background [pixels]
INSIDE = 128  # a mask pixel of at least this value is the cell
EXPECTED = ", ".join("_ (or Healthy)" if name == "_" else name for name in PUBLISHED if name != "partialWBC")

Files = tuple[str, str]
"""A crop and its mask, as paths below the folder."""
Pools = dict[tuple[int, Split], tuple[Files, ...]]
"""Class index and split to the cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A cell cut out: no row and no column without a pixel of it.

    Attributes:
        pixels: uint8 (h, w, 3) RGB.
        inside: bool (h, w): where the cell is.
    """

    pixels: np.ndarray
    inside: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """All crops of a folder; `stamp` is a hash of the names, sizes and times of its files."""

    root: Path
    pools: Pools
    stamp: str

    def classes(self) -> list[int]:
        """The classes that are affixed to backgrounds: all but the red cells, ascending."""
        return sorted({index for index, _ in self.pools} - {INFECTED, HEALTHY})

    def patch(self, files: Files) -> Patch:
        """One cell.

        Raises:
            DataError: If its files cannot be read, differ in size or show no cell.
        """
        return _patch(str(self.root), files, self.stamp)


def survey(root: Path) -> Library:
    """Lists the crops of a folder by class and split; no picture is opened.

    Raises:
        DataError: If the layout is another one, red cells are missing, a crop has no mask, or a split is empty.
    """
    folders: dict[int, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        index = index_of(folder.name)
        if index is None or index == PARTIAL_INDEX:
            _check_foreign(folder)
            continue
        if index in folders:
            raise DataError(f"{folders[index]} and {folder} are the same class. Put their files into one folder.")
        folders[index] = folder
    _check_classes(root, folders)
    pools = {
        (index, split): tuple((_below(root, crop), _below(root, mask)) for crop, mask in cells)
        for index, folder in folders.items()
        for split, cells in _split(folder).items()
    }
    return Library(root, pools, _stamp(root, pools))


@lru_cache(maxsize=4)
def library(root: str, stamp: str) -> Library:
    """The crops of a folder that was surveyed before, listed once per process.

    Raises:
        DataError: If the folder has changed since.
    """
    found = survey(Path(root)) if Path(root).is_dir() else None
    if found is None or found.stamp != stamp:
        raise DataError(f"{root} has changed since its crops were listed. Prepare the data set again.")
    return found


def drawn(stems: Sequence[str]) -> dict[str, Split]:
    """The split of every stem: a tenth validates and a tenth tests, at least one each; the order plays no part.

    Names are ordered by a hash, so that the draw is the same on every machine.
    """
    ordered = sorted(stems, key=lambda stem: hashlib.sha256(f"sprites:{stem}".encode()).digest())
    held = max(1, round(len(ordered) / 10))
    split = dict[str, Split].fromkeys(ordered, "train")
    return split | dict.fromkeys(ordered[:held], "test") | dict.fromkeys(ordered[held : 2 * held], "val")


def flipped(patch: Patch, axis: int) -> Patch:
    """Upside down (axis 0) or mirrored (axis 1)."""
    return Patch(np.flip(patch.pixels, axis), np.flip(patch.inside, axis))


def quarter(patch: Patch, turns: int) -> Patch:
    """Turned by 90 degrees against the clock, `turns` times."""
    return Patch(np.rot90(patch.pixels, turns), np.rot90(patch.inside, turns))


def turned(patch: Patch, degrees: int) -> Patch:
    """Turned against the clock by any angle; what surrounds the cell does not bleed into its edge.

    Colours are weighted by the share of a pixel that the cell covers; a pixel covered by half or more is the cell.
    """
    height, width = patch.inside.shape
    side = int(hypot(height, width) + 1)
    top, left = (side - height) // 2, (side - width) // 2
    canvas = np.zeros((side, side, 4), np.uint8)
    window = canvas[top : top + height, left : left + width]
    window[..., :3] = patch.pixels * patch.inside[..., None]
    window[..., 3] = patch.inside * np.uint8(255)
    bands = [Image.fromarray(canvas[..., band].copy()) for band in range(4)]  # as RGBA, Pillow would weight them itself
    turned_bands = np.stack([band.rotate(degrees, Image.Resampling.BILINEAR) for band in bands], axis=-1)
    cover = turned_bands[..., 3:].astype(np.uint16)
    colour = (turned_bands[..., :3] * np.uint32(255) + cover // 2) // np.maximum(cover, 1)
    return trimmed(np.minimum(colour, 255).astype(np.uint8), turned_bands[..., 3] >= INSIDE)


def trimmed(pixels: np.ndarray, inside: np.ndarray) -> Patch:
    """Cuts off rows and columns without a pixel of the cell; `inside` bool (h, w) has at least one."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Patch(pixels[window], inside[window])


@lru_cache(maxsize=4096)
def _patch(root: str, files: Files, _stamp: str) -> Patch:
    """One cell from its two files; the stamp keeps a changed folder apart from what it was."""
    crop, mask_path = (Path(root, name) for name in files)
    pixels, grey = read_rgb(crop), read_grey(mask_path)
    check_sizes(pixels, grey, crop, mask_path)
    if not (grey >= INSIDE).any():
        raise DataError(
            f"{mask_path} shows no cell: no pixel is {INSIDE} or above. Paint the cell white, or remove it."
        )
    patch = trimmed(pixels, grey >= INSIDE)
    height, width = patch.inside.shape
    if max(height, width) > LARGEST:
        raise DataError(f"The cell of {crop} is {width}x{height}; at most {LARGEST}x{LARGEST} fit. Crop single cells.")
    return patch


def _check_classes(root: Path, folders: dict[int, Path]) -> None:
    """Refuses a folder without both kinds of red cells and at least one other class."""
    missing = [f"{CLASSES[index].name}" for index in (INFECTED, HEALTHY) if index not in folders]
    if not set(folders) - {INFECTED, HEALTHY}:
        missing.append("any white cell or platelet")
    if missing:
        found = ", ".join(folder.name for folder in folders.values()) or "no class"
        raise DataError(
            f"{root} has no folder of {' nor '.join(missing)}; found: {found}. Wanted: {EXPECTED}, each with "
            "<Class>_<n>.bmp and <Class>_<n>_mask.bmp; Infected, _ and at least one more."
        )


def _check_foreign(folder: Path) -> None:
    """Refuses crops below a folder that is named after no class; other folders are none of our business."""
    crop = next((path for end in SUFFIXES for path in sorted(folder.rglob(f"*_mask{end}"))), None)
    if crop is not None:
        raise DataError(f"{crop} lies in {folder.name}, which is no class. Allowed: {EXPECTED}. Rename the folder.")


def _split(folder: Path) -> dict[Split, list[tuple[Path, Path]]]:
    """The cells of a class by split: by its folders, or drawn where there are none."""
    loose = _cells(folder)
    named: dict[Split, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in SPELLINGS):
        split = SPELLINGS[path.name.lower()]
        if split in named:
            raise DataError(f"{named[split]} and {path} are the same split. Put their files into one folder.")
        named[split] = path
    if named and loose:
        raise DataError(
            f"{loose[0][0]} lies beside folders of splits. Move it into one of {', '.join(map(str, named))}."
        )
    if named:
        found = {split: _cells(named[split]) if split in named else [] for split in SPLITS}
    else:
        assigned = drawn([crop.stem for crop, _ in loose])
        found = {split: [cell for cell in loose if assigned[cell[0].stem] == split] for split in SPLITS}
    empty = [split for split, cells in found.items() if not cells]
    if empty:
        total = sum(map(len, found.values()))
        raise DataError(
            f"{folder} has {total} cells and none for the split {empty[0]}. At least 3 are needed, one for each of "
            f"{', '.join(SPLITS)}. Add cells, or remove the folder."
        )
    return found


def _cells(folder: Path) -> list[tuple[Path, Path]]:
    """The crops that lie in a folder itself with their masks, sorted; neither is without the other."""
    crops: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        group, stem = (masks, path.stem.removesuffix("_mask")) if path.stem.endswith("_mask") else (crops, path.stem)
        if stem in group:
            raise DataError(f"{group[stem]} and {path} have the same stem. Rename or remove one of them.")
        group[stem] = path
    alone = sorted(crops.keys() ^ masks.keys())
    if alone:
        path = crops.get(alone[0]) or masks[alone[0]]
        what = f"{alone[0]}_mask.bmp" if alone[0] in crops else f"{alone[0]}.bmp"
        raise DataError(f"{path} has no partner {what}. Put it into {folder}, or remove the file.")
    return [(crop, masks[stem]) for stem, crop in sorted(crops.items())]


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _stamp(root: Path, pools: Pools) -> str:
    digest = hashlib.sha256()
    for name in sorted(name for cells in pools.values() for files in cells for name in files):
        state = (root / name).stat()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
