"""An architecture's name to its network: built, started from a seed, counted; the engine's side of `architectures/`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import catalog, names
from bench.errors import NameUnknown
from bench.specs import MEAN, STD

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the grey that a network with one channel sees (ITU-R BT.601, as Pillow's L)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What can be told of a network without training it.

    Attributes:
        params: Trainable numbers.
        flops: Floating point operations of a forward pass of one image; a multiply-add counts as two.
    """

    params: int
    flops: int


class Luminance(nn.Module):
    """Normalised colour images (N, 3, H, W) to normalised grey ones (N, 1, H, W); nothing in it is trained."""

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        luma, mean, std = (torch.tensor(values) for values in (LUMA, MEAN, STD))
        self.register_buffer("weight", (luma * std / std.mean()).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("bias", ((luma * mean).sum() - mean.mean()) / std.mean(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The grey of each pixel."""
        return (images * self.weight).sum(dim=1, keepdim=True) + self.bias


def build(name: str, classes: int, seed: int | None = None) -> nn.Module:
    """The network of an architecture: colour images float (N, 3, H, W) to logits (N, classes, H, W).

    Args:
        name: As it stands on the axis; with `channels=1` the network is given the luminance.
        classes: How many it tells apart.
        seed: Of its initial weights; None draws from wherever the generator is.
    Raises:
        NameUnknown: If there is no such architecture, or its options do not go together.
        DataError: If weights that it should start from cannot be had.
    """
    spec, options = catalog.architecture(name)
    if seed is not None:
        torch.manual_seed(seed)
    network = spec.build(classes=classes, **options)
    return network if options["channels"] == 3 else nn.Sequential(Luminance(), network)


def check(wanted: Iterable[str]) -> dict[str, str]:
    """The architectures whose options do not go together, by name, each with its reason.

    Each is built for two classes on the meta device, without pretrained weights: nothing is computed or downloaded. One
    that fails in any other way is not among them: that is told by its cells, when they run.
    """
    refused: dict[str, str] = {}
    for name in wanted:
        try:
            with torch.device("meta"):
                build(from_scratch(name), classes=2)
        except NameUnknown as error:
            refused[name] = str(error) if str(error).startswith(name) else f"{name}: {error}"
        except (Exception, SystemExit):  # a file of the user's may do anything
            continue
    return refused


def from_scratch(name: str) -> str:
    """The architecture with random weights, where it may start from others."""
    stem, options = names.parse(name)
    return names.show(stem, options | {"weights": "none"}) if "weights" in options else name


def facts(network: nn.Module, divisor: int, size: tuple[int, int]) -> Facts:
    """What a network costs at a size (height, width), which is padded to its divisor; on whatever device it is."""
    return Facts(
        params=sum(one.numel() for one in network.parameters() if one.requires_grad),
        flops=flops(network, divisor, size),
    )


@torch.no_grad()
def flops(network: nn.Module, divisor: int, size: tuple[int, int]) -> int:
    """Floating point operations of a forward pass of one image; a multiply-add counts as two."""
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    height, width = (math.ceil(edge / divisor) * divisor for edge in size)
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width, device=device))
    return counter.get_total_flops()
