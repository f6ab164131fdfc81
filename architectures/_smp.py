"""Shared by the families that segmentation-models-pytorch provides: one call that turns options into its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown

from ._reasons import reason

if TYPE_CHECKING:
    from torch import nn

LICENCE, ORIGIN = "MIT", "segmentation-models-pytorch"


def build(decoder: str, *, channels: int, classes: int, encoder: str, weights: str, **options: object) -> nn.Module:
    """A model of segmentation-models-pytorch: (N, channels, H, W) to (N, classes, H, W).

    Raises:
        NameUnknown: If neither library has the encoder, or it does not go with the decoder.
    """
    import segmentation_models_pytorch as smp
    import torch

    arguments = {"encoder_name": encoder, "in_channels": channels, "classes": classes, **options, **_sizeless(encoder)}

    def made() -> nn.Module:
        return smp.create_model(decoder, encoder_weights=None, **arguments)

    try:
        try:
            return made()
        except RuntimeError as error:
            if "meta tensors" not in str(error):
                raise
            with torch.device("cpu"):  # an encoder that computes with numbers while it is made
                return made().to("meta")
    except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise NameUnknown(f"{decoder}[encoder={encoder}] cannot be built: {reason(decoder, encoder, error)}") from error


def pyramid(base: int, levels: int = 5) -> tuple[int, ...]:
    """Channels of a decoder from its deepest level to full resolution, halved at each: 256, 128, 64, 32, 16."""
    return tuple(max(base // 2**level, 8) for level in range(levels))


def _sizeless(encoder: str) -> dict[str, bool]:
    """What makes an encoder of timm take images of any size, where it was written for one."""
    for beginnings, argument in {
        ("tu-swin", "tu-volo"): {"strict_img_size": False},
        ("tu-vit", "tu-deit", "tu-eva", "tu-beit"): {"dynamic_img_size": True},
    }.items():
        if encoder.startswith(beginnings):
            return argument
    return {}
