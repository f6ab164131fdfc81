"""Blood-Cell as one project published it: copies of every pair, made first and dealt to train, valid and test after."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image, ImageOps

OUTSIDE = (188, 198, 188)
COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "": lambda one: one,
    "rotated_90_": lambda one: one.rotate(90),
    "rotated_180_": lambda one: one.rotate(180),
    "rotated_270_": lambda one: one.rotate(270),
    "mirrored_": ImageOps.mirror,
    "flipped_": ImageOps.flip,
}


def write(root: Path, pairs: Iterable[tuple[Path, Path]], edge: int) -> Path:
    """Pad to a square, bicubic to an edge, six copies, shuffle, 80/15/5, images and masks as JPEG; return the tree."""
    made = [
        (f"{name}{image.stem}.jpg", move(one), move(other))
        for image, mask in pairs
        for one, other in [squared(image, mask, edge)]
        for name, move in COPIES.items()
    ]
    random.Random(137).shuffle(made)
    ends = int(0.8 * len(made)), int(0.8 * len(made)) + int(0.15 * len(made))
    for at, (name, *pair) in enumerate(made):
        for kind, picture in zip(("images", "masks"), pair, strict=True):
            target = root / ("train", "valid", "test")[sum(at >= end for end in ends)] / kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.save(target)
    return root


def squared(image: Path, mask: Path, edge: int) -> tuple[Image.Image, Image.Image]:
    """A pair in the middle of a square of the picture's own colour, or a fixed one where that pixel is dark."""
    with Image.open(image) as opened, Image.open(mask) as drawn:
        picture, outline = opened.convert("RGB"), drawn.convert("L")
    width, height = picture.size
    pixel = picture.getpixel((40, height - 10))
    assert isinstance(pixel, tuple)
    longest = max(width, height)
    sheets = (
        Image.new("RGB", (longest, longest), OUTSIDE if min(pixel) < 100 else pixel),
        Image.new("L", (longest, longest)),
    )
    for sheet, one in zip(sheets, (picture, outline), strict=True):
        sheet.paste(one, ((longest - width) // 2, (longest - height) // 2))
    return sheets[0].resize((edge, edge), Image.Resampling.BICUBIC), sheets[1].resize(
        (edge, edge), Image.Resampling.BICUBIC
    )
