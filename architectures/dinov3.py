"""DINOv3: a vision transformer that taught itself on photographs, frozen or not, below a light decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec, Pretrained

from ._pretrained import pretrained as _pretrained
from ._smp import started

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIANTS = {"small": 12, "small_plus": 12, "base": 12, "large": 24, "huge_plus": 32}
"""How many blocks the transformers have."""
DECODERS = ("unetr", "mlp")
PATCH = 16


def encoder(variant: str) -> str:
    """The transformer of a variant; its tag stands for weights of 1.7 billion photographs from the web.

    Raises:
        NameUnknown: If there is no such variant.
    """
    if variant not in VARIANTS:
        raise NameUnknown(f"dinov3 has no variant={variant}. There are: {', '.join(VARIANTS)}.")
    return f"tu-vit_{variant}_patch{PATCH}_dinov3.lvd1689m"


def pretrained(variant: str, weights: str, **others: object) -> Pretrained | None:
    """The file that a variant starts from; None for random weights."""
    return _pretrained(encoder(variant), weights, **others)


def build(
    channels: int,
    classes: int,
    variant: str = "small",
    weights: str = "none",
    frozen: int = 0,
    decoder: str = "unetr",
    blocks: int = 0,
) -> nn.Module:
    """Features after each quarter of a DINOv3 transformer, normalised, and one of two decoders.

    `decoder=mlp` is SegDINO's: all features to one width, side by side, and a prediction per patch of 16 pixels, which
    is interpolated. `decoder=unetr` is for cells, which are smaller: as in UNETR, a U-Net whose skips are the features
    and the image itself. `weights=imagenet` is what timm calls the weights of DINOv3; `frozen=4` keeps all of them, as
    SegDINO does. `blocks` is how many of the transformer's are kept, 0 for all.

    Differs from SegDINO: features of the large variant after blocks 6, 12, 18, 24, where it takes 5, 12, 18, 24.
    Differs from UNETR: two dimensions, batch normalisation, plain double convolutions.
    """
    name, depth = encoder(variant), blocks or VARIANTS.get(variant, 0)
    if decoder not in DECODERS:
        raise NameUnknown(f"dinov3 has no decoder={decoder}. There are: {', '.join(DECODERS)}.")
    if not 4 <= depth <= VARIANTS[variant]:
        raise NameUnknown(f"dinov3[variant={variant}] has no blocks={blocks}. Give 4 to {VARIANTS[variant]}, or 0.")

    def made(*, in_channels: int, weights: bool | None, **others: object) -> nn.Module:
        import timm
        from torch import nn

        from ._dinov3 import Mlp, Unetr

        class Dinov3(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                if not weights:  # else all that is loaded has a place
                    others.setdefault("depth", depth)
                self.encoder = timm.create_model(
                    name.removeprefix("tu-"), pretrained=bool(weights), in_chans=in_channels, num_classes=0, **others
                )
                self.encoder.blocks = self.encoder.blocks[:depth]
                self.after = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
                head = Unetr if decoder == "unetr" else Mlp
                self.decoder = head(in_channels, self.encoder.embed_dim, classes)

            def features(self, x: Tensor) -> list[Tensor]:  # four times (N, C, H / 16, W / 16)
                return self.encoder.forward_intermediates(x, indices=self.after, norm=True, intermediates_only=True)

            def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W)
                return self.decoder(x, self.features(x))  # (N, classes, H, W)

        return Dinov3()

    return started(made, what="dinov3", channels=channels, encoder=name, weights=weights, frozen=frozen)


SPEC = ArchitectureSpec(
    title="DINOv3",
    family="transformer",
    citation="Siméoni et al. 2025, arXiv:2508.10104 (encoder); Yang et al. 2025, arXiv:2509.00833 (mlp); "
    "Hatamizadeh et al. 2022, doi:10.1109/WACV51458.2022.00181 (unetr)",
    licence="MIT; encoder Apache-2.0, its weights DINOv3 License",
    origin="cytobench; encoder of timm",
    build=build,
    divisor=PATCH,
    options={"variant": "small", "weights": "none", "frozen": 0, "decoder": "unetr", "blocks": 0},
    pretrained=pretrained,
)
