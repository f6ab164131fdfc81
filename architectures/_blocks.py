"""Blocks that several families are made of; imported when a network is built, since it loads torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from bench.specs import MEAN, STD

Layer = Callable[[int, int], nn.Module]
"""`layer(before, after)`: (N, before, H, W) to (N, after, H, W)."""
relu = functools.partial(nn.ReLU, inplace=True)
"""An activation that takes the place of what it is given, which saves memory."""


def conv_norm(
    before: int,
    after: int,
    kernel: int = 3,
    *,
    bias: bool = False,
    dilation: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] = relu,
) -> nn.Sequential:
    """Convolution, batch normalisation, activation: (N, before, H, W) to (N, after, H, W).

    A `bias` changes nothing, since the normalisation subtracts it again: it is there where it was published.
    """
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(before, after, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(after), activation())


def conv_bn_relu(before: int, after: int, *, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution with a bias, batch normalisation, ReLU: (N, before, H, W) to (N, after, H, W)."""
    return conv_norm(before, after, bias=True, dilation=dilation)


def conv_relu(before: int, after: int) -> nn.Sequential:
    """3x3 convolution with a bias, ReLU: (N, before, H, W) to (N, after, H, W)."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), relu())


def twice(layer: Layer, before: int, after: int) -> nn.Sequential:
    """A layer, and another one behind it: (N, before, H, W) to (N, after, H, W)."""
    return nn.Sequential(layer(before, after), layer(after, after))


def double_conv(before: int, after: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch normalisation, ReLU: (N, before, H, W) to (N, after, H, W)."""
    return nn.Sequential(*conv_norm(before, after), *conv_norm(after, after))


class Sum(nn.Module):
    """Two ways of the same input, added; the first must leave that input as it is."""

    def __init__(self, main: nn.Module, beside: nn.Module) -> None:
        super().__init__()
        self.main, self.beside = main, beside

    def forward(self, x: Tensor) -> Tensor:
        """The sum, without an activation after it."""
        return self.main(x) + self.beside(x)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Features (N, C, h, w) at the height and width of others, interpolated; themselves where they have it."""
    size = like.shape[-2:]
    return x if x.shape[-2:] == size else nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def supervised(heads: nn.ModuleList, features: Iterable[Tensor], like: Tensor) -> Tensor | tuple[Tensor, ...]:
    """What a network gives that may be supervised at several depths: logits, each at the size of an image.

    Args:
        heads: Of the features of one depth each, the one that predicts first; in evaluation it is asked alone.
        features: At least as many, in the same order.
        like: The image.
    """
    asked = heads if heads.training else heads[:1]
    found = tuple(enlarged(head(x), like) for head, x in zip(asked, features, strict=False))
    return found if len(found) > 1 else found[0]


class Renormalise(nn.Module):
    """Images (N, channels, H, W) normalised by MEAN and STD to ones normalised by other moments; nothing is trained.

    Grey images, of one channel, are normalised by the means of the moments over the three colours. The numbers are
    part of the state, so that a file of weights says what its network was given.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        old_mean, old_std, mean, std = (
            values if channels == 3 else values.mean(dim=0, keepdim=True)
            for values in (torch.tensor(moment, dtype=torch.float64) for moment in (MEAN, STD, mean, std))
        )
        self.register_buffer("scale", (old_std / std).float().view(1, -1, 1, 1))
        self.register_buffer("shift", ((old_mean - mean) / std).float().view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The same pictures, normalised anew."""
        return images * self.scale + self.shift
