"""The copies that three published projects made of every image before they split: the same turns, bends and shifts.

Image and mask are first made square as there, and shrunk to 512 pixels where they are larger. What was not taken over:
files saved as JPEG, LISC cut to its upper left 512 x 512, and quarter turns about a point half a pixel off the middle;
masks hold classes here, so that they are moved to the nearest pixel where colours were mixed. What was: `distorted_`
copies whose mask is bent in another way than the image, so that their labels are wrong.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.protocols import Protocol
from bench.specs import Copies, Sample

EDGE = 512
SEED = 137
CENTRES = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7))
"""Of the discs that barrel and pincushion bend one after the other, (x, y) as shares of the edge."""
RADIUS = 0.3
BLUR = 40.0  # of the field that distorts [pixels]
STRENGTH = 1300.0  # of the field that deforms
OUTSIDE = (188, 198, 188)
"""The colour that seed 0 pads with where the corner of a picture is too dark."""

Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]
Move = Callable[[Pixels, Pixels, str], Pair]
"""An image uint8 (S, S, 3), its mask uint8 (S, S) and its id, to a copy of both."""
Native = Callable[[str], Pair]
"""The id of an image to its pixels and mask at native size."""


class Field(NamedTuple):
    """Where each pixel of a copy comes from: rows and columns float64 (S, S) [pixels]."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


def listed(samples: Sequence[Sample], protocol: Protocol) -> list[Sample]:
    """The copies of all samples, named as they were published; nothing is drawn yet.

    Under as-published every copy is a source of its own, so that a split parts them; official splits are ignored.

    Raises:
        DataError: If a copy would be called like another sample.
    """
    found = [
        Sample(
            id=prefix + one.id,
            image=f"{prefix}/{one.id}",
            mask=f"{prefix}/{one.id}",
            source=prefix + one.id if protocol.leaks else one.source or one.id,
            label=one.label,
        )
        for one in samples
        for prefix in MOVES[protocol.copies]
    ]
    seen: set[str] = set()
    for copy in found:
        if copy.id in seen:
            raise DataError(
                f"Two copies would be called {copy.id!r}: the data set holds copies already. Use protocol=clean, or "
                "rename the image."
            )
        seen.add(copy.id)
    return found


def photograph(name: str) -> str:
    """The id of the image that a copy, or a copy of a copy, was made of; of any other id, that id."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def load(copies: Copies, native: Callable[[], Native], sample: Sample) -> Pair:
    """A copy: image uint8 (S, S, 3) and mask uint8 (S, S), S at most 512; can be pickled with its first arguments."""
    prefix, _, name = sample.image.partition("/")
    image, mask = squared(copies, *native()(name))
    return MOVES[copies][prefix](image, mask, name)


def stamp(content: str) -> str:
    """Hash of what copies are made from: what is said of the data set's content, and this very file."""
    return hashlib.sha256(content.encode() + Path(__file__).read_bytes()).hexdigest()[:16]


def squared(copies: Copies, image: Pixels, mask: Pixels) -> Pair:
    """Image (H, W, 3) and mask (H, W) in the middle of a square, which is 512 pixels wide or less."""
    from PIL import Image

    height, width = mask.shape
    edge = max(height, width)
    top, left = (edge - height) // 2, (edge - width) // 2
    paper = np.empty((edge, edge, 3), np.uint8)
    paper[:] = _border(copies, image)
    blank = np.zeros((edge, edge), np.uint8)
    paper[top : top + height, left : left + width] = image
    blank[top : top + height, left : left + width] = mask
    if edge <= EDGE:
        return paper, blank
    small = Image.fromarray(paper).resize((EDGE, EDGE), Image.Resampling.BICUBIC)
    return np.asarray(small), np.asarray(Image.fromarray(blank).resize((EDGE, EDGE), Image.Resampling.NEAREST))


def turned(quarters: int, image: Pixels, mask: Pixels, name: str) -> Pair:
    """So many quarter turns to the left."""
    return np.rot90(image, quarters), np.rot90(mask, quarters)


def flipped(axis: int, image: Pixels, mask: Pixels, name: str) -> Pair:
    """Upside down (axis 0), or left to right (axis 1)."""
    return np.flip(image, axis), np.flip(mask, axis)


def deformed(at: int, image: Pixels, mask: Pixels, name: str) -> Pair:
    """Bent by the field of BLURS[at], the same for image and mask, and for every image."""
    field = bent(len(mask), at)
    return _moved(image, field, order=1, mode="nearest"), _moved(mask, field, order=0, mode="nearest")


def distorted(share: float, image: Pixels, mask: Pixels, name: str) -> Pair:
    """Bent by up to a share of the edge: image and mask by fields of their own, as published, so that they part."""
    fields = [swirled(len(mask), share, f"{name}/{what}") for what in ("image", "mask")]
    return _moved(image, fields[0], order=1, mode="constant"), _moved(mask, fields[1], order=0, mode="constant")


def lensed(amount: float, discs: int, image: Pixels, mask: Pixels, name: str) -> Pair:
    """The first of so many discs bent, then the second of the result, and so on; outside nothing is touched."""
    for at in range(discs):
        field = lens(len(mask), at, amount)
        image, mask = _moved(image, field, order=1, mode="constant"), _moved(mask, field, order=0, mode="constant")
    return image, mask


def shrunk(share: float, image: Pixels, mask: Pixels, name: str) -> Pair:
    """Smaller by nearest pixels, in the middle of a sheet of the picture's own border."""
    edge = len(mask)
    small = int(edge * share)
    rows = (np.arange(small) * edge // small)[:, None]
    start = (edge - small) // 2
    inner = slice(start, start + small)
    paper, blank = np.empty_like(image), np.zeros_like(mask)
    paper[:] = _corner(image)
    paper[inner, inner], blank[inner, inner] = image[rows, rows.T], mask[rows, rows.T]
    return paper, blank


BLURS = (8.0, 10.0)
"""Of the fields that deform [pixels]; drawn one after the other from one stream."""


@functools.lru_cache(maxsize=4)
def bent(edge: int, at: int) -> Field:
    """The elastic field of a picture: noise in [-1, 1], blurred over rows, columns and colours, times STRENGTH.

    Colours hardly differ in it; the first stands for all. Source: Simard et al. 2003.
    """
    from scipy.ndimage import gaussian_filter

    random = np.random.RandomState(SEED)
    drawn = [random.rand(edge, edge, 3) * 2 - 1 for _ in range(2 * at + 2)][-2:]
    across, down = (gaussian_filter(noise, BLURS[at], mode="constant")[..., 0] * STRENGTH for noise in drawn)
    rows, columns = np.indices((edge, edge), np.float64)
    return Field(rows + down, columns + across)


def swirled(edge: int, share: float, key: str) -> Field:
    """Noise, blurred and derived along either axis; its largest step that way is a share of the edge."""
    from scipy.ndimage import gaussian_filter

    entropy = int.from_bytes(hashlib.sha256(f"{SEED}/{key}".encode()).digest()[:8])
    noise = np.random.Generator(np.random.PCG64(entropy)).standard_normal((edge, edge))
    across, down = (gaussian_filter(noise, BLUR, order=order) for order in ((0, 1), (1, 0)))
    most = int(edge * share)
    rows, columns = np.indices((edge, edge), np.float64)
    return Field(rows - down * (most / down.max()), columns - across * (most / across.max()))


@functools.lru_cache(maxsize=16)
def lens(edge: int, at: int, amount: float) -> Field:
    """Barrel (amount above 0) or pincushion of one disc: d from its centre comes what lay at d * sin(pi d / 2R)^amount.

    Nearer to the centre for a barrel; from R on everything stays.
    """
    x, y = CENTRES[at]
    rows, columns = np.indices((edge, edge), np.float64)
    down, across = rows - edge * y, columns - edge * x
    distance, radius = np.hypot(down, across), edge * RADIUS
    inside = (distance < radius) & (distance > 0)
    factor = np.ones_like(distance)
    factor[inside] = np.sin(np.pi * distance[inside] / radius / 2) ** amount
    return Field(
        np.where(inside, edge * y + factor * down, rows), np.where(inside, edge * x + factor * across, columns)
    )


def _moved(pixels: Pixels, field: Field, *, order: int, mode: str) -> Pixels:
    """Pixels (S, S) or (S, S, 3) from where a field says, in between (order 1) or the nearest (order 0)."""
    from scipy.ndimage import map_coordinates

    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    moved = [
        map_coordinates(planes[..., at], field, order=order, mode=mode, output=np.uint8)
        for at in range(planes.shape[-1])
    ]
    return moved[0] if pixels.ndim == 2 else np.stack(moved, axis=-1)


def _border(copies: Copies, image: Pixels) -> Pixels:
    """What a picture is padded with: a pixel of its own near a corner."""
    if copies != "seed0":
        return _corner(image)
    height, width = image.shape[:2]
    pixel = image[max(height - 10, 0), min(40, width - 1)]
    return np.array(OUTSIDE, np.uint8) if (pixel < 100).any() else pixel


def _corner(image: Pixels) -> Pixels:
    return image[min(2, len(image) - 1), min(2, image.shape[1] - 1)]


def _still(image: Pixels, mask: Pixels, name: str) -> Pair:
    return image, mask


_TURNS: dict[str, Move] = {f"rotated_{90 * at}_": functools.partial(turned, at) for at in (1, 2, 3)}
_LENSES: dict[str, Move] = {
    f"{kind}distorted_{100 + discs}_0.3_{amount}_": functools.partial(lensed, amount, discs)
    for kind, amount in (("barr", 0.3), ("pinc", -0.3))
    for discs in range(1, len(CENTRES) + 1)
}
_SWIRLS: dict[str, Move] = {
    f"distorted_{share}_rsigma0.5_sigma40_": functools.partial(distorted, share) for share in (0.02, 0.03)
}
MOVES: Mapping[Copies, Mapping[str, Move]] = {
    "seed0": {
        "": _still,
        **_TURNS,
        "mirrored_": functools.partial(flipped, 1),
        "flipped_": functools.partial(flipped, 0),
    },
    "seed2": {
        "": _still,
        **_TURNS,
        **{f"deformed_1300_{blur}_": functools.partial(deformed, at) for at, blur in enumerate(BLURS)},
        **_SWIRLS,
        **_LENSES,
    },
    "seed4": {
        "": _still,
        "hflipped_": functools.partial(flipped, 1),
        "vflipped_": functools.partial(flipped, 0),
        **_TURNS,
        "deformed_alpha_1300_sigmoid_8.0_": functools.partial(deformed, 0),
        **_SWIRLS,
        "shrinked_0_8_": functools.partial(shrunk, 0.8),
        **_LENSES,
    },
}
"""What each project made of an image, by what it put before the name of the file."""
PREFIXES = tuple(dict.fromkeys(prefix for moves in MOVES.values() for prefix in moves if prefix))
