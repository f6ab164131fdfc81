"""Attention R2U-Net: the recurrent residual layers of R2U-Net with the gates of Attention U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 64, steps: int = 2) -> nn.Module:
    """R2U-Net with a gate in each way across; it has no paper of its own, but that of the Blood-Cell data compares it.

    Differs from both papers as `r2unet` and `attention_unet` do.
    """
    if width < 1 or steps < 1:
        raise NameUnknown(f"attention_r2unet cannot be built: width={width} and steps={steps} must be at least 1.")
    from ._gates import gate
    from ._r2unet import r2unet

    return r2unet(channels, classes, [width * 2**level for level in range(5)], steps, across=gate)


SPEC = ArchitectureSpec(
    title="Attention R2U-Net",
    family="encoder-decoder",
    citation="Alom et al. 2018, arXiv:1802.06955; Oktay et al. 2018, arXiv:1804.03999; compared by Depto et al. 2021, "
    "doi:10.1016/j.tice.2021.101653",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 64, "steps": 2},
)
