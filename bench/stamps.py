"""What tells whether prepared data are still those of their raw files, and two prepared data sets from each other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench import catalog
from bench.decode import Entry
from bench.specs import ClassSpec


def content(classes: tuple[ClassSpec, ...], entries: list[Entry]) -> str:
    """Hash of classes, samples and pixels: where raw files lay, and in which order they were read, is no part of it."""
    lines = sorted(f"{e.sample.id}\t{e.sample.source}\t{e.sample.split}\t{e.sample.label}\t{e.hash}" for e in entries)
    return hashlib.sha256("\n".join([repr([spec.name for spec in classes]), *lines]).encode()).hexdigest()[:16]


def raw(name: str, source: Path | None) -> str:
    """Hash of what prepared data are made from: the reader's code, and names, sizes and times of all raw files."""
    digest = hashlib.sha256(catalog.code_hash("datasets", name).encode())
    if source is not None and source.exists():
        for path in _files(name, source):
            state = path.stat()
            digest.update(f"{path.relative_to(source)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _files(name: str, source: Path) -> list[Path]:
    """All files of an archive; of a plain folder those that a data set is made of, since results may lie there too."""
    if source.is_file():
        return [source]
    inner = ("images", "masks", "train", "val", "test") if catalog.is_folder(name) else (".",)
    below = [path for folder in inner for path in (source / folder).rglob("*") if path.is_file()]
    return sorted({*below, *source.glob("*.toml"), *source.glob("*.json")})
