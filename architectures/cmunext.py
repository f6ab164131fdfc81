"""CMUNeXt: a light U-Net of large depthwise kernels, whose skips are fused in two groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn

VARIANTS = {
    "small": ((8, 16, 32, 64, 128), (1, 1, 1, 1, 1), (3, 3, 7, 7, 9)),
    "base": ((16, 32, 128, 160, 256), (1, 1, 1, 3, 1), (3, 3, 7, 7, 7)),
    "large": ((32, 64, 128, 256, 512), (1, 1, 1, 6, 3), (3, 3, 7, 7, 7)),
}
"""Channels, repetitions and edges of kernels, from full resolution down to a 16th of it."""


def build(channels: int, classes: int, variant: str = "base") -> nn.Module:
    """CMUNeXt, CMUNeXt-S or CMUNeXt-L.

    Differs from the paper's code: 3x3 convolutions directly before a normalisation have no bias.
    """
    if variant not in VARIANTS:
        raise NameUnknown(f"cmunext has no variant={variant}. There are: {', '.join(VARIANTS)}.")
    from ._cmunext import CmuNext

    return CmuNext(channels, classes, *VARIANTS[variant])


SPEC = ArchitectureSpec(
    title="CMUNeXt",
    family="encoder-decoder",
    citation="Tang et al. 2024, doi:10.1109/ISBI56570.2024.10635609, arXiv:2308.01239",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"variant": "base"},
)
