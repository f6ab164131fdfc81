"""Leaderboards as data frames of pandas: the numbers of the page, a row per standing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import leaking, merging, metrics, standings
from bench.catalog import unknown
from bench.metrics import Profile
from bench.records import Status
from bench.rows import score
from bench.standings import Board, Standing

if TYPE_CHECKING:
    import pandas as pd

HEAD = {"dataset": "str", "rank": "Int64", "architecture": "str", "loss": "object"}
TAIL = {
    "seeds": "int64", "folds": "int64", "done": "int64", "cells": "int64", "lr": "float64", "params": "Int64",
    "stamps": "str", "rank_low": "Int64", "rank_high": "Int64", "tie_group": "Int64",
}  # fmt: skip
"""The columns before and after the metrics of the profile, with their types in pandas; all others are float64."""


def leaderboard(folders: Sequence[Path], profile: str, dataset: str | None) -> pd.DataFrame:
    """What `bench.leaderboard` gives of results folders."""
    import pandas as pd

    chosen = metrics.profile(profile)
    rows = score(merging.merge(folders, [chosen]).rows, chosen)
    boards = {one.dataset: one for one in standings.boards(rows, chosen)}
    if dataset is not None and dataset not in boards:
        raise unknown("data set in these results", dataset, boards, "bench.leaderboard(results)['dataset']")
    lines = [
        line for board in (boards.values() if dataset is None else [boards[dataset]]) for line in _lines(board, chosen)
    ]
    types = HEAD | dict.fromkeys(chosen.metrics, "float64") | TAIL
    types |= {name: "float64" for line in lines for name in line if name not in types}
    frame = pd.DataFrame(lines, columns=list(types)).astype(types)
    frame.attrs |= {"profile": chosen.id, "primary": chosen.primary}
    return frame


def _lines(board: Board, profile: Profile) -> Iterator[dict[str, object]]:
    leaked = leaking.leak(board, profile) is not None
    for one in board.standings:
        low, high = one.rank_range or (None, None)
        counted = [row for row in one.rows if row.cell.seed > 0] or one.rows  # as the value is: fresh seeds, or it
        records = [row.record for row in counted if row.record is not None]
        rates = {record.lr for record in records}
        yield {
            "dataset": one.dataset,
            "rank": one.rank,
            "architecture": one.architecture,
            "loss": one.loss,
            "seeds": len({row.cell.seed for row in counted}),
            "folds": len({row.cell.fold for row in counted}),
            "done": one.done,
            "cells": one.of,
            "lr": rates.pop() if len(rates) == 1 else None,
            "params": next((record.params for record in records if record.params is not None), None),
            "stamps": "; ".join(_stamps(one, leaked=leaked)),
            "rank_low": low,
            "rank_high": high,
            "tie_group": one.group,
            **_numbers(one),
        }


def _numbers(one: Standing) -> dict[str, float | None]:
    """Every value, each followed by the ends of its interval."""
    found: dict[str, float | None] = {}
    intervals = one.intervals
    for name, value in one.values.items():
        low, high = intervals[name] or (None, None)
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return found


def _stamps(one: Standing, *, leaked: bool) -> Iterator[str]:
    """What to beware of."""
    if leaked:
        yield "LEAK"
    if one.selected and one.done:
        yield "excludes seed noise"
    if any(row.record is not None and row.record.edge for row in one.rows):
        yield "rate at the edge"
    yield from sorted({row.status for row in one.rows} - {Status.OK})
