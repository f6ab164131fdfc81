"""Swin-Unet: a Swin transformer as the encoder of a U-Net, and one mirrored as its decoder."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

from ._pretrained import pretrained
from ._smp import started

if TYPE_CHECKING:
    from torch import nn

NAME = "swin_tiny_patch4_window7_224"
ENCODER = f"tu-{NAME}.ms_in1k"
DEPTHS, HEADS = (2, 2, 2, 2), (3, 6, 12, 24)
SURPLUS = re.compile(r"layers\.2\.blocks\.[2-5]\.")
"""Blocks of Swin-T that Swin-Unet has not: its third level has six."""


def build(
    channels: int,
    classes: int,
    width: int = 96,
    window: int = 7,
    drop_path: float = 0.2,
    skips: str = "before",
    weights: str = "none",
    frozen: int = 0,
) -> nn.Module:
    """Swin-Unet with `width` channels at the first level and windows of `window` patches of 4 pixels.

    Weights of Swin-T start the encoder, and the decoder's blocks at the same levels, as published. `skips` are taken
    before the blocks of a level, as in the authors' code, or after them, as in the paper's figure.

    Differs from the authors' network: any size, maps being filled up to whole windows. Differs from the seed's
    network (keras_unet_collection): the published widths, depths and windows, where its windows have no default, its
    first level has 128 channels, 4, 8, 8 and 8 heads, and each hidden layer 512 units at every level; no learned
    position embedding beside the relative one; normalisation in patch merging and expanding; drop path.
    """
    if skips not in ("before", "after"):
        raise NameUnknown(f"swinunet has no skips={skips}. There are: before, after (the blocks of a level).")
    if width < 3 or width % 3 or window < 1:
        raise NameUnknown(
            f"swinunet[width={width},window={window}] cannot be built: width is a multiple of 3, the number of heads "
            "at the first level, and window 1 or more."
        )
    if not 0 <= drop_path < 1:
        raise NameUnknown(f"swinunet has no drop_path={drop_path}: write a share from 0 to below 1.")

    def made(*, in_channels: int, weights: bool | None, pretrained_cfg_overlay: Any = None) -> nn.Module:
        import timm

        from ._swinunet import SwinUnet

        if pretrained_cfg_overlay:
            state = pretrained_cfg_overlay["state_dict"]
            pretrained_cfg_overlay["state_dict"] = {
                name: tensor for name, tensor in state.items() if not SURPLUS.match(name)
            }
        encoder: Any = timm.create_model(
            NAME,
            pretrained=bool(weights),
            pretrained_cfg_overlay=pretrained_cfg_overlay,
            in_chans=in_channels,
            num_classes=0,
            embed_dim=width,
            depths=DEPTHS,
            num_heads=HEADS,
            window_size=window,
            drop_path_rate=drop_path,
            strict_img_size=False,
            always_partition=True,  # else a window is made smaller where the map of a small image is
        )
        network = SwinUnet(encoder, classes, after=skips == "after")
        if weights:
            network.mirror()
        return network

    return started(made, what="swinunet", channels=channels, encoder=ENCODER, weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="Swin-Unet",
    family="transformer",
    citation="Cao et al. 2021, arXiv:2105.05537",
    licence="MIT; encoder Apache-2.0, attention BSD-3-Clause",
    origin="cytobench; encoder of timm, attention of torchvision",
    build=build,
    divisor=32,
    options={"width": 96, "window": 7, "drop_path": 0.2, "skips": "before", "weights": "none", "frozen": 0},
    pretrained=functools.partial(pretrained, ENCODER),
)
