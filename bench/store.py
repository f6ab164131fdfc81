"""Records on disk: one folder per cell, written so that a kill leaves either the old cell or the new one.

    results/<study>/study.toml
    results/<study>/cells/<dataset>/<architecture>/<loss>/f0-s0/{record.json, counts.npz, ..}
    results/<study>/cells/<dataset>/<architecture>/<loss>/f0-s0/training/{epochs.csv, strip.png, ..}, see bench.logbook
    results/<study>/tuning/<dataset>/<architecture>/<loss>/f0/{journal, trials.json}
    results/<study>/executions/<architecture>/<circumstances>.json
    results/<study>/examples/<dataset>/f0.npz
    results/<study>/splits/<dataset>/f0.json

`record.json` is written last and names the hashes of counts and measures, so it alone decides whether a cell is done.
Pictures are no results and have no hash: `predictions.npz` and `epochs.npz` of a cell, and the examples. The `seal` of
a record is the hash of its other fields, by which `bench verify` finds one that was changed by hand.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bench import plan
from bench.errors import DiskFull, StoreError
from bench.metrics import Counts
from bench.records import Record
from bench.specs import SCHEMA, Cell

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
ROOM = 64 * 2**20
"""Free disk a study wants before it starts [bytes]."""


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of one study."""

    root: Path

    def cell(self, cell: Cell) -> Path:
        """The folder of a cell; names are escaped, so that none can leave the study's folder."""
        return self.root.joinpath("cells", *_parts(cell), f"f{cell.fold}-s{cell.seed}")

    def tuning(self, cell: Cell) -> Path:
        """The folder of the tuning that all seeds of a cell share."""
        return self.root.joinpath("tuning", *_parts(cell), f"f{cell.fold}")

    def executions(self, architecture: str) -> Path:
        """The folder that remembers how a network is run fastest, and within the memory there is."""
        return self.root / "executions" / escape(architecture)

    def examples(self, dataset: str, fold: int) -> Path:
        """The file with the example images and masks of a data set, which all its cells are shown on."""
        return self.root / "examples" / escape(dataset) / f"f{fold}.npz"

    def split(self, dataset: str, fold: int) -> Path:
        """The file that says which images of a data set train, validate and test in a fold."""
        return self.root / "splits" / escape(dataset) / f"f{fold}.json"

    def write(self, record: Record) -> None:
        """Store a record; whatever it refers to must be on disk already."""
        values = asdict(record)
        text = json.dumps({**values, "seal": seal(values)}, indent=1, allow_nan=False)
        write_bytes(self.cell(record.cell) / "record.json", text.encode())

    def write_counts(self, cell: Cell, ids: list[str], counts: Counts) -> str:
        """Store the matrices uint32 (images, C, C) and the image ids; return the sha256 of the file."""
        return write_arrays(self.cell(cell) / "counts.npz", counts=counts.astype(np.uint32), ids=np.array(ids))

    def write_measures(self, cell: Cell, ids: list[str], measures: Mapping[str, np.ndarray]) -> str:
        """Store what was measured per image, float64 (images, ..) by name, beside the ids; return the file's sha256."""
        return write_arrays(self.cell(cell) / "measures.npz", ids=np.array(ids), **measures)

    def read(self, cell: Cell) -> Record | None:
        """The record of a cell; None when there is none, or when its counts are missing or not the ones it names.

        Raises:
            StoreError: If the record is of another schema, or is not a record.
        """
        path = self.cell(cell) / "record.json"
        if not path.is_file():
            return None
        record = read_record(path)
        if record.counts_hash is not None:
            counts = path.with_name("counts.npz")
            if not counts.is_file() or sha256(counts) != record.counts_hash:
                return None
        return record

    def counts(self, cell: Cell) -> tuple[list[str], Counts]:
        """Image ids and matrices uint32 (images, C, C) of a cell.

        Raises:
            StoreError: If the file is missing or is not one of ours.
        """
        path = self.cell(cell) / "counts.npz"
        arrays = read_arrays(path)
        if not {"ids", "counts"} <= arrays.keys():
            raise StoreError(
                f"{path} holds {sorted(arrays)}, not ids and counts. Run the study again to write it anew."
            )
        return [str(name) for name in arrays["ids"]], arrays["counts"]

    def measures(self, record: Record) -> tuple[list[str], dict[str, np.ndarray]]:
        """Image ids and the measures float64 (images, ..) of a cell, by name; none where there is no file.

        Raises:
            StoreError: If the file is damaged or is not the one the record names.
        """
        path = self.cell(record.cell) / "measures.npz"
        if record.measures_hash is None or not path.is_file():
            return [], {}
        arrays = read_arrays(path)
        if sha256(path) != record.measures_hash or "ids" not in arrays:
            raise StoreError(f"{path} is not the file its record names. Delete record.json beside it and run again.")
        return [str(name) for name in arrays.pop("ids")], arrays


def escape(name: str) -> str:
    """A name as one folder name on every system: reversible text, shortened with a hash when too long."""
    text = quote(name, safe="+,=[]-_")  # quote never touches letters, digits and _.-~
    text = re.sub(r"^\.+", lambda dots: "%2E" * len(dots[0]), text) or "%00"
    if len(text) <= 120:
        return text
    return f"{text[:100]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def writing_file(path: Path) -> Generator[Path]:
    """A name to write a file under; it takes the place of `path` when it is whole, and never in part.

    Raises:
        DiskFull: If there is no room.
        StoreError: If the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what kills left of files that were being written; for whoever holds the lock of the folder."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part; raises as `writing_file`."""
    with writing_file(path) as temporary:
        temporary.write_bytes(data)


def write_arrays(path: Path, **arrays: np.ndarray) -> str:
    """Write a compressed npz atomically; return the sha256 of its bytes."""
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise TypeError(f"{', '.join(objects)} would have to be pickled, which {path} never is")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # ty: ignore[invalid-argument-type] - its switch against pickles is younger
    write_bytes(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """The arrays of an npz, or those of some names that it has; nothing in it is ever executed.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not names or name in names}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else "it is damaged or not one of ours"
        raise StoreError(f"{path} cannot be read: {reason}. Run the study again to write it anew.") from error


def read_record(path: Path) -> Record:
    """One record.json, checked.

    Raises:
        StoreError: If it is of another schema, or is not a record.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} is not a record of bench: {error}. Delete it and run again.") from error
    return parse_record(text, path)


def parse_record(text: bytes, path: Path) -> Record:
    """The record in a JSON that was read from `path`; raises as `read_record`."""
    import pydantic

    try:
        values: Any = json.loads(text)
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else None
            raise StoreError(
                f"{path} has schema {found}; this version of bench reads schema {SCHEMA}. Choose another --results, or "
                "use the version that wrote it."
            )
        return _adapter().validate_python(values)
    except (ValueError, pydantic.ValidationError) as error:
        raise StoreError(
            f"{path} is not a record of bench: {str(error).splitlines()[0]}. Delete it and run again."
        ) from error


def seal(values: Mapping[str, object]) -> str:
    """Hash of the fields of a record, but for the one that holds it."""
    return plan.digest({name: value for name, value in values.items() if name != "seal"})


def records(root: Path) -> Iterator[Record]:
    """All records below a study's folder, in the order of their paths."""
    for path in sorted((root / "cells").glob("*/*/*/*/record.json")):
        yield read_record(path)


def check_room(folder: Path, needed: int = ROOM) -> None:
    """Refuse to start on a full disk, or in a folder that cannot be written.

    Raises:
        StoreError: Saying how much is free and how much is wanted.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"The folder {folder} cannot be written to. Choose another one.")
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"The disk of {folder} has {free / 2**20:.0f} MiB free; {needed / 2**20:.0f} MiB are needed to start. "
            "Free some, or choose another folder."
        )


@contextlib.contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn what the system says about a failed write into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # a decoder's complaint about its input, not the system's about the disk
        raise_if_full(error, path)
        raise StoreError(f"Cannot write {path}: {error.strerror}. Check the folder, or choose another one.") from error


def raise_if_full(error: BaseException, path: Path) -> None:
    """Say what to do about an error of the system's, whoever met it, if it is that the disk is full.

    Raises:
        DiskFull: If there is no room.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        raise DiskFull(
            f"No room is left to write {path}. Finished cells are kept; free some disk and run again."
        ) from error


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(cell: Cell) -> tuple[str, str, str]:
    return escape(cell.dataset), escape(cell.architecture), escape(cell.loss or "-")


@functools.cache
def _adapter() -> Any:
    """The validator of Record, built on first use (it costs a tenth of a second)."""
    import pydantic

    return pydantic.TypeAdapter(Record)
