"""The two ends of a file that a job on a cluster tells its events in: the job writes lines, the driver reads them.

One object of JSON per line: `here` with the node, then the events of its cells, then `done` or `refused`. A line names
the record it tells of by the time it was stored; the record itself lies in the results folder.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from bench import alike, errors
from bench.attempts import Task, run_group
from bench.errors import BenchError, StudyError
from bench.job import Event, Job
from bench.records import Epoch
from bench.specs import Cell

FLUSH = 1.0
"""How often lines are pushed to a file server at most [s]; the last ones always are."""


def work(path: Path, folder: Path, python: str, job: Job, task: Task) -> None:
    """Run a task on a node; what submitit is handed.

    Args:
        path: Of the file of events, in a folder that the driver sees.
        folder: Where relative paths start.
        python: The version of the driver's.
    """
    _settle()
    with path.open("ab", buffering=0) as stream:
        writer = _Writer(stream)
        writer.put("here", node=alike.name())
        try:
            _enter(folder)
            alike.check(job, task, python)
            run_group(job, task, writer.event)
        except BenchError as error:
            writer.put("refused", error=type(error).__name__, message=str(error))
        else:
            writer.put("done")


class _Writer:
    """Appends lines, whole ones."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.flushed = stream, 0.0

    def event(self, event: Event) -> None:
        told = {"phase": event.phase, "trial": event.trial, "lr": event.lr, "images_s": event.images_s}
        record = None if event.record is None else event.record.finished
        epoch = None if event.epoch is None else asdict(event.epoch)
        self.put(event.kind, cell=asdict(event.cell), epoch=epoch, stored=record, **told)

    def put(self, kind: str, **told: object) -> None:
        line = {"kind": kind, **{name: value for name, value in told.items() if value is not None}}
        self.stream.write(f"{json.dumps(line)}\n".encode())
        if kind != "epoch" or time.monotonic() > self.flushed + FLUSH:
            os.fsync(self.stream.fileno())
            self.flushed = time.monotonic()


class Tail:
    """Reads what was added to a file since it was last read; there need not be one yet."""

    def __init__(self, path: Path) -> None:
        self.path, self.read, self.torn = path, 0, b""

    def lines(self) -> list[dict[str, Any]]:
        """The lines that have come to their end since."""
        try:
            with self.path.open("rb") as file:  # opened each time: so a file server is asked for what is new
                file.seek(self.read)
                new = file.read()
        except FileNotFoundError:
            return []
        self.read += len(new)
        *whole, self.torn = (self.torn + new).split(b"\n")
        return [json.loads(line) for line in whole]


def event(line: dict[str, Any]) -> Event:
    """What a cell told, but for the record of one that is finished."""
    told = {name: line.get(name) for name in ("phase", "trial", "lr", "images_s")}
    epoch = Epoch(**line["epoch"]) if "epoch" in line else None
    return Event(kind=line["kind"], cell=Cell(**line["cell"]), epoch=epoch, **told)


def refusal(line: dict[str, Any]) -> BenchError:
    """The error that ended a job and ends the study."""
    kind = getattr(errors, line["error"], None)
    known = isinstance(kind, type) and issubclass(kind, BenchError)
    return kind(line["message"]) if known else StudyError(line["message"])


def _settle() -> None:
    """Whoever ends a job is obeyed at once, with every stack in the log; submitit would bypass or requeue."""
    faulthandler.enable()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # time is nearly up: what is finished is on disk already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a shell; the driver alone answers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends C code too
    faulthandler.register(signal.SIGTERM, chain=True)


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise StudyError(
            f"The node {alike.name()} cannot see {folder}, where the study was started. Start it in a folder "
            "on a disk that every node sees."
        ) from error
