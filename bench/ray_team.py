"""The tasks of a run that a Ray cluster has: handed out, listened to, ended when their time is up, and buried.

What tasks say comes through a mailbox, an actor on the driver's node (`bench.ray_task`).
"""

from __future__ import annotations

import contextlib
import importlib
import math
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

from bench import node, ray_task, shipping
from bench.attempts import Task
from bench.errors import StudyError
from bench.node import Lacks, Luggage, Mail, Orders, Parcel
from bench.prepare import Prepared
from bench.ray_task import Outcome
from bench.serve import Done, Said
from bench.workers import TICK, Died, Limits

PATIENCE = 120.0
"""How long the cluster may have no node that carries a task, and a node may take to answer [s]."""
HEADLESS = 25.0
"""How long the head may be away; after 60 s Ray would end this process without a word [s]."""
SETTLE = 20.0
"""How long the last words of a task that has ended are waited for, and the end of one that was told to [s]."""


class Engine(Protocol):
    """What a team knows of its cluster; `bench.engine_ray.RayEngine` is one."""

    ray: Any
    limits: Limits
    wanted: int | None
    cpus: float
    gpus: float

    def answers(self) -> bool:
        """Whether the head of the cluster is there; without it nothing may be asked of the cluster."""
        ...

    def capacity(self) -> int:
        """How many tasks all nodes carry at once, as things are."""
        ...

    def on(self, key: str, function: Any) -> Any:
        """A function to be called on one node alone, which nothing has to be free for."""
        ...

    def everywhere(self, function: Any, orders: Orders) -> dict[str, Any]:
        """What a function will have come to on every node that carries tasks, by node."""
        ...

    def at(self, key: str) -> Any:
        """What says that something is to run on one node alone."""
        ...


class Ending(NamedTuple):
    """How a task ended that did not come to its end."""

    kind: Literal["died", "timed_out", "out_of_memory", "lost"]
    reason: str


@dataclass(slots=True, eq=False)
class _Running:
    """A task that Ray has, and what the driver knows of it."""

    job: int
    number: int  # no other task has it, nor the same task when it is handed out again
    payload: Task
    ref: Any
    node: str | None = None  # where it began
    since: float | None = None  # when the cell began that it is at
    heard: float = 0.0
    said: int = 0  # words that have come
    verdict: str | None = None  # which limit it has passed
    ended: Outcome | Ending | None = None
    settled: float = math.inf  # then no more of its words are waited for
    tail: Any = None  # what it printed, once that was asked for
    output: str = ""


class Team:
    """Tasks that wait and tasks that Ray has; see `engines.Team`."""

    def __init__(self, engine: Engine, orders: Orders, lacks: Lacks, prepared: Mapping[str, Prepared]) -> None:
        self.engine, self.ray, self.orders, self.prepared = engine, engine.ray, orders, prepared
        self.lacks = lacks  # what some node has to be brought, as far as is known
        self.waiting: deque[tuple[int, Task]] = deque()
        self.running: dict[int, _Running] = {}
        self.numbers = iter(range(2**62))
        self.parcels: dict[str, Parcel] = {}
        self.outputs: dict[int, str] = {}
        self.now, self.looked = 0.0, time.monotonic()  # seconds that this process was there to see
        self.size, self.counted, self.carried = 0, -math.inf, 0.0
        self.headless: float | None = None  # since when the head has not answered
        self.gone = self.littered = False
        ray = engine.ray
        self.work = ray.remote(num_cpus=engine.cpus, num_gpus=engine.gpus, max_retries=0)(ray_task.work)
        here = ray.get_runtime_context().get_node_id()
        self.mailbox = ray.remote(num_cpus=0)(ray_task.Mailbox).options(scheduling_strategy=engine.at(here)).remote()
        self.post = self.mailbox.take.remote(TICK)
        self.told = ray.put(orders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End every task, and wait a little until its process is gone and lets go of its locks."""
        if self.gone:  # Ray ends a process that asks for anything where its own node is dead
            return
        left = [one.ref for one in self.running.values() if one.ended is None]
        headed = self.engine.answers()
        with contextlib.suppress(self.ray.exceptions.RayError):  # the cluster may be what is gone
            for ref in left:
                self.ray.cancel(ref, force=True)
            if left:
                self.ray.wait(left, num_returns=len(left), timeout=2 * self.engine.limits.grace)
            if headed:
                self.ray.kill(self.mailbox)
            if headed and (left or self.littered):
                refs = list(self.engine.everywhere(node.leave, self.orders).values())
                self.ray.wait(refs, num_returns=len(refs), timeout=2 * self.engine.limits.grace)

    def add(self, job: int, payload: object, *, fresh: bool = False) -> None:
        """Queue a task; what died took its process with it, so that one that runs again has a fresh one anyway."""
        assert isinstance(payload, Task)
        self.waiting.append((job, payload))

    def output(self, job: int) -> str:
        """What came with the last event of a task that told of a failure."""
        return self.outputs.get(job, "")

    def __iter__(self) -> Iterator[Said | Done | Died]:
        """What happens, as it happens, until no task is left.

        Raises:
            BenchError: The first one that a task raised, or that the cluster is gone.
        """
        while self._hand_out():
            refs = {one.tail or one.ref: one for one in self.running.values() if one.ended is None or one.tail}
            ready, _ = self.ray.wait([self.post, *refs], timeout=TICK)
            ready, _ = self.ray.wait([self.post, *refs], num_returns=len(refs) + 1, timeout=0) if ready else (ready, [])
            self._look_at_the_clock()
            for ref in ready:
                if ref == self.post:
                    yield from self._read()
                else:
                    self._ended(refs[ref])
            for one in list(self.running.values()):
                self._press(one)
                message = self._settled(one)
                if message is not None:
                    yield message

    def _look_at_the_clock(self) -> None:
        before, self.looked = self.looked, time.monotonic()
        self.now += min(self.looked - before, 4 * TICK)

    def _hand_out(self) -> bool:
        """Give Ray tasks, twice as many as it carries, so that none of it is idle; False when nothing is left to do."""
        if self.now >= self.counted + 5:
            self.counted = self.now
            self._count()
        while self.waiting and len(self.running) < self.size and self.headless is None:
            job, payload = self.waiting.popleft()
            number, first = next(self.numbers), payload.cells[0][0]
            luggage = self._luggage(job, payload)
            ref = self.work.options(name=first.key).remote(self.told, number, payload, luggage, self.mailbox)
            self.running[number] = _Running(job, number, payload, ref)
        return bool(self.running or self.waiting)

    def _count(self) -> None:
        """See how much the cluster carries.

        Raises:
            StudyError: If its head, or every node, has been away for too long.
        """
        if not self.engine.answers():
            self.headless = self.now if self.headless is None else self.headless
            if self.now > self.headless + HEADLESS:
                raise StudyError(
                    f"The head of the Ray cluster has not answered for {HEADLESS:g} s. Finished cells are kept; run "
                    "the same command again when there is a cluster."
                )
            return
        self.headless, capacity = None, self.engine.capacity()
        self.size = self.engine.wanted or 2 * capacity
        self.carried = self.now if capacity else self.carried
        if self.now > self.carried + PATIENCE:
            raise StudyError(
                f"No node of the Ray cluster has carried a task for {PATIENCE:g} s. Finished cells are kept; add "
                "nodes and run the same command again."
            )

    def _luggage(self, job: int, payload: Task) -> Luggage:
        cells, name = [cell for cell, _ in payload.cells], payload.cells[0][0].dataset
        return Luggage(
            number=job,
            files=shipping.pack(self.orders.job.store, cells) if self.lacks.results else None,
            parcel=self._parcel(name) if self.lacks.data else None,
        )

    def _parcel(self, name: str) -> Parcel:
        """A data set in Ray's object store, put there once: each node that needs it pulls one copy."""
        if name not in self.parcels:
            recipe, data = self.orders.job.study.recipe, self.prepared[name]
            files = shipping.data_files(data, recipe)
            pieces = [(path.name, at, self.ray.put(piece)) for path in files for at, piece in shipping.pieces(path)]
            self.parcels[name] = Parcel(
                key=shipping.data_key(data, recipe),
                folder=data.folder.name,
                size=sum(path.stat().st_size for path in files),
                pieces=tuple(pieces),
            )
        return self.parcels[name]

    def _read(self) -> Iterator[Said]:
        """The words in the mailbox; those of a task that was given up say nothing any more."""
        try:
            words = self.ray.get(self.post)
        except self.ray.exceptions.RayError as error:
            self.gone = True
            raise StudyError(
                f"The Ray cluster is gone: {told(error)}. Finished cells are kept; run the same command again."
            ) from error
        self.post = self.mailbox.take.remote(TICK)
        for number, word in words:
            one = self.running.get(number)
            if one is None:
                continue
            one.heard, one.said = self.now, one.said + 1
            if isinstance(word, Mail):
                yield self._opened(one, word)
            else:
                one.node = str(word)

    def _opened(self, one: _Running, mail: Mail) -> Said:
        shipping.unpack(self.orders.job.store.root, mail.files, over=True)
        self.outputs[one.job] = mail.output
        if mail.event.kind == "started":
            one.since = self.now
        return Said(one.job, mail.event)

    def _ended(self, one: _Running) -> None:
        """Note how a task ended; where its node is alive, ask it for what the task printed."""
        if one.tail is not None:
            self._fetched(one)
            return
        try:
            one.ended = self.ray.get(one.ref)
        except self.ray.exceptions.RayError as error:
            one.ended = self._ending(one, error)
        one.settled = self.now + SETTLE
        if isinstance(one.ended, Ending):
            if one.ended.kind == "lost" or one.node is None or not self.engine.answers():
                one.settled = self.now
            else:
                one.tail = self.engine.on(one.node, ray_task.tail).remote(self.orders.run, one.job)

    def _fetched(self, one: _Running) -> None:
        """The end of what a task printed has come; or its node went with it, and that is what it died of."""
        errors = self.ray.exceptions
        try:
            one.output = self.ray.get(one.tail)
        except (errors.NodeDiedError, errors.TaskUnschedulableError) as error:
            if one.verdict is None:
                one.ended = Ending("lost", f"Its node was lost: {told(error)}.")
        except errors.RayError:
            one.output = ""
        one.tail, one.settled = None, self.now

    def _ending(self, one: _Running, error: Exception) -> Ending:
        """What an error of Ray's says of the task.

        Raises:
            StudyError: If it says that no task can run.
        """
        errors = self.ray.exceptions
        if one.verdict is not None:
            return Ending("timed_out", f"{one.verdict}; the worker was killed.")
        if isinstance(error, errors.RuntimeEnvSetupError):
            reason = str(error).splitlines()[-1].rstrip(".")
            raise StudyError(f"The program cannot be brought to a node: {reason}. Look at its disk.") from error
        if isinstance(error, errors.OutOfMemoryError):
            return Ending("out_of_memory", f"Ray ended the worker, for its node ran out of memory: {told(error)}.")
        if isinstance(error, (errors.NodeDiedError, errors.ObjectLostError, errors.TaskUnschedulableError)):
            return Ending("lost", f"Its node was lost: {told(error)}.")
        if isinstance(error, errors.RayTaskError):
            one.output = str(error)
        return Ending("died", f"The worker process ended without a word ({told(error)}).")

    def _press(self, one: _Running) -> None:
        """End a task whose time is up; one that does not end is left to itself."""
        limits = self.engine.limits
        if one.node is None or one.ended is not None:
            return
        if one.verdict is None:
            if limits.seconds is not None and one.since is not None and self.now - one.since > limits.seconds:
                one.verdict = f"The time limit of {limits.seconds:g} s passed"
            elif limits.silence is not None and self.now - one.heard > limits.silence:
                one.verdict = f"No sign of life for {limits.silence:g} s"
            if one.verdict is not None:
                self.ray.cancel(one.ref, force=True)
                one.settled = self.now + SETTLE
        elif self.now > one.settled:
            one.ended = Ending("timed_out", f"{one.verdict}; the worker did not end when it was told to.")

    def _settled(self, one: _Running) -> Done | Died | None:
        """What is to be told of a task that has ended, once its last words have come.

        Raises:
            BenchError: The one that it raised.
        """
        if one.ended is None:
            return None
        waits = one.tail is not None if isinstance(one.ended, Ending) else one.said < one.ended.said
        if waits and self.now < one.settled:
            return None
        del self.running[one.number]
        self.littered |= isinstance(one.ended, Ending) or one.ended.refused is not None
        if isinstance(one.ended, Ending):
            return Died(one.job, one.ended.reason, one.ended.kind, one.output)
        if one.ended.refused is not None:
            raise one.ended.refused
        lacks = one.ended.lacks
        if lacks == Lacks():
            return Done(one.job)
        self.lacks = Lacks(data=self.lacks.data or lacks.data, results=self.lacks.results or lacks.results)
        self.waiting.appendleft((one.job, one.payload))
        return None


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Ray's warnings, and what it prints about workers that died, are not for the screen: we say it ourselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImportError, AttributeError):
            worker: Any = importlib.import_module("ray._private.worker")
            worker._worker_logs_enabled = False  # what its debugger sets; there is no public switch
        yield


def told(error: BaseException) -> str:
    """An error in one line: what a task raised stands at the end of its traceback, all else at the beginning."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if "ray::" in lines[0] else 0][:300].rstrip(".")
