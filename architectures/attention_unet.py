"""Attention U-Net: gates in the ways across, which the features from below open and close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, width: int = 64, levels: int = 5, gate: str = "pixel", deep: bool = False
) -> nn.Module:
    """U-Net of `levels` levels with gates, and `width` channels at full resolution.

    A gate lets one share of all channels of a pixel pass (`gate=pixel`), as in the paper, or has a share for each
    channel of it (`gate=channel`), as in three of the seeds. With `deep`, every level of the decoder predicts while it
    trains.

    Differs from the paper, as the common implementation does: features from below are doubled in size, by a layer of
    their own, before they reach a gate, there the others halved; the finest level has a gate, too. Differs from one
    seed's network, whose forward cannot run: this is what it meant, but for transposed convolutions. Differs from that
    of two others: they interpolate on the way up, without a layer, and drop elements.
    """
    reasons = {
        f"width={width} must be at least 1, and levels={levels} at least 2": width < 1 or levels < 2,
        f"there is no gate={gate}, but pixel, channel": gate not in ("pixel", "channel"),
    }
    for reason, wrong in reasons.items():
        if wrong:
            raise NameUnknown(f"attention_unet cannot be built: {reason}.")
    from . import _gates
    from ._blocks import conv_bn_relu, twice
    from ._unet import doubled, unet

    def block(before: int, after: int, level: int) -> nn.Module:
        return twice(conv_bn_relu, before, after)

    widths = [width * 2**level for level in range(levels)]
    return unet(
        channels, classes, widths, block, up=doubled, across=lambda count: _gates.gate(count, each=gate), deep=deep
    )


SPEC = ArchitectureSpec(
    title="Attention U-Net",
    family="encoder-decoder",
    citation="Oktay et al. 2018, arXiv:1804.03999",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 64, "levels": 5, "gate": "pixel", "deep": False},
)
