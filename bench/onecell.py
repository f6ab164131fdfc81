"""Which cell is meant by names on the command line, as which study it is trained, and in which folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import catalog, plan, runner
from bench import study as studies
from bench.baselines import BASELINES
from bench.errors import BenchError, StudyError
from bench.specs import Cell, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A cell, and the study that says how it is trained.

    Attributes:
        results: Where the folder of the study lies.
        within: Whether the cell is one of a study of many, in whose folder it is trained.
    """

    cell: Cell
    study: Study
    results: Path
    within: bool

    @property
    def folder(self) -> Path:
        """The folder of the study."""
        return self.results / self.study.name

    @property
    def alone(self) -> Study:
        """The study with no other data set, network or loss, and no baseline: what has to be looked at."""
        cell = self.cell
        assert cell.loss is not None
        return replace(
            self.study,
            datasets=(cell.dataset,),
            architectures=(cell.architecture,),
            losses=(cell.loss,),
            baselines=(),
        )


def choose(
    names: Sequence[str],
    *,
    study: str | None,
    changes: Mapping[str, object],
    name: str | None,
    seed: int,
    fold: int | None,
    results: Path,
) -> Chosen:
    """Find the cell, and decide where it is trained.

    In the folder of `study`, where it is a cell of that and nothing is changed; else in a folder of its own.

    Args:
        names: Data set, architecture and loss, or the key of a cell of the study alone.
        study: A file, a built-in study, or a folder of results; None: the recipe of the built-in study `quick`.
        changes: Options as `bench.study.override` takes them.
        name: Of the folder; None decides as said.
        fold: None: the only one.
        results: Where folders of results are.
    Raises:
        StudyError: If the names are not one cell, or the folder holds something else.
        NameUnknown: If a name is unknown.
    """
    base, where = _base(study, results)
    if len(names) == 1:
        cell = _by_key(names[0], study, base)
        names, seed, fold = (cell.dataset, cell.architecture, str(cell.loss)), cell.seed, cell.fold
        changes = {**changes, "folds": None if base.folds > 1 else changes.get("folds")}
    elif len(names) != 3:
        raise StudyError(
            f"A cell has three names, {len(names)} were given: {' '.join(names)}. Write DATASET ARCHITECTURE LOSS, as "
            "smear plain_unet dice+ce."
        )
    changed = {key: value for key, value in changes.items() if value is not None}
    own = _alone(base, names, changed, seed)
    cell = _cell(own, seed, fold)
    if study is not None and name is None and not changed:
        whole = runner.resolve(base)
        if cell in plan.cells(whole):
            found = Chosen(cell=cell, study=whole, results=where, within=True)
            _check_same(found)
            return found
    own = replace(own, name=studies.folder_name(name or derived(cell, own.folds)))
    own = replace(own, seeds=_most_seeds(results / own.name / "study.toml", own))
    return Chosen(cell=cell, study=own, results=results, within=False)


def derived(cell: Cell, folds: int = 1) -> str:
    """The name of the folder of a cell: what can be read of its names, and a hash where that is not all of them."""
    of = f"-{folds}-folds" if folds > 1 else ""
    stem = f"{Path(cell.dataset).name if catalog.is_folder(cell.dataset) else cell.dataset}-{cell.architecture}"
    told = re.sub(r"[^A-Za-z0-9_.]+", "-", re.sub(r"\[.*?\]", "", f"cell-{stem}-{cell.loss}")).strip("-.")
    whole = f"{cell.dataset}/{cell.architecture}/{cell.loss}"
    plain = re.fullmatch(r"[A-Za-z0-9_]+/[A-Za-z0-9_]+/[A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*", whole)
    if plain and len(told) <= 80:
        return told + of
    return f"{told[:80].strip('-.')}{of}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def _base(study: str | None, results: Path) -> tuple[Study, Path]:
    """The study that the recipe is from, and where its folder lies."""
    for folder in [] if study is None else [Path(study), results / study]:
        if (folder / "study.toml").is_file() and (folder == Path(study or "") or study not in studies.builtin()):
            found = studies.load(str(folder / "study.toml"))
            return replace(found, name=studies.folder_name(folder.resolve().name)), folder.resolve().parent
    found = studies.load(study or "quick")
    return replace(found, name=studies.folder_name(found.name)), results


def _by_key(key: str, study: str | None, base: Study) -> Cell:
    if study is None:
        raise StudyError(
            f"{key!r} alone names no cell. Write DATASET ARCHITECTURE LOSS, or say with --study whose key it is."
        )
    found = {cell.key: cell for cell in plan.cells(runner.resolve(base))}
    if key not in found:
        raise catalog.unknown("cell", key, found, f"bench run matrix {study} --dry-run")
    if found[key].loss is None:
        raise StudyError(f"{key} is a baseline, which is not trained. Choose a cell with a network and a loss.")
    return found[key]


def _alone(base: Study, names: Sequence[str], changes: Mapping[str, object], seed: int) -> Study:
    """The study of one cell, spelled as everything else is."""
    if names[1] in BASELINES:
        raise StudyError(
            f"{names[1]} is a baseline, which is not trained. Run it with bench run matrix, as one of a study."
        )
    axes = dict(zip(("datasets", "architectures", "losses"), ([one] for one in names), strict=True))
    own = runner.resolve(replace(studies.override(base, {**changes, **axes, "seeds": seed}), baselines=()))
    for axis, given in zip(axes, names, strict=True):
        found = getattr(own, axis)
        if len(found) != 1:
            raise StudyError(f"{given} stands for {len(found)} {axis}: {', '.join(found)}. A cell has one of them.")
    return own


def _cell(own: Study, seed: int, fold: int | None) -> Cell:
    folds = plan.folds(own)
    if fold is None and len(folds) == 1:
        fold = folds[0]
    if fold not in folds:
        given = "is not given" if fold is None else f"is {fold}"
        raise StudyError(f"--fold {given}; with --folds {own.folds} it is one of {', '.join(map(str, folds))}.")
    (dataset,), (architecture,), (loss,) = own.datasets, own.architectures, own.losses
    return Cell(dataset=dataset, architecture=architecture, loss=loss, fold=fold, seed=seed)


def _check_same(found: Chosen) -> None:
    """A study's folder is left as it is."""
    path = found.folder / "study.toml"
    if path.is_file() and path.read_text(encoding="utf-8") != studies.dump(found.study):
        raise StudyError(
            f"{path} is another study than the one named by --study. Train in it as it is with --study "
            f"{found.folder}, or elsewhere with --name NAME."
        )


def _most_seeds(path: Path, own: Study) -> int:
    """As many seeds as the folder of the cell plans already, so that those trained before stay in it.

    Raises:
        StudyError: If the folder holds something else than this cell.
    """
    if not path.is_file():
        return own.seeds
    try:
        stored = studies.load(str(path))
    except BenchError as error:
        raise StudyError(f"{path} cannot be read: {error} Choose another --name.") from error
    axes = ("datasets", "architectures", "losses", "folds")
    if any(getattr(stored, axis) != getattr(own, axis) for axis in axes) or stored.baselines:
        raise StudyError(
            f"{path.parent} holds another study. Choose another --name, or train one of its cells with --study "
            f"{path.parent}."
        )
    return max(own.seeds, stored.seeds)
