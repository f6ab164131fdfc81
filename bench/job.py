"""What a worker is told, and what a running cell tells: names and numbers, which travel between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
        images_s: Throughput of its training [images/s]; None where a resumed training tells its earlier epochs again.
        rate: What the schedule had made of the rate by the last step of the epoch; None likewise.
        memory_mb: Peak memory so far, of the process or of the device [MiB].
        record: What was stored, for `finished`.
    """

    kind: Literal["started", "phase", "epoch", "finished", "busy"]
    cell: Cell
    phase: str | None = None
    trial: int | None = None
    lr: float | None = None
    epoch: Epoch | None = None
    images_s: float | None = None
    rate: float | None = None
    memory_mb: float | None = None
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
        watch: Validation images whose class maps are kept after every epoch, for a film; 0 for none.
        stop: When this file appears, training ends after the epoch it is at, to be taken up later.
    """

    study: Study
    place: Place
    device: str
    threads: int
    workers: int = 1
    checkpoint_s: float = 60.0
    watch: int = 0
    stop: Path | None = None

    @property
    def store(self) -> Store:
        """Where the records of the study go."""
        return Store(self.place.results / self.study.name)
