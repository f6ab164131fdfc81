"""The leaderboard as Parquet: typed columns, one row per cell; needs the extra `parquet`."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from bench import extras, tables
from bench.errors import StudyError
from bench.metrics import Profile
from bench.rows import Row
from bench.standings import Board

FILE = "leaderboard.parquet"
HEAD = {
    "dataset": "string",
    "architecture": "string",
    "loss": "string",
    "seed": "int32",
    "fold": "int32",
    "status": "string",
    "profile": "string",
    "lr": "double",
    "params": "int64",
}
"""The columns before the numbers, with their types in Arrow."""


def possible() -> bool:
    """Whether pyarrow is installed; nothing is imported."""
    return importlib.util.find_spec("pyarrow") is not None


def check(terminal: bool) -> None:
    """Refuse what cannot be printed, before anything is computed.

    Raises:
        StudyError: If standard output is a terminal, or pyarrow is not installed.
    """
    if terminal:
        raise StudyError(f"Parquet is no text for a terminal. Give a file: bench report --format parquet > {FILE}")
    extras.load("pyarrow", extra="parquet", wanted_by="bench report --format parquet")


def as_parquet(table: Sequence[Row], boards: Sequence[Board], profile: Profile) -> bytes:
    """One row per cell: names, status, rate, parameters, then every number, its interval over images, and its rank.

    The columns have the names that they have in leaderboard.csv; what is undefined is null.

    Raises:
        StudyError: If pyarrow is not installed.
    """
    arrow: Any = extras.load("pyarrow", extra="parquet", wanted_by=FILE)
    writer: Any = extras.load("pyarrow.parquet", extra="parquet", wanted_by=FILE)
    names, stands = tables.measured(table), tables.by_group(boards)
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    types = HEAD | dict.fromkeys([*names, *ends], "double") | dict.fromkeys([*tables.PLACES, "leaked"], "int32")
    lines = [_line(row, profile, names) | _place(row, stands) for row in table]
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in types.items()])
    buffer = io.BytesIO()
    writer.write_table(arrow.Table.from_pylist(lines, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def lines(data: bytes) -> list[dict[str, object]]:
    """The rows of a file that `as_parquet` wrote.

    Raises:
        StudyError: If pyarrow is not installed.
        ValueError: If it is no Parquet, or damaged.
    """
    reader: Any = extras.load("pyarrow.parquet", extra="parquet", wanted_by=FILE)
    try:
        return reader.read_table(io.BytesIO(data)).to_pylist()
    except OSError as error:  # what pyarrow says of damaged pages
        raise ValueError(str(error)) from error


def _line(row: Row, profile: Profile, names: Sequence[str]) -> dict[str, object]:
    record, intervals = row.record, row.intervals
    sides = {name: intervals.get(name) or (None, None) for name in names}
    return {
        "dataset": row.dataset,
        "architecture": row.architecture,
        "loss": row.cell.loss,
        "seed": row.cell.seed,
        "fold": row.cell.fold,
        "status": str(row.status),
        "profile": profile.id,
        "lr": record.lr if record else None,
        "params": record.params if record else None,
        **{name: row.values.get(name) for name in names},
        **{f"{name}_low": low for name, (low, _) in sides.items()},
        **{f"{name}_high": high for name, (_, high) in sides.items()},
        "leaked": tables.leaked(row),
    }


def _place(row: Row, stands: dict[tables.Group, tables.Standing]) -> dict[str, object]:
    return dict(zip(tables.PLACES, tables.place(stands.get(tables.group(row))), strict=True))
