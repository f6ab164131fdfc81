"""Efficient U-Net: an EfficientNet as the encoder; residual blocks take up its features and the image itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec, Pretrained

from ._pretrained import pretrained as _pretrained
from ._smp import started

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIANTS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")


def encoder(variant: str) -> str:
    """The encoder of a variant; its tag stands for the weights that the seed started from, those of AutoAugment.

    Raises:
        NameUnknown: If there is no such variant.
    """
    if variant not in VARIANTS:
        raise NameUnknown(f"efficientunet has no variant={variant}. There are: {', '.join(VARIANTS)}.")
    return f"tu-tf_efficientnet_{variant}.aa_in1k"


def pretrained(variant: str, weights: str, **others: object) -> Pretrained | None:
    """The file that a variant starts from; None for random weights."""
    return _pretrained(encoder(variant), weights, **others)


def build(channels: int, classes: int, variant: str = "b0", weights: str = "none", frozen: int = 0) -> nn.Module:
    """U-Net on EfficientNet B0 to B7.

    Differs from the seed's network: the head has a channel per class, where its head for two classes has one, which
    cannot tell them apart under a softmax; b6 exists, where its name is an error; features are taken at the end of
    each stage, after the residual sum, where the seed takes blocks 2b, 3b, 5c before it, whatever the variant, which
    in the larger ones lie in the middle of a stage; the convolutions before a batch normalisation have no bias, which
    it would subtract again.
    """

    def made(*, in_channels: int, weights: bool | None, **others: object) -> nn.Module:
        import torch
        from segmentation_models_pytorch.encoders import get_encoder
        from torch import nn

        from ._blocks import Sum, double_conv

        class EfficientUNet(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = get_encoder(encoder(variant), in_channels=in_channels, weights=weights, **others)
                image, *features, deepest = self.encoder.out_channels  # at H, H / 2 to H / 16, and H / 32
                skips = [*reversed(features), image]
                widths = [*reversed(features), features[0]]  # the last block has the width of the one before it
                self.decoder = nn.ModuleList(
                    Sum(double_conv(before + skip, after), nn.Conv2d(before + skip, after, kernel_size=1))
                    for before, skip, after in zip([deepest, *widths], skips, widths, strict=False)
                )
                self.head = nn.Conv2d(widths[-1], classes, kernel_size=1)

            def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W)
                *skips, x = self.encoder(x)
                for block, skip in zip(self.decoder, reversed(skips), strict=True):
                    x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
                    x = block(torch.cat([x, skip], dim=1))
                return self.head(x)  # (N, classes, H, W)

        return EfficientUNet()

    return started(
        made, what="efficientunet", channels=channels, encoder=encoder(variant), weights=weights, frozen=frozen
    )


SPEC = ArchitectureSpec(
    title="Efficient U-Net",
    family="encoder-decoder",
    citation="Tan and Le 2019, arXiv:1905.11946 (encoder); Ronneberger, Fischer, Brox 2015 (decoder)",
    licence="MIT; encoder Apache-2.0",
    origin="cytobench; encoder of timm",
    build=build,
    divisor=32,
    options={"variant": "b0", "weights": "none", "frozen": 0},
    pretrained=pretrained,
)
