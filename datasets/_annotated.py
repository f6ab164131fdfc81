"""Shared by folders of images: those with annotations in JSON in place of masks, LabelMe's or COCO's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, Sample, Split

from . import _coco, _labelme
from ._description import new_class
from ._files import SUFFIXES, by_stem, check_partners, gathered, read_deep, same_size
from ._reading import Reading
from ._shapes import painted

BACKGROUND = ("background", "_background_")  # labels, in any case, that are no class of their own
MOST = 255  # classes a mask of bytes can hold beside IGNORE

Kind = Literal["masks", "labelme", "coco"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A folder that has everything of one split.

    Attributes:
        prefix: What ids begin with, to be unique over all splits.
        annotations: The file of COCO, or the folder with the files of LabelMe; None where there are masks.
    """

    folder: Path
    prefix: str = ""
    split: Split | None = None
    kind: Kind = "masks"
    annotations: Path | None = None

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.folder / "images" if (self.folder / "images").is_dir() else self.folder


def looked_into(folder: Path, prefix: str, split: Split | None) -> Base:
    """A folder with the kind of annotations it has; `masks` when it has none.

    Raises:
        DataError: If several JSON files may be that of COCO.
    """
    base = Base(folder=folder, prefix=prefix, split=split)
    if (folder / "masks").is_dir():
        return base
    stems = {path.stem for path in base.images.iterdir() if path.suffix.lower() in SUFFIXES}
    for place in (base.images, folder / "labels", folder / "json"):
        if any(path.stem in stems for path in place.glob("*.json")):
            return Base(folder=folder, prefix=prefix, split=split, kind="labelme", annotations=place)
    loose = sorted({*folder.glob("*.json"), *base.images.glob("*.json")})
    if len(loose) > 1:
        raise DataError(
            f"{folder} holds {len(loose)} JSON files, of which none has the stem of an image: {loose[0].name}, "
            f"{loose[1].name} .. Keep the one with the annotations in COCO's format.",
            files=map(str, loose),
        )
    return Base(folder=folder, prefix=prefix, split=split, kind="coco", annotations=loose[0]) if loose else base


def samples(bases: Sequence[Base]) -> list[Sample]:
    """Every annotated image.

    Raises:
        DataError: If an image or an annotation has no partner, or two images would have one id.
    """
    found: dict[str, Sample] = {}
    for base in bases:
        for name, image, mask in _coco_files(base) if base.kind == "coco" else _labelme_files(base):
            key = base.prefix + name
            if key in found:
                raise DataError(f"{found[key].image} and {image} would both be sample {key!r}. Rename one of them.")
            found[key] = Sample(id=key, image=str(image), mask=mask, source="", split=base.split)
    return list(found.values())


def classes(
    bases: Sequence[Base], found: Sequence[Sample], declared: tuple[ClassSpec, ...] | None
) -> tuple[tuple[ClassSpec, ...], dict[str, int]]:
    """The classes of a folder, and the index of the class of every label.

    Args:
        bases: Where the annotations are.
        found: What `samples` found there.
        declared: Classes from a dataset.toml, which annotations are then held to.
    Raises:
        DataError: If annotations cannot be read, hold no label or too many, or one that is not declared.
    """
    where = bases[0].folder
    labels = _categories(bases) if bases[0].kind == "coco" else _labels(found)
    if declared is not None:
        names = [spec.name for spec in declared]
        table = {name: index for index, name in enumerate(names)}
        strange = [label for label in labels if label not in names and label.lower() not in BACKGROUND]
        if strange:
            raise DataError(
                f"{where}: the annotations have the label {strange[0]!r}, which is no class of dataset.toml: "
                f"{', '.join(names)}. Name it there, or mend the annotations."
            )
        return declared, dict.fromkeys(labels, 0) | table
    named = [label for label in labels if label.lower() not in BACKGROUND]
    if not 1 <= len(named) < MOST:
        raise DataError(f"{where}: the annotations have {len(named)} labels; 1 to {MOST - 1} are allowed.")
    specs = (new_class("background", 0), *(new_class(label, at) for at, label in enumerate(named, start=1)))
    return specs, dict.fromkeys(labels, 0) | {label: at for at, label in enumerate(named, start=1)}


def load(kind: Kind, table: Mapping[str, int], reading: Reading, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W), its annotations painted one over another.

    Raises:
        DataError: If the image or its annotations cannot be read, or are of different sizes.
    """
    path = Path(sample.image)
    if kind == "coco":
        file, _, key = sample.mask.rpartition("#")
        size, regions = _coco.regions(_coco.read(Path(file)), int(key))
    else:
        size, regions = _labelme.regions(Path(sample.mask))
    image = read_deep(path)
    height, width = image.shape[:2]
    same_size((height, width), size or (height, width), path, Path(sample.mask))
    return reading.image(image), painted(regions, (height, width), table)


def _labelme_files(base: Base) -> Iterator[tuple[str, Path, str]]:
    folder = base.annotations or base.folder
    images, files = by_stem(base.images), by_stem(folder, (".json",))
    check_partners(images, files, "annotation", folder, ".json")
    check_partners(files, images, "image", base.images, ".png")
    return ((stem, images[stem], str(files[stem])) for stem in sorted(images))


def _coco_files(base: Base) -> Iterator[tuple[str, Path, str]]:
    annotations = _coco.read(base.annotations or base.folder)
    files = _coco.files(annotations, tuple(dict.fromkeys((base.folder, base.images))))
    names = {key: Path(annotations.images[key]["file_name"]).with_suffix("").parts for key in files}
    return (("-".join(names[key]), files[key], f"{annotations.path}#{key}") for key in sorted(files))


def _labels(found: Sequence[Sample]) -> list[str]:
    """The labels of LabelMe's files, sorted; every file is read."""
    regions = gathered(lambda sample: _labelme.regions(Path(sample.mask))[1], found)
    return sorted({region.label for group in regions for region in group if region.label is not None})


def _categories(bases: Sequence[Base]) -> list[str]:
    """The categories of all files of COCO in the order of their ids."""
    merged: dict[int, str] = {}
    for base in bases:
        annotations = _coco.read(base.annotations or base.folder)
        for key, name in annotations.categories.items():
            if merged.setdefault(key, name) != name:
                raise DataError(
                    f"{annotations.path} names category {key} {name!r}, another split {merged[key]!r}. Use one list."
                )
    if len(set(merged.values())) < len(merged):
        raise DataError(f"{bases[0].folder}: splits give one category two ids: {merged}. Use one list.")
    return [name for _, name in sorted(merged.items())]
