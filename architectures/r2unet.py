"""R2U-Net: a U-Net of layers that run again and again on what they gave, and are added to their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 64, steps: int = 2) -> nn.Module:
    """Recurrent residual U-Net of five levels, `width` channels at full resolution; a layer runs 1 + `steps` times.

    Differs from the paper, as the common implementation does: one convolution for the input and for what was last
    given, there one for each; batch normalisation. Differs from that: each run of a layer is normalised by running
    statistics of its own. There all share one, which fits none of them: it is trained well, and evaluated badly.
    """
    if width < 1 or steps < 1:
        raise NameUnknown(f"r2unet cannot be built: width={width} and steps={steps} must be at least 1.")
    from ._r2unet import r2unet

    return r2unet(channels, classes, [width * 2**level for level in range(5)], steps)


SPEC = ArchitectureSpec(
    title="R2U-Net",
    family="encoder-decoder",
    citation="Alom et al. 2018, arXiv:1802.06955",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 64, "steps": 2},
)
