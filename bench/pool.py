"""The same small piece of work on many items, on all cores, with no more than a few results waiting."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bench import spawning
from bench.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Results per process that may be under way or waiting to be taken; what keeps the memory bounded."""
FEW = 16  # a handful of items is not worth the start of processes


def each(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work(item)` for every item, in order; both can be pickled.

    Raises:
        DataError: If a process is killed from outside.
    """
    cores = min(os.cpu_count() or 1, 16)
    if cores == 1 or len(items) < FEW:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(cores, spawning.CONTEXT)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) == AHEAD * cores:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "A process that prepares data was ended from outside, most likely for want of memory. Run it again with "
            "more memory free."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
