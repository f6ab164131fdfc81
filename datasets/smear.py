"""Generated blood smear: ten classes of cells told apart by their shape; or composed from crops of your own.

`smear[sprites=DIR]` composes its pictures from crops of single cells and their masks, by the published procedure of
A. Banerjee's data set (`_smear_sprites.py` says how DIR is laid out, `_smear_compose.py` what is done). The path may
hold no comma. `partial=ignore` lets the border cut some white cells in half and ignores their pixels, `partial=class`
makes them an eleventh class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from bench.errors import DataError
from bench.specs import DatasetSpec, Option, Sample, Split

from . import _smear_cells as cells
from . import _smear_compose as compose
from ._smear_classes import CLASSES, PARTIAL, check_partial
from ._smear_sprites import survey

STREAMS: dict[str, int] = {"train": 0, "val": 1, "test": 2}  # what sets the splits apart
AREA = 224 * 224  # the field of view that numbers of cells are given for [square pixels]
SMALLEST, LARGEST, MOST = 64, 4096, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How large a class of cells is and how it is drawn.

    Attributes:
        radius: Room it takes up when cells are spread out [pixels].
        margin: How far outside the picture its centre may lie; negative keeps it inside [pixels].
        crowding: Share of both radii that two centres keep apart, usually and when cells overlap.
    """

    index: int
    draw: cells.Painter
    radius: float
    margin: float
    crowding: tuple[float, float] = (1.0, 0.9)


WHITE = (
    Kind(index=1, draw=cells.draw_eosinophil, radius=40, margin=-14),
    Kind(index=2, draw=cells.draw_basophil, radius=40, margin=-14),
    Kind(index=3, draw=cells.draw_neutrophil, radius=40, margin=-14),
    Kind(index=4, draw=cells.draw_lymphocyte, radius=30, margin=-10),
    Kind(index=5, draw=cells.draw_monocyte, radius=46, margin=-16),
)
THROMBOCYTE = Kind(index=6, draw=cells.draw_thrombocyte, radius=8, margin=-4, crowding=(1.0, 0.5))
CLUMP = Kind(index=7, draw=cells.draw_platelet_clump, radius=18, margin=-10)
INFECTED = Kind(index=8, draw=cells.draw_infected_cell, radius=20, margin=8, crowding=(1.05, 0.65))
HEALTHY = Kind(index=9, draw=cells.draw_red_cell, radius=20, margin=8, crowding=(1.05, 0.65))


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A drawn cell in its picture; `top` and `left` may be negative [pixels]."""

    kind: Kind
    cell: cells.Cell
    top: int
    left: int

    def overlap(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where patch and picture overlap: (rows, columns) of the picture, and of the patch."""
        edge = len(self.cell.opacity)
        spans = [(max(start, 0), max(min(start + edge, size), 0)) for start in (self.top, self.left)]
        (top, bottom), (left, right) = spans
        patch = slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)
        return (slice(top, bottom), slice(left, right)), patch


def read(
    root: Path | None = None,
    *,
    train: int = 128,
    val: int = 32,
    test: int = 64,
    size: int = 224,
    seed: int = 0,
    sprites: str = "",
    partial: str = "none",
) -> list[Sample]:
    """Lists the pictures; nothing is drawn yet.

    Args:
        root: The folder of crops; ignored without `sprites`, since generated pictures need no files.
        train: Number of training pictures.
        val: Number of validation pictures.
        test: Number of test pictures.
        size: Height and width of a picture [pixels]; a larger picture shows more cells, not larger ones.
        seed: Another seed gives another data set; it moves no crop to another split.
        sprites: The folder of crops to compose from; empty draws the cells.
        partial: What becomes of white cells that the border cuts in half: none, ignore or class; with `sprites` only.

    Raises:
        DataError: An option is out of its range, or the crops are not laid out as they must be.
    """
    counts: dict[Split, int] = {"train": train, "val": val, "test": test}
    for name, value in counts.items():
        _check(name, value, 1, MOST)
    _check("size", size, SMALLEST, compose.EDGE if sprites else LARGEST)
    _check("seed", seed, 0, 2**32 - 1)
    if sprites:
        return _composed(root or Path(sprites), counts, size, seed, partial)
    return [_sample(split, index, size, seed) for split, count in counts.items() for index in range(count)]


def configure(*, sprites: Option, partial: Option, **_: Option) -> DatasetSpec:
    """The data set with its options in effect: drawn, or composed from the crops in a folder.

    Raises:
        DataError: If the folder does not exist, or `partial` is not one of its words.
    """
    check_partial(partial, ("none", "ignore", "class") if sprites != "" else ("none",), "smear")
    if sprites == "":
        return SPEC
    if not isinstance(sprites, str) or not Path(sprites).is_dir():
        raise DataError(
            f"sprites={sprites} of data set smear is not a folder. Give the folder with your crops, unpacked, as "
            "smear[sprites=./cells]: <Class>/<Class>_<n>.bmp and <Class>/<Class>_<n>_mask.bmp."
        )
    return replace(
        SPEC,
        title="Composed blood smear",
        classes=(*CLASSES, PARTIAL) if partial == "class" else CLASSES,
        load=compose.load,
        objects=compose.objects,
        licence="that of the crops",
        citation="Composed from the crops of a user by the procedure of A. Banerjee's blood cell data set",
        generated=False,
        raw=Path(sprites).resolve(),
    )


def _check(name: str, value: object, low: int, high: int) -> None:
    """Refuses an option that is not a whole number within its range."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        message = f"{name}={value!r} of data set smear is not a whole number from {low} to {high}."
        raise DataError(f"{message} Write such a number, or smear[{name}={SPEC.options[name]}], the default.")


def _sample(split: Split, index: int, size: int, seed: int) -> Sample:
    """Names one picture; its reference says all that is needed to draw it."""
    name, reference = f"{split}-{index:05d}", f"seed={seed}/size={size}/{split}/{index}"
    return Sample(id=name, image=reference, mask=reference, source=name, split=split)


def _composed(root: Path, counts: dict[Split, int], size: int, seed: int, partial: str) -> list[Sample]:
    """Names the pictures composed from crops; those of one split share crops, so that they are one source."""
    found = survey(root)
    orders = [
        compose.Order(
            seed=seed, size=size, split=split, index=index, partial=partial, stamp=found.stamp, root=str(root)
        )
        for split, count in counts.items()
        for index in range(count)
    ]
    return [
        Sample(
            id=f"{order.split}-{order.index:05d}",
            image=str(order),
            mask=str(order),
            source=f"crops-{order.split}",
            split=order.split,
        )
        for order in orders
    ]


def load(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture: image uint8 (size, size, 3) RGB, mask uint8 (size, size) of class indices."""
    random, size = _open(sample.image)
    stain = cells.draw_stain(random)
    canvas = np.empty((3, size, size), np.float32)
    canvas[:] = stain.paper
    mask = np.zeros((size, size), np.uint8)
    for placed in _populate(random, stain, size):
        (rows, columns), patch = placed.overlap(size)
        below, cell = canvas[:, rows, columns], placed.cell
        colour = cell.colour if cell.colour.shape[1] == 1 else cell.colour[:, *patch]
        below += (colour - below) * cell.opacity[patch]
        np.copyto(mask[rows, columns], np.uint8(placed.kind.index), where=cell.inside[patch])
    _sprinkle(random, canvas, stain)
    return _photograph(random, canvas), mask


def objects(sample: Sample) -> list[dict[str, Any]]:
    """Lists the cells of a picture with their boxes [pixels], uppermost first, without the hidden ones.

    A box spans the whole cell inside the picture, also where another cell covers part of it.
    """
    random, size = _open(sample.image)
    stain = cells.draw_stain(random)
    covered = np.zeros((size, size), bool)
    found: list[dict[str, Any]] = []
    for placed in reversed(list(_populate(random, stain, size))):
        window, patch = placed.overlap(size)
        inside = placed.cell.inside[patch]
        if (inside & ~covered[window]).any():
            found.append(_describe(placed, inside, window[0].start, window[1].start))
        covered[window] |= inside
    return found


def _describe(placed: Placed, inside: np.ndarray, top: int, left: int) -> dict[str, Any]:
    """One object in the schema of S3's JSON files; `inside` is bool, its corner at (top, left)."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    top, left = top + int(rows[0]), left + int(columns[0])
    return {
        "className": CLASSES[placed.kind.index].name,
        "classIdx": placed.kind.index,
        "posX": left + width // 2,
        "posY": top + height // 2,
        "bboxW": width,
        "bboxH": height,
        "tlX": left,
        "tlY": top,
    }


def _open(reference: str) -> tuple[Generator, int]:
    """Turns `seed=0/size=224/train/12` into a fresh stream of random numbers and the size."""
    seed, size, split, index = reference.split("/")
    edge = int(size.removeprefix("size="))
    entropy = [int(seed.removeprefix("seed=")), edge, STREAMS[split], int(index)]
    return Generator(PCG64(SeedSequence(entropy))), edge


def _populate(random: Generator, stain: cells.Stain, size: int) -> Iterator[Placed]:
    """Draws the cells of a picture in the order in which they lie on each other."""
    places = _spread(random, _census(random, size), size)
    for kind, (x, y) in reversed(places):  # white cells were given room first, and are painted last
        cell = kind.draw(random, stain)
        reach = len(cell.opacity) // 2
        yield Placed(kind, cell, int(y) - reach, int(x) - reach)


def _census(random: Generator, size: int) -> list[Kind]:
    """Draws which cells a picture holds: white cells, then platelets, then red cells."""

    def number(low: float, high: float, margin: float = 0.0) -> int:
        area = (size + 2 * margin) ** 2 / AREA
        return int(random.uniform(low, high) * area + random.random())

    white = [WHITE[int(random.integers(len(WHITE)))] for _ in range(number(0.7, 2.1))]
    platelets = [CLUMP] * number(0.2, 0.7) + [THROMBOCYTE] * number(1.0, 3.0)
    share = random.uniform(0.2, 0.75)
    count = number(8.0, 14.0, HEALTHY.margin)
    return [*white, *platelets, *(INFECTED if random.random() < share else HEALTHY for _ in range(count))]


def _spread(
    random: Generator, kinds: Sequence[Kind], size: int, tries: int = 12
) -> list[tuple[Kind, tuple[float, float]]]:
    """Gives each cell a place (x, y) [pixels] apart from the earlier ones, or the freest it found."""
    places = np.zeros((len(kinds), 2))
    radii = np.array([kind.radius for kind in kinds])
    for number, kind in enumerate(kinds):
        candidates = random.uniform(-kind.margin, size + kind.margin, (tries, 2))
        crowding = kind.crowding[int(random.random() < 0.15)]
        x, y = (candidates[:, None, :] - places[:number]).transpose(2, 0, 1)
        room = np.sqrt(x * x + y * y) / (radii[:number] + kind.radius)
        nearest = room.min(axis=1, initial=9.0)
        free = np.flatnonzero(nearest >= crowding)
        places[number] = candidates[free[0] if len(free) else nearest.argmax()]
    return [(kind, (x, y)) for kind, (x, y) in zip(kinds, places.tolist(), strict=True)]


def _sprinkle(random: Generator, canvas: np.ndarray, stain: cells.Stain) -> None:
    """Scatters grains of precipitated stain, which no mask shows, over canvas float32 (3, size, size)."""
    size, patch = canvas.shape[1], 12
    for _ in range(int(random.uniform(0, 6) * size * size / AREA + random.random())):
        top, left = random.integers(0, size - patch, 2).tolist()
        radius, strength = random.uniform(0.8, 2.4), random.uniform(0.25, 0.8)
        grain = cells.edge(radius - cells.grid(patch).radius) * strength
        below = canvas[:, top : top + patch, left : left + patch]
        below += (stain.dark - below) * grain


def _photograph(random: Generator, canvas: np.ndarray) -> np.ndarray:
    """Adds lamp, lens and sensor: canvas float32 (3, size, size), 0-255, to uint8 (size, size, 3)."""
    size = canvas.shape[1]
    steps = (np.arange(size, dtype=np.float32) * (2 / size) - 1)[None, :]
    slope_x, slope_y = random.uniform(-0.05, 0.05, 2).tolist()
    vignette, blur = random.uniform(0.0, 0.06), random.uniform(0.06, 0.2)
    gain = random.uniform(0.95, 1.02) * random.uniform(0.985, 1.015, 3)
    across = 1 + slope_x * steps - vignette * steps * steps
    down = slope_y * steps - vignette * steps * steps
    light = across + down.T + _film(random, size)
    canvas *= light * gain.astype(np.float32)[:, None, None]
    _soften(canvas, blur)
    canvas += _noise(random, canvas.size).reshape(canvas.shape) * random.uniform(1.2, 3.6)
    np.clip(canvas, 0, 255, out=canvas)
    canvas += 0.5
    return np.ascontiguousarray(canvas.astype(np.uint8).transpose(1, 2, 0))


def _noise(random: Generator, count: int) -> np.ndarray:
    """Noise of mean 0 and deviation 1, float32 (count,): heads among 16 coins, which is close to normal."""
    words = random.bit_generator.random_raw(-(-count // 4)).astype("<u8", copy=False)
    heads = np.bitwise_count(words.view("<u2")[:count]).astype(np.float32)
    heads -= 8
    heads *= 0.5
    return heads


def _film(random: Generator, size: int) -> np.ndarray:
    """Faint unevenness of the dried plasma, float32 (size, size), mean 0."""
    top, left = random.integers(0, cells.TILE, 2).tolist()
    rows, columns = np.arange(top, top + size) % cells.TILE, np.arange(left, left + size) % cells.TILE
    return cells.mottle(8)[rows[:, None], columns] * random.uniform(0.001, 0.009)


def _soften(canvas: np.ndarray, weight: float) -> None:
    """Blurs in place with [weight, 1 - 2 * weight, weight] along both axes, all but the outermost pixels."""
    for view in (canvas, canvas.transpose(0, 2, 1)):
        sides = view[:, :-2] + view[:, 2:]
        sides *= weight
        view[:, 1:-1] *= 1 - 2 * weight
        view[:, 1:-1] += sides


SPEC = DatasetSpec(
    title="Generated blood smear",
    classes=CLASSES,
    read=read,
    load=load,
    objects=objects,
    licence="MIT, like the code that draws it",
    citation="Generated by cytobench; classes, colours and densities after A. Banerjee's blood cell data set",
    homepage="https://github.com/abhanjac/blood_cell_image_segmentation",
    generated=True,
    options={"train": 128, "val": 32, "test": 64, "size": 224, "seed": 0, "sprites": "", "partial": "none"},
    configure=configure,
)
