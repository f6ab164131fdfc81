"""EMCAD: a decoder of depthwise convolutions at several scales, attention and gates, around a pyramid transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, sizeless, started

if TYPE_CHECKING:
    from torch import nn


def build(
    channels: int,
    classes: int,
    encoder: str = "tu-pvt_v2_b2",
    weights: str = "none",
    frozen: int = 0,
    deep: bool = False,
) -> nn.Module:
    """EMCAD around any encoder with features at a quarter to a 32nd; published with PVTv2-B2 and PVTv2-B0.

    With `deep`, all four levels predict while it is trained.

    Left out: the loss over all sums of the four predictions; they count alike here, each for itself. The shuffle of
    channels before an up-convolution's last layer, since in as many groups as channels it changes nothing.
    Differs from the paper: for grey images the encoder's first convolution is summed over the colours, where theirs
    is given three channels that a layer before it makes of one.
    """

    def made(*, in_channels: int, weights: bool | None, **others: object) -> nn.Module:
        from segmentation_models_pytorch.encoders import get_encoder

        from ._emcad import Emcad

        others |= {"in_channels": in_channels, "weights": weights, **sizeless(encoder)}
        return Emcad(get_encoder(encoder, **others), classes, deep)

    return started(made, what="emcad", channels=channels, encoder=encoder, weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="EMCAD",
    family="transformer",
    citation="Rahman, Munir, Marculescu 2024, doi:10.1109/CVPR52733.2024.01118, arXiv:2405.06880",
    licence=LICENCE,
    origin="cytobench; encoder of segmentation-models-pytorch",
    build=build,
    divisor=32,
    options={"encoder": "tu-pvt_v2_b2", "weights": "none", "frozen": 0, "deep": False},
    pretrained=pretrained,
)
