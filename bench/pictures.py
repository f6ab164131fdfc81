"""Masks, photographs and error maps as picture files: small palettes, colours that colour-blind readers tell apart."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import thumbnails
from bench.specs import IGNORE, ClassSpec

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]
GREY = (128, 128, 128)
GAP = 6
"""Between the parts of a sheet [pixels]."""


class Kind(NamedTuple):
    """What can be said of one pixel of a prediction."""

    name: str
    meaning: str
    colour: Colour


KINDS = (
    Kind("right background", "background called background", (16, 18, 20)),
    Kind("right", "foreground called by its own class", (176, 176, 176)),
    Kind("missed", "foreground called background", (86, 180, 233)),
    Kind("invented", "background called foreground", (213, 94, 0)),
    Kind("confused", "foreground called another foreground class", (240, 228, 66)),
    Kind("ignored", "not counted", (84, 84, 84)),
)
"""In the order of the numbers that `errors` gives; sky blue, vermillion and yellow after Wong 2011."""


def errors(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What became of every pixel: a number of KINDS, uint8 (H, W); IGNORE on either side does not count."""
    found = np.select(
        [
            (truth == IGNORE) | (predicted == IGNORE),
            (truth == 0) & (predicted == 0),
            truth == predicted,
            predicted == 0,
            truth == 0,
        ],
        [5, 0, 1, 2, 3],
        default=4,
    )
    return found.astype(np.uint8)


def error_shares(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> dict[str, float]:
    """Missed, invented and confused pixels as shares of those that count; 0 where none counts."""
    pixels = np.bincount(errors(truth, predicted).ravel(), minlength=len(KINDS))
    total = max(1, int(pixels[:5].sum()))
    return {KINDS[at].name: int(pixels[at]) / total for at in (2, 3, 4)}


def colours(classes: Sequence[ClassSpec]) -> list[Colour]:
    """The colours of classes, and the grey of what is none."""
    return [*(spec.colour for spec in classes), GREY]


def indexed(mask: NDArray[np.uint8], classes: Sequence[ClassSpec]) -> NDArray[np.uint8]:
    """A mask as places in `colours`: IGNORE, and what is no class, becomes the last one."""
    return np.minimum(mask, len(classes)).astype(np.uint8)


def painted(mask: NDArray[np.uint8], classes: Sequence[ClassSpec], edge: int = thumbnails.EDGE) -> bytes:
    """A mask uint8 (H, W) as a PNG in the colours of its classes; IGNORE, and what is no class, is grey."""
    return png(indexed(thumbnails.mask(mask, edge), classes), colours(classes))


def error_map(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], edge: int = thumbnails.EDGE) -> bytes:
    """A PNG of what became of every pixel, in the colours of KINDS."""
    return png(thumbnails.mask(errors(truth, predicted), edge), [kind.colour for kind in KINDS])


def sheet(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: Sequence[ClassSpec]) -> bytes:
    """Truth, prediction and error map side by side, as a PNG."""
    own = colours(classes)
    parts = [indexed(truth, classes), indexed(predicted, classes), errors(truth, predicted)]
    palette = [*own, *(kind.colour for kind in KINDS), (255, 255, 255)]
    gap = np.full((truth.shape[0], GAP), len(palette) - 1)
    shifted = parts[2].astype(np.int64) + len(own)
    return png(np.hstack([parts[0], gap, parts[1], gap, shifted]), palette)


def photograph(image: NDArray[np.uint8], edge: int = thumbnails.EDGE, quality: int = 85) -> bytes:
    """An image uint8 (H, W, 3) as a JPEG: a tenth of the size of its PNG."""
    return thumbnails.encoded(thumbnails.image(image, edge), quality).tobytes()


def outlined(image: NDArray[np.uint8], region: NDArray[np.bool_], edge: int = thumbnails.EDGE) -> bytes:
    """An image as a JPEG, with a yellow line around a region bool (H, W), and a black one around that."""
    from scipy import ndimage

    small = thumbnails.image(image, edge).copy()
    inside = thumbnails.mask(region.astype(np.uint8), edge).astype(bool)
    line = ndimage.binary_dilation(inside, iterations=2)
    small[ndimage.binary_dilation(line) & ~line] = 0
    small[line & ~inside] = KINDS[4].colour
    return thumbnails.encoded(small).tobytes()


def png(places: NDArray[np.integer], palette: Sequence[Colour]) -> bytes:
    """Places in a palette, integers (H, W), as a PNG with as few bits a pixel as the palette needs."""
    from PIL import Image

    if len(palette) > 256:
        return _bytes(Image.fromarray(np.array(palette, np.uint8)[places]), "png", compress_level=6)
    image = Image.fromarray(places.astype(np.uint8))
    image.putpalette(bytes(value for colour in palette for value in colour))
    bits = next(bits for bits in (1, 2, 4, 8) if len(palette) <= 2**bits)
    return _bytes(image, "png", compress_level=6, bits=bits)


def uri(data: bytes) -> str:
    """A PNG or JPEG as a data URI."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def css(colour: Iterable[int]) -> str:
    """A colour as CSS."""
    return f"rgb({' '.join(map(str, colour))})"


def _bytes(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
