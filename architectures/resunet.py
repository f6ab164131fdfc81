"""ResUNet: a U-Net of residual blocks that normalise and activate before they convolve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 64) -> nn.Module:
    """Residual U-Net of five levels with `width` channels at full resolution.

    Differs from the paper, as the seed's network does: two blocks in each level, there one; beside each of them a 3x3
    convolution, there nothing; images are normalised and activated before the first convolution, too, there not;
    five levels, there four; maxima halve the size, there strides; transposed convolutions double it, there
    interpolation.
    """
    from torch import nn

    from ._blocks import Sum
    from ._unet import early

    def layer(before: int, after: int) -> nn.Module:
        steps: list[nn.Module] = []
        for given in (before, after):
            steps += [nn.BatchNorm2d(given), nn.ReLU(inplace=True), nn.Conv2d(given, after, kernel_size=3, padding=1)]
        return Sum(nn.Sequential(*steps), nn.Conv2d(before, after, kernel_size=3, padding=1))

    return early(channels, classes, width, layer)


SPEC = ArchitectureSpec(
    title="ResUNet (48hour)",
    family="encoder-decoder",
    citation="Zhang, Liu, Wang 2018, arXiv:1711.10684",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 64},
)
