"""A vision transformer on the deepest map of a U-Net; imported when a network is built, since it loads torch."""

from __future__ import annotations

from itertools import pairwise, zip_longest

import torch
from timm.layers import resample_abs_pos_embed
from timm.models import VisionTransformer
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torch.nn import functional

from ._blocks import conv_norm, conv_relu, double_conv, twice

MIDDLE = 512
DECODER = {"r50": (256, 128, 64, 16), "conv": (256, 128, 64)}
SKIPS = {"r50": (512, 256, 64, 0), "conv": (256, 128, 64)}
"""Channels out of each block of the decoder, and of the skip that it takes up, from the deepest."""


class Convolutions(nn.Module):
    """Two convolutions per level, not normalised: (N, channels, H, W) to four maps, the last (N, 512, H / 8, ..).

    Attributes:
        num_features: Channels of the last map, where timm looks for them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, 64, 128, 256, 512)
        self.levels = nn.ModuleList(twice(conv_relu, before, after) for before, after in pairwise(widths))
        self.num_features = widths[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map of each level."""
        maps: list[Tensor] = []
        for number, level in enumerate(self.levels):
            x = level(functional.max_pool2d(x, 2) if number else x)
            maps.append(x)
        return maps


def residual_maps(backbone: ResNetV2, x: Tensor) -> list[Tensor]:
    """What a hybrid's ResNet makes of images (N, channels, H, W): 64 channels at H / 2, to 1024 at H / 16."""
    *convolved, pool = backbone.stem
    for layer in convolved:
        x = layer(x)
    maps = [x]
    x = pool(x)
    for stage in backbone.stages:
        x = stage(x)
        maps.append(x)
    return maps


class TransUNet(nn.Module):
    """TransUNet: (N, channels, H, W) to (N, classes, H, W).

    Args:
        encoder: A vision transformer without a class token, on the maps of its backbone.
        backbone: Which backbone that is: r50 or conv.
        classes: How many are told apart.
    """

    def __init__(self, encoder: VisionTransformer, backbone: str, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        widths = (MIDDLE, *DECODER[backbone])
        self.middle = conv_norm(encoder.embed_dim, MIDDLE)
        self.decoder = nn.ModuleList(
            double_conv(before + skip, after)
            for before, skip, after in zip(widths, SKIPS[backbone], widths[1:], strict=False)
        )
        self.head = nn.Conv2d(widths[-1], classes, kernel_size=3, padding=1)

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps of the backbone, and in the place of the deepest what the transformer makes of it."""
        backbone = self.encoder.patch_embed.backbone
        *skips, x = residual_maps(backbone, images) if isinstance(backbone, ResNetV2) else backbone(images)
        return [*skips, self.attend(x)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        *skips, x = self.features(images)
        x = self.middle(x)  # (N, 512, H / 16, ..), or H / 8 for conv
        for block, skip in zip_longest(self.decoder, reversed(skips)):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = block(x if skip is None else torch.cat([x, skip], dim=1))
        return self.head(x)

    def attend(self, x: Tensor) -> Tensor:
        """The transformer on a map (N, C, h, w), each position a token: (N, width, h, w).

        Position embeddings are interpolated to the size of the map, where that is not the one they were made for.
        """
        encoder, size = self.encoder, x.shape[-2:]
        tokens = encoder.patch_embed.proj(x).flatten(2).mT  # (N, h w, width)
        where = resample_abs_pos_embed(encoder.pos_embed, list(size), num_prefix_tokens=0)
        tokens = encoder.norm(encoder.blocks(encoder.pos_drop(tokens + where)))
        return tokens.mT.unflatten(2, size)
