"""SegFormer: a hierarchical transformer whose levels are brought to one size and mixed pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, encoder: str = "mit_b0", weights: str = "none", decoder: int = 256, frozen: int = 0
) -> nn.Module:
    """SegFormer's decoder with any encoder, by default its own smallest; `decoder` channels per level."""
    return _build(
        "segformer",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_segmentation_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="SegFormer",
    family="transformer",
    citation="Xie et al. 2021, arXiv:2105.15203",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "mit_b0", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
)
