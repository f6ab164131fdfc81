"""LinkNet: a light encoder-decoder that adds the encoder's features instead of concatenating them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, encoder: str = "resnet34", weights: str = "none", frozen: int = 0) -> nn.Module:
    """LinkNet with any encoder but mit_*."""
    return _build("linknet", channels=channels, classes=classes, encoder=encoder, weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="LinkNet",
    family="encoder-decoder",
    citation="Chaurasia and Culurciello 2017, doi:10.1109/VCIP.2017.8305148",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "frozen": 0},
    pretrained=pretrained,
)
