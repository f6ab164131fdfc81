"""Pictures of a smear composed from crops of single cells, by the published procedure of A. Banerjee's data set.

Red cells lie at random places on white backgrounds of 1000 x 1000 pixels: healthy ones (nn), infected ones (ii), or
both (in). A picture is a piece of such a background, with no, one or two other cells affixed: mirrored or turned, cut
out by a hard mask, neither blended nor scaled, and clipped at the border. Only the red cells that a picture shows are
painted, which gives the same pixels as painting the whole background first.

Every choice is drawn from the names of the picture (seed, size, split, index) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from bench.specs import IGNORE, Sample, Split

from ._smear_classes import CLASSES, HEALTHY, INFECTED, PARTIAL, PARTIAL_INDEX, WHITE
from ._smear_sprites import Files, Library, Patch, flipped, library, quarter, turned

EDGE = 1000  # of a background [pixels]
REDS = (250, 279)  # red cells on a background: at least the first number, fewer than the second
APART, TRIES = 50.0, 30  # centres keep this distance [pixels], if one of so many places does,
CROWDED = 0.1  # but for this share of the cells, which lie anywhere
KINDS: dict[str, float] = {"nn": 0.0, "ii": 1.0, "in": 0.5}  # backgrounds by the share of infected cells
BACKGROUNDS: dict[Split, int] = {"train": 400, "val": 50, "test": 50}  # of each kind: 500, split like the samples
STREAMS: dict[Split, int] = {"train": 0, "val": 1, "test": 2}
NONE, ONE = 0.05, 0.6  # shares of pictures with no and with one affixed cell; the others have two
CUT = 1 / 3  # share of single white cells that the border cuts in half, where that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a sample's reference says: all that is needed to compose a picture."""

    seed: int
    size: int
    split: Split
    index: int
    partial: str
    stamp: str
    root: str

    def __str__(self) -> str:
        start = f"seed={self.seed}/size={self.size}/{self.split}/{self.index}"
        return f"{start}/partial={self.partial}/{self.stamp}/{self.root}"

    def stream(self, purpose: int) -> Generator:
        """Random numbers of this picture and no other."""
        return _generator(purpose, self.seed, self.size, STREAMS[self.split], self.index)


class Red(NamedTuple):
    """A red cell on a background: its class, its files, and its box [pixels]."""

    index: int
    files: Files
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A cell in a picture; `top` and `left` may be negative [pixels]."""

    index: int
    patch: Patch
    top: int
    left: int
    files: Files | None = None  # None for a red cell, which belongs to the background

    @property
    def middle(self) -> tuple[float, float]:
        """Centre of the cell's box, (row, column) [pixels]."""
        height, width = self.patch.inside.shape
        return self.top + height / 2, self.left + width / 2

    def overlap(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where cell and picture overlap: (rows, columns) of the picture, and of the patch."""
        spans = []
        for start, edge in zip((self.top, self.left), self.patch.inside.shape, strict=True):
            low, high = max(start, 0), max(min(start + edge, size), 0)
            spans.append((slice(low, high), slice(low - start, max(high - start, 0))))
        (rows, patch_rows), (columns, patch_columns) = spans
        return (rows, columns), (patch_rows, patch_columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The cells of a picture, in the order in which they are painted."""

    background: str
    reds: tuple[Placed, ...]
    affixed: tuple[Placed, ...]


def load(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Composes a picture: image uint8 (size, size, 3) RGB, mask uint8 (size, size) of class indices.

    Raises:
        DataError: If a crop cannot be used, or the folder has changed since it was listed.
    """
    order = read_order(sample.image)
    image = np.full((order.size, order.size, 3), 255, np.uint8)
    mask = np.zeros((order.size, order.size), np.uint8)
    found = scene(order)
    for placed in (*found.reds, *found.affixed):
        window, part = placed.overlap(order.size)
        inside = placed.patch.inside[part]
        np.copyto(image[window], placed.patch.pixels[part], where=inside[..., None])
        np.copyto(mask[window], np.uint8(_value(placed.index, order.partial)), where=inside)
    return image, mask


def objects(sample: Sample) -> list[dict[str, Any]]:
    """Lists affixed cells, then the red cells whose centre lies in the picture and under no box of an affixed cell.

    A box spans what of the cell lies inside the picture, also where another cell covers it [pixels]. Keys are those of
    the published label files; classes are ours, and `bgPath` names a background that never was a file.
    """
    order = read_order(sample.image)
    found = scene(order)
    seen = [red for red in found.reds if _is_listed(red, found.affixed, order.size)]
    shown = [placed for placed in (*found.affixed, *seen) if placed.patch.inside[placed.overlap(order.size)[1]].any()]
    return [_describe(placed, found.background, order) for placed in shown]


def read_order(reference: str) -> Order:
    """The inverse of `str(order)`."""
    seed, size, split, index, partial, stamp, root = reference.split("/", 6)
    return Order(
        seed=int(seed.removeprefix("seed=")),
        size=int(size.removeprefix("size=")),
        split=next(name for name in STREAMS if name == split),
        index=int(index),
        partial=partial.removeprefix("partial="),
        stamp=stamp,
        root=root,
    )


def scene(order: Order) -> Scene:
    """Which cells a picture shows, and where."""
    cells, random = library(order.root, order.stamp), order.stream(1)
    kind = list(KINDS)[_deal(len(KINDS), order.index, order, 2)]
    number = _deal(BACKGROUNDS[order.split], order.index // len(KINDS), order, 3, list(KINDS).index(kind))
    top, left = random.integers(0, EDGE - order.size + 1, 2).tolist()
    reds = [
        Placed(index=red.index, patch=cells.patch(red.files), top=red.top - top, left=red.left - left)
        for red in _background(order.root, order.stamp, order.seed, order.split, kind, number)
        if top - red.height < red.top < top + order.size and left - red.width < red.left < left + order.size
    ]
    draw = random.random()
    count = 0 if draw < NONE else 1 if draw < NONE + ONE else 2
    affixed = [_augmented(random, cells, *_pick(order, cells, slot)) for slot in range(count)]
    placed = _place_one(random, affixed[0], order) if count == 1 else _place_two(random, affixed, order.size)
    return Scene(background=f"back_{kind}_{order.split}_{number}", reds=tuple(reds), affixed=tuple(placed))


def _pick(order: Order, cells: Library, slot: int) -> tuple[int, Files]:
    """The class and the files of the cell in a slot of a picture.

    Classes are dealt like cards, and the cells of a class likewise: none comes twice before all had their turn.
    """
    classes, position = cells.classes(), 2 * order.index + slot
    index = classes[_deal(len(classes), position, order, 4)]
    pool = cells.pools[index, order.split]
    return index, pool[_deal(len(pool), position // len(classes), order, 5, index)]


def _augmented(random: Generator, cells: Library, index: int, files: Files) -> Placed:
    """A cell mirrored, turned or as it is, at the published shares; not yet in its place."""
    patch, draw = cells.patch(files), random.random()
    if draw < 0.2:
        patch = flipped(patch, 1)
    elif draw < 0.4:
        patch = flipped(patch, 0)
    elif draw < 0.6:
        patch = quarter(patch, int(random.choice((1, 2, 3), p=(0.33, 0.33, 0.34))))
    elif draw < 0.8:
        patch = turned(patch, int(random.integers(360)))
    return Placed(index=index, patch=patch, top=0, left=0, files=files)


def _place_one(random: Generator, cell: Placed, order: Order) -> list[Placed]:
    """One cell anywhere inside the picture; or, of white cells, a share cut in half by the border."""
    if order.partial != "none" and cell.index in WHITE and random.random() < CUT:
        return [_cut(random, cell, order.size)]
    height, width = cell.patch.inside.shape
    return [replace(cell, top=_within(random, order.size - height), left=_within(random, order.size - width))]


def _cut(random: Generator, cell: Placed, size: int) -> Placed:
    """Half of the cell beyond a side of the picture (15% each), or beyond both sides of a corner (10% each)."""
    height, width = cell.patch.inside.shape
    tops = -(height // 2), _within(random, size - height), size - (height + 1) // 2
    lefts = -(width // 2), _within(random, size - width), size - (width + 1) // 2
    sides, corners = ((0, 1), (2, 1), (1, 0), (1, 2)), ((0, 0), (0, 2), (2, 0), (2, 2))
    down, right = (*sides, *corners)[int(random.choice(8, p=[0.15] * 4 + [0.1] * 4))]
    return replace(cell, top=tops[down], left=lefts[right], index=PARTIAL_INDEX)


def _place_two(random: Generator, affixed: list[Placed], size: int) -> Iterator[Placed]:
    """The first cell in one half of the picture, the second in the strip that the first leaves free.

    The halves are drawn as if the first cell lay at the right and the picture was then turned by 0 to 3 quarters.
    """
    turns, limit = int(random.integers(4)), size
    for number, cell in enumerate(affixed):
        height, width = cell.patch.inside.shape[:: 1 if turns % 2 == 0 else -1]
        top = _within(random, size - height)
        left = _within(random, limit - width) if number else size // 2 + _within(random, size - size // 2 - width)
        limit = left
        for _ in range(turns):  # of the box: the cell itself was turned before, if at all
            top, left, height, width = size - left - width, top, width, height
        yield replace(cell, top=top, left=left)


def _within(random: Generator, room: int) -> int:
    """A random offset of 0 to `room` - 1 [pixels]; 0 where there is no room."""
    return int(random.integers(max(room, 1)))


@lru_cache(maxsize=256)
def _background(root: str, stamp: str, seed: int, split: Split, kind: str, number: int) -> tuple[Red, ...]:
    """The red cells of a background in the order in which they are painted."""
    cells = library(root, stamp)
    random = _generator(6, seed, STREAMS[split], list(KINDS).index(kind), number)
    chosen: list[tuple[int, Files]] = []
    for _ in range(int(random.integers(*REDS))):
        index = INFECTED if random.random() < KINDS[kind] else HEALTHY
        pool = cells.pools[index, split]
        chosen.append((index, pool[int(random.integers(len(pool)))]))
    sizes = np.array([cells.patch(files).inside.shape for _, files in chosen])
    boxes = np.concatenate([_spread(random, sizes), sizes], axis=1).tolist()
    return tuple(Red(index, files, *box) for (index, files), box in zip(chosen, boxes, strict=True))


def _spread(random: Generator, sizes: np.ndarray) -> np.ndarray:
    """Corners (top, left), int (N, 2), of boxes of the given sizes (N, 2): inside, overlapping seldom [pixels]."""
    middles = np.zeros((len(sizes), 2))
    for number, size in enumerate(sizes):
        candidates = random.integers(0, EDGE - size + 1, (TRIES, 2)) + size / 2
        down, right = (candidates[:, axis, None] - middles[:number, axis] for axis in (0, 1))
        nearest = (down * down + right * right).min(axis=1, initial=np.inf)
        free = np.flatnonzero(nearest >= APART * APART)
        best = 0 if random.random() < CROWDED else free[0] if len(free) else nearest.argmax()
        middles[number] = candidates[best]
    return (middles - sizes / 2).astype(np.int64)


def _deal(count: int, position: int, order: Order, *purpose: int) -> int:
    """The card, 0 to `count` - 1, at a position of a deck that is shuffled anew whenever all cards were dealt."""
    random = _generator(*purpose, order.seed, STREAMS[order.split], position // count)
    return int(random.permutation(count)[position % count])


def _generator(*entropy: int) -> Generator:
    return Generator(PCG64(SeedSequence(entropy)))


def _is_listed(red: Placed, affixed: tuple[Placed, ...], size: int) -> bool:
    """Whether the centre of a red cell is in the picture and under no box of an affixed cell."""
    row, column = red.middle
    if not (0 <= row < size and 0 <= column < size):
        return False
    for cell in affixed:
        height, width = cell.patch.inside.shape
        middle_row, middle_column = cell.middle
        if abs(row - middle_row) <= height / 2 and abs(column - middle_column) <= width / 2:
            return False
    return True


def _describe(placed: Placed, background: str, order: Order) -> dict[str, Any]:
    """One object in the schema of the published label files."""
    (rows, columns), part = placed.overlap(order.size)
    inside = placed.patch.inside[part]
    down, right = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, height = rows.start + int(down[0]), int(down[-1] - down[0]) + 1
    left, width = columns.start + int(right[0]), int(right[-1] - right[0]) + 1
    return {
        "className": PARTIAL.name if placed.index == PARTIAL_INDEX else CLASSES[placed.index].name,
        "classIdx": _value(placed.index, order.partial),
        "posX": left + width // 2,
        "posY": top + height // 2,
        "bboxW": width,
        "bboxH": height,
        "tlX": left,
        "tlY": top,
        "samplePath": placed.files[0] if placed.files else None,
        "bgPath": background,
    }


def _value(index: int, partial: str) -> int:
    """What a class is in the mask: a partial cell is ignored, unless it is a class of its own."""
    return IGNORE if index == PARTIAL_INDEX and partial != "class" else index
