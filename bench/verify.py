"""Whether a results folder is what it says: every published number again from the stored matrices, and every hash.

Nothing is mended here: each finding names its file and says what to do. Pictures and drawings of the page are not
compared, since another version of their libraries draws them differently; all its texts and numbers are.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import album, catalog, losses, manifest, names, plan, recompute, report
from bench import study as studies
from bench.errors import BenchError, DataError, NameUnknown, StoreError, StudyError
from bench.metrics import Counts
from bench.prepare import reopen
from bench.records import Record, Status
from bench.specs import Cell, Study
from bench.split import SPLIT_VERSION
from bench.store import Store, read_arrays, read_record, seal, sha256

AGAIN = "Run the study again to write it anew."
SUFFIXES = {"weights": "weights.safetensors"}
"""The files with a hash in the record that are no npz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be: where (below the study's folder), what, and what to do."""

    path: str
    what: str
    fix: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found.

    Attributes:
        findings: Empty when all is well.
        notes: What could not be checked, and why.
        checked: How much of what was looked at.
    """

    folder: str
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    checked: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True, kw_only=True)
class _Audit:
    """A folder under examination, and what is known of it so far; `unsound` are the cells that had a finding."""

    store: Store
    report: Report
    records: dict[Cell, Record] = field(default_factory=dict[Cell, Record])
    counts: dict[Cell, tuple[list[str], Counts]] = field(default_factory=dict[Cell, tuple[list[str], Counts]])
    unsound: set[Cell] = field(default_factory=set[Cell])
    unreadable: bool = False
    left_out: frozenset[Path] = frozenset()

    def found(self, path: Path, what: str, fix: str, cell: Cell | None = None) -> None:
        """Note a finding."""
        finding = Finding(path=path.relative_to(self.store.root).as_posix(), what=what, fix=fix)
        if finding not in self.report.findings:
            self.report.findings.append(finding)
        if cell is not None:
            self.unsound.add(cell)

    def there(self, path: Path) -> bool:
        """Whether a file is there; a finding when it is not, unless an export left it out."""
        self.report.checked["files"] += 1
        if not path.exists() and path not in self.left_out:
            self.found(path, "is missing.", AGAIN)
        return path.exists()


def find(study: str | None, results: Path) -> Path:
    """The folder that is meant: a path, a name below `results`, or the newest study, even if its study.toml is gone.

    Raises:
        StudyError: If there is no such folder.
        StoreError: If there is no study at all.
    """
    if study is None:
        return report.newest(results)
    for folder in (Path(study), results / study):
        if (folder / "study.toml").is_file() or (folder / "cells").is_dir():
            return folder
    raise StudyError(f"Neither {study} nor {results / study} is the results folder of a study; bench run makes one.")


def verify(folder: Path, data_home: Path, profile_name: str | None = None) -> Report:
    """Check a study's folder.

    Args:
        folder: Where study.toml and cells/ are.
        data_home: Where prepared data may be; where they are, the matrices are held against the true masks.
        profile_name: The profile of the leaderboard; None finds it by its columns.
    Raises:
        NameUnknown: If there is no such profile.
    """
    audit = _Audit(store=Store(folder), report=Report(folder=str(folder)), left_out=manifest.left_out(folder))
    if missing := sum(not path.exists() for path in audit.left_out):
        audit.report.notes.append(
            f"{missing} files, weights or pictures, were left out of the export; see {manifest.FILE}."
        )
    study = _study(audit)
    for path in sorted(folder.glob("cells/*/*/*/*/")):
        _cell(audit, path, study)
    for cell, record in audit.records.items():
        _hashes(audit, cell, record)
        if record.counts_hash is not None:
            _matrices(audit, cell, record)
        _training(audit, cell, record, study)
    _truths(audit)
    _masks(audit, data_home)
    if study is not None:
        _published(audit, profile_name)
    return audit.report


def as_json(found: Report) -> str:
    """`{schema, folder, findings: [{path, what, fix}], notes, checked}`."""
    values = {"schema": 1, "folder": found.folder, "findings": [asdict(one) for one in found.findings]}
    return json.dumps(values | {"notes": found.notes, "checked": dict(found.checked)}, indent=1) + "\n"


def _study(audit: _Audit) -> Study | None:
    path = audit.store.root / "study.toml"
    try:
        return studies.load(str(path)) if audit.there(path) else None
    except BenchError as error:
        audit.found(path, f"cannot be read: {error}", AGAIN)
        return None


def _cell(audit: _Audit, folder: Path, study: Study | None) -> None:
    """Check one record against itself, its place and the study."""
    path = folder / "record.json"
    if not path.is_file():
        if (folder / "counts.npz").is_file():
            audit.found(path, "is missing, though its counts are there.", AGAIN)
        return
    audit.report.checked["records"] += 1
    try:
        record = read_record(path)
        values = json.loads(path.read_bytes())
    except StoreError as error:
        audit.unreadable = True
        audit.found(path, f"cannot be read: {error}", "Put the file back, or delete it and run the study again.")
        return
    audit.records[record.cell] = record
    for what in _contradictions(record, values, study):
        audit.found(path, what, AGAIN, record.cell)
    if audit.store.cell(record.cell) != folder:
        audit.found(path, f"is of the cell {record.cell.key}, which lies elsewhere.", AGAIN, record.cell)


def _contradictions(record: Record, values: Mapping[str, Any], study: Study | None) -> Iterator[str]:
    if "seal" not in values:
        yield "has no seal, by which a changed field is seen; an older version wrote it, or somebody took it out."
    elif values["seal"] != seal(values):
        yield f"was changed after it was written: its seal is {values['seal']}, its fields give {seal(values)}."
    if record.fingerprint != plan.digest(record.ingredients):
        yield f"has fingerprint {record.fingerprint}, but its ingredients give {plan.digest(record.ingredients)}."
    named = {name: value for name, value in asdict(record.cell).items() if name != "dataset"}
    if record.ingredients.get("cell") != named:
        yield f"is of the cell {record.cell.key}, but its ingredients are of {record.ingredients.get('cell')}."
    if study is not None and record.study != study.name:
        yield f"is of the study {record.study!r}, not {study.name!r}."
    if record.status is Status.OK and record.counts_hash is None:
        yield "is ok, but names no counts."
    lost = record.status is Status.OK and record.cell.loss is not None and record.best_epoch is None
    if lost and record.history:
        yield "is ok and has a curve, but no best epoch."


def _hashes(audit: _Audit, cell: Cell, record: Record) -> None:
    """Check every file of a cell whose hash its record names: `counts_hash` is that of counts.npz."""
    for name, named in asdict(record).items():
        if not name.endswith("_hash") or named is None:
            continue
        stem, folder = name.removesuffix("_hash"), audit.store.cell(cell)
        path = next(folder.glob(f"{stem}.*"), folder / SUFFIXES.get(stem, f"{stem}.npz"))
        if not audit.there(path):
            audit.unsound |= set() if path in audit.left_out else {cell}
        elif (hashed := sha256(path)) != named:
            audit.found(path, f"has sha256 {hashed[:16]}.., its record names {str(named)[:16]}..", AGAIN, cell)


def _matrices(audit: _Audit, cell: Cell, record: Record) -> None:
    """Check the counts of a cell, whose hash is right: their shape, and which images they are of."""
    path = audit.store.cell(cell) / "counts.npz"
    if not path.is_file() or sha256(path) != record.counts_hash:
        return
    try:
        ids, counts = audit.store.counts(cell)
    except StoreError as error:
        audit.found(path, f"cannot be read: {error}", AGAIN, cell)
        return
    classes = len(record.data.classes) if record.data else counts.shape[-1]
    if counts.shape != (len(ids), classes, classes) or len(set(ids)) != len(ids):
        audit.found(path, f"has shape {counts.shape} for {len(set(ids))} images of {classes} classes.", AGAIN, cell)
        return
    audit.report.checked["matrices"] += len(ids)
    audit.counts[cell] = ids, counts
    _split(audit, cell, record, ids)
    _pictures(audit, cell)


def _pictures(audit: _Audit, cell: Cell) -> None:
    """Check that the pictures of a cell are there and can be read; older results have none of its epochs."""
    folder = audit.store.cell(cell)
    needed = {
        folder / "predictions.npz": ("predicted",),
        audit.store.examples(cell.dataset, cell.fold): ("image", "truth"),
    }
    for path, kinds in needed.items():
        if audit.there(path):
            _readable(audit, path, kinds)
    if (folder / "epochs.npz").is_file():
        _readable(audit, folder / "epochs.npz", ("image", "truth", "predicted"))


def _readable(audit: _Audit, path: Path, kinds: Sequence[str]) -> None:
    """Check that arrays can be read, and that there is one of each kind for every id."""
    try:
        arrays = read_arrays(path)
    except StoreError as error:
        audit.found(path, f"cannot be read: {error}", AGAIN)
        return
    wanted = [f"{kind}{number}" for kind in kinds for number in range(len(arrays.get("ids", ())))]
    if missing := [name for name in wanted if name not in arrays]:
        audit.found(path, f"does not hold {missing[0]}.", AGAIN)


def _split(audit: _Audit, cell: Cell, record: Record, ids: Sequence[str]) -> None:
    """Check that the images of a cell are the test images of its split, and that it was trained on the others."""
    path = audit.store.split(cell.dataset, cell.fold)
    if not audit.there(path) or record.data is None:
        return
    try:
        told = json.loads(path.read_bytes())
        groups = {name: list(map(str, told[name])) for name in ("train", "val", "test")}
        version, data = told["version"], told["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        audit.found(path, f"is not a split of bench: {error!r}.", AGAIN)
        return
    if version != SPLIT_VERSION:
        audit.found(path, f"has version {version}; this version of bench reads {SPLIT_VERSION}.", AGAIN)
    every = [name for group in groups.values() for name in group]
    if twice := sorted(name for name, times in Counter(every).items() if times > 1):
        audit.found(path, f"names {twice[0]} {every.count(twice[0])} times; a picture is in one split.", AGAIN)
    if set(groups["test"]) != set(ids):
        odd = sorted(set(groups["test"]) ^ set(ids))
        what = (
            f"tests {len(groups['test'])} images, {cell.key} was scored on {len(ids)}; {odd[0]} is in one of them only."
        )
        audit.found(path, what, AGAIN)
    elif record.ingredients.get("data") != plan.digest([data, version, groups]) or record.data.hash != data:
        audit.found(path, f"is not the split or not the data that {cell.key} was made from.", AGAIN)


def _training(audit: _Audit, cell: Cell, record: Record, study: Study | None) -> None:
    """Check what a training left: weights, curve, trials; those of another protocol than the study's may be gone."""
    folder = audit.store.cell(cell)
    if cell.loss is None:
        return
    if record.status is Status.OK or record.weights_hash is not None:
        audit.there(folder / "weights.safetensors")
        curve = folder / "history.csv"
        if audit.there(curve) and _read_csv(curve) != [_texts(asdict(epoch)) for epoch in record.history]:
            audit.found(curve, "is not the curve of the record.", AGAIN)
    if record.trials and (study is None or _protocol(record) == plan.protocol(study)):
        trials = audit.store.tuning(cell) / "trials.json"
        if audit.there(trials) and _read_json(trials) != json.loads(json.dumps([asdict(one) for one in record.trials])):
            audit.found(trials, f"does not hold the trials of {cell.key}.", AGAIN)


def _truths(audit: _Audit) -> None:
    """Check that the cells of one split agree on how many pixels of each class every image truly has."""
    groups: dict[tuple[str, int, str], dict[Cell, str]] = {}
    for cell, (ids, counts) in audit.counts.items():
        card = audit.records[cell].data
        truth = sorted(zip(ids, counts.sum(axis=2, dtype=np.int64).tolist(), strict=True))
        groups.setdefault((cell.dataset, cell.fold, card.hash if card else ""), {})[cell] = plan.digest(truth)
    for group in groups.values():
        usual = Counter(group.values()).most_common(1)[0][0]
        for cell in (cell for cell, truth in group.items() if truth != usual):
            what = "counts other true pixels than the other cells do on the same images."
            audit.found(audit.store.cell(cell) / "counts.npz", what, AGAIN, cell)


def _masks(audit: _Audit, data_home: Path) -> None:
    """Check the matrices against the prepared masks, where those are at hand: no pixel lost, none made up."""
    for dataset in sorted({cell.dataset for cell in audit.counts}):
        try:
            index = reopen(dataset, data_home).index
        except (DataError, NameUnknown, StoreError):  # a folder that is gone may be called like no name
            audit.report.notes.append(f"{dataset} is not prepared in {data_home}; its masks were not counted again.")
            continue
        pixels, others = {entry.sample.id: list(entry.pixels) for entry in index.entries}, list[str]()
        for cell, (ids, counts) in audit.counts.items():
            card = audit.records[cell].data
            if cell.dataset != dataset or card is None:
                continue
            if card.hash != index.hash:
                others.append(cell.key)
                continue
            audit.report.checked["masks"] += len(ids)
            for name, found in zip(ids, counts.sum(axis=2, dtype=np.int64).tolist(), strict=True):
                if found != pixels.get(name):
                    what = f"counts {sum(found)} pixels in {name}, of which the mask has {sum(pixels.get(name, []))}."
                    audit.found(audit.store.cell(cell) / "counts.npz", what, AGAIN, cell)
        if others:
            audit.report.notes.append(f"{dataset} in {data_home} is not what {len(others)} cells were scored on.")


def _published(audit: _Audit, profile_name: str | None) -> None:
    """Recompute the leaderboard and the page, and compare."""
    notes, root = audit.report.notes, audit.store.root
    if audit.unreadable:
        notes.append("Published numbers were not recomputed, since a record cannot be read.")
        return
    content = report.collect(root, profile_name or recompute.profile_of(root), recompute.missing_of(root))
    audit.report.checked["numbers"] += sum(len(row.values) for row in content.rows)
    foreign = _foreign({row.cell for row in content.rows})
    for name, what in recompute.differences(content, {cell.key for cell in audit.unsound}):
        if name != "index.html" or not foreign:
            audit.found(root / name, what, "bench report writes it anew from the records.")
    if foreign:
        told = ", ".join(foreign)
        notes.append(f"index.html was not compared: what it says of {told} is in code that is not in this catalogue.")
    _linked(audit)
    if audit.unsound:
        notes.append(
            f"leaderboard.md, .tex and index.html were not compared: {len(audit.unsound)} cells have findings."
        )


def _foreign(cells: Iterable[Cell]) -> list[str]:
    """The networks and losses of some cells that are not in the catalogue, sorted."""
    found, known = set[str](), catalog.entries("architectures")
    for cell in cells:
        if cell.loss is None:
            continue
        if names.parse(cell.architecture)[0] not in known:
            found.add(cell.architecture)
        try:
            losses.parse(cell.loss)
        except NameUnknown:
            found.add(cell.loss)
    return sorted(found)


def _linked(audit: _Audit) -> None:
    """Check that the pictures that the page links to are beside it; a page may go without the whole folder."""
    page, beside = audit.store.root / "index.html", audit.store.root / album.FOLDER
    names = set(album.linked(page.read_text("utf-8", errors="replace"))) if page.is_file() else set[str]()
    if names and not beside.is_dir():
        audit.report.notes.append(f"The page has no folder {album.FOLDER}/ beside it; bench report writes it.")
        return
    for name in sorted(names):
        if audit.there(beside / name) and not (beside / name).stat().st_size:
            audit.found(beside / name, "is empty.", "bench report paints it anew.")


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _protocol(record: Record) -> str:
    return plan.digest({name: record.ingredients.get(name) for name in ("recipe", "tuning", "budget")})
