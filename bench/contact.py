"""Contact sheets: pictures of a data set with the outlines of their masks, also as augmentation changes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.card import choose
from bench.fit import resize
from bench.prepare import Prepared
from bench.specs import IGNORE, ClassSpec

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from bench.presets import Augment

COLUMNS = 3
EDGE = 480
"""Largest edge of a picture on a sheet of native pictures [pixels]."""
VERSIONS = 5
LINE = 2
"""Width of an outline [pixels]."""
GAP, MARGIN, CAPTION, HEADER = 12, 24, 22, 76  # [pixels]
INK, FAINT, PAPER, WHITE = (24, 24, 27), (113, 113, 122), (250, 250, 249), (255, 255, 255)


class Tile(NamedTuple):
    """One picture of a sheet: image uint8 (H, W, 3), mask uint8 (H, W) of the same size, and what stands below."""

    image: np.ndarray
    mask: np.ndarray
    caption: str


def natives(prepared: Prepared, count: int) -> list[list[Tile]]:
    """Rows of prepared pictures at native proportions, scaled to `EDGE`."""
    tiles = []
    for position in choose(prepared.index.entries, count):
        entry = prepared.index.entries[position]
        image, mask = prepared.native(entry)
        scale = EDGE / max(entry.height, entry.width)
        size = max(1, round(entry.height * scale)), max(1, round(entry.width * scale))
        caption = f"{entry.sample.id}  ({entry.width} x {entry.height})"
        tiles.append(Tile(*resize(image, mask, size), caption))
    return [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]


def augmented(prepared: Prepared, augment: Augment, count: int, size: tuple[int, int]) -> list[list[Tile]]:
    """One row per training picture: as it is at training size, then `VERSIONS` times as training may see it."""
    import torch

    from bench.augment import apply, draw

    training = [prepared.index.entries[position] for position in prepared.split(0, 1)["train"]]
    rows = []
    for number, position in enumerate(choose(training, count)):
        entry = training[position]
        image, mask = resize(*prepared.native(entry), size)
        images, masks = (torch.from_numpy(np.stack([array] * VERSIONS)) for array in (image, mask))
        generator = torch.Generator().manual_seed(number)
        amounts = draw(augment, VERSIONS, generator, square=size[0] == size[1], device=images.device)
        changed, moved = apply(augment, images, masks, amounts)
        versions = zip(changed.float().round().byte().numpy(), moved.numpy(), strict=True)
        rows.append([Tile(image, mask, entry.sample.id), *(Tile(*pair, "") for pair in versions)])
    return rows


def outlined(image: np.ndarray, mask: np.ndarray, classes: Sequence[ClassSpec]) -> np.ndarray:
    """An image uint8 (H, W, 3) with the outlines of its mask uint8 (H, W).

    The outermost `LINE` pixels of every area of a class have its colour, between two white lines of one pixel, so that
    dark colours show; the background has no outline. Ignored pixels are hatched.
    """
    result = _hatched(image, mask == IGNORE)
    line = np.zeros(mask.shape, bool)
    for label in range(1, len(classes)):
        inside = mask == label
        line |= inside & ~_eroded(inside, LINE)
    halo = ~_eroded(~line, 1) & ~line
    result[halo] = WHITE
    colours = np.array([spec.colour for spec in classes], np.uint8)
    result[line] = colours[mask[line]]
    return result


def sheet(title: str, note: str, rows: Sequence[Sequence[Tile]], classes: Sequence[ClassSpec]) -> Image.Image:
    """The picture of a sheet: title, legend, and rows of outlined pictures with their captions."""
    from PIL import Image, ImageDraw

    heights = [max(len(tile.image) for tile in row) for row in rows]
    width = max([760, *(sum(tile.image.shape[1] + GAP for tile in row) - GAP for row in rows)])
    ignored = any((tile.mask == IGNORE).any() for row in rows for tile in row)
    legend = _legend(classes, width, ignored=ignored)
    top = MARGIN + HEADER + legend.height
    captioned = [any(tile.caption for tile in row) for row in rows]
    total = sum(height + (CAPTION if has else 0) + GAP for height, has in zip(heights, captioned, strict=True))
    canvas = Image.new("RGB", (width + 2 * MARGIN, top + total + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(canvas)
    _text(pen, (MARGIN, MARGIN), title, 24, INK, width)
    _text(pen, (MARGIN, MARGIN + 36), note, 14, FAINT, width)
    canvas.paste(legend, (MARGIN, MARGIN + HEADER - 12))
    for row, height, has in zip(rows, heights, captioned, strict=True):
        left = MARGIN
        for tile in row:
            canvas.paste(Image.fromarray(outlined(tile.image, tile.mask, classes)), (left, top))
            _text(pen, (left, top + tile.image.shape[0] + 4), tile.caption, 12, FAINT, tile.image.shape[1])
            left += tile.image.shape[1] + GAP
        top += height + (CAPTION if has else 0) + GAP
    return canvas


def save(picture: Image.Image, path: Path) -> None:
    """Write a sheet as PNG, whole or not at all.

    Raises:
        StoreError: If the file cannot be written.
        DiskFull: If no room is left.
    """
    import io

    from bench.store import write_bytes

    buffer = io.BytesIO()
    picture.save(buffer, "png")
    write_bytes(path, buffer.getvalue())


def _hatched(image: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """A copy of the image whose ignored pixels are pale, with diagonal lines."""
    result = np.array(image)
    rows, columns = np.indices(ignored.shape)
    stripes = (rows + columns) % 8 < 2
    result[ignored] = 160 + result[ignored] // 4
    result[ignored & stripes] -= 50
    return result


def _eroded(area: np.ndarray, width: int) -> np.ndarray:
    """An area bool (H, W) without its outermost pixels, eight neighbours counted; the frame is no border."""
    for axis in (0, 1):
        height = area.shape[axis]
        padded = np.pad(area, [(width, width) if axis == at else (0, 0) for at in (0, 1)], mode="edge")
        area = np.logical_and.reduce([np.take(padded, range(s, s + height), axis) for s in range(2 * width + 1)])
    return area


def _legend(classes: Sequence[ClassSpec], width: int, *, ignored: bool) -> Image.Image:
    """Names of the classes behind squares of their colour, in as many lines as they need."""
    from PIL import Image, ImageDraw

    names = [(spec.name, spec.colour) for spec in classes[1:]] + [("ignored", None)] * ignored
    places, x, y = [], 0, 0
    for name, _ in names:
        length = min(26 + round(_font(14, name).getlength(_clean(name))) + 22, width)
        if x and x + length > width:
            x, y = 0, y + 24
        places.append((x, y))
        x += length
    legend = Image.new("RGB", (width, y + 28), PAPER)
    pen = ImageDraw.Draw(legend)
    for (name, colour), (x, y) in zip(names, places, strict=True):
        swatch = np.full((16, 16, 3), colour or 200, np.uint8)
        if colour is None:
            swatch = _hatched(swatch, np.ones((16, 16), bool))
        legend.paste(Image.fromarray(swatch), (x, y + 2))
        pen.rectangle((x, y + 2, x + 15, y + 17), outline=(200, 200, 200))
        _text(pen, (x + 24, y + 2), name, 14, INK, width - 24)
    return legend


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], width: int
) -> None:
    """One line of text, cut short with an ellipsis where it is wider than allowed."""
    text, font = _clean(text), _font(size, text)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    pen.text(at, text, colour, font)


def _clean(text: str) -> str:
    """A name in one line, without control characters, and no longer than any sheet is wide."""
    return "".join(character if character.isprintable() else "?" for character in text[:400])


def _font(size: int, text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; for letters it lacks the one that matplotlib brings along."""
    from PIL import ImageFont

    if text.isascii():
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
