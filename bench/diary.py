"""The trainings of one cell, epoch by epoch, as a running cell tells them: every trial, and the one that is scored."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from bench.records import Record

if TYPE_CHECKING:
    from bench.job import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One epoch of a training; None where something is not known, as of epochs that were trained before a checkpoint.

    Attributes:
        loss: Mean over the training images.
        value: mdice_d_fg on validation, in [0, 1].
        rate: The learning rate in the last step of the epoch.
        images_s: Throughput of training [images/s].
        memory_mb: Peak memory so far [MiB].
        seconds: Since the training began [s].
    """

    epoch: int
    loss: float | None
    value: float | None
    rate: float | None
    images_s: float | None
    memory_mb: float | None
    seconds: float


@dataclass(slots=True)
class Course:
    """One training: a trial, or with None the training of a fresh seed, from the rate it began with."""

    trial: int | None
    lr: float | None
    lines: list[Line] = field(default_factory=list[Line])

    @property
    def best(self) -> Line | None:
        """The first of the epochs with the highest validation value; None before there is one."""
        judged = [line for line in self.lines if line.value is not None]
        return max(judged, key=lambda line: (line.value, -line.epoch), default=None)

    @property
    def name(self) -> str:
        """What it is called: trials are counted from 1 for people, from 0 in files."""
        return "final training" if self.trial is None else f"trial {self.trial + 1}"


@dataclass(slots=True)
class Diary:
    """All trainings of a cell, in the order they began."""

    courses: list[Course] = field(default_factory=list[Course])
    latest: Course | None = None

    def take(self, event: Event) -> None:
        """Take up an epoch; one that is trained again takes the place of the first and of all that followed."""
        if event.epoch is None:
            return
        course = self._course(event.trial, event.lr)
        epoch, told = event.epoch, event.images_s is not None
        before = [line for line in course.lines if line.epoch < epoch.epoch]
        known = next((line for line in course.lines if line.epoch == epoch.epoch), None)
        self.latest = course
        if not told and known is not None:
            return  # told again by a resumed training: what was known of it stands
        line = Line(
            **asdict(epoch), rate=event.rate, images_s=event.images_s, memory_mb=event.memory_mb if told else None
        )
        course.lines = [*before, line]

    def leading(self) -> Course | None:
        """The training of a fresh seed, or the trial that did best so far."""
        final = [course for course in self.courses if course.trial is None]
        judged = [course for course in final or self.courses if course.best is not None]
        return max(judged, key=lambda course: course.best.value or 0.0 if course.best else 0.0, default=None)

    def scored(self, record: Record) -> Course | None:
        """The training that a record's score is of, which its history tells; None where the diary has not all of it."""
        curve = [(epoch.epoch, epoch.loss, epoch.value) for epoch in record.history]
        fresh = [course for course in self.courses if (course.trial is None) == (record.cell.seed > 0)]
        same = (one for one in fresh if [(line.epoch, line.loss, line.value) for line in one.lines] == curve)
        return next(same, None) if curve else None

    def text(self) -> str:
        """As CSV: a line per epoch, under the names of `Line`; undefined values are empty."""
        out = io.StringIO()
        table = csv.writer(out)
        table.writerow(["trial", "lr", *Line.__dataclass_fields__, "best_epoch"])
        for course in self.courses:
            for line, best in _with_best(course):
                values = [course.trial, course.lr, *asdict(line).values(), best]
                table.writerow(["" if value is None else value for value in values])
        return out.getvalue()

    def _course(self, trial: int | None, lr: float | None) -> Course:
        found = next((course for course in self.courses if course.trial == trial), None)
        if found is None or found.lr != lr:
            self.courses = [course for course in self.courses if course.trial != trial]
            found = Course(trial, lr)
            self.courses.append(found)
        return found


def read(text: str) -> Diary:
    """What `text` made; empty where it is something else."""
    diary = Diary()
    try:
        for row in csv.DictReader(io.StringIO(text)):
            values = {name: float(value) if (value := row[name]) else None for name in Line.__dataclass_fields__}
            line = Line(**values | {"epoch": int(row["epoch"])})  # ty: ignore[invalid-argument-type]
            trial, lr = (int(row["trial"]) if row["trial"] else None), (float(row["lr"]) if row["lr"] else None)
            diary._course(trial, lr).lines.append(line)
    except (KeyError, ValueError, TypeError, csv.Error):
        return Diary()
    return diary


def of_record(record: Record) -> Diary:
    """What a record alone tells: the curve of the training that was scored."""
    number = next((one.number for one in record.trials if one.lr == record.lr), None) if not record.cell.seed else None
    lines = [
        Line(
            epoch=one.epoch, loss=one.loss, value=one.value, rate=None, images_s=None, memory_mb=None,
            seconds=one.seconds,
        )
        for one in record.history
    ]  # fmt: skip
    return Diary([Course(number, record.lr, lines)] if lines else [])


def _with_best(course: Course) -> Iterator[tuple[Line, int | None]]:
    """Every line with the best epoch up to it."""
    best, value = None, -1.0
    for line in course.lines:
        if line.value is not None and line.value > value:
            best, value = line.epoch, line.value
        yield line, best
