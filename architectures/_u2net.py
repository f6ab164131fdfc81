"""The small U-Nets that U2-Net is made of; imported when a network is built, since it loads torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._blocks import conv_bn_relu, enlarged


class ResidualU(nn.Module):
    """RSU: a U-Net of a few levels, added to the features that it starts from; (N, before, H, W) to (N, after, H, W).

    Args:
        levels: The sizes it works at, H to H / 2^(levels - 2), and the last of them once more, dilated.
        middle: Channels inside.
        dilated: RSU-4F: it keeps the size, and dilates twice as far at each level.
    """

    def __init__(self, levels: int, before: int, middle: int, after: int, *, dilated: bool = False) -> None:
        super().__init__()
        steps = [2**level if dilated else 1 for level in range(levels - 1)]
        self.dilated = dilated
        self.first = conv_bn_relu(before, after)
        self.down = nn.ModuleList(
            conv_bn_relu(middle if level else after, middle, dilation=step) for level, step in enumerate(steps)
        )
        self.deepest = conv_bn_relu(middle, middle, dilation=2 ** (levels - 1) if dilated else 2)
        self.back = nn.ModuleList(
            conv_bn_relu(2 * middle, middle if level else after, dilation=steps[level])
            for level in reversed(range(levels - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sum, whose summands both end with a ReLU."""
        start = x = self.first(x)  # (N, after, H, W)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level and not self.dilated:
                x = nn.functional.max_pool2d(x, 2, ceil_mode=True)
            x = block(x)  # (N, middle, H / 2^level, ..)
            skips.append(x)
        x = self.deepest(x)
        for block, skip in zip(self.back, reversed(skips), strict=True):
            x = block(torch.cat([enlarged(x, skip), skip], dim=1))
        return start + x
