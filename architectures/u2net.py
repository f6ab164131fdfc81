"""U2-Net: a U-Net whose stages are small U-Nets themselves, and whose six depths predict together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

LEVELS = (7, 6, 5, 4, 4, 4)
"""Of the U-Net that each stage is, at H to H / 32; the last two keep the size and dilate."""
CHANNELS = {
    "full": (((2, 4), (2, 8), (4, 16), (8, 32), (16, 32), (16, 32)), ((1, 4), (2, 4), (4, 8), (8, 16), (16, 32))),
    "small": (((1, 4),) * 6, ((1, 4),) * 5),
}
"""Inside and out of each stage, on the way down and on the way up, at H to H / 32 [width / 4]."""


def build(channels: int, classes: int, variant: str = "full", width: int = 64, deep: bool = True) -> nn.Module:
    """U2-Net, `full` or `small`, which its paper calls U2-Net†; `width` channels out of its finest stage.

    All six side outputs are fused into the prediction; `deep` trains each of them, too. Differs from the paper: the
    loss is the mean over the seven outputs, not their sum. Differs from the seed's network: one logit per class and no
    sigmoid, batch normalisation, the published stages, and supervision at all depths.
    """
    if variant not in CHANNELS:
        raise NameUnknown(f"u2net has no variant={variant}. There are: {', '.join(CHANNELS)}.")
    if width < 4 or width % 4:
        raise NameUnknown(
            f"u2net[width={width}] cannot be built: the finest stage has a quarter of it inside. Give a multiple of 4."
        )
    import torch
    from torch import nn

    from ._blocks import enlarged
    from ._u2net import ResidualU

    class U2Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            down, back = ([(inside * width // 4, out * width // 4) for inside, out in way] for way in CHANNELS[variant])
            outs = [out for _, out in down]
            self.down = nn.ModuleList(
                ResidualU(LEVELS[stage], before, *widths, dilated=stage > 3)
                for stage, (before, widths) in enumerate(zip([channels, *outs], down, strict=False))
            )
            deeper = [*(out for _, out in back), outs[-1]]  # what comes up from below each stage
            self.back = nn.ModuleList(
                ResidualU(LEVELS[stage], outs[stage] + deeper[stage + 1], *widths, dilated=stage > 3)
                for stage, widths in enumerate(back)
            )
            self.sides = nn.ModuleList(nn.Conv2d(out, classes, 3, padding=1) for out in deeper)
            self.fuse = nn.Conv2d(len(deeper) * classes, classes, kernel_size=1)

        def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # (N, channels, H, W)
            x = images
            features: list[Tensor] = []
            for stage, block in enumerate(self.down):
                x = block(nn.functional.max_pool2d(x, 2, ceil_mode=True) if stage else x)
                features.append(x)  # at H / 2^stage
            for stage in reversed(range(len(self.back))):
                x = torch.cat([enlarged(x, features[stage]), features[stage]], dim=1)
                features[stage] = x = self.back[stage](x)
            sides = [enlarged(side(x), images) for side, x in zip(self.sides, features, strict=True)]
            fused = self.fuse(torch.cat(sides, dim=1))  # (N, classes, H, W), as each of the six
            return (fused, *sides) if deep and self.training else fused

    return U2Net()


SPEC = ArchitectureSpec(
    title="U2-Net",
    family="nested encoder-decoder",
    citation="Qin et al. 2020, arXiv:2005.09007",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=32,
    options={"variant": "full", "width": 64, "deep": True},
)
