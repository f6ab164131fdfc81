"""Shared by the families that segmentation-models-pytorch provides: one call that turns options into its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown

if TYPE_CHECKING:
    from torch import nn


def build(architecture: str, *, channels: int, classes: int, encoder: str, **options: object) -> nn.Module:
    """A model of segmentation-models-pytorch without pretrained weights: (N, channels, H, W) to (N, classes, H, W).

    Raises:
        NameUnknown: If neither library has the encoder, or it does not fit the decoder.
    """
    import segmentation_models_pytorch as smp

    try:
        return smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
        )
    except (KeyError, ValueError, RuntimeError) as error:
        message = str(error).splitlines()[0][:200]
        raise NameUnknown(
            f"{architecture}[encoder={encoder}] cannot be built: {message}. Check its options; an encoder is one of "
            "segmentation-models-pytorch (resnet34), or one of timm after tu- (tu-convnextv2_tiny)."
        ) from error


def pyramid(base: int, levels: int = 5) -> tuple[int, ...]:
    """Channels of a decoder from its deepest level to full resolution, halved at each: 256, 128, 64, 32, 16."""
    return tuple(max(base // 2**level, 8) for level in range(levels))
