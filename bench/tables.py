"""Leaderboards as files and as the texts of a table: JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from bench.leaderboard import Board, Row, Standing
from bench.metrics import Profile
from bench.records import Status


def as_json(table: Sequence[Row], tables: Sequence[Board], profile: Profile) -> str:
    """One object per cell: its names, status, rate, metrics, their intervals over images, and how its row stands."""
    stands, said = _stands(tables), {"profile": profile.id}
    flat = [_flat(row) | said | {"intervals": row.intervals} | _stand(stands.get(_group(row))) for row in table]
    return json.dumps(flat, indent=1, allow_nan=False) + "\n"


def as_csv(table: Sequence[Row], tables: Sequence[Board]) -> str:
    """One line per cell, one column per metric, then its interval and how its row stands; undefined is empty."""
    names = list(dict.fromkeys(name for row in table for name in row.values))
    head = ("dataset", "architecture", "loss", "seed", "fold", "status", "lr")
    stands = _stands(tables)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    writer.writerow([*head, *names, *ends, "rank", "rank_low", "rank_high", "tie_group"])
    for row in table:
        flat, intervals = _flat(row), row.intervals
        sides = [side for name in names for side in intervals.get(name) or (None, None)]
        stand = _stand(stands.get(_group(row)))
        places = [stand["rank"], *(stand["rank_range"] or (None, None)), stand["tie_group"]]
        writer.writerow([*(flat[key] for key in head), *(row.values.get(name) for name in names), *sides, *places])
    return text.getvalue()


def as_markdown(tables: Sequence[Board], profile: Profile) -> str:
    """One table per data set, and the definition of every column below them."""
    lines: list[str] = [f"Profile `{profile.id}`: {profile.title}.", ""]
    head = ["rank", "architecture", "loss", *profile.metrics, "95% interval", "cells", "rank range"]
    for board in tables:
        lines += [f"## {_plain(board.title)}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        for standing in board.standings:
            texts = [*as_texts(standing, profile), _range(standing)]
            lines.append(f"| {' | '.join(map(_plain, texts))} |")
        lines.append("")
    lines += [f"- `{name}`: {metric.definition}" for name, metric in profile.metrics.items()]
    return "\n".join(lines) + "\n"


def as_texts(standing: Standing, profile: Profile) -> list[str]:
    """The fields of a standing as a reader sees them: rank, architecture, loss, metrics, interval, coverage."""
    interval = "n/a" if standing.interval is None else f"{standing.interval[0]:.3f} to {standing.interval[1]:.3f}"
    coverage = f"{standing.done}/{standing.of}"
    failures = sorted({row.status for row in standing.rows} - {Status.OK})
    numbers = [number(standing.values.get(name)) for name in profile.metrics]
    rank = "-" if standing.rank is None else str(standing.rank)
    return [rank, standing.architecture, standing.loss or "-", *numbers, interval, " ".join([coverage, *failures])]


def number(value: float | None) -> str:
    """Four decimals, or n/a."""
    return "n/a" if value is None else f"{value:.4f}"


def _group(row: Row) -> tuple[str, str, str | None]:
    return row.dataset, row.architecture, row.cell.loss


def _stands(tables: Sequence[Board]) -> dict[tuple[str, str, str | None], Standing]:
    return {(one.dataset, one.architecture, one.loss): one for board in tables for one in board.standings}


def _stand(one: Standing | None) -> dict[str, Any]:
    between = None if one is None or one.rank_range is None else list(one.rank_range)
    return {"rank": one and one.rank, "rank_range": between, "tie_group": one and one.group}


def _range(standing: Standing) -> str:
    return "-" if standing.rank_range is None else " to ".join(map(str, dict.fromkeys(standing.rank_range)))


def _flat(row: Row) -> dict[str, object]:
    return {
        "dataset": row.dataset,
        "architecture": row.architecture,
        "loss": row.cell.loss,
        "seed": row.cell.seed,
        "fold": row.cell.fold,
        "status": row.status,
        "lr": row.record.lr if row.record else None,
        "metrics": row.values,
    }


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
