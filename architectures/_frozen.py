"""Stages of an encoder that stay as they start; imported when some are frozen, since it loads torch."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.errors import NameUnknown

EDGE = 64
"""The image that is followed through an encoder is so high and wide [pixels]; it has no numbers."""


def freeze(network: nn.Module, stages: int, *, what: str, encoder: str, channels: int) -> None:
    """Keep the first stages of the `encoder` of a network: not trained, running statistics included.

    Args:
        network: Made and loaded; it may stand behind what normalises images anew.
        stages: How many. The first ends with the first features that depend on any parameter: the image itself, which
            some encoders hand on, is none.
        what: The name of the network in an error; `encoder` that of its encoder.
        channels: Of the images that the encoder is given.
    Raises:
        NameUnknown: If the encoder has fewer stages.
    """
    inner = network[-1] if isinstance(network, nn.Sequential) else network
    known = _stages(inner, channels)
    if not 0 <= stages <= len(known):
        raise NameUnknown(
            f"{what}[frozen={stages}] cannot be built: {encoder} has {len(known)} stages here. "
            f"Give frozen=0 to {len(known)}."
        )
    for name in set().union(*known[:stages]):
        inner.get_parameter(name).requires_grad_(False)
    for layer in inner.get_submodule("encoder").modules():
        own = list(layer.parameters(recurse=False))
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and own and not any(one.requires_grad for one in own):
            _still(layer.eval())


class _Encoder(nn.Module):
    """A network as far as its decoder: `features(images)`, or its `encoder` where it has no such method."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """What the decoder is given."""
        features = getattr(self.network, "features", None) or self.network.get_submodule("encoder")
        return features(images)


def _stages(network: nn.Module, channels: int) -> list[set[str]]:
    """The parameters of an encoder that its features depend on, those left out that features before them do."""
    state = {
        f"network.{name}": tensor.detach().to("meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    parameters = {
        name: state[f"network.{name}"].requires_grad_()
        for name, _ in network.named_parameters()
        if name.startswith("encoder.")
    }
    training = network.training
    with torch.enable_grad():
        images = torch.empty(1, channels, EDGE, EDGE, device="meta")
        features = functional_call(_Encoder(network.eval()), state, images)
    network.train(training)
    if not isinstance(features[0], Tensor):  # a transformer's, with its other tokens beside them
        features = features[0]
    found = list[set[str]]()
    for feature in features:
        if not feature.requires_grad:  # the image, or what stands for a scale that the encoder has not
            continue
        gradients = torch.autograd.grad(feature.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
        needed = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        found.append(needed.difference(*found))
    return [names for names in found if names]


def _still(layer: Any) -> None:
    """A layer that stays in the mode it is in, also when the network around it, or a copy of it, begins to train."""
    layer.train = MethodType(_stay, layer)


def _stay(layer: nn.Module, mode: bool = True) -> nn.Module:
    return layer
