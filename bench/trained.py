"""The stored cell that somebody wants to use: by its key or its folder, with weights that are the ones it names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import catalog, manifest, names
from bench.errors import NameUnknown, StoreError
from bench.records import Record, Status
from bench.specs import Recipe
from bench.store import parse_record, read_record, records, sha256

HEADER = 100 * 2**20
"""Bytes that the header of a .safetensors may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A cell whose network can be used.

    Attributes:
        record: What is known of it; its data card, with the classes, is there.
        weights: The file with its weights, whose sha256 is the one in the record.
        recipe: How it was trained.
    """

    record: Record
    weights: Path
    recipe: Recipe


def itself(cell: str | Path) -> bool:
    """Whether that is the folder of a cell, or the file that `bench convert` made of one; else it is a key."""
    return (Path(cell) / "record.json").is_file() or (Path(cell).suffix == ".safetensors" and Path(cell).is_file())


def find(cell: str, study: Path) -> Path:
    """The folder of a cell: one that is named itself, or that of a key below the folder of a study.

    Raises:
        NameUnknown: If there is no such cell; with the nearest keys.
        StoreError: If a record of the study cannot be read.
    """
    if itself(cell):
        return Path(cell)
    found = {read_record(path).cell.key: path.parent for path in sorted((study / "cells").glob("*/*/*/*/record.json"))}
    if cell not in found:
        raise catalog.unknown("cell", cell, found, f"bench status {study}")
    return found[cell]


def opened(folder: Path, *, force: bool = False) -> Trained:
    """A cell, checked down to the bytes of its weights.

    Args:
        folder: Of the cell, with record.json in it; or the file that `bench convert` made of one.
        force: Whether the code of the network may have changed since it was trained.
    Raises:
        StoreError: If the cell has no weights, or others than its record names, or the code changed.
        NameUnknown: If the architecture is not in the catalogue.
    """
    if folder.is_file():
        return unpacked(folder, force=force)
    record = read_record(folder / "record.json")
    key, weights = record.cell.key, folder / "weights.safetensors"
    if record.cell.loss is None:
        raise StoreError(f"{key} is a baseline, which has no weights. Choose a cell with a network: {_others(folder)}.")
    if record.weights_hash is None or record.data is None:
        why = f": {' '.join(record.error.message.split())[:200]}" if record.error else ""
        ended = f"since it ended as {record.status}{why}" if record.status != Status.OK else "or names none"
        raise StoreError(f"{key} has no weights, {ended}. Choose {_others(folder)}.")
    _check_known(record, folder)
    _check_code(record, force=force)
    if not weights.is_file():
        if weights.absolute() in manifest.left_out(_above(folder)):
            raise StoreError(
                f"{key} was exported without its weights. Get the export with them: bench export --weights."
            )
        raise StoreError(f"{weights} is missing. Copy it there, or run the cell again.")
    if (found := sha256(weights)) != record.weights_hash:
        raise StoreError(
            f"{weights} is not the file its record names: sha256 {found[:16]}.., not {record.weights_hash[:16]}... "
            "Copy the right file there, or run the cell again."
        )
    return Trained(record=record, weights=weights, recipe=_recipe(record, folder))


def unpacked(path: Path, *, force: bool = False) -> Trained:
    """The cell in a single file, as `bench convert` writes it: a .safetensors with its record in the header.

    Args and errors as those of `opened`.
    """
    header = _header(path)[1].get("__metadata__", {})
    if "record" not in header:
        raise StoreError(f"{path} was not written by bench convert: it holds no record. Give a cell, or convert one.")
    record = parse_record(header["record"].encode(), path)
    catalog.architecture(record.cell.architecture)
    _check_code(record, force=force)
    if tensors_hash(path) != header.get("tensors_sha256"):
        raise StoreError(f"{path} is damaged: its tensors are not those that were written. Convert the cell again.")
    return Trained(record=record, weights=path, recipe=_recipe(record, path))


def tensors_hash(path: Path) -> str:
    """sha256 of the tensors of a .safetensors, their names and shapes, whatever else its header says.

    Raises:
        StoreError: If it is no such file.
    """
    start, header = _header(path)
    named = {name: value for name, value in header.items() if name != "__metadata__"}
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode())
    with path.open("rb") as file:
        file.seek(start)
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors of a .safetensors begin, and its header: eight bytes tell the length of a JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER:
                raise ValueError(f"a header of {length} bytes")
            found = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is no .safetensors: {error}. Give a cell, or convert one.") from error
    if not isinstance(found, dict) or not isinstance(found.get("__metadata__", {}), dict):
        raise StoreError(f"{path} is no .safetensors: its header is no table. Give a cell, or convert one.")
    return 8 + length, found


def _check_known(record: Record, folder: Path) -> None:
    """Refuse a network that is not in the catalogue; what lies beside its weights is code of others, and not run.

    Raises:
        NameUnknown: Saying where its code is, if it came along.
    """
    try:
        catalog.architecture(record.cell.architecture)
    except NameUnknown as error:
        own = f"{manifest.CODE}/architectures/{names.parse(record.cell.architecture)[0]}.py"
        if not any((place / own).is_file() for place in (folder, _above(folder))):
            raise
        raise NameUnknown(
            f"{record.cell.architecture} is no network of bench. Its code came along as {own}, and is not run unasked: "
            f"read it, unpacked, then give bench --catalog {manifest.CODE} .., or BENCH_PATH."
        ) from error


def _check_code(record: Record, *, force: bool) -> None:
    key, name = record.cell.key, record.cell.architecture
    now, then = catalog.code_hash("architectures", name), record.ingredients.get("code")
    if now != then and not force:
        raise StoreError(
            f"The code of {name} changed since {key} was trained ({then} then, {now} now). Use the "
            "version of then, or --force (force=True) to try the weights in the code of now."
        )


def _recipe(record: Record, folder: Path) -> Recipe:
    import pydantic

    try:
        return pydantic.TypeAdapter(Recipe).validate_python(record.ingredients.get("recipe"))
    except pydantic.ValidationError as error:
        raise StoreError(
            f"The record in {folder} tells no recipe: {str(error).splitlines()[0]}. Run the cell again."
        ) from error


def _above(folder: Path) -> Path:
    """The folder of the study that a cell's is in; where that was copied, it may lie anywhere."""
    above = folder.absolute().parents
    return above[min(4, len(above) - 1)]


def _others(folder: Path) -> str:
    """Up to three cells of the same study that have weights."""
    usable = [
        one.cell.key
        for one in records(_above(folder))
        if one.weights_hash and one.status in (Status.OK, Status.DIVERGED)
    ]
    return " or ".join(usable[:3]) or "a cell of another study; none of this one has weights"
