"""FlexUNet: a deep and narrow U-Net whose first levels look far, by wide and dilated kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = {"elu": "ELU", "gelu": "GELU", "mish": "Mish", "relu": "ReLU", "selu": "SELU", "silu": "SiLU"}


def build(
    channels: int,
    classes: int,
    width: int = 16,
    levels: int = 6,
    kernel: int = 9,
    dilation: int = 1,
    dropout: float = 0.05,
    normalisation: bool = False,
    activation: str = "relu",
) -> nn.Module:
    """FlexUNet as in three of the seeds, there also called SlightlyFlexibleUNet.

    A level has twice the channels of the one above it, a kernel smaller by 2 (down to 3) and a dilation smaller by 1
    (down to 1); elements are dropped at the rate of `dropout` times the level. Published were the options
    `kernel=9,levels=8`; `dilation=3,kernel=9,levels=8`; `dilation=2,dropout=0.07,kernel=7,levels=7`. Eight levels are
    125 million numbers, of which the two deepest hold 86 in 100: by default there are the six of its code.

    Differs from the seeds' network: images are normalised, where two trained on 0 to 255; any size will do,
    not multiples of 128 alone; and running statistics are torch's, which follow ten times as fast.
    """
    _check(width, levels, kernel, dilation, dropout, activation)
    from torch import nn

    from ._initial import glorot_uniform, he_normal, start
    from ._unet import unet

    def layer(before: int, after: int, level: int) -> list[nn.Module]:
        size, apart = max(3, kernel - 2 * level), max(1, dilation - level)
        conv = nn.Conv2d(before, after, size, padding=apart * (size - 1) // 2, dilation=apart)
        start(conv, he_normal)
        active: nn.Module = getattr(nn, ACTIVATIONS[activation])()
        return [conv, active, *([nn.BatchNorm2d(after, eps=1e-3)] if normalisation else [])]

    def block(before: int, after: int, level: int) -> nn.Module:
        dropped = [nn.Dropout(dropout * level)] if dropout * level > 0 else []
        return nn.Sequential(*layer(before, after, level), *dropped, *layer(after, after, level))

    network = unet(channels, classes, [width * 2**level for level in range(levels)], block)
    for others in (network.ups, network.heads):
        start(others, glorot_uniform)
    return network


def _check(width: int, levels: int, kernel: int, dilation: int, dropout: float, activation: str) -> None:
    """Raise NameUnknown, in one line, for options that make no network."""
    times = max(levels - 1, 1)  # that the deepest level drops what the option says
    limit = f"at least 0 and below {1 / times:.3g}, since the deepest level drops {times} times it"
    reasons = {
        f"width={width}, levels={levels} and dilation={dilation} must be at least 1": min(width, levels, dilation) < 1,
        f"kernel={kernel} must be odd, and at least 3": kernel < 3 or kernel % 2 == 0,
        f"dropout={dropout} must be {limit}": dropout < 0 or dropout * times >= 1,
        f"there is no activation={activation}, but {', '.join(ACTIVATIONS)}": activation not in ACTIVATIONS,
    }
    for reason, wrong in reasons.items():
        if wrong:
            raise NameUnknown(f"flexunet cannot be built: {reason}.")


SPEC = ArchitectureSpec(
    title="FlexUNet (sarah-antillia)",
    family="encoder-decoder",
    citation="sarah-antillia 2023 to 2025 (code); Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=32,
    options={
        "width": 16,
        "levels": 6,
        "kernel": 9,
        "dilation": 1,
        "dropout": 0.05,
        "normalisation": False,
        "activation": "relu",
    },
)
