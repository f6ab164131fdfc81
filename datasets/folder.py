"""Any folder of images and masks: give its path in place of a name.

    images/<stem>.png     masks/<stem>.png
    images/<stem>.png     <stem>.json beside it, or in labels/ or json/      LabelMe
    [images/]<name>.png   any.json                                           COCO: one file for all images
    {train,val,test}/     each one of these, with official splits (valid/ is val/)

png, jpg, bmp and tif are read. An image may be grey, have a palette, transparency (which is dropped) or 16 bits of grey
(0..65535 become 0..255). Masks that hold two values are binary (the higher one is the foreground); masks that hold the
small integers 0, 1, 2, .. are classes, in 8 or 16 bits (65535 reads as 255). Where there are masks/, JSON is not read.

Annotations are painted in their order, a later one over an earlier one. LabelMe's labels become classes sorted by name,
COCO's categories sorted by id, after the background (which a label `background` is). LabelMe's `__ignore__` and COCO's
crowds are ignored pixels; crowds lie below everything else. Images that COCO's file does not name are left out.

Anything else is said in a `dataset.toml` beside the folders:

    title = "My cells"
    ignore = 255            # the value (or colour) of mask pixels that are neither trained on nor counted
    [[classes]]
    name = "background"
    colour = [0, 0, 0]      # the colour in the mask, and in pictures
    [[classes]]
    name = "nucleus"        # for annotations: the label
    colour = [0, 0, 128]
    value = 7               # optional: the grey value in the mask, instead of the colour
    [reader]                # optional: threshold, blur, colour, order, gamma, sharpen, normalise; see _reading.py
    threshold = "otsu"      # masks become binary
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import IGNORE, DatasetSpec, Sample, Split

from . import _annotated
from ._annotated import Base
from ._description import MOST_CLASSES, Colour, Description, Row, described, new_class
from ._files import DEEP, check_sizes, gathered, opened, pairs, read_deep, read_grey
from ._reading import Reading

SPLITS: Mapping[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}

THRESHOLD = (
    "For two classes write the lines [reader] and threshold = 127 into a dataset.toml there; or describe the classes "
    "in it."
)

Shade = tuple[int | None, Colour, int]
"""The grey value of a mask pixel, or else its colour, and the class it stands for."""


def open_folder(root: Path) -> DatasetSpec:
    """The data set a folder is, its classes from `dataset.toml`, the masks or the annotations.

    Raises:
        DataError: If the folder is not laid out as above, or its masks cannot be understood.
    """
    root = root.resolve()
    description, bases = described(root / "dataset.toml"), _bases(root)
    if bases[0].kind == "masks":
        samples = [
            Sample(id=base.prefix + stem, image=str(image), mask=str(mask), source="", split=base.split)
            for base in bases
            for stem, image, mask in pairs(base.images, base.folder / "masks")
        ]
        table = _table(description, samples, root)
        classes = tuple(spec for _, spec in table)
        load = partial(_load, _shades(table, description.ignore), description.reading)
    else:
        if description.reading.for_masks or description.ignore is not None:
            raise DataError(f"{root / 'dataset.toml'}: threshold, blur and ignore are for masks/; {root} has JSON.")
        samples = _annotated.samples(bases)
        declared = tuple(spec for _, spec in description.classes) if description.classes else None
        classes, indices = _annotated.classes(bases, samples, declared)
        load = partial(_annotated.load, bases[0].kind, indices, description.reading)
    texts = {"title": root.name, "licence": "unknown", "citation": "none given", "homepage": ""} | description.texts
    return DatasetSpec(
        classes=classes, read=partial(_read, samples), load=load, pixel_size_um=description.pixel_size_um, **texts
    )


def _read(samples: list[Sample], _root: Path) -> list[Sample]:
    return samples


def _bases(root: Path) -> list[Base]:
    """The folder, or its subfolders with official splits, all of one kind."""
    splits = [(name, split) for name, split in SPLITS.items() if _holds_images(root / name)]
    if (root / "images").is_dir() or (not splits and _holds_images(root)):
        return [_annotated.looked_into(root, "", None)]
    if not splits:
        raise DataError(
            f"{root} has no images/ (with masks/ or JSON beside it). Make it so, or name a data set of bench list."
        )
    bases = [_annotated.looked_into(root / name, f"{name}-", split) for name, split in splits]
    for base in bases:
        if base.kind != bases[0].kind:
            raise DataError(
                f"{bases[0].folder} has {bases[0].kind}, but {base.folder} has {base.kind}. Annotate all splits alike."
            )
    return bases


def _holds_images(folder: Path) -> bool:
    return (folder / "images").is_dir() or (folder.is_dir() and any(folder.glob("*.json")))


def _load(shades: tuple[Shade, ...], reading: Reading, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W); every mask pixel must be one of the classes.

    Raises:
        DataError: If the sizes differ or a mask holds a value or colour that no class has.
    """
    path = Path(sample.mask)
    image = read_deep(Path(sample.image))
    if reading.threshold is not None:
        grey = read_grey(path)
        check_sizes(image, grey, Path(sample.image), path)
        return reading.image(image), reading.mask(grey)
    raw = read_mask(path, indexed=all(value is not None for value, _, _ in shades))
    check_sizes(image, raw, Path(sample.image), path)
    return reading.image(image), _classified(raw, shades, path)


def _classified(raw: np.ndarray, shades: tuple[Shade, ...], path: Path) -> np.ndarray:
    unknown = IGNORE - 1
    mask = np.full(raw.shape[:2], unknown, np.uint8)
    for value, colour, index in shades:
        mask[_matches(raw, value, colour)] = index
    strange = mask == unknown
    if strange.any():
        row, column = np.argwhere(strange)[0]
        allowed = ", ".join(str(value if value is not None else colour) for value, colour, _ in shades)
        raise DataError(
            f"{path} holds {raw[row, column].tolist()} at column {column}, row {row}, which no class has "
            f"({int(strange.sum())} such pixels). Allowed: {allowed}. Mend the mask, or name the class in "
            "dataset.toml.",
            files=[str(path)],
        )
    return mask


def read_mask(path: Path, *, indexed: bool = True) -> np.ndarray:
    """A mask as it is stored: uint8 (H, W) grey values, or (H, W, 3) when it has colours.

    A file with a palette gives its indices when `indexed`, else its colours.

    Raises:
        DataError: If the file cannot be decoded, or holds values above 255 (but for 65535, which reads as 255).
    """
    with opened(path) as image:
        if image.mode in DEEP:
            return _small(np.asarray(image).astype(np.uint16), path)
        if image.mode == "P" and indexed:
            return np.asarray(image)
        if image.mode in ("1", "L", "LA"):
            return np.asarray(image.convert("L"))
        pixels = np.asarray(image.convert("RGB"))
    grey = (pixels == pixels[..., :1]).all()
    return pixels[..., 0] if grey else pixels


def _small(deep: np.ndarray, path: Path) -> np.ndarray:
    """The small integers of a mask of 16 bits in 8."""
    large = (deep > 255) & (deep < 65535)
    if large.any():
        raise DataError(
            f"{path} holds the value {int(deep[large][0])}; a mask of 16 bits may hold 0 to 255, and 65535 for 255. "
            "Number its classes from 0.",
            files=[str(path)],
        )
    return deep.clip(0, 255).astype(np.uint8)


def _matches(raw: np.ndarray, value: int | None, colour: Colour) -> np.ndarray:
    if value is not None:
        return raw == value if raw.ndim == 2 else np.zeros(raw.shape[:2], bool)
    pixels = raw if raw.ndim == 3 else np.repeat(raw[..., None], 3, axis=2)
    return (pixels == np.array(colour, np.uint8)).all(axis=-1)


def _shades(table: Sequence[Row], ignore: int | Colour | None) -> tuple[Shade, ...]:
    shades: list[Shade] = [(value, spec.colour, index) for index, (value, spec) in enumerate(table)]
    if isinstance(ignore, int):
        coloured = any(value is None for value, _, _ in shades)
        shades.append((None if coloured else ignore, (ignore, ignore, ignore), IGNORE))
    elif ignore is not None:
        shades.append((None, ignore, IGNORE))
    return tuple(shades)


def _table(description: Description, samples: Sequence[Sample], root: Path) -> Sequence[Row]:
    """The classes of masks: declared, of a threshold, or those the masks hold."""
    threshold = description.reading.threshold
    if threshold is None:
        if description.reading.blur:
            raise DataError(f"{root / 'dataset.toml'}: blur needs a threshold. Add threshold = 127, otsu or triangle.")
        return description.classes or _discovered(samples, description.ignore)
    if description.ignore is not None or (description.classes and len(description.classes) != 2):
        raise DataError(f"{root / 'dataset.toml'}: with a threshold there are two classes, and nothing is ignored.")
    return description.classes or [(0, new_class("background", 0)), (1, new_class("foreground", 1))]


def _discovered(samples: Sequence[Sample], ignore: int | Colour | None) -> list[Row]:
    """Classes from the values that the masks hold, the ignored one left out."""
    values: set[int] = set()
    for sample, held in zip(samples, gathered(_values, samples), strict=True):
        values |= held - {ignore}
        if len(values) > MOST_CLASSES:
            raise DataError(
                f"{sample.mask} brings the masks to more than {MOST_CLASSES} values: {sorted(values)[:8]} .. "
                f"Masks hold two values or small integers; one stored as JPEG or resized smoothly does not. {THRESHOLD}"
            )
    blurred = next((sample.mask for sample in samples if Path(sample.mask).suffix.lower() in (".jpg", ".jpeg")), None)
    if blurred is not None and len(values) != 2:
        raise DataError(
            f"{blurred} is a JPEG, which holds other values than were drawn: {sorted(values)[:8]} .. "
            f"Save the masks as png, bmp or tif, in which every pixel stays as it is. {THRESHOLD}"
        )
    if len(values) == 2:
        low, high = sorted(values)
        return [(low, new_class("background", 0)), (high, new_class("foreground", 1))]
    if len(values) > 2 and max(values) < MOST_CLASSES:
        return [
            (value, new_class("background" if value == 0 else f"class_{value}", value))
            for value in range(max(values) + 1)
        ]
    raise DataError(
        f"The masks of {Path(samples[0].mask).parent} hold the values {sorted(values)[:8]}. Allowed: two values, or "
        f"small integers from 0.{_rarest(samples, values)} {THRESHOLD}"
    )


def _rarest(samples: Sequence[Sample], values: set[int]) -> str:
    """A sentence on the value that the fewest masks hold, most likely one of no class; none where there is but one."""
    holding: dict[int, list[str]] = {value: [] for value in sorted(values)}
    if len(holding) < 2:
        return ""
    for sample, held in zip(samples, gathered(_values, samples), strict=True):
        for value in held & values:
            holding[value].append(sample.mask)
    rare, masks = min(holding.items(), key=lambda one: len(one[1]))
    return f" {rare} is in {masks[0]} " + (f"and {len(masks) - 1} more." if len(masks) > 1 else "alone.")


def _values(sample: Sample) -> set[int]:
    raw = read_mask(Path(sample.mask))
    if raw.ndim == 3:
        raise DataError(
            f"{sample.mask} holds colours. Name the colour of each class in a dataset.toml.", files=[sample.mask]
        )
    return set(np.unique(raw).tolist())
