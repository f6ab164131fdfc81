"""What the terminal shows while and after a study runs: progress with time left, lines, tables."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bench import leaderboard, plan
from bench.leaderboard import Board, Standing
from bench.metrics import Profile
from bench.specs import Cell, Status, Study

if TYPE_CHECKING:
    from rich.console import Console

    from bench.cell import Event
    from bench.estimate import Cost
    from bench.prepare import Progress as Report
    from bench.run import Planned

STYLES = {"ok": "green", "diverged": "yellow", "pending": "dim", "stale": "yellow"}


@contextlib.contextmanager
def bar(console: Console, text: str) -> Generator[Report]:
    """A progress bar for one piece of work; it appears with the first step, so that nothing flashes by."""
    progress = Progress(
        TextColumn(escape(text)), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    task: list[TaskID] = []

    def tell(done: int, total: int) -> None:
        if not task:
            progress.start()
            task.append(progress.add_task("", total=total))
        progress.update(task[0], completed=done)

    try:
        yield tell
    finally:
        if task:
            progress.stop()


class Live:
    """The progress of a study: time left over all, a line per running cell, a lasting line per finished one."""

    def __init__(self, console: Console, study: Study, todo: Sequence[Planned], of: int) -> None:
        self.console, self.study, self.of = console, study, of
        self.left = {one.cell: plan.work(one.cell, study) for one in todo}
        self.done, self.stored = 0, of - len(todo)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.total = self.progress.add_task("", total=sum(self.left.values()))
        self.tasks: dict[Cell, TaskID] = {}

    def __enter__(self) -> Live:
        kept = f", {self.stored} stored already" if self.stored else ""
        self.console.print(f"Study [bold]{escape(self.study.name)}[/bold]: {len(self.left)} cells to run{kept}.")
        self._head()
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def tell(self, event: Event) -> None:
        """Take up what a cell tells about itself."""
        tellers = {"started": self._started, "epoch": self._epoch, "finished": self._finished}
        if event.kind in tellers:
            tellers[event.kind](event)

    def _started(self, event: Event) -> None:
        if event.cell.loss is not None:
            self.tasks[event.cell] = self.progress.add_task(escape(_name(event.cell)), total=self.left[event.cell])

    def _epoch(self, event: Event) -> None:
        if event.epoch is None or event.cell not in self.tasks:
            return
        trial = 0 if event.trial is None else event.trial
        at = trial * self.study.budget.epochs + event.epoch.epoch
        value = "n/a" if event.epoch.value is None else f"{event.epoch.value:.3f}"
        where = (
            f"trial {trial + 1}/{self.study.tuning.trials} " if event.trial is not None else f"seed {event.cell.seed} "
        )
        text = f"{escape(_name(event.cell))} [dim]{where}epoch {event.epoch.epoch} val {value}[/dim]"
        task = self.tasks[event.cell]
        before = self.progress.tasks[self.progress.task_ids.index(task)].completed
        self.progress.update(task, completed=at, description=text)
        self.progress.advance(self.total, max(0, at - before))

    def _finished(self, event: Event) -> None:
        before = 0.0
        if event.cell in self.tasks:
            task = self.tasks.pop(event.cell)
            before = self.progress.tasks[self.progress.task_ids.index(task)].completed
            self.progress.remove_task(task)
        self.progress.advance(self.total, self.left[event.cell] - before)
        self.done += 1
        self._head()
        self.console.print(self._line(event), soft_wrap=True)

    def _head(self) -> None:
        self.progress.update(self.total, description=f"{self.done + self.stored}/{self.of} cells")

    def _line(self, event: Event) -> str:
        """One finished cell; what it scored on validation, never on test, while others are being tuned."""
        record = event.record
        if record is None:
            return escape(event.cell.key)
        style = STYLES.get(record.status, "red")
        parts = [f"[{style}]{record.status:>9}[/{style}]", escape(event.cell.key)]
        if record.lr is not None:
            best = record.history[record.best_epoch - 1].value if record.best_epoch else None
            parts.append(
                f"[dim]lr {record.lr:.2g}, val mdice_d_fg {best or 0.0:.3f}, {sum(record.seconds.values()):.0f} s[/dim]"
            )
        if record.edge:
            parts.append("[yellow]rate at the edge of --lr-range[/yellow]")
        if record.error is not None:
            parts.append(escape(f"{record.error.phase}: {record.error.kind}: {_first_line(record.error.message)}"))
        return "  ".join(parts)


def boards(tables: Sequence[Board], profile: Profile) -> Iterator[Table]:
    """The leaderboard of every data set, best first."""
    for board in tables:
        table = Table(
            title=f"{escape(board.title)}: {escape(profile.title.lower())}",
            caption=_caption(board),
            title_justify="left",
            caption_justify="left",
        )
        for name in ("rank", "architecture", "loss"):
            table.add_column(name, overflow="fold", justify="right" if name == "rank" else "left")
        for name in profile.metrics:
            table.add_column(name, justify="right", style="bold" if name == profile.primary else None)
        for name in ("95% interval", "cells", "lr"):
            table.add_column(name, justify="right" if name == "lr" else "left", no_wrap=True)
        for standing in board.standings:
            shown = [escape(text) for text in leaderboard.as_texts(standing, profile)]
            table.add_row(*shown, _rate(standing), style="dim" if standing.loss is None else None)
        yield table


def costs(console: Console, prices: Sequence[Cost], todo: Sequence[Planned], workers: int) -> None:
    """The cells of a study with parameters and the longest time each may take."""
    pending = {one.cell for one in todo}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("cell", "left"), ("parameters", "right"), ("at most", "right"), ("", "left")):
        table.add_column(name, justify=justify, overflow="fold")
    for price in prices:
        params = "-" if price.params is None else f"{price.params:,}"
        note = price.error or ("" if price.cell in pending else "stored")
        table.add_row(escape(price.cell.key), params, _duration(price.seconds), escape(note))
    console.print(table)
    total = sum(price.seconds for price in prices if price.cell in pending)
    console.print(
        f"{len(pending)} of {len(prices)} cells to run: at most {_duration(total)} of training, about "
        f"{_duration(total / max(workers, 1))} on {max(workers, 1)} workers (one step of each network, timed here)."
    )


def _caption(board: Board) -> str:
    lines = ["Rows of one rank cannot be told apart (paired bootstrap over test images)."]
    if any(standing.selected for standing in board.standings):
        lines.append("Each network is the tuned run itself, one seed: intervals exclude seed noise. Use --seeds 3.")
    return "\n".join(lines)


def _rate(standing: Standing) -> str:
    rates = sorted({row.record.lr for row in standing.rows if row.record and row.record.lr is not None})
    text = ", ".join(f"{rate:.2g}" for rate in rates[:2])
    edge = any(row.record is not None and row.record.edge and row.status == Status.OK for row in standing.rows)
    return f"{text}{' (edge)' if edge else ''}" or "-"


def _first_line(message: str) -> str:
    return next(iter(message.splitlines()), "")[:160]


def _name(cell: Cell) -> str:
    return f"{cell.dataset} {cell.architecture} {cell.loss or ''}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
