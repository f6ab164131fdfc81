"""MultiResUNet: blocks that look near and far at once, and residual layers in the ways across."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NameUnknown
from bench.specs import ArchitectureSpec

if TYPE_CHECKING:
    from torch import nn


def build(channels: int, classes: int, width: int = 32, levels: int = 5) -> nn.Module:
    """MultiResUNet of `levels` levels, about as large as a U-Net with `width` channels at full resolution.

    Differs from the published code: logits have a bias, there they are normalised. Differs from the seeds' network:
    images are normalised as for ImageNet. Differs from both: running statistics are torch's, which follow ten times as
    fast.
    """
    if width < 4 or levels < 2:
        raise NameUnknown(
            f"multiresunet cannot be built: width={width} must be at least 4, and levels={levels} at least 2."
        )
    from torch import nn

    from ._initial import glorot_uniform, start
    from ._multires import ResPath, multires, parts
    from ._unet import UNet, transposed

    widths = [width * 2**level for level in range(levels)]
    found = [sum(parts(count)) for count in widths]  # that a block of each level gives

    up = list(reversed(range(levels - 1)))
    network = UNet(
        encoder=(multires(*pair) for pair in zip([channels, *found], widths, strict=False)),
        ups=(transposed(found[level + 1], widths[level]) for level in up),
        decoder=(multires(2 * widths[level], widths[level]) for level in up),
        heads=[nn.Conv2d(found[0], classes, kernel_size=1)],
        across=(ResPath(found[level], widths[level], length=levels - 1 - level) for level in up),
    )
    start(network, glorot_uniform)
    return network


SPEC = ArchitectureSpec(
    title="MultiResUNet",
    family="encoder-decoder",
    citation="Ibtehaz and Rahman 2020, arXiv:1902.04049",
    licence="MIT",
    origin="cytobench",
    build=build,
    divisor=16,
    options={"width": 32, "levels": 5},
)
