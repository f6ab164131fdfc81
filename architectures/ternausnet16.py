"""TernausNet-16: a U-Net whose encoder is VGG16, with a decoder that is light at high resolution."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import LICENCE, started

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, weights: str = "none", frozen: int = 0) -> nn.Module:
    """TernausNet-16 as published, its blocks doubling the size by bilinear interpolation.

    Differs from the seed's network: any number of classes, where its head has one channel; and grey images start from
    ImageNet too, the first convolution summed over the colours, where its grey variant draws that layer anew.
    """

    def made(*, in_channels: int, weights: bool | None) -> nn.Module:
        from segmentation_models_pytorch.encoders import get_encoder

        from ._ternausnet import TernausNet, interpolated

        encoder = get_encoder("vgg16", in_channels=in_channels, weights=weights)
        return TernausNet(encoder, interpolated, middle=256, classes=classes)

    return started(made, what="ternausnet16", channels=channels, encoder="vgg16", weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="TernausNet-16",
    family="encoder-decoder",
    citation="Shvets et al. 2018, arXiv:1803.01207",
    licence=LICENCE,
    origin="cytobench; encoder of segmentation-models-pytorch",
    build=build,
    divisor=32,
    options={"weights": "none", "frozen": 0},
    pretrained=functools.partial(pretrained, "vgg16"),
)
