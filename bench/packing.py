"""A results folder as it may leave this machine: chosen cells, a page of them, a manifest.

Kept back are locks, checkpoints, logs, what was measured of this machine (`executions/`) and all that is unfinished or
put aside (`earlier/`), and the pictures of each epoch (`training/film/`): what is copied is named here, the rest stays.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from bench import __version__, catalog, film, losses, metrics, names, privacy, recompute, report, sealing
from bench import study as studies
from bench.catalog import Kind
from bench.errors import BenchError, StoreError, StudyError
from bench.manifest import CODE, FORMAT, CellEntry, CodeEntry, DataEntry, Manifest, left_out
from bench.ranking import Missing
from bench.records import Record
from bench.specs import Study
from bench.store import Store, check_room, read_record, sha256, write_bytes, writing

RESULTS = ("record.json", "counts.npz", "measures.npz", "history.csv")
WEIGHTS = "weights.safetensors"
PICTURES = ("predictions.npz", "epochs.npz")
COURSE = ("about.json", "epochs.csv", "curves.svg", "curves.png", "strip.png")
"""Of bench run cell, for people: the strip shows images."""
TUNING = ("journal", "trials.json")
"""Both: the one to look at, the other so that further seeds go on from the same trials."""
TRIES = 5
"""How often a folder that a run is writing to is looked at anew."""
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a results folder is wanted.

    Attributes:
        cells: Keys of cells, or of all seeds and folds of a network; empty for all.
        weights: Whether weights go with it.
        pictures: Whether small test images with their masks do; None where their licence lets them.
        paths: Whether paths of this machine may be told.
    """

    cells: tuple[str, ...] = ()
    weights: bool = False
    pictures: bool | None = None
    paths: bool = False


@dataclass(slots=True)
class _Stage:
    """An export under way."""

    source: Store
    target: Store
    choice: Choice
    say: Say
    nicknames: dict[str, str]
    with_pictures: dict[str, bool]
    absent: frozenset[Path]
    shortened: list[str] = field(default_factory=list[str])
    left_out: set[str] = field(default_factory=set[str])
    code: list[CodeEntry] = field(default_factory=list[CodeEntry])

    def bring(self, source: Path, target: Path, *, wanted: bool = True) -> None:
        """Copy a file, or note that it is not wanted, or was left out before; nothing where there is none."""
        if (source in self.absent and not source.is_file()) or (source.is_file() and not wanted):
            self.left_out.add(target.relative_to(self.target.root).as_posix())
        if not source.is_file() or not wanted:
            return
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


class _Gathered(NamedTuple):
    """What was copied: the study as far as it goes, the records as they are told, and how the leaderboard is made."""

    stage: _Stage
    study: Study
    records: list[Record]
    profile: str
    missing: Missing


def stage(folder: Path, target: Path, choice: Choice, say: Say = lambda line: None) -> Manifest:
    """Write a results folder that may leave this machine, with its manifest; one moment of it while a run goes on.

    Args:
        folder: The results of a study.
        target: A folder that is empty or not there.
        choice: What is wanted.
        say: Told what was left out, and why.
    Raises:
        StudyError: If no cell is left, or a path of this machine would be told.
        NameUnknown: If there is no such cell.
        StoreError: If a file is not the one its record names, or the folder does not come to rest.
    """
    for _ in range(TRIES):
        lines, before = list[str](), report.state([folder])
        try:
            gathered = _gathered(folder, target, choice, lines.append)
        except (StoreError, FileNotFoundError):
            if report.state([folder]) == before:
                raise
        else:
            if report.state([folder]) == before:
                for line in lines:
                    say(line)
                return _finished(gathered, folder)
        shutil.rmtree(target, ignore_errors=True)
    raise StoreError(
        f"{folder} was written to each of {TRIES} times it was packed. Try again when bench status is calm."
    )


def chosen(records: Sequence[Record], wanted: Iterable[str], where: Path) -> list[Record]:
    """The records of some cells, named by their keys or without `/f0-s0`; all where none is named.

    Raises:
        NameUnknown: If there is no such cell.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        for key in (record.cell.key, record.cell.key.rpartition("/")[0]):
            groups.setdefault(key, []).append(record)
    keys = list(wanted)
    if unknown := next((key for key in keys if key not in groups), None):
        raise catalog.unknown("cell", unknown, [record.cell.key for record in records], f"bench status {where}")
    picked = {record.cell for key in keys for record in groups[key]}
    return [record for record in records if not keys or record.cell in picked]


def _gathered(folder: Path, target: Path, choice: Choice, say: Say) -> _Gathered:
    """Copy what is wanted."""
    study, source = studies.load(str(folder / "study.toml")), Store(folder)
    found = [read_record(path) for path in sorted((folder / "cells").glob("*/*/*/*/record.json"))]
    records = chosen(found, choice.cells, folder)
    if not records:
        raise StudyError(f"{folder} holds no finished cell, so that there is nothing to share. Run the study first.")
    check_room(target, _size(folder, choice))
    called = dict.fromkeys([*study.datasets, *(one.cell.dataset for one in records)])
    nicknames = {name: name for name in called} if choice.paths else privacy.nicknames(called)
    stage = _Stage(source, Store(target), choice, say, nicknames, _pictured(records, choice, say), left_out(folder))
    told = [_cell(stage, record) for record in records]
    for name, fold in dict.fromkeys((one.cell.dataset, one.cell.fold) for one in records):
        _data(stage, name, fold)
    profile, missing = recompute.profile_of(folder), recompute.missing_of(folder)
    _code(stage, records, profile)
    own = _narrowed(study, records, whole=not choice.cells)
    own = replace(own, datasets=tuple(nicknames[name] for name in own.datasets))
    write_bytes(target / "study.toml", studies.dump(own).encode())
    return _Gathered(stage, own, told, profile, missing)


def _finished(found: _Gathered, folder: Path) -> Manifest:
    """Make the page of what was copied from a folder, look once more at all of it, and seal it."""
    target = found.stage.target.root
    report.publish(report.collect(target, found.profile, found.missing))
    if not found.stage.choice.paths:
        privacy.check_files(target, {folder.resolve().parent, Path.home(), Path(tempfile.gettempdir()), target})
    return _sealed(found.stage, found.study, found.records)


def _cell(stage: _Stage, record: Record) -> Record:
    """Bring a cell; return its record as it is told."""
    here, own = stage.source.cell(record.cell), record
    if not stage.choice.paths:
        privacy.check_ingredients(record)
        own = privacy.shortened(record, stage.nicknames[record.cell.dataset])
    there = stage.target.cell(own.cell)
    for name in RESULTS:
        stage.bring(here / name, there / name)
    stage.bring(here / WEIGHTS, there / WEIGHTS, wanted=stage.choice.weights)
    for name in PICTURES:
        stage.bring(here / name, there / name, wanted=stage.with_pictures[record.cell.dataset])
    for name in COURSE if _told_of(here / film.TRAINING, record) else ():
        wanted = stage.with_pictures[record.cell.dataset]
        stage.bring(here / film.TRAINING / name, there / film.TRAINING / name, wanted=wanted)
    if own != record:
        stage.target.write(own)
        stage.shortened.append((there / "record.json").relative_to(stage.target.root).as_posix())
    for name in TUNING:
        stage.bring(stage.source.tuning(record.cell) / name, stage.target.tuning(own.cell) / name)
    _check_hashes(own, there, here, stage.absent, weights=stage.choice.weights)
    return own


def _told_of(training: Path, record: Record) -> bool:
    """Whether the files about a cell's trainings are of the one that is stored, or were left out before."""
    try:
        return json.loads((training / "about.json").read_bytes())["fingerprint"] == record.fingerprint
    except FileNotFoundError:
        return not training.is_dir()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_hashes(record: Record, there: Path, here: Path, absent: frozenset[Path], *, weights: bool) -> None:
    """Refuse a cell of which a file is not the one its record names; `weights` says whether these are looked at."""
    named = {"counts.npz": record.counts_hash, "measures.npz": record.measures_hash, WEIGHTS: record.weights_hash}
    for name, wanted in named.items():
        if wanted is None or (name == WEIGHTS and not weights):
            continue
        if here / name in absent and not (there / name).is_file():
            raise StoreError(f"{record.cell.key} was exported without its {name}. Share it from where it was trained.")
        if not (there / name).is_file() or sha256(there / name) != wanted:
            raise StoreError(
                f"{here / name} is missing or not the file its record names, so that {record.cell.key} cannot be "
                "shared. bench verify tells more; run the study again, or pack the export with --weights."
            )


def _data(stage: _Stage, name: str, fold: int) -> None:
    """Bring the split of a data set, and the images that its cells are shown on, where that is wanted."""
    nickname = stage.nicknames[name]
    here, there = stage.source.split(name, fold), stage.target.split(nickname, fold)
    stage.bring(here, there)
    if nickname != name and there.is_file():
        write_bytes(there, here.read_bytes().replace(json.dumps(name).encode(), json.dumps(nickname).encode()))
    wanted = stage.with_pictures[name]
    stage.bring(stage.source.examples(name, fold), stage.target.examples(nickname, fold), wanted=wanted)


def _pictured(records: Iterable[Record], choice: Choice, say: Say) -> dict[str, bool]:
    """Whether small pictures of each data set go with it."""
    found: dict[str, bool] = {}
    for record in records:
        name, licence = record.cell.dataset, record.data.licence if record.data else ""
        if name in found and (record.data is None or choice.pictures is not None):
            continue
        allowed = privacy.may_pass_on(licence) if choice.pictures is None else choice.pictures
        found[name] = found.get(name, True) and (allowed or record.data is None)
    told = {record.cell.dataset: record.data.licence for record in records if record.data}
    for name, wanted in found.items():
        if not wanted and choice.pictures is None:
            say(
                f"Pictures of {name} are left out: its licence, {told.get(name, '')!r}, does not say that they may be "
                "passed on. --pictures packs them."
            )
    return found


def _code(stage: _Stage, records: Sequence[Record], profile: str) -> None:
    """Bring the user's own files that the cells were made with, and the helpers beside them."""
    for kind, path in _own(records, profile, stage.say):
        for one in (path, *sorted(path.parent.glob("_*.py"))):
            inner = f"{CODE}/{kind}/{one.name}"
            if not (stage.target.root / inner).is_file():
                stage.bring(one, stage.target.root / inner)
                stage.code.append(CodeEntry(kind=kind, path=inner, sha256=sha256(stage.target.root / inner)))


def _own(records: Sequence[Record], profile: str, say: Say) -> Iterator[tuple[Kind, Path]]:
    """The user's own files behind some cells that are still what they were."""
    found: dict[tuple[Kind, Path], None] = {}
    for record in records:
        cell, made = record.cell, record.ingredients
        if cell.loss is None:
            continue
        try:
            name = names.parse(cell.architecture)[0]
            if path := _foreign("architectures", name):
                same = catalog.code_hash("architectures", cell.architecture) == made.get("code")
                found |= _kept("architectures", path, cell.key, say, same=same)
            for term in losses.parse(cell.loss) if made.get("loss_code") else ():
                if path := _foreign("losses", term.name):
                    same = losses.code_hash(cell.loss) == made["loss_code"]
                    found |= _kept("losses", path, cell.key, say, same=same)
            if not catalog.is_folder(cell.dataset) and (path := _foreign("datasets", names.parse(cell.dataset)[0])):
                found[("datasets", path)] = None
        except BenchError as error:
            say(f"The code of {cell.key} is left out: {error}")
    if profile in metrics.own():
        found[("profiles", metrics.own()[profile].path)] = None
    yield from found


def _kept(kind: Kind, path: Path, key: str, say: Say, *, same: bool) -> dict[tuple[Kind, Path], None]:
    if not same:
        say(f"{path.name} is left out: it is not the code any more that {key} was made with.")
    return {(kind, path): None} if same else {}


def _foreign(kind: Kind, name: str) -> Path | None:
    """The user's own file of a name; None where it is one of ours, or there is none."""
    entry = catalog.entries(kind).get(name)
    ours = catalog.folders("architectures")[-1].parent
    return entry.path if entry is not None and entry.path.parent.parent != ours else None


def _narrowed(study: Study, records: Sequence[Record], *, whole: bool) -> Study:
    """The study as far as some of its cells go; nothing of it that a fingerprint depends on is changed."""
    if whole:
        return study
    cells = [record.cell for record in records]

    def used(axis: tuple[str, ...], names: Iterable[str | None]) -> tuple[str, ...]:
        wanted = set(names)
        return tuple(name for name in axis if name in wanted)

    trained = [cell for cell in cells if cell.loss is not None]
    return replace(
        study,
        datasets=used(study.datasets, (cell.dataset for cell in cells)) or study.datasets,
        architectures=used(study.architectures, (cell.architecture for cell in trained)) or study.architectures,
        losses=used(study.losses, (cell.loss for cell in trained)) or study.losses,
        baselines=used(study.baselines, (cell.architecture for cell in cells if cell.loss is None)),
        seeds=max((cell.seed for cell in trained), default=0),
    )


def _sealed(stage: _Stage, study: Study, records: Sequence[Record]) -> Manifest:
    """Write manifest and SHA256SUMS."""
    root = stage.target.root
    cards = {record.cell.dataset: record.data for record in records if record.data}
    pictured = {stage.nicknames[name]: wanted for name, wanted in stage.with_pictures.items()}
    found = Manifest(
        schema=1,
        format=FORMAT,
        bench=__version__,
        study=study.name,
        finished=max((record.finished for record in records), default=""),
        cells=[
            CellEntry(
                cell=one.cell.key,
                fingerprint=one.fingerprint,
                status=str(one.status),
                weights=(stage.target.cell(one.cell) / WEIGHTS).is_file(),
            )
            for one in sorted(records, key=lambda record: record.cell.key)
        ],
        data=[
            DataEntry(
                name=name,
                title=card.title,
                hash=card.hash,
                licence=card.licence,
                citation=card.citation,
                pictures=pictured[name],
            )
            for name, card in sorted(cards.items())
        ],
        code=sorted(stage.code, key=lambda one: one.path),
        shortened=sorted(stage.shortened),
        left_out=sorted(stage.left_out),
        files=sealing.listed(root),
    )
    sealing.write_manifest(root, found)
    return found


def _size(folder: Path, choice: Choice) -> int:
    """What is copied at most [bytes]."""
    paths = (path for path in (folder / "cells").rglob("*") if path.parent.name != "film")  # it stays here
    return sum(path.stat().st_size for path in paths if path.is_file() and (choice.weights or path.name != WEIGHTS))
