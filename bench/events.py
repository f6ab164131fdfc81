"""A running study for scripts: one JSON object per line on standard output."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from bench.errors import BenchError
from bench.progress import Account, reached
from bench.records import Record
from bench.specs import Cell

if TYPE_CHECKING:
    from bench.estimate import Cost
    from bench.job import Event

RECORDED = (
    "status", "lr", "lr_smooth", "edge", "best_epoch", "params", "seconds", "peak_memory_mb", "batch_adapted",
    "fingerprint", "finished", "error",
)  # fmt: skip
"""What a finished cell tells of its record, under the record's own names; nothing of the test images is among it."""

MANY, PAUSE = 1000, 1.0
"""In a study of so many cells, the time left is asked for once in so long: looking at all of them takes a while [s]."""


class Raw(Protocol):
    """A stream without a buffer, which may take a part of what it is given and says how much."""

    def write(self, data: bytes, /) -> int:
        """Take bytes from the front; how many."""
        ...


class Script:
    """Writes events as lines; a view of a running study like any other."""

    def __init__(self, stream: Raw, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self.account: Account | None = None
        self.asked: float = -math.inf
        self.left: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        """Whoever started it says how it ended."""

    def study(self, account: Account, folder: Path) -> None:
        """Tell what is about to run, and whose account later events are read from."""
        self.account = account
        study = account.study
        self.say(
            "study", study=study.name, folder=str(folder.resolve()), cells=account.total, stored=account.stored,
            to_run=account.to_run, workers=account.workers, epochs=study.budget.epochs, trials=study.tuning.trials,
        )  # fmt: skip

    def costs(self, prices: Sequence[Cost]) -> None:
        """Tell what each cell may cost at most."""
        for price in prices:
            told = {"params": price.params, "step": price.step, "seconds": price.seconds, "error": price.error or None}
            self.say("cost", **names(price.cell), **told)

    def tell(self, event: Event) -> None:
        """Tell what a cell tells about itself."""
        told: dict[str, object] = {}
        if event.kind == "phase":
            told = {"phase": event.phase}
        elif event.epoch is not None:
            told = {
                "trial": event.trial, "lr": event.lr, "epoch": event.epoch.epoch, "train_loss": event.epoch.loss,
                "value": event.epoch.value, "images_s": event.images_s,
            }  # fmt: skip
        elif event.record is not None:
            told = recorded(event.record)
        if self.account is not None and event.kind in ("epoch", "finished"):
            told |= {"done": self.account.done, "failed": self.account.failed}
            told["seconds_left"] = self._seconds_left(self.account)
        self.say(event.kind, **names(event.cell), **told)

    def report(self, page: Path, *, cells: int, failed: int) -> None:
        """Tell where the page and the tables of the leaderboard are; the last line of a run that came to its end."""
        files = {form: str(page.with_name(f"leaderboard.{form}").resolve()) for form in ("csv", "md", "json")}
        self.say("report", page=str(page.resolve()), **files, cells=cells, failed=failed)

    def _seconds_left(self, account: Account) -> float | None:
        """How long the rest will take [s]; of a large study it may be a second old."""
        now = self.clock()
        if account.to_run - account.finished < MANY or now >= self.asked + PAUSE:
            self.asked, self.left = now, account.seconds_left(now)
        return self.left

    def say(self, event: str, **told: object) -> None:
        """Write one line; a reader that went away ends the program, as it ends any other in a pipe."""
        line = f"{json.dumps({'event': event, **_finite(told)}, allow_nan=False)}\n".encode()
        try:
            while line:
                line = line[self.stream.write(line) :]
        except BrokenPipeError:
            raise SystemExit(1) from None


@contextlib.contextmanager
def script() -> Generator[Script]:
    """Events on standard output, and on it nothing else: whatever this process and its workers print goes to stderr."""
    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(os.dup(out), "wb", buffering=0) as stream, contextlib.redirect_stdout(sys.stderr):
        teller = Script(stream)
        try:
            yield teller
        except BenchError as error:
            teller.say("error", message=str(error))
            raise
        finally:
            sys.stdout.flush()
            os.dup2(out, 1)
            os.close(out)


def names(cell: Cell) -> dict[str, object]:
    """A cell by its key and by the names of a leaderboard row."""
    return {"cell": cell.key, **asdict(cell)}


def recorded(record: Record) -> dict[str, object]:
    """What a script is told of a stored record, the validation value of the scored weights with it."""
    return {name: value for name, value in asdict(record).items() if name in RECORDED} | {"value": reached(record)}


def _finite(value: Any) -> Any:
    """Numbers that JSON has no word for become null."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
