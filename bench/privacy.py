"""What must not leave a machine unasked: pictures of data that may not be passed on, and where things lie here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from urllib.parse import quote

from bench.errors import StudyError
from bench.records import Record

OPEN = re.compile(r"(MIT|BSD|Apache|CC0|CC[ -]BY|Creative Commons|Public domain|ODC|PDDL|Unlicense)\b", re.IGNORECASE)
"""How a licence begins that lets everybody pass pictures on, under its terms."""
CLOSED = re.compile(
    r"no redistribution|not be (redistributed|passed on)|not stated|none stated|ask the author|\bND\b|no-?derivatives",
    re.IGNORECASE,
)
"""What a licence says that does not; crops and overlays are derivatives."""
TEXTS = {".json", ".toml", ".csv", ".md", ".tex", ".html", ".py", ".txt", ".svg", ""}
"""The suffixes of files that are looked into; the journal of a tuning has none."""
_LETTERS = r"""[^\s'"`,;()\[\]<>|]"""
_WHERE = re.compile(
    rf"""(?:(?<=^)|(?<=[\s'"`=(\[,<]))(?:~?(?:/(?!/){_LETTERS}+?){{2,}}/?(?!{_LETTERS})|[A-Za-z]:[\\/]{_LETTERS}+)"""
)
"""An absolute path of at least two parts, in the middle of a text; no address and no name of a cell is one."""
_OPTION = re.compile(r"(^|=)(~?/[^,\]\[]*|[A-Za-z]:[\\/][^,\]\[]*)")
"""The same in the name of a data set: all of it, or the value of an option."""


def may_pass_on(licence: str) -> bool:
    """Whether a licence, in words, lets anybody pass pictures of the data on; in doubt it does not."""
    return OPEN.match(licence.strip()) is not None and CLOSED.search(licence) is None


def shorter(text: str) -> str:
    """A text with the last part alone of every absolute path in it."""
    return _WHERE.sub(lambda found: f"./{PureWindowsPath(found[0]).name}", text)


def nicknames(datasets: Iterable[str]) -> dict[str, str]:
    """What data sets are called outside: one that is named by an absolute path, by its last part; no two alike."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(datasets):
        plain = _OPTION.sub(lambda part: f"{part[1]}./{PureWindowsPath(part[2]).name}", name)
        number, wanted = 1, plain
        while wanted != name and wanted in found.values():
            number += 1
            wanted = f"{plain}-{number}"
        found[name] = wanted
    return found


def shortened(record: Record, name: str) -> Record:
    """A record without absolute paths in what is no part of its fingerprint: its data set's name, its error.

    Args:
        name: What its data set is called outside.
    """
    error = record.error and replace(record.error, message=shorter(record.error.message))
    refused = record.execution and {key: shorter(text) for key, text in record.execution.refused.items()}
    execution = record.execution and replace(record.execution, refused=refused)
    return replace(record, cell=replace(record.cell, dataset=name), error=error, execution=execution)


def check_ingredients(record: Record) -> None:
    """Refuse a record whose fingerprint an absolute path is part of.

    Raises:
        StudyError: Saying which, and what to do.
    """
    found = _WHERE.search("\n".join(_texts(record.ingredients)))
    if found is not None:
        raise StudyError(
            f"{record.cell.key} was made from {found[0]}, a path of this machine that is part of its fingerprint. "
            "Train it from a relative path, choose other cells with --cell, or --allow-paths."
        )


def check_files(folder: Path, places: Iterable[Path]) -> None:
    """Refuse to let a file out that tells where something lies on this machine.

    Args:
        folder: What is to be let out.
        places: Folders of this machine.
    Raises:
        StudyError: Naming the file and the path in it.
    """
    needles = {f"{place}/".encode(): place for place in places if len(place.parts) > 1}
    needles |= {quote(f"{place}/", safe="").encode(): place for place in needles.values()}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes() if path.suffix in TEXTS else b""
        for needle, place in needles.items():
            if needle in content or needle in name.encode():
                raise StudyError(
                    f"{name} names {place}, a folder of this machine, which would be published. Mend what wrote it, "
                    "choose other cells with --cell, or --allow-paths."
                )


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
