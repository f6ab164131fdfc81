"""A folder sealed: a manifest and SHA256SUMS beside its files; and as an archive, whose bytes depend on these alone."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from bench.manifest import FILE, SUMS, FileEntry, Manifest, as_json, sums
from bench.store import sha256, write_bytes, writing_file

PACKED = {".npz", ".png", ".jpg", ".safetensors", ".parquet"}
"""What no zip makes smaller."""
TIME = 315532800
"""The time of every file in an archive, 1980-01-01: the first that a zip can say [s since 1970]."""


def pack(folder: Path, archive: Path, name: str) -> str:
    """Write a staged folder as one archive whose bytes depend on its files alone; return its sha256.

    Args:
        folder: What is packed.
        archive: Ends in .zip, .tar.gz or .tgz; takes the place of what is there once it is whole.
        name: Of the folder that everything lies in, in the archive.
    Raises:
        DiskFull: If there is no room.
        StoreError: If it cannot be written.
    """
    write = _zip if archive.name.endswith(".zip") else _tar
    with writing_file(archive) as part, part.open("wb") as sink:
        write([(f"{name}/{path.relative_to(folder).as_posix()}", path) for path in _ordered(folder)], sink)
    return sha256(archive)


def listed(root: Path) -> list[FileEntry]:
    """Every file of a folder, but for the manifest and SHA256SUMS, with its size and hash."""
    return [
        FileEntry(path=path.relative_to(root).as_posix(), size=path.stat().st_size, sha256=sha256(path))
        for path in _ordered(root)
        if path.relative_to(root).as_posix() not in (FILE, SUMS)
    ]


def write_manifest(root: Path, found: Manifest) -> None:
    """Write manifest.json, and SHA256SUMS beside it."""
    write_bytes(root / FILE, as_json(found))
    write_bytes(root / SUMS, sums(found.files, sha256(root / FILE)))


def _ordered(folder: Path) -> Iterator[Path]:
    """All files of a folder: the manifest first, then by their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    yield from sorted(files, key=lambda path: (path != folder / FILE, path.relative_to(folder).as_posix()))


def _zip(files: Iterable[tuple[str, Path]], sink: IO[bytes]) -> None:
    with zipfile.ZipFile(sink, "w") as archive:
        for name, path in files:
            about = zipfile.ZipInfo(name)
            about.create_system, about.external_attr, about.file_size = 3, 0o100644 << 16, path.stat().st_size
            about.compress_type = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(about, "w") as out:
                shutil.copyfileobj(source, out, 2**20)


def _tar(files: Iterable[tuple[str, Path]], sink: IO[bytes]) -> None:
    with (
        gzip.GzipFile("", "wb", fileobj=sink, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in files:
            about = tarfile.TarInfo(name)
            about.size, about.mtime = path.stat().st_size, TIME
            with path.open("rb") as source:
                archive.addfile(about, source)
