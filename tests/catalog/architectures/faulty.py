"""A network that goes wrong in the way its option says; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, how: str = "raise"):  # noqa: C901 - a list of ways to fail
    import ctypes
    import os
    import signal
    import sys
    import time
    from pathlib import Path

    import torch
    from torch import nn

    def silent():
        raise AssertionError

    def broken():
        raise ValueError("planted: this network does not work")

    def memory():
        raise torch.OutOfMemoryError("planted: no memory left")

    def hang():
        while True:
            time.sleep(600)

    def hang_c():
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)  # never returns, and no Python runs beside it

    def talk():
        print("planted line\n" * 100_000)
        os.write(2, b"planted bytes\n" * 100_000)

    def leak():
        kept = []
        while len(kept) < 32:  # 4 GiB: a test that fails must not take the machine down
            kept.append(torch.ones(2**25))
            time.sleep(0.02)
        raise ValueError("planted: nobody stopped this leak")

    ways = {
        "raise": broken,
        "silent": silent,
        "memory": memory,
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": lambda: sys.exit(3),
        "segfault": lambda: ctypes.string_at(0),
        "hang": hang,
        "hang_c": hang_c,
        "print": talk,
        "leak": leak,
        "diverge": lambda: None,
    }

    class Faulty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(channels, classes, 1)

        def forward(self, x):
            if "BENCH_TEST_ATTEMPTS" in os.environ:
                with (Path(os.environ["BENCH_TEST_ATTEMPTS"]) / how).open("a") as file:
                    file.write(f"{os.getpid()}\n")
            print(f"about to {how}")
            ways[how]()
            return self.head(x) * (1.0 if how == "print" else float("nan"))

    return Faulty()


SPEC = ArchitectureSpec(
    title="Faulty", family="test", citation="none", build=build, divisor=1, options={"how": "raise"}
)
