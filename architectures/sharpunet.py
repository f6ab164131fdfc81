"""Sharp U-Net: what goes from the encoder to the decoder is sharpened by a fixed kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(channels: int, classes: int, width: int = 32) -> nn.Module:
    """Sharp U-Net of five levels with `width` channels at full resolution.

    Differs from the seed's network, whose decoder drops what its convolutions give, but for those of the last level:
    here, as in the paper, each level is fed by the one below it.
    """
    import torch
    from torch import nn

    from ._blocks import conv_relu, twice
    from ._initial import glorot_uniform, start
    from ._unet import unet

    class Sharpen(nn.Module):
        """Eight times each pixel less its neighbours, in each channel: nothing is left where all are alike."""

        kernel: Tensor

        def __init__(self) -> None:
            super().__init__()
            kernel = torch.full((1, 1, 3, 3), -1.0)
            kernel[..., 1, 1] = 8.0
            self.register_buffer("kernel", kernel, persistent=False)

        def forward(self, up: Tensor, skip: Tensor) -> Tensor:  # (N, C, H, W)
            count = skip.shape[1]
            kernel = self.kernel.expand(count, 1, 3, 3)
            return nn.functional.conv2d(skip, kernel, padding=1, groups=count)  # (N, C, H, W)

    def block(before: int, after: int, level: int) -> nn.Module:
        return twice(conv_relu, before, after)

    network = unet(channels, classes, [width * 2**level for level in range(5)], block, across=lambda count: Sharpen())
    start(network, glorot_uniform)
    return network


SPEC = ArchitectureSpec(
    title="Sharp U-Net",
    family="encoder-decoder",
    citation="Zunair and Ben Hamza 2021, arXiv:2107.12461",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 32},
)
