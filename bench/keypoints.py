"""Where an image can be recognised by a small part of itself, and by what: for finding what was cut out of it.

Points are the extrema of a difference of Gaussians; each is described by the signs of the low frequencies of the patch
around it, which brightness does not change and of which the eight positions follow. Scales are reductions of the native
pixels by 1, 2, 4, .., so that a part and its whole meet at a common one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 512
"""Longest edge at the scale at which images of one size meet [pixels]; see `describe`."""
PATCH = 24  # edge of what describes a point [pixels of its scale]
FREQUENCIES = 8
_MOST = {"finer": 1000, "own": 500, "coarser": 250}  # points of an image at its three scales
_APART = 7  # edge of the window in which a point is the strongest [pixels of its scale]
_TILE = 32  # edge of the squares whose points take turns, so that a part without cells has some [pixels of the scale]
_FAINT = 2.0  # grey levels of difference below which nothing is a point


class Keypoints(NamedTuple):
    """Points of an image at one scale; the strongest of every part of the image first.

    Attributes:
        scale: Native pixels per pixel.
        asked: Whether the image is looked for by these; otherwise smaller ones are found in it by them.
        pixels: (row, column) uint16 (P, 2) [pixels of the scale].
        packed: The signs of their patches, eight to a byte, uint8 (P, 8).
    """

    scale: int
    asked: bool
    pixels: np.ndarray
    packed: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """(row, column) float32 (P, 2) [native pixels]."""
        return (self.pixels + np.float32(0.5)) * np.float32(self.scale)

    @property
    def signs(self) -> np.ndarray:
        """The signs of the patches, bool (P, 8, 8)."""
        return np.unpackbits(self.packed, axis=1).astype(bool).reshape(-1, FREQUENCIES, FREQUENCIES)


def describe(grey: Image.Image) -> tuple[Keypoints, ...]:
    """The points of a grey image (mode L), finest scale first; none where it is too small.

    An image is looked for at its own scale, where it is LARGEST pixels or less, and at the next coarser one. It is
    searched at the next finer one besides: a part of a quarter of its edge, two scales finer, then meets it there.
    """
    own = 1
    while max(grey.size) > LARGEST * own:
        own *= 2
    found: list[Keypoints] = []
    for name, scale in (("finer", own // 2), ("own", own), ("coarser", 2 * own)):
        small = grey.reduce(scale) if scale else grey
        if scale and min(small.size) > PATCH + 4:
            pixels, signs = _points(np.asarray(small, np.float32), _MOST[name])
            packed = np.packbits(signs.reshape(len(signs), FREQUENCIES**2), axis=1)
            found.append(Keypoints(scale, name != "finer", pixels, packed))
    return tuple(found)


def _points(grey: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns uint16 (P, 2) of the points of an image float32 (H, W), and their signs bool (P, 8, 8)."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    fine = gaussian_filter(grey, 1.6)
    strength = np.abs(fine - gaussian_filter(grey, 2.6))
    peak = (strength == maximum_filter(strength, _APART)) & (strength > _FAINT)
    half = PATCH // 2
    peak[:half] = peak[:, :half] = peak[grey.shape[0] - half :] = peak[:, grey.shape[1] - half :] = False
    rows, columns = np.nonzero(peak)
    order = _in_turn(rows // _TILE * grey.shape[1] + columns // _TILE, strength[rows, columns])[:most]
    rows, columns = rows[order], columns[order]
    # 25 pixels, so that the point is in the middle in every position
    windows = np.lib.stride_tricks.sliding_window_view(fine, (PATCH + 1, PATCH + 1)) if len(rows) else fine[None, None]
    patches = windows[rows - half, columns - half] if len(rows) else np.zeros((0, PATCH + 1, PATCH + 1), np.float32)
    signs = np.einsum("ki,pij,lj->pkl", _BASIS, patches, _BASIS, optimize=True) > 0
    signs[:, 0, 0] = False
    return np.stack([rows, columns], axis=1).astype(np.uint16), signs


def _in_turn(tiles: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The order of points int64 (P,) in which the strongest of every tile come first, then the second of every tile."""
    order = np.lexsort((-strength, tiles))
    _, starts, counts = np.unique(tiles[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    return order[np.lexsort((-strength[order], rank))]


_BASIS = np.cos(
    np.pi * np.arange(FREQUENCIES)[:, None] * (2 * np.arange(PATCH + 1) + 1) / (2 * (PATCH + 1)), dtype=np.float64
).astype(np.float32)
"""The lowest functions of the cosine transform of a patch (8, 25)."""
