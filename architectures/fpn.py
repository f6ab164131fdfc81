"""FPN: a feature pyramid whose levels are brought to one size and summed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int,
    classes: int,
    encoder: str = "resnet34",
    weights: str = "none",
    pyramid: int = 256,
    decoder: int = 128,
    frozen: int = 0,
) -> nn.Module:
    """FPN with any encoder; `pyramid` channels per level, `decoder` channels in the merged map, a multiple of 32."""
    return _build(
        "fpn",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_pyramid_channels=pyramid,
        decoder_segmentation_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="FPN",
    family="feature pyramid",
    citation="Kirillov, Girshick, He, Dollar 2019, doi:10.1109/CVPR.2019.00656",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "pyramid": 256, "decoder": 128, "frozen": 0},
    pretrained=pretrained,
)
