"""Classic U-Net: transposed convolutions and 64 to 1,024 channels, as in the paper, with batch normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 64) -> nn.Module:
    """U-Net of five levels with `width` channels at full resolution.

    Differs from the paper, as the seed's network does: padded convolutions, batch normalisation, and channels that are
    halved before the size is doubled, so that there is one convolution at the bottom on each side.
    """
    from ._blocks import conv_bn_relu
    from ._unet import early

    return early(channels, classes, width, layer=conv_bn_relu)


SPEC = ArchitectureSpec(
    title="Classic U-Net (48hour)",
    family="encoder-decoder",
    citation="Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 64},
)
