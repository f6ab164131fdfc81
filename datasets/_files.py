"""Shared by data sets made of files: find images and masks, pair them by stem, read them with clear errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from bench.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # what a file may be, whatever its suffix says: the fewer decoders the better
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of 16 bits per pixel
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", *DEEP)
Image.MAX_IMAGE_PIXELS = 2**28  # a larger picture is refused by Pillow rather than filling the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def pairs(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Images and masks of equal stem, sorted by stem; the sizes in their headers agree.

    Returns:
        (stem, image file, mask file) each.
    Raises:
        DataError: If a folder is missing or empty, a stem stands twice, an image or mask has no partner, or their
            sizes differ. `files` lists them all.
    """
    image_files, mask_files = by_stem(images), by_stem(masks)
    for present, absent, what in ((image_files, mask_files, "mask"), (mask_files, image_files, "image")):
        folder = masks if what == "mask" else images
        check_partners(present, absent, what, folder, ".png")
    found = [(stem, image_files[stem], mask_files[stem]) for stem in sorted(image_files)]
    gathered(_check_headers, [(image, mask) for _, image, mask in found])
    return found


def by_stem(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """The files of a folder with these suffixes, by stem; hidden files are left out.

    Raises:
        DataError: If there is no such folder, or no such file in it, or a stem stands twice.
    """
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. It must hold files of type {', '.join(suffixes)}.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(f"{files[path.stem]} and {path} have the same stem. Rename or remove one of them.")
        files[path.stem] = path
    if not files:
        raise DataError(
            f"The folder {folder} holds none of its files. It must hold files of type {', '.join(suffixes)}."
        )
    return files


def check_partners(present: dict[str, Path], absent: Collection[str], what: str, folder: Path, suffix: str) -> None:
    """Refuse files, by stem, whose partner (a `what`, to be put in `folder`) is not among `absent`.

    Raises:
        DataError: Counting them and naming the first; `files` lists them all.
    """
    alone = sorted(present.keys() - set(absent))
    if alone:
        raise DataError(
            f"{len(alone)} of {len(present)} files have no {what}, the first is {present[alone[0]]}. "
            f"Put {folder / alone[0]}{suffix} there (same stem), or remove the file.",
            files=[str(present[stem]) for stem in alone],
        )


def gathered(action: Callable[[Item], Result], items: Collection[Item]) -> list[Result]:
    """What an action gives for every item; where several fail, one error counts them.

    Raises:
        DataError: The only error, or the first with the number of all; `files` lists all.
    """
    results: list[Result] = []
    errors: list[DataError] = []
    for item in items:
        try:
            results.append(action(item))
        except DataError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        files = [file for error in errors for file in error.files]
        raise DataError(f"{len(errors)} of {len(items)} files are wrong, the first: {errors[0]}", files)
    return results


def read_rgb(path: Path) -> np.ndarray:
    """An image file as RGB, uint8 (H, W, 3): grey is repeated, transparency is dropped, 16 bits are scaled to 8.

    Raises:
        DataError: If the file cannot be decoded, or has more than 16 bits per channel.
    """
    return eight_bits(read_deep(path))


def read_deep(path: Path) -> np.ndarray:
    """An image file as RGB as deep as it is: uint16 (H, W, 3) for 16-bit grey, else uint8 (H, W, 3).

    Pillow keeps the high byte of colours of 16 bits.

    Raises:
        DataError: If the file cannot be decoded, or has more than 16 bits per channel.
    """
    with opened(path) as image:
        if image.mode in DEEP:
            return np.repeat(np.asarray(image).astype(np.uint16)[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """An image file as 8-bit grey (Pillow's mode L), uint8 (H, W); 16 bits are scaled to 8.

    Raises:
        DataError: If the file cannot be decoded, or has more than 16 bits per channel.
    """
    with opened(path) as image:
        if image.mode in DEEP:
            return eight_bits(np.asarray(image).astype(np.uint16))
        return np.asarray(image.convert("L"))


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """0..65535 of uint16 to the nearest of 0..255; uint8 as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 x 257


def opened(path: Path) -> Image.Image:
    """An image file, decoded to its end; its mode is one of MODES.

    Raises:
        DataError: If the file cannot be decoded, is a stack of several pictures, or has more than 16 bits per channel.
    """
    return _decoded(path, decode=True)


def check_sizes(image: np.ndarray, mask: np.ndarray, image_path: Path, mask_path: Path) -> None:
    """Refuse a pair whose heights or widths differ.

    Raises:
        DataError: Naming both files and both sizes.
    """
    same_size((image.shape[0], image.shape[1]), (mask.shape[0], mask.shape[1]), image_path, mask_path)


def same_size(image: tuple[int, int], mask: tuple[int, int], image_path: Path, mask_path: Path) -> None:
    """Refuse a pair whose (height, width) differ.

    Raises:
        DataError: Naming both files and both sizes.
    """
    if image != mask:
        raise DataError(
            f"{image_path} is {image[1]}x{image[0]} but its mask {mask_path} is {mask[1]}x{mask[0]}. "
            "Both must have the same size; replace one of them.",
            files=[str(image_path), str(mask_path)],
        )


def one_line(error: object) -> str:
    """The message of somebody else's error without its line breaks."""
    return " ".join(str(error).split())


def _check_headers(pair: tuple[Path, Path]) -> None:
    image, mask = (_decoded(path, decode=False).size for path in pair)
    same_size((image[1], image[0]), (mask[1], mask[0]), *pair)


def _decoded(path: Path, *, decode: bool) -> Image.Image:
    """An image file with its pixels, or its header only; a decoder may raise anything on a damaged file."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which we do not use
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
            frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            if decode:
                image.load()
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as an image: {one_line(error)}. Replace the file, or remove it and its partner.",
            files=[str(path)],
        ) from error
    if frames > 1:
        raise DataError(f"{path} is a stack of {frames} pictures. Save each as a file of its own.", files=[str(path)])
    if image.mode == "I" and image.format == "PNG":  # Pillow before 11.3 has 16-bit grey in 32
        image = image.convert("I;16")
    if image.mode not in MODES:
        raise DataError(
            f"{path} has the pixel type {image.mode} of Pillow, which is not read. Convert it to 8 bits, or 16 bits of "
            "grey, first.",
            files=[str(path)],
        )
    return image
