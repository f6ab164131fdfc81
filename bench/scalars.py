"""Training curves for TensorBoard, one run per training of a cell; needs the extra `tensorboard`, and no TensorFlow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import extras
from bench.specs import Cell
from bench.store import escape, writing

if TYPE_CHECKING:
    from bench.cell import Event

Run = tuple[Cell, int | None]
"""A training of a cell: the number of its trial; None for the one after the tuning."""


class Scalars:
    """Writes loss, validation value, throughput and rate, below a folder.

    A run is `<dataset>/<architecture>/<loss>/f0-s0/trial-3`. The rate of a training is known when its cell has
    finished, and is written then.

    Raises:
        StudyError: If tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        def load(name: str) -> Any:
            return extras.load(f"tensorboard.{name}", extra="tensorboard", wanted_by="--tensorboard")

        self.folder = folder
        self._file = load("summary.writer.event_file_writer").EventFileWriter
        self._event, self._summary = load("compat.proto.event_pb2"), load("compat.proto.summary_pb2").Summary
        self._open: dict[Cell, tuple[Run, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        for cell in list(self._open):
            self._close(cell)

    def tell(self, event: Event) -> None:
        """Write the scalars of an epoch, or the rates of a finished cell."""
        if event.epoch is not None:
            values = {"loss": event.epoch.loss, "val/mdice_d_fg": event.epoch.value, "images_s": event.images_s}
            self._write((event.cell, event.trial), event.epoch.epoch, values)
        elif event.kind == "finished":
            record = event.record
            if record is not None and event.cell.seed > 0 and record.lr is not None:
                self._write((event.cell, None), len(record.history), {"lr": record.lr})
            for trial in record.trials if record is not None and event.cell.seed == 0 else ():
                self._write((event.cell, trial.number), trial.epochs, {"lr": trial.lr})
            self._close(event.cell)

    def path(self, run: Run) -> Path:
        """The folder of a run; names are escaped, so that none can leave the folder of them all."""
        cell, trial = run
        names = map(escape, (cell.dataset, cell.architecture, cell.loss or "-"))
        return self.folder.joinpath(
            *names, f"f{cell.fold}-s{cell.seed}", "final" if trial is None else f"trial-{trial}"
        )

    def _write(self, run: Run, step: int, values: dict[str, float | None]) -> None:
        file = self._writer(run, step)
        scalars = [
            self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if value is not None
        ]
        file.add_event(self._event.Event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))
        file.flush()

    def _writer(self, run: Run, step: int) -> Any:
        """The open file of a run; a cell has one at a time, since its trainings follow each other."""
        cell, _ = run
        if cell not in self._open or self._open[cell][0] != run:
            self._close(cell)
            with writing(self.path(run)):
                self._open[cell] = run, self._file(str(self.path(run)))
            if step == 1:  # an interrupted training that begins again: what it had written is void
                begin = self._event.SessionLog(status=self._event.SessionLog.START)
                self._open[cell][1].add_event(self._event.Event(wall_time=time.time(), step=step, session_log=begin))
        return self._open[cell][1]

    def _close(self, cell: Cell) -> None:
        if cell in self._open:
            self._open.pop(cell)[1].close()
