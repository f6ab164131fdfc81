"""What a running cell leaves beside its record for people: a CSV of all epochs, the curves, the film as a strip.

    <cell>/training/{about.json, epochs.csv, curves.svg, curves.png, strip.png, film/}

All is written again as epochs end, each file whole or not at all, so that a viewer that reloads shows the present.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from bench import courses, diary, film, filmstrip, privacy, thumbnails
from bench.diary import Course, Diary
from bench.errors import StoreError
from bench.records import Record
from bench.specs import Cell, ClassSpec
from bench.store import read_arrays, sweep, write_bytes

if TYPE_CHECKING:
    from bench.job import Event

SHARE = 20
"""Drawing takes no more than a part in so many of the time; what is last is drawn in any case."""

HELD = 200
"""Frames that are held in memory at most; the others are read again."""


class Logbook:
    """Keeps the diary of a cell, and writes it down; told events as a view is.

    Args:
        cell: Whose trainings these are; `folder` is that of the cell.
        key: Its fingerprint: what an earlier run left of another is not gone on with.
        classes: Of the data set, in whose colours masks are painted.
    """

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        key: str,
        classes: Sequence[ClassSpec],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cell, self.key, self.classes, self.clock = cell, key, classes, clock
        self.above, self.folder = folder, folder / film.TRAINING
        self.diary = self._earlier()
        self.watched: film.Watched | None = None
        self.drawn_at, self.cost, self.pending = clock(), 0.0, False
        self._frames: dict[tuple[int | None, int], NDArray[np.uint8]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        if self.pending:
            self.draw()

    @property
    def files(self) -> list[Path]:
        """Those that are there for people to look at."""
        names = ("epochs.csv", "curves.svg", "curves.png", "strip.png")
        return [path for name in names if (path := self.folder / name).is_file()]

    @property
    def _title(self) -> str:
        """The key of the cell as it may leave this machine: pictures are not looked into when they are shared."""
        called = privacy.nicknames([self.cell.dataset])[self.cell.dataset]
        return replace(self.cell, dataset=called).key

    def tell(self, event: Event) -> None:
        """Take up an epoch, and write it down; draw when that was long enough ago."""
        if event.record is not None:
            if self.diary.latest is None:  # another run was at it, and wrote down what it heard
                self.diary = self._earlier()
            self.draw(event.record)
        if event.epoch is None:
            return
        self.diary.take(event)
        self.watched = self.watched or film.read(film.folder(self.above), self.key)
        write_bytes(self.folder / "epochs.csv", self.diary.text().encode())
        self.pending = True
        if self.clock() - self.drawn_at >= SHARE * self.cost:
            self.draw()

    def frame(self, course: Course, epoch: int) -> NDArray[np.uint8] | None:
        """The class maps uint8 (images, h, w) after an epoch; None where there are none."""
        at = (course.trial, epoch)
        if at not in self._frames:
            if len(self._frames) >= HELD:
                self._frames = {}
            found = film.frames(film.folder(self.above), self.key, course.trial, [epoch])
            if epoch in found:
                self._frames[at] = found[epoch]
        return self._frames.get(at)

    def draw(self, record: Record | None = None) -> None:
        """Write curves and strip: of the training under way, or of the one that a record's score is of."""
        began = self.clock()
        scored = self._scored(record) if record is not None and record.history else None
        course = scored or self.diary.latest or self.diary.leading()
        if course is not None and course.lines:
            role = " (scored)" if scored else "" if record else " (now)"
            drawn = courses.painted(courses.curves(self.diary, course, role), self._title)
            for suffix, data in drawn.items():
                write_bytes(self.folder / f"curves.{suffix}", data)
            if not self._draw_strip(course) and record is not None:
                self._strip_of_matrix(record)
        self.drawn_at, self.pending = self.clock(), False
        self.cost = self.drawn_at - began

    def from_record(self, record: Record) -> None:
        """Write what a record of a matrix tells, where nobody looked on while it was trained."""
        if record.history and not (self.folder / "curves.png").is_file():
            self.draw(record)

    def _scored(self, record: Record) -> Course | None:
        """The course of the training that a record is of; what a matrix has trained of it is known from the record."""
        if self.diary.scored(record) is None:
            told = diary.of_record(record).courses
            trials = {course.trial for course in told}
            self.diary.courses = [course for course in self.diary.courses if course.trial not in trials] + told
            write_bytes(self.folder / "epochs.csv", self.diary.text().encode())
        return self.diary.scored(record)

    def _draw_strip(self, course: Course) -> bool:
        """Whether there are frames of it."""
        if self.watched is None:
            return False
        best = None if course.best is None else course.best.epoch
        epochs = filmstrip.shown([line.epoch for line in course.lines], best)
        shown = {epoch: maps for epoch in epochs if (maps := self.frame(course, epoch)) is not None}
        if shown:
            self._write_strip(course.name, self.watched, shown, best)
        return bool(shown)

    def _strip_of_matrix(self, record: Record) -> None:
        """The few epochs that a matrix keeps of its cells."""
        try:
            arrays = read_arrays(self.above / "epochs.npz")
            count = range(len(arrays["ids"]))
            watched = film.Watched(
                tuple(map(str, arrays["ids"])),
                tuple(thumbnails.decoded(arrays[f"image{number}"]) for number in count),
                tuple(arrays[f"truth{number}"] for number in count),
            )
            maps = np.stack([arrays[f"predicted{number}"] for number in count], axis=1)
            shown = dict(zip(map(int, arrays["epochs"]), maps, strict=True))
        except (StoreError, KeyError, ValueError):
            return
        self._write_strip("the scored training", watched, shown, record.best_epoch)

    def _write_strip(
        self, name: str, watched: film.Watched, shown: Mapping[int, NDArray[np.uint8]], best: int | None
    ) -> None:
        strip = filmstrip.Strip(f"{self._title}: {name}", watched, shown, best, self.classes)
        write_bytes(self.folder / "strip.png", filmstrip.painted(strip))

    def _earlier(self) -> Diary:
        """What an earlier run of the same wrote; what one of something else did is removed."""
        about = self.folder / "about.json"
        sweep(self.folder)
        try:
            if json.loads(about.read_bytes())["fingerprint"] == self.key:
                return diary.read((self.folder / "epochs.csv").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        for path in self.files:
            path.unlink(missing_ok=True)
        write_bytes(about, json.dumps({"cell": self._title, "fingerprint": self.key}, indent=1).encode())
        return Diary()
