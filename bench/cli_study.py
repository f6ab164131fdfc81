"""A study from its data to its leaderboard, as the commands that run one show it."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench import cli_screen, conduct, machine, plan, runner
from bench.cli_options import complain, console
from bench.errors import DataError
from bench.progress import Account

if TYPE_CHECKING:
    from bench.cli_live import View
    from bench.events import Script
    from bench.job import Event
    from bench.specs import Place, Study


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How(conduct.How):
    """How a study is run, as the options say.

    Attributes:
        dry_run: Only what the cells would cost.
        tensorboard: Where training curves go.
    """

    dry_run: bool = False
    tensorboard: Path | None = None


class Terminal(cli_screen.Screen):
    """A running study on the screen and in further views.

    Args:
        script: Where events go for scripts; a view, too.
    """

    def __init__(self, script: Script | None = None, more: Sequence[View] = ()) -> None:
        self.script = script
        self.views = [*([script] if script else []), *more]

    def begin(self, account: Account, folder: Path) -> None:
        """Tell a script."""
        if self.script:
            self.script.study(account, folder)

    def follow(self, account: Account) -> AbstractContextManager[Callable[[Event], None]]:
        """Show every event on all views."""
        from bench import cli_live

        return shown(account, [cli_live.view(console(), account), *self.views])


@contextlib.contextmanager
def interruptible(script: Script | None) -> Generator[None]:
    """Ctrl-C and SIGTERM end the program, whatever it is at, and say that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if script:
            script.say("interrupted")
        complain("Interrupted. Finished cells are kept; the same command goes on from here.")
        raise typer.Exit(130) from None


def run(study: Study, place: Place, how: How, script: Script | None) -> None:
    """Run what is missing of a study, then show its leaderboard; exit code 1 when a cell failed, 2 when data leak."""
    from bench.scalars import Scalars

    terminal = Terminal(script, [Scalars(how.tensorboard)] if how.tensorboard else [])
    if how.dry_run:
        conduct.check(place, how, dry=True)
        _price(study, place, how, terminal)
        return
    conduct.run(study, place, how, terminal)
    _finish(place.results / study.name, script)


def _price(study: Study, place: Place, how: How, terminal: Terminal) -> None:
    """What the cells of a study would cost; exit code 2 when a network of it cannot be built, or its data leak."""
    from bench import cli_costs

    study, missing = conduct.prepared(study, place, how, terminal, dry=True)
    there = tuple(name for name in study.datasets if name not in missing)
    leak = ""
    try:
        conduct.audited(dataclasses.replace(study, datasets=there), place, terminal, allow_leak=how.allow_leak)
    except DataError as error:
        leak = str(error)
    planned = runner.survey(dataclasses.replace(study, datasets=there), place, fetch=False)
    stands = {one.cell for one in planned} - {
        one.cell for one in runner.pending(planned, retry_failed=how.retry_failed)
    }
    cells = plan.cells(study)
    todo = [cell for cell in cells if cell not in stands]
    wanted = machine.default_workers(how.device, study.recipe) if how.workers is None else how.workers
    count = min(wanted, len(plan.groups(todo)))
    job = runner.job(study, place, how.device, min(wanted, len(plan.groups(cells))))
    account = Account(study, todo, stored=len(cells) - len(todo), workers=count, began=time.monotonic())
    terminal.begin(account, place.results / study.name)
    with terminal.bar("Timing networks and losses") as progress:
        prices = runner.costs(dataclasses.replace(job, threads=how.threads or job.threads), missing, progress)
    cli_costs.show(console(), prices, set(todo), missing, count)
    if terminal.script:
        terminal.script.costs(prices)
    if leak:
        complain(leak)  # below the table, where it is seen
    if leak or any(price.refused for price in prices):
        raise typer.Exit(2)


@contextlib.contextmanager
def shown(account: Account, views: Sequence[View]) -> Generator[Callable[[Event], None]]:
    """Show a run on all views."""

    def tell(event: Event) -> None:
        account.take(event, time.monotonic())
        for view in views:
            view.tell(event)

    with contextlib.ExitStack() as stack:
        for view in views:
            stack.enter_context(view)
        yield tell


def _finish(folder: Path, script: Script | None) -> None:
    """The leaderboard in the terminal, the page on disk, and exit code 1 when a cell failed."""
    from bench import report as reports

    content = reports.collect(folder, "default")
    page = reports.publish(content)
    for table in cli_screen.boards(content.boards, content.profile, console().width):
        console().print(table)
    for table in cli_screen.worths(content):
        console().print(table)
    console().print(f"Page: {page.resolve()}", soft_wrap=True)
    failed = [row for row in content.rows if row.status not in ("ok", "diverged")]
    if script:
        script.report(page, cells=len(content.rows), failed=len(failed))
    if failed:
        complain(
            f"{len(failed)} of {len(content.rows)} cells have no result; see bench status {shlex.quote(str(folder))}."
        )
        raise typer.Exit(1)
