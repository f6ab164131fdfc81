"""Shared by data sets made of files: find images and masks, pair them by stem, read them with clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
Image.MAX_IMAGE_PIXELS = 2**28  # a larger picture is refused by Pillow rather than filling the memory


def pairs(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Images and masks of equal stem, sorted by stem.

    Returns:
        (stem, image file, mask file) each.
    Raises:
        DataError: If a folder is missing or empty, a stem stands twice, or an image or mask has no partner.
    """
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    for present, absent, what in ((image_files, mask_files, "mask"), (mask_files, image_files, "image")):
        alone = sorted(present.keys() - absent.keys())
        if alone:
            folder = masks if what == "mask" else images
            raise DataError(
                f"{len(alone)} of {len(present)} files have no {what}, the first is {present[alone[0]]}. "
                f"Put {folder / alone[0]}.png there (same stem), or remove the file."
            )
    return [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]


def read_rgb(path: Path) -> np.ndarray:
    """An image file as RGB, uint8 (H, W, 3).

    Raises:
        DataError: If the file cannot be decoded or has more than 8 bits per channel.
    """
    with opened(path) as image:
        return np.asarray(image.convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """An image file as 8-bit grey (Pillow's mode L), uint8 (H, W).

    Raises:
        DataError: If the file cannot be decoded or has more than 8 bits per channel.
    """
    with opened(path) as image:
        return np.asarray(image.convert("L"))


def opened(path: Path) -> Image.Image:
    """An image file, decoded to its end.

    Raises:
        DataError: If the file cannot be decoded or has more than 8 bits per channel.
    """
    try:
        with path.open("rb") as file:
            image = Image.open(file)
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image: {error}. Replace the file, or remove it and its partner."
        ) from error
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{path} has more than 8 bits per channel (mode {image.mode}). Convert it to 8 bits first.")
    return image


def check_sizes(image: np.ndarray, mask: np.ndarray, image_path: Path, mask_path: Path) -> None:
    """Refuse a pair whose heights or widths differ.

    Raises:
        DataError: Naming both files and both sizes.
    """
    if image.shape[:2] != mask.shape[:2]:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
        raise DataError(
            f"{image_path} is {width}x{height} but its mask {mask_path} is {mask_width}x{mask_height}. "
            "Both must have the same size; replace one of them."
        )


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. It must hold files of type {', '.join(SUFFIXES)}.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(f"{files[path.stem]} and {path} have the same stem. Rename or remove one of them.")
        files[path.stem] = path
    if not files:
        raise DataError(f"The folder {folder} holds no images. It must hold files of type {', '.join(SUFFIXES)}.")
    return files
