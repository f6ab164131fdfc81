"""The decoder of TernausNet around a VGG; imported when a network is built, since it loads torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._blocks import conv_relu

Up = Callable[[int, int, int], nn.Module]
"""`up(before, between, after)`: (N, before, H, W) to (N, after, 2 H, 2 W)."""
WIDTH = 32


class TernausNet(nn.Module):
    """Five levels up from the pooled features of a VGG; (N, channels, H, W) to (N, classes, H, W).

    Args:
        encoder: Gives conv1 to conv5, at H to H / 16, and the pooled conv5, at H / 32.
        up: The block that doubles the size.
        middle: Channels out of the block that takes up conv4; all others are as published for both networks.
        classes: How many are told apart.
    """

    def __init__(self, encoder: nn.Module, up: Up, middle: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.centre = up(512, 16 * WIDTH, 8 * WIDTH)
        self.decoder = nn.ModuleList(
            [
                up(512 + 8 * WIDTH, 16 * WIDTH, 8 * WIDTH),
                up(512 + 8 * WIDTH, 16 * WIDTH, middle),
                up(256 + middle, 8 * WIDTH, 2 * WIDTH),
                up(128 + 2 * WIDTH, 4 * WIDTH, WIDTH),
                conv_relu(64 + WIDTH, WIDTH),
            ]
        )
        self.head = nn.Conv2d(WIDTH, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        *skips, deepest = self.encoder(x)  # (N, 64, H, W) to (N, 512, H / 16, ..), and (N, 512, H / 32, ..)
        x = self.centre(deepest)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([x, skip], dim=1))
        return self.head(x)


def transposed(before: int, between: int, after: int) -> nn.Sequential:
    """3x3 convolution, then a transposed one that doubles the size, each with ReLU."""
    up = nn.ConvTranspose2d(between, after, kernel_size=3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(conv_relu(before, between), up, nn.ReLU(inplace=True))


def interpolated(before: int, between: int, after: int) -> nn.Sequential:
    """Bilinear doubling of the size, then two 3x3 convolutions, each with ReLU."""
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(up, conv_relu(before, between), conv_relu(between, after))
