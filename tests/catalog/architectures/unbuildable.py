"""A network that cannot be built, in the way its option says; for the tests."""

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, how: str = "refuse"):
    import os
    import signal
    import sys
    import time

    if how == "refuse":
        raise NameUnknown("planted: these options do not go together. Leave one out.")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    if how == "hang":
        time.sleep(600)
    raise ValueError("planted: it cannot be built")


SPEC = ArchitectureSpec(
    title="Unbuildable", family="test", citation="none", build=build, divisor=1, options={"how": "refuse"}
)
