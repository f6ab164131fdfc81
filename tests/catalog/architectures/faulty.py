"""A network that goes wrong in the way its option says; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, how: str = "raise"):
    import os
    import signal

    import torch
    from torch import nn

    class Faulty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(channels, classes, 1)

        def forward(self, x):
            if how == "raise":
                raise ValueError("planted: this network does not work")
            if how == "silent":
                raise AssertionError
            if how == "memory":
                raise torch.OutOfMemoryError("planted: no memory left")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            return self.head(x) * float("nan")  # how=diverge

    return Faulty()


SPEC = ArchitectureSpec(
    title="Faulty", family="test", citation="none", build=build, divisor=1, options={"how": "raise"}
)
