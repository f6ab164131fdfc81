"""How convolutions start, as the networks of Keras and TensorFlow do; imported when a network is built, for torch."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

Draw = Callable[[Tensor], Tensor]
"""Fills a weight of a convolution, in place."""
TRUNCATED = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is cut off at -2 and 2."""

glorot_uniform: Draw = nn.init.xavier_uniform_


def he_normal(weight: Tensor) -> Tensor:
    """Truncated normal of variance 2 / (inputs of an output)."""
    return _truncated(weight, 2 / _fans(weight)[0])


def glorot_normal(weight: Tensor) -> Tensor:
    """Truncated normal of variance 2 / (inputs of an output + outputs of an input)."""
    return _truncated(weight, 2 / sum(_fans(weight)))


def start(module: nn.Module, draw: Draw) -> None:
    """Draw the weights of every convolution in a module, and set their biases to zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _truncated(weight: Tensor, variance: float) -> Tensor:
    """The variance is that after the tails beyond two deviations are cut off."""
    deviation = math.sqrt(variance) / TRUNCATED
    return nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def _fans(weight: Tensor) -> tuple[int, int]:
    """Inputs of an output, and outputs of an input, of a convolution that is not transposed."""
    pixels = weight[0, 0].numel()
    return weight.shape[1] * pixels, weight.shape[0] * pixels
