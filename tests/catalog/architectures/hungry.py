"""A network that runs out of memory when more images go through it at once than its option says; for the tests."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, most: int = 2, everywhere: bool = True):
    import torch
    from torch import nn

    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(channels, classes, 3, padding=1)

        def forward(self, x):
            if len(x) > most and (everywhere or not self.training):
                raise torch.OutOfMemoryError(f"planted: {len(x)} images do not fit")
            return self.head(x)

    return Hungry()


SPEC = ArchitectureSpec(
    title="Hungry", family="test", citation="none", build=build, divisor=1, options={"most": 2, "everywhere": True}
)
