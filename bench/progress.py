"""The account of a running study: what is done, what runs and how fast, and how long the rest will take.

Fed with what cells tell and with the time it was told at; knows no clock, no terminal and no torch. One thread may feed
it while another reads.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from statistics import median
from threading import RLock
from typing import TYPE_CHECKING

from bench import plan
from bench.records import FINAL, Epoch, Record
from bench.specs import Cell, Study

if TYPE_CHECKING:
    from bench.job import Event

WINDOW = 256
"""Epoch times remembered per data set and architecture: enough for a median, and a slower machine shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where a running cell has got to.

    Attributes:
        trial: Counted from 0; None outside the tuning.
        epoch: Counted from 1, within the present training; None before its first one is over.
        value: The last mdice_d_fg on validation, in [0, 1]; None before the first epoch, and where training diverged.
        images_s: Throughput of the last epoch [images/s]; None where it was not told.
        left: Epochs the cell may still need.
        spent: What the present training has taken up to its last epoch [s].
        since: When the last epoch or phase was told, on the clock of the account [s].
    """

    cell: Cell
    left: int
    since: float
    phase: str | None = None
    trial: int | None = None
    epoch: int | None = None
    value: float | None = None
    images_s: float | None = None
    spent: float = 0.0


class Account:
    """What is known of a running study.

    Attributes:
        stored: Cells that were stored before.
        to_run: Cells this run was asked for.
        finished: Those of them that have ended, failed ones too.
        failed: Those that ended without a result.
        running: Where each cell is that runs now, in the order they began.
    """

    def __init__(
        self, study: Study, todo: Sequence[Cell], *, stored: int = 0, workers: int = 1, began: float = 0.0
    ) -> None:
        self.study, self.stored, self.workers, self.began = study, stored, workers, began
        self.to_run, self.finished, self.failed = len(todo), 0, 0
        self.running: dict[Cell, Running] = {}
        self._unfinished = {cell: plan.work(cell, study) for cell in todo}
        self._work = sum(self._unfinished.values())
        self._lock = RLock()
        self._times = defaultdict[tuple[str, str], deque[float]](partial(deque, maxlen=WINDOW))

    @property
    def total(self) -> int:
        """All cells of the study."""
        return self.stored + self.to_run

    @property
    def done(self) -> int:
        """The cells that have ended, now or before."""
        return self.stored + self.finished

    @property
    def images_s(self) -> float | None:
        """Throughput of training over all running cells [images/s]; None where none has told."""
        told = [one.images_s for one in tuple(self.running.values()) if one.images_s is not None]
        return sum(told) if told else None

    @property
    def share(self) -> float:
        """How much of the epochs that may be needed at most is behind, in [0, 1]."""
        with self._lock:
            left = sum(self._left(cell) for cell in self._unfinished)
        return max(1 - left / self._work, 0.0) if self._work else 1.0

    def take(self, event: Event, now: float) -> None:
        """Take up what a cell tells about itself; cells this run was not asked for are passed over."""
        with self._lock:
            if event.cell in self._unfinished:
                self._take(event, now)

    def _take(self, event: Event, now: float) -> None:
        cell = event.cell
        if event.kind == "finished":
            self.running.pop(cell, None)
            del self._unfinished[cell]
            self.finished += 1
            self.failed += event.record is not None and event.record.status not in FINAL
        elif event.kind == "busy":
            self.running.pop(cell, None)
        else:
            before = self.running.get(cell)
            if before is None or event.kind == "started":
                before = Running(cell=cell, left=self._unfinished[cell], since=now)
            if event.epoch is not None:
                self.running[cell] = self._trained(before, event, event.epoch, now)
            else:
                self.running[cell] = self._entered(before, event.phase, now)

    def elapsed(self, now: float) -> float:
        """Since the run began [s]."""
        return now - self.began

    def seconds_left(self, now: float) -> float | None:
        """How long the unfinished cells will take at the speed of the epochs so far [s]; None before the first one.

        Each needs at most the epochs that are left to it, each as long as the median of those measured on the same data
        set and architecture (else on the same data set, else of all). Divided by the workers running, but never less
        than the longest row of cells that wait for each other, as the seeds of one tuning do.
        """
        with self._lock:
            if not self._unfinished:
                return 0.0
            if not self._times:
                return None
            groups = plan.groups(list(self._unfinished))
            paces = {pair: self._pace(*pair) for pair in {(one.dataset, one.architecture) for one, *_ in groups}}
            rows = [
                sum(self._seconds(cell, paces[cell.dataset, cell.architecture], now) for cell in group)
                for group in groups
            ]
        return max(sum(rows) / max(1, min(self.workers, len(rows))), *rows)

    def _entered(self, before: Running, phase: str | None, now: float) -> Running:
        """A phase that is told again is a sign of life and changes nothing."""
        if phase is None or phase == before.phase:
            return before
        after = {"train": 0 if before.cell.seed == 0 else self.study.budget.epochs, "evaluate": 0}
        left = before.left if before.cell.loss is None else after.get(phase, before.left)
        return replace(before, phase=phase, left=left, since=now, trial=None, epoch=None, images_s=None, spent=0.0)

    def _trained(self, before: Running, event: Event, epoch: Epoch, now: float) -> Running:
        follows = (before.trial, (before.epoch or 0) + 1) == (event.trial, epoch.epoch)
        seconds = epoch.seconds - before.spent if follows and before.epoch else epoch.seconds / epoch.epoch
        self._times[before.cell.dataset, before.cell.architecture].append(max(seconds, 0.0))
        epochs, left = self.study.budget.epochs, 0
        if event.trial is not None and before.phase != "train":
            left = (self.study.tuning.trials - event.trial - 1) * epochs + (epochs if before.cell.seed > 0 else 0)
        return replace(
            before,
            trial=event.trial,
            epoch=epoch.epoch,
            value=epoch.value,
            images_s=event.images_s,
            left=max(left + epochs - epoch.epoch, 0),
            spent=epoch.seconds,
            since=now,
        )

    def _left(self, cell: Cell) -> int:
        running = self.running.get(cell)
        return self._unfinished.get(cell, 0) if running is None else running.left

    def _pace(self, dataset: str, architecture: str) -> float:
        """The median time of an epoch [s]."""
        same = [times for (name, _), times in self._times.items() if name == dataset]
        known = self._times.get((dataset, architecture)) or list(chain(*(same or self._times.values())))
        return median(known)

    def _seconds(self, cell: Cell, pace: float, now: float) -> float:
        """What a cell may still take [s]; no training takes longer than its budget."""
        if cell.loss is None:
            return 0.0
        budget, running = self.study.budget, self.running.get(cell)
        longest = float("inf") if budget.seconds is None else budget.seconds
        trainings, epochs = divmod(self._left(cell), budget.epochs)
        whole = trainings * min(budget.epochs * pace, longest)
        if running is None or running.phase not in ("tune", "train"):
            return whole + min(epochs * pace, longest)
        present = min(epochs * pace, max(longest - running.spent, 0.0))
        return max(whole + present - min(now - running.since, pace), 0.0)


def reached(record: Record) -> float | None:
    """mdice_d_fg on validation at the epoch whose weights were scored, in [0, 1]; None where there is none."""
    return record.history[record.best_epoch - 1].value if record.best_epoch else None
