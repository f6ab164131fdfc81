"""Released smear pictures of A. Banerjee's blood cell project: ten classes of cells on a white ground.

The folders as they were released, or one such set of folders per split (train, valid, test):

    images/<C1>[_<C2>]_<source>_<kind>_<split>_<n>.bmp         224 x 224; back_.. where no cell was affixed
    segments/<C1>[_<C2>]_seg_<source>_<kind>_<split>_<n>.bmp   the class colours
    labels/<C1>[_<C2>]_<source>_<kind>_<split>_<n>.json        boxes of the cells; optional

Colours are matched exactly (a thrombocyte is 255, 225, 0). A pixel of any other colour, as smoothed edges have, is
ignored, and so are white cells that the border cuts (`partialWBC`): `smear_release[partial=class]` keeps them as an
eleventh class.

Every picture is a source of its own. Pictures of one split share single cells and backgrounds (`bgPath` in the label
files), those of different splits do not; so the released split is the one to trust, not folds of a cross-validation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial as bind
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError
from bench.specs import IGNORE, DatasetSpec, Option, Sample, Split

from ._files import SUFFIXES, by_stem, check_sizes, read_rgb
from ._smear_classes import CLASSES, PARTIAL, PARTIAL_INDEX, check_partial, index_of

LAYOUT = "images/, segments/ and labels/, or train/images/, train/segments/ and so on"
TRAILING = 4  # tokens of a stem behind the classes: source, kind, split and number
SPLITS: dict[str, Split] = {"train": "train", "valid": "val", "validation": "val", "val": "val", "test": "test"}
NUMBERS = ("posX", "posY", "bboxW", "bboxH", "tlX", "tlY")
STRAY = 0.05  # more pixels of other colours than this, and the file is no segment; the published share is 0.0033


def read(root: Path, *, partial: str = "ignore") -> list[Sample]:
    """All pictures of the release.

    Raises:
        DataError: If the layout is another one, a picture has no segment or no label file, or a name says no split.
    """
    bases = _bases(root)
    samples = [sample for base in bases for sample in _samples(base, SPLITS.get(base.name.lower()))]
    seen: dict[str, Sample] = {}
    for sample in samples:
        twin = seen.setdefault(sample.id, sample)
        if twin is not sample:
            raise DataError(f"{twin.image} and {sample.image} have the same stem. Rename or remove one of them.")
    return samples


def load(sample: Sample, *, partial: str = "ignore") -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W); the label file, where there is one, is checked too.

    Raises:
        DataError: If a file cannot be read, the sizes differ, or the segment is not painted in the class colours.
    """
    image, colours = read_rgb(Path(sample.image)), read_rgb(Path(sample.mask))
    check_sizes(image, colours, Path(sample.image), Path(sample.mask))
    mask = decode(colours, partial)
    known = mask != IGNORE if partial == "class" else (mask != IGNORE) | (colours == PARTIAL.colour).all(axis=-1)
    if known.mean() < 1 - STRAY:
        row, column = np.argwhere(~known)[0].tolist()
        raise DataError(
            f"{sample.mask} is not painted in the class colours: {1 - known.mean():.0%} of its pixels have others, as "
            f"{tuple(colours[row, column].tolist())} at column {column}, row {row}. Put the released bmp file there."
        )
    _labels(sample)
    return image, mask


def decode(colours: np.ndarray, partial: str) -> np.ndarray:
    """Class indices uint8 (H, W) of class colours uint8 (H, W, 3); IGNORE where a colour is of no class."""
    red, green, blue = np.moveaxis(colours.astype(np.uint32), -1, 0)
    code = (red << 16) | (green << 8) | blue
    mask = np.full(code.shape, IGNORE, np.uint8)
    for index, spec in enumerate((*CLASSES, PARTIAL) if partial == "class" else CLASSES):
        mask[code == int.from_bytes(bytes(spec.colour))] = index
    return mask


def objects(sample: Sample, *, partial: str = "ignore") -> list[dict[str, Any]]:
    """The boxes of the label file, in its order, with our names and indices of the classes; none without such a file.

    Raises:
        DataError: If the label file is malformed, or the picture is gone (it came from a zip).
    """
    if not Path(sample.image).is_file():
        raise DataError(f"{sample.image} is gone, and its boxes with it. Prepare from the unpacked folder, not a zip.")
    value = PARTIAL_INDEX if partial == "class" else IGNORE
    return [
        box
        | {
            "className": (*CLASSES, PARTIAL)[index].name,
            "classIdx": value if index == PARTIAL_INDEX else index,
        }
        for index, box in _labels(sample)
    ]


def configure(*, partial: Option) -> DatasetSpec:
    """The data set with its option in effect.

    Raises:
        DataError: If `partial` is neither ignore nor class.
    """
    check_partial(partial, ("ignore", "class"), "smear_release")
    if partial == "ignore":
        return SPEC
    return replace(
        SPEC,
        classes=(*CLASSES, PARTIAL),
        load=bind(load, partial="class"),
        objects=bind(objects, partial="class"),
    )


def _bases(root: Path) -> list[Path]:
    """The folders that hold images/ and segments/: the root, folders of splits, or those in one folder below."""
    for base in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        splits = [path for path in sorted(base.iterdir()) if path.name.lower() in SPLITS]
        found = [path for path in (base, *splits) if (path / "images").is_dir() and (path / "segments").is_dir()]
        if found:
            return found
    raise DataError(f"{root} is not the released smear data set: it has no {LAYOUT}. Unpack it there and try again.")


def _samples(base: Path, split: Split | None) -> list[Sample]:
    """The pictures below one folder, sorted by stem; the folder's split wins over that of a name."""
    images, segments = by_stem(base / "images", SUFFIXES), by_stem(base / "segments", SUFFIXES)
    labels = by_stem(base / "labels", (".json",)) if (base / "labels").is_dir() else None
    samples = []
    for stem, image in images.items():
        tokens = stem.split("_")
        if len(tokens) <= TRAILING or (tokens[-2].lower() not in SPLITS and split is None):
            raise DataError(
                f"The name of {image} is not <C1>[_<C2>]_<source>_<kind>_<split>_<n>, with train, valid or test "
                "for <split>. Rename it and its segment, or sort the files into folders train, valid and test."
            )
        segment = segments.pop("_".join([*tokens[:-TRAILING], "seg", *tokens[-TRAILING:]]), None)
        if segment is None:
            expected = "_".join([*tokens[:-TRAILING], "seg", *tokens[-TRAILING:]])
            raise DataError(f"{image} has no segment. Put {expected}.bmp into {base / 'segments'}, or remove it.")
        if labels is not None and stem not in labels:
            raise DataError(f"{image} has no boxes. Put {stem}.json into {base / 'labels'}, or remove it.")
        found = split or SPLITS[tokens[-2].lower()]
        samples.append(Sample(id=stem, image=str(image), mask=str(segment), source=stem, split=found))
    if segments:
        alone = next(iter(segments.values()))
        raise DataError(f"{alone} has no picture in {base / 'images'}. Put it there, or remove the segment.")
    return samples


def _labels(sample: Sample) -> list[tuple[int, dict[str, Any]]]:
    """Class index and box of every object in a label file, by its number; none without such a file."""
    image = Path(sample.image)
    path = image.parent.parent / "labels" / f"{image.stem}.json"
    if not path.is_file():
        return []
    try:
        boxes = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}. Put the released file there.") from error
    if not isinstance(boxes, dict):
        raise DataError(
            f"{path} holds no objects numbered from 0, but a {type(boxes).__name__}. Put the released file there."
        )
    found = []
    for number, box in boxes.items():
        named = box.get("className") if isinstance(box, dict) else None
        index = index_of(named) if isinstance(named, str) else None
        if index is None or not all(type(box.get(key)) in (int, float) for key in NUMBERS):
            raise DataError(
                f"{path}: object {number!r} has no known className with the numbers {', '.join(NUMBERS)}: "
                f"{str(box)[:80]}. Put the released file there."
            )
        found.append((index, box))
    return found


SPEC = DatasetSpec(
    title="Released blood smear",
    classes=CLASSES,
    read=read,
    load=load,
    objects=objects,
    licence="none stated; ask the author before passing pictures on",
    citation="A. Banerjee 2019-2022, blood_cell_image_segmentation, from LISC, IUMC, MAMIC and Kaggle malaria cells",
    homepage="https://github.com/abhanjac/blood_cell_image_segmentation",
    options={"partial": "ignore"},
    configure=configure,
    unreleased="its author kept it out of the repository, where a few samples lie in trial/; ask him for it",
)
