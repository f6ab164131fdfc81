"""The shape of a U-Net around any blocks; imported when a network is built, since it loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._blocks import Layer, conv_bn_relu, supervised, twice

Block = Callable[[int, int, int], nn.Module]
"""`block(before, after, level)`: (N, before, H, W) to (N, after, H, W); level 0 has the size of the image."""


class UNet(nn.Module):
    """Down by the maxima of 2 x 2 pixels, up again beside what was there: (N, channels, H, W) to (N, classes, H, W).

    Any size will do: where an edge is odd, its last pixels are pooled alone, and what is doubled is cut to size.

    Args:
        encoder: A block for each level, from the full resolution down.
        ups: What doubles the size, for each level but the deepest, from there up.
        decoder: The block behind each of them, which is given what came up and what comes across.
        heads: Features at full resolution to logits; in training those of coarser levels, one after another, as well.
        across: What features go through on their way from the encoder to the decoder, for each of its blocks, as
            `across(up, skip)`, since it may look at what comes up; where there is none, they come as they are.
    """

    def __init__(
        self,
        encoder: Iterable[nn.Module],
        ups: Iterable[nn.Module],
        decoder: Iterable[nn.Module],
        heads: Iterable[nn.Module],
        across: Iterable[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.encoder, self.ups, self.decoder = nn.ModuleList(encoder), nn.ModuleList(ups), nn.ModuleList(decoder)
        self.heads, self.across = nn.ModuleList(heads), nn.ModuleList(across)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits, in training of every head."""
        x, skips = images, list[Tensor]()
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2, ceil_mode=True) if level else x)  # (N, .., H / 2^level, ..)
            skips.append(x)
        found = [skips.pop()]
        for up, across, block in zip(self.ups, self.across or repeat(None), self.decoder, strict=False):
            skip = skips.pop()
            x = up(found[-1])[..., : skip.shape[-2], : skip.shape[-1]]
            found.append(block(torch.cat([x, skip if across is None else across(x, skip)], dim=1)))
        return supervised(self.heads, reversed(found), images)


def transposed(before: int, after: int) -> nn.ConvTranspose2d:
    """Doubles the size: (N, before, H, W) to (N, after, 2 H, 2 W)."""
    return nn.ConvTranspose2d(before, after, kernel_size=2, stride=2)


def doubled(before: int, after: int) -> nn.Sequential:
    """Pixels doubled, then a layer: (N, before, H, W) to (N, after, 2 H, 2 W)."""
    return nn.Sequential(nn.Upsample(scale_factor=2), conv_bn_relu(before, after))


def unet(
    channels: int,
    classes: int,
    widths: Sequence[int],
    block: Block,
    up: Layer = transposed,
    across: Callable[[int], nn.Module] | None = None,
    *,
    deep: bool = False,
) -> UNet:
    """A U-Net with the same kind of block in every level, and `widths` channels, from the full resolution down.

    What stands `across` is made for each width. If it is `deep`, every level of the decoder predicts while it trains.
    """
    levels = list(enumerate(widths[:-1]))[::-1]
    return UNet(
        encoder=(block(*pair, level) for level, pair in enumerate(pairwise([channels, *widths]))),
        ups=(up(widths[level + 1], width) for level, width in levels),
        decoder=(block(2 * width, width, level) for level, width in levels),
        heads=(nn.Conv2d(count, classes, kernel_size=1) for count in (widths[:-1] if deep else widths[:1])),
        across=(across(width) for _, width in levels) if across else (),
    )


def early(channels: int, classes: int, width: int, layer: Layer) -> UNet:
    """A U-Net of five levels, two layers in each, that narrows a level early: before it goes up, not after.

    So there is one layer of 16 `width` channels at the bottom, and one that leads back to 8 `width`.
    """
    widths = [width * 2**level for level in range(5)]
    *down, bottom = pairwise([channels, *widths])
    up = [(wide, max(wide // 2, width)) for wide in reversed(widths[:-1])]
    return UNet(
        encoder=[
            *(twice(layer, *pair) for pair in down),
            nn.Sequential(layer(*bottom), layer(*reversed(bottom))),
        ],
        ups=(transposed(wide, wide) for wide, _ in up),
        decoder=(nn.Sequential(layer(2 * wide, wide), layer(wide, narrow)) for wide, narrow in up),
        heads=[nn.Conv2d(width, classes, kernel_size=1)],
    )
