"""TernausNet-11: a U-Net whose encoder is VGG11, with a decoder that is light at high resolution."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, started

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, weights: str = "none", frozen: int = 0) -> nn.Module:
    """TernausNet-11 as published, its blocks doubling the size by a transposed convolution.

    Differs from the seed's network: any number of classes, where its head has one channel; and grey images start from
    ImageNet too, the first convolution summed over the colours, where its grey variant draws that layer anew.
    """

    def made(*, in_channels: int, weights: bool | None) -> nn.Module:
        from segmentation_models_pytorch.encoders import get_encoder

        from ._ternausnet import TernausNet, transposed

        encoder = get_encoder("vgg11", in_channels=in_channels, weights=weights)
        return TernausNet(encoder, transposed, middle=128, classes=classes)

    return started(made, what="ternausnet11", channels=channels, encoder="vgg11", weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="TernausNet-11",
    family="encoder-decoder",
    citation="Iglovikov and Shvets 2018, arXiv:1801.05746",
    licence=LICENCE,
    origin="cytobench; encoder of segmentation-models-pytorch",
    build=build,
    divisor=32,
    options={"weights": "none", "frozen": 0},
    pretrained=functools.partial(pretrained, "vgg11"),
)
