"""An architecture's name to its network: built, started from a seed, counted; the engine's side of `architectures/`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench import catalog, names
from bench.errors import BenchError, NameUnknown
from bench.specs import MEAN, STD

Told = TypeVar("Told")
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


def build(name: str, classes: int, seed: int | None = None, *, scratch: bool = False) -> nn.Module:
    """The network of an architecture: colour images float (N, 3, H, W) to logits (N, classes, H, W).

    Args:
        name: As it stands on the axis; with `channels=1` the network is given the luminance.
        classes: How many it tells apart.
        seed: Of its initial weights; None draws from wherever the generator is.
        scratch: Take the option `weights` for none: its shapes and costs are those of the architecture all the same.
    Raises:
        NameUnknown: If there is no such architecture, or its options do not go together.
        DataError: If weights that it should start from cannot be had.
    """
    spec, options = catalog.architecture(name)
    if options.get("frozen") and options.get("weights") == "none":
        raise NameUnknown(
            f"{name} would keep random numbers: what is frozen stays as it starts. Give weights=imagenet or a file, or "
            "frozen=0."
        )
    if scratch:
        spec, options = catalog.architecture(from_scratch(name))
    if seed is not None:
        torch.manual_seed(seed)
    network = spec.build(classes=classes, **options)
    for label, parameter in network.named_parameters():
        # behind what normalises images anew, for weights that want it, a network is the second of two
        if label.removeprefix("1.").startswith(tuple(spec.unused)):  # neither trained nor counted
            parameter.requires_grad_(False)
    network = network if options["channels"] == 3 else nn.Sequential(Luminance(), network)
    return network.to("meta") if torch.empty(0).is_meta else network  # some code makes tensors wherever it likes


def check(wanted: Iterable[str]) -> dict[str, str]:
    """The architectures whose options do not go together, by name, each with its reason.

    Each is built for two classes on the meta device, without pretrained weights: nothing is computed or downloaded. One
    that fails in any other way is not among them: that is told by its cells, when they run.
    """
    refused: dict[str, str] = {}
    for name in wanted:
        try:
            with torch.device("meta"):
                build(name, classes=2, scratch=True)
        except NameUnknown as error:
            refused[name] = str(error) if str(error).startswith(name) else f"{name}: {error}"
        except (Exception, SystemExit):  # a file of the user's may do anything
            continue
    return refused


def from_scratch(name: str) -> str:
    """The architecture with random weights, where it may start from others."""
    stem, options = names.parse(name)
    return names.show(stem, options | {"weights": "none"}) if "weights" in options else name


def sketch(name: str, classes: int, look: Callable[[nn.Module, int], Told]) -> Told:
    """What `look(network, divisor)` tells of a network in evaluation mode that has shapes but no numbers.

    So a giant takes no memory and no time, and no weights are fetched: the option `weights` is taken for none. Where
    the code of a network needs numbers, it is built a second time, with them.

    Args:
        name: As it stands on the axis.
        classes: How many it tells apart.
    Raises:
        NameUnknown: If there is no such architecture, its options do not go together, or its code raises.
    """
    spec, _ = catalog.architecture(name)
    try:
        try:
            with torch.device("meta"):
                network = build(name, classes, scratch=True)
            return look(network.eval(), spec.divisor)
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
        return look(build(name, classes, scratch=True).eval(), spec.divisor)
    except BenchError:
        raise
    except Exception as error:  # the file is anybody's
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> NameUnknown:
    """What is told of a drop-in file whose code raises: the message, and its last line that had a part in it."""
    path = catalog.entries("architectures")[names.parse(name)[0]].path
    where = catalog.place(error, path)
    mend = f"Mend {where}" if where != str(path) else f"Check its options, or mend {path}"
    return NameUnknown(f"{name} cannot be built: {catalog.reason(error)}. {mend}.")


def padded(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """A size (height, width) [pixels], each edge rounded up to a multiple of the divisor."""
    height, width = (math.ceil(edge / divisor) * divisor for edge in size)
    return height, width


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
    with FlopCounterMode(display=False) as counter:
        network(blank(network, padded(size, divisor)))
    return counter.get_total_flops()


@torch.no_grad()
def bytes_per_pixel(network: nn.Module, divisor: int) -> float:
    """What the largest layer of a network reads and writes at once, for each pixel of an image; all of it takes more.

    Measured on a small image: of convolutions it is the same at any size, of attention over an image it grows.
    """
    found = [0]
    height, width = padded((64, 64), divisor)

    def look(_: nn.Module, given: tuple[object, ...], made: object) -> None:
        tensors = [one for one in (*given, made) if isinstance(one, Tensor)]
        found.append(sum(one.numel() * one.element_size() for one in tensors))

    hooks = [one.register_forward_hook(look) for one in network.modules() if not any(one.children())]
    try:
        network.eval()(blank(network, (height, width)))
    finally:
        for hook in hooks:
            hook.remove()
    return max(found) / (height * width)


def blank(network: nn.Module, size: tuple[int, int]) -> Tensor:
    """One image of zeros, float (1, 3, H, W), where a network is."""
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    return torch.zeros(1, 3, *size, device=device)
