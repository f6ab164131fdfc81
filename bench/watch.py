"""What a run is at, seen from outside: the locks it holds, the files it writes; none is ever changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

_TRIAL_STATE, _COMPLETE = 6, 1
"""Of optuna's journal: the operation that changes the state of a trial, and the state of one that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a journal says of a tuning: trials that have ended, and the best value of any, in [0, 1]."""

    trials: int
    best: float | None


def changes(state: Callable[[], object], pause: Callable[[], None]) -> Iterator[int]:
    """Count, once at the start and once each time a state has become another one; it is looked at after every pause."""
    seen, count = state(), 0
    yield count
    while True:
        pause()
        if (now := state()) != seen:
            seen, count = now, count + 1
            yield count


def held(lock: Path) -> bool:
    """Whether a process holds a lock, tried without waiting; a lock that was never taken is not made."""
    if not lock.is_file():
        return False
    try:
        with filelock.FileLock(lock).acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # a folder of somebody else's: nothing can be told
        return False


def tried(journal: Path) -> Tried:
    """Read a journal that may be written to at this moment; a line that is no entry is passed over."""
    values = []
    try:
        lines = journal.read_bytes().splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and (entry.get("op_code"), entry.get("state")) == (_TRIAL_STATE, _COMPLETE):
            values += entry.get("values") or [0.0]
    return Tried(trials=len(values), best=max(values, default=None))
