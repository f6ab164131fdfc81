"""Shared by data sets made of files: what a user may have done to an image and its mask while they are read.

    threshold=127|otsu|triangle     a mask pixel above it is foreground (a fixed one: 0 to 254)
    blur=0                          edge of the square over which a mask is averaged before the threshold [pixels]
    colour=rgb|hsv|lab|grey         what the three channels of an image hold, each as 0 to 255
    order=rgb|bgr                   the channels as they are, or last to first
    gamma=1.0                       v becomes 255 (v/255)^gamma: above 1 is darker
    sharpen=0.0                     k: a 3x3 kernel of 1+8k with -k around it
    normalise=none|stretch          an image's 0.5th and 99.5th percentile become 0 and 255, all channels alike

In this order: stretch, gamma, sharpening, colour, order; blur, threshold. The defaults change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from PIL import Image

from bench.errors import DataError
from bench.specs import Option

from ._files import eight_bits

WORDS = {
    "colour": ("rgb", "hsv", "lab", "grey"),
    "order": ("rgb", "bgr"),
    "normalise": ("none", "stretch"),
}
METHODS = ("otsu", "triangle")
WIDEST_BLUR, GAMMAS, SHARPEST = 99, (0.1, 10.0), 10.0
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How images and masks are read; see above for the meaning of each field.

    Attributes:
        threshold: None leaves masks as they are, for data sets whose masks hold classes.
    """

    threshold: int | str | None = None
    blur: int = 0
    colour: str = "rgb"
    order: str = "rgb"
    gamma: float = 1.0
    sharpen: float = 0.0
    normalise: str = "none"

    @property
    def for_masks(self) -> bool:
        """Whether masks are not read as they are."""
        return self.threshold is not None or self.blur > 0

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """What an RGB image, uint8 or uint16 (H, W, 3), is read as: uint8 (H, W, 3)."""
        if self.normalise == "stretch":
            pixels = _stretched(pixels)
        pixels = eight_bits(pixels)
        if self.gamma != 1:
            pixels = gamma_table(self.gamma)[pixels]
        if self.sharpen:
            pixels = _sharpened(pixels, self.sharpen)
        pixels = _coloured(pixels, self.colour)
        return pixels if self.order == "rgb" else np.ascontiguousarray(pixels[..., ::-1])

    def mask(self, grey: np.ndarray) -> np.ndarray:
        """1 where a grey mask, uint8 (H, W), is foreground, else 0: uint8 (H, W).

        A mask of one value has no threshold of its own; 127 is taken for it.

        Raises:
            DataError: If there is no threshold.
        """
        if self.threshold is None:
            raise DataError("A mask cannot be made binary without a threshold. Set threshold=127, otsu or triangle.")
        if self.blur > 1:
            from scipy.ndimage import uniform_filter

            grey = np.rint(uniform_filter(grey.astype(np.float32), self.blur, mode="mirror")).astype(np.uint8)
        return (grey > _level(grey, self.threshold)).astype(np.uint8)


OPTIONS: Mapping[str, Option] = asdict(Reading(threshold=127))
"""The options of a data set with binary masks, with their defaults."""


def chosen(where: str, options: Mapping[str, object]) -> Reading:
    """A reading with these options in effect.

    Args:
        where: What the message of an error says they stand in.
        options: Fields of Reading; those left out keep its defaults.
    Raises:
        DataError: If an option is unknown or its value is not allowed.
    """
    known = [field.name for field in fields(Reading)]
    for key, value in options.items():
        if key not in known:
            raise DataError(f"{where}: there is no option {key!r}. There are: {', '.join(known)}.")
        allowed = _refusal(key, value)
        if allowed:
            raise DataError(f"{where}: {key} is {value!r}; allowed is {allowed}.")
    return Reading(**dict(options))  # ty: ignore[invalid-argument-type]  # checked above


def gamma_table(gamma: float) -> np.ndarray:
    """What each of the 256 values of a byte becomes, uint8 (256,)."""
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def _refusal(key: str, value: object) -> str | None:
    """What is allowed in place of a wrong value; None for a right one."""
    if key in WORDS:
        return None if value in WORDS[key] else "one of " + ", ".join(WORDS[key])
    if key == "threshold":
        right = value in METHODS if isinstance(value, str) else _is_within(value, 0, 254, whole=True)
        return None if right else f"a whole number from 0 to 254, or one of {', '.join(METHODS)}"
    if key == "blur":
        right = value == 0 or (_is_within(value, 1, WIDEST_BLUR, whole=True) and int(str(value)) % 2 == 1)
        return None if right and not isinstance(value, bool) else f"0, or an odd number of pixels up to {WIDEST_BLUR}"
    low, high = GAMMAS if key == "gamma" else (0.0, SHARPEST)
    return None if _is_within(value, low, high) else f"a number from {low:g} to {high:g}"


def _is_within(value: object, low: float, high: float, *, whole: bool = False) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high


def _level(grey: np.ndarray, threshold: int | str) -> float:
    if not isinstance(threshold, str):
        return threshold
    if grey.size == 0 or grey.min() == grey.max():
        return 127
    from skimage import filters

    return float(filters.threshold_otsu(grey) if threshold == "otsu" else filters.threshold_triangle(grey))


def _stretched(pixels: np.ndarray) -> np.ndarray:
    """The percentiles of all channels together to 0 and 255, uint8; a flat image only loses its depth."""
    low, high = np.percentile(pixels, PERCENTILES)
    if high <= low:
        return eight_bits(pixels)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _sharpened(pixels: np.ndarray, strength: float) -> np.ndarray:
    from scipy.ndimage import correlate

    kernel = np.full((3, 3, 1), -strength, np.float32)
    kernel[1, 1] = 1 + 8 * strength
    sharp = correlate(pixels.astype(np.float32), kernel, mode="mirror")
    return np.rint(sharp.clip(0, 255)).astype(np.uint8)


def _coloured(pixels: np.ndarray, colour: str) -> np.ndarray:
    """RGB bytes in another colour space: hue, saturation, value over 0..255; L* x 2.55, a* + 128, b* + 128; or grey."""
    if colour == "hsv":
        return np.asarray(Image.fromarray(pixels).convert("HSV"))
    if colour == "grey":
        return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=2)
    if colour == "lab":
        from skimage.color import rgb2lab

        lab = rgb2lab(pixels) * np.array([2.55, 1, 1]) + np.array([0, 128, 128])
        return np.rint(lab.clip(0, 255)).astype(np.uint8)
    return pixels
