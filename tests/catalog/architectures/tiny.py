"""Three convolutions and a dropout: the smallest thing that can learn and that draws; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, width: int = 8):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1),
    )  # fmt: skip


SPEC = ArchitectureSpec(title="Tiny", family="test", citation="none", build=build, divisor=1, options={"width": 8})
