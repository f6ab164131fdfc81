"""Half-width U-Net: transposed convolutions, leaky ReLU, no normalisation, and half the paper's channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 32) -> nn.Module:
    """U-Net of five levels, `width` channels at full resolution; leaky ReLU behind each transposed convolution, too.

    Differs from the paper: half of its 64 channels, padded convolutions, leaky ReLU. Differs from the seed's network:
    images are normalised as for ImageNet, there from -1 to 1.
    """
    from torch import nn

    from ._initial import glorot_normal, start
    from ._unet import transposed, unet

    def active(conv: nn.Module) -> nn.Sequential:
        return nn.Sequential(conv, nn.LeakyReLU(0.1, inplace=True))

    def block(before: int, after: int, level: int) -> nn.Module:
        return nn.Sequential(*(active(nn.Conv2d(given, after, 3, padding=1)) for given in (before, after)))

    widths = [width * 2**level for level in range(5)]
    network = unet(channels, classes, widths, block, up=lambda before, after: active(transposed(before, after)))
    start(network, glorot_normal)
    return network


SPEC = ArchitectureSpec(
    title="Half-width U-Net (abhanjac)",
    family="encoder-decoder",
    citation="abhanjac 2019 (code); Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 32},
)
