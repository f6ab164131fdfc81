"""Processes that run jobs, one at a time each: a worker that crashes, hangs or grows costs one job and is replaced.

Knows nothing of cells: jobs are numbers to it, and what a worker says is passed on (docs/adr/0006).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, Self

from bench import spawning
from bench.serve import Done, Ready, Refused, Said, Work, serve

TICK = 0.5
"""How often clocks and memory are looked at [s]; messages are heard at once."""
TAIL = 64 * 2**10
"""How much of what a job prints is kept: the end [bytes]."""
PRESSURE = ((signal.SIGUSR1, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGKILL, "killed"))
"""What a worker whose time is up is sent, one after the other, until it is gone."""


@dataclass(frozen=True, slots=True)
class Died:
    """A job whose worker is gone: crashed, killed from outside, or ended here for its time or its memory.

    `lost` are those that went with their machine, which says nothing about the job.
    """

    job: int
    reason: str
    kind: Literal["died", "timed_out", "out_of_memory", "lost"] = "died"
    output: str = ""


def machine_memory() -> int | None:
    """The memory of this machine, or of the cgroup this process is in where that is less [bytes]; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2 and v1, as a container sees its own
        with contextlib.suppress(OSError, ValueError):
            found.append(int((Path("/sys/fs/cgroup") / name).read_text()))  # "max" is no number
    return min(found, default=None)


def _most_of_the_memory() -> float | None:
    memory = machine_memory()
    return None if memory is None else 0.9 * memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker may use before it is ended; None is no limit.

    Attributes:
        seconds: From the hand-out of a job, or from what restarts the clock, to the end or the next restart [s].
        silence: Without a single message; loading the work counts too [s].
        memory: Anonymous memory of all workers together; past it the largest is killed [bytes]. Not watched where there
            is no /proc.
        grace: Between one way of ending a worker and the next, harder one [s].
    """

    seconds: float | None = None
    silence: float | None = 3600.0
    memory: float | None = field(default_factory=_most_of_the_memory)
    grace: float = 5.0


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, the job it has, and what the parent knows of it."""

    process: BaseProcess
    slot: int  # its place in the team, which a later worker takes over
    pipe: Connection
    output: Connection
    job: int
    payload: object
    heard: float  # when it last said something, in the time of the team
    tail: bytearray = field(default_factory=bytearray)
    since: float | None = None  # start of its clock; None until the worker has loaded its work
    verdict: tuple[Literal["timed_out", "out_of_memory"], str] | None = None
    pressed: int = 0  # how many steps of PRESSURE it was sent
    due: float = 0.0  # when the next one follows

    def send(self, content: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker is noticed when it is heard
            self.pipe.send(content)

    def take(self, job: int, payload: object, now: float) -> None:
        self.drain()
        self.tail.clear()
        self.job, self.payload = job, payload
        self.begin(now)

    def begin(self, now: float) -> None:
        self.since = self.heard = now
        self.send((self.job, self.payload))

    def drain(self) -> None:
        """Take what it printed out of the pipe, so that it never waits for us; the end is kept."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(0 if self.output.closed else 64):  # one that prints without end must not keep us
                chunk = os.read(self.output.fileno(), TAIL)
                self.tail += chunk
                del self.tail[:-TAIL]
                if not chunk:
                    self.output.close()
                    return

    def overdue(self, limits: Limits, now: float) -> str | None:
        """Which limit it has passed, as a sentence."""
        if limits.seconds is not None and self.since is not None and now - self.since > limits.seconds:
            return f"The time limit of {limits.seconds:g} s passed"
        if limits.silence is not None and now - self.heard > limits.silence:
            return f"No sign of life for {limits.silence:g} s"
        return None

    def press(self, limits: Limits, now: float) -> None:
        """Once its time is up: the next step of PRESSURE, if it is due."""
        if self.verdict is None and (reason := self.overdue(limits, now)):
            self.verdict = ("timed_out", reason)
        if self.verdict is None or now < self.due or self.pressed == len(PRESSURE):
            return
        if self.process.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, PRESSURE[self.pressed][0])
        self.pressed += 1
        self.due = now + limits.grace

    def epitaph(self) -> Died:
        """What is to be told of a worker that is gone."""
        self.process.join(10)
        self.process.kill()
        self.process.join()
        self.drain()
        output = self.tail.decode("utf-8", "replace")
        if self.verdict is not None:
            kind, reason = self.verdict
            how = f"; the worker was {PRESSURE[self.pressed - 1][1]}." if self.pressed else "."
            return Died(self.job, f"{reason}{how}", kind, output)
        code = self.process.exitcode
        named = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return Died(self.job, f"The worker process ended without a word ({named}).", output=output)


class Team:
    """Workers on spawned processes and the jobs that wait for them; more can be added while it is listened to.

        with Team(work, size=2) as team:
            team.add(0, job)
            for message in team: ...

    Args:
        work: Called as `work(job, say)` in a worker; can be pickled.
        size: How many processes at most.
        limits: What ends a worker.
        restarts: Whether something said starts the clock of its job anew.
    """

    def __init__(
        self,
        work: Work,
        *,
        size: int,
        limits: Limits | None = None,
        restarts: Callable[[object], bool] = lambda content: False,
    ) -> None:
        self.context = spawning.CONTEXT
        self.work, self.size, self.restarts = work, size, restarts
        self.limits = Limits() if limits is None else limits
        self.waiting: deque[tuple[int, object]] = deque()
        self.fresh: deque[tuple[int, object]] = deque()
        self.busy: list[_Worker] = []
        self.free: list[_Worker] = []
        self.gone: list[_Worker] = []  # told to leave
        self.now = 0.0  # seconds that this process was there to see: a stop, as by Ctrl-Z, does not count
        self.looked = time.monotonic()
        self.weighed = 0.0

    def add(self, job: int, payload: object, *, fresh: bool = False) -> None:
        """Queue a job under its number; `fresh` wants a process that has run nothing before."""
        (self.fresh if fresh else self.waiting).append((job, payload))

    def output(self, job: int) -> str:
        """The end of what the worker that has a job printed since it got it; empty when nobody has it."""
        for worker in self.busy:
            if worker.job == job:
                worker.drain()
                return worker.tail.decode("utf-8", "replace")
        return ""

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Said | Done | Died]:
        """What happens, as it happens, until no job is left.

        Raises:
            BenchError: The first one a job raised.
        """
        while self._staff():
            ears = [ear for worker in self.busy for ear in (worker.pipe, worker.output) if not ear.closed]
            ready = wait(ears, TICK)
            self._look_at_the_clock()
            for worker in list(self.busy):
                worker.drain()
                if worker.pipe in ready:
                    message = self._heard(worker)
                    if message is not None:
                        yield message
                elif worker.process.exitcode is not None and not worker.pipe.poll():
                    yield self._buried(worker)  # a process it left behind holds the pipe open
                if worker in self.busy:
                    worker.press(self.limits, self.now)
            self._weigh()

    def __exit__(self, *_: object) -> None:
        """End every worker: a free one leaves by itself; a busy one is asked to, then made to."""
        everyone = self.busy + self.free + self.gone
        try:
            for worker in everyone:
                if worker in self.busy:
                    worker.process.terminate()
                worker.pipe.close()
                worker.output.close()
            deadline = time.monotonic() + self.limits.grace
            for worker in everyone:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in everyone:
                worker.process.kill()
                worker.process.join()

    def _look_at_the_clock(self) -> None:
        before, self.looked = self.looked, time.monotonic()
        self.now += min(self.looked - before, 4 * TICK)

    def _staff(self) -> bool:
        """Give free workers a job or their leave, and hire while jobs wait; False when there is nothing left to do."""
        while self.free:
            worker = self.free.pop()
            if self.waiting:
                worker.take(*self.waiting.popleft(), self.now)
                self.busy.append(worker)
            else:
                worker.send(None)
                self.gone.append(worker)
        while (self.fresh or self.waiting) and len(self.busy) < self.size:
            self._hire(*(self.fresh or self.waiting).popleft())
        return bool(self.busy)

    def _hire(self, job: int, payload: object) -> None:
        ours, theirs = self.context.Pipe()
        output, printed = self.context.Pipe(duplex=False)
        os.set_blocking(output.fileno(), False)
        slot = next(number for number in itertools.count() if number not in {worker.slot for worker in self.busy})
        process = self.context.Process(target=serve, args=(theirs, printed, slot), daemon=True)
        with _unbroken():
            process.start()
            worker = _Worker(process, slot, ours, output, job, payload, heard=self.now)
            self.busy.append(worker)
        theirs.close()
        printed.close()
        worker.send(self.work)  # loaded there, once what it prints goes to us

    def _heard(self, worker: _Worker) -> Said | Done | Died | None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._buried(worker)
        worker.heard = self.now
        if isinstance(message, Refused):
            raise message.error
        if isinstance(message, Ready):
            worker.begin(self.now)
            return None
        if isinstance(message, Said) and self.restarts(message.content):
            worker.since = worker.heard
        if isinstance(message, Done):
            self.busy.remove(worker)
            if worker.verdict is None:
                self.free.append(worker)
            else:  # it was just in time, but is being ended
                worker.process.kill()
                self.gone.append(worker)
        return message

    def _buried(self, worker: _Worker) -> Died:
        self.busy.remove(worker)
        worker.pipe.close()
        died = worker.epitaph()
        worker.output.close()
        return died

    def _weigh(self) -> None:
        """Kill the largest worker when all together hold too much, before the system kills one of its own choice."""
        if self.limits.memory is None or time.monotonic() < self.weighed + TICK:
            return
        self.weighed = time.monotonic()
        weights = {worker: _anonymous(worker) for worker in self.busy}
        total = sum(weights.values())
        if total <= self.limits.memory:
            return
        largest = max(weights, key=lambda worker: weights[worker])
        if largest.verdict is None:
            largest.verdict = (
                "out_of_memory",
                f"The workers held {total / 2**20:.0f} MiB of memory together, past the limit of "
                f"{self.limits.memory / 2**20:.0f} MiB; this one, with {weights[largest] / 2**20:.0f} MiB, was killed",
            )
        largest.process.kill()
        largest.process.join(TICK)


def _anonymous(worker: _Worker) -> int:
    """The memory of a process that belongs to no file [bytes]; 0 where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{worker.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024
    return 0


@contextlib.contextmanager
def _unbroken() -> Generator[None]:
    """Ctrl-C comes after the block; a process started in it never sees Ctrl-C, not even while Python loads."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
