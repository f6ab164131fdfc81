"""Xception-like U-Net: separable residual blocks down, transposed ones up, and nothing across."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 32) -> nn.Module:
    """The network of Keras' example of segmentation, which a seed has, too; `width` channels at half the resolution.

    Where a step of two cannot cover an even edge evenly, the pixels that are made up lie behind it, as in Keras. The
    running statistics are torch's, which follow ten times as fast: epochs are shorter here.
    """
    from torch import nn

    from ._blocks import Sum
    from ._initial import glorot_uniform, start

    def separable(before: int, after: int) -> list[nn.Module]:
        each = nn.Conv2d(before, before, kernel_size=3, padding=1, groups=before, bias=False)
        return [each, nn.Conv2d(before, after, kernel_size=1), nn.BatchNorm2d(after, eps=1e-3)]

    def convolved(before: int, after: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(before, after, kernel_size=3, padding=1), nn.BatchNorm2d(after, eps=1e-3)]

    def down(before: int, after: int) -> nn.Module:  # (N, before, H, W) to (N, after, H / 2, W / 2)
        steps = [nn.ReLU(), *separable(before, after), nn.ReLU(inplace=True), *separable(after, after)]
        halved = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        return Sum(nn.Sequential(*steps, halved), nn.Conv2d(before, after, kernel_size=1, stride=2))

    def up(before: int, after: int) -> nn.Module:  # (N, before, H, W) to (N, after, 2 H, 2 W)
        steps = [nn.ReLU(), *convolved(before, after), nn.ReLU(inplace=True), *convolved(after, after)]
        # a sum of doubled pixels is a doubled sum, at a quarter of the work
        return nn.Sequential(
            Sum(nn.Sequential(*steps), nn.Conv2d(before, after, kernel_size=1)), nn.Upsample(scale_factor=2)
        )

    entry = [nn.Conv2d(channels, width, kernel_size=3, stride=2), nn.BatchNorm2d(width, eps=1e-3)]
    widths = [width * 2**level for level in range(4)]  # at H / 2 to H / 16
    network = nn.Sequential(
        *(nn.ZeroPad2d((0, 1, 0, 1)), *entry, nn.ReLU(inplace=True)),
        *(down(before, after) for before, after in itertools.pairwise(widths)),
        *(up(before, after) for before, after in itertools.pairwise([widths[-1], *reversed(widths)])),
        nn.Conv2d(width, classes, kernel_size=3, padding=1),
    )
    start(network, glorot_uniform)
    return network


SPEC = ArchitectureSpec(
    title="Xception-like U-Net (Keras)",
    family="encoder-decoder",
    citation="Chollet 2019 (example of Keras); Chollet 2017, arXiv:1610.02357 (Xception)",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 32},
)
