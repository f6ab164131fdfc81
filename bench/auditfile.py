"""audit.json: what an audit found, with the splits, for other programs and to be read back."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import StoreError
from bench.findings import Audit, Finding, leaked, leaks
from bench.presets import SYMMETRIES
from bench.specs import Split

SCHEMA = 1
FILE = "audit.json"


@dataclass(frozen=True, kw_only=True)
class LeakEntry:
    """Images that are copies, one within the other, or of one photograph, in different splits.

    Attributes:
        finding: Its place in `findings`, from 0.
        images: The ids.
        splits: The split of each; null of an id that is in none.
    """

    finding: int
    images: list[str]
    splits: list[Split | None]


@dataclass(frozen=True, kw_only=True)
class AuditFile:
    """All that was found in one data set: audit.json.

    Attributes:
        schema: Version of the format.
        dataset: The name of the data set as on an axis.
        title: Its name as people read it.
        hash: Of the prepared data.
        version: Of the audit's code.
        images: How many there are.
        unread: Mask files that could not be looked at, since they are gone or no pictures.
        seconds: What each search took [s], by its name.
        splits: How many images train, validate and test; empty where no split was looked at.
        leaks: The findings across splits.
        leaked: Ids of the validation and test images that are part of a leak, by their split.
        findings: What was found. Of a pair of a crop the inner image comes first; box is left, top, right, bottom in
            pixels of the outer image; position says how the second image lies upon the first.
    """

    schema: Literal[1]
    dataset: str
    title: str
    hash: str
    version: int
    images: int
    unread: int
    seconds: dict[str, float]
    splits: dict[str, int]
    leaks: list[LeakEntry]
    leaked: dict[str, list[str]]
    findings: list[Finding]


def dump(audit: Audit, split: Mapping[str, Split]) -> str:
    """An audit as JSON; the same audit gives the same text.

    Args:
        audit: What was found; a measure that is no finite number is left out.
        split: Id to split, in one fold; empty to say nothing of splits.
    """
    places = {id(one): at for at, one in enumerate(audit.findings)}
    found = leaks(audit.findings, split)
    values = {
        "schema": SCHEMA,
        "dataset": audit.dataset,
        "title": audit.title,
        "hash": audit.hash,
        "version": audit.version,
        "images": audit.images,
        "unread": audit.unread,
        "seconds": dict(audit.seconds),
        "splits": {name: sum(one == name for one in split.values()) for name in ("train", "val", "test")}
        if split
        else {},
        "leaks": [
            {"finding": places[id(one)], "images": one.images, "splits": [split.get(image) for image in one.images]}
            for one in found
        ],
        "leaked": leaked(audit.findings, split),
        "findings": [_plain(one) for one in audit.findings],
    }
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def load(path: Path) -> Audit:
    """The audit in a file, checked.

    Raises:
        StoreError: If it cannot be read, is of another schema, or is no audit.
    """
    import pydantic

    again = "Delete it; bench data audit writes it anew."
    try:
        values: Any = json.loads(path.read_bytes())
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else None
            raise StoreError(f"{path} has schema {found}; this version of bench reads schema {SCHEMA}. {again}")
        stored: AuditFile = _adapter().validate_python(values)
        strange = next((one.position for one in stored.findings if one.position not in SYMMETRIES), None)
        if strange is not None:
            raise ValueError(f"the position {strange!r} is none of {', '.join(SYMMETRIES)}")
    except (OSError, ValueError, RecursionError, pydantic.ValidationError) as error:
        raise StoreError(f"{path} is not an audit of bench: {str(error).splitlines()[0]}. {again}") from error
    return Audit(
        dataset=stored.dataset,
        title=stored.title,
        hash=stored.hash,
        version=stored.version,
        images=stored.images,
        findings=tuple(stored.findings),
        seconds=stored.seconds,
        unread=stored.unread,
    )


def _plain(one: Finding) -> dict[str, object]:
    """A finding in values that JSON has, whatever kind of numbers it came with."""
    return {
        "kind": str(one.kind),
        "images": list(one.images),
        "note": one.note,
        "measures": {key: float(value) for key, value in one.measures.items() if math.isfinite(value)},
        "box": None if one.box is None else [int(edge) for edge in one.box],
        "position": one.position,
    }


@functools.cache
def _adapter() -> Any:
    import pydantic

    return pydantic.TypeAdapter(AuditFile)
