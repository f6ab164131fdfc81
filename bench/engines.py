"""Where the cells of a study run: worker processes of this machine, or those of a cluster.

To the runner all of them are a team that is handed numbered tasks and tells what became of each (docs/adr/0011).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from bench import extras, workers
from bench.attempts import Task, run_group
from bench.catalog import unknown
from bench.errors import StudyError
from bench.job import Job
from bench.serve import Done, Said
from bench.workers import Died, Limits

ENGINES = {"local": "", "ray": "bench.engine_ray", "slurm": "bench.engine_slurm"}
"""The engines there are, and the module of each: `asking` checks what is asked of it, `connect` reaches it."""
PACKAGES = {"ray": ("ray", "cluster"), "slurm": ("submitit", "slurm")}
"""The package behind an engine, and the extra that brings it."""


class Team(Protocol):
    """Takes tasks and says what happens; `bench.workers.Team` is the one of this machine."""

    def add(self, job: int, payload: object, *, fresh: bool = False) -> None:
        """Queue a task under its number, or queue it again; `fresh` wants a process that has run nothing before."""

    def output(self, job: int) -> str:
        """The end of what the worker that has a task printed since it got it; empty when that is not known."""
        ...

    def __iter__(self) -> Iterator[Said | Done | Died]:
        """What happens, as it happens, until no task is left; raises the BenchError that ends everything.

        When `Said` tells of a record, what the record tells of lies in the results folder.
        """
        ...


class Engine(Protocol):
    """A place that has been reached and can run tasks.

    Attributes:
        slots: How many tasks can run at once.
        threads: Of the processor, for each of them; None leaves it to the runner.
    """

    slots: int
    threads: int | None

    def team(self, job: Job, tasks: Sequence[Task]) -> AbstractContextManager[Team]:
        """Make ready for some tasks, and hire who runs them; leaving the block ends what still runs.

        Raises:
            StudyError: If they cannot run there: other versions, no room, data that cannot be had.
        """
        ...


class Local:
    """Worker processes of this machine."""

    threads = None

    def __init__(self, slots: int, limits: Limits | None = None) -> None:
        self.slots, self.limits = slots, limits

    def team(self, job: Job, tasks: Sequence[Task]) -> AbstractContextManager[Team]:
        """A supervisor over spawned processes."""
        return workers.Team(functools.partial(run_group, job), size=self.slots, limits=self.limits, restarts=starts)


def starts(content: object) -> bool:
    """Whether something said starts the clock anew: every cell of a group has its own time."""
    return getattr(content, "kind", None) == "started"


def options(name: str, address: str | None, given: Sequence[str]) -> dict[str, str]:
    """What `--engine-option KEY=VALUE` was given as, by key; nothing is reached for yet.

    Raises:
        NameUnknown: If there is no such engine, or it has no such option.
        StudyError: If one is not KEY=VALUE, is given twice, or means nothing; if this machine is given any.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES, "bench run matrix --help")
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key or key in found:
            raise StudyError(f"--engine-option {text!r} is not KEY=VALUE, or repeats its key. Write it as gpus=0.5.")
        found[key] = value
    if ENGINES[name]:
        importlib.import_module(ENGINES[name]).asking(address, found)
    elif found or address is not None:
        what = "--address" if address is not None else "--engine-option"
        raise StudyError(f"--engine {name} is this machine and takes no {what}. Allowed with: ray, slurm.")
    return found


def installed(name: str) -> None:
    """Refuse an engine whose package is missing; nothing is imported.

    Raises:
        StudyError: If it is, with the command that installs it.
    """
    if name in PACKAGES:
        module, extra = PACKAGES[name]
        extras.check(module, extra=extra, wanted_by=f"--engine {name}")


def connect(
    name: str, *, address: str | None, options: Mapping[str, str], slots: int | None, limits: Limits
) -> AbstractContextManager[Engine]:
    """Reach a cluster.

    Args:
        name: Any engine but `local`.
        address: Where it is; None: where its own tools find it.
        options: What is asked of it for each task, by name.
        slots: How many tasks at once at most; None: as many as it carries.
        limits: What a task may use there.
    Raises:
        StudyError: If it cannot be reached, its package is not installed, or it has no such option.
    """
    module = importlib.import_module(ENGINES[name])
    return module.connect(address=address, options=options, slots=slots, limits=limits)
