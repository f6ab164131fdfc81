"""U-Net: an encoder, and a decoder that takes up the encoder's features at every scale."""

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
    """U-Net with any encoder; `decoder` is the width of its deepest decoder level."""
    return _build(
        "unet",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=pyramid(decoder),
    )


SPEC = ArchitectureSpec(
    title="U-Net",
    family="encoder-decoder",
    citation="Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
