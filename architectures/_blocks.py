"""Blocks that several families are made of; imported when a network is built, since it loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.specs import MEAN, STD


def double_conv(before: int, after: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch normalisation, ReLU: (N, before, H, W) to (N, after, H, W)."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def conv_relu(before: int, after: int) -> nn.Sequential:
    """3x3 convolution with a bias, ReLU: (N, before, H, W) to (N, after, H, W)."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True))


def conv_bn_relu(before: int, after: int, *, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution with a bias, batch normalisation, ReLU: (N, before, H, W) to (N, after, H, W)."""
    convolution = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """A double convolution beside a 1x1 convolution of its input, added: (N, before, H, W) to (N, after, H, W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.main, self.beside = double_conv(before, after), nn.Conv2d(before, after, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """The sum, without an activation after it."""
        return self.main(x) + self.beside(x)


class Renormalise(nn.Module):
    """Images (N, channels, H, W) normalised by MEAN and STD to ones normalised by other moments; nothing is trained.

    Grey images, of one channel, are normalised by the means of the moments over the three colours. The numbers are
    part of the state, so that a file of weights says what its network was given.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        old_mean, old_std, mean, std = (
            values if channels == 3 else values.mean(dim=0, keepdim=True)
            for values in (torch.tensor(moment, dtype=torch.float64) for moment in (MEAN, STD, mean, std))
        )
        self.register_buffer("scale", (old_std / std).float().view(1, -1, 1, 1))
        self.register_buffer("shift", ((old_mean - mean) / std).float().view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The same pictures, normalised anew."""
        return images * self.scale + self.shift
