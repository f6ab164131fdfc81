"""Decoders of features that all have one size, a 16th of the image's; imported when a network is built."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from ._blocks import double_conv
from ._unet import transposed

NARROW, WIDE = 128, (96, 192, 384, 768)
"""Channels that SegDINO fuses, and those it gives to the four features before."""
WIDTH = 16


class Mlp(nn.Module):
    """SegDINO's head: features to one width, side by side, and a layer over them; it does not look at the image."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.align = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, wide, 1), nn.Conv2d(wide, NARROW, 3, padding=1, bias=False)) for wide in WIDE
        )
        self.head = nn.Conv2d(4 * NARROW, classes, kernel_size=1)

    def forward(self, image: Tensor, features: list[Tensor]) -> Tensor:
        """Four features (N, width, H / 16, W / 16) to logits (N, classes, H, W)."""
        aligned = [align(feature) for align, feature in zip(self.align, features, strict=True)]
        logits = self.head(torch.cat(aligned, dim=1))
        return nn.functional.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=True)


class Unetr(nn.Module):
    """UNETR's: the shallower a feature, the larger it becomes before it is a skip; the image is the last one."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        widths = [WIDTH * 2**level for level in range(5)]  # at H, H / 2, .., H / 16
        self.image = double_conv(channels, widths[0])
        self.skips = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, after, 1), *(self.up(after, after) for _ in range(4 - level)))
            for level, after in enumerate(widths[1:], start=1)
        )
        pairs = list(itertools.pairwise(widths))[::-1]  # (at this level, at the one below it)
        self.ups = nn.ModuleList(transposed(below, here) for here, below in pairs)
        self.blocks = nn.ModuleList(double_conv(2 * here, here) for here, _ in pairs)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    @staticmethod
    def up(before: int, after: int) -> nn.Sequential:
        """Twice the size by a transposed convolution, then a double one."""
        return nn.Sequential(transposed(before, after), double_conv(after, after))

    def forward(self, image: Tensor, features: list[Tensor]) -> Tensor:
        """Four features (N, width, H / 16, W / 16), the shallowest first, to logits (N, classes, H, W)."""
        skips = [
            self.image(image),
            *(grow(feature) for grow, feature in zip(self.skips, features, strict=True)),
        ]
        x = skips.pop()
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(x)
