"""What a user names on the command line as a result: a study, or one cell or standing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import report, standings
from bench import study as studies
from bench.catalog import unknown
from bench.errors import StudyError
from bench.metrics import Profile
from bench.rows import Row
from bench.standings import Standing
from bench.store import Store, read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A or B: what was named, and the standings it has, by `dataset/architecture/loss`."""

    name: str
    whole: bool  # a study, not one cell or standing of it
    standings: dict[str, Standing]


def find(text: str, results: Path) -> tuple[Path, str | None]:
    """A study's folder, and the cell of it that is meant, if one is.

    Args:
        text: A study (its folder, or a name below `results`), `STUDY:CELL`, the folder of a cell, or a cell of the
            newest study. A cell is `dataset/architecture/loss/f0-s0`; without its end, all seeds and folds are meant.
    Raises:
        StudyError: If it is none of these.
        StoreError: If there is no study at all, or the record of a cell's folder is damaged.
    """
    if (folder := _study(text, results)) is not None:
        return folder, None
    path = Path(text).resolve()
    cell = path.parent if path.name == "record.json" else path
    if (cell / "record.json").is_file() and len(cell.parents) > 4:
        return cell.parents[4], read_record(cell / "record.json").cell.key
    for at in (at for at, letter in enumerate(text) if letter == ":"):
        if (folder := _study(text[:at], results)) is not None:
            return folder, text[at + 1 :]
    if text.count("/") >= 2:
        return report.newest(results), text
    raise StudyError(
        f"{text} is not a study in {results}, a study's folder, STUDY:CELL, the folder of a cell, or a cell of the "
        "newest study (dataset/architecture/loss/f0-s0). bench status shows the cells of a study."
    )


def side(folder: Path, key: str | None, profile: Profile) -> Side:
    """What a study's folder holds, or one cell or standing of it.

    Raises:
        NameUnknown: If the study has no such cell.
        StudyError, StoreError: If the folder cannot be read.
    """
    rows = standings.rows(studies.load(str(folder / "study.toml")), Store(folder), profile)
    if key is not None:
        known = {row.cell.key for row in rows} | {_group(row) for row in rows}
        rows = [row for row in rows if key in (row.cell.key, _group(row))]
        if not rows:
            raise unknown("cell", key, known, f"bench status {folder}")
    found = [standing for board in standings.boards(rows, profile) for standing in board.standings]
    order = {_group(row): at for at, row in enumerate(rows)}
    found.sort(key=lambda standing: order[_group(standing.rows[0])])
    named = {_group(standing.rows[0]) if key is None else key: standing for standing in found}
    return Side(name=f"{folder}:{key}" if key else str(folder), whole=key is None, standings=named)


def _group(row: Row) -> str:
    return row.cell.key.rpartition("/")[0]


def _study(text: str, results: Path) -> Path | None:
    return next((folder for folder in (Path(text), results / text) if (folder / "study.toml").is_file()), None)
