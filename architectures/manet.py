"""MA-Net: a U-Net with attention over positions at its deepest level and over channels in its decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN, pyramid
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, encoder: str = "resnet34", weights: str = "none", decoder: int = 256, frozen: int = 0
) -> nn.Module:
    """MA-Net with any encoder; `decoder` is the width of its deepest decoder level."""
    return _build(
        "manet",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=pyramid(decoder),
    )


SPEC = ArchitectureSpec(
    title="MA-Net",
    family="attention",
    citation="Fan et al. 2020, doi:10.1109/ACCESS.2020.3025372",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
