"""The residual U-Net of nnU-Net; imported when a network is built, since it loads torch."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor, nn

from ._blocks import supervised
from ._initial import start
from ._unet import transposed

BLOCKS = (1, 3, 4, 6, 6, 6, 6)
"""Residual blocks of each stage of the encoder, from full resolution down, in every one of the presets."""


class Norm(nn.InstanceNorm2d):
    """Without torch's refusal of a single pixel, which the deepest level may have: it is normalised to zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.1, self.eps, False)


def conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(layer, Norm(after, affine=True))


class Block(nn.Module):
    """Two convolutions beside the input, which is averaged where they stride: ResNet-D."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(conv(before, after, stride=stride), nn.LeakyReLU(), conv(after, after))
        self.beside = nn.Sequential()
        if stride > 1:
            self.beside.append(nn.AvgPool2d(stride))
        if before != after:
            self.beside.append(conv(before, after, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.main(x) + self.beside(x))


class ResEncUNet(nn.Module):
    def __init__(self, channels: int, classes: int, widths: list[int], deep: bool) -> None:
        super().__init__()
        width, levels = widths[0], len(widths)
        self.stem = nn.Sequential(conv(channels, width), nn.LeakyReLU())
        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(zip([width, *widths], widths, strict=False)):
            first = Block(before, after, stride=2 if level else 1)
            self.encoder.append(nn.Sequential(first, *(Block(after, after, 1) for _ in range(BLOCKS[level] - 1))))
        pairs = list(itertools.pairwise(widths))[::-1]  # (at this level, at the one below it)
        self.ups = nn.ModuleList(transposed(below, here) for here, below in pairs)
        self.decoder = nn.ModuleList(nn.Sequential(conv(2 * here, here), nn.LeakyReLU()) for here, _ in pairs)
        predicting = widths[: levels - 2] if deep else widths[:1]  # all of the decoder's but the deepest
        self.heads = nn.ModuleList(nn.Conv2d(here, classes, kernel_size=1) for here in predicting)
        start(self, functools.partial(nn.init.kaiming_normal_, a=0.01))
        for layer in self.modules():  # every block begins as its input, or what stands beside it
            if isinstance(layer, Block):
                nn.init.zeros_(layer.main[2][1].weight)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # (N, channels, H, W)
        x, skips = self.stem(images), []
        for stage in self.encoder:
            x = stage(x)  # (N, widths[level], H / 2^level, W / 2^level)
            skips.append(x)
        skips.pop()
        wide: list[Tensor] = []
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
            wide.append(x)
        return supervised(self.heads, reversed(wide), images)  # (N, classes, H, W), once or more
