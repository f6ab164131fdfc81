"""What masks hold, as far as it is a defect: no foreground or next to none, specks, classes that are absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.findings import Finding, Kind
from bench.specs import IGNORE, Split

FEWEST = 16  # pixels of foreground, and of its largest object, below which a mask is nearly empty
SHARE = 1 / 1000  # likewise, of the median foreground of the data set
LISTED = 8  # ids that a finding names


def largest(mask: np.ndarray) -> int:
    """Pixels of the largest piece of foreground in a mask of classes, uint8 (H, W); 0 where there is none.

    Pixels that touch at a corner hang together, whatever their class; ignored ones are no foreground.
    """
    from scipy import ndimage

    foreground = (mask > 0) & (mask != IGNORE)
    pieces, _ = ndimage.label(foreground, np.ones((3, 3)))
    return int(np.bincount(pieces[foreground]).max()) if foreground.any() else 0


def nearly_empty(pixels: Mapping[str, Sequence[int]], largest: Mapping[str, int] | None = None) -> list[Finding]:
    """The masks without foreground, those with next to none, and those with specks only: a finding for each kind.

    Args:
        pixels: Of each class in every mask, by id.
        largest: What `largest` gives for the masks, as far as it is known.
    """
    foreground = {name: sum(counts[1:]) for name, counts in pixels.items()}
    held = [count for count in foreground.values() if count > 0]
    limit = max(FEWEST, SHARE * float(np.median(held))) if held else 0.0
    empty = sorted(name for name, count in foreground.items() if count == 0)
    sparse = sorted((name for name, count in foreground.items() if 0 < count < limit), key=lambda one: foreground[one])
    pieces = {name: size for name, size in (largest or {}).items() if 0 < size < FEWEST and name not in sparse}
    specks = sorted(pieces, key=lambda name: pieces[name])
    return [
        *_told(empty, len(pixels), foreground, "no foreground at all, which is allowed"),
        *_told(sparse, len(pixels), foreground, f"fewer than {limit:.0f} pixels of foreground"),
        *_told(specks, len(pixels), pieces, f"no object of {FEWEST} pixels or more"),
    ]


def absent(pixels: Mapping[str, Sequence[int]], split: Mapping[str, Split], classes: Sequence[str]) -> list[Finding]:
    """The classes that no mask has, and those that one of the splits does not have: a finding for each class.

    Args:
        pixels: Of each class in every mask, by id.
        split: Of every id, in one fold.
        classes: Names of the classes, the background first.
    """
    masks: dict[str, list[int]] = {name: [0] * len(classes) for name in ("train", "val", "test")}
    for image, name in split.items():
        for label, count in enumerate(pixels[image]):
            masks[name][label] += count > 0
    found = []
    for label, title in enumerate(classes):
        holding = {name: counts[label] for name, counts in masks.items()}
        lacking = [name for name in holding if not holding[name] and name in split.values()]
        if not lacking:
            continue
        where = (
            "no mask of the data set" if not any(holding.values()) else f"no mask of the {' or '.join(lacking)} split"
        )
        note = f"The class {title} is in {where}."
        found.append(Finding(kind=Kind.ABSENT, images=(), note=note, measures={"class": label, **holding}))
    return found


def _told(names: Sequence[str], of: int, pixels: Mapping[str, int], what: str) -> list[Finding]:
    """The finding on some masks that have little; none where there are none."""
    if not names:
        return []
    most = max(pixels[name] for name in names)
    who = f"This mask has {what}" if len(names) == 1 else f"{len(names)} of {of} masks have {what}"
    note = f"{who}." if not most else f"{who}; {'it has' if len(names) == 1 else 'at most'} {most}."
    measures = {"masks": len(names), "of": of, "pixels": most}
    return [Finding(kind=Kind.EMPTY, images=tuple(names[:LISTED]), note=note, measures=measures)]
