"""Which photograph a file stems from, as far as its name tells: `rotated_90_X`, `X_flip` and `X (1)` stem from X.

Names that say that a picture was turned, mirrored, bent or cut are believed. Those that may say anything (`X_1`,
`bright_X`) are only where a file X is there as well; and where one stem stands in several splits, files are numbered
anew in each, so that equal names tell nothing. A stem that is no file and that most files lead to is no photograph but
a label: `crop_001_HE` and `crop_002_HE` share their stain.
Prefixes are those of the offline generators of the projects that this one follows, and what is usual elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePath

from bench.findings import Finding, Kind
from bench.specs import Sample, Split

MANY = 20  # sources in several splits above which they are one finding

_NUMBER = r"-?\d+(?:\.\d+)?"
_WITH_NUMBERS = (
    rf"deform(?:ed)?(?:_alpha)?_{_NUMBER}(?:_sigmoid)?_{_NUMBER}",
    rf"distorted_{_NUMBER}_rsigma{_NUMBER}_sigma{_NUMBER}",
    rf"(?:barr|pinc)distorted_\d+_{_NUMBER}_{_NUMBER}",
    r"shrinked_\d+_\d+",  # the point of the factor is written as an underscore
)
_GEOMETRY = (
    r"mirror(?:ed)?",
    r"[hv]{0,2}[_-]?flip(?:ped)?(?:[_-]?(?:lr|ud|hv|[hvxy]|horizontal(?:ly)?|vertical(?:ly)?))?",
    r"rot(?:at(?:ed|e|ion))?",
    r"transposed?",
    r"shear(?:ed)?",
    r"shr[iu]nke?d?",
    r"zoom(?:ed)?",
    r"crop(?:ped)?",
    r"deform(?:ed)?",
    r"(?:barr(?:el)?|pinc(?:ushion)?)?distort(?:ed|ion)?",
    r"elastic",
    r"warp(?:ed)?",
    r"aug(?:mented)?",
)
_LIGHT = (r"bright(?:er|ness)?", r"dark(?:er)?", r"contrast", r"gamma", r"blur(?:red)?", r"nois[ey]", r"scaled?")
_AMOUNT = r"(?:[_-]?-?\d{1,3}(?:\.\d+)?(?:deg)?)?"


def _prefix(operations: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"^(?:{'|'.join(operations)})[_-](?=.)", re.IGNORECASE)


def _suffix(operations: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<=.)[_\s-](?:{'|'.join(operations)})$", re.IGNORECASE)


_SURE = (
    _prefix([*_WITH_NUMBERS, *(operation + _AMOUNT for operation in _GEOMETRY)]),
    _suffix([*_WITH_NUMBERS, *(operation + _AMOUNT for operation in _GEOMETRY)]),
    re.compile(r"(?<=.)_(?:jpe?g|png|bmp|tiff?)\.rf\.[0-9a-f]{8,}$", re.IGNORECASE),  # Roboflow's copies
)
_UNSURE = (
    _prefix(operation + _AMOUNT for operation in _LIGHT),
    _suffix(operation + _AMOUNT for operation in _LIGHT),
    re.compile(r"(?<=.)[_\s-]*\(\d+\)$"),
    re.compile(r"^copy (?:\(\d+\) )?of (?=.)", re.IGNORECASE),
    re.compile(r"(?<=.)[_\s-]+copy(?:[_\s-]*\(?\d+\)?)?$", re.IGNORECASE),
    re.compile(r"(?<=.)[_-]\d{1,2}$"),
)


def origin(stem: str, stems: Collection[str] = ()) -> str:
    """The stem of the photograph that a file stems from; its own where its name says nothing.

    Args:
        stem: Name of a file without its suffix.
        stems: Of all files; what a name may say is believed where it leads to one of these.
    """
    found = stem
    while (shorter := _shortened(found, stems)) != found:
        found = shorter
    return found


def shared(samples: Sequence[Sample], split: Mapping[str, Split]) -> list[Finding]:
    """The photographs whose files stand in several splits: as the data set knows them, and by the names of files.

    A finding names all files of a photograph, in whatever split; more than MANY photographs are one finding.

    Args:
        samples: Of one data set.
        split: Of every id, in one fold or officially; ids without one are left out.
    """
    placed = [one for one in samples if one.id in split]
    parted = _parted([(one.source, one.id) for one in placed if one.source], split)
    stems = {one.id: PurePath(one.image).stem for one in placed}
    known = frozenset(stems.values())
    anew = _parted([(stem, name) for name, stem in stems.items()], split).keys()
    origins = {name: origin(stem, known) for name, stem in stems.items()}
    labels = {one for one, files in Counter(origins.values()).items() if files > len(stems) / 2 and one not in known}
    named = _parted([(one, name) for name, one in origins.items() if one not in labels], split)
    told = {frozenset(names) for names in parted.values()}
    parted |= {stem: names for stem, names in named.items() if stem not in anew and frozenset(names) not in told}
    if len(parted) > MANY:
        note = f"{len(parted)} photographs have files in several splits, the first is {next(iter(parted))}."
        return [_finding([name for names in parted.values() for name in names], len(parted), note, split)]
    return [
        _finding(names, 1, f"{len(names)} files are of the photograph {source}.", split)
        for source, names in parted.items()
    ]


def _shortened(stem: str, stems: Collection[str]) -> str:
    """The stem without one sign of a copy, before or behind it; as it is where it has none."""
    for patterns, sure in ((_SURE, True), (_UNSURE, False)):
        for pattern in patterns:
            if match := pattern.search(stem):
                rest = stem[: match.start()] or stem[match.end() :]
                if sure or rest in stems:
                    return rest
    return stem


def _parted(pairs: Iterable[tuple[str, str]], split: Mapping[str, Split]) -> dict[str, list[str]]:
    """The sources, of pairs of source and id, whose ids stand in several splits."""
    groups: dict[str, list[str]] = defaultdict(list)
    for source, name in pairs:
        groups[source].append(name)
    return {source: names for source, names in groups.items() if len({split[name] for name in names}) > 1}


def _finding(names: Sequence[str], sources: int, note: str, split: Mapping[str, Split]) -> Finding:
    places = [split[name] for name in names]
    measures = {"sources": sources, "images": len(names), "val": places.count("val"), "test": places.count("test")}
    return Finding(kind=Kind.SOURCE, images=tuple(names), note=note, measures=measures)
