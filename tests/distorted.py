"""Copies of a picture as published projects wrote them to disk, computed pixel by pixel; see the presets of `bench`."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

CENTRES = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7))


def moved(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The image uint8 (H, W, 3) that shows at each pixel what lay at (rows, columns)."""
    planes = [
        map_coordinates(image[..., plane].astype(np.float32), [rows, columns], order=1, mode="nearest")
        for plane in range(3)
    ]
    return np.stack(planes, axis=-1).round().clip(0, 255).astype(np.uint8)


def lenses(image: np.ndarray, amount: float, centres: int = 5) -> np.ndarray:
    """Barrels (amount above 0) or pincushions, one upon the other as they were published, of radius 0.3 widths."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    for x, y in CENTRES[:centres]:
        down, across = rows - y * height, columns - x * width
        distance = np.hypot(down, across).clip(1e-6)
        bent = np.sin(np.pi * distance.clip(max=0.3 * width) / (0.6 * width)) ** amount
        image = moved(image, y * height + down * bent, x * width + across * bent)
    return image


def deformed(image: np.ndarray, sigma: float) -> np.ndarray:
    """Noise blurred over rows, columns and planes, times 1300: what was called deform."""
    random = np.random.RandomState(137)
    fields = [
        gaussian_filter(random.rand(*image.shape) * 2 - 1, sigma, mode="constant")[..., 0] * 1300 for _ in range(2)
    ]
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return moved(image, rows + fields[0], columns + fields[1])


def distorted(image: np.ndarray, largest: float, seed: int) -> np.ndarray:
    """A wide field of at most so many pixels, sigma 40: what was called distort."""
    random = np.random.RandomState(seed)
    fields = [gaussian_filter(random.normal(size=image.shape[:2]), 40, order=order) for order in ((0, 1), (1, 0))]
    scaled = [field / np.abs(field).max() * largest for field in fields]
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return moved(image, rows + scaled[0], columns + scaled[1])


def shrunk(image: np.ndarray) -> np.ndarray:
    """0.8 of the size, in the middle of the colour of the pixel (2, 2)."""
    height, width = image.shape[:2]
    framed = np.broadcast_to(image[2, 2], image.shape).copy()
    small = resized(image, 0.8)
    top, left = (height - len(small)) // 2, (width - small.shape[1]) // 2
    framed[top : top + len(small), left : left + small.shape[1]] = small
    return framed


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((int(width * factor), int(height * factor))))


def encoded(image: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG file gives back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    with Image.open(file) as again:
        return np.asarray(again.convert("RGB"))
