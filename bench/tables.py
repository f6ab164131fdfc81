"""Leaderboards as files for programs, JSON and CSV, and what their other forms share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from bench.metrics import Profile
from bench.records import Status
from bench.rows import Row
from bench.standings import Board, Standing

SCHEMA = 1
"""Version of the objects in leaderboard.json, which docs/leaderboard.schema.json describes."""
PLACES = ("rank", "rank_low", "rank_high", "tie_group")
Group = tuple[str, str, str | None]


def as_json(table: Sequence[Row], tables: Sequence[Board], profile: Profile) -> str:
    """One object per cell: its names, status, rate, metrics, their intervals over images, and how its row stands."""
    stands, version, said = by_group(tables), {"schema": SCHEMA}, {"profile": profile.id}
    flat = [
        version | _flat(row) | said | {"intervals": row.intervals} | _stand(stands.get(group(row))) for row in table
    ]
    return json.dumps(flat, indent=1, allow_nan=False) + "\n"


def as_csv(table: Sequence[Row], tables: Sequence[Board]) -> str:
    """One line per cell, one column per metric, then its interval, how its row stands and what leaked."""
    names = measured(table)
    head = ("dataset", "architecture", "loss", "seed", "fold", "status", "lr")
    stands = by_group(tables)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    writer.writerow([*head, *names, *ends, *PLACES, "leaked"])
    for row in table:
        flat, intervals = _flat(row), row.intervals
        sides = [side for name in names for side in intervals.get(name) or (None, None)]
        places = place(stands.get(group(row)))
        writer.writerow(
            [*(flat[key] for key in head), *(row.values.get(name) for name in names), *sides, *places, leaked(row)]
        )
    return text.getvalue()


def as_texts(standing: Standing, profile: Profile, shown: Sequence[str] | None = None) -> list[str]:
    """The fields of a standing as a reader sees them: rank, architecture, loss, metrics, interval, coverage.

    Args:
        shown: Which metrics; None for all of the profile.
    """
    interval = "n/a" if standing.interval is None else f"{standing.interval[0]:.3f} to {standing.interval[1]:.3f}"
    numbers = [number(standing.values.get(name)) for name in (profile.metrics if shown is None else shown)]
    rank = "-" if standing.rank is None else str(standing.rank)
    return [rank, standing.architecture, standing.loss or "-", *numbers, interval, coverage(standing)]


def coverage(standing: Standing) -> str:
    """Cells with a score, of all cells, and how the others ended."""
    others = sorted({row.status for row in standing.rows} - {Status.OK})
    return " ".join([f"{standing.done}/{standing.of}", *others])


def number(value: float | None) -> str:
    """Four decimals, or n/a."""
    return "n/a" if value is None else f"{value:.4f}"


def best(board: Board, profile: Profile, digits: int) -> dict[str, float]:
    """The best value of each metric among the networks, rounded as it is shown; without metrics that have no best."""
    choose = {"higher": max, "lower": min}
    networks = [one for one in board.standings if one.loss is not None]
    shown = {name: [one.values.get(name) for one in networks] for name in profile.metrics}
    known = {name: [round(value, digits) for value in values if value is not None] for name, values in shown.items()}
    return {
        name: choose[metric.better](known[name])
        for name, metric in profile.metrics.items()
        if metric.better is not None and known[name] and name != "background_share"
    }


def leaked(row: Row) -> int | None:
    """The test images of a cell that have a copy in another split; None where nobody looked."""
    card = row.record.data if row.record else None
    return None if card is None or card.leaked is None else card.leaked.get("test", 0)


def measured(table: Sequence[Row]) -> list[str]:
    """The names of all values that some row has."""
    return list(dict.fromkeys(name for row in table for name in row.values))


def group(row: Row) -> Group:
    """The standing that a row is part of."""
    return row.dataset, row.architecture, row.cell.loss


def by_group(tables: Sequence[Board]) -> dict[Group, Standing]:
    """Every standing."""
    return {(one.dataset, one.architecture, one.loss): one for board in tables for one in board.standings}


def place(one: Standing | None) -> tuple[int | None, int | None, int | None, int | None]:
    """How a row stands, in the order of PLACES."""
    if one is None:
        return None, None, None, None
    return one.rank, *(one.rank_range or (None, None)), one.group


def _stand(one: Standing | None) -> dict[str, Any]:
    between = None if one is None or one.rank_range is None else list(one.rank_range)
    return {"rank": one and one.rank, "rank_range": between, "tie_group": one and one.group}


def _flat(row: Row) -> dict[str, object]:
    return {
        "dataset": row.dataset,
        "architecture": row.architecture,
        "loss": row.cell.loss,
        "seed": row.cell.seed,
        "fold": row.cell.fold,
        "status": row.status,
        "lr": row.record.lr if row.record else None,
        "leaked": leaked(row),
        "metrics": row.values,
    }
