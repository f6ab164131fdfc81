"""A Swin transformer, and its way back up; imported when a network is built, since it loads torch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer, WindowAttention
from torch import Tensor, nn
from torchvision.models.swin_transformer import shifted_window_attention


def attend(blocks: nn.Module, x: Tensor) -> Tensor:
    """Swin blocks of timm on a map (N, H, W, C) of any size, every second one with shifted windows.

    Their attention is run by torchvision's function, which fills a map up to whole windows before it is shifted, and
    does not shift one that a single window covers. timm fills up what it has shifted, so that pixels of opposite edges
    see each other where the window does not divide the map, and settles what is shifted when the network is made.
    """
    for number, block in enumerate(blocks.children()):
        x = x + block.drop_path1(windows(block.attn, block.norm1(x), shifted=number % 2 == 1))
        x = x + block.drop_path2(block.mlp(block.norm2(x)))
    return x


def windows(attention: WindowAttention, x: Tensor, *, shifted: bool) -> Tensor:
    """Attention within windows on a map (N, H, W, C); those of a shifted block lie half a window further."""
    window, area = list(attention.window_size), attention.window_area
    bias = attention.relative_position_bias_table[attention.relative_position_index.flatten()]  # (area^2, heads)
    return shifted_window_attention(
        x,
        attention.qkv.weight,
        attention.proj.weight,
        bias.view(1, area, area, -1).permute(0, 3, 1, 2),
        window,
        attention.num_heads,
        [edge // 2 if shifted else 0 for edge in window],
        qkv_bias=attention.qkv.bias,
        proj_bias=attention.proj.bias,
    )


class Expand(nn.Module):
    """Patch expanding: (N, H, W, before) to (N, factor H, factor W, after), normalised."""

    def __init__(self, before: int, after: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expand, self.norm = nn.Linear(before, factor * factor * after, bias=False), nn.LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        """Each position becomes a square of positions, whose features stand row by row in what it is mapped to."""
        x = self.expand(x).unflatten(-1, (self.factor, self.factor, -1))  # (N, H, W, factor, factor, after)
        return self.norm(x.transpose(2, 3).flatten(3, 4).flatten(1, 2))


class Level(nn.Module):
    """One level up: (N, H, W, 2 width) and a skip (N, 2 H, 2 W, width) to (N, 2 H, 2 W, width)."""

    def __init__(self, width: int, blocks: nn.Module) -> None:
        super().__init__()
        self.up, self.fuse, self.blocks = Expand(2 * width, width, 2), nn.Linear(2 * width, width), blocks

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """The two side by side, mixed, and seen by windows."""
        return attend(self.blocks, self.fuse(torch.cat([self.up(x), skip], dim=-1)))


class SwinUnet(nn.Module):
    """Swin-Unet: (N, channels, H, W) to (N, classes, H, W).

    Args:
        encoder: A Swin transformer; the decoder has the same blocks at each level but the deepest.
        classes: How many are told apart.
        after: Whether skips are what the blocks of a level give, rather than what they are given.
    """

    def __init__(self, encoder: SwinTransformer, classes: int, *, after: bool) -> None:
        super().__init__()
        self.encoder, self.after = encoder, after
        width, stages = encoder.embed_dim, self._stages()
        levels = zip((4 * width, 2 * width, width), stages, strict=True)
        self.decoder = nn.ModuleList(Level(wide, copy.deepcopy(stage.blocks)) for wide, stage in levels)
        self.norm, self.up = nn.LayerNorm(width), Expand(width, width, 4)
        self.head = nn.Conv2d(width, classes, kernel_size=1, bias=False)
        self.decoder.apply(_draw)
        self.up.apply(_draw)

    def _stages(self) -> list[Any]:
        """The levels of the encoder that the decoder goes back through."""
        return list(self.encoder.layers)[-2::-1]

    def mirror(self) -> None:
        """Let the blocks of the decoder start from those of the encoder at the same level."""
        for level, stage in zip(self.decoder, self._stages(), strict=True):
            level.get_submodule("blocks").load_state_dict(stage.blocks.state_dict())

    def features(self, images: Tensor) -> list[Tensor]:
        """The skips, (N, H / 4, W / 4, width) to (N, H / 16, W / 16, 4 width), and the deepest map behind them."""
        x, found = self.encoder.patch_embed(images), list[Tensor]()
        for stage in self.encoder.layers:
            given = stage.downsample(x)  # half the size and twice the channels, but for the first
            x = attend(stage.blocks, given)
            found.append(x if self.after else given)
        return [*found[:-1], self.encoder.norm(x)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        *skips, x = self.features(images)
        for level, skip in zip(self.decoder, reversed(skips), strict=True):
            x = level(x, skip)
        x = self.up(self.norm(x))  # (N, H, W, width)
        return self.head(x.permute(0, 3, 1, 2))


def _draw(module: nn.Module) -> None:
    """Random weights as timm draws those of the encoder."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
