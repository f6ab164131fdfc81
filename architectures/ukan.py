"""U-KAN: a small U-Net whose deepest levels are Kolmogorov-Arnold layers, with a spline on every connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn

VARIANTS = {"tiny": (64, 48, 64), "base": (128, 160, 256), "large": (256, 320, 512)}
"""Channels at H / 8, H / 16 and H / 32; tiny is ours, to try things out."""


def build(channels: int, classes: int, variant: str = "base") -> nn.Module:
    """U-KAN with splines of third order on five intervals between -1 and 1, as published.

    Differs from the paper's code: splines are written as the cardinal B-spline, which on even knots is what the
    recursion over orders gives; their coefficients are drawn themselves, where it fits them to noise; ReLU stands
    once, where it is repeated after pooling and after interpolation; convolutions before a normalisation have no bias.
    """
    if variant not in VARIANTS:
        raise NameUnknown(f"ukan has no variant={variant}. There are: {', '.join(VARIANTS)}.")
    from ._ukan import UKan

    return UKan(channels, classes, VARIANTS[variant])


SPEC = ArchitectureSpec(
    title="U-KAN",
    family="encoder-decoder",
    citation="Li et al. 2025, doi:10.1609/aaai.v39i5.32491, arXiv:2406.02918",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=32,
    options={"variant": "base"},
)
