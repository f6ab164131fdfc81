"""Blood-Cell (BCCD with mask): photographs of thin blood smears, cells against background.

The archive jeetblahiri/bccd-dataset-with-mask of Kaggle, as a folder or zip:

    BCCD Dataset with mask/{train,test}/{original,mask}/<uuid>.png      1169 + 159 pairs, mostly 1600x1200

Masks are black and white; a pixel above 127 is a cell. The archive's own test split is kept. Options: see _reading.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, DatasetSpec, Option, Sample, Split

from ._files import check_sizes, pairs, read_deep, read_grey
from ._reading import OPTIONS, Reading, chosen

LAYOUT = "BCCD Dataset with mask/{train,test}/{original,mask}/"
SPLITS: tuple[Split, ...] = ("train", "test")
READING = Reading(threshold=127)


def read(root: Path, **_options: Option) -> list[Sample]:
    """All pairs of the archive; the stem, a UUID, is the photograph.

    Raises:
        DataError: If the layout is another one, or a pair is incomplete.
    """
    base = _base(root)
    samples = [
        Sample(id=f"{split}-{stem}", image=str(image), mask=str(mask), source=stem, split=split)
        for split in SPLITS
        for stem, image, mask in pairs(base / split / "original", base / split / "mask")
    ]
    seen: dict[str, Sample] = {}
    for sample in samples:
        twin = seen.setdefault(sample.source, sample)
        if twin.split != sample.split:
            raise DataError(f"{twin.image} and {sample.image} are the same photograph in two splits. Remove one pair.")
    return samples


def load(sample: Sample, reading: Reading = READING) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W): 1 where the mask file is above the threshold."""
    image, grey = read_deep(Path(sample.image)), read_grey(Path(sample.mask))
    check_sizes(image, grey, Path(sample.image), Path(sample.mask))
    return reading.image(image), reading.mask(grey)


def configure(**options: Option) -> DatasetSpec:
    """The data set read with these options."""
    return replace(SPEC, load=partial(load, reading=chosen("blood_cell", options)))


def _base(root: Path) -> Path:
    for base in (root, root / "BCCD Dataset with mask", *sorted(root.glob("*/BCCD Dataset with mask"))):
        if (base / "train").is_dir() or (base / "test").is_dir():
            return base
    raise DataError(
        f"{root} is not the Blood-Cell archive: it has no {LAYOUT}. Unpack the archive there and try again."
    )


SPEC = DatasetSpec(
    title="Blood-Cell",
    classes=(ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(220, 60, 60))),
    read=read,
    load=load,
    options=OPTIONS,
    configure=configure,
    licence="MIT as stated by the archive; the photographs are BBBC041, listed elsewhere as CC BY-NC-SA 3.0",
    citation="Depto et al. 2021, Tissue and Cell 69:101653, doi:10.1016/j.tice.2021.101653",
    homepage="https://www.kaggle.com/datasets/jeetblahiri/bccd-dataset-with-mask",
)
