"""CMUNeXt; imported when a network is built, since it loads torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._blocks import conv_norm, enlarged


def gelu_norm(before: int, after: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """The activation before the normalisation, as ConvMixer has it."""
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups)
    return nn.Sequential(conv, nn.GELU(), nn.BatchNorm2d(after))


class Wide(nn.Module):
    """A large depthwise kernel beside its input, then four times the channels and back."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.spread = gelu_norm(width, width, kernel, groups=width)
        self.mix = nn.Sequential(gelu_norm(width, 4 * width), gelu_norm(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x + self.spread(x))


def stage(before: int, after: int, depth: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(*(Wide(before, kernel) for _ in range(depth)), conv_norm(before, after))


def fuse(width: int) -> nn.Sequential:
    """A skip and what comes from below, each convolved for itself, then mixed: (N, 2 width, ..) to (N, width, ..)."""
    spread = gelu_norm(2 * width, 2 * width, 3, groups=2)
    return nn.Sequential(spread, gelu_norm(2 * width, 4 * width), gelu_norm(4 * width, width))


class CmuNext(nn.Module):
    def __init__(
        self, channels: int, classes: int, widths: Sequence[int], depths: Sequence[int], kernels: Sequence[int]
    ) -> None:
        super().__init__()
        before = [widths[0], *widths]
        self.stem = conv_norm(channels, widths[0])
        self.encoder = nn.ModuleList(stage(*each) for each in zip(before, widths, depths, kernels, strict=False))
        pairs = list(itertools.pairwise(widths))[::-1]  # (at this level, at the one below it)
        self.ups = nn.ModuleList(conv_norm(below, here) for here, below in pairs)
        self.fuse = nn.ModuleList(fuse(here) for here, _ in pairs)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W)
        x, skips = self.stem(x), []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)  # (N, widths[level], H / 2^level, ..)
            skips.append(x)
        skips.pop()
        for up, fuse_ in zip(self.ups, self.fuse, strict=True):
            skip = skips.pop()
            x = fuse_(torch.cat([skip, up(enlarged(x, skip))], dim=1))
        return self.head(x)  # (N, classes, H, W)
