"""The leaderboard as Markdown: what GitHub shows of leaderboard.md, and what a reader of the plain text sees."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from bench import leaking, tables, views
from bench.metrics import Profile
from bench.records import Status
from bench.standings import Board, Standing

DIGITS = 4
COLUMNS = {
    "rank": "Rows that cannot be told apart share one, written 1=. A dash: without a value, or with cells missing.",
    "95% interval": "Of the number to its left, over the test images, and over the seeds where there are several.",
    "cells": "Cells with a score, of all cells behind the row, and how the others ended.",
    "rank range": "The ranks that the row takes in 95% of the resamples.",
}
"""What the columns that are no metrics mean."""


def as_markdown(boards: Sequence[Board], profile: Profile, title: str = "Leaderboard") -> str:
    """A heading, one table per data set, and the definition of every column below them.

    Every text from data or files is escaped: neither HTML nor Markdown in a name is taken for such.
    """
    primary = profile.metrics[profile.primary]
    lines = [
        f"# {escape(title)}",
        "",
        f"Ranked by **{escape(primary.title)}**, `{profile.primary}` of the profile `{profile.id}`. "
        + primary.definition,
        "Bold: no network is better at the digits shown. Figures, pictures and how every number was made: "
        "[index.html](index.html).",
        "",
        _tally(boards),
        "",
    ]
    for board in boards:
        found = leaking.leak(board, profile)
        stamp = [] if found is None else [f"**{escape(leaking.sentence(found))}**", ""]
        lines += [f"## {escape(board.title)}", "", *stamp, *_table(board, profile), ""]
    lines += ["## What the columns mean", ""]
    lines += [f"- `{name}`: {metric.title}. {metric.definition}" for name, metric in profile.metrics.items()]
    lines += [f"- {name}: {meaning}" for name, meaning in COLUMNS.items()]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    r"""A text of one line as GitHub shows it letter by letter, in a table too.

    Brackets stay as they are: without an address behind them they are no link.
    """
    plain = html.escape(" ".join(text.split()), quote=False)
    plain = re.sub(r"([\\`*~|])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found[0]}", plain)
    plain = plain.replace("](", "]\\(").replace("://", "&#58;//").replace("$", "&#36;")
    return re.sub(r"@(?=\w)|(?<=www)\.", lambda found: f"&#{ord(found[0])};", plain)


def _tally(boards: Sequence[Board]) -> str:
    """How many cells have which end."""
    found = Counter(row.status for board in boards for one in board.standings for row in one.rows)
    others = [f"{count} {status.replace('_', ' ')}" for status, count in sorted(found.items()) if status != Status.OK]
    return f"{found[Status.OK]} of {found.total()} cells are scored{''.join(f', {one}' for one in others)}."


def _table(board: Board, profile: Profile) -> Iterator[str]:
    sides = [["95% interval"] if name == profile.primary else [] for name in profile.metrics]
    metrics = [column for name, side in zip(profile.metrics, sides, strict=True) for column in (f"`{name}`", *side)]
    yield _line(["rank", "architecture", "loss", *metrics, "cells", "rank range"])
    yield _line(["---:", "---", "---", *("---:" for _ in metrics), "---", "---"])
    best, ranks = tables.best(board, profile, DIGITS), [one.rank for one in board.standings]
    for one in board.standings:
        numbers = [text for name in profile.metrics for text in _numbers(one, name, profile, best)]
        between = "–" if one.rank_range is None else " to ".join(map(str, dict.fromkeys(one.rank_range)))
        names = [escape(one.architecture), escape(one.loss or "baseline")]
        yield _line([views.shown_rank(one, ranks), *names, *numbers, tables.coverage(one), between])


def _numbers(one: Standing, name: str, profile: Profile, best: dict[str, float]) -> Iterator[str]:
    """A number, in bold where no network is better; that of the primary metric with its interval."""
    value = one.values.get(name)
    leads = value is not None and one.loss is not None and best.get(name) == round(value, DIGITS)
    yield f"**{tables.number(value)}**" if leads else tables.number(value)
    if name == profile.primary:
        yield "n/a" if one.interval is None else f"{one.interval[0]:.{DIGITS}f} to {one.interval[1]:.{DIGITS}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
