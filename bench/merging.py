"""Several results folders as one table: what agrees is one row, what does not stands side by side and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import plan
from bench import study as studies
from bench.errors import StudyError
from bench.metrics import Profile
from bench.records import FINAL
from bench.rows import DISPUTED, Row, stored
from bench.specs import Study
from bench.store import Store

PROTOCOL = ("recipe", "tuning", "budget", "ratios", "folds")
"""What studies on one page have in common; their axes may differ."""
TOLD = 3
"""Differences that are named before the rest is counted."""
ORDER = ("ok", "diverged", "failed", "out_of_memory", "timed_out", "interrupted", "stale", "pending")
"""Which record of a cell is shown where folders have several that do not contradict each other."""
Own = Mapping[str, Sequence[Row]]
"""Rows by the name of the folder they are from."""


class Source(NamedTuple):
    """A results folder, and what became of the cells it holds.

    Attributes:
        name: What it is called on the page.
        stored: Cells with a record; `shown` are those that are rows, `confirmed` those that say the same as the row of
            another folder, `disputed` those of the shown that another folder contradicts.
    """

    name: str
    folder: Path
    study: Study
    stored: int
    shown: int
    confirmed: int
    disputed: int


class Merged(NamedTuple):
    """One table of several folders; `notes` says which data sets have one name and other content."""

    study: Study
    rows: list[Row]
    sources: tuple[Source, ...]
    notes: tuple[str, ...]


def merge(folders: Sequence[Path], profiles: Sequence[Profile]) -> Merged:
    """Everything that is stored in some folders, with the measures that some profile needs; still without numbers.

    A cell is a row where one of the studies plans it.

    Raises:
        StudyError: If a folder is named twice or has no readable study, or the studies do not share one protocol.
        StoreError: If a record or an array is damaged or of another schema.
    """
    places = [folder.resolve() for folder in folders]
    if twice := [folder for at, folder in enumerate(folders) if places[at] in places[:at]]:
        raise StudyError(f"The results folder {twice[0]} is named twice. Name each folder once.")
    names = called(places)
    own = [studies.load(str(folder / "study.toml")) for folder in folders]
    study = unite(dict(zip(map(str, folders), own, strict=True)))
    tables = {name: stored(one, Store(folder), profiles) for name, one, folder in zip(names, own, folders, strict=True)}
    rows, notes = join(tables)
    places_in = {cell: at for at, cell in enumerate(plan.cells(study))}
    rows.sort(key=lambda row: places_in[row.cell])  # stable: variants stay in the order of the folders
    sources = tuple(
        _source(name, folder, one, tables[name], rows) for name, folder, one in zip(names, folders, own, strict=True)
    )
    return Merged(study, rows, sources, notes)


def unite(own: Mapping[str, Study]) -> Study:
    """The study whose axes hold those of all, in the order in which they are met; its seeds are the most of any.

    Args:
        own: Folder to its study.
    Raises:
        StudyError: If recipe, tuning, budget, ratios or folds differ, naming the first few values that do.
    """
    (first, study), *others = own.items()
    for folder, other in others:
        here, there = ({name: asdict(one)[name] for name in PROTOCOL} for one in (other, study))
        if found := list(plan.differences(here, there)):
            told = "; ".join(f"{name} is {mine} and not {theirs}" for name, mine, theirs in found[:TOLD])
            raise StudyError(
                f"{folder} cannot stand on one page with {first}: {told}{_more(found)}. Rows of one leaderboard are "
                f"trained alike; bench compare {first} {folder} sets the two against each other."
            )
    everyone = list(own.values())
    names, titles = ([getattr(one, key) for one in everyone] for key in ("name", "title"))
    return replace(
        study,
        name="-".join(dict.fromkeys(names))[:100],
        title=titles[0] if len(set(titles)) == 1 else "",
        datasets=_union(one.datasets for one in everyone),
        architectures=_union(one.architectures for one in everyone),
        losses=_union(one.losses for one in everyone),
        baselines=_union(one.baselines for one in everyone),
        measures=tuple(dict.fromkeys(name for one in everyone for name in one.measures)),
        seeds=max(one.seeds for one in everyone),
    )


def called(folders: Sequence[Path]) -> list[str]:
    """What folders are called: the last part of their paths in which all differ, else as many parts as it takes.

    Args:
        folders: Absolute paths, each another one.
    """
    parts = [[re.sub(r"[\[\]@\s]+", "_", part) for part in folder.parts[::-1]] for folder in folders]
    depths = range(max(map(len, parts)))
    single = ([one[min(depth, len(one) - 1)] for one in parts] for depth in depths)
    joined = (["/".join(one[: depth + 1][::-1]) for one in parts] for depth in depths)
    for names in (*single, *joined):
        if len(set(names)) == len(names):
            return names
    return [f"folder {number}" for number in range(1, len(folders) + 1)]


def join(tables: Own) -> tuple[list[Row], tuple[str, ...]]:
    """One table of the rows of several folders, and what to know of its data sets.

    Seeds and folds of a network are judged together, since they share one tuning: it stands once where no folder
    contradicts another, else once per folder. Records that are missing, failed or stale contradict nothing.
    """
    rows: list[Row] = []
    notes = []
    for dataset in dict.fromkeys(row.cell.dataset for table in tables.values() for row in table):
        own = {name: [row for row in table if row.cell.dataset == dataset] for name, table in tables.items()}
        editions = _clusters({name: table for name, table in own.items() if table}, _same_data)
        for edition in editions:
            found = _settled(edition)
            rows += [replace(row, edition=next(iter(edition))) for row in found] if len(editions) > 1 else found
        if len(editions) > 1:
            apart = "; ".join(", ".join(edition) for edition in editions)
            notes.append(
                f"The folders hold other data, or another split, under the name {dataset}: {apart}. Each has a "
                "leaderboard of its own, and no row of one is compared with a row of another."
            )
    return rows, tuple(notes)


def _settled(tables: Own) -> list[Row]:
    """The rows of one data set."""
    groups: dict[tuple[str, str | None], dict[str, list[Row]]] = {}
    for name, table in tables.items():
        for row in table:
            groups.setdefault((row.cell.architecture, row.cell.loss), {}).setdefault(name, []).append(row)
    found: list[Row] = []
    for group in groups.values():
        clusters = _clusters(group, lambda one, other: not _differences(one, other))
        if len(clusters) == 1:
            found += _chosen(clusters[0])
            continue
        for cluster in clusters:
            others = [one for one in clusters if one is not cluster]
            found += [_beside(row, cluster, others) for row in _chosen(cluster)]
    return found


def _clusters(tables: Own, alike: Callable[[Sequence[Row], Sequence[Row]], bool]) -> list[dict[str, Sequence[Row]]]:
    """Folders in groups in which each is like all others; those without a final record join the first."""
    clusters: list[dict[str, Sequence[Row]]] = []
    for name in sorted(tables, key=lambda name: not any(_final(row) for row in tables[name])):
        table = tables[name]
        near = next((one for one in clusters if all(alike(table, other) for other in one.values())), None)
        if near is None:
            clusters.append({name: table})
        else:
            near[name] = table
    return clusters


def _chosen(cluster: Own) -> list[Row]:
    """One row per cell of folders that agree: the best record of each, and who else holds it."""
    cells: dict[object, dict[str, Row]] = {}
    for name, table in cluster.items():
        for row in table:
            cells.setdefault(row.cell, {})[name] = row
    found = []
    for own in cells.values():
        best = min(own, key=lambda name: ORDER.index(own[name].status))
        final = _final(own[best])
        others = tuple(name for name, row in own.items() if final and name != best and _final(row))
        found.append(replace(own[best], confirmed=others))
    return found


def _beside(row: Row, cluster: Own, others: Sequence[Own]) -> Row:
    """A row of a standing that others contradict, with the name of its folder and what they say."""
    mine = [one for table in cluster.values() for one in table]
    theirs = {next(iter(other)): [one for table in other.values() for one in table] for other in others}
    differs = "; ".join(f"from {name} in {_listed(_differences(mine, table))}" for name, table in theirs.items())
    disputed = any(one.cell == row.cell and _contradicts(row, one) for table in theirs.values() for one in table)
    status = DISPUTED if disputed else row.status
    return replace(row, variant=next(iter(cluster)), differs=differs, status=status)


def _same_data(one: Sequence[Row], other: Sequence[Row]) -> bool:
    """Whether two folders have the same data and split behind some final record of every fold they share."""
    mine, theirs = _data(one), _data(other)
    return all(mine[fold] & theirs[fold] for fold in mine.keys() & theirs.keys())


def _data(table: Sequence[Row]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in table:
        if row.record is not None and _final(row):
            found.setdefault(row.cell.fold, set()).add(str(row.record.ingredients.get("data")))
    return found


def _differences(one: Sequence[Row], other: Sequence[Row]) -> list[str]:
    """In what the final records of two folders differ, in a few words each; empty where they can stand as one row."""
    theirs = _circumstances(other).values()
    found = [
        told
        for fold, here in _circumstances(one).values()
        for at, there in theirs
        for told in _apart(here, there, same_fold=fold == at)
    ]
    cells = {row.cell: row for row in other}
    if any(row.cell in cells and _contradicts(row, cells[row.cell]) for row in one):
        found.append("the counts, under the same fingerprint")
    return list(dict.fromkeys(found))


def _circumstances(table: Sequence[Row]) -> dict[str, tuple[int, Mapping[str, object]]]:
    """All that final records were made from, but for the seed, each once by its hash, with its fold."""
    found = {}
    for row in table:
        if row.record is not None and _final(row):
            own = {name: value for name, value in row.record.ingredients.items() if name != "cell"}
            found[plan.digest(own)] = (row.cell.fold, own)
    return found


def _apart(one: Mapping[str, object], other: Mapping[str, object], *, same_fold: bool) -> list[str]:
    """In what two cells of one network were made differently; another fold has another split."""
    told = []
    for name, here, there in plan.differences(one, other):
        if name == "data" and not same_fold:
            continue
        short = all(isinstance(value, str | int | float) and len(str(value)) <= 12 for value in (here, there))
        told.append(
            f"{name} ({here} here, {there} there)" if short and name not in ("code", "data", "loss_code") else name
        )
    return told


def _contradicts(one: Row, other: Row) -> bool:
    """Whether two final records of one cell have one fingerprint, and other counts."""
    if one.record is None or other.record is None or not (_final(one) and _final(other)):
        return False
    if one.record.fingerprint != other.record.fingerprint or one.record.counts_hash == other.record.counts_hash:
        return False
    if one.counts is None or other.counts is None:
        return True
    return one.ids != other.ids or not np.array_equal(one.counts, other.counts)  # a file may be packed in another way


def _final(row: Row) -> bool:
    return row.record is not None and row.status in FINAL


def _listed(found: Sequence[str]) -> str:
    return f"{', '.join(found[:TOLD])}{_more(found)}"


def _more(found: Sequence[object]) -> str:
    return f", and {len(found) - TOLD} more" if len(found) > TOLD else ""


def _union(axes: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for axis in axes for name in axis))


def _source(name: str, folder: Path, study: Study, table: Sequence[Row], rows: Sequence[Row]) -> Source:
    shown = [row for row in rows if row.record is not None and row.store is not None and row.store.root == folder]
    return Source(
        name=name,
        folder=folder,
        study=study,
        stored=sum(row.record is not None for row in table),
        shown=len(shown),
        confirmed=sum(name in row.confirmed for row in rows),
        disputed=sum(row.status == DISPUTED for row in shown),
    )
