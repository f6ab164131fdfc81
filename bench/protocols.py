"""What is done to a data set before it is split, as its name says: `smear[copies=seed2,protocol=as-published]`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from bench import names
from bench.errors import NameUnknown
from bench.specs import Copies, Option
from bench.specs import Protocol as Word

WORDS, COPIES = get_args(Word), get_args(Copies)
MAKER: Copies = "seed0"
"""Whose copies are made where a name does not say."""


class Protocol(NamedTuple):
    """A protocol, and whose copies it makes.

    Attributes:
        word: clean (images as they are, split by source), as-published (copies are made, then every file is split by
            lot) or split-first (the same copies; all of one photograph stay on one side).
        copies: Whose copies these are; of no meaning for clean, where it is always the same.
    """

    word: Literal["clean", "as-published", "split-first"] = "clean"
    copies: Copies = MAKER

    @property
    def copied(self) -> bool:
        """Whether copies are made at all."""
        return self.word != "clean"

    @property
    def leaks(self) -> bool:
        """Whether copies of one photograph may stand on both sides."""
        return self.word == "as-published"

    @property
    def distrust(self) -> int:
        """Which of several is to be believed: the lowest."""
        return ("clean", "split-first", "as-published").index(self.word)

    @property
    def options(self) -> dict[str, Option]:
        """What a name says of it; nothing of what is so anyway."""
        copies: dict[str, Option] = {} if self.copies == MAKER else {"copies": self.copies}
        return copies | {"protocol": self.word} if self.copied else {}

    @property
    def title(self) -> str:
        """What the title of a data set says of it; empty for clean."""
        return {
            "clean": "",
            "as-published": "copies split by file (leak)",
            "split-first": "copies split by photograph",
        }[self.word]


CLEAN = Protocol()


def apart(name: str) -> tuple[str, Protocol]:
    """The name of a data set without its protocol, and the protocol; the name as it is where it says none.

    Raises:
        NameUnknown: If the protocol or the copies are unknown, or copies stand without a protocol that makes them.
    """
    if not ("protocol" in name or "copies" in name) or is_dir(name):  # a folder may be called like that
        return name, CLEAN
    path, _, inner = name.rpartition("[")
    try:
        stem, options = (path, names.parse(f"folder[{inner}")[1]) if is_dir(path) else names.parse(name)
    except NameUnknown as error:
        if "[" in path or "]" in path:
            raise NameUnknown(f"{error} Or is it a folder? There is none called {path!r} here.") from error
        raise
    own = {key: names.spell(options.pop(key)) for key in ("protocol", "copies") if key in options}
    if not own:
        return name, CLEAN
    for key, allowed in (("protocol", WORDS), ("copies", COPIES)):
        if own.get(key, allowed[0]) not in allowed:
            raise NameUnknown(f"There is no {key}={own[key]}, as {name!r} has it. Allowed: {', '.join(allowed)}.")
    found = Protocol(own.get("protocol", "clean"), own.get("copies", MAKER))  # ty: ignore[invalid-argument-type]
    if "copies" in own and not found.copied:
        raise NameUnknown(
            f"{name!r} asks for copies, and the protocol clean makes none. Add protocol=as-published or "
            "protocol=split-first, or leave copies out."
        )
    return names.show(stem, options), found


def told(name: str) -> tuple[str, Protocol]:
    """As `apart`, of results that may be somebody else's: their folder need not be here, whatever it is called.

    A name that cannot be read says no protocol.
    """
    base, _, inner = name.rpartition("[")
    for text, stem in ((name, None), (f"folder[{inner}", base)):
        with contextlib.suppress(NameUnknown):
            rest, found = apart(text)
            if stem is None or (rest == "folder" and found.copied):
                return stem or rest, found
    return name, CLEAN


def under(base: str, protocol: Protocol) -> str:
    """The inverse of `apart`: a data set under a protocol, options in their order."""
    if not protocol.copied:
        return base
    if is_dir(base):
        return names.show(base, protocol.options)
    stem, options = names.parse(base)
    return names.show(stem, options | protocol.options)


def expand(datasets: Iterable[str], words: Iterable[Word], copies: Copies) -> list[str]:
    """Every data set under every protocol, side by side; one whose name says its own is left as it is."""
    words, found = list(words), []
    for name in datasets:
        base, own = apart(name)
        found += [name] if own.copied else [under(base, Protocol(word, copies)) for word in words]
    return found


def is_dir(name: str) -> bool:
    """Whether there is a folder of that name; what is too long for a name, or may not be looked at, is none."""
    try:
        return bool(name) and Path(name).is_dir()
    except OSError:
        return False
