"""What becomes of the cells that workers are handed: every ending is stored, a death costs one attempt of one cell."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from bench import locks, plan
from bench.job import Event, Job
from bench.records import FINAL, Failure, Record, Status
from bench.specs import Cell
from bench.store import sweep, write_bytes
from bench.workers import Died

ATTEMPTS = 2
"""How often a cell may take its worker down."""
LOSSES = 10
"""How often a cell may lose its machine, of which it is not the cause."""
PAUSE = 1.0
"""Between two looks at cells that another run is at [s]."""
ENDINGS = {
    "died": (Status.FAILED, "WorkerDied"),
    "timed_out": (Status.TIMED_OUT, "TimeLimit"),
    "out_of_memory": (Status.OUT_OF_MEMORY, "MemoryLimit"),
    "lost": (Status.FAILED, "MachineLost"),
}
Ingredients = Mapping[Cell, dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The unit of work: cells that share a tuning, in order of their seeds."""

    cells: tuple[tuple[Cell, dict[str, object]], ...]  # with what goes into each
    pause: float = 0.0  # wait first, since another run was at it [s]


def run_group(job: Job, task: Task, say: Callable[[Event], None]) -> None:
    """Run the cells of a task, unless another run is at them or has finished them; runs in a worker."""
    from bench import cell as cells

    time.sleep(task.pause)
    first, store = task.cells[0][0], job.store
    with _held(job, first) as ours:
        if not ours:
            say(Event(kind="busy", cell=first))
            return
        sweep(store.tuning(first))
        for cell, ingredients in task.cells:
            sweep(store.cell(cell))
            done = _final(job, cell, ingredients)
            if done is None:
                cells.run(cell, ingredients, job, say)
            else:
                say(Event(kind="finished", cell=cell, record=done))


class _Unheard(BaseException):
    """Passes through a cell, which stores any Exception as its own failure."""


@contextlib.contextmanager
def blameless(say: Callable[[Event], None]) -> Generator[Callable[[Event], None]]:
    """What a cell of this process may be given as `say`: what `say` raises ends the block, and is no failure of it."""
    raised: list[Exception] = []

    def told(event: Event) -> None:
        try:
            say(event)
        except Exception as error:
            raised.append(error)
            raise _Unheard from None

    with contextlib.suppress(_Unheard):
        yield told
    if raised:
        raise raised[0]


class Ledger:
    """The cells of a run that are not finished, who is at work, and who died at it.

    Args:
        job: What workers are told.
        ingredients: The cells to run, and what goes into each.
        on_event: Told what cells tell about themselves, and what became of those that cannot.
    """

    def __init__(self, job: Job, ingredients: Ingredients, on_event: Callable[[Event], None]) -> None:
        self.job, self.ingredients, self.on_event = job, ingredients, on_event
        self.left = dict(enumerate(plan.groups(list(ingredients))))
        self.running: dict[int, Event] = {}  # the last word of the cell that a group is at
        self.moved: set[int] = set()  # groups of which a cell finished since they were handed out
        self.busy: set[int] = set()  # groups that another run was seen at
        self.deaths: defaultdict[Cell, list[Died]] = defaultdict(list)

    def task(self, number: int) -> Task:
        """What is left of a group, to be handed out."""
        self.moved.discard(number)
        cells = tuple((cell, self.ingredients[cell]) for cell in self.left[number])
        return Task(cells=cells, pause=PAUSE if number in self.busy else 0.0)

    def heard(self, number: int, event: Event) -> None:
        """Take up what a cell of a group said, and pass it on."""
        if event.kind == "busy":
            if number in self.busy:
                return  # said once already
            self.busy.add(number)
        elif event.kind == "finished":
            self.running.pop(number, None)
            self.left[number].remove(event.cell)
            self.moved.add(number)
        elif event.kind in ("started", "phase"):
            self.running[number] = event
        self.on_event(event)

    def died(self, died: Died) -> None:
        """Blame a death on the cell that was running; once too often, and it is a failed row."""
        last = self.running.pop(died.job, None)
        if last is not None:
            cell, phase = last.cell, last.phase
        elif died.job not in self.moved and self.left[died.job]:
            cell, phase = self.left[died.job][0], None  # it died before it came to say which
        else:
            return  # between two cells
        self.deaths[cell].append(died)
        record = _final(self.job, cell, self.ingredients[cell])  # it may have had the time to store its result
        lost = sum(one.kind == "lost" for one in self.deaths[cell])
        if record is None and (lost == LOSSES or len(self.deaths[cell]) - lost == ATTEMPTS):
            record = self._failed(cell, phase or "worker")
        if record is not None:
            self.heard(died.job, Event(kind="finished", cell=cell, record=record))

    def stopped(self) -> None:
        """Store the cells that were running as interrupted."""
        for last in self.running.values():
            error = Failure(phase=last.phase or "run", kind="KeyboardInterrupt", message="Stopped from outside.")
            self._store(last.cell, Status.INTERRUPTED, error)

    def note(self, cell: Cell, output: str) -> None:
        """Add what a worker printed to the log of a cell."""
        path = self.job.store.cell(cell) / "log.txt"
        if output:
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            write_bytes(path, f"{before}\nThe end of what its worker printed:\n{output}".encode())

    def _failed(self, cell: Cell, phase: str) -> Record:
        deaths = self.deaths[cell]
        status, kind = ENDINGS[deaths[-1].kind]
        told = [f"Attempt {number}: {died.reason}" for number, died in enumerate(deaths, 1)]
        log = "\n".join(f"{line}\n{died.output}" for line, died in zip(told, deaths, strict=True))
        return self._store(cell, status, Failure(phase=phase, kind=kind, message=" ".join(told)), log)

    def _store(self, cell: Cell, status: Status, error: Failure, log: str = "") -> Record:
        """Write a record without a result, unless another run has the cell or a result is there already."""
        record = Record(
            study=self.job.study.name,
            cell=cell,
            fingerprint=plan.digest(self.ingredients[cell]),
            ingredients=self.ingredients[cell],
            status=status,
            error=error,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        with _held(self.job, cell) as ours:
            if ours and _final(self.job, cell, self.ingredients[cell]) is None:
                if log:
                    write_bytes(self.job.store.cell(cell) / "log.txt", log.encode())
                self.job.store.write(record)
        return record


def _held(job: Job, cell: Cell) -> contextlib.AbstractContextManager[bool]:
    """The lock that all cells of a group share."""
    return locks.held(job.store.tuning(cell) / ".lock", timeout=0.5)  # bench status looks at it for a moment


def _final(job: Job, cell: Cell, ingredients: dict[str, object]) -> Record | None:
    """The stored result of a cell, if it is final and made of the same."""
    record = job.store.read(cell)
    same = record is not None and record.status in FINAL and record.fingerprint == plan.digest(ingredients)
    return record if same else None
