"""UNet 3+: a U-Net in which every level of the decoder sees all scales, finer and coarser ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(channels: int, classes: int, width: int = 64, levels: int = 5, deep: bool = False) -> nn.Module:
    """UNet 3+ with `width` channels at full resolution and from each scale, doubled at each of the other `levels`.

    With `deep`, every level of the decoder and the deepest of the encoder predict while it trains. Differs from the
    paper: no classification-guided module, which asks of an image whether an organ is in it at all. Differs from the
    seed's network: any number of levels and of classes, where it has five and a head of one channel; no dropout.
    """
    if not 3 <= levels <= 6 or width < 1:
        raise NameUnknown(
            f"unet3plus[levels={levels},width={width}] cannot be built. Give levels=3 to 6, width=1 or more."
        )
    import torch
    from torch import nn

    from ._blocks import conv_bn_relu, enlarged, supervised, twice

    class UNet3Plus(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width * 2**level for level in range(levels)]
            fused = width * levels
            self.encoder = nn.ModuleList(
                twice(conv_bn_relu, *pair) for pair in zip([channels, *widths], widths, strict=False)
            )
            self.sources = nn.ModuleList()  # of each level but the deepest, finest first: from every scale
            for level in range(levels - 1):
                coarser = [fused] * (levels - level - 2)
                given = [*widths[: level + 1], *coarser, widths[-1]]
                self.sources.append(nn.ModuleList(conv_bn_relu(before, width) for before in given))
            self.fuse = nn.ModuleList(conv_bn_relu(fused, fused) for _ in range(levels - 1))
            given = [*[fused] * (levels - 1), widths[-1]] if deep else [fused]
            self.heads = nn.ModuleList(nn.Conv2d(before, classes, 3, padding=1) for before in given)

        def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # (N, channels, H, W)
            x = images
            skips: list[Tensor] = []
            for level, block in enumerate(self.encoder):
                x = block(nn.functional.max_pool2d(x, 2) if level else x)  # (N, width 2^level, H / 2^level, ..)
                skips.append(x)
            features = skips.copy()  # all but the deepest are replaced by what the decoder makes of them
            for level in reversed(range(levels - 1)):
                finer = [nn.functional.max_pool2d(skips[one], 2 ** (level - one)) for one in range(level)]
                coarser = [enlarged(one, skips[level]) for one in features[level + 1 :]]
                scales = zip(self.sources[level], [*finer, skips[level], *coarser], strict=True)
                features[level] = self.fuse[level](torch.cat([block(one) for block, one in scales], dim=1))
            return supervised(self.heads, features, images)  # (N, classes, H, W), once or more

    return UNet3Plus()


SPEC = ArchitectureSpec(
    title="UNet 3+",
    family="encoder-decoder",
    citation="Huang et al. 2020, arXiv:2004.08790",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=32,
    options={"width": 64, "levels": 5, "deep": False},
)
