"""`--engine slurm`: tasks are jobs that submitit sends to SLURM; what they tell and store lies on a shared disk.

docs/adr/0012-slurm.md says why it is built this way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from bench import alike, extras, machine, plan, slurm_job, slurm_options, slurm_sites, watch
from bench.attempts import Task
from bench.errors import StoreError, StudyError
from bench.job import Event, Job
from bench.records import FINAL, Record
from bench.serve import Done, Said
from bench.slurm_sites import ENDED, Here, Queue, Site
from bench.specs import Place
from bench.workers import TAIL, Died, Limits, unbroken

HINTS = {"TIMEOUT": ": --engine-option minutes gives more", "OUT_OF_MEMORY": ": --engine-option memory gives more"}
SLOTS = 256
"""Jobs at once when nobody says; SLURM shares out what there is."""
STOPPED = 60.0
"""A longer time between two looks is one in which this process stood still, as after Ctrl-Z [s]."""
ASLEEP = 5.0
"""Between two looks at the locks of cells that another run is at [s]."""
BLAME: Mapping[str, Literal["timed_out", "out_of_memory", "lost"]] = {
    "TIMEOUT": "timed_out", "DEADLINE": "timed_out", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "lost",
    "PREEMPTED": "lost", "BOOT_FAIL": "lost", "REVOKED": "lost", "GONE": "lost", "COMPLETED": "lost",
}  # fmt: skip
"""What became of a job that did not say its last word; all else is a death. One that COMPLETED did, but nobody saw."""


@contextlib.contextmanager
def connect(*, address: str | None, options: Mapping[str, str], slots: int | None, limits: Limits) -> Generator[Engine]:
    """Look whether jobs can be sent; see `bench.engines.connect`.

    Raises:
        StudyError: If SLURM or submitit is not here, or an option makes no sense.
    """
    asked = asking(address, options)
    submitit = extras.load("submitit", extra="slurm", wanted_by="--engine slurm")
    if asked.cluster == "slurm":
        slurm_sites.slurm_is_here()
    yield Engine(submitit, asked, slots, limits)


def asking(address: str | None, options: Mapping[str, str]) -> slurm_options.Asked:
    """What `--address` and `--engine-option` say.

    Raises:
        StudyError, NameUnknown: If there is no such option, or a value is out of its range.
    """
    if address is not None:
        raise StudyError(
            f"--engine slurm takes no --address ({address}): sbatch knows its cluster. Where there are several, set "
            "the variable SLURM_CLUSTERS."
        )
    return slurm_options.parse(options)


class Engine:
    """A queue that takes jobs; see `bench.engines.Engine`."""

    def __init__(self, submitit: Any, asked: slurm_options.Asked, slots: int | None, limits: Limits) -> None:
        self.submitit, self.asked, self.limits = submitit, asked, limits
        here = asked.cluster == "local"
        self.slots = slots or (machine.cores() if here else SLOTS)
        self.threads = asked.cpus or (None if here else 1)

    def team(self, job: Job, tasks: Sequence[Task]) -> Team:
        """Jobs of submitit that share the results folder with this process.

        Raises:
            StudyError: If SLURM cannot be asked for that.
        """
        place = Place(results=job.place.results.absolute(), data_home=job.place.data_home.absolute())
        alone = self.asked.cluster == "slurm"
        job = dataclasses.replace(job, place=place, workers=1 if alone else job.workers)
        folder = job.store.root / ".slurm" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        python = slurm_options.command(self.asked.python, job.threads)
        if alone:
            cells = max((len(task.cells) for task in tasks), default=1)
            asked = slurm_options.request(
                self.asked, name=job.study.name, threads=job.threads, cells=cells, limits=self.limits
            )
            array = self.asked.array or slurm_sites.ARRAY
            site: Site = Queue(self.submitit, folder, python, self.slots, array, asked)
        else:
            site = Here(self.submitit, folder, python, self.slots, self.asked.gpus or 0)
        return Team(site, job, folder, self.limits)


@dataclasses.dataclass(slots=True, eq=False)
class _Run:
    """A task that has a job, and what the driver knows of it; times are those of the team."""

    number: int
    task: Task
    job: Any
    tail: slurm_job.Tail
    node: str | None = None  # where it began
    since: float | None = None  # start of its clock
    heard: float | None = None  # when it last said something
    verdict: str | None = None  # the limit it has passed
    over: float | None = None  # when it was first known to have ended
    said: bool = False  # its last word
    told: list[Any] = dataclasses.field(default_factory=list[Any])  # the cells that are finished

    def overdue(self, limits: Limits, now: float) -> str | None:
        """Which limit it has passed, as a sentence."""
        if limits.seconds is not None and self.since is not None and now - self.since > limits.seconds:
            return f"The time limit of {limits.seconds:g} s passed"
        if limits.silence is not None and self.heard is not None and now - self.heard > limits.silence:
            return f"No sign of life for {limits.silence:g} s"
        return None

    def output(self) -> str:
        """The end of what it printed."""
        with contextlib.suppress(OSError), self.job.paths.stdout.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return file.read().decode("utf-8", "replace")
        return ""


class Team:
    """Jobs and the tasks that wait for one; see `bench.engines.Team`.

    Args:
        site: Takes the jobs.
        job: What they are told.
        folder: Where submitit and the jobs write, on a disk that the nodes see.
    """

    def __init__(self, site: Site, job: Job, folder: Path, limits: Limits) -> None:
        self.site, self.job, self.folder, self.limits = site, job, folder, limits
        self.waiting: list[tuple[int, Task]] = []
        self.asleep: list[tuple[int, Task]] = []  # another run is at them
        self.runs: list[_Run] = []
        self.now = 0.0  # seconds that this process was there to see: a stop, as by Ctrl-Z, does not count
        self.looked = time.monotonic()
        self.woken = -math.inf

    def add(self, job: int, payload: object, *, fresh: bool = False) -> None:
        """Queue a task under its number; every job is a process of its own."""
        if not isinstance(payload, Task):
            raise TypeError(f"{payload!r} is no task")
        task = dataclasses.replace(payload, pause=0.0)
        (self.asleep if payload.pause else self.waiting).append((job, task))

    def output(self, job: int) -> str:
        """The end of what the job of a task printed."""
        return next((run.output() for run in self.runs if run.number == job), "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Cancel what still runs, and wait until it has let go of its locks; logs stay when something failed."""
        if self.runs:
            self.site.cancel([run.job for run in self.runs])
        deadline = time.monotonic() + 2 * self.limits.grace
        while any(map(self._holds, self.runs)) and time.monotonic() < deadline:
            time.sleep(self.site.tick)
        self.site.close()
        if kind in (None, KeyboardInterrupt):
            time.sleep(self.site.tick)  # the last jobs leave their folder
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()  # unless another run has its folder there

    def __iter__(self) -> Iterator[Said | Done | Died]:
        """What happens, as it happens, until no task is left.

        Raises:
            BenchError: What a job was refused for, or the queue refuses.
        """
        while self.runs or self.waiting or self.asleep:
            yield from self._wake()
            self._submit()
            time.sleep(self.site.tick)
            self._look_at_the_clock()
            with contextlib.suppress(OSError):
                list(self.folder.iterdir())  # so that a file server is asked for what is new
            for run in list(self.runs):
                yield from self._look(run)

    def _look_at_the_clock(self) -> None:
        before, self.looked = self.looked, time.monotonic()
        self.now += min(self.looked - before, STOPPED)

    def _submit(self) -> None:
        count = min(len(self.waiting), self.site.room(len(self.runs)))
        if count <= 0:
            return
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        paths = [self.folder / f"{number}-{secrets.token_hex(4)}.jsonl" for number, _ in batch]
        calls = [
            (path, Path.cwd(), alike.python(), self.job, task) for path, (_, task) in zip(paths, batch, strict=True)
        ]
        with unbroken():  # what was sent is known, and can be cancelled
            jobs = self.site.submit(slurm_job.work, calls)
            self.runs += [
                _Run(number, task, job, slurm_job.Tail(path))
                for (number, task), job, path in zip(batch, jobs, paths, strict=True)
            ]

    def _wake(self) -> Iterator[Said | Done]:
        """Hand out the tasks that another run has let go of, unless it has finished them."""
        if self.now < self.woken + ASLEEP:
            return
        self.woken = self.now
        for number, task in list(self.asleep):
            if watch.held(self._lock(task)):
                continue
            self.asleep.remove((number, task))
            stored = self._stored(task)
            yield from (Said(number, event) for event in stored)
            finished = {event.cell for event in stored}
            left = tuple(pair for pair in task.cells if pair[0] not in finished)
            if left:
                self.waiting.append((number, dataclasses.replace(task, cells=left)))
            else:
                yield Done(number)

    def _look(self, run: _Run) -> Iterator[Said | Done | Died]:
        """What a job told since it was last looked at, and whether it has ended."""
        for line in run.tail.lines():
            run.heard = self.now
            yield from self._take(run, line)
        if run.said:
            self.runs.remove(run)
            yield Done(run.number)
            return
        state = self.site.state(run.job)
        if state not in ENDED:
            self._press(run, state)
        elif run.over is None:
            run.over = self.now  # its last lines may be on their way
        elif self.now >= run.over + self.site.patience:
            yield from self._bury(run, state)

    def _take(self, run: _Run, line: dict[str, Any]) -> Iterator[Said]:
        kind = line["kind"]
        if kind == "here":
            run.node = line["node"]
        elif kind == "refused":
            raise slurm_job.refusal(line)
        elif kind == "done":
            run.said = True
        else:
            event = slurm_job.event(line)
            if kind == "started":
                run.since = self.now
            elif kind == "finished":
                event = dataclasses.replace(event, record=self._record(event, line["stored"], run))
                run.told.append(event.cell)
            yield Said(run.number, event)

    def _record(self, event: Event, stored: str, run: _Run) -> Record:
        """The record that a job says it stored; a shared disk may show it late."""
        deadline = time.monotonic() + max(self.site.patience, self.limits.grace)
        while True:
            record = self.job.store.read(event.cell)
            if record is not None and record.finished == stored:
                return record
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The record of {event.cell.key} that the node {run.node} stored is not in {self.job.store.root} "
                    "as it is seen here. Give a --results on a disk that every node sees."
                )
            time.sleep(self.site.tick)

    def _press(self, run: _Run, state: str) -> None:
        """Cancel a job whose time is up."""
        if run.heard is None and state == "RUNNING":
            run.heard = self.now
        if run.verdict is None and (reason := run.overdue(self.limits, self.now)):
            run.verdict = reason
            self.site.cancel([run.job])

    def _bury(self, run: _Run, state: str) -> Iterator[Said | Done | Died]:
        """Tell of a job that ended without its last word; what it stored all the same counts."""
        late = [event for event in self._stored(run.task) if event.cell not in run.told]
        output, where = run.output(), f"The job {run.job.job_id}{f' on {run.node}' if run.node else ''}"
        self.runs.remove(run)
        yield from (Said(run.number, event) for event in late)
        if len(late) + len(run.told) == len(run.task.cells):
            yield Done(run.number)
        elif run.verdict is not None:
            yield Died(run.number, f"{run.verdict}; {where[0].lower()}{where[1:]} was cancelled.", "timed_out", output)
        elif run.node is None and state in ("FAILED", "CANCELLED"):
            raise _stillborn(run, where, state, output)
        else:
            reason = f"{where} ended without its last word ({state}{HINTS.get(state, '')})."
            yield Died(run.number, reason, BLAME.get(state, "died"), output)

    def _stored(self, task: Task) -> list[Event]:
        """The cells of a task whose result lies in the results folder."""
        found = []
        for cell, ingredients in task.cells:
            record = self.job.store.read(cell)
            if record is not None and record.status in FINAL and record.fingerprint == plan.digest(ingredients):
                found.append(Event(kind="finished", cell=cell, record=record))
        return found

    def _lock(self, task: Task) -> Path:
        return self.job.store.tuning(task.cells[0][0]) / ".lock"

    def _holds(self, run: _Run) -> bool:
        return watch.held(self._lock(run.task))


def _stillborn(run: _Run, where: str, state: str, output: str) -> StudyError:
    """The same would become of every job, so the study ends."""
    if state == "CANCELLED":
        return StudyError(f"{where} was cancelled by somebody else before it began. Run the same command to go on.")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(("srun:", "slurmstepd:"))]  # theirs tell the exit code only
    last = next(reversed(own or lines), "it printed nothing")
    return StudyError(
        f"{where} ended before bench began in it: {last[:300]}. Its log: {run.job.paths.stdout}. See that nodes "
        "can read that folder and start this Python; --engine-option python and setup help."
    )
