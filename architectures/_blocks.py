"""Blocks that several families are made of; imported when a network is built, since it loads torch."""

from __future__ import annotations

from torch import nn


def double_conv(before: int, after: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch normalisation, ReLU: (N, before, H, W) to (N, after, H, W)."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
