"""Leaderboard and page once more from the records, held against the files that were published; told place by place."""

from __future__ import annotations

import contextlib
import csv
import difflib
import functools
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bench import metrics, parquet, report
from bench.errors import BenchError
from bench.ranking import Missing
from bench.report import Content
from bench.specs import Cell

MOST = 20
"""Places that are told of one file; a file that is another one altogether differs in thousands."""
HEAD = ("dataset", "architecture", "loss", "seed", "fold", "status", "lr")
"""The columns before the metrics."""
SAID = ("style", "title", "alt", "aria-label")
"""Attributes of a page that hold numbers, beside those of the script's."""
Table = dict[str, dict[str, object]]


def profile_of(root: Path) -> str:
    """The profile that a leaderboard was written under: by what it names, by its columns, by its numbers.

    Raises:
        NameUnknown: If it is of a user's own file, which is not here, or has changed.
    """
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        named = str(json.loads((root / "leaderboard.json").read_bytes())[0]["profile"])
        metrics.check_own(named)
        with contextlib.suppress(BenchError):
            return metrics.profile(named).name
    path = root / "leaderboard.csv"
    text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    columns = next(csv.reader(io.StringIO(text)), [])[len(HEAD) :]
    fitting = {name: one for name, one in metrics.PROFILES.items() if columns[: len(one.metrics)] == list(one.metrics)}
    most = max((len(one.metrics) for one in fitting.values()), default=0)
    names = [name for name, one in fitting.items() if len(one.metrics) == most]
    for name in names if len(names) > 1 else ():
        if report.texts(report.collect(root, name))["leaderboard.csv"] == text:
            return name
    return names[0] if names else "default"


def missing_of(root: Path) -> Missing:
    """How the ranks across data sets were made for networks without a score."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return Missing(json.loads((root / "statistics.json").read_bytes())["across"]["missing"])
    return Missing.COMMON


def differences(content: Content, rotten: Collection[str]) -> Iterator[tuple[str, str]]:
    """Names of published files with what is wrong in them.

    Args:
        content: What the records say.
        rotten: Keys of cells that are known to be unsound: their rows are not compared, nor are the ranks of others,
            in which they have a part.
    """
    wanted = report.texts(content)
    for name, parse in (("leaderboard.csv", _csv_values), ("leaderboard.json", _json_values)):
        own = {*HEAD, *(metric for row in content.rows for metric in row.values)} if rotten else None
        check = functools.partial(_cells, wanted=wanted[name], parse=parse, rotten=rotten, names=own)
        yield from _told(content, name, check)
    if rotten:
        return
    for name in ("leaderboard.md", "leaderboard.tex", "statistics.json"):
        yield from _told(content, name, functools.partial(_pieces, wanted=wanted[name], parts=str.splitlines))
    yield from _parquet(content)
    try:
        page = report.index(content)
    except (BenchError, LookupError, ValueError) as error:
        yield "index.html", f"cannot be made again from the stored pictures: {error!r}."
        return
    yield from _told(content, "index.html", functools.partial(_pieces, wanted=page, parts=_tokens))


def _parquet(content: Content) -> Iterator[tuple[str, str]]:
    """Whether the Parquet file holds the rows it should; it may be missing, and is not read without pyarrow."""
    path = content.store.root / parquet.FILE
    if not path.is_file() or not parquet.possible():
        return
    true = parquet.lines(parquet.as_parquet(content.rows, content.boards, content.profile))
    try:
        told = parquet.lines(path.read_bytes())
    except ValueError as error:
        yield parquet.FILE, f"cannot be read: {error}."
        return
    if told != true:
        wrong = sum(one != other for one, other in zip(told, true, strict=False)) + abs(len(told) - len(true))
        yield parquet.FILE, f"differs from the records in {wrong} rows."


def _told(content: Content, name: str, wrong: Callable[[str], list[str]]) -> Iterator[tuple[str, str]]:
    path = content.store.root / name
    if not path.is_file():
        yield name, "is missing."
        return
    places = wrong(path.read_bytes().decode(errors="replace"))
    yield from ((name, what) for what in places[:MOST])
    if len(places) > MOST:
        yield name, f"differs in {len(places) - MOST} more places."


def _cells(
    text: str, wanted: str, parse: Callable[[str], Table], rotten: Collection[str], names: Collection[str] | None
) -> list[str]:
    """Where a table with one row per cell differs, number by number; in some columns, or in all."""
    try:
        told = parse(text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"cannot be read: {error!r}."]
    true = parse(wanted)
    wrong = []
    for key in (key for key in dict.fromkeys((*true, *told)) if key not in rotten):
        if key not in told or key not in true:
            wrong.append(f"{key}: {'has no row' if key in true else 'is no cell of the study'}.")
            continue
        for name in (name for name in dict.fromkeys((*true[key], *told[key])) if names is None or name in names):
            says, gives = told[key].get(name, "missing"), true[key].get(name, "missing")
            if says != gives:
                wrong.append(f"{key}: {name} is {says!r}, the records give {gives!r}.")
    if not wrong and not rotten and text != wanted:
        return ["has the right numbers, but is not the text that bench writes."]
    return wrong


def _pieces(text: str, wanted: str, parts: Callable[[str], list[str]]) -> list[str]:
    """Where a text differs, piece by piece."""
    told, true = parts(text), parts(wanted)
    if told == true:
        return []
    changes = difflib.SequenceMatcher(None, told, true, autojunk=False).get_opcodes()
    return [
        f"says {_short(told[a:b])}, the records give {_short(true[c:d])}."
        for kind, a, b, c, d in changes
        if kind != "equal"
    ]


class _Page(HTMLParser):
    """The texts, scripts and numbers of a page with the section they stand in; nothing of drawings and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.section, self.skipped = "head", 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a row is sorted and filtered by, how long a bar is, and what is told on hover or read out."""
        self.skipped += tag in ("svg", "style")
        values = dict(attrs)
        if tag == "h2":
            self.section = values.get("id") or self.section
        said = (name for name in values if name in SAID or (name.startswith("data-") and name != "data-refresh"))
        for name in said:
            if not self.skipped and values[name] is not None:
                self.pieces.append(f"{self.section}: {values[name]}")

    def handle_endtag(self, tag: str) -> None:
        """Leave what was skipped."""
        self.skipped -= tag in ("svg", "style")

    def handle_data(self, data: str) -> None:
        """Keep a text, whatever the space around it."""
        if not self.skipped and data.strip():
            self.pieces.append(f"{self.section}: {' '.join(data.split())}")


def _tokens(text: str) -> list[str]:
    return _Page(text).pieces


def _csv_values(text: str) -> Table:
    return dict(_by_cell(csv.DictReader(io.StringIO(text))))


def _json_values(text: str) -> Table:
    return dict(_by_cell({**row, **row["metrics"], "metrics": None} for row in json.loads(text)))


def _by_cell(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, object]]]:
    for row in rows:
        cell = Cell(
            dataset=row["dataset"],
            architecture=row["architecture"],
            loss=row["loss"] or None,
            fold=int(row["fold"]),
            seed=int(row["seed"]),
        )
        yield cell.key, dict(row)


def _short(pieces: Sequence[str]) -> str:
    text = " / ".join(pieces)
    return f"{text[:160]!r}{'..' if len(text) > 160 else ''}" if text else "nothing"
