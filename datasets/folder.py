"""Any folder of images and masks: give its path in place of a name.

    images/<stem>.png     masks/<stem>.png         or {train,val,test}/{images,masks}/ with official splits

png, jpg, bmp and tif are read. Masks that hold two values are binary (the higher one is the foreground); masks that
hold the small integers 0, 1, 2, .. are classes. Anything else is said in a `dataset.toml` beside the folders:

    title = "My cells"
    [[classes]]
    name = "background"
    colour = [0, 0, 0]      # the colour in the mask, and in pictures
    [[classes]]
    name = "nucleus"
    colour = [0, 0, 128]
    value = 7               # optional: the grey value in the mask, instead of the colour
"""

from __future__ import annotations

import colorsys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, DatasetSpec, Sample, Split

from ._files import check_sizes, opened, pairs, read_rgb

MOST_CLASSES = 64
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def open_folder(root: Path) -> DatasetSpec:
    """The data set a folder is, its classes from `dataset.toml` or from the masks themselves.

    Raises:
        DataError: If the folder is not laid out as above, or its masks cannot be understood.
    """
    root = root.resolve()
    described = _described(root / "dataset.toml")
    samples = _samples(root)
    classes = described.get("classes")
    table = _declared(classes, root) if classes else _discovered(samples)
    return DatasetSpec(
        title=str(described.get("title", root.name)),
        classes=tuple(spec for _, spec in table),
        read=partial(_read, samples),
        load=partial(_load, tuple((value, spec.colour) for value, spec in table)),
        licence=str(described.get("licence", "unknown")),
        citation=str(described.get("citation", "none given")),
        homepage=str(described.get("homepage", "")),
        pixel_size_um=described.get("pixel_size_um"),
    )


def _read(samples: list[Sample], _root: Path) -> list[Sample]:
    return samples


def _samples(root: Path) -> list[Sample]:
    """Every pair below the folder, without a split or with the official one."""
    if (root / "images").is_dir():
        return [
            Sample(id=stem, image=str(image), mask=str(mask), source="")
            for stem, image, mask in pairs(root / "images", root / "masks")
        ]
    splits = [split for split in SPLITS if (root / split / "images").is_dir()]
    if not splits:
        raise DataError(f"{root} has no images/ (with masks/ beside it). Make it so, or name a data set of bench list.")
    return [
        Sample(id=f"{split}-{stem}", image=str(image), mask=str(mask), source="", split=split)
        for split in splits
        for stem, image, mask in pairs(root / split / "images", root / split / "masks")
    ]


def _load(table: tuple[tuple[int | None, tuple[int, int, int]], ...], sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W); every mask pixel must be one of the classes.

    Raises:
        DataError: If the sizes differ or a mask holds a value or colour that no class has.
    """
    coloured = any(value is None for value, _ in table)
    image, raw = read_rgb(Path(sample.image)), read_mask(Path(sample.mask), indexed=not coloured)
    check_sizes(image, raw, Path(sample.image), Path(sample.mask))
    mask = np.full(raw.shape[:2], len(table), np.uint8)
    for index, (value, colour) in enumerate(table):
        mask[_matches(raw, value, colour)] = index
    strange = mask == len(table)
    if strange.any():
        row, column = np.argwhere(strange)[0]
        allowed = ", ".join(str(value if value is not None else colour) for value, colour in table)
        raise DataError(
            f"{sample.mask} holds {raw[row, column].tolist()} at column {column}, row {row}, which no class has "
            f"({int(strange.sum())} such pixels). Allowed: {allowed}. Mend the mask, or name the class in dataset.toml."
        )
    return image, mask


def read_mask(path: Path, *, indexed: bool = True) -> np.ndarray:
    """A mask as it is stored: uint8 (H, W) grey values, or (H, W, 3) when it has colours.

    A file with a palette gives its indices when `indexed`, else its colours.
    """
    with opened(path) as image:
        if image.mode == "P" and indexed:
            return np.asarray(image)
        if image.mode in ("1", "L", "LA"):
            return np.asarray(image.convert("L"))
        pixels = np.asarray(image.convert("RGB"))
    grey = (pixels == pixels[..., :1]).all()
    return pixels[..., 0] if grey else pixels


def _matches(raw: np.ndarray, value: int | None, colour: tuple[int, int, int]) -> np.ndarray:
    if value is not None:
        return raw == value if raw.ndim == 2 else np.zeros(raw.shape[:2], bool)
    pixels = raw if raw.ndim == 3 else np.repeat(raw[..., None], 3, axis=2)
    return (pixels == np.array(colour, np.uint8)).all(axis=-1)


def _discovered(samples: list[Sample]) -> list[tuple[int, ClassSpec]]:
    """Classes from the values that the masks hold."""
    values: set[int] = set()
    for sample in samples:
        raw = read_mask(Path(sample.mask))
        if raw.ndim == 3:
            raise DataError(f"{sample.mask} holds colours. Name the colour of each class in a dataset.toml.")
        values |= set(np.unique(raw).tolist())
        if len(values) > MOST_CLASSES:
            raise DataError(
                f"{sample.mask} brings the masks to more than {MOST_CLASSES} values: {sorted(values)[:8]} .. "
                "Masks hold two values or small integers (a JPEG mask does not); else describe them in dataset.toml."
            )
    blurred = next((sample.mask for sample in samples if Path(sample.mask).suffix.lower() in (".jpg", ".jpeg")), None)
    if blurred is not None and len(values) != 2:
        raise DataError(
            f"{blurred} is a JPEG, which holds other values than were drawn: {sorted(values)[:8]} .. "
            "Save the masks as png, bmp or tif, in which every pixel stays as it is."
        )
    if len(values) == 2:
        low, high = sorted(values)
        return [(low, _class("background", 0)), (high, _class("foreground", 1))]
    if len(values) > 2 and max(values) < MOST_CLASSES:
        return [
            (value, _class("background" if value == 0 else f"class_{value}", value)) for value in range(max(values) + 1)
        ]
    raise DataError(
        f"The masks of {Path(samples[0].mask).parent} hold the values {sorted(values)[:8]}. Allowed: two values, or "
        "small integers from 0; else describe them in dataset.toml."
    )


def _declared(classes: Any, root: Path) -> list[tuple[int | None, ClassSpec]]:
    where = root / "dataset.toml"
    table: list[tuple[int | None, ClassSpec]] = []
    for index, entry in enumerate(classes if isinstance(classes, list) else [classes]):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise DataError(
                f"{where}: class {index} has no name. Write [[classes]] with name, colour and optionally value."
            )
        colour, value = entry.get("colour", _class("", index).colour), entry.get("value")
        if not (isinstance(colour, (list, tuple)) and len(colour) == 3 and all(_is_byte(part) for part in colour)):
            raise DataError(
                f"{where}: the colour of {entry['name']!r} is {colour!r}; it must be [red, green, blue], each 0 to 255."
            )
        if value is not None and not _is_byte(value):
            raise DataError(
                f"{where}: the value of {entry['name']!r} is {value!r}; it must be an integer from 0 to 255."
            )
        value = index if value is None and "colour" not in entry else value
        table.append((value, ClassSpec(name=entry["name"], colour=tuple(colour))))
    _check_distinct(table, where)
    return table


def _check_distinct(table: list[tuple[int | None, ClassSpec]], where: Path) -> None:
    """Refuse too few classes, too many, and two that cannot be told apart."""
    if not 2 <= len(table) <= MOST_CLASSES:
        raise DataError(
            f"{where} has {len(table)} entries [[classes]]; 2 (background and one more) to {MOST_CLASSES} are allowed."
        )
    seen: dict[object, str] = {}
    for value, spec in table:
        if spec.name in seen.values():
            raise DataError(f"{where}: two classes are named {spec.name!r}. Give each a name of its own.")
        key = spec.colour if value is None else value
        if key in seen:
            raise DataError(
                f"{where}: {seen[key]!r} and {spec.name!r} share the value or colour {key}. Change one of them."
            )
        seen[key] = spec.name


def _described(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}. See bench list datasets for what it may say.") from error


def _class(name: str, index: int) -> ClassSpec:
    """A class with a colour of its own: hues a golden angle apart, the background black."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.65, 0.95) if index else (0.0, 0.0, 0.0)
    return ClassSpec(name=name, colour=(int(red * 255), int(green * 255), int(blue * 255)))


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
