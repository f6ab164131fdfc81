"""What is wrong with mask files as they are stored, before a reader translates them: sizes, values, blurred outlines.

A value forms an area where it fills a square of 3x3 pixels. The pixels outside all such squares are corners, thin
parts, and what a smooth resize or a JPEG left along the outlines: values between those of the areas on both sides, and
many values that hardly form areas at all. These are counted, since no class has them and a threshold or the nearest
colour has to decide. Where a reader does so on purpose (blood_cell, lisc) this is information, not an error.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.findings import Finding, Kind
from bench.specs import IGNORE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # what the readers take
COLOURED = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "PA")
COLOUR = 1 << 24  # what sets a colour apart from a grey value, both as a number
ASIDE = 4  # how far from a pixel the areas beside it are looked for [pixels]
SAMPLED = 20_000  # pixels outside areas that are looked at; more are counted from these
BLURRED = 0.2  # share of the outlines between values from which a mask is blurred; thin parts of classes make less
THIN, SHADES = 0.1, 8  # share of its pixels in areas below which a value is a shade, and shades that are told
FEWEST = 16  # pixels that are told at least
RARE, FEW = 0.05, 2  # a value in a smaller share of the masks, and in no more than so many, stands for no class
KEPT = 256  # values of areas that are remembered of a file
LISTED = 8  # ids, and values, that a finding names

Colour = tuple[int, int, int]
Value = int | Colour
"""A grey value, an index of a palette, or a colour (red, green, blue)."""


class MaskFile(NamedTuple):
    """A mask file as it is stored.

    Attributes:
        format: PNG, JPEG, BMP or TIFF, whatever its suffix says.
        mode: Of its pixels, as Pillow calls it: 1, L, P, RGB, I;16.
        size: Height and width [pixels].
        areas: Every value that forms an area with the pixels of its areas, the largest first, at most KEPT. Grey values
            where all colours are grey; indices where there is a palette.
        colours: What the indices in `areas` look like, in their order; empty without a palette.
        distinct: How many values there are.
        between: Pixels along outlines whose value lies between those of the areas beside them; or, where these are
            more, pixels of values that hardly form areas, if there are many such values. 0 where there is a palette.
        outline: Pixels that differ from the one to the right or below.
    """

    format: str
    mode: str
    size: tuple[int, int]
    areas: tuple[tuple[Value, int], ...]
    colours: tuple[Colour, ...]
    distinct: int
    between: int
    outline: int

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that form areas, the largest first."""
        return tuple(value for value, _ in self.areas)

    @property
    def binary(self) -> bool:
        """Whether black and white are all there is, stored as 0 and 255."""
        return self.mode != "1" and self.distinct == 2 and set(self.values) == {0, 255}

    @property
    def blurred(self) -> bool:
        """Whether more of the outlines lies between values than thin parts of classes explain."""
        return self.between >= max(FEWEST, BLURRED * self.outline)


def inspected(path: Path) -> MaskFile | None:
    """A mask file as it is stored; None where it is no picture that can be read, such as JSON or an array."""
    from PIL import Image

    failures = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
    with contextlib.suppress(*failures), Image.open(path, formats=FORMATS) as image:
        pixels = _stored(image)
        if pixels is None or pixels.size == 0:
            return None
        table = np.array(image.getpalette("RGB"), np.int64).reshape(-1, 3) if image.mode == "P" else None
        return _described(pixels, image.format or "", image.mode, table)
    return None


def filed(
    files: Mapping[str, MaskFile | None],
    sizes: Mapping[str, tuple[int, int]],
    palette: Collection[Value] = (),
    classes: int = 2,
    pixels: Mapping[str, Sequence[int]] | None = None,
) -> list[Finding]:
    """What is wrong with the mask files of a data set; masks that are alike in it share one finding.

    Args:
        files: By id; None where there is no file to look at.
        sizes: Height and width of the images, by id [pixels].
        palette: The values or colours that stand for a class or to be ignored, where they are known. Else those that
            more than a few masks hold do, and the numbers of the classes, and IGNORE.
        classes: How many classes the data set has, the background among them.
        pixels: Of each class in every mask as the reader gave it, by id, as far as it is known: a value that few masks
            hold may be a class that few masks have.
    """
    known = {name: one for name, one in files.items() if one is not None}
    checks = (
        _sized(known, sizes),
        _binary(known),
        _off_palette(known, palette, classes, pixels or {}),
        _blurred(known),
    )
    return [finding for finding in checks if finding is not None]


def counted(names: Sequence[str], of: int) -> str:
    """The beginning of a sentence on some of the masks of a data set."""
    return f"The mask of {names[0]}" if len(names) == 1 else f"{len(names)} of {of} masks"


def _stored(image: Picture) -> NDArray[np.int32] | NDArray[np.uint8] | None:
    """The pixels as numbers (H, W): greys and indices as they are, colours as 24 bits beside COLOUR."""
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32).clip(0, COLOUR - 1)
    if image.mode not in COLOURED:
        return None
    colours = np.asarray(image.convert("RGB"))
    red, green, blue = (colours[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(red)
    wide = colours.astype(np.int32)
    return COLOUR | wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _described(pixels: np.ndarray, form: str, mode: str, table: NDArray[np.int64] | None) -> MaskFile:
    """What `inspected` tells of pixels as numbers (H, W); `table` holds the colours of indices, (N, 3)."""
    differs = np.zeros(pixels.shape, bool)
    differs[:-1] |= pixels[1:] != pixels[:-1]
    differs[:, :-1] |= pixels[:, 1:] != pixels[:, :-1]
    areas = counts = _counts(pixels)
    between = 0
    if len(counts[0]) > 2:
        inside = _areas(pixels)
        areas = _counts(pixels[inside])
        if table is None and inside.any():
            between = max(_between(pixels, inside), _strays(counts, areas))
    values, held = areas
    order = np.argsort(-held, kind="stable")[:KEPT].tolist()
    return MaskFile(
        format=form,
        mode=mode,
        size=(pixels.shape[0], pixels.shape[1]),
        areas=tuple((_value(int(values[at])), int(held[at])) for at in order),
        colours=() if table is None else tuple(_colour(table, int(values[at])) for at in order),
        distinct=len(counts[0]),
        between=between,
        outline=int(np.count_nonzero(differs)),
    )


def _counts(pixels: np.ndarray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that occur, rising, and how often each does: by runs, of which a mask has few."""
    flat = pixels.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, np.int64)
    values, which = np.unique(flat[starts], return_inverse=True)
    found = np.bincount(which, np.diff(starts, append=flat.size), len(values))
    return values.astype(np.int64), found.astype(np.int64)


def _areas(pixels: np.ndarray) -> NDArray[np.bool_]:
    """The pixels that lie in a square of 3x3 pixels of one value, bool (H, W)."""
    flat = (pixels[:, 1:-1] == pixels[:, :-2]) & (pixels[:, 1:-1] == pixels[:, 2:])
    middle = pixels[1:-1, 1:-1]
    centre = flat[:-2] & flat[1:-1] & flat[2:] & (middle == pixels[:-2, 1:-1]) & (middle == pixels[2:, 1:-1])
    inside = np.zeros(pixels.shape, bool)
    height, width = centre.shape
    for down in range(3):
        for right in range(3):
            inside[down : down + height, right : right + width] |= centre
    return inside


def _strays(all_of: tuple[np.ndarray, np.ndarray], areas: tuple[np.ndarray, np.ndarray]) -> int:
    """How many pixels have values that hardly form areas, where these are so many that they are no thin classes.

    Args:
        all_of: Values and their pixels.
        areas: Values that form areas and the pixels of these.
    """
    values, pixels = all_of
    inside = np.zeros(len(values), np.int64)
    inside[np.searchsorted(values, areas[0])] = areas[1]
    stray = inside < THIN * pixels
    return int(pixels[stray].sum()) if np.count_nonzero(stray) >= SHADES else 0


def _between(pixels: np.ndarray, inside: NDArray[np.bool_]) -> int:
    """How many pixels outside the areas have a value between those of the areas within ASIDE pixels.

    A colour lies between where no channel is beyond those beside it and one is truly between.
    """
    rows, columns = np.nonzero(~inside)
    taken = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLED)).astype(np.int64)
    rows, columns = rows[taken], columns[taken]
    window = (2 * ASIDE + 1, 2 * ASIDE + 1)
    beside = np.lib.stride_tricks.sliding_window_view(np.pad(inside, ASIDE), window)[rows, columns]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(pixels, ASIDE), window)[rows, columns]
    shifts = (16, 8, 0) if pixels.dtype != np.uint8 and pixels.max() >= COLOUR else (None,)
    within, truly = np.ones(len(rows), bool), np.zeros(len(rows), bool)
    for shift in shifts:
        own, theirs = (part if shift is None else part >> shift & 255 for part in (pixels[rows, columns], around))
        low = np.where(beside, theirs, np.iinfo(theirs.dtype).max).min(axis=(1, 2))
        high = np.where(beside, theirs, 0).max(axis=(1, 2))
        within &= (low <= own) & (own <= high)
        truly |= (low < own) & (own < high)
    share = np.count_nonzero(within & truly) / max(1, len(rows))
    return round(share * int(np.count_nonzero(~inside)))


def _value(number: int) -> Value:
    return number if number < COLOUR else (number >> 16 & 255, number >> 8 & 255, number & 255)


def _colour(table: NDArray[np.int64], index: int) -> Colour:
    """The colour of an index; black where the palette is shorter, as Pillow shows it."""
    red, green, blue = table[index].tolist() if index < len(table) else (0, 0, 0)
    return red, green, blue


def _sized(files: Mapping[str, MaskFile], sizes: Mapping[str, tuple[int, int]]) -> Finding | None:
    names = [name for name, one in files.items() if name in sizes and one.size != sizes[name]]
    if not names:
        return None
    (height, width), (rows, columns) = sizes[names[0]], files[names[0]].size
    first = f"{columns}x{rows} for an image of {width}x{height}"
    one = f"The mask of {names[0]} is {first}."
    note = one if len(names) == 1 else f"{len(names)} of {len(files)} masks differ in size from their image: {first}."
    measures = {"masks": len(names), "of": len(files), "wider": columns - width, "higher": rows - height}
    return Finding(kind=Kind.SHIFTED, images=tuple(names[:LISTED]), note=note, measures=measures)


def _binary(files: Mapping[str, MaskFile]) -> Finding | None:
    names = [name for name, one in files.items() if one.binary]
    if not names:
        return None
    note = f"{counted(names, len(files))} hold{'s' * (len(names) == 1)} 0 and 255, where classes would be 0 and 1."
    return Finding(
        kind=Kind.BINARY, images=tuple(names[:LISTED]), note=note, measures={"masks": len(names), "of": len(files)}
    )


def _off_palette(
    files: Mapping[str, MaskFile], palette: Collection[Value], classes: int, pixels: Mapping[str, Sequence[int]]
) -> Finding | None:
    """Areas of values that no class has; blurred masks are left out, whose values are those of their outlines."""
    sharp = {name: _seen(one, palette) for name, one in files.items() if not one.blurred and one.format != "JPEG"}
    spread = Counter(value for areas in sharp.values() for value in areas)
    if palette:
        allowed, rare = {_grey(value) for value in palette}, {}
    else:
        few = min(FEW, RARE * len(sharp))
        allowed = {value for value, masks in spread.items() if masks > few} | {*range(classes), IGNORE}
        rare = _rare({name: counts for name, counts in pixels.items() if name in sharp}, few)
    odd = {
        name: {value: count for value, count in areas.items() if value not in allowed} for name, areas in sharp.items()
    }
    strange = {
        name: sum(areas.values())
        for name, areas in odd.items()
        if sum(areas.values()) >= FEWEST and len(areas) > rare.get(name, 0)
    }
    if not strange:
        return None
    names = sorted(strange, key=lambda name: -strange[name])
    values = [value for value, _ in spread.most_common() if any(value in odd[name] for name in names)]
    listed = ", ".join(map(str, values[:LISTED])) + (" .." if len(values) > LISTED else "")
    note = (
        f"{counted(names, len(files))} hold{'s' * (len(names) == 1)} areas of values that stand for no class: {listed}."
    )
    measures = {"masks": len(names), "of": len(files), "values": len(values), "pixels": sum(strange.values())}
    return Finding(kind=Kind.PALETTE, images=tuple(names[:LISTED]), note=note, measures=measures)


def _rare(pixels: Mapping[str, Sequence[int]], few: float) -> Counter[str]:
    """How many classes, of those that no more than a few masks have, each mask has: ids with none are left out."""
    holding = {
        name: [label for label, count in enumerate(counts) if count >= FEWEST] for name, counts in pixels.items()
    }
    masks = Counter(label for labels in holding.values() for label in labels)
    return Counter(name for name, labels in holding.items() for label in labels if masks[label] <= few)


def _seen(file: MaskFile, palette: Collection[Value]) -> dict[Value, int]:
    """The areas of a file by value; by colour where it has a palette and the classes are told by colours."""
    by_colour = file.colours and any(isinstance(value, tuple) for value in palette)
    values = map(_grey, file.colours if by_colour else file.values)
    return dict(zip(values, (pixels for _, pixels in file.areas), strict=True))


def _grey(value: Value) -> Value:
    """A grey colour as its value."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _blurred(files: Mapping[str, MaskFile]) -> Finding | None:
    names = sorted((name for name, one in files.items() if one.blurred), key=lambda name: -files[name].between)
    if not names:
        return None
    pixels = sum(files[name].between for name in names)
    share = pixels / sum(files[name].size[0] * files[name].size[1] for name in names)
    kinds = " and ".join(sorted({files[name].format for name in names}))
    note = (
        f"{counted(names, len(files))} ({kinds}) hold{'s' * (len(names) == 1)} values between those of the classes "
        f"along the outlines, {pixels} pixels or {share:.2%}: resized smoothly, or stored as JPEG."
    )
    measures = {"masks": len(names), "of": len(files), "pixels": pixels, "share": share}
    return Finding(kind=Kind.GREYS, images=tuple(names[:LISTED]), note=note, measures=measures)
