"""The blocks of MultiResUNet; imported when a network is built, since it loads torch.

Where a normalisation is behind a convolution it has offsets alone: its factors stay 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._blocks import Sum

SHARES, LARGER = (0.167, 0.333, 0.5), 1.67
"""Parts of a block's channels that have seen 3x3, 5x5 and 7x7 pixels; how many it has for one of a U-Net's."""


def parts(width: int) -> list[int]:
    """Channels of a block that takes the place of a U-Net's with `width`, by how far they see."""
    return [int(LARGER * width * share) for share in SHARES]


def multires(before: int, width: int) -> nn.Sequential:
    """A chain of layers, beside a 1x1 convolution: (N, before, H, W) to (N, sum(parts(width)), H, W)."""
    return _added(Chain(before, parts(width)), before, sum(parts(width)))


class Chain(nn.Module):
    """Each layer sees what the one before gave; all is joined: (N, before, H, W) to (N, sum(widths), H, W)."""

    def __init__(self, before: int, widths: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _layer(given, after) for given, after in zip([before, *widths], widths, strict=False)
        )
        self.norm = _norm(sum(widths))

    def forward(self, x: Tensor) -> Tensor:
        """The finest channels first, normalised together."""
        found: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return self.norm(torch.cat(found, dim=1))


class ResPath(nn.Module):
    """Layers on the way across, each beside a 1x1 convolution: (N, before, H, W) to (N, after, H, W).

    Args:
        before: Channels of what comes across.
        after: Of what arrives.
        length: How many layers there are.
    """

    def __init__(self, before: int, after: int, length: int) -> None:
        super().__init__()
        given = [before, *[after] * (length - 1)]
        self.layers = nn.Sequential(*(_added(_layer(count, after), count, after) for count in given))

    def forward(self, up: Tensor, skip: Tensor) -> Tensor:
        """What came up has no say in it."""
        return self.layers(skip)


def _added(main: nn.Module, before: int, after: int) -> nn.Sequential:
    beside = nn.Sequential(*_conv(before, after, kernel=1))
    return nn.Sequential(Sum(main, beside), nn.ReLU(inplace=True), _norm(after))


def _layer(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_conv(before, after, kernel=3), nn.ReLU(inplace=True))


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    norm = _norm(after)
    norm.weight.requires_grad_(False)
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), norm


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)
