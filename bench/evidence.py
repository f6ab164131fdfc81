"""The pictures that show what an audit found: pairs laid upon each other, crops in their place, outlines enlarged.

Images are uint8 (H, W, 3), masks uint8 (H, W).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import contact, thumbnails
from bench.fit import resize
from bench.presets import SYMMETRIES
from bench.specs import ClassSpec

Pixels = NDArray[np.uint8]
EDGE = 288
"""Longer edge of a picture [pixels]."""
SMALL = 132
"""The same where many stand together."""
QUALITY = 78
SQUARES = 6
"""Of a chequerboard along the longer edge."""
CLOSE = 160
"""Width of what is cut out and enlarged to show where an outline runs [pixels of the image]."""
CLOSER = 40
"""The same where single pixels of a mask file are to be seen."""
GAIN = 4
"""What differences are multiplied by, to be seen."""
RED = (230, 40, 30)
FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "GIF")
"""Of mask files; Pillow hands some others to programs of their own."""
SHAPE = 0.08
"""By how much the shape of a box may differ from that of its crop; beyond, the two overlap but in part."""
VALUES = 32
"""Mask values below which a file is class numbers, all but black unless it is stretched."""


class Shot(NamedTuple):
    """A picture as the bytes of a JPEG or PNG, and what it shows; `crisp` where its pixels are to be seen."""

    data: bytes
    caption: str
    crisp: bool = False


def undo(image: NDArray, position: str) -> NDArray:
    """Turn an image (H, W, ...) that lies in a position back, so that it lies as it did before.

    Args:
        image: What became of an image by `position`.
        position: A key of `bench.presets.SYMMETRIES`.
    """
    rows, columns, transposed = SYMMETRIES[position]
    turned = image[:: -1 if rows else 1, :: -1 if columns else 1]
    return turned.swapaxes(0, 1) if transposed else turned


def pair(first: Pixels, second: Pixels, position: str) -> list[Shot]:
    """Two images side by side, then the second laid upon the first in two ways.

    Args:
        first: One image.
        second: The other; may be of another size.
        position: How it lies upon the first.
    """
    one, back = thumbnails.image(first, EDGE), np.ascontiguousarray(undo(second, position))
    back = resize(back, np.zeros(back.shape[:2], np.uint8), one.shape[:2])[0]
    turned = [] if position == "none" else [Shot(_jpeg(back), "second, turned back upon the first")]
    return [
        Shot(_jpeg(one), "first"),
        Shot(_jpeg(thumbnails.image(second, EDGE)), "second"),
        *turned,
        Shot(_jpeg(chequered(one, back)), "both, in alternating squares"),
        Shot(_jpeg(difference(one, back)), f"difference, × {GAIN}: dark is equal"),
    ]


def crop(inner: Pixels, outer: Pixels, box: tuple[int, int, int, int] | None, position: str) -> list[Shot]:
    """An image within another: the place in the outer one, and both views of it."""
    if box is None:
        return [Shot(_jpeg(thumbnails.image(one, EDGE)), text) for one, text in ((inner, "crop"), (outer, "around it"))]
    left, top, right, bottom = _within(box, outer)
    one, cut = thumbnails.image(inner, EDGE), np.ascontiguousarray(undo(outer[top:bottom, left:right], position))
    located = _boxed(thumbnails.image(outer, EDGE), (left, top, right, bottom), outer.shape[:2])
    shots = [Shot(_jpeg(located), "the outer image, with the place of the crop"), Shot(_jpeg(one), "the crop")]
    stretch = (cut.shape[1] / cut.shape[0]) / (inner.shape[1] / inner.shape[0])
    if abs(stretch - 1) > SHAPE:
        return [*shots, Shot(_jpeg(thumbnails.image(cut, EDGE)), "what the outer image has of it")]
    cut = resize(cut, np.zeros(cut.shape[:2], np.uint8), one.shape[:2])[0]
    return [
        *shots,
        Shot(_jpeg(cut), "the same place, cut out of the outer image"),
        Shot(_jpeg(chequered(one, cut)), "both, in alternating squares"),
    ]


def misplaced(
    image: Pixels, mask: Pixels, classes: Sequence[ClassSpec], shift: tuple[float, float] | None
) -> list[Shot]:
    """A mask on its image, whole and enlarged where there is most outline; and, where it is known, where it fits.

    Args:
        image: The image.
        mask: Its mask.
        classes: What the mask says.
        shift: By how much the mask has to move to fit (right, down) [pixels]; None where that is unknown.
    """
    place = _place(_outline(mask), CLOSE)
    shots = [
        Shot(_jpeg(_located(_outlined(image, mask, classes, EDGE), place, mask.shape)), "the outline of the mask"),
        Shot(_jpeg(_outlined(image[place], mask[place], classes, EDGE)), "enlarged"),
    ]
    if shift is not None:
        moved = moved_by(mask, *(round(length) for length in shift))
        text = f"moved by {_signed(shift[0])} right, {_signed(shift[1])} down [pixels]"
        shots.append(Shot(_jpeg(_outlined(image[place], moved[place], classes, EDGE)), text))
    return shots


def sparse(image: Pixels, mask: Pixels, classes: Sequence[ClassSpec]) -> list[Shot]:
    """A mask of few foreground pixels: the image, and what surrounds the most of them."""
    inside = (mask > 0) & (mask < len(classes))
    whole = _outlined(image, mask, classes, EDGE)
    if not inside.any():
        return [Shot(_jpeg(whole), "the image; its mask has no foreground")]
    place = _place(_outline(inside), CLOSE // 2)
    return [
        Shot(_jpeg(_located(whole, place, mask.shape)), "the outline of the mask"),
        Shot(_jpeg(_outlined(image[place], mask[place], classes, EDGE)), "enlarged where the most foreground is"),
        Shot(_jpeg(_enlarged(image[place])), "the same place without the mask"),
    ]


def raw(path: Path, image: Pixels, mask: Pixels) -> list[Shot]:
    """The place of a mask file that holds the most pixels of rare values, enlarged; nothing where it is no picture.

    The values that are right are not known here: taken for them are the most frequent ones, as many as there are
    classes in the mask that was read from the file.
    """
    found, classes = _file(path), np.unique(mask).size
    if found is None:
        return []
    codes = found if found.ndim == 2 else (found.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(2)
    if found.ndim == 2:
        counts = np.bincount(found.ravel())
        kinds, counts = np.flatnonzero(counts), counts[counts > 0]
    else:
        kinds, counts = np.unique(codes, return_counts=True)
    rare = ~np.isin(codes, kinds[np.argsort(-counts, kind="stable")[:classes]])
    whole, text = thumbnails.image(_visible(found), EDGE), "the mask file" + _stretched(found)
    if not rare.any():
        return [Shot(_jpeg(whole), text)]
    place = _place(rare, CLOSER)
    cut, marked = _visible(found)[place], _visible(found)[place].copy()
    marked[rare[place]] = RED
    there = image[place] if image.shape[:2] == codes.shape else None
    rarer = f"{len(kinds) - classes:,} rarer value{'s' * (len(kinds) > classes + 1)}"
    return [
        Shot(_jpeg(_located(whole, place, codes.shape)), text),
        Shot(_blocks(cut), f"enlarged, {cut.shape[1]} pixels wide", crisp=True),
        Shot(_blocks(marked), f"red: {int(rare.sum()):,} pixels of {rarer} in the file", crisp=True),
        *([] if there is None else [Shot(_blocks(there), "the image there", crisp=True)]),
    ]


def small(image: Pixels) -> Shot:
    """One of many."""
    return Shot(_jpeg(thumbnails.image(image, SMALL)), "")


def chequered(first: Pixels, second: Pixels) -> Pixels:
    """Two images of one size in alternating squares: where they fit, lines run on across the borders."""
    edge = max(1, -(-max(first.shape[:2]) // SQUARES))
    rows, columns = np.indices(first.shape[:2]) // edge
    return np.where(((rows + columns) % 2 == 0)[..., None], first, second)


def difference(first: Pixels, second: Pixels) -> Pixels:
    """How far apart two images of one size are, times GAIN, as greys; brightness and contrast are matched before."""
    one, other = (image.astype(np.float64).mean(2) for image in (first, second))
    spread = other.std()
    if spread > 0:
        other = (other - other.mean()) * (one.std() / spread) + one.mean()
    apart = np.minimum(255, GAIN * np.abs(one - other)).astype(np.uint8)
    return np.repeat(apart[..., None], 3, axis=2)


def moved_by(mask: Pixels, right: int, down: int) -> Pixels:
    """A mask moved by whole pixels; what comes in from outside is background."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    rows, columns = slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right))
    source = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
    if abs(down) < height and abs(right) < width:
        moved[rows, columns] = mask[source]
    return moved


def _stretched(file: Pixels) -> str:
    """What to say where a mask file is shown brighter than it is."""
    return ", brightened" if file.max(initial=0) < VALUES else ""


def _visible(file: Pixels) -> Pixels:
    """A mask file uint8 (H, W) or (H, W, 3) as an image; class numbers are spread over the greys."""
    top = int(file.max(initial=0))
    greys = (file.astype(np.uint16) * 255 // max(1, top)).astype(np.uint8) if top < VALUES else file
    return np.repeat(greys[..., None], 3, axis=2) if greys.ndim == 2 else greys


def _file(path: Path) -> Pixels | None:
    """A mask file uint8 (H, W) of greys or palette indices, or uint8 (H, W, 3) of colours; None if it is no picture."""
    from PIL import Image

    wrong = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
    with contextlib.suppress(*wrong), Image.open(path, formats=FORMATS) as opened:
        plain = "L" if opened.mode == "1" else "RGB"
        return np.asarray(opened if opened.mode in ("L", "P") else opened.convert(plain))
    return None


def _outline(mask: NDArray) -> NDArray[np.bool_]:
    """Where a mask changes, bool (H, W); its foreground, or all of it, where it does not."""
    changes = np.zeros(mask.shape, bool)
    changes[1:] |= mask[1:] != mask[:-1]
    changes[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    return changes if changes.any() else np.ones(mask.shape, bool)


def _place(wanted: NDArray[np.bool_], edge: int) -> tuple[slice, slice]:
    """The window 4:3 of a width, or as much of it as there is, that holds the most wanted pixels; amid of equals."""
    height, width = wanted.shape
    tall, wide = min(edge * 3 // 4, height), min(edge, width)
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = wanted.cumsum(0).cumsum(1)
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    best = np.argwhere(inside == inside.max())
    top, left = best[np.abs(best - best.mean(0)).sum(1).argmin()]
    return slice(int(top), int(top) + tall), slice(int(left), int(left) + wide)


def _outlined(image: Pixels, mask: Pixels, classes: Sequence[ClassSpec], edge: int) -> Pixels:
    """An image brought to an edge, up or down, with the outline of its mask."""
    factor = edge / max(mask.shape)
    size = max(1, round(mask.shape[0] * factor)), max(1, round(mask.shape[1] * factor))
    return contact.outlined(*resize(np.ascontiguousarray(image), np.ascontiguousarray(mask), size), classes)


def _enlarged(image: Pixels) -> Pixels:
    factor = EDGE / max(image.shape[:2])
    size = max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))
    return resize(np.ascontiguousarray(image), np.zeros(image.shape[:2], np.uint8), size)[0]


def _boxed(small: Pixels, box: tuple[int, int, int, int], of: tuple[int, int]) -> Pixels:
    """A picture of an image of a height and width, with a box (left, top, right, bottom) [pixels of that image]."""
    from PIL import Image, ImageDraw

    shown = Image.fromarray(small)
    scale = shown.width / of[1], shown.height / of[0]
    left, top, right, bottom = (round(at * scale[axis % 2]) for axis, at in enumerate(box))
    pen = ImageDraw.Draw(shown)
    for width, colour in ((5, (255, 255, 255)), (3, RED)):  # shows on bright and on dark
        out = width // 2
        outer = left - out, top - out, max(left, right - 1) + out, max(top, bottom - 1) + out
        pen.rectangle(outer, None, colour, width)
    return np.asarray(shown)


def _located(small: Pixels, place: tuple[slice, slice], of: tuple[int, int]) -> Pixels:
    """A picture of an image with a box around what is enlarged beside it; none around all of it."""
    rows, columns = place
    whole = rows.stop - rows.start, columns.stop - columns.start
    return small if whole == of else _boxed(small, (columns.start, rows.start, columns.stop, rows.stop), of)


def _within(box: tuple[int, int, int, int], image: Pixels) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) as far as it lies in an image, at least a pixel of it."""
    height, width = image.shape[:2]
    left, top = min(max(0, box[0]), width - 1), min(max(0, box[1]), height - 1)
    return left, top, max(left + 1, min(box[2], width)), max(top + 1, min(box[3], height))


def _jpeg(pixels: Pixels) -> bytes:
    return thumbnails.encoded(pixels, QUALITY).tobytes()


def _blocks(pixels: Pixels) -> bytes:
    """Few pixels, none of them changed: a PNG that the page enlarges."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "png")
    return buffer.getvalue()


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
