"""Processes that start from nothing but this package: the script that starts them is not run again in each.

Spawned processes import the main module of their parent first. A user's script that runs a study without the guard
`if __name__ == "__main__"` would run it again in every worker; and nothing of ours is looked up in a main module.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Generator
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

_LOCK = threading.Lock()


@contextlib.contextmanager
def without_main() -> Generator[None]:
    """Within the block the main module is an empty one, which has no file that a process could be told to run."""
    with _LOCK:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class Process(SpawnProcess):
    """A spawned process that does not see the main module of its parent."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - what multiprocessing calls it
        with without_main():
            return SpawnProcess._Popen(process_obj)


class Context(SpawnContext):
    """As `multiprocessing.get_context("spawn")`, with such processes."""

    Process = Process


CONTEXT = Context()
