"""A network with batch normalisation over whole pictures, which a single image is too few for; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int):
    from torch import nn

    class Normal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
            self.head = nn.Conv2d(channels, classes, 3, padding=1)

        def forward(self, x):
            return self.head(x) + self.body(x).mean(1, keepdim=True)

    return Normal()


SPEC = ArchitectureSpec(title="Normal", family="test", citation="none", build=build, divisor=1)
