"""The other side of `bench.workers`: what a process does that runs jobs, and what it says.

A worker ends with its parent, leaves Ctrl-C to it, and sends everything that is printed to it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
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
class Refused:
    """A job that ended in an error which ends everything."""

    job: int
    error: BenchError


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker that has loaded its work: the first clock may start."""


class _Interrupted(BaseException):
    """Raised in the main thread of a worker whose time is up; no `except Exception` may keep it."""


SLOT = "BENCH_SLOT"
"""The variable that tells the work the place of its worker in the team, so that workers spread over devices."""


def serve(pipe: Connection, output: Connection, slot: int) -> None:
    """The life of a worker: load the work, then jobs until there are none."""
    _settle(output)
    os.environ[SLOT] = str(slot)

    def say(number: int, content: object) -> None:
        try:
            pipe.send(Said(number, content))
        except OSError:
            os._exit(1)  # the parent is gone: what is unfinished stays unfinished, and is no failure of the job

    try:
        work = pipe.recv()
        pipe.send(Ready())
        while (task := pipe.recv()) is not None:
            number, job = task
            try:
                work(job, functools.partial(say, number))
            except BenchError as error:
                pipe.send(Refused(number, error))
                return
            pipe.send(Done(number))
    except _Interrupted:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # what was interrupted anywhere cannot be trusted to clean up
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone: nobody is left to work for


def _settle(output: Connection) -> None:
    """Signals, the fate of orphans, and where everything printed here goes, by C code and children too."""
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", 1, "utf-8", "backslashreplace", closefd=False) for number in (1, 2)
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent alone answers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends C code too, where a handler in Python would wait for it
    signal.signal(signal.SIGUSR1, _interrupt)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, chain=True)  # where it hangs, even when it hangs in C
    if sys.platform == "linux":
        parent = multiprocessing.parent_process()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the parent, even when hung in C
        if parent is not None and os.getppid() != parent.pid:
            os._exit(1)


def _interrupt(*_: object) -> None:
    raise _Interrupted("The parent ended this worker: its time was up.")
