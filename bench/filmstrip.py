"""The film of a training as one picture: a row for each image, with what it became after every epoch."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import pictures, thumbnails
from bench.film import Watched
from bench.fit import resize
from bench.specs import ClassSpec

if TYPE_CHECKING:
    from PIL import ImageDraw

EDGE = 128
"""Longer edge of a picture of the strip [pixels]."""
GAP, MARGIN, HEADER, CAPTION = 6, 16, 58, 18  # [pixels]
TITLE = 17
"""Height of the letters of the title [pixels]."""
MOST = 60
"""Epochs that one strip shows at most: of more, these are spread evenly."""
INK, FAINT, PAPER, BEST = (24, 24, 27), (113, 113, 122), (250, 250, 249), (213, 94, 0)


class Strip(NamedTuple):
    """What a strip shows.

    Attributes:
        frames: Class maps uint8 (images, h, w) by epoch, in order.
        best: The best of the epochs so far.
    """

    title: str
    watched: Watched
    frames: Mapping[int, NDArray[np.uint8]]
    best: int | None
    classes: Sequence[ClassSpec]


def shown(epochs: Sequence[int], best: int | None, most: int = MOST) -> list[int]:
    """The epochs that a strip shows: all, or the first, the last, the best and others spread evenly between them."""
    if len(epochs) <= most:
        return list(epochs)
    places = np.linspace(0, len(epochs) - 1, most - 1).round().astype(int)
    wanted = {epochs[place] for place in places}
    return [epoch for epoch in epochs if epoch in wanted or epoch == best]


def painted(strip: Strip) -> bytes:
    """The strip as a PNG: image, truth, then the epochs, the best one framed."""
    from PIL import Image, ImageDraw

    rows = [_row(strip, number) for number in range(len(strip.watched.ids))]
    widths = [max(tile.shape[1] for tile in column) for column in zip(*rows, strict=True)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    epochs = list(strip.frames)
    top = MARGIN + HEADER
    width = 2 * MARGIN + sum(widths) + GAP * (len(widths) - 1) + 2 * GAP
    height = top + sum(heights) + (GAP + CAPTION) * len(rows) - GAP + MARGIN
    width = max(width, 2 * MARGIN + 560, 2 * MARGIN + _wide(strip.title, TITLE))
    canvas = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    _text(pen, (MARGIN, MARGIN - 4), strip.title, TITLE, INK)
    captions = ["image", "truth", *(f"{epoch} best" if epoch == strip.best else str(epoch) for epoch in epochs)]
    left = MARGIN
    for place, (caption, wide) in enumerate(zip(captions, widths, strict=True)):
        best = place >= 2 and epochs[place - 2] == strip.best
        _text(pen, (left, top - 20), caption, 13, BEST if best else INK)
        down = top
        for row, high in zip(rows, heights, strict=True):
            tile = row[place]
            canvas.paste(Image.fromarray(tile), (left, down))
            if best:
                box = (left - 3, down - 3, left + tile.shape[1] + 2, down + tile.shape[0] + 2)
                pen.rectangle(box, outline=BEST, width=3)
            down += high + GAP + CAPTION
        left += wide + (3 if place == 1 else 1) * GAP
    down = top
    for name, high in zip(strip.watched.ids, heights, strict=True):
        _text(pen, (MARGIN, down + high + 2), name, 11, FAINT)
        down += high + GAP + CAPTION
    if epochs:
        _text(pen, (MARGIN + sum(widths[:2]) + 4 * GAP, top - 38), "after epoch", 11, FAINT)
    buffer = io.BytesIO()
    canvas.save(buffer, "png", compress_level=6)
    return buffer.getvalue()


def coloured(mask: NDArray[np.uint8], classes: Sequence[ClassSpec]) -> NDArray[np.uint8]:
    """A mask uint8 (H, W) in the colours of its classes, uint8 (H, W, 3); IGNORE, and what is no class, is grey."""
    return np.array(pictures.colours(classes), np.uint8)[pictures.indexed(mask, classes)]


def small(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask at another size (height, width), by nearest neighbour."""
    rows, columns = (thumbnails.places(*lengths) for lengths in zip(mask.shape, size, strict=True))
    return mask[rows][:, columns]


def photograph(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image uint8 (H, W, 3) at another size (height, width), with antialiasing."""
    return resize(image, np.zeros(image.shape[:2], np.uint8), size)[0]


def scaled(height: int, width: int) -> tuple[int, int]:
    """(height, width) with the longer edge brought to EDGE, small ones up."""
    factor = EDGE / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _row(strip: Strip, number: int) -> list[NDArray[np.uint8]]:
    image, truth = strip.watched.images[number], strip.watched.truths[number]
    size = scaled(*truth.shape)
    maps = [truth, *(frame[number] for frame in strip.frames.values())]
    return [photograph(image, size), *(coloured(small(one, size), strip.classes) for one in maps)]


def _wide(text: str, size: int) -> int:
    """How wide a line of text becomes [pixels]."""
    from PIL import ImageFont

    return math.ceil(ImageFont.load_default(size).getlength(text))


def _text(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]) -> None:
    from PIL import ImageFont

    pen.text(at, text, fill=colour, font=ImageFont.load_default(size))
