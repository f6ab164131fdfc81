"""A raw data set, decoded once and checked, on disk: what every cell reads.

<data-home>/<name>/index.json     classes, samples, sizes, hashes; written last, so it says that the rest is there
<data-home>/<name>/pixels.bin     uint8: per sample the image (H, W, 3), then the mask (H, W)
<data-home>/<name>/{images,masks}-<H>x<W>-resize.npy     the same at training size, made on first use
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench import archive, catalog, names, plan
from bench.errors import DataError
from bench.specs import IGNORE, ClassSpec, DataCard, DatasetSpec, Recipe, Sample, Split
from bench.split import assign
from bench.store import check_room, escape, write_bytes, writing

SCHEMA = 1
Progress = Callable[[int, int], None]
"""Called with the samples done and the samples in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prepared sample: what it is, and where its pixels lie in pixels.bin."""

    sample: Sample
    height: int
    width: int
    offset: int
    hash: str  # sha256 of image and mask bytes
    pixels: tuple[int, ...]  # of each class


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What index.json holds.

    Attributes:
        stamp: Hash of the reader's code and of the names, sizes and times of the raw files.
        hash: Hash of classes, samples and pixels: what a fingerprint calls the data.
    """

    schema: int = SCHEMA
    name: str
    title: str
    licence: str
    citation: str
    classes: tuple[ClassSpec, ...]
    stamp: str
    hash: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared data set: its index, and its pixels by way of the disk."""

    folder: Path
    index: Index

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background first."""
        return [spec.name for spec in self.index.classes]

    def native(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and mask uint8 (H, W) at native size, read-only views of the file."""
        area = entry.height * entry.width
        raw = np.memmap(self.folder / "pixels.bin", np.uint8, "r", offset=entry.offset, shape=(4 * area,))
        return raw[: 3 * area].reshape(entry.height, entry.width, 3), raw[3 * area :].reshape(entry.height, entry.width)

    def split(self, fold: int, folds: int) -> dict[Split, list[int]]:
        """Positions in `index.entries` that train, validate and test in a fold."""
        assigned = assign([entry.sample for entry in self.index.entries], fold, folds)
        positions: dict[Split, list[int]] = {"train": [], "val": [], "test": []}
        for position, entry in enumerate(self.index.entries):
            positions[assigned[entry.sample.id]].append(position)
        return positions

    def hash(self, fold: int, folds: int) -> str:
        """Hash of the pixels and classes, and of who trains, validates and tests on what in a fold."""
        split = self.split(fold, folds)
        ids = {name: sorted(self.index.entries[at].sample.id for at in group) for name, group in split.items()}
        return plan.digest([self.index.hash, ids])

    def resized(self, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
        """All images uint8 (N, H, W, 3) and masks uint8 (N, H, W) at training size, memory-mapped."""
        height, width = recipe.size
        paths = [self.folder / f"{what}-{height}x{width}-{recipe.fit}.npy" for what in ("images", "masks")]
        if not all(path.is_file() for path in paths):
            images = np.empty((len(self.index.entries), height, width, 3), np.uint8)
            masks = np.empty((len(self.index.entries), height, width), np.uint8)
            for position, entry in enumerate(self.index.entries):
                images[position], masks[position] = resize(*self.native(entry), recipe.size)
            for path, array in zip(paths, (images, masks), strict=True):
                _save_array(path, array)
        images, masks = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
        return images, masks

    def card(self, positions: dict[Split, list[int]]) -> DataCard:
        """What a record says about this data set."""
        return DataCard(
            title=self.index.title,
            hash=self.index.hash,
            classes=self.index.classes,
            train=len(positions["train"]),
            val=len(positions["val"]),
            test=len(positions["test"]),
            sources=len({entry.sample.source for entry in self.index.entries}),
            licence=self.index.licence,
            citation=self.index.citation,
        )


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image with antialiasing and its mask by nearest neighbour, to (height, width)."""
    from PIL import Image

    height, width = size
    if image.shape[:2] == size:
        return np.asarray(image), np.asarray(mask)
    small = Image.fromarray(np.asarray(image)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small), np.asarray(
        Image.fromarray(np.asarray(mask)).resize((width, height), Image.Resampling.NEAREST)
    )


def prepare(
    name: str, data_home: Path, source: Path | None = None, progress: Progress = lambda done, of: None
) -> Prepared:
    """Decode and check a data set, unless it is prepared already.

    Args:
        name: A catalogue name with options, or the path of a folder.
        data_home: Where prepared data live.
        source: The folder or zip with the raw files; not needed for a generated data set or a folder.
    Raises:
        DataError: If the raw files are missing or malformed; nothing is left half-prepared.
    """
    spec = None if catalog.is_folder(name) else catalog.dataset(name)
    source = Path(name) if spec is None else spec.raw or source
    folder = location(name, data_home)
    found, stamp = _read_index(folder), _stamp(name, source)
    if found is not None and found.stamp == stamp:
        return Prepared(folder, found)
    spec = spec or catalog.dataset(name)  # looks into every mask of a folder, hence only now
    if source is None and not spec.generated:
        return open_prepared(name, data_home)
    if source is not None and spec.generated:
        raise DataError(f"{name} is generated and takes no files; leave --from {source} out.")
    check_room(data_home)
    if source is None:
        return _write(name, spec, Path(), stamp, folder, progress)
    with archive.opened(source, data_home) as root:
        return _write(name, spec, root, stamp, folder, progress)


def open_prepared(name: str, data_home: Path) -> Prepared:
    """A data set that was prepared before; a generated one or a folder is prepared on the spot.

    Raises:
        DataError: If it is not prepared, with the command that prepares it.
    """
    if catalog.is_folder(name):
        return prepare(name, data_home)
    spec = catalog.dataset(name)
    if spec.generated or spec.raw is not None:
        return prepare(name, data_home)
    found = _read_index(location(name, data_home))
    if found is None:
        raise DataError(
            f"The data set {name!r} is not prepared in {data_home}. Get it from {spec.homepage}, then run: "
            f"bench data prepare {name} --from PATH (a folder or zip)."
        )
    return Prepared(location(name, data_home), found)


def reopen(name: str, data_home: Path) -> Prepared:
    """A data set that is known to be prepared: looks at the index alone, never at raw files.

    Raises:
        DataError: If it is gone.
    """
    found = _read_index(location(name, data_home))
    if found is None:
        raise DataError(f"The prepared data of {name!r} are gone from {data_home}. Run the study again.")
    return Prepared(location(name, data_home), found)


def location(name: str, data_home: Path) -> Path:
    """The folder of a prepared data set below the data home."""
    if catalog.is_folder(name):
        path = Path(name).resolve()
        return data_home / f"folder-{escape(path.name)[:60]}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    return data_home / escape(names.show(*names.parse(name)))


def export(name: str, data_home: Path, target: Path) -> int:
    """Write a data set as a plain folder: images, palette masks, objects as JSON where known, and a dataset.toml.

    Returns:
        How many images were written.
    Raises:
        DataError: If the target exists and is not empty.
    """
    from PIL import Image

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is not an empty folder. Give a folder that does not exist yet.")
    prepared, spec = open_prepared(name, data_home), catalog.dataset(name)
    assigned = {position: split for split, group in prepared.split(0, 1).items() for position in group}
    check_room(target)
    palette = [channel for entry in spec.classes for channel in entry.colour]
    palette += [IGNORE] * (768 - len(palette))  # all 256 entries: with fewer, the file would have no room for IGNORE
    for position, entry in enumerate(prepared.index.entries):
        image, mask = prepared.native(entry)
        folder, stem = target / assigned[position], escape(entry.sample.id)
        picture = Image.fromarray(np.asarray(mask)).convert("P")
        picture.putpalette(palette)
        for kind, content in (("images", Image.fromarray(np.asarray(image))), ("masks", picture)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            with writing(folder / kind):
                content.save(folder / kind / f"{stem}.png")
        if spec.objects is not None:
            boxes = {str(number): box for number, box in enumerate(spec.objects(entry.sample))}
            write_bytes(folder / "labels" / f"{stem}.json", json.dumps(boxes, indent=1).encode())
    write_bytes(target / "dataset.toml", _description(spec).encode())
    return len(prepared.index.entries)


def _write(name: str, spec: DatasetSpec, root: Path, stamp: str, folder: Path, progress: Progress) -> Prepared:
    """Decode into a folder of its own, then put that in place of the old one."""
    _, options = ("", {}) if catalog.is_folder(name) else names.parse(name)
    samples = list(spec.read(root, **{**spec.options, **options}))
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".prepare-"))
    try:
        entries: list[Entry] = []
        with writing(temporary), (temporary / "pixels.bin").open("wb") as file:
            for sample, (image, mask) in zip(samples, _decoded(spec, samples), strict=True):
                entries.append(_entry(sample, image, mask, len(spec.classes), file.tell()))
                file.write(image.tobytes())
                file.write(mask.tobytes())
                progress(len(entries), len(samples))
        index = Index(
            name=name,
            title=spec.title,
            licence=spec.licence,
            citation=spec.citation,
            classes=spec.classes,
            stamp=stamp,
            hash=_hash(spec.classes, entries),
            entries=tuple(entries),
        )
        write_bytes(temporary / "index.json", json.dumps(asdict(index)).encode())
        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Prepared(folder, index)


def _decoded(spec: DatasetSpec, samples: Sequence[Sample]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair in order, decoded on all cores; a handful is not worth the start of processes."""
    cores = min(os.cpu_count() or 1, 16)
    if cores == 1 or len(samples) < 16:
        yield from map(spec.load, samples)
        return
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(spec.load, samples, chunksize=4)


def _entry(sample: Sample, image: np.ndarray, mask: np.ndarray, classes: int, offset: int) -> Entry:
    if image.dtype != np.uint8 or mask.dtype != np.uint8 or mask.ndim != 2 or image.shape != (*mask.shape, 3):
        raise DataError(
            f"{sample.image} was loaded as {image.dtype} {image.shape} with a mask {mask.dtype} {mask.shape}; it must "
            "be uint8 (H, W, 3) with uint8 (H, W). Mend `load` of the data set."
        )
    strange = (mask >= classes) & (mask != IGNORE)
    if strange.any():
        raise DataError(
            f"{sample.mask} holds the class {int(mask[strange][0])}; allowed are 0 to {classes - 1}, and {IGNORE} to "
            "ignore a pixel. Mend the file, or its reader."
        )
    digest = hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()
    pixels = tuple(np.bincount(mask.ravel(), minlength=classes)[:classes].tolist())
    return Entry(sample=sample, height=image.shape[0], width=image.shape[1], offset=offset, hash=digest, pixels=pixels)


def _hash(classes: tuple[ClassSpec, ...], entries: list[Entry]) -> str:
    """Where the raw files lay, and in which order they were read, is no part of what the data are."""
    lines = sorted(f"{e.sample.id}\t{e.sample.source}\t{e.sample.split}\t{e.sample.label}\t{e.hash}" for e in entries)
    return hashlib.sha256("\n".join([repr([spec.name for spec in classes]), *lines]).encode()).hexdigest()[:16]


def _stamp(name: str, source: Path | None) -> str:
    """Hash of what prepared data are made from: the reader's code, and names, sizes and times of all raw files."""
    digest = hashlib.sha256(catalog.code_hash("datasets", name).encode())
    if source is not None and source.exists():
        for path in _raw_files(name, source):
            state = path.stat()
            digest.update(f"{path.relative_to(source)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _raw_files(name: str, source: Path) -> list[Path]:
    """All files of an archive; of a plain folder those that a data set is made of, since results may lie there too."""
    if source.is_file():
        return [source]
    inner = ("images", "masks", "train", "val", "test") if catalog.is_folder(name) else (".",)
    below = [path for folder in inner for path in (source / folder).rglob("*") if path.is_file()]
    return sorted({*below, *source.glob("*.toml"), *source.glob("*.json")})


def _read_index(folder: Path) -> Index | None:
    """The index of a prepared folder; None when there is none or it is of another schema: then it is made anew."""
    import pydantic

    try:
        index = _adapter().validate_json((folder / "index.json").read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
    pixels, size = folder / "pixels.bin", sum(4 * entry.height * entry.width for entry in index.entries)
    return index if index.schema == SCHEMA and pixels.is_file() and pixels.stat().st_size == size else None


@functools.cache
def _adapter():
    import pydantic

    return pydantic.TypeAdapter(Index)


def _save_array(path: Path, array: np.ndarray) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.part")
    with writing(path):
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        temporary.replace(path)


def _description(spec: DatasetSpec) -> str:
    texts = {key: getattr(spec, key) for key in ("title", "licence", "citation", "homepage")}
    lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in texts.items()]
    lines.append(f"ignore = {IGNORE}")
    if spec.pixel_size_um is not None:
        lines.append(f"pixel_size_um = {spec.pixel_size_um}")
    for value, entry in enumerate(spec.classes):
        lines += ["", "[[classes]]", f"name = {json.dumps(entry.name, ensure_ascii=False)}"]
        lines += [f"colour = {list(entry.colour)}", f"value = {value}"]
    return "\n".join(lines) + "\n"
