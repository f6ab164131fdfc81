"""Processes that run jobs, one at a time each: a worker that dies costs its job and is replaced.

Knows nothing of cells: jobs are numbers to it, and what a worker says is passed on.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bench.errors import BenchError

Say = Callable[[object], None]
Work = Callable[[Any, Say], None]


@dataclass(frozen=True, slots=True)
class Said:
    """Something that a worker passed to `say` while it ran a job."""

    job: int
    content: object


@dataclass(frozen=True, slots=True)
class Done:
    """A job that came to its end."""

    job: int


@dataclass(frozen=True, slots=True)
class Died:
    """A job whose worker ended without a word: killed, or crashed."""

    job: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A job that ended in an error which ends everything."""

    job: int
    error: BenchError


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None


class _Team:
    """The workers of one run and the jobs that wait for them."""

    def __init__(self, work: Work, jobs: Sequence[object]) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.work, self.jobs = work, jobs
        self.waiting = list(range(len(jobs)))[::-1]
        self.workers: list[_Worker] = []

    def hire(self) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.work), daemon=True)
        process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours))
        self.hand_out(self.workers[-1])

    def hand_out(self, worker: _Worker) -> None:
        worker.job = self.waiting.pop() if self.waiting else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker is noticed when it is heard
            worker.pipe.send((worker.job, None if worker.job is None else self.jobs[worker.job]))

    def heard(self, worker: _Worker) -> Said | Done | Died:
        message = _receive(worker)
        if isinstance(message, Refused):
            raise message.error
        if isinstance(message, Done):
            self.hand_out(worker)
        elif isinstance(message, Died):
            self.workers.remove(worker)
            if self.waiting:
                self.hire()
        return message


def run(work: Work, jobs: Sequence[object], *, workers: int) -> Iterator[Said | Done | Died]:
    """Run `work(job, say)` for every job on spawned processes; yields what happens, as it happens.

    Args:
        work: A function that can be pickled; it runs in the worker.
        jobs: What can be pickled; handed out in order.
        workers: How many processes at most.
    Raises:
        BenchError: The first one a job raised; the other workers are ended.
    """
    team = _Team(work, jobs)
    try:
        for _ in range(min(workers, len(jobs))):
            team.hire()
        while busy := [worker for worker in team.workers if worker.job is not None]:
            ready = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in ready:
                    yield team.heard(worker)
    finally:
        for worker in team.workers:
            _end(worker)


def _receive(worker: _Worker) -> Said | Done | Died | Refused:
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(10)
        code = worker.process.exitcode
        named = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return Died(-1 if worker.job is None else worker.job, f"The worker process ended without a word ({named}).")


def _end(worker: _Worker) -> None:
    """An idle worker leaves by itself; a busy one is asked to, then made to."""
    if worker.job is not None:
        worker.process.terminate()
    worker.pipe.close()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection, work: Work) -> None:
    """The life of a worker: jobs until there are none; the parent alone answers to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))

    def say(number: int, content: object) -> None:
        try:
            pipe.send(Said(number, content))
        except OSError:
            os._exit(1)  # the parent is gone: what is unfinished stays unfinished, and is no failure of the job

    try:
        while True:
            number, job = pipe.recv()
            if number is None:
                return
            try:
                work(job, functools.partial(say, number))
            except BenchError as error:
                pipe.send(Refused(number, error))
                return
            pipe.send(Done(number))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone: nobody is left to work for
