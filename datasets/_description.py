"""Shared by folders of images: what a `dataset.toml` may say, checked; see folder.py for how it is written."""

from __future__ import annotations

import colorsys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import DataError
from bench.specs import ClassSpec

from ._files import one_line
from ._reading import Reading, chosen

MOST_CLASSES = 64
TEXTS = ("title", "licence", "citation", "homepage")
KEYS = (*TEXTS, "pixel_size_um", "ignore", "classes", "reader")

Colour = tuple[int, int, int]
Row = tuple[int | None, ClassSpec]
"""A class, and the grey value it has in a mask; None when it is told by its colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a folder says about itself.

    Attributes:
        texts: Those of TEXTS that are given.
        classes: None when they are to be found in the masks.
        ignore: The grey value or colour of pixels that have no class; None when all have one.
        reading: How files are read.
    """

    texts: dict[str, str] = field(default_factory=dict[str, str])
    classes: tuple[Row, ...] | None = None
    ignore: int | Colour | None = None
    reading: Reading = field(default_factory=Reading)
    pixel_size_um: float | None = None


def described(path: Path) -> Description:
    """The description in a file; an empty one when there is no such file.

    Raises:
        DataError: If the file is not TOML, or says something that is not allowed.
    """
    if not path.is_file():
        return Description()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not TOML: {one_line(error)}. See bench list datasets for what it may say."
        ) from error
    for key in content:
        if key not in KEYS:
            raise DataError(f"{path}: there is no key {key!r}. There are: {', '.join(KEYS)}.")
    scale, reader = content.get("pixel_size_um"), content.get("reader", {})
    if scale is not None and not (isinstance(scale, (int, float)) and 0 < scale < float("inf")):
        raise DataError(f"{path}: pixel_size_um is {scale!r}; it must be a number of micrometres above 0.")
    if not isinstance(reader, dict):
        raise DataError(f"{path}: reader is {reader!r}. Write a table [reader] with options below it.")
    classes = tuple(_declared(content["classes"], path)) if content.get("classes") else None
    return Description(
        texts={key: str(content[key]) for key in TEXTS if key in content},
        classes=classes,
        ignore=_ignored(content.get("ignore"), classes, path),
        reading=chosen(f"{path}, [reader]", reader),
        pixel_size_um=scale,
    )


def new_class(name: str, index: int) -> ClassSpec:
    """A class with a colour of its own: hues a golden angle apart, the background black."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.65, 0.95) if index else (0.0, 0.0, 0.0)
    return ClassSpec(name=name, colour=(int(red * 255), int(green * 255), int(blue * 255)))


def _declared(classes: Any, where: Path) -> list[Row]:
    table: list[Row] = []
    for index, entry in enumerate(classes if isinstance(classes, list) else [classes]):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise DataError(
                f"{where}: class {index} has no name. Write [[classes]] with name, colour and optionally value."
            )
        colour, value = entry.get("colour", list(new_class("", index).colour)), entry.get("value")
        if not _is_colour(colour):
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


def _check_distinct(table: list[Row], where: Path) -> None:
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


def _ignored(ignore: Any, classes: tuple[Row, ...] | None, where: Path) -> int | Colour | None:
    """The value or colour of pixels to ignore, if it is one and no class has it."""
    if ignore is None:
        return None
    coloured = any(value is None for value, _ in classes or ())
    if not _is_byte(ignore) and not (coloured and _is_colour(ignore)):
        raise DataError(
            f"{where}: ignore is {ignore!r}; it must be the value of a mask pixel from 0 to 255, or its colour "
            "[red, green, blue] where [[classes]] have colours in place of values."
        )
    ignored = tuple(ignore) if isinstance(ignore, list) else ignore
    for value, spec in classes or ():
        if ignored == (spec.colour if value is None else value):
            raise DataError(f"{where}: ignore is {ignore!r}, which is the class {spec.name!r}. Change one of them.")
    return ignored


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_byte(part) for part in value)


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
