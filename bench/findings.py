"""What an audit finds in a data set: copies, crops and defects, as plain values; which of them are leaks in a fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bench.connected import Connected
from bench.specs import Split


class Kind(StrEnum):
    """What is wrong with an image, a pair of images, or the whole data set."""

    EXACT = "exact copy"
    """Two images of the same pixels."""
    NEAR = "near copy"
    """Two images of one scene: re-encoded, turned, mirrored, bent, brighter."""
    CROP = "crop"
    """One image lies within another."""
    SOURCE = "shared source"
    """Files of one photograph, by their names, in two splits."""
    ABSENT = "class absent"
    """A class that a split does not have, though the data set has."""
    SHIFTED = "mask off its image"
    """A mask that fits its image better somewhere else, or nowhere."""
    PALETTE = "off the palette"
    """Values or colours in a mask file that stand for no class."""
    GREYS = "blurred mask"
    """Values between those of the classes along the outlines: a mask that was resized smoothly or stored as JPEG."""
    BINARY = "mask of 0 and 255"
    """A mask file of 0 and 255, which a reader that expects class numbers takes for class 255, or for ignored."""
    EMPTY = "nearly empty mask"
    """A mask of so few foreground pixels that it is a slip of the pen, or that one pixel decides its score."""
    UNFINISHED = "search cut short"
    """Not everything was compared: the time ran out, or too many images look alike."""


BETWEEN = frozenset({Kind.EXACT, Kind.NEAR, Kind.CROP, Kind.SOURCE})
"""Kinds that concern two or more images: leaks, where these stand in different splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        images: Ids: the two of a pair (of a crop, the inner one first), all of a source, the one concerned, or none
            where it is the whole data set.
        note: One sentence with what was measured; says nothing of splits.
        measures: The numbers behind it, by name.
        box: Of a crop: where it lies in the outer image, (left, top, right, bottom) [pixels of the outer image].
        position: Of a pair: how the second lies upon the first, a key of `bench.presets.SYMMETRIES`.
    """

    kind: Kind
    images: tuple[str, ...]
    note: str
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    box: tuple[int, int, int, int] | None = None
    position: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All that was found in a data set; which of it are leaks depends on the split.

    Attributes:
        dataset: Its name as on an axis.
        title: Its name in reports.
        hash: Of the prepared data; an audit of other data under the same name does not count.
        version: Of the audit's code.
        images: How many were looked at.
        seconds: What each search took, by its name [s].
        unread: Mask files that could not be looked at: gone, or no pictures.
    """

    dataset: str
    title: str
    hash: str
    version: int
    images: int
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float]
    unread: int = 0


def leaks(findings: Iterable[Finding], split: Mapping[str, Split]) -> list[Finding]:
    """The findings whose images stand in different splits.

    Args:
        findings: Of one data set.
        split: Id to split, in one fold.
    """
    return [
        one
        for one in findings
        if one.kind in BETWEEN and len({split[image] for image in one.images if image in split}) > 1
    ]


def leaked(findings: Iterable[Finding], split: Mapping[str, Split]) -> dict[Split, list[str]]:
    """The validation and test images of which a copy, or a part, is in another split, if only by way of other copies.

    Returns:
        Ids by the split they stand in, sorted; those of the training split are left out, since they are not scored.
    """
    found: dict[Split, set[str]] = {"val": set(), "test": set()}
    for group in groups([one for one in findings if one.kind in BETWEEN]):
        images = {image for one in group for image in one.images if image in split}
        if len({split[image] for image in images}) > 1:
            for image in images:
                if split[image] != "train":
                    found[split[image]].add(image)
    return {name: sorted(images) for name, images in found.items()}


def groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Pairs gathered by the images they share: each list holds the pairs of one connected group, in order."""
    images = Connected[str]()
    for one in findings:
        for other in one.images[1:]:
            images.join(one.images[0], other)
    found: dict[str, list[Finding]] = {}
    for one in findings:
        found.setdefault(images.first(one.images[0]), []).append(one)
    return list(found.values())
