"""BASNet: a deeply supervised encoder-decoder on a ResNet-34, and a second, small one that refines what it predicts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import started

if TYPE_CHECKING:
    from torch import nn

ENCODER = "tu-resnet34.tv_in1k"
"""Its tag stands for the weights that the paper starts from, those of torchvision."""


def build(
    channels: int, classes: int, weights: str = "none", width: int = 64, frozen: int = 0, deep: bool = True
) -> nn.Module:
    """BASNet as published, 64 channels wide; narrower ones have no `weights` but those of a stored cell.

    `deep` trains all eight outputs, not the refined one alone. Differs from the paper: the loss is the mean over the
    outputs, not their sum, and whichever is asked for. Differs from the seed's network: logits, any number of classes,
    and the published decoder, whose stages get narrower towards the finest.
    """
    if width < 1:
        raise NameUnknown(f"basnet[width={width}] cannot be built. Give width=64, as published, or less.")
    widths = [width * 2**stage for stage in range(4)]

    def made(*, in_channels: int, weights: bool | None, **others: object) -> nn.Module:
        from segmentation_models_pytorch.encoders import get_encoder

        from ._basnet import BASNet

        encoder = get_encoder(ENCODER, in_channels=in_channels, weights=weights, channels=widths, **others)
        return BASNet(encoder, in_channels, classes, widths, deep=deep)

    return started(made, what="basnet", channels=channels, encoder=ENCODER, weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="BASNet",
    family="refined encoder-decoder",
    citation="Qin et al. 2019, doi:10.1109/CVPR.2019.00766",
    licence="MIT; encoder Apache-2.0",
    origin="cytobench; encoder of timm",
    build=build,
    divisor=32,
    options={"weights": "none", "width": 64, "frozen": 0, "deep": True},
    pretrained=functools.partial(pretrained, ENCODER),
    unused={
        "encoder.model.conv1.": "images are taken up at full resolution instead, by a convolution of its own",
        "encoder.model.bn1.": "likewise",
    },
)
