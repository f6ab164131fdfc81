"""Gates in the ways across of a U-Net; imported when a network is built, since it loads torch."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from ._blocks import conv_norm


class Gate(nn.Module):
    """What comes up decides on the share of what comes across that passes, from nothing to all.

    Args:
        asking: Of what comes up, (N, C, H, W) to (N, between, H, W); `asked` likewise, of what comes across.
        share: Of both, (N, between, H, W) to one number for each pixel, (N, 1, H, W), or for each channel of it.
    """

    def __init__(self, asking: nn.Module, asked: nn.Module, share: nn.Module) -> None:
        super().__init__()
        self.asking, self.asked, self.share = asking, asked, share

    def forward(self, up: Tensor, skip: Tensor) -> Tensor:
        """The features (N, C, H, W) that come across times their shares."""
        return skip * self.share((self.asking(up) + self.asked(skip)).relu()).sigmoid()


def gate(width: int, each: str = "pixel") -> Gate:
    """That of Attention U-Net: a `pixel` has one share for all its `width` channels, or each `channel` its own."""
    mixed = functools.partial(conv_norm, kernel=1, bias=True, activation=nn.Identity)
    between = width if each == "channel" else max(width // 2, 1)
    asking, asked = mixed(width, between), mixed(width, between)
    return Gate(asking, asked, nn.Conv2d(between, width, kernel_size=1) if each == "channel" else mixed(between, 1))
