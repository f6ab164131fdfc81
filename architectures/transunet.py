"""TransUNet: a U-Net whose deepest map goes through a vision transformer, position by position."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec, Pretrained

from ._pretrained import is_path
from ._pretrained import pretrained as _pretrained
from ._smp import started

if TYPE_CHECKING:
    from torch import nn

NAME = "vit_base_r50_s16_224"
ENCODER = f"tu-{NAME}.orig_in21k"


def pretrained(backbone: str, weights: str, **others: object) -> Pretrained | None:
    """The file that the hybrid of ResNet-50 and ViT-B/16 starts from; None for random weights.

    Raises:
        NameUnknown: If the other backbone is wanted, for which there is none but that of a stored cell.
    """
    if backbone != "r50" and weights != "none" and not is_path(weights):
        raise NameUnknown(f"transunet[backbone={backbone}] has no weights={weights}. Write weights=none.")
    return _pretrained(ENCODER, weights, **others)


def build(
    channels: int,
    classes: int,
    backbone: str = "r50",
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    blocks: int = 9,
    dropout: float = 0.1,
    weights: str = "none",
    frozen: int = 0,
) -> nn.Module:
    """TransUNet on R50-ViT-B/16: a transformer of `layers` layers of `width` channels in `heads` heads.

    Each stage of the ResNet has `blocks` blocks at the most, of 3, 4 and 9 as published. Weights are those of
    ImageNet-21k, as published; position embeddings are interpolated to any size. `backbone=conv` takes the seed's
    encoder instead: two plain convolutions per level, of 64 to 512 channels, and tokens at an eighth of the size.

    Differs from the authors' network in its ResNet, which is the one that the weights were trained with (timm's port):
    theirs pads otherwise at strides, fills a pooled map up with zeros, and normalises every channel of a projection by
    itself. Differs from the seed's network (keras_unet_collection) with `backbone=conv`: heads share the width, where
    each has all of it; the upsampler is the published one, with batch normalisation, not two convolutions after
    another one; dropout and an exact GELU, as published.
    """
    if backbone not in ("r50", "conv"):
        raise NameUnknown(f"transunet has no backbone={backbone}. There are: r50, conv.")
    if min(layers, width, heads, blocks) < 1 or width % heads:
        raise NameUnknown(
            f"transunet[layers={layers},width={width},heads={heads},blocks={blocks}] cannot be built: each is 1 or "
            "more, and width a multiple of heads."
        )
    if not 0 <= dropout < 1:
        raise NameUnknown(f"transunet has no dropout={dropout}: write a share from 0 to below 1.")
    if backbone != "r50":
        pretrained(backbone, weights)

    def made(*, in_channels: int, weights: bool | None, pretrained_cfg_overlay: Any = None) -> nn.Module:
        import timm
        from timm.layers import HybridEmbed

        from ._transunet import Convolutions, TransUNet

        arguments: Any = {
            "embed_dim": width,
            "depth": layers,
            "num_heads": heads,
            "num_classes": 0,
            "in_chans": in_channels,
            "global_pool": "",
            "class_token": False,
            "pos_drop_rate": dropout,
            "proj_drop_rate": dropout,
        }
        if backbone == "r50":
            if pretrained_cfg_overlay:
                pretrained_cfg_overlay["state_dict"] = _classless(pretrained_cfg_overlay["state_dict"])
            encoder: Any = timm.create_model(
                NAME, pretrained=bool(weights), pretrained_cfg_overlay=pretrained_cfg_overlay, **arguments
            )
            for stage in encoder.patch_embed.backbone.stages:
                stage.blocks = stage.blocks[:blocks]
        else:
            embed = functools.partial(HybridEmbed, backbone=Convolutions(in_channels), feature_size=28, feature_ratio=8)
            encoder = timm.models.VisionTransformer(patch_size=1, embed_layer=embed, **arguments)
        for block in encoder.blocks:
            block.attn.proj_drop.p = 0.0  # in the authors' network, attention has no dropout
        return TransUNet(encoder, backbone, classes)

    return started(made, what="transunet", channels=channels, encoder=ENCODER, weights=weights, frozen=frozen)


def _classless(state: dict[str, Any]) -> dict[str, Any]:
    """The weights of a vision transformer without its class token, and the position embedding of that."""
    if "cls_token" not in state or "pos_embed" not in state:
        return state
    kept = {name: tensor for name, tensor in state.items() if name != "cls_token"}
    return kept | {"pos_embed": state["pos_embed"][:, 1:]}


SPEC = ArchitectureSpec(
    title="TransUNet",
    family="transformer",
    citation="Chen et al. 2021, arXiv:2102.04306",
    licence="MIT; encoder Apache-2.0",
    origin="cytobench; encoder of timm",
    build=build,
    divisor=16,
    options={
        "backbone": "r50",
        "layers": 12,
        "width": 768,
        "heads": 12,
        "blocks": 9,
        "dropout": 0.1,
        "weights": "none",
        "frozen": 0,
    },
    pretrained=pretrained,
)
