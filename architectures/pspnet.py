"""PSPNet: features pooled over regions of several sizes, and brought back to each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, ORIGIN
from ._smp import build as _build

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int, classes: int, encoder: str = "resnet34", weights: str = "none", decoder: int = 512, frozen: int = 0
) -> nn.Module:
    """PSPNet with any encoder, whose first three stages it uses; `decoder` channels in the pooled map."""
    return _build(
        "pspnet",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        psp_out_channels=decoder,
    )


SPEC = ArchitectureSpec(
    title="PSPNet",
    family="pyramid pooling",
    citation="Zhao et al. 2017, doi:10.1109/CVPR.2017.660",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "resnet34", "weights": "none", "decoder": 512, "frozen": 0},
    pretrained=pretrained,
    unused={
        "encoder.layer3.": "only the first three stages are used, but the library makes all of its own encoders",
        "encoder.layer4.": "likewise",
    },
)
