"""The syntax of names on the axes: `unet[encoder=resnet50,depth=4]`; standard library only."""

from __future__ import annotations

import math
import re

from bench.errors import NameUnknown
from bench.specs import Option

_NAME = re.compile(r"(?P<stem>[^\[\]]+?)(?:\[(?P<options>.*)\])?")
_MARK = " @ "


def parse(text: str) -> tuple[str, dict[str, Option]]:
    """Split `stem[key=value,...]` into its stem and its options.

    Values are read as int, float or bool (true, false) where they look like one, else as text.

    Raises:
        NameUnknown: If the brackets do not match, an option is not `key=value`, or one stands twice.
    """
    match = _NAME.fullmatch(text.strip())
    if match is None or not _balanced(match["options"] or ""):
        raise NameUnknown(f"Cannot read the name {text!r}. Write name or name[key=value,key=value].")
    options: dict[str, Option] = {}
    for part in split(match["options"] or ""):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise NameUnknown(f"Cannot read the option {part!r} of {text!r}. Write name[key=value,key=value].")
        if key.strip() in options:
            raise NameUnknown(f"The option {key.strip()!r} stands twice in {text!r}. Keep one.")
        options[key.strip()] = _value(value.strip())
    return match["stem"].strip(), options


def show(stem: str, options: dict[str, Option]) -> str:
    """The canonical spelling: options sorted by key, no spaces; the inverse of `parse`."""
    if not options:
        return stem
    inner = ",".join(f"{key}={spell(value)}" for key, value in sorted(options.items()))
    return f"{stem}[{inner}]"


def split(text: str, separator: str = ",") -> list[str]:
    """Split at separators that stand outside brackets: `a,b[c=1,d=2]` is two names."""
    parts: list[str] = []
    depth, start = 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def marked(name: str, mark: str) -> str:
    """A name with a mark behind it, as `unet[encoder=resnet50] @ laptop`; the name itself where there is no mark."""
    return f"{name}{_MARK}{mark}" if mark else name


def apart(text: str) -> tuple[str, str]:
    """The inverse of `marked`: the name, and the mark or nothing; a mark holds no bracket."""
    name, at, mark = text.rpartition(_MARK)
    return (name, mark) if at and not {"[", "]"} & set(mark) else (text, "")


def _balanced(text: str) -> bool:
    """Whether every bracket that is opened is closed, and none is closed that was not opened."""
    depth = 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            return False
    return depth == 0


def _value(text: str) -> Option:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return value if math.isfinite(value := kind(text)) else text
        except (ValueError, OverflowError):  # no number, or whole and beyond all fractions
            continue
    return text


def spell(value: Option) -> str:
    """A value as it is written behind a key."""
    return str(value).lower() if isinstance(value, bool) else str(value)
