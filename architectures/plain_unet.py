"""Plain U-Net: double convolutions and nothing borrowed; narrow ones train fast from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(channels: int, classes: int, width: int = 32, levels: int = 5) -> nn.Module:
    """U-Net with `width` channels at full resolution, doubled at each of the other `levels`.

    Differs from the paper: padded convolutions, batch normalisation, bilinear upsampling.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from ._blocks import double_conv, enlarged

    class PlainUNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width * 2**level for level in range(levels)]
            self.encoder = nn.ModuleList(
                double_conv(before, after) for before, after in zip([channels, *widths], widths, strict=False)
            )
            self.decoder = nn.ModuleList(
                double_conv(widths[level] + widths[level + 1], widths[level]) for level in reversed(range(levels - 1))
            )
            self.head = nn.Conv2d(width, classes, kernel_size=1)

        def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W)
            skips: list[Tensor] = []
            for level, block in enumerate(self.encoder):
                x = block(functional.max_pool2d(x, 2) if level else x)  # (N, width 2^level, H / 2^level, ..)
                skips.append(x)
            skips.pop()
            for block in self.decoder:
                skip = skips.pop()
                x = block(torch.cat([skip, enlarged(x, skip)], dim=1))
            return self.head(x)  # (N, classes, H, W)

    return PlainUNet()


SPEC = ArchitectureSpec(
    title="Plain U-Net",
    family="encoder-decoder",
    citation="Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 32, "levels": 5},
)
