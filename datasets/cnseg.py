"""CNSeg: cervical cell nuclei in smears, patches and clusters of cells, outlined as polygons.

The archive zhaojing0522/cervical-nucleus-segmentation of Kaggle, as a folder or zip:

    clusteredCell/{difficult,normal,sample}/<stem>.jpg     clusteredCell/{difficult,normal,sample}_json/<stem>.json
    clusteredCell/test-{difficult,normal,sample}/          clusteredCell/test-{difficult,normal,sample}_json/
    PatchSeg/{train,test}-images/<number>_<k>.jpg          PatchSeg/{train,test}-labels/<number>_<k>.json

The JSON files are LabelMe's: all polygons are filled and merged, whatever their labels. `sample` is the easy part of
the clusters, also when it is called `easy` or `simple`. TargetA and TargetB, of other microscopes for domain
adaptation, are not read. Options:

    cnseg[subset=all]            whichever of the parts below are there (default)
    cnseg[subset=patch]          PatchSeg
    cnseg[subset=clustered]      whichever of easy, normal and difficult are there
    cnseg[subset=easy], cnseg[subset=normal], cnseg[subset=difficult]
    cnseg[skip_unpaired=true]    leave out images without polygons and polygons without an image

The test folders are kept as the test split where they are there. The patches of one number are taken for cut from one
photograph, since the archive does not say.

The copies released by sarah-antillia ("Clustered-Cervical-Cell", 20 of each photograph) are recognised by their layout:

    {train,valid,test}/{images,masks}/<augmentation>_<id>.jpg     or     {images,masks}/<augmentation>_<id>.jpg

A mask pixel of 128 or more is a nucleus. Their split puts copies of one photograph on both sides; as long as it does,
it is not used, and photographs are split as in a data set without a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.errors import DataError
from bench.specs import ClassSpec, DatasetSpec, Release, RemoteFile, Sample, Split

from ._archive import check_choice, check_flag, child, files, folders, pairs
from ._files import check_sizes, read_grey, read_rgb
from ._masks import ambiguous, fill, read_polygons
from ._sources import SPLITS, keep_honest, source_of

LAYOUT = "clusteredCell/difficult/<stem>.jpg with clusteredCell/difficult_json/<stem>.json, nor PatchSeg/"
CLUSTERED = {"easy": ("sample", "simple", "easy"), "normal": ("normal",), "difficult": ("difficult",)}
"""Parts of clusteredCell and the names of their folders."""
SPLIT_PREFIXES: dict[Split, str] = {"train": "", "test": "test-"}
SUBSETS = {
    "all": ("patch", *CLUSTERED),
    "patch": ("patch",),
    "clustered": tuple(CLUSTERED),
    **{part: (part,) for part in CLUSTERED},
}
Parts = dict[str, dict[Split, tuple[Path, Path]]]
"""Part of the archive and split to the folders of images and of polygons."""


def read(root: Path, *, subset: str = "all", skip_unpaired: bool = False) -> list[Sample]:
    """All pairs of a subset or of the released copies; the part of the archive is the label.

    Args:
        root: The unpacked archive, or a folder around it.
        subset: One of `SUBSETS`; the released copies have none.
        skip_unpaired: Leave out images without a mask and masks without an image.
    Raises:
        DataError: If the layout is another one, the subset is not there, or a pair is incomplete.
    """
    check_choice("cnseg", "subset", subset, tuple(SUBSETS))
    check_flag("cnseg", "skip_unpaired", skip_unpaired)
    for base in folders(root):
        parts = _parts(base)
        if parts:
            return _archive(base, parts, subset, skip_unpaired)
        splits = [split for split in SPLITS if child(base / split, "images") and child(base / split, "masks")]
        if splits or (child(base, "images") and child(base, "masks")):
            if subset != "all":
                raise DataError(
                    f"{base} holds the released images and masks, which do not tell subsets. "
                    f"Leave out subset={subset}, or give the CNSeg archive itself."
                )
            return keep_honest(list(_release(base, splits, skip_unpaired)))
    raise DataError(f"{root} is not the CNSeg archive: it has no {LAYOUT}. Unpack the archive there and try again.")


def load(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and mask uint8 (H, W): 1 in any polygon, or where the released mask is 128 or more.

    Raises:
        DataError: If a file cannot be read, or the sizes differ.
    """
    image = read_rgb(Path(sample.image))
    height, width = image.shape[:2]
    if _is_labelme(sample):
        return image, fill(read_polygons(Path(sample.mask), (height, width)), (height, width))
    grey = read_grey(Path(sample.mask))
    check_sizes(image, grey, Path(sample.image), Path(sample.mask))
    return image, (grey >= 128).astype(np.uint8)


def doubtful(sample: Sample) -> int:
    """How many mask pixels the threshold decided: neither nearly black nor nearly white; 0 for polygons."""
    return 0 if _is_labelme(sample) else ambiguous(read_grey(Path(sample.mask)))


def _parts(base: Path) -> Parts:
    """What of the archive lies here; nothing if this is no folder of the archive."""
    patches, clusters = child(base, "PatchSeg"), child(base, "clusteredCell", "clusterSeg")
    found: Parts = {}
    for split, before in SPLIT_PREFIXES.items():
        places = [("patch", patches, f"{split}-images", f"{split}-labels")]
        places += [
            (part, clusters, f"{before}{name}", f"{before}{name}_json")
            for part, names in CLUSTERED.items()
            for name in names
        ]
        for part, collection, *names in places:
            images, labels = (child(collection or base, name) for name in names)
            if collection and images and labels is None:
                labels = collection / names[1]  # which does not exist: told when it is read
            if images and labels:
                found.setdefault(part, {}).setdefault(split, (images, labels))
    return found


def _archive(base: Path, parts: Parts, subset: str, skip_unpaired: bool) -> list[Sample]:
    wanted = [part for part in SUBSETS[subset] if part in parts]
    if not wanted:
        raise DataError(
            f"{base} does not hold the subset {subset!r} with its labels; there are: {', '.join(parts)}. "
            f"Write cnseg[subset={next(iter(parts))}], or unpack the rest of the archive."
        )
    samples: list[Sample] = []
    for part in wanted:
        for split, (images, labels) in parts[part].items():
            official = split if len(parts[part]) > 1 else None
            for stem, image, mask in _pairs(files(images), files(labels, (".json",)), skip_unpaired):
                name = f"{part}-{split}"
                source = f"{name}-{re.sub(r'_[0-9]+$', '', stem) if part == 'patch' else stem}"
                samples.append(
                    Sample(
                        id=f"{name}-{stem}", image=str(image), mask=str(mask), source=source, split=official, label=part
                    )
                )
    return samples


def _release(base: Path, splits: list[str], skip_unpaired: bool) -> Iterator[Sample]:
    for name in splits or [""]:
        folder, split = base / name, SPLITS.get(name)
        images, masks = (files(child(folder, kind) or folder / kind) for kind in ("images", "masks"))
        for stem, image, mask in _pairs(images, masks, skip_unpaired):
            identity = f"{split}-{stem}" if split else stem
            yield Sample(id=identity, image=str(image), mask=str(mask), source=source_of(stem), split=split)


def _pairs(images: dict[str, Path], masks: dict[str, Path], skip_unpaired: bool) -> list[tuple[str, Path, Path]]:
    return pairs(images, masks, skip_unpaired=skip_unpaired, hint="cnseg[skip_unpaired=true]")


def _is_labelme(sample: Sample) -> bool:
    return Path(sample.mask).suffix.lower() == ".json"


SPEC = DatasetSpec(
    title="CNSeg",
    classes=(ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="nucleus", colour=(90, 200, 90))),
    read=read,
    load=load,
    doubtful=doubtful,
    licence="Not stated by the archive",
    citation="Zhao et al. 2023, Comput. Methods Programs Biomed. 241:107732, doi:10.1016/j.cmpb.2023.107732",
    homepage="https://www.kaggle.com/datasets/zhaojing0522/cervical-nucleus-segmentation",
    options={"subset": "all", "skip_unpaired": False},
    releases=(
        Release(
            name="kaggle",
            title="the authors' archive on Kaggle",
            files=(
                RemoteFile(
                    name="cervical-nucleus-segmentation.zip",
                    how="kaggle",
                    address="zhaojing0522/cervical-nucleus-segmentation",
                ),
            ),
        ),
        Release(  # the link is in github.com/sarah-antillia/Tensorflow-Image-Segmentation-Clustered-Cervical-Cell
            name="copies",
            title="the augmented copies that sarah-antillia released on Google Drive",
            files=(
                RemoteFile(
                    name="Clustered-Cervical-Cell-ImageMask-Dataset.zip",
                    how="drive",
                    address="1_vhxY7qIBhymMBQjNyjGjc9mDOSZyI5d",
                ),
            ),
        ),
    ),
)
