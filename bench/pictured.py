"""The pictures that somebody names on a command line: found, never among earlier predictions, and read upright."""

from __future__ import annotations

import glob
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MANIFEST = "predictions.json"
KINDS = ("classes.png", "overlay.png", "probabilities.npy")
"""What is written of each picture, behind its name and a hyphen."""


def found(wanted: list[str]) -> list[Path]:
    """The pictures behind files, folders and patterns; each once, in the order they were named.

    What an earlier prediction wrote into a folder is left out, unless it is named itself.

    Raises:
        DataError: If one of them stands for no picture.
    """
    paths: list[Path] = []
    for name in wanted:
        path = Path(name)
        inside = glob.glob(name, recursive=True)  # noqa: PTH207 - Path has no absolute ones
        matched = path.iterdir() if path.is_dir() else map(Path, inside)
        some = [path] if path.is_file() else _pictures(sorted(matched))
        if not some:
            raise DataError(
                f"{name} is no picture, and no folder or pattern with one of {', '.join(SUFFIXES)}. Check it."
            )
        paths += some
    return list({path.resolve(): path for path in paths}.values())


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as data sets made of files are read, RGB uint8 (H, W, 3), but upright: turned as its EXIF says.

    Raises:
        DataError: If the file cannot be decoded, or has more than 16 bits per channel.
    """
    from PIL import ImageOps

    files = importlib.import_module("bench.datasets._files")
    with files.opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in files.DEEP:
            return files.eight_bits(np.repeat(np.asarray(upright).astype(np.uint16)[..., None], 3, axis=2))
        return np.asarray(upright.convert("RGB"))


def turned(path: Path) -> bool:
    """Whether the camera noted that a picture, which can be read, must be turned to be upright."""
    from PIL import Image

    with Image.open(path) as image:  # its header alone
        return image.getexif().get(0x0112, 1) not in (0, 1)


def names(folder: Path) -> set[str]:
    """What the files of each picture begin with that predictions wrote into a folder, by what they noted there."""
    try:
        noted: Any = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return set()
    parts = [noted.get(part) for part in ("images", "earlier")] if isinstance(noted, dict) else []
    return {str(name) for part in parts if isinstance(part, (dict, list)) for name in part}


def _pictures(paths: list[Path]) -> list[Path]:
    """Those that are pictures by their names, without hidden ones and without what was written by a prediction."""
    some = [one for one in paths if one.suffix.lower() in SUFFIXES and one.is_file() and one.name[0] != "."]
    folders = {one.parent for one in some}
    written = {folder / f"{name}-{kind}" for folder in folders for name in names(folder) for kind in KINDS}
    return [one for one in some if one not in written]
