"""Shared by data sets annotated in COCO's format: one JSON file for all images of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ._files import SUFFIXES
from ._shapes import Region, bad_json, corners_of, decoded_runs, is_size, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """What an annotation file holds, checked as far as all images need it.

    Attributes:
        categories: Name by id, in the order of ids.
        images: The entry of each image by its id.
        regions: The entries of the annotations by the id of their image, in the order of the file.
    """

    path: Path
    categories: Mapping[int, str]
    images: Mapping[int, dict[str, Any]]
    regions: Mapping[int, list[dict[str, Any]]]


def read(path: Path) -> Annotations:
    """An annotation file; each process parses it once as long as it does not change.

    Raises:
        DataError: If it is not COCO's, or an entry refers to one that is missing.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise bad_json(path, error) from error
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _size: int, _changed: int) -> Annotations:
    content = read_json(path)
    try:
        categories = {key: one.get("name") for key, one in _by_id(content, "categories").items()}
        for key, name in categories.items():
            if not isinstance(name, str) or not name or list(categories.values()).count(name) > 1:
                raise ValueError(f"category {key} is named {name!r}; each needs a name of its own")
        images = _by_id(content, "images")
        for key, image in images.items():
            _check_image(key, image)
        regions: dict[int, list[dict[str, Any]]] = {key: [] for key in images}
        for position, one in enumerate(_entries(content, "annotations")):
            for what, known in (("image_id", images), ("category_id", categories)):
                if not isinstance(one.get(what), int) or one[what] not in known:
                    raise ValueError(f"annotation {position} has the {what} {one.get(what)!r}, which nothing has")
            regions[one["image_id"]].append(one)
    except ValueError as error:
        raise bad_json(path, error) from error
    return Annotations(path=path, categories=dict(sorted(categories.items())), images=images, regions=regions)


def files(annotations: Annotations, folders: tuple[Path, ...]) -> dict[int, Path]:
    """The file of each image by its id: `file_name` below the first of the folders that has it.

    Raises:
        DataError: If files are missing, counting them; `files` lists them all.
    """
    found: dict[int, Path] = {}
    missing: list[str] = []
    for key, image in annotations.images.items():
        places = [folder / image["file_name"] for folder in folders]
        present = [place for place in places if place.is_file()]
        if present:
            found[key] = present[0]
        else:
            missing.append(str(places[0]))
    if missing:
        error = bad_json(
            annotations.path,
            f"{len(missing)} of {len(annotations.images)} images it names are missing, the first is {missing[0]}",
        )
        error.files = tuple(missing)
        raise error
    return found


def regions(annotations: Annotations, image: int) -> tuple[tuple[int, int], list[Region]]:
    """The regions of an image in their order, and the (height, width) it is said to have.

    A crowd (`iscrowd`) is many objects outlined as one, with what lies between them: its pixels are to be ignored
    but for those of other annotations.

    Raises:
        DataError: If a segmentation is neither polygons nor runs, or does not fit the image.
    """
    entry = annotations.images[image]
    size = entry["height"], entry["width"]
    found = []
    for number, one in enumerate(annotations.regions[image]):
        crowd = bool(one.get("iscrowd"))
        label = None if crowd else annotations.categories[one["category_id"]]
        try:
            found.append(_region(one.get("segmentation"), size, label, crowd))
        except ValueError as error:
            where = f"annotation {one.get('id', number)!r:.20} of {entry['file_name']}"
            raise bad_json(annotations.path, f"{where}: {error}") from error
    return size, found


def _region(segmentation: object, size: tuple[int, int], label: str | None, crowd: bool) -> Region:
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, list) for part in segmentation):
        polygons = [corners_of([part[at : at + 2] for at in range(0, len(part), 2)]) for part in segmentation]
        if any(len(corners) < 3 for corners in polygons):
            raise ValueError("a polygon has fewer than three points")
        return Region(label=label, polygons=tuple(polygons), below=crowd)
    if not isinstance(segmentation, dict):
        raise ValueError("its segmentation is neither polygons [[x, y, ..], ..] nor runs {counts, size}")
    counts = segmentation.get("counts")
    runs = decoded_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and 0 <= run < 2**40 for run in runs):
        raise ValueError("its counts are neither run lengths nor compressed text")
    if segmentation.get("size") != list(size) or sum(runs) != size[0] * size[1]:
        raise ValueError(
            f"its runs cover {sum(runs)} pixels of a picture of height and width {segmentation.get('size')!r:.40}, but "
            f"the image has {list(size)}"
        )
    return Region(label=label, runs=tuple(runs), below=crowd)


def _check_image(key: int, image: dict[str, Any]) -> None:
    name = image.get("file_name")
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts or len(name) > 200:
        raise ValueError(f"image {key} has the file_name {name!r:.200}, which is no (short) path below the folder")
    if Path(name).suffix.lower() not in SUFFIXES:
        raise ValueError(f"image {key} is {name!r}; files of type {', '.join(SUFFIXES)} are read")
    if not is_size(image.get("height")) or not is_size(image.get("width")):
        raise ValueError(f"image {key} has no height and width in pixels")


def _by_id(content: dict[str, Any], what: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for position, one in enumerate(_entries(content, what)):
        key = one.get("id")
        if not isinstance(key, int) or isinstance(key, bool) or key in found:
            raise ValueError(f"entry {position} of {what} has the id {key!r}; each needs a whole number of its own")
        found[key] = one
    if not found:
        raise ValueError(f"its list `{what}` is empty")
    return found


def _entries(content: dict[str, Any], what: str) -> list[dict[str, Any]]:
    entries = content.get(what)
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError(f"it has no list `{what}` of objects, so it is not COCO's")
    return entries
