"""UPerNet: pyramid pooling on top of a feature pyramid, all levels fused at the finest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, encoder: str = "resnet34", weights: str = "none", decoder: int = 256, frozen: int = 0
) -> nn.Module:
    """UPerNet with any encoder; `decoder` channels per level."""
    return _build(
        "upernet",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="UPerNet",
    family="feature pyramid",
    citation="Xiao et al. 2018, doi:10.1007/978-3-030-01228-1_26",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
