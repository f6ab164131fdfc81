"""A network that prints while it computes; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int):
    from torch import nn

    class Chatty(nn.Conv2d):
        def forward(self, x):
            print("a line of its own", flush=True)
            return super().forward(x)

    return Chatty(channels, classes, 1)


SPEC = ArchitectureSpec(title="Chatty", family="test", citation="none", build=build, divisor=1, options={})
