"""The folder that becomes a repository on the Hub: a whole study as a data set, or one trained cell as a model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bench import modelcard, packing, recompute, report, sealing
from bench.errors import StudyError
from bench.hub import Kind
from bench.manifest import CODE, SUMS, sums
from bench.manifest import FILE as MANIFEST
from bench.packing import RESULTS, WEIGHTS, Choice, Say
from bench.records import Record
from bench.store import Store, read_record, sha256, write_bytes

CARD = "README.md"


def write(folder: Path, target: Path, repository: str, choice: Choice, licence: str, say: Say) -> Kind:
    """Write what is uploaded, with its card and SHA256SUMS; return what kind of repository it is for.

    Args:
        folder: The results of a study.
        target: A folder that is empty or not there.
        repository: Where it goes, as `owner/name`.
        choice: What of the results; one cell with weights makes a model.
        licence: As the Hub calls it.
        say: Told what was left out, and why.
    Raises:
        StudyError: If one cell was wanted, and more or none that was trained are meant.
        What `packing.stage` and `modelcard.subject` raise.
    """
    if not choice.weights:
        packing.stage(folder, target, choice, say)
        found = report.collect(target, recompute.profile_of(target), recompute.missing_of(target))
        write_bytes(target / CARD, modelcard.dataset(found, repository, licence).encode())
        _sum(target)
        return "dataset"
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        staged = Path(scratch) / "staged"
        packing.stage(folder, staged, choice, say)
        record, where = _only(staged)
        content = report.collect(folder, recompute.profile_of(folder), recompute.missing_of(folder))
        about = modelcard.subject(content, _key(folder, record))._replace(record=record)
        _model(staged, where, target, record)
        write_bytes(target / CARD, modelcard.model(about, repository, licence).encode())
    _sum(target)
    return "model"


def _only(staged: Path) -> tuple[Record, Path]:
    """The one cell of a folder, which has weights, and where it lies."""
    paths = sorted((staged / "cells").glob("*/*/*/*/record.json"))
    found = [read_record(path) for path in paths]
    if len(found) > 1:
        keys = " or ".join(record.cell.key for record in found[:3])
        raise StudyError(f"A model is one cell, and {len(found)} are meant. Give --cell {keys}.")
    if found[0].cell.loss is None or found[0].weights_hash is None:
        raise StudyError(f"{found[0].cell.key} has no weights, so that it is no model. Choose a cell with a network.")
    return found[0], paths[0].parent


def _key(folder: Path, record: Record) -> str:
    """The key of a cell in the folder it is from, where its data set may be called otherwise."""
    paths = (folder / "cells").glob("*/*/*/*/record.json")
    return next(one.cell.key for one in map(read_record, paths) if one.fingerprint == record.fingerprint)


def _model(staged: Path, cell: Path, target: Path, record: Record) -> None:
    """What `bench.load` reads, and what its card refers to, in one flat folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (*RESULTS, WEIGHTS):
        if (cell / name).is_file():
            shutil.copyfile(cell / name, target / name)
    shutil.copyfile(staged / "study.toml", target / "study.toml")
    split = Store(staged).split(record.cell.dataset, record.cell.fold)
    if split.is_file():
        shutil.copyfile(split, target / "split.json")
    if (staged / CODE).is_dir():
        shutil.copytree(staged / CODE, target / CODE)


def _sum(target: Path) -> None:
    """Write SHA256SUMS of all that is there."""
    (target / SUMS).unlink(missing_ok=True)
    if (target / MANIFEST).is_file():
        files = sealing.listed(target)
        write_bytes(target / SUMS, sums(files, sha256(target / MANIFEST)))
        return
    lines = [f"{one.sha256}  {one.path}\n" for one in sealing.listed(target)]
    write_bytes(target / SUMS, "".join(lines).encode())
