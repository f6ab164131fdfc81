"""`bench report --watch`: the page of a study that is still running, written again whenever something was stored."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli_options import complain, say
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.report import Content

REFRESH = 15
"""How often an open page of an unfinished study looks for a newer one [s]."""


def watch(folders: Sequence[Path], collect: Callable[[], Content], every: float) -> None:
    """Write the page now and after each change, a line each, until Ctrl-C; then once more, so that it stays as it is.

    Args:
        every: How long to wait between two looks [s].
    Raises:
        BenchError: If the first page cannot be made; later ones that cannot are told in a line.
    """
    from bench import report
    from bench import watch as watching

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    content: Content | None = None
    written = 0
    try:
        for number in watching.changes(lambda: report.state(folders), functools.partial(time.sleep, every)):
            try:
                content = collect()
                page = report.publish(content, REFRESH if unfinished(content) else None)
            except BenchError as error:
                if not number:
                    raise
                complain(f"{time.strftime('%H:%M:%S')}  not written: {error}")
                continue
            if written != (written := page.stat().st_mtime_ns):  # what was stored may change nothing that is shown
                say(f"{time.strftime('%H:%M:%S')}  {told(content)}: {page.resolve()}")
            if not number:
                say("Looking for changes; Ctrl-C ends it.")
    except KeyboardInterrupt:
        if content is not None:
            report.publish(content)
            say(f"Ended: {told(content)}.")


def unfinished(content: Content) -> bool:
    """Whether cells are still to be run."""
    return any(row.status in ("pending", "interrupted") for row in content.rows)


def told(content: Content) -> str:
    """How far a study is: `5 of 9 cells ok, 1 failed, 3 pending`."""
    from bench import report

    counts = report.tally(content.rows)
    others = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if status != "ok"]
    return ", ".join([f"{counts.get('ok', 0)} of {len(content.rows)} cells ok", *others])
