"""Blood-Cell (BCCD with mask): photographs of thin blood smears, cells against background.

The archive jeetblahiri/bccd-dataset-with-mask of Kaggle, as a folder or zip:

    BCCD Dataset with mask/{train,test}/{original,mask}/<uuid>.png      1169 + 159 pairs, mostly 1600x1200

or the authors' own release, which has no split and mixes png and jpg:

    Original/<uuid>.png     Mask/<uuid>.jpg or .png                     1328 pairs

Masks are black and white; a pixel above 127 is a cell. The split of the Kaggle archive is kept. Files without a
partner are refused; `blood_cell[skip_unpaired=true]` leaves them out. For the other options see _reading.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, DatasetSpec, Option, Release, RemoteFile, Sample, Split

from ._archive import check_flag, child, files, folders, pairs
from ._files import check_sizes, read_deep, read_grey
from ._masks import ambiguous
from ._reading import OPTIONS, Reading, chosen

KAGGLE = "BCCD Dataset with mask"
LAYOUT = f"{KAGGLE}/{{train,test}}/{{original,mask}}/ or Original/ and Mask/"
SPLITS: tuple[Split, ...] = ("train", "test")
READING = Reading(threshold=127)


def read(root: Path, *, skip_unpaired: bool = False, **_reading: Option) -> list[Sample]:
    """All pairs of the archive; the stem, a UUID, is the photograph.

    Args:
        root: The unpacked archive, or a folder around it.
        skip_unpaired: Leave out images without a mask and masks without an image.
        _reading: How pixels are read, which `configure` has seen to.
    Raises:
        DataError: If the layout is another one, or a pair is incomplete.
    """
    check_flag("blood_cell", "skip_unpaired", skip_unpaired)
    for base in folders(root):
        kaggle = any((base / split / "original").is_dir() for split in SPLITS)
        if kaggle and (base == root or base.name == KAGGLE):
            return _kaggle(base, skip_unpaired)
        original, mask = child(base, "Original"), child(base, "Mask")
        if original and mask and base.name not in SPLITS:  # half of the Kaggle archive would lose its split
            return [
                Sample(id=stem, image=str(image), mask=str(masked), source=stem)
                for stem, image, masked in _pairs(original, mask, skip_unpaired)
            ]
    raise DataError(
        f"{root} is not the Blood-Cell archive: it has no {LAYOUT}. Unpack the archive there and try again."
    )


def load(sample: Sample, reading: Reading = READING) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W): 1 where the mask file is above the threshold."""
    image, grey = read_deep(Path(sample.image)), read_grey(Path(sample.mask))
    check_sizes(image, grey, Path(sample.image), Path(sample.mask))
    return reading.image(image), reading.mask(grey)


def configure(**options: Option) -> DatasetSpec:
    """The data set read with these options."""
    reading = chosen("blood_cell", {key: value for key, value in options.items() if key in OPTIONS})
    return replace(SPEC, load=partial(load, reading=reading))


def doubtful(sample: Sample) -> int:
    """How many mask pixels the threshold decided: neither nearly black nor nearly white; 0 where it is no JPEG."""
    path = Path(sample.mask)
    return ambiguous(read_grey(path)) if path.suffix.lower() in (".jpg", ".jpeg") else 0


def _kaggle(base: Path, skip_unpaired: bool) -> list[Sample]:
    samples = [
        Sample(id=f"{split}-{stem}", image=str(image), mask=str(mask), source=stem, split=split)
        for split in SPLITS
        for stem, image, mask in _pairs(base / split / "original", base / split / "mask", skip_unpaired)
    ]
    seen: dict[str, Sample] = {}
    for sample in samples:
        twin = seen.setdefault(sample.source, sample)
        if twin.split != sample.split:
            raise DataError(f"{twin.image} and {sample.image} are the same photograph in two splits. Remove one pair.")
    return samples


def _pairs(original: Path, mask: Path, skip_unpaired: bool) -> list[tuple[str, Path, Path]]:
    return pairs(files(original), files(mask), skip_unpaired=skip_unpaired, hint="blood_cell[skip_unpaired=true]")


SPEC = DatasetSpec(
    title="Blood-Cell",
    classes=(ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(220, 60, 60))),
    read=read,
    load=load,
    doubtful=doubtful,
    configure=configure,
    licence="MIT as stated by the archive; the photographs are BBBC041, listed elsewhere as CC BY-NC-SA 3.0",
    citation="Depto et al. 2021, Tissue and Cell 69:101653, doi:10.1016/j.tice.2021.101653",
    homepage="https://www.kaggle.com/datasets/jeetblahiri/bccd-dataset-with-mask",
    options={"skip_unpaired": False, **OPTIONS},
    releases=(
        Release(
            name="kaggle",
            title="the archive on Kaggle, with its split",
            files=(
                RemoteFile(
                    name="bccd-dataset-with-mask.zip", how="kaggle", address="jeetblahiri/bccd-dataset-with-mask"
                ),
            ),
        ),
        Release(  # the link is in github.com/Deponker/Blood-cell-segmentation-dataset
            name="authors",
            title="the authors' own release on Google Drive, without a split",
            files=(RemoteFile(name="Final data.zip", how="drive", address="1nG-ra6BPAZSTsdYCvedzCo-JLD7jdH71"),),
        ),
    ),
)
