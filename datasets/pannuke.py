"""PanNuke: nuclei in patches of 19 tissues, five types of nuclei; from the npy arrays of its folds.

The folds of Warwick's release as they unpack, each a folder (one is enough), together in a folder or zip; or a folder
with the zips as they are downloaded:

    .../fold1/images/fold1/{images,types}.npy     (N, 256, 256, 3) and the N names of tissues
    .../fold1/masks/fold1/masks.npy               (N, 256, 256, 6): numbered nuclei of each type, then the background

images.npy and masks.npy may also lie in one folder. classes=binary is nucleus against background, classes=types keeps
the five types; where two claim a pixel, the first in the release's order has it. When the folds 1, 2 and 3 are there,
they train, validate and test, as the release proposes; else the patches are split anew.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, DatasetSpec, Option, Release, RemoteFile, Sample, Split

from ._files import one_line

BACKGROUND = ClassSpec(name="background", colour=(0, 0, 0))
TYPES = (
    BACKGROUND,
    ClassSpec(name="neoplastic", colour=(230, 60, 60)),
    ClassSpec(name="inflammatory", colour=(60, 200, 80)),
    ClassSpec(name="connective", colour=(60, 110, 230)),
    ClassSpec(name="dead", colour=(240, 220, 60)),
    ClassSpec(name="epithelial", colour=(240, 140, 40)),
)
CLASSES = {"binary": (BACKGROUND, ClassSpec(name="nucleus", colour=(220, 60, 60))), "types": TYPES}
SPLITS: dict[str, Split] = {"fold1": "train", "fold2": "val", "fold3": "test"}
HASHES = {  # of the zips, as torch-em (torch_em/data/datasets) checks them
    "fold_1.zip": "6e19ad380300e8ce9480f9ab6a14cc91fa4b6a511609b40e3d70bdf9c881ed0b",
    "fold_2.zip": "5bc540cc509f64b5f5a274d6e5a245527dbd3e6d3155d43555115c5d54709b07",
    "fold_3.zip": "c14d372981c42f611ebc80afad01702b89cad8c1b3089daa31931cf5a4b1a39d",
}


def read(root: Path, **_options: Option) -> list[Sample]:
    """Every patch of every fold below a folder; a patch is its own source, its tissue is its label.

    Raises:
        DataError: If there are no arrays, one has no partner, or they are not what PanNuke's are.
    """
    folds = _folds(root)
    official = set(folds) == set(SPLITS)
    samples: list[Sample] = []
    for fold, (images, masks) in sorted(folds.items()):
        count = _check(images, masks)
        tissues = _tissues(images.with_name("types.npy"), count)
        samples += [
            Sample(
                id=f"{fold}-{index:05d}",
                image=f"{images}#{index}",
                mask=f"{masks}#{index}",
                source=f"{fold}-{index:05d}",
                split=SPLITS[fold] if official else None,
                label=tissues[index],
            )
            for index in range(count)
        ]
    return samples


def load(sample: Sample, classes: str = "binary") -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W): 1 where there is a nucleus, or the number of its type.

    Raises:
        DataError: If an image has values outside 0 to 255, or a mask is not finite.
    """
    image, channels = _patch(sample.image), _patch(sample.mask)
    if not (image.min() >= 0 and image.max() <= 255):  # false for NaN as well
        raise DataError(f"{sample.image} has values from {image.min()} to {image.max()}; allowed are 0 to 255.")
    if not np.isfinite(channels).all():
        raise DataError(f"{sample.mask} has values that are not finite. Download the fold again.")
    nuclei = channels[..., :5] > 0
    inside = nuclei.any(axis=-1)
    mask = inside if classes == "binary" else np.where(inside, nuclei.argmax(axis=-1) + 1, 0)
    return np.rint(image).astype(np.uint8), mask.astype(np.uint8)


def configure(**options: Option) -> DatasetSpec:
    """The data set with its classes: binary or types.

    Raises:
        DataError: If `classes` is neither.
    """
    classes = str(options["classes"])
    if classes not in CLASSES:
        raise DataError(f"classes={classes!r} of data set pannuke is not allowed. Write classes=binary or types.")
    return replace(SPEC, classes=CLASSES[classes], load=partial(load, classes=classes))


def _folds(root: Path) -> dict[str, tuple[Path, Path]]:
    """Name of a fold to its images.npy and masks.npy."""
    folds: dict[str, tuple[Path, Path]] = {}
    for images in sorted(root.rglob("images.npy")):
        parts = images.relative_to(root).parts[:-1]
        masks = root.joinpath(*("masks" if part == "images" else part for part in parts), "masks.npy")
        if not masks.is_file():
            raise DataError(f"{images} has no {masks}. Put it there, or remove the images.", files=[str(images)])
        fold = _fold_name(parts)
        if fold in folds:
            raise DataError(f"{folds[fold][0]} and {images} are both {fold}. Remove one of them.")
        folds[fold] = images, masks
    if not folds:
        raise DataError(
            f"{root} has no images.npy below it. Unpack the folds of PanNuke there: fold1/images/fold1/images.npy and "
            "fold1/masks/fold1/masks.npy."
        )
    return folds


def _fold_name(parts: tuple[str, ...]) -> str:
    """`fold1` for a path with such a part (`Fold 1` too), else the nearest folder that is not called images."""
    for part in reversed(parts):
        match = re.fullmatch(r"fold\W*_?(\d+)", part, re.IGNORECASE)
        if match:
            return f"fold{int(match[1])}"
    return next((part for part in reversed(parts) if part != "images"), "fold")


def _check(images: Path, masks: Path) -> int:
    """How many patches a fold has, once both arrays are what PanNuke's are."""
    shapes = [_opened(path).shape for path in (images, masks)]
    for path, shape, depth in zip((images, masks), shapes, (3, 6), strict=True):
        if len(shape) != 4 or shape[3] != depth or 0 in shape:
            raise DataError(f"{path} has the shape {shape}; PanNuke's is (N, 256, 256, {depth}).", files=[str(path)])
    if shapes[0][:3] != shapes[1][:3]:
        raise DataError(
            f"{images} has the shape {shapes[0]} but its masks {masks} have {shapes[1]}. Replace one of them.",
            files=[str(images), str(masks)],
        )
    return shapes[0][0]


def _patch(reference: str) -> np.ndarray:
    path, _, index = reference.rpartition("#")
    return np.asarray(_opened(Path(path))[int(index)])


def _opened(path: Path) -> np.ndarray:
    """An array of numbers, memory-mapped; numpy may raise anything on a damaged file."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise ValueError(f"it holds {getattr(array, 'dtype', 'several arrays')}, not numbers")
    except Exception as error:
        raise DataError(
            f"{path} cannot be read: {one_line(error)}. It must be an npy array of numbers without Python objects; "
            "download the fold again.",
            files=[str(path)],
        ) from error
    return array


def _tissues(path: Path, count: int) -> list[str | None]:
    """The tissue of each patch; None for all when there is no such file, or it cannot be read without executing it."""
    try:
        names = np.load(path, allow_pickle=False)
    except Exception:  # labels only balance the splits; a pickled array is never opened for them
        return [None] * count
    if not isinstance(names, np.ndarray) or names.dtype.kind != "U" or names.shape != (count,):
        return [None] * count
    return [str(name) for name in names]


SPEC = DatasetSpec(
    title="PanNuke",
    classes=CLASSES["binary"],
    read=read,
    load=load,
    licence="CC BY-NC-SA 4.0",
    citation="Gamper et al. 2019, PanNuke, ECDP, doi:10.1007/978-3-030-23937-4_2; Gamper et al. 2020, arXiv:2003.10778",
    homepage="https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke",
    options={"classes": "binary"},
    configure=configure,
    pixel_size_um=0.25,
    releases=(
        Release(
            name="warwick",
            title="the three folds of the University of Warwick",
            files=tuple(
                RemoteFile(
                    name=name,
                    how="direct",
                    address=f"https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke/{name}",
                    sha256=sha256,
                )
                for name, sha256 in HASHES.items()
            ),
        ),
    ),
)
