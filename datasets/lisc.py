"""LISC: white blood cells of five types in stained smears, one photograph each, outlined by an expert.

The archive "LISC Database" of H. Rezatofighi, as a folder or zip (250 pairs):

    Main Dataset/{Baso,eosi,lymp,mixt,mono,neut}/<n>.bmp                                        720x576
    Ground Truth Segmentation/<class>/areaforexpert1/<n>_expert.bmp                             712x568, grey

The masks lack 4 pixels on every side, which are added as background. Options:

    lisc[classes=types]               background, basophil, eosinophil, lymphocyte, monocyte, neutrophil (default)
    lisc[classes=nucleus_cytoplasm]   background, cytoplasm, nucleus
    lisc[classes=wbc]                 background, white cell
    lisc[classes=wbc,mixt=true]       with the photographs of several types; their masks do not tell the types
    lisc[skip_unpaired=true]          leave out images without a mask and masks without an image

Grey levels differ between the types: 175 and 200, 225 and 255, 75 and 100, or 50 alone. Two levels in a mask are the
two parts of its cells; more are taken two by two (25 and 50, 75 and 100, .. 225 and 255). Of two parts, the nucleus
is the one that has the smaller share of pixels beside background, since it lies within the other; the brighter one
where these shares are equal. A cell of one level does not tell its parts, so its pixels are ignored.

The colour masks released by sarah-antillia ("Leukocyte", 18 copies of each photograph) are recognised by their layout:

    {train,valid,test}/{baso,eosi,lymp,mono,neut}/{images,masks}/<augmentation>_<class>_<n>.png

A pixel is of the class whose colour is nearest. Their split puts copies of one photograph on both sides; as long as it
does, it is not used, and photographs are split as in a data set without a split. Parts and `mixt` are not in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import IGNORE, ClassSpec, DatasetSpec, Sample

from ._archive import check_choice, check_flag, child, files, folders, pairs
from ._files import check_sizes, read_grey, read_rgb
from ._masks import nearest, off_palette
from ._sources import SPLITS, keep_honest, source_of

LAYOUT = "Main Dataset/<class>/<n>.bmp with Ground Truth Segmentation/<class>/areaforexpert1/<n>_expert.bmp"
MARGIN = 4  # pixels that a mask lacks on every side
TYPES = ("baso", "eosi", "lymp", "mono", "neut")
"""Folders in the order of the classes."""

BACKGROUND = ClassSpec(name="background", colour=(0, 0, 0))
CLASSES: dict[str, tuple[ClassSpec, ...]] = {
    "types": (
        BACKGROUND,
        ClassSpec(name="basophil", colour=(0, 0, 255)),
        ClassSpec(name="eosinophil", colour=(0, 255, 0)),
        ClassSpec(name="lymphocyte", colour=(255, 255, 0)),
        ClassSpec(name="monocyte", colour=(0, 255, 255)),
        ClassSpec(name="neutrophil", colour=(255, 0, 0)),
    ),
    "nucleus_cytoplasm": (
        BACKGROUND,
        ClassSpec(name="cytoplasm", colour=(120, 170, 255)),
        ClassSpec(name="nucleus", colour=(120, 40, 160)),
    ),
    "wbc": (BACKGROUND, ClassSpec(name="white_cell", colour=(150, 70, 200))),
}
PALETTE = tuple(spec.colour for spec in CLASSES["types"])  # of the released masks, in the same order


def configure(*, classes: str = "types", mixt: bool = False, skip_unpaired: bool = False) -> DatasetSpec:
    """The data set with other classes, with or without the photographs of several types.

    Raises:
        DataError: If an option has no such value, or the two do not go together.
    """
    check_choice("lisc", "classes", classes, tuple(CLASSES))
    check_flag("lisc", "mixt", mixt)
    check_flag("lisc", "skip_unpaired", skip_unpaired)
    if mixt and classes == "types":
        raise DataError(
            "lisc[mixt=true] has no types: its masks do not tell which cell is of which type. "
            "Write lisc[classes=wbc,mixt=true] or lisc[classes=nucleus_cytoplasm,mixt=true]."
        )
    return replace(SPEC, classes=CLASSES[classes], load=partial(_load, classes))


def read(root: Path, *, classes: str = "types", mixt: bool = False, skip_unpaired: bool = False) -> list[Sample]:
    """All pairs of the archive or of the released copies; class and number are the photograph, the class is the label.

    Args:
        root: The unpacked archive, or a folder around it.
        classes: What is told apart; the released copies tell no parts.
        mixt: With the photographs of several types.
        skip_unpaired: Leave out images without a mask and masks without an image.
    Raises:
        DataError: If the layout is another one, or a pair is incomplete.
    """
    for base in folders(root):
        main, truth = child(base, "Main Dataset"), child(base, "Ground Truth Segmentation")
        if main and truth:
            return list(_archive(main, truth, (*TYPES, "mixt") if mixt else TYPES, skip_unpaired))
        if any(child(base / split, *TYPES) for split in SPLITS):
            if mixt or classes == "nucleus_cytoplasm":
                raise DataError(
                    f"{base} holds the released colour masks, which tell types but neither nucleus and cytoplasm nor "
                    "mixt. Write lisc[classes=types] or lisc[classes=wbc], or give the LISC Database itself."
                )
            return keep_honest(list(_release(base, skip_unpaired)))
    raise DataError(f"{root} is not the LISC archive: it has no {LAYOUT}. Unpack the archive there and try again.")


def doubtful(sample: Sample) -> int:
    """How many mask pixels of a released mask have a colour of no class; 0 for a mask of the archive."""
    return off_palette(read_rgb(Path(sample.mask)), PALETTE) if _is_released(sample) else 0


def parts(grey: np.ndarray) -> np.ndarray:
    """Background 0, cytoplasm 1, nucleus 2, undecided IGNORE, by the rule above.

    Args:
        grey: An expert's mask uint8 (H, W); 0 is background.
    Returns:
        Mask uint8 (H, W).
    Raises:
        ValueError: If three or more levels belong to one cell; its text names them.
    """
    mask = np.zeros(grey.shape, np.uint8)
    levels = [int(level) for level in np.unique(grey) if level]
    pairs_of_levels: dict[int, list[int]] = {}
    for level in levels:
        pairs_of_levels.setdefault(0 if len(levels) == 2 else (level + 25) // 50, []).append(level)
    for cell in pairs_of_levels.values():
        if len(cell) > 2:
            raise ValueError(f"the grey levels {cell[:8]} for one cell")
        if len(cell) == 1:
            mask[grey == cell[0]] = IGNORE
            continue
        dark, bright = (_exposure(grey, level) for level in cell)
        cytoplasm, nucleus = cell if bright <= dark else reversed(cell)
        mask[grey == cytoplasm], mask[grey == nucleus] = 1, 2
    return mask


def _exposure(grey: np.ndarray, level: int) -> float:
    """Share of the pixels of a level that have background above, below, left or right of them."""
    back = np.pad(grey == 0, 1)
    beside = back[:-2, 1:-1] | back[2:, 1:-1] | back[1:-1, :-2] | back[1:-1, 2:]
    return float(beside[grey == level].mean())


def _load(classes: str, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W).

    Raises:
        DataError: If a file cannot be read, the sizes do not fit, or the grey levels cannot be understood.
    """
    image_path, mask_path = Path(sample.image), Path(sample.mask)
    image = read_rgb(image_path)
    if _is_released(sample):
        colours = read_rgb(mask_path)
        check_sizes(image, colours, image_path, mask_path)
        mask = nearest(colours, PALETTE)
        return image, mask if classes == "types" else (mask > 0).astype(np.uint8)
    grey = read_grey(mask_path)
    height, width = image.shape[:2]
    if grey.shape != (height - 2 * MARGIN, width - 2 * MARGIN):
        raise DataError(
            f"{mask_path} is {grey.shape[1]}x{grey.shape[0]} and its image {image_path} {width}x{height}. An expert's "
            f"mask is {2 * MARGIN} pixels less wide and high (712x568 for 720x576). Take the file of the archive."
        )
    return image, np.pad(_translated(grey, classes, sample), MARGIN)


def _translated(grey: np.ndarray, classes: str, sample: Sample) -> np.ndarray:
    if classes == "nucleus_cytoplasm":
        try:
            return parts(grey)
        except ValueError as error:
            raise DataError(
                f"{sample.mask} has {error}; two are allowed, cytoplasm and nucleus. Take the file of the archive."
            ) from error
    index = 1 if classes == "wbc" else TYPES.index(sample.label or "") + 1
    return np.where(grey > 0, np.uint8(index), np.uint8(0))


def _archive(main: Path, truth: Path, names: tuple[str, ...], skip_unpaired: bool) -> Iterator[Sample]:
    for name in names:
        images = files(child(main, name) or main / name)
        expert = child(truth, name) or truth / name
        masks = files(child(expert, "areaforexpert1") or expert / "areaforexpert1", key=_number)
        for number, image, mask in _pairs(images, masks, skip_unpaired):
            source = f"{name}_{number}"
            yield Sample(id=source, image=str(image), mask=str(mask), source=source, label=name)


def _number(stem: str) -> str:
    return re.sub(r"_expert.*$", "", stem, flags=re.IGNORECASE)


def _release(base: Path, skip_unpaired: bool) -> Iterator[Sample]:
    for folder, split in SPLITS.items():
        for name in TYPES:
            kind = child(base / folder, name)
            if kind is None:
                continue
            for stem, image, mask in _pairs(files(kind / "images"), files(kind / "masks"), skip_unpaired):
                identity = f"{split}-{stem}"
                yield Sample(
                    id=identity, image=str(image), mask=str(mask), source=source_of(stem), split=split, label=name
                )


def _pairs(images: dict[str, Path], masks: dict[str, Path], skip_unpaired: bool) -> list[tuple[str, Path, Path]]:
    return pairs(images, masks, skip_unpaired=skip_unpaired, hint="lisc[skip_unpaired=true]")


def _is_released(sample: Sample) -> bool:
    return Path(sample.mask).parent.name == "masks"


SPEC = DatasetSpec(
    title="LISC",
    classes=CLASSES["types"],
    read=read,
    load=partial(_load, "types"),
    licence="Free for research and education, no redistribution, to be obtained from the author's site",
    citation="Rezatofighi and Soltanian-Zadeh 2011, Comput. Med. Imaging Graph. 35(4):333-343",
    homepage="https://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm",
    options={"classes": "types", "mixt": False, "skip_unpaired": False},
    configure=configure,
    doubtful=doubtful,
    unreleased=(
        "its terms forbid passing it on, copies made from it included: they grant its use to those who got it from the "
        "first author's site"
    ),
)
