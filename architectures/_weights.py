"""A network and a file of weights: which of the two shapes the file has, and how its numbers come into the network.

Imported when weights are loaded, since it loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.errors import BenchError, DataError
from bench.specs import MEAN, STD, Pretrained

from ._blocks import Renormalise
from ._pretrained import moments, read

Make = Callable[..., nn.Module]
"""`make(in_channels, weights, **others)` builds a network around its `encoder`: see `_smp.started`."""
STATISTICS = ("running_mean", "running_var")


def load(make: Make, found: Pretrained, *, channels: int, encoder: str, weights: str) -> nn.Module:
    """A network that starts from a file: of its encoder alone, or of the whole network, as a stored cell leaves it.

    An encoder that was trained on images normalised in another way than ours has a `Renormalise` before it. For grey
    images both libraries sum what the first convolution does to the three colours, as if it saw the grey three times;
    the moments of grey are therefore the means over the colours.

    Raises:
        DataError: If the file does not fill the encoder, or holds another network.
    """
    state, front = _unwrapped(read(found))
    if front or any(name.startswith("encoder.") for name in state):
        return _whole(make, state, front, found, channels)
    fill = _timms if encoder.startswith("tu-") else _smps
    network = fill(make, state, found, channels)
    mean, std = moments(encoder, weights, found)
    if (mean, std) == (MEAN, STD):
        return network
    return nn.Sequential(Renormalise(channels, mean, std), network)


def _whole(
    make: Make, state: dict[str, Tensor], front: dict[str, Tensor], found: Pretrained, channels: int
) -> nn.Module:
    """All weights of a network, its head with as many classes as the file has, and what stood before it."""
    network: nn.Module = make(in_channels=channels, weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        hint = " A whole network starts those of the same options, channels and classes alone."
        raise _misfit(found, state, network.state_dict(), "this network", hint) from error
    if not front:
        return network
    before = Renormalise(channels, MEAN, STD)
    before.load_state_dict(front)
    return nn.Sequential(before, network)


def _smps(make: Make, state: dict[str, Tensor], found: Pretrained, channels: int) -> nn.Module:
    """An encoder of segmentation-models-pytorch is loaded for colours first; it leaves the head of classifiers out."""
    network: Any = make(in_channels=3, weights=None)
    try:
        network.encoder.load_state_dict(dict(state))  # some encoders change what they are given
    except RuntimeError as error:
        raise _misfit(found, state, network.encoder.state_dict(), "the encoder") from error
    network.encoder.set_in_channels(channels, pretrained=True)
    return network


def _timms(make: Make, state: dict[str, Tensor], found: Pretrained, channels: int) -> nn.Module:
    """An encoder of timm is loaded by timm, which renames what older files hold and adapts the first convolution."""
    with torch.device("meta"):
        plain: Any = make(in_channels=channels, weights=None)  # what cannot be built at all is named without a file
    overlay = {"state_dict": state, "custom_load": False}
    try:
        with _Copies() as copies:
            network: Any = make(in_channels=channels, weights=True, pretrained_cfg_overlay=overlay)
    except BenchError:
        raise
    except Exception as error:  # of filters that expect names that the file does not have
        raise _misfit(found, state, plain.encoder.state_dict(), "the encoder") from error
    for module in network.modules():
        getattr(module, "pretrained_cfg", {}).pop("state_dict", None)
    wanted = {
        name: tensor for name, tensor in network.encoder.state_dict(keep_vars=True).items() if _counts(name, tensor)
    }
    empty = [name for name, tensor in wanted.items() if id(tensor) not in copies.into]
    if empty:
        raise _error(found, len(wanted) - len(empty), len(wanted), "the encoder", f"{empty[0]} is not in it")
    return network


class _Copies(TorchFunctionMode):
    """Notes the tensors that something is copied into, which is how a state is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.into: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.copy_:
            self.into[id(args[0])] = args[0]
        return func(*args, **(kwargs or {}))


def _counts(name: str, tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) or name.endswith(STATISTICS)


def _unwrapped(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a network, and those of the `Renormalise` before it, from the file of a stored cell."""
    if all(name.startswith("1.") for name in state):  # it was given grey images: see bench.networks
        state = {name.removeprefix("1."): tensor for name, tensor in state.items()}
    if "0.scale" not in state:
        return state, {}
    parts: dict[str, dict[str, Tensor]] = {"0": {}, "1": {}}
    for name, tensor in state.items():
        which, _, inner = name.partition(".")
        parts.setdefault(which, {})[inner] = tensor
    return parts["1"], parts["0"]


def _misfit(
    found: Pretrained, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str, hint: str = ""
) -> DataError:
    """The error for a file of something else: how much of it fits, and the first that does not."""
    shapes = {_plain(name): tuple(tensor.shape) for name, tensor in state.items()}
    bad = [name for name, tensor in wanted.items() if shapes.get(_plain(name)) != tuple(tensor.shape)]
    first = "it holds more than those"
    if bad:
        there = shapes.get(_plain(bad[0]))
        first = f"{bad[0]} {tuple(wanted[bad[0]].shape)} is {f'{there} in it' if there else 'not in it'}"
    return _error(found, len(wanted) - len(bad), len(wanted), what, first, hint)


def _error(found: Pretrained, fit: int, of: int, what: str, first: str, hint: str = "") -> DataError:
    return DataError(
        f"{found.source} does not fit: it fills {fit} of the {of} tensors of {what}; {first}. Wanted is a file of the "
        f"weights of this encoder, or of this network.{hint}"
    )


def _plain(name: str) -> str:
    """Encoders name the same layer `model.stages_0` and `stages.0`."""
    return name.removeprefix("model.").replace("_", ".")
