"""Training curves for TensorBoard, one run per training of a cell; needs the extra `tensorboard`, and no TensorFlow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import extras
from bench.specs import Cell
from bench.store import escape, writing

if TYPE_CHECKING:
    from bench.job import Event


@dataclass(frozen=True, slots=True)
class Run:
    """What has curves of its own: a training of a cell, by its trial (None after the tuning), or a whole cell."""

    cell: Cell
    trial: int | None = None
    whole: bool = False

    @property
    def path(self) -> Path:
        """The folder of the run, below that of them all; names are escaped, so that none can leave it."""
        names = map(escape, (self.cell.dataset, self.cell.architecture, self.cell.loss or "-"))
        cell = Path(*names, f"f{self.cell.fold}-s{self.cell.seed}")
        return cell if self.whole else cell / ("final" if self.trial is None else f"trial-{self.trial}")


class Scalars:
    """Writes loss, validation value, throughput and rate, below a folder.

    A run is `<dataset>/<architecture>/<loss>/f0-s0/trial-3`; rates are known when a cell has finished, and then written
    to the run `f0-s0`, over the number of the trial.

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
            score = {"loss": event.epoch.loss, "val/mdice_d_fg": event.epoch.value}
            values = {**score, "images_s": event.images_s, "lr": event.lr}
            self._write(Run(event.cell, event.trial), event.epoch.epoch, values)
        elif event.kind == "finished":
            record, whole = event.record, Run(event.cell, whole=True)
            for trial in record.trials if record is not None and event.cell.seed == 0 else ():
                self._write(whole, trial.number, {"tuning/lr": trial.lr, "tuning/mdice_d_fg": trial.value})
            self._close(event.cell)

    def _write(self, run: Run, step: int, values: dict[str, float | None]) -> None:
        file = self._writer(run, step)
        scalars = [
            self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if value is not None
        ]
        file.add_event(self._event.Event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))
        file.flush()

    def _writer(self, run: Run, step: int) -> Any:
        """The open file of a run; a cell has one at a time, since its trainings follow each other."""
        cell, folder = run.cell, self.folder / run.path
        if cell not in self._open or self._open[cell][0] != run:
            self._close(cell)
            with writing(folder):
                self._open[cell] = run, self._file(str(folder))
            if step == 1 and not run.whole:  # an interrupted training that begins again: what it had written is void
                begin = self._event.SessionLog(status=self._event.SessionLog.START)
                self._open[cell][1].add_event(self._event.Event(wall_time=time.time(), step=step, session_log=begin))
        return self._open[cell][1]

    def _close(self, cell: Cell) -> None:
        if cell in self._open:
            self._open.pop(cell)[1].close()
