"""A study to its cells in order, and the fingerprint that tells whether a stored result still stands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench.specs import Cell, Study

RECIPE_VERSION = 3
"""Raised whenever the same study would give other numbers: training, tuning, splitting or counting changed."""


def cells(study: Study) -> list[Cell]:
    """Every cell of the matrix: per data set and fold the baselines first, then architectures by losses by seeds."""
    matrix: list[Cell] = []
    for dataset in study.datasets:
        for fold in folds(study):
            matrix += [Cell(dataset=dataset, architecture=name, loss=None, fold=fold) for name in study.baselines]
            matrix += [
                Cell(dataset=dataset, architecture=architecture, loss=loss, fold=fold, seed=seed)
                for architecture in study.architectures
                for loss in study.losses
                for seed in range(study.seeds + 1)
            ]
    return list(dict.fromkeys(matrix))


def folds(study: Study) -> list[int]:
    """The folds of a study: 0 for the official split, or 1 to K."""
    return [0] if study.folds == 1 else list(range(1, study.folds + 1))


def groups(cells: list[Cell]) -> list[list[Cell]]:
    """Cells that share one tuning, in order of their seeds: the unit of work a worker is handed."""
    shared: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        shared.setdefault((cell.dataset, cell.architecture, cell.loss, cell.fold), []).append(cell)
    return [sorted(group, key=lambda cell: cell.seed) for group in shared.values()]


def protocol(study: Study) -> str:
    """Hash of how networks are trained in a study: rows of one leaderboard share it."""
    return digest({name: dataclasses.asdict(getattr(study, name)) for name in ("recipe", "tuning", "budget")})


def ingredients(
    cell: Cell,
    study: Study,
    *,
    data: str,
    code: str,
    versions: Mapping[str, str],
    weights: Mapping[str, str] | None = None,
    loss: str = "",
) -> dict[str, Any]:
    """Everything that can change the result of a cell, by name, so that two of them can be told apart.

    Args:
        data: Hash of the prepared pixels, classes and split.
        code: Hash of the drop-in file of the architecture and its helpers.
        versions: The packages whose arithmetic reaches the result.
        weights: The file that the network starts from, see `catalog.initial`; None for random weights.
        loss: Hash of the user's own files that the loss is computed by; empty where they are ours.
    """
    named = {name: value for name, value in dataclasses.asdict(cell).items() if name != "dataset"}  # `data` says which
    shared = {"cell": named, "data": data, "recipe_version": RECIPE_VERSION}
    if cell.loss is None:
        return shared | {
            "versions": {name: versions[name] for name in ("numpy", "scikit-image", "pillow") if name in versions}
        }
    trained = {name: dataclasses.asdict(getattr(study, name)) for name in ("recipe", "tuning", "budget")}
    started = {} if weights is None else {"weights": dict(weights)}
    own = {"loss_code": loss} if loss else {}
    return shared | trained | started | own | {"code": code, "versions": dict(versions)}


def tuning(ingredients: Mapping[str, Any]) -> str:
    """The fingerprint of the tuning that all seeds of a cell share: that of the cell of seed 0."""
    return digest({**ingredients, "cell": {**ingredients["cell"], "seed": 0}})


def differences(one: object, other: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """The ingredients in which two cells differ: the dotted name of each, and its value in the one and the other."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif (list(one) if isinstance(one, tuple) else one) != (list(other) if isinstance(other, tuple) else other):
        yield path, one, other


def digest(value: object) -> str:
    """sha256 of a JSON-able value, shortened to 16 hexadecimal digits; the same for the same value everywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def work(cell: Cell, study: Study) -> int:
    """The epochs a cell may need at most: the unit of the progress bar."""
    if cell.loss is None:
        return 1
    return study.budget.epochs * (study.tuning.trials if cell.seed == 0 else 1)


def seconds(cell: Cell, study: Study) -> float:
    """The time that tuning an architecture on a data set may take by the budget [s]; infinite without one."""
    if study.budget.seconds is None:
        return math.inf
    return study.budget.seconds * sum(work(one, study) for one in _alike(cell, study)) / study.budget.epochs


def steps(cell: Cell, study: Study, images: int) -> int:
    """The steps that tuning an architecture on a data set may take, over all losses and folds; seeds change nothing."""
    return sum(work(one, study) for one in _alike(cell, study)) * math.ceil(images / study.recipe.batch)


def _alike(cell: Cell, study: Study) -> list[Cell]:
    """The cells that tune the same architecture on the same data set."""
    same = (cell.dataset, cell.architecture)
    return [one for one in cells(study) if (one.dataset, one.architecture) == same and one.seed == 0]
