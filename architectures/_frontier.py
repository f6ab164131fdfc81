"""Blocks of the networks of 2024 and later; imported when a network is built, since it loads torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_norm(
    before: int, after: int, kernel: int = 3, *, groups: int = 1, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Convolution, batch normalisation, activation: (N, before, H, W) to (N, after, H, W).

    The convolution has no bias, which the normalisation would subtract again.
    """
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), activation())


def enlarged(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear interpolation: (N, C, H, W) to (N, C, factor H, factor W)."""
    return nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def supervised(x: Tensor, deeper: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """The prediction, first, and those of deeper levels enlarged to its size; alone where there are none."""
    if not deeper:
        return x
    return (x, *(enlarged(one, x.shape[-1] // one.shape[-1]) for one in deeper))


def centred(module: nn.Module, deviation: float = 0.02) -> None:
    """Draw the weights of all convolutions from a normal distribution around zero; biases start at zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=deviation)
            if layer.bias is not None:
                torch.nn.init.zeros_(layer.bias)
