"""What the terminal shows before and after a study runs: progress of preparation, costs, leaderboards."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bench import cli_options, doubts, figures, leaking, provenance, tables, worth
from bench.conduct import Listener
from bench.metrics import Profile
from bench.records import Status
from bench.standings import Board, Standing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.prepare import Progress as Report
    from bench.report import Content


WIDEST = 10_000
"""Columns that no table needs [letters]."""
TOLD = 6
"""Networks that stand more than once which the terminal names before it counts the rest."""
STYLES = {"ok": "green", "diverged": "yellow", "pending": "dim", "stale": "yellow"}


@contextlib.contextmanager
def bar(console: Console, text: str) -> Generator[Report]:
    """A progress bar for one piece of work; it appears with the first step, so that nothing flashes by.

    In a log it is one line that says how much there is to do.
    """
    progress = Progress(
        TextColumn(escape(text)), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    task: list[TaskID] = []

    def tell(done: int, total: int) -> None:
        if not task:
            task.append(progress.add_task("", total=total))
            if console.is_interactive:
                progress.start()
            else:
                console.print(f"{text}: {total} to do.", markup=False, soft_wrap=True)
        progress.update(task[0], completed=done, total=total)  # copies follow the images they are made of

    try:
        yield tell
    finally:
        if task and console.is_interactive:
            progress.stop()


class Screen(Listener):
    """The terminal, told how a study goes."""

    def say(self, line: str) -> None:
        """Print it."""
        cli_options.say(line)

    def warn(self, line: str) -> None:
        """Print it on standard error."""
        cli_options.complain(line)

    def bar(self, text: str) -> AbstractContextManager[Report]:
        """A progress bar."""
        return bar(cli_options.console(), text)


def boards(shown: Sequence[Board], profile: Profile, width: int = WIDEST) -> Iterator[Table]:
    """The leaderboard of every data set, best first; of its metrics the primary, and what else `width` has room for."""
    ample = Console(width=WIDEST)
    for board in shown:
        others = [name for name in profile.metrics if name != profile.primary]
        for count in range(len(others), -1, -1):
            kept = {profile.primary, *others[:count]}
            table = _board(board, profile, [name for name in profile.metrics if name in kept])
            if ample.measure(table).maximum <= width:
                break
        yield table


def _board(board: Board, profile: Profile, shown: Sequence[str]) -> Table:
    """A leaderboard with some of the metrics; the caption says where the others are."""
    table = Table(
        title=f"{escape(board.title)}: {escape(profile.title)}",
        caption=escape(_caption(board, profile, shown)),
        title_justify="left",
        caption_justify="left",
    )
    for name in ("rank", "architecture", "loss"):
        table.add_column(name, overflow="fold", justify="right" if name == "rank" else "left")
    easy = doubts.easy_sentences(board, profile)
    for name in shown:
        bold = "bold" if name == profile.primary else None
        table.add_column(f"{name} ⚠" if name in easy else name, justify="right", style=bold, no_wrap=len(shown) == 1)
    for name in ("95% interval", "cells", "lr"):
        table.add_column(name, justify="right" if name == "lr" else "left", no_wrap=True)
    for standing in board.standings:
        texts = [escape(text) for text in tables.as_texts(standing, profile, shown)]
        table.add_row(*texts, _rate(standing), style="dim" if standing.loss is None else None)
    return table


def worths(content: Content) -> Iterator[Table]:
    """What a leak is worth: for every data set under several protocols a table, with a sentence below."""
    for one in content.worth:
        short = figures.short(line.architecture for line in one.lines)
        told = Table(
            title=f"What the leak is worth: {escape(one.title)}",
            caption=escape(f"{one.sentence}\n{one.note}"),
            title_justify="left",
            caption_justify="left",
        )
        for name in ("architecture", "loss"):
            told.add_column(name, overflow="fold")
        for word in one.protocols:
            told.add_column(f"{worth.HEADINGS[word]}", justify="right")
        told.add_column("difference", justify="right", style="bold", no_wrap=True)
        told.add_column("95% interval", no_wrap=True)
        for line in one.lines:
            scores = [tables.number(score and score.value) for score in line.scores.values()]
            gain = "n/a" if line.difference is None else f"{line.difference:+.4f}"
            between = "n/a" if line.interval is None else f"{line.interval[0]:+.4f} to {line.interval[1]:+.4f}"
            texts = (short[line.architecture], line.loss or "-", *scores, gain, between)
            told.add_row(*map(escape, texts), style="dim" if line.loss is None else None)
        yield told


def merged(content: Content) -> Iterator[str]:
    """What became of several folders, a line each, and what to know of their data."""
    for one in content.sources:
        contradicted = f", {one.disputed} not reproducible" if one.disputed else ""
        yield (
            f"{one.name}: {one.stored} cells stored in {one.folder}, {one.shown} shown{contradicted}, {one.confirmed} "
            "confirm another folder's."
        )
    apart = provenance.apart(content.rows)
    yield from apart[:TOLD]
    if len(apart) > TOLD:
        yield f"{len(apart) - TOLD} more networks stand side by side; the page has them under Provenance."
    yield from content.notes


def published(board: Board, profile: Profile) -> RenderableType:
    """What papers reported on the data set of a board; only rows without a stamp may be read against ours."""
    from bench.published import beside, load

    found = beside(board, profile, load())
    if not found:
        return f"No published numbers are known of {escape(board.dataset)}.\n"
    table = Table(
        title=f"Published elsewhere: {escape(board.title)}",
        caption="Never ranked with ours. Stamped rows are of another definition or protocol, and stand in no order.",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("method", "metric as published", "value", "beside ours", "source"):
        table.add_column(name, overflow="fold", justify="right" if name == "value" else "left")
    for one in found:
        row, ours = one.row, one.standing and f"{one.row.column}: {one.standing}"
        texts = (row.method, row.metric, f"{row.value:.4f}", ours or ", ".join(one.stamps), row.source)
        table.add_row(*map(escape, texts), style="dim" if one.stamps else None)
    return table


def _caption(board: Board, profile: Profile, shown: Sequence[str]) -> str:
    found = leaking.leak(board, profile)
    lines = [] if found is None else [leaking.sentence(found)]
    lines.append("Rows of one rank cannot be told apart (paired over test images, Holm-corrected).")
    if any(standing.selected for standing in board.standings):
        lines.append("Each network is a single run, one seed: intervals and ties exclude seed noise. Use --seeds 3.")
    easy = doubts.easy_sentences(board, profile)
    lines += [f"⚠ {name}: {reason}." for name, reason in easy.items() if name in shown]
    if left := len(profile.metrics) - len(shown):
        lines.append(f"{left} more metric{'s are' if left > 1 else ' is'} on the page, and in a wider terminal.")
    lines += filter(None, [doubts.unmeasured(board, profile), doubts.disagreement(board, profile)])
    return "\n".join(lines)


def _rate(standing: Standing) -> str:
    rates = sorted({row.record.lr for row in standing.rows if row.record and row.record.lr is not None})
    text = ", ".join(f"{rate:.2g}" for rate in rates[:2])
    edge = any(row.record is not None and row.record.edge and row.status == Status.OK for row in standing.rows)
    return f"{text}{' (edge)' if edge else ''}" or "-"


def duration(seconds: float) -> str:
    """A time as a person says it, to two digits or so."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86400:.0f} days"
