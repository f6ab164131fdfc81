"""Locks of the results folder; the system lets go of them when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Generator
from pathlib import Path

import filelock

from bench.errors import StoreError
from bench.store import writing


@contextlib.contextmanager
def held(path: Path, timeout: float = 0.0) -> Generator[bool]:
    """Try to take a lock, for a while at most [s]; tells whether it is ours until the block ends.

    Raises:
        StoreError: If the file cannot be made.
    """
    lock = filelock.FileLock(path, timeout=timeout)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(filelock.Timeout):
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextlib.contextmanager
def turn(path: Path, wait: Callable[[], object]) -> Generator[None]:
    """Take a lock, however long it takes, and leave no file; `wait` is called once when somebody else has it.

    Raises:
        StoreError: If the file cannot be made.
    """
    timeout = 0.0
    while True:
        with held(path, timeout) as ours:
            if ours and _current(path):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        if not ours:
            wait()
            timeout = -1.0


def _current(path: Path) -> bool:
    """Whether the lock that we hold is that of the file which is there now; the one before us has removed its own."""
    with held(path) as another:
        return not another


@contextlib.contextmanager
def among_others(folder: Path, same: Callable[[], bool], write: Callable[[], object]) -> Generator[None]:
    """Be one of the runs that write to a folder; all of them run the same study.

    Each holds a file `.run-*.lock` of its own. One that nobody holds was left by a run that was killed, and is removed.

    Args:
        same: Whether the study in the folder is ours.
        write: Puts it there.
    Raises:
        StoreError: If another run with another study writes to the folder, or it cannot be written to.
    """
    own = folder / f".run-{os.getpid()}-{secrets.token_hex(4)}.lock"
    with contextlib.ExitStack() as stack:
        with _alone(folder):
            if _others(folder) and not same():
                raise StoreError(
                    f"Another run with another study is writing to {folder}. Wait for it, or choose another --name."
                )
            write()
            stack.callback(own.unlink, missing_ok=True)
            stack.enter_context(held(own))
        yield


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """The moment in which a run looks at a folder and writes its study; others wait."""
    lock = filelock.FileLock(folder / ".lock", timeout=60)
    with writing(folder / ".lock"):
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StoreError(f"Another run has been starting in {folder} for a minute. Try again.") from error
    try:
        yield
    finally:
        lock.release()


def _others(folder: Path) -> bool:
    """Whether another run is alive in a folder; the files of dead ones are removed."""
    alive = False
    for path in folder.glob(".run-*.lock"):
        with held(path) as dead:
            if dead:
                path.unlink(missing_ok=True)
            else:
                alive = True
    return alive
