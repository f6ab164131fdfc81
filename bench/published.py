"""Numbers that others published, read from a table, and whether they may stand beside ours.

A number may stand beside ours only when it was made under the same definition at native size, on a split of the same
size, without a leak, and when its document was opened. Every other one carries a stamp that says what keeps it apart.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bench import names
from bench.errors import DataError
from bench.metrics import PROFILES, Profile
from bench.standings import Board

Leak = Literal["none", "augmented copies", "validation on copies", "selected on test", "unknown"]
Status = Literal["opened", "excerpt", "computed"]
COLUMNS = (
    "dataset", "method", "loss", "metric", "value", "spread", "profile", "column", "size", "train", "test", "leak",
    "protocol", "source", "status", "note",
)  # fmt: skip
NEEDED = ("dataset", "method", "metric", "value", "leak", "source", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published number.

    Attributes:
        dataset: Name in our catalogue, with options where they matter; a name of its own for other data.
        metric: What the source calls it, with what is known of its definition.
        value: As a share, 0 to 1; `spread` is its standard deviation as the source gives it.
        profile, column: Our definition that it is known to follow; empty when it follows none or that is not known.
        size: `native`, or the edge at which it was evaluated [pixels]; empty when unknown.
        train: Images that trained and validated, 0 where nothing is trained; None when unknown. `test` likewise.
        leak: What of the test images was known before the test; `unknown` where the source does not say.
        protocol: The rest of how it was made, in words.
        status: Whether the document itself was opened, only an excerpt was, or the number was computed from open data.
    """

    dataset: str
    method: str
    loss: str
    metric: str
    value: float
    spread: float | None
    profile: str
    column: str
    size: str
    train: int | None
    test: int | None
    leak: Leak
    protocol: str
    source: str
    status: Status
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A published number below one of our leaderboards.

    Attributes:
        stamps: What keeps it from being compared with ours; empty when it may stand beside them.
        standing: How many of our rows are higher, as `2 of 5 of ours are higher`; None with a stamp.
    """

    row: Published
    stamps: tuple[str, ...]
    standing: str | None


def table() -> Path:
    """The table that comes with the program: beside `bench/` in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    checkout = (package.parent / "pyproject.toml").is_file()
    folder = package.parent / "results" if checkout else package / "_builtin"
    return folder / "reference" / "published.csv"


def load(path: Path | None = None) -> tuple[Published, ...]:
    """Read and check a table; by default the one that comes with the program.

    Raises:
        DataError: If it is missing, has other columns, or holds a value that is not allowed, naming the line.
    """
    path = path or table()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Published numbers cannot be read from {path}: {error}. Install the project again.") from error
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        found = ", ".join(reader.fieldnames or ()) or "none"
        raise DataError(f"{path} has the columns {found}; they must be {', '.join(COLUMNS)}.")
    return tuple(_row(values, f"{path}, line {reader.line_num}") for values in reader)


def beside(board: Board, profile: Profile, rows: Iterable[Published]) -> list[Beside]:
    """The published numbers of a leaderboard's data set: those that may stand beside ours first, best first.

    The others follow in the order of the table; they are never sorted by their values.

    Args:
        profile: That of the leaderboard.
    """
    own = [row for row in rows if _stem(row.dataset) == _stem(board.catalogued)]
    found = [Beside(row=row, stamps=stamps, standing=None) for row in own if (stamps := _stamps(row, board, profile))]
    fitting = sorted((row for row in own if not _stamps(row, board, profile)), key=lambda row: (row.column, -row.value))
    return [Beside(row=row, stamps=(), standing=_standing(row, board)) for row in fitting] + found


def _stamps(row: Published, board: Board, profile: Profile) -> tuple[str, ...]:
    """What keeps a number apart from ours, the gravest first."""
    stamps = []
    if PROFILES.get(row.profile) is not profile or row.column not in profile.metrics or row.size != "native":
        stamps.append("other definition")
    if row.leak not in ("none", "unknown"):
        stamps.append("leaky protocol")
    elif row.leak == "unknown" or row.dataset != board.catalogued or not _same_split(row, board):
        stamps.append("other protocol")
    if row.status == "excerpt":
        stamps.append("excerpt only")
    return tuple(stamps)


def _same_split(row: Published, board: Board) -> bool:
    """Whether as many images trained and tested; all we can hold against a source that gives no list of them."""
    rows = [one for standing in board.standings for one in standing.rows]
    cards = {one.record.data for one in rows if one.record is not None and one.record.data is not None}
    if len(cards) != 1 or any(one.cell.fold for one in rows) or row.test is None or row.train is None:
        return False
    card = next(iter(cards))
    return row.test == card.test and row.train in (0, card.train + card.val)


def _standing(row: Published, board: Board) -> str:
    ours = [value for one in board.standings if (value := one.values.get(row.column)) is not None]
    return f"{sum(value > row.value for value in ours)} of {len(ours)} of ours are higher"


def _row(values: Mapping[str, str | None], where: str) -> Published:
    """One line of the table, checked; `where` is named in the errors."""
    text = {name: (value or "").strip() for name, value in values.items() if name is not None}
    if None in values or None in values.values():
        raise DataError(f"{where} does not have {len(COLUMNS)} fields. Put a field with a comma in double quotes.")
    if empty := [name for name in NEEDED if not text[name]]:
        raise DataError(f"{where} has no {empty[0]}; {', '.join(NEEDED)} are needed in every line.")
    for name, allowed in (("leak", get_args(Leak)), ("status", get_args(Status))):
        if text[name] not in allowed:
            raise DataError(f"{where}: {name} is {text[name]!r}; allowed are {', '.join(allowed)}.")
    if bool(text["column"]) and not text["profile"]:
        raise DataError(f"{where}: column {text['column']!r} has no profile; see bench list metrics.")
    if text["size"] and text["size"] != "native" and not text["size"].isdigit():
        raise DataError(f"{where}: size is {text['size']!r}; allowed are native, an edge in pixels, or nothing.")
    value = _share(text["value"], "value", where)
    assert value is not None
    return Published(
        **{name: text[name] for name in ("dataset", "method", "loss", "metric", "profile", "column", "size")},
        **{name: text[name] for name in ("protocol", "source", "note")},
        value=value,
        spread=_share(text["spread"], "spread", where),
        train=_count(text["train"], "train", where),
        test=_count(text["test"], "test", where),
        leak=text["leak"],  # ty: ignore[invalid-argument-type] - checked above
        status=text["status"],  # ty: ignore[invalid-argument-type]
    )


def _share(text: str, name: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"{where}: {name} is {text!r}; it must be a share from 0 to 1, as 0.9406 for 94.06%.")
    return value


def _count(text: str, name: str, where: str) -> int | None:
    if text and not text.isdigit():
        raise DataError(f"{where}: {name} is {text!r}; it must be a number of images, or nothing when unknown.")
    return int(text) if text else None


def _stem(dataset: str) -> str:
    return names.parse(dataset)[0] if dataset.count("[") < 2 else dataset
