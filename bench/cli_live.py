"""A running study for people: a live view in a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich import live
from rich.console import Console, Group
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli_screen import STYLES, duration
from bench.progress import Account, Running, reached

if TYPE_CHECKING:
    from bench.job import Event

Clock = Callable[[], float]

QUIET = 30.0
"""A log gets a line on the state of the study at most every so often [s]."""


class View(Protocol):
    """Something that shows a study while it runs; it is told each event after the account has taken it up."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def tell(self, event: Event) -> None:
        """Show what a cell tells about itself."""


def view(console: Console, account: Account, clock: Clock = time.monotonic) -> View:
    """The view that suits where the words go."""
    return (Screen if console.is_interactive else Lines)(console, account, clock)


class Lines:
    """For a log: a line per finished cell, and now and then one on the state of the whole."""

    def __init__(self, console: Console, account: Account, clock: Clock = time.monotonic) -> None:
        self.console, self.account, self.clock = console, account, clock
        self.last = clock()

    def __enter__(self) -> Self:
        stored = f", {self.account.stored} stored already" if self.account.stored else ""
        name = escape(self.account.study.name)
        self.console.print(f"Study [bold]{name}[/bold]: {self.account.to_run} cells to run{stored}.", soft_wrap=True)
        return self

    def __exit__(self, *reason: object) -> None:
        took = duration(self.account.elapsed(self.clock()))
        self.console.print(f"{_count(self.account)}, {self.account.failed} failed, {took}", soft_wrap=True)

    def tell(self, event: Event) -> None:
        """Print a line for a finished cell, and one on the state of the whole when the last is old enough."""
        now = self.clock()
        if event.kind == "finished":
            self.console.print(_line(event), soft_wrap=True)
        if now - self.last >= QUIET:
            self.last = now
            self.console.print(state(self.account, now), markup=False, soft_wrap=True)


class Screen(Lines):
    """For a terminal: lines that stay for finished cells; below, the whole and every running cell as they are now."""

    def __init__(self, console: Console, account: Account, clock: Clock = time.monotonic) -> None:
        super().__init__(console, account, clock)
        self.live = live.Live(console=console, get_renderable=self.picture, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self.live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.live.stop()
        super().__exit__(*reason)

    def tell(self, event: Event) -> None:
        """Print a line that stays for a finished cell; the rest shows itself."""
        if event.kind == "finished":
            self.console.print(_line(event), soft_wrap=True)

    def picture(self) -> Group:
        """One line for the whole, one for each running cell; none is ever wrapped."""
        account, now = self.account, self.clock()
        head = Table.grid(padding=(0, 2))
        for _ in range(6):
            head.add_column(no_wrap=True)
        left = account.seconds_left(now)
        head.add_row(
            ProgressBar(completed=account.share, total=1.0, width=16),
            Text(_count(account), "bold"),
            Text(f"{account.failed} failed", "red" if account.failed else "dim"),
            _speed(account.images_s),
            duration(account.elapsed(now)),
            Text(
                "time left unknown" if left is None else f"about {duration(left)} left", "dim" if left is None else ""
            ),
        )
        rows = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "left", "right"):
            rows.add_column(no_wrap=True, justify=justify, overflow="ellipsis")
        for one in tuple(account.running.values()):
            value = "" if one.value is None else f"val {one.value:.3f}"
            rows.add_row(Text(f"  {one.cell.key}"), Text(place(one, account), "dim"), value, _speed(one.images_s))
        return Group(head, rows)


def state(account: Account, now: float) -> str:
    """The whole in one line: `3/14 cells, 1 failed, 2 running, 410 images/s, about 4 min left`."""
    parts = [_count(account), f"{account.failed} failed", f"{len(account.running)} running"]
    if account.images_s is not None:
        parts.append(_speed(account.images_s))
    if (left := account.seconds_left(now)) is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def place(one: Running, account: Account) -> str:
    """Where a cell has got to: its trial and epoch, or its phase before it has any."""
    if one.epoch is None:
        return one.phase or "starting"
    trial = "" if one.trial is None else f"trial {one.trial + 1}/{account.study.tuning.trials} "
    return f"{trial or f'{one.phase} '}epoch {one.epoch}/{account.study.budget.epochs}"


def _count(account: Account) -> str:
    return f"{account.done}/{account.total} cells"


def _speed(images_s: float | None) -> str:
    return "" if images_s is None else f"{images_s:.3g} images/s" if images_s < 100 else f"{images_s:.0f} images/s"


def _line(event: Event) -> str:
    """One finished cell; what it scored on validation, never on test, while others are being tuned."""
    record = event.record
    if record is None:
        return escape(event.cell.key)
    style = STYLES.get(record.status, "red")
    parts = [f"[{style}]{record.status:>9}[/{style}]", escape(event.cell.key)]
    if record.lr is not None:
        seconds = sum(record.seconds.values())
        parts.append(f"[dim]lr {record.lr:.2g}, val mdice_d_fg {reached(record) or 0.0:.3f}, {seconds:.0f} s[/dim]")
    if record.edge:
        parts.append("[yellow]rate at the edge of --lr-range[/yellow]")
    if record.error is not None:
        first = next(iter(record.error.message.splitlines()), "")[:160]
        parts.append(escape(f"{record.error.phase}: {record.error.kind}: {first}"))
    return "  ".join(parts)
