"""`bench status`: how the cells of a study stand, those another shell is running among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench import plan, runner, watch
from bench.runner import Planned, Standing
from bench.specs import Cell
from bench.store import Store


def rows(planned: Sequence[Planned], store: Store, trials: int) -> tuple[list[dict[str, object]], str]:
    """A row per cell and the counts of all; while a run goes on, also how far the tunings of its cells have got.

    Args:
        trials: How many a tuning has.
    """
    busy, table, counts = running(planned, store), [], Counter[str]()
    for one in planned:
        standing = "running" if one.cell in busy else str(one.standing)
        counts[standing] += 1
        row: dict[str, object] = {"cell": one.cell.key, "standing": standing, "lr": one.record and one.record.lr}
        if busy:
            tried = watch.tried(store.tuning(one.cell) / "journal")
            told = one.cell in busy and one.cell.loss is not None
            row |= {"trials": f"{tried.trials}/{trials}" if told else None, "best": tried.best if told else None}
        table.append(row)
    names = [*Standing, *(["running"] if busy else [])]
    return table, ", ".join(f"{counts[name]} {name}" for name in names)


def running(planned: Sequence[Planned], store: Store) -> set[Cell]:
    """The cells that a run has before it: those still to run of every group whose lock is held."""
    by_cell, found = {one.cell: one for one in planned}, set[Cell]()
    for group in plan.groups(list(by_cell)):
        if watch.held(store.tuning(group[0]) / ".lock"):
            members = [by_cell[cell] for cell in group]
            todo = runner.pending(members, retry_failed=False) or runner.pending(members, retry_failed=True)
            found |= {one.cell for one in todo}
    return found
