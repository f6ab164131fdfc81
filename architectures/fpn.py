"""FPN: a feature pyramid whose levels are brought to one size and summed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, encoder: str = "resnet34", pyramid: int = 256, decoder: int = 128) -> nn.Module:
    """Feature pyramid network; `pyramid` channels per level, `decoder` channels in the merged map, a multiple of 32."""
    return _build(
        "fpn",
        channels=channels,
        classes=classes,
        encoder=encoder,
        decoder_pyramid_channels=pyramid,
        decoder_segmentation_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="FPN",
    family="feature pyramid",
    citation="Kirillov, Girshick, He, Dollar 2019, doi:10.1109/CVPR.2019.00656",
    build=build,
    options={"encoder": "resnet34", "pyramid": 256, "decoder": 128},
)
