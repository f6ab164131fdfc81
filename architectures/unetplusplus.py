"""U-Net++: a U-Net whose skip connections are small networks of their own, each fed by all below it."""

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
    """U-Net++ with any encoder but mit_*; `decoder` is the width of its deepest decoder level."""
    return _build(
        "unetplusplus",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=pyramid(decoder),
    )


SPEC = ArchitectureSpec(
    title="U-Net++",
    family="encoder-decoder",
    citation="Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
