"""Gates in a U-Net's ways across, and layers that run again; imported when a network is built, since it loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import conv_bn_relu
from ._unet import Sum, UNet, unet


class Across(nn.Module):
    """Stands before a block on the way up, and changes what comes across, where it may look at what came up.

    It maps (N, above + before, H, W), joined as a U-Net does, to (N, above + after, H, W).

    Args:
        above: Channels of what came up, which are the first.
    """

    def __init__(self, above: int) -> None:
        super().__init__()
        self.above = above

    def forward(self, x: Tensor) -> Tensor:
        """What came up as it is, and what passes of the rest."""
        up, skip = x[:, : self.above], x[:, self.above :]
        return torch.cat([up, self.passed(up, skip)], dim=1)

    def passed(self, up: Tensor, skip: Tensor) -> Tensor:
        """What passes of `skip`: (N, before, H, W) to (N, after, H, W)."""
        raise NotImplementedError


class Gate(Across):
    """What came up decides on the share of what comes across that passes, from nothing to all.

    Args:
        width: Channels of either.
        each: A `pixel` has one share for all its channels, or each `channel` of it has its own.
    """

    def __init__(self, width: int, each: str) -> None:
        super().__init__(width)
        between = width if each == "channel" else max(width // 2, 1)
        self.asking, self.asked = _mixed(width, between), _mixed(width, between)
        self.share = nn.Conv2d(between, width, kernel_size=1) if each == "channel" else _mixed(between, 1)

    def passed(self, up: Tensor, skip: Tensor) -> Tensor:
        """The features times their shares."""
        return skip * self.share((self.asking(up) + self.asked(skip)).relu()).sigmoid()


def gate(network: UNet, widths: Sequence[int], each: str = "pixel") -> UNet:
    """Puts a gate into every way across, for channels `widths` from the full resolution down."""
    gates = [Gate(width, each) for width in reversed(widths[:-1])]
    network.decoder = nn.ModuleList(nn.Sequential(*both) for both in zip(gates, network.decoder, strict=True))
    return network


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


def doubled(before: int, after: int) -> nn.Sequential:
    """Pixels doubled, then a layer: (N, before, H, W) to (N, after, 2 H, 2 W)."""
    return nn.Sequential(nn.Upsample(scale_factor=2), conv_bn_relu(before, after))


def r2unet(channels: int, classes: int, widths: Sequence[int], steps: int) -> UNet:
    """A U-Net with two recurrent layers in each level, and what goes into them added to what comes out."""

    def block(before: int, after: int, level: int) -> nn.Module:
        recurrent = nn.Sequential(Recurrent(after, steps), Recurrent(after, steps))
        return nn.Sequential(nn.Conv2d(before, after, kernel_size=1), Sum(recurrent, nn.Identity()))

    return unet(channels, classes, widths, block, up=doubled)


def _mixed(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel_size=1), nn.BatchNorm2d(after))
