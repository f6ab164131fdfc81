"""An audit with one finding of every kind, made up, on a few generated pictures with names that no page may obey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import prepare
from bench.findings import Audit, Finding, Kind
from bench.prepare import Prepared
from bench.specs import Split

SMEAR = "smear[size=64,test=4,train=8,val=3]"
EVIL = '<script>alert("1")</script>&[red]'
SECONDS = {"copies": 1.25, "crops": 60.0}


def opened(data_home: Path) -> tuple[Prepared, dict[str, Split]]:
    """A prepared data set whose first training picture is called EVIL, and its split."""
    prepared = prepare.prepare(SMEAR, data_home)
    first = min(name for name in prepared.ids(0, 1)["train"])
    entries = tuple(
        replace(entry, sample=replace(entry.sample, id=EVIL)) if entry.sample.id == first else entry
        for entry in prepared.index.entries
    )
    split: dict[str, Split] = {
        EVIL if name == first else name: part for part, ids in prepared.ids(0, 1).items() for name in ids
    }
    return Prepared(prepared.folder, replace(prepared.index, entries=entries)), split


def of(split: Mapping[str, Split], part: Split) -> list[str]:
    """The ids of a split, sorted."""
    return sorted(name for name, own in split.items() if own == part)


def audit(findings: list[Finding], images: int = 15, **changes: object) -> Audit:
    """An audit of these findings."""
    base = Audit(
        dataset=SMEAR,
        title=f"Smear {EVIL}",
        hash="abc",
        version=1,
        images=images,
        findings=tuple(findings),
        seconds=SECONDS,
    )
    return replace(base, **changes)


def near(first: str, second: str, correlation: float = 0.98, position: str = "none") -> Finding:
    """A pair of near copies."""
    note = f"Correlation {correlation} & no more."
    return Finding(
        kind=Kind.NEAR, images=(first, second), note=note, measures={"correlation": correlation}, position=position
    )


def everything(split: Mapping[str, Split]) -> list[Finding]:
    """One finding of every kind, those of images on EVIL."""
    train, val, test = (of(split, part) for part in ("train", "val", "test"))
    alone = {
        Kind.SHIFTED: {"right": 4.0, "down": -3.0, "agreement": 0.2},
        Kind.PALETTE: {"pixels": 12.0},
        Kind.GREYS: {"pixels": 1234.0},
        Kind.BINARY: {},
        Kind.EMPTY: {"foreground": 2.0},
    }
    return [
        near(EVIL, test[0], position="left_turn"),
        Finding(kind=Kind.EXACT, images=(train[1], train[2]), note="The pixels are equal."),
        Finding(kind=Kind.CROP, images=(val[0], train[3]), note="Lies within.", box=(10, 5, 40, 35)),
        Finding(kind=Kind.SOURCE, images=(train[4], test[1], val[1]), note="One stem."),
        Finding(kind=Kind.ABSENT, images=(), note="Validation has no monocyte."),
        Finding(kind=Kind.UNFINISHED, images=(), note="The search for crops ended after 60 s."),
        *(Finding(kind=kind, images=(EVIL,), note="Measured.", measures=values) for kind, values in alone.items()),
    ]
