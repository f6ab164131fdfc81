"""Layers that run again, and U-Nets of them; imported when a network is built, since it loads torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ._blocks import Sum
from ._unet import UNet, doubled, unet


class Recurrent(nn.Module):
    """One layer that runs again, on its input and what it last gave added: (N, width, H, W) to the same.

    Every run has running statistics of its own, since what it is given is distributed in its own way; all weights are
    shared.

    Args:
        width: Channels.
        steps: How often it runs after the first time.
    """

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in range(1 + steps))
        self.factor, self.offset = nn.Parameter(torch.ones(width, 1, 1)), nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """What it gives the last time."""
        given = found = x
        for norm in self.norms:
            found = (norm(self.conv(given)) * self.factor + self.offset).relu()
            given = x + found
        return found


def r2unet(
    channels: int, classes: int, widths: Sequence[int], steps: int, across: Callable[[int], nn.Module] | None = None
) -> UNet:
    """A U-Net with two recurrent layers in each level, and what goes into them added to what comes out."""

    def block(before: int, after: int, level: int) -> nn.Module:
        recurrent = nn.Sequential(Recurrent(after, steps), Recurrent(after, steps))
        return nn.Sequential(nn.Conv2d(before, after, kernel_size=1), Sum(recurrent, nn.Identity()))

    return unet(channels, classes, widths, block, up=doubled, across=across)
