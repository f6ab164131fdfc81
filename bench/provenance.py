"""Where the numbers of a page are from, and how to get them again: records and the catalogue to words and commands."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import catalog, names
from bench.errors import BenchError
from bench.quantities import duration, rate
from bench.rows import Row
from bench.specs import Study
from bench.store import Store

AGAIN = "again"
"""Where the commands of a page put their results: beside the ones they are to be held against, not in their place."""


class Work(NamedTuple):
    """A network as its drop-in file describes it; the texts are empty where this catalogue does not know the name."""

    name: str
    title: str
    citation: str
    licence: str
    origin: str


class Anew(NamedTuple):
    """The cells that one command runs anew: a network with one loss on one data set; a baseline has no own command."""

    command: str
    rows: tuple[Row, ...]


def works(architectures: Iterable[str]) -> list[Work]:
    """How to cite the networks that were trained, each drop-in file once, in the order they are met."""
    found = {names.parse(name)[0] if _readable(name) else name: name for name in architectures}
    return [_work(stem, name) for stem, name in found.items()]


def anew(table: Sequence[Row], page: Store) -> list[Anew]:
    """Every row of a page with the command that trains its network again, with all seeds and folds.

    Args:
        page: Where the page stands; the study.toml beside it is named without a path.
    """
    groups: dict[tuple[str, str, str | None, Path | None], list[Row]] = {}
    for row in table:
        root = None if row.store is None else row.store.root
        groups.setdefault((row.dataset, row.architecture, row.cell.loss, root), []).append(row)
    return [Anew("" if rows[0].cell.loss is None else command(rows[0], page), tuple(rows)) for rows in groups.values()]


def command(row: Row, page: Store) -> str:
    """The command that runs the cells of one network with one loss on one data set, quoted for a shell."""
    here = row.store is None or row.store.root == page.root
    words = [
        "bench",
        "run",
        "matrix",
        "study.toml" if here or row.store is None else str(row.store.root / "study.toml"),
    ]
    words += ["--dataset", row.cell.dataset, "--architecture", row.cell.architecture, "--loss", row.cell.loss or ""]
    return shlex.join([*words, "--results", AGAIN])


def apart(table: Iterable[Row]) -> list[str]:
    """A sentence for each network that stands more than once, since folders do not agree on it."""
    first: dict[tuple[str, str, str | None], Row] = {}
    for row in table:
        if row.differs:
            first.setdefault((row.dataset, row.cell.architecture, row.cell.loss), row)
    return [
        f"{architecture}{f' · {loss}' if loss else ''} on {dataset}: {row.variant} differs {row.differs}."
        for (dataset, architecture, loss), row in first.items()
    ]


def facts(study: Study, table: Sequence[Row]) -> list[tuple[str, str]]:
    """What was spent, on which machines: a name and a sentence each."""
    records = [row.record for row in table if row.record is not None]
    energies = [one.efficiency.energy_j for one in records if one.efficiency and one.efficiency.energy_j is not None]
    trained = sum(one.cell.loss is not None for one in records)
    low, high = study.tuning.lr_range
    tuned = study.tuning.trials > 1
    clock = "" if study.budget.seconds is None else f", or {duration(study.budget.seconds)}"
    machines = Counter(
        " · ".join(filter(None, (one.environment.get(key) for key in ("device", "platform")))) for one in records
    )
    return [
        (
            "seeds",
            f"1 to {study.seeds}" if study.seeds else "the tuned run itself (seed 0)" if tuned else "one run (seed 0)",
        ),
        ("folds", "the data set's own split" if study.folds == 1 else f"{study.folds}, by source"),
        (
            "tuning",
            f"{study.tuning.trials} learning rates from {rate(low)} to {rate(high)} for every network, each of at most "
            f"{study.budget.epochs} epochs{clock}"
            if tuned
            else f"none: every network has the rate {rate(math.sqrt(low * high))}, and at most {study.budget.epochs} "
            f"epochs{clock}",
        ),
        ("time", f"{duration(sum(sum(one.seconds.values()) for one in records))} in {len(records)} cells"),
        (
            "energy",
            f"{sum(energies) / 1000:,.1f} kJ, measured in {len(energies)} of {trained} trained cells"
            if energies
            else "not measured",
        ),
        ("machines", "; ".join(f"{name or 'not told'} ({count} cells)" for name, count in machines.items()) or "none"),
    ]


def _work(stem: str, name: str) -> Work:
    try:
        spec, _ = catalog.architecture(name)
    except BenchError:
        return Work(stem, "", "", "", "")
    return Work(stem, spec.title, spec.citation, spec.licence, spec.origin)


def _readable(name: str) -> bool:
    try:
        return bool(names.parse(name))
    except BenchError:
        return False
