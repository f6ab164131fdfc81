"""What a worker is told, and what a running cell tells: names and numbers, which travel between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.records import Epoch, Record
from bench.specs import Cell, Place, Study
from bench.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a running cell tells about itself.

    Attributes:
        kind: `phase` is a sign of life between epochs; `busy`: another run is at this cell, ask again later.
        phase: What begins now, for `phase`.
        trial: The number of the trial, from 0; None outside the tuning.
        lr: The rate of the training that the epoch is of.
        epoch: The epoch that has ended, for `epoch`.
        images_s: Throughput of its training [images/s].
        record: What was stored, for `finished`.
    """

    kind: Literal["started", "phase", "epoch", "finished", "busy"]
    cell: Cell
    phase: str | None = None
    trial: int | None = None
    lr: float | None = None
    epoch: Epoch | None = None
    images_s: float | None = None
    record: Record | None = None


Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a worker needs to run cells of a study.

    Attributes:
        device: auto, cpu, cuda or cuda:i.
        threads: Of the processor, for this worker.
        workers: How many share the machine.
        checkpoint_s: A training that goes on longer leaves a checkpoint every so often [s].
    """

    study: Study
    place: Place
    device: str
    threads: int
    workers: int = 1
    checkpoint_s: float = 60.0

    @property
    def store(self) -> Store:
        """Where the records of the study go."""
        return Store(self.place.results / self.study.name)
