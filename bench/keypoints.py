"""Where an image can be recognised by a small part of itself, and by what: for finding what was cut out of it.

Points are the extrema of a difference of Gaussians; each is described by the signs of the low frequencies of the patch
around it, which brightness does not change and of which the eight positions follow. Scales are whole reductions of the
native pixels by 1, 2, 4, .., so that a part and its whole meet at a common one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 512  # longest edge at the finest scale [pixels]
SCALES = 3
PATCH = 24  # edge of what describes a point [pixels of its scale]
FREQUENCIES = 8
_APART = 7  # edge of the window in which a point is the strongest [pixels of its scale]
_MOST = 500  # points per scale, the strongest
_FAINT = 2.0  # grey levels of difference below which nothing is a point


class Keypoints(NamedTuple):
    """Points of an image at one scale.

    Attributes:
        scale: Native pixels per pixel.
        places: (row, column) float32 (P, 2) [native pixels].
        packed: The signs of their patches, eight to a byte, uint8 (P, 8).
    """

    scale: int
    places: np.ndarray
    packed: np.ndarray

    @property
    def signs(self) -> np.ndarray:
        """The signs of the patches, bool (P, 8, 8)."""
        return np.unpackbits(self.packed, axis=1).astype(bool).reshape(-1, FREQUENCIES, FREQUENCIES)


def describe(grey: Image.Image) -> tuple[Keypoints, ...]:
    """The points of a grey image (mode L), finest scale first; none where it is too small."""
    scale = 1
    while max(grey.size) > LARGEST * scale:
        scale *= 2
    small = grey.reduce(scale) if scale > 1 else grey
    found: list[Keypoints] = []
    while len(found) < SCALES and min(small.size) > PATCH + 4:
        places, signs = _points(np.asarray(small, np.float32))
        packed = np.packbits(signs.reshape(len(signs), FREQUENCIES**2), axis=1)
        found.append(Keypoints(scale, (places + 0.5) * np.float32(scale), packed))
        small, scale = small.reduce(2), 2 * scale
    return tuple(found)


def _points(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns float32 (P, 2) of the points of an image float32 (H, W), and their signs bool (P, 8, 8)."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    fine = gaussian_filter(grey, 1.6)
    strength = np.abs(fine - gaussian_filter(grey, 2.6))
    peak = (strength == maximum_filter(strength, _APART)) & (strength > _FAINT)
    half = PATCH // 2
    peak[:half] = peak[:, :half] = peak[grey.shape[0] - half :] = peak[:, grey.shape[1] - half :] = False
    rows, columns = np.nonzero(peak)
    order = np.sort(np.argsort(-strength[rows, columns], kind="stable")[:_MOST])
    rows, columns = rows[order], columns[order]
    # 25 pixels, so that the point is in the middle in every position
    windows = np.lib.stride_tricks.sliding_window_view(fine, (PATCH + 1, PATCH + 1)) if len(rows) else fine[None, None]
    patches = windows[rows - half, columns - half] if len(rows) else np.zeros((0, PATCH + 1, PATCH + 1), np.float32)
    signs = np.einsum("ki,pij,lj->pkl", _BASIS, patches, _BASIS, optimize=True) > 0
    signs[:, 0, 0] = False
    return np.stack([rows, columns], axis=1).astype(np.float32), signs


_BASIS = np.cos(
    np.pi * np.arange(FREQUENCIES)[:, None] * (2 * np.arange(PATCH + 1) + 1) / (2 * (PATCH + 1)), dtype=np.float64
).astype(np.float32)
"""The lowest functions of the cosine transform of a patch (8, 25)."""
