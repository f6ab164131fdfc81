"""PAN: pyramid attention on the deepest features, which then guide what is taken from the earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, encoder: str = "resnet34", weights: str = "none", decoder: int = 32, frozen: int = 0
) -> nn.Module:
    """PAN with any encoder that can be dilated; `decoder` channels throughout."""
    return _build(
        "pan",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="PAN",
    family="attention",
    citation="Li et al. 2018, arXiv:1805.10180",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=128,  # it pools the map at a sixteenth three times more
    options={"encoder": "resnet34", "weights": "none", "decoder": 32, "frozen": 0},
    pretrained=pretrained,
)
