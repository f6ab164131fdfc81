"""What an audit comes to, in words: the verdict, what each kind of finding means, what to do, rows for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

from bench.findings import BETWEEN, Audit, Finding, Kind, leaked, leaks
from bench.quantities import duration
from bench.specs import Split

SPLITS: tuple[Split, ...] = get_args(Split)
NAMES = {"train": "training", "val": "validation", "test": "test"}
TWINS = {Kind.EXACT: "copies", Kind.NEAR: "copies", Kind.CROP: "overlapping images"}
"""What the two images of a pair are to each other; others are files of one photograph."""
ORDER = {kind: at for at, kind in enumerate(Kind)}
LONG = 26
"""Letters of an id in a terminal; of a longer one both ends are shown."""


class Meaning(NamedTuple):
    """What a kind of finding says, and what to do about it; a sentence or two each."""

    means: str
    advice: str


MEANINGS: Mapping[Kind, Meaning] = {
    Kind.EXACT: Meaning(
        "Two files hold the same pixels. Across splits the network is scored on what it was trained on.",
        "Delete one of the two, or give both one source, so that they are split together.",
    ),
    Kind.NEAR: Meaning(
        "Two files show one scene, re-encoded, turned, mirrored, bent or brighter. Most come from augmenting first and "
        "splitting afterwards.",
        "Keep the original and let training augment; or give all copies one source, so that they are split together.",
    ),
    Kind.CROP: Meaning(
        "One image lies within another. Across splits the shared part is trained on and scored.",
        "Give an image and its crops one source, so that they are split together.",
    ),
    Kind.SOURCE: Meaning(
        "By their names the files stem from one photograph, and they stand in more than one split. Parts of one "
        "photograph share stain, light and cells.",
        "Split by photograph: give the files one source, or drop the official split.",
    ),
    Kind.ABSENT: Meaning(
        "A split lacks a class that the data set has: it cannot be learned, or its score is undefined.",
        "Draw the split anew with --folds, move images between the splits, or leave the class out.",
    ),
    Kind.SHIFTED: Meaning(
        "The mask fits its image better somewhere else, or nowhere: what is learned and scored is wrong.",
        "Move the mask by what was measured, or leave the pair out; look at the pairs below first.",
    ),
    Kind.PALETTE: Meaning(
        "The mask file has values or colours that stand for no class. A reader has to guess what they are.",
        "Repaint these pixels in the mask file, or name the value as a class, or as ignored, in dataset.toml.",
    ),
    Kind.GREYS: Meaning(
        "Along the outlines stand values between those of the classes: the mask was resized smoothly, or is a JPEG. "
        "The outlines are guesses by a pixel or two.",
        "Go back to the original masks, and resize those by nearest neighbour into PNG files.",
    ),
    Kind.BINARY: Meaning(
        "The mask file holds 0 and 255. A reader that expects class numbers takes 255 for class 255, or for ignored.",
        "Nothing here, where the reader knows; elsewhere divide by 255 first.",
    ),
    Kind.EMPTY: Meaning(
        "So few pixels are foreground that it is a slip of the pen, or that one pixel decides the score of the image.",
        "Look at the pair: erase the specks, or finish the mask.",
    ),
    Kind.UNFINISHED: Meaning(
        "Not everything was compared: what was not found may be there all the same.",
        "For crops, run the audit again with more time: --crops SECONDS. Of images that all look alike, sort out some.",
    ),
}


class Tally(NamedTuple):
    """All findings of one kind.

    Attributes:
        across: Those whose images stand in more than one split, first in `findings`, too.
        apart: Whether there can be such: the kind concerns several images.
    """

    kind: Kind
    findings: tuple[Finding, ...]
    across: int
    apart: bool


class Verdict(NamedTuple):
    """Whether there is a leak; the sentences that say so; and what they rest upon."""

    bad: bool
    main: tuple[str, ...]
    rests: tuple[str, ...]


def splits_of(finding: Finding, split: Mapping[str, Split]) -> tuple[Split, ...]:
    """The splits that the images of a finding stand in, each once, training first."""
    found = {split[image] for image in finding.images if image in split}
    return tuple(name for name in SPLITS if name in found)


def tallies(audit: Audit, split: Mapping[str, Split]) -> list[Tally]:
    """What was found by kind: those with something across splits first; in each what is across splits first."""
    found = []
    for kind in Kind:
        own = [one for one in audit.findings if one.kind is kind]
        apart = kind in BETWEEN
        across = [one for one in own if apart and len(splits_of(one, split)) > 1]
        rest = [one for one in own if not (apart and len(splits_of(one, split)) > 1)]
        found += [Tally(kind, (*across, *rest), len(across), apart)] if own else []
    return sorted(found, key=lambda one: not one.across)


def verdict(audit: Audit, split: Mapping[str, Split]) -> Verdict:
    """Whether scores on this split can be believed, as far as copies go.

    Args:
        audit: What was found.
        split: Id to split, in one fold.
    """
    pairs = leaks(audit.findings, split)
    scored = leaked(audit.findings, split)
    sizes = {name: sum(one == name for one in split.values()) for name in SPLITS}
    main = [_leak(name, scored[name], pairs, split, sizes[name]) for name in ("test", "val") if scored[name]]
    if not main:
        looked = f"none of the {sizes['test']} test and {sizes['val']} validation images has a copy in another split"
        main.append(f"No leak found: {looked}.")
    rests: list[str] = []
    word = "more pair" if pairs else "pair"
    within = sum(one.kind in TWINS for one in audit.findings) - sum(one.kind in TWINS for one in pairs)
    if within:
        rests.append(
            f"{_count(within, word)} of copies or crops {_lie(within)} within one split: no leak, but fewer scenes."
        )
    return Verdict(bool(pairs), tuple(main), (*rests, *_rights(audit)))


def searched(audit: Audit) -> str:
    """What was looked for, and how long it took."""
    return ", ".join(f"{name} ({duration(taken)})" for name, taken in audit.seconds.items()) or "nothing"


def rows(audit: Audit, split: Mapping[str, Split]) -> list[dict[str, object]]:
    """A row for each kind that was found, leaks first, for `bench.cli_rows.table`."""
    return [
        {
            "found": str(one.kind),
            "count": len(one.findings),
            "across splits": one.across if one.apart else None,
            "for example": _example(one.findings[0], split),
            "what to do": MEANINGS[one.kind].advice,
        }
        for one in tallies(audit, split)
    ]


def _leak(name: Split, ids: Sequence[str], pairs: Sequence[Finding], split: Mapping[str, Split], of: int) -> str:
    """The sentence on the images of one split that have copies elsewhere."""
    own = sorted((one for one in pairs if name in splits_of(one, split)), key=lambda one: ORDER[one.kind])
    elsewhere = {split[image] for one in own for image in one.images} - {name}
    others = [one for one in SPLITS if one in elsewhere]
    where = " and ".join(NAMES[one] for one in others)
    *most, last = dict.fromkeys(TWINS.get(one.kind, "files of the same photograph") for one in own)
    twins = f"{', '.join(most)} or {last}" if most else last
    what = f"{len(ids)} of {of} {NAMES[name]} images {_have(len(ids))} {twins} in the {where} split{_s(others)}"
    if "train" not in others:
        return f"{what}: the splits are not independent of each other."
    consequence = {
        "test": "scores on them measure memory as well",
        "val": "learning rates and epochs are chosen on what was trained on",
    }
    return f"{what}: {consequence[name]}."


def _rights(audit: Audit) -> list[str]:
    """What the verdict rests upon, and what it does not."""
    cut = [one.note for one in audit.findings if one.kind is Kind.UNFINISHED]
    unread = (
        [f"{_count(audit.unread, 'mask file')} could not be looked at: gone, or no picture."] if audit.unread else []
    )
    return [f"Searched: {searched(audit)}.", *cut, *unread]


def _example(one: Finding, split: Mapping[str, Split]) -> str:
    """A pair, if there is one its two sides in different splits; or the first of the images; or what was found."""
    if not one.images:
        return one.note
    first, *others = one.images
    if one.kind in BETWEEN and others:
        other = next((image for image in others if split.get(image) != split.get(first)), others[0])
        return f"{_placed(first, split)} ~ {_placed(other, split)}"
    more = max(len(one.images), int(one.measures.get("masks", 0))) - 1
    return _placed(first, split) + (f" and {more:,} more" if more else "")


def _placed(name: str, split: Mapping[str, Split]) -> str:
    return f"{_short(name)} ({split[name]})" if name in split else _short(name)


def _short(name: str) -> str:
    return name if len(name) <= LONG else f"{name[: LONG // 2]}…{name[-LONG // 2 + 1 :]}"


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _s(several: Sequence[object]) -> str:
    return "s" * (len(several) > 1)


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _lie(count: int) -> str:
    return "lies" if count == 1 else "lie"
