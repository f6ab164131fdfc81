"""DPT: a plain vision transformer whose layers are reassembled into a feature pyramid."""

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
    encoder: str = "tu-vit_small_patch16_224",
    weights: str = "none",
    decoder: int = 256,
    frozen: int = 0,
) -> nn.Module:
    """DPT with a transformer of timm (after tu-); `decoder` channels where levels are fused, more before."""
    return _build(
        "dpt",
        channels=channels,
        classes=classes,
        encoder=encoder,
        weights=weights,
        frozen=frozen,
        decoder_fusion_channels=decoder,
        decoder_intermediate_channels=(decoder, 2 * decoder, 4 * decoder, 4 * decoder),
    )


SPEC = ArchitectureSpec(
    title="DPT",
    family="transformer",
    citation="Ranftl, Bochkovskiy, Koltun 2021, doi:10.1109/ICCV48922.2021.01196",
    licence=LICENCE,
    origin=ORIGIN,
    build=build,
    divisor=32,
    options={"encoder": "tu-vit_small_patch16_224", "weights": "none", "decoder": 256, "frozen": 0},
    pretrained=pretrained,
    unused={
        "encoder.model.norm.": "layers are taken before the last normalisation",
        "encoder.model.head.": "the head that classified whole images",
    },
)
