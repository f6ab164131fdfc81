"""The `bench` command with a fault in it: it dies while it writes a file; run as a script by the fault campaign.

FAULT names what is being written and how often that goes well first: `tear:record.json:2` dies with a torn third record,
`rename:record.json:0` between writing the first one and giving it its name. Workers are made to load this file as their
main module, and have the same fault.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

FAULT = os.environ.get("FAULT", "")


def _die_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Put the fault in the way of whatever makes a write safe."""
    kind, name, times = FAULT.split(":")
    left = [int(times)]

    def strikes(path: str) -> bool:
        left[0] -= name in Path(path).name
        return name in Path(path).name and left[0] < 0

    fsync, replace = os.fsync, os.replace

    def torn(descriptor: int) -> None:
        if strikes(str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            os.ftruncate(descriptor, max(os.fstat(descriptor).st_size - 7, 0))
            _die_now()
        fsync(descriptor)

    def unnamed(source: str, target: str) -> None:
        if strikes(str(target)):
            _die_now()
        replace(source, target)

    if kind == "tear":
        os.fsync = torn  # ty: ignore[invalid-assignment]
    else:
        os.replace = unnamed  # ty: ignore[invalid-assignment]


if FAULT:
    install()

if __name__ == "__main__":
    from bench import spawning
    from bench.cli import main

    spawning.without_main = contextlib.nullcontext  # ty: ignore[invalid-assignment]

    sys.argv[0] = "bench"
    main()
