"""ResEnc U-Net: nnU-Net's residual encoder preset as a plain network; deep residual stages, a light decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn

MOST, WIDEST = 7, 512


def build(channels: int, classes: int, width: int = 32, levels: int = 6, deep: bool = False) -> nn.Module:
    """The 2D network of the presets M, L and XL, which in 2D differ in patch and batch, not in the blocks.

    Channels are `width` at full resolution, doubled per level up to 512; nnU-Net plans 6 `levels` for patches of 128
    pixels and 7 for 256. With `deep`, all but the deepest level of the decoder predict too while it is trained.

    Left out: planning, patches, augmentation and the other parts of nnU-Net, which a recipe decides here for all
    networks alike; kernels and strides that differ between axes; the 8th level, of patches of 512 pixels.
    Differs from nnU-Net: convolutions before an instance normalisation have no bias, which it would subtract again;
    predictions of deeper levels are enlarged and count alike, where it shrinks the masks and halves the weights.
    """
    if not 2 <= levels <= MOST or width < 1:
        raise NameUnknown(
            f"resenc_unet has no levels={levels}, width={width}. Give 2 to {MOST} levels, a width of 1 or more."
        )
    if deep and levels < 4:
        raise NameUnknown(
            f"resenc_unet[levels={levels}] has no second level that predicts. Give deep=false, or 4 levels."
        )
    from ._resenc import ResEncUNet

    return ResEncUNet(channels, classes, [min(width * 2**level, WIDEST) for level in range(levels)], deep)


SPEC = ArchitectureSpec(
    title="ResEnc U-Net",
    family="encoder-decoder",
    citation="Isensee et al. 2024, arXiv:2404.09556",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=64,
    options={"width": 32, "levels": 6, "deep": False},
)
