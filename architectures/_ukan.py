"""U-KAN and its Kolmogorov-Arnold layers; imported when a network is built, since it loads torch."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._blocks import conv_norm, double_conv, enlarged

INTERVALS, SPREAD = 5, 0.1


class Kan(nn.Module):
    """Every connection a function of its own, SiLU and a spline: (.., C) to (.., C)."""

    centres: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.step = 2 / INTERVALS
        centres = -1 + self.step * torch.arange(-1, INTERVALS + 2)  # of each B-spline, four intervals wide
        self.register_buffer("centres", centres, persistent=False)
        self.plain, self.scale = (nn.Parameter(torch.empty(width, width)) for _ in range(2))
        self.spline = nn.Parameter(torch.empty(width, width, len(centres)))
        for weight in (self.plain, self.scale):
            nn.init.uniform_(weight, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.spline, -SPREAD / INTERVALS / 2, SPREAD / INTERVALS / 2)

    def basis(self, x: Tensor) -> Tensor:
        """The values of the B-splines: (.., C) to (.., C, 8)."""
        away = ((x.unsqueeze(-1) - self.centres) / self.step).abs()
        return ((2 - away).relu() ** 3 - 4 * (1 - away).relu() ** 3) / 6

    def forward(self, x: Tensor) -> Tensor:
        splines = (self.spline * self.scale.unsqueeze(-1)).flatten(1)  # (C, 8 C)
        return functional.linear(functional.silu(x), self.plain) + functional.linear(self.basis(x).flatten(-2), splines)


class Tokens(nn.Module):
    """Three times a Kolmogorov-Arnold layer at each pixel, then a depthwise convolution; a residual, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(Kan(width) for _ in range(3))
        self.spread = nn.ModuleList(conv_norm(width, width, groups=width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        y = self.before(x.movedim(1, -1))
        for layer, spread in zip(self.layers, self.spread, strict=True):
            y = spread(layer(y).movedim(-1, 1)).movedim(1, -1)  # (N, H, W, C)
        return self.after(x.movedim(1, -1) + y).movedim(-1, 1)


class Embed(nn.Module):
    """Half the size, by a convolution that strides, and a normalisation of each pixel."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)


class UKan(nn.Module):
    def __init__(self, channels: int, classes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        shallow = [a // 8, a // 4, a]
        self.encoder = nn.ModuleList(
            double_conv(before, after) for before, after in itertools.pairwise([channels, *shallow])
        )
        self.embed = nn.ModuleList([Embed(a, b), Embed(b, c)])
        self.tokens = nn.ModuleList([Tokens(b), Tokens(c)])
        ups = [(c, b), (b, a), (a, a // 4), (a // 4, a // 8), (a // 8, a // 8)]
        self.ups = nn.ModuleList(
            nn.Sequential(conv_norm(before, before), conv_norm(before, after)) for before, after in ups
        )
        self.mixed = nn.ModuleList([Tokens(b), Tokens(a)])  # of the decoder
        self.head = nn.Conv2d(a // 8, classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:  # (N, channels, H, W)
        x, skips = images, list[Tensor]()
        for block in self.encoder:
            x = functional.max_pool2d(block(x), 2)  # at H / 2, H / 4, H / 8
            skips.append(x)
        for embed, tokens in zip(self.embed, self.tokens, strict=True):
            x = tokens(embed(x))  # at H / 16, H / 32
            skips.append(x)
        skips.pop()
        for level, up in enumerate(self.ups):
            x = enlarged(up(x), skips[-1] if skips else images)
            x = x + skips.pop() if skips else x
            x = self.mixed[level](x) if level < len(self.mixed) else x
        return self.head(x)  # (N, classes, H, W)
