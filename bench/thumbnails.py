"""Small copies of images and masks, as they are stored for the page: a few kilobytes each, read without torch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.fit import resize

EDGE = 256
"""Longer edge of a stored picture [pixels]."""


def size(height: int, width: int, edge: int = EDGE) -> tuple[int, int]:
    """(height, width) with the longer edge brought down to `edge`; as it is when smaller."""
    factor = min(1.0, edge / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def mask(labels: NDArray[np.uint8], edge: int = EDGE) -> NDArray[np.uint8]:
    """A mask uint8 (H, W) by nearest neighbour; the pixels taken are those of `places`, whatever Pillow rounds to."""
    rows, columns = (places(*lengths) for lengths in zip(labels.shape, size(*labels.shape, edge), strict=True))
    return np.ascontiguousarray(labels[rows][:, columns])


def image(pixels: NDArray[np.uint8], edge: int = EDGE) -> NDArray[np.uint8]:
    """An image uint8 (H, W, 3) with antialiasing."""
    small = size(*pixels.shape[:2], edge)
    return resize(pixels, np.zeros(pixels.shape[:2], np.uint8), small)[0]


def places(length: int, small: int) -> NDArray[np.int64]:
    """Which pixels of an axis `mask` takes: those under the middle of the new ones, int64 (small,)."""
    return ((np.arange(small) + 0.5) * length / small).astype(np.int64)


def encoded(pixels: NDArray[np.uint8], quality: int = 90) -> NDArray[np.uint8]:
    """An image uint8 (H, W, 3) as the bytes of a JPEG, uint8 (n,): a tenth of what lossless packing needs."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=quality)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def decoded(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A stored image as uint8 (H, W, 3): what `encoded` made, or pixels as older results hold them.

    Raises:
        StoreError: If it is neither, or larger than anything that is stored.
    """
    from PIL import Image

    if stored.ndim == 3:
        return stored
    try:
        with Image.open(io.BytesIO(stored.tobytes()), formats=["JPEG"]) as found:
            if max(found.size) > 4 * EDGE:
                raise ValueError(f"{found.size} pixels")
            return np.asarray(found.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise StoreError(f"A stored picture is damaged: {error}. Run the study again to write it anew.") from error
