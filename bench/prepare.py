"""A raw data set, decoded once and checked, on disk: what every cell reads.

<data-home>/<name>/index.json     classes, samples, sizes, hashes; written last, so it says that the rest is there
<data-home>/<name>/pixels.bin     uint8: per sample the image (H, W, 3), then the mask (H, W); not with --no-native
<data-home>/<name>/{images,masks}-<H>x<W>-<fit>.npy     the same at training size; see bench.derived
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bench import (
    archive,
    auditfile,
    catalog,
    copies,
    decode,
    derived,
    download,
    duplicates,
    findings,
    lineage,
    locks,
    names,
    plan,
    pool,
    protocols,
    quantities,
    stamps,
)
from bench.decode import Entry
from bench.errors import DataError, NotPrepared, StoreError
from bench.findings import Audit
from bench.protocols import Protocol
from bench.records import DataCard
from bench.specs import ClassSpec, DatasetSpec, Recipe, Sample, Split
from bench.split import RATIOS, SPLIT_VERSION, assign
from bench.store import ROOM, check_room, escape, write_bytes, writing

SCHEMA = 1
Progress = derived.Progress
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What index.json holds.

    Attributes:
        stamp: Hash of the reader's code and of the names, sizes and times of the raw files.
        hash: Hash of classes, samples and pixels: what a fingerprint calls the data.
        native: False when pixels.bin is not kept and the raw files are read again wherever native pixels are needed.
        source: Where the raw files were; empty for a generated data set.
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
    native: bool = True
    source: str = ""


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
        """Image uint8 (H, W, 3) and mask uint8 (H, W) at native size, read-only views of the file where it is kept.

        Raises:
            DataError: If it is not kept, and the raw files are gone or changed.
        """
        return self.reader()(entry)

    def reader(self) -> Callable[[Entry], tuple[np.ndarray, np.ndarray]]:
        """What `native` calls; can be pickled."""
        if self.index.native:
            return functools.partial(_view, self.folder / "pixels.bin")
        return functools.partial(_again, _loader(self.index.name, self.index.source, self.index.stamp))

    def split(self, fold: int, folds: int, ratios: tuple[float, float, float] = RATIOS) -> dict[Split, list[int]]:
        """Positions in `index.entries` that train, validate and test in a fold; see `bench.split.assign`."""
        assigned = assign(self.samples, fold, folds, ratios, self.present)
        positions: dict[Split, list[int]] = {"train": [], "val": [], "test": []}
        for position, entry in enumerate(self.index.entries):
            positions[assigned[entry.sample.id]].append(position)
        return positions

    def ids(self, fold: int, folds: int, ratios: tuple[float, float, float] = RATIOS) -> dict[Split, list[str]]:
        """The ids that train, validate and test in a fold, sorted."""
        split = self.split(fold, folds, ratios)
        return {name: sorted(self.index.entries[at].sample.id for at in group) for name, group in split.items()}

    def hash(self, fold: int, folds: int, ratios: tuple[float, float, float] = RATIOS) -> str:
        """Hash of the pixels and classes, and of who trains, validates and tests on what in a fold."""
        return plan.digest([self.index.hash, SPLIT_VERSION, self.ids(fold, folds, ratios)])

    @property
    def samples(self) -> list[Sample]:
        """The sample of every entry."""
        return [entry.sample for entry in self.index.entries]

    @property
    def present(self) -> dict[str, list[int]]:
        """Foreground classes in the mask of each sample, by id."""
        return {
            entry.sample.id: [label for label, pixels in enumerate(entry.pixels) if label > 0 and pixels > 0]
            for entry in self.index.entries
        }

    def resized(
        self, recipe: Recipe, progress: Progress = lambda done, of: None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All images and masks at training size, memory-mapped; made on all cores when they are not there yet.

        Returns:
            Images uint8 (N, H, W, 3), masks uint8 (N, H, W), and which entry each row belongs to, int64 (N,), rising.
        """
        entries = self.index.entries
        images, masks = derived.arrays(self.folder, entries, self.sizes, recipe, self.reader(), progress)
        return images, masks, derived.owners(self.sizes, recipe)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Native height and width of every entry."""
        return [(entry.height, entry.width) for entry in self.index.entries]

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
            leaked=self._leaked(positions),
        )

    def audit(self) -> Audit | None:
        """What was found in it; None where nobody has looked since it was prepared."""
        with contextlib.suppress(StoreError):  # missing, damaged, or of an older schema
            found = auditfile.load(self.folder / auditfile.FILE)
            return found if found.hash == self.index.hash else None
        return None

    def leaked(self, split: Mapping[str, Split]) -> dict[Split, list[str]] | None:
        """The images that have a copy in another split, by their looks or names; None where nobody has looked."""
        found = self.audit()
        if found is None:
            return None
        return findings.leaked((*found.findings, *lineage.shared(self.samples, split)), split)

    def _leaked(self, positions: dict[Split, list[int]]) -> dict[str, int] | None:
        found = self.leaked(
            {self.index.entries[at].sample.id: name for name, group in positions.items() for at in group}
        )
        return None if found is None else {name: len(ids) for name, ids in found.items()}


def prepare(
    name: str,
    data_home: Path,
    source: Path | None = None,
    progress: Progress = lambda done, of: None,
    *,
    native: bool | None = None,
    recipe: Recipe | None = None,
    say: Say = lambda line: None,
) -> Prepared:
    """Decode and check a data set, unless it is prepared already.

    Args:
        name: A catalogue name with options, or the path of a folder.
        data_home: Where prepared data live.
        source: The folder or zip with the raw files; not needed for a generated data set or a folder.
        progress: Told how far the decoding is.
        native: False keeps no native pixels but reads the raw files again when they are needed; None takes what is
            there, and keeps them when nothing is.
        recipe: What size the images will be brought to, if that is known: it counts in the disk that is needed.
        say: Told the disk it needs, before it starts.
    Raises:
        DataError: If the raw files are missing or malformed; nothing is left half-prepared.
        StoreError: If the disk has no room for it.
    """
    base, protocol = protocols.apart(name)
    if protocol.copied:
        there = prepare(base, data_home, source, progress, native=native, say=say)
        return _copied(name, protocol, there, data_home, progress, recipe, say)
    spec = None if catalog.is_folder(name) else catalog.dataset(name)
    source = Path(name) if spec is None else spec.raw or source
    folder = location(name, data_home)
    found, stamp = _read_index(folder), stamps.raw(name, source)
    if found is not None and found.stamp == stamp and native in (None, found.native):
        return Prepared(folder, found)
    spec = spec or catalog.dataset(name)  # looks into every mask of a folder, hence only now
    if source is None and not spec.generated:
        return open_prepared(name, data_home)
    if source is not None and spec.generated:
        raise DataError(f"{name} is generated and takes no files; leave --from {source} out.")
    if native is False and source is not None and source.exists() and archive.zips(source):
        raise DataError(f"{source} is packed and cannot be read again picture by picture. Unpack it, or keep --native.")
    check_room(data_home)
    blank = Index(
        name=name,
        title=spec.title,
        licence=spec.licence,
        citation=spec.citation,
        classes=spec.classes,
        stamp=stamp,
        hash="",
        entries=(),
        native=native is not False,
        source="" if source is None else str(source.resolve()),
    )
    with contextlib.nullcontext(Path()) if source is None else archive.opened(source, data_home) as root:
        return _written(spec, root, blank, folder, progress, recipe, say)


def open_prepared(name: str, data_home: Path) -> Prepared:
    """A data set that was prepared before; a generated one or a folder is prepared on the spot.

    Raises:
        NotPrepared: With the command that prepares it.
    """
    if catalog.is_folder(name) or protocols.apart(name)[1].copied:
        return prepare(name, data_home)
    spec = catalog.dataset(name)
    if spec.generated or spec.raw is not None:
        return prepare(name, data_home)
    found = _read_index(location(name, data_home))
    if found is None:
        raise NotPrepared(
            f"The data set {name!r} is not prepared in {data_home}. To use it, {download.how(name, spec)}."
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
        base, protocol = protocols.apart(name)
        path, tail = Path(base).resolve(), names.show("", protocol.options)
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        return data_home / f"folder-{escape(path.name)[:60]}-{digest}{tail}"
    return data_home / escape(names.show(*names.parse(name)))


def _copied(
    name: str, protocol: Protocol, base: Prepared, data_home: Path, progress: Progress, recipe: Recipe | None, say: Say
) -> Prepared:
    """The copies of a prepared data set, prepared likewise; its raw files are not looked at again."""
    index, title, folder = base.index, f"{base.index.title}, {protocol.title}", location(name, data_home)
    stamp = copies.stamp(repr((index.hash, title, index.licence, index.citation, index.classes)))
    found = _read_index(folder)
    if found is not None and found.stamp == stamp:
        return Prepared(folder, found)
    spec = DatasetSpec(
        title=title,
        classes=index.classes,
        read=lambda root: copies.listed(base.samples, protocol),
        load=functools.partial(copies.load, protocol.copies, functools.partial(_natives, str(base.folder), index.hash)),
        licence=index.licence,
        citation=index.citation,
        homepage="",
    )
    blank = replace(index, name=name, title=title, stamp=stamp, hash="", entries=(), native=True, source="")
    return _written(spec, Path(), blank, folder, progress, recipe, say)


@functools.lru_cache(maxsize=2)
def _natives(folder: str, content: str) -> Callable[[str], tuple[np.ndarray, np.ndarray]]:
    """What reads a prepared data set by the ids of its samples; a process reads the index once for each content."""
    index = _read_index(Path(folder))
    if index is None or index.hash != content:
        raise DataError(f"The prepared data in {folder} changed while copies were made of them. Run it again.")
    entries = {entry.sample.id: entry for entry in index.entries}
    read = Prepared(Path(folder), index).reader()
    return lambda name: read(entries[name])


def _written(
    spec: DatasetSpec, root: Path, blank: Index, folder: Path, progress: Progress, recipe: Recipe | None, say: Say
) -> Prepared:
    """Write a data set, one process at a time: who waited for another takes what that one made."""
    wait = functools.partial(say, f"{blank.name} is being prepared by another process; waiting for it")
    with locks.turn(folder.parent / f".{folder.name}.lock", wait):
        found = _read_index(folder)
        if found is not None and (found.stamp, found.native) == (blank.stamp, blank.native):
            return Prepared(folder, found)
        return _write(spec, root, blank, folder, progress, recipe, say)


def _write(
    spec: DatasetSpec, root: Path, blank: Index, folder: Path, progress: Progress, recipe: Recipe | None, say: Say
) -> Prepared:
    """Decode into a folder of its own, then put that in place of the old one; `blank` is the index without entries."""
    named = spec.options and not catalog.is_folder(blank.name)
    samples = list(spec.read(root, **{**spec.options, **(names.parse(blank.name)[1] if named else {})}))
    sizes = decode.sizes(spec.load, samples)
    room = sum(4 * height * width for height, width in sizes) if blank.native else 0
    room += 0 if recipe is None else derived.needed(sizes, recipe)
    check_room(folder.parent, room + ROOM)
    free = shutil.disk_usage(folder.parent).free
    say(f"{len(samples)} pairs need about {quantities.size(room)} on {folder.parent}; {quantities.size(free)} free")
    with writing(folder):
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".prepare-"))
    try:
        target = temporary / "pixels.bin" if blank.native else None
        work = functools.partial(decode.attempt, spec.load, spec.doubtful, len(spec.classes), target)
        decoded: list[decode.Decoded] = []
        wrong: list[tuple[Sample, DataError]] = []
        with writing(temporary):
            for sample, outcome in zip(samples, pool.each(work, samples), strict=True):
                wrong += [(sample, outcome)] if isinstance(outcome, DataError) else []
                decoded += [] if isinstance(outcome, DataError) else [outcome]
                progress(len(decoded) + len(wrong), len(samples))
        decode.refuse(wrong, len(samples))
        prints, exact = [signs for _, signs in decoded], [entry.hash for entry, _ in decoded]
        known = duplicates.sourced(samples, prints, exact, say)
        entries = [replace(entry, sample=sample) for (entry, _), sample in zip(decoded, known, strict=True)]
        index = replace(blank, hash=stamps.content(spec.classes, entries), entries=tuple(entries))
        write_bytes(temporary / "index.json", json.dumps(asdict(index)).encode())
        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Prepared(folder, index)


def _view(path: Path, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """One pair in pixels.bin, memory-mapped."""
    area = entry.height * entry.width
    raw = np.memmap(path, np.uint8, "r", offset=entry.offset, shape=(4 * area,))
    return raw[: 3 * area].reshape(entry.height, entry.width, 3), raw[3 * area :].reshape(entry.height, entry.width)


def _again(load: Callable[[Sample], tuple[np.ndarray, np.ndarray]], entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """One pair out of its raw files, which are known to be the ones that were prepared."""
    image, mask = load(entry.sample)
    image.flags.writeable = mask.flags.writeable = False
    return image, mask


@functools.lru_cache(maxsize=64)
def _loader(name: str, source: str, stamp: str) -> Callable[[Sample], tuple[np.ndarray, np.ndarray]]:
    """What reads the raw files of a data set again, once it is sure that they are the ones that were prepared."""
    if stamp != stamps.raw(name, Path(source) if source else None):
        raise DataError(
            f"The native pixels of {name!r} were not kept, and its raw files in {source} are gone or changed. Put them "
            f"back, or run: bench data prepare {name} --from PATH"
        )
    return catalog.dataset(name).load


def _read_index(folder: Path) -> Index | None:
    """The index of a prepared folder; None when there is none or it is of another schema: then it is made anew."""
    import pydantic

    try:
        index = _adapter().validate_json((folder / "index.json").read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
    pixels, size = folder / "pixels.bin", sum(4 * entry.height * entry.width for entry in index.entries)
    whole = not index.native or (pixels.is_file() and pixels.stat().st_size == size)
    return index if whole and index.schema == SCHEMA else None


@functools.cache
def _adapter():
    import pydantic

    return pydantic.TypeAdapter(Index)
