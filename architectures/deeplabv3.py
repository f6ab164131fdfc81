"""DeepLabV3: dilated pyramid pooling over features that are kept at an eighth of the resolution."""

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
    """DeepLabV3 with any encoder that can be dilated; `decoder` channels in the pooling module."""
    return _build(
        "deeplabv3",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="DeepLabV3",
    family="pyramid pooling",
    citation="Chen et al. 2017, arXiv:1706.05587",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
