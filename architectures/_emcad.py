"""The decoder of EMCAD; imported when a network is built, since it loads torch."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from ._blocks import conv_norm, supervised
from ._gates import Gate
from ._initial import start


class Attention(nn.Module):
    """What a channel counts, by its mean and its maximum: (N, C, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // min(16, width)
        self.squeeze, self.expand = (nn.Conv2d(*pair, 1, bias=False) for pair in ((width, narrow), (narrow, width)))

    def forward(self, x: Tensor) -> Tensor:
        seen = (x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True))
        return x * sum(self.expand(self.squeeze(one).relu()) for one in seen).sigmoid()


class Scales(nn.Module):
    """Depthwise convolutions of 1, 3 and 5 pixels side by side, added up, between 1x1 ones; a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.before = conv_norm(width, wide, 1, activation=nn.ReLU6)
        self.scales = nn.ModuleList(
            conv_norm(wide, wide, kernel, groups=wide, activation=nn.ReLU6) for kernel in (1, 3, 5)
        )
        self.after = conv_norm(wide, width, 1, activation=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.before(x)
        wide = torch.stack([scale(wide) for scale in self.scales]).sum(dim=0)
        wide = wide.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)  # shuffled: the even channels first
        return x + self.after(wide)


def gate(width: int) -> Gate:
    """The part of a skip that the decoder asks for; convolutions in groups of two channels."""
    half = width // 2
    asking, asked = (conv_norm(width, half, groups=half, activation=nn.Identity) for _ in range(2))
    return Gate(asking, asked, conv_norm(half, 1, 1, activation=nn.Identity))


class Up(nn.Module):
    """Twice the size by repetition, a depthwise convolution, then a 1x1 one to another width."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.smooth, self.mix = conv_norm(before, before, groups=before), nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.smooth(nn.functional.interpolate(x, scale_factor=2, mode="nearest")))


class Emcad(nn.Module):
    def __init__(self, encoder: Any, classes: int, deep: bool) -> None:
        super().__init__()
        self.encoder = encoder
        widths = encoder.out_channels[:-5:-1]  # of H / 32, H / 16, H / 8, H / 4
        self.attention = nn.ModuleList(Attention(width) for width in widths)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)  # one for all levels
        self.scales = nn.ModuleList(Scales(width) for width in widths)
        self.ups = nn.ModuleList(Up(*pair) for pair in itertools.pairwise(widths))
        self.gates = nn.ModuleList(gate(width) for width in widths[1:])
        for part in (self.attention, self.place, self.scales, self.ups, self.gates):
            start(part, functools.partial(nn.init.normal_, std=0.02))
        predicting = widths[::-1] if deep else widths[-1:]  # the finest first
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in predicting)

    def attend(self, x: Tensor, level: int) -> Tensor:
        x = self.attention[level](x)
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return self.scales[level](x * self.place(seen).sigmoid())

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # (N, channels, H, W)
        *skips, x = self.encoder(images)[-4:]
        levels = [self.attend(x, 0)]  # (N, widths[0], H / 32, W / 32)
        for level, (up, passed) in enumerate(zip(self.ups, self.gates, strict=True), start=1):
            x = up(levels[-1])
            levels.append(self.attend(x + passed(x, skips.pop()), level))
        return supervised(self.heads, reversed(levels), images)  # (N, classes, H, W), once or more
