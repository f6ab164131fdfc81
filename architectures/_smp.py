"""Shared by the families that segmentation-models-pytorch provides: one call that turns options into its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.errors import NameUnknown

from ._pretrained import pretrained
from ._reasons import ANY, reason

if TYPE_CHECKING:
    from torch import nn

    from ._weights import Make

LICENCE, ORIGIN = "MIT", "segmentation-models-pytorch"


def build(
    decoder: str, *, channels: int, classes: int, encoder: str, weights: str, frozen: int, **options: object
) -> nn.Module:
    """A model of segmentation-models-pytorch: (N, channels, H, W) to (N, classes, H, W).

    Raises:
        NameUnknown: If neither library has the encoder, or it does not go with the decoder, or has no such weights or
            not so many stages.
        DataError: If weights that it should start from cannot be had, or do not fit.
    """
    import segmentation_models_pytorch as smp

    arguments = {"encoder_name": encoder, "classes": classes, **options, **sizeless(encoder)}

    def made(*, weights: bool | None, **others: object) -> nn.Module:
        return smp.create_model(decoder, encoder_weights=weights, **arguments, **others)

    return started(made, what=decoder, channels=channels, encoder=encoder, weights=weights, frozen=frozen)


def started(make: Make, *, what: str, channels: int, encoder: str, weights: str, frozen: int = 0) -> nn.Module:
    """A network around an encoder of the library, random, or with the weights that the option names.

    Args:
        make: `make(in_channels, weights, **others)` builds the network, whose encoder is its attribute `encoder`;
            `weights` and `others` go to the encoder as they are.
        what: The name of the network in an error.
        frozen: How many stages of the encoder stay as they start.
    Raises:
        NameUnknown: If there is no such encoder, it does not go with the network, or has no such weights or not so many
            stages.
        DataError: If weights that it should start from cannot be had, or do not fit.
    """
    import torch

    def named(**arguments: Any) -> nn.Module:
        try:
            network = _anywhere(functools.partial(make, **arguments))
            if encoder.startswith("tu-"):
                _try_out(network, arguments["in_channels"], 128 if what == "pan" else 32)
            return network
        except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            if arguments["weights"]:  # it is the file that is to blame
                raise
            raise NameUnknown(f"{what}[encoder={encoder}] cannot be built: {reason(what, encoder, error)}") from error

    if {":", "/"} & set(encoder):  # timm would go and get a network from the Hub or a folder, which no record names
        raise NameUnknown(f"{what}[encoder={encoder}] cannot be built: an encoder is {ANY}, not where one lies.")
    if weights == "none" or torch.empty(0).is_meta:  # on the meta device there are no numbers
        network = named(in_channels=channels, weights=None)
    else:
        from ._weights import load

        found = pretrained(encoder, weights)
        assert found is not None
        network = load(named, found, channels=channels, encoder=encoder, weights=weights)
    if frozen != 0:
        from ._frozen import freeze

        freeze(network, frozen, what=what, encoder=encoder, channels=channels)
    return network


def _anywhere(make: Callable[[], nn.Module]) -> nn.Module:
    """What is made, on the meta device too where an encoder computes with numbers while it is made."""
    import torch

    try:
        return make()
    except RuntimeError as error:
        if "meta tensor" not in str(error):
            raise
        with torch.device("cpu"):
            return make().to("meta")


def _try_out(network: nn.Module, channels: int, divisor: int) -> None:
    """Run a network on the shapes of images alone: an encoder of timm may be made, and yet be bound to one size.

    Raises:
        RuntimeError: If images are refused, or logits have another size than they.
    """
    import torch
    from torch.func import functional_call

    state = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    size = (divisor, 7 * divisor)  # the smallest edge there is, and one that has no divisor with it but that
    network.eval()
    try:
        with torch.no_grad():
            found = functional_call(network, state, torch.empty(1, channels, *size, device="meta")).shape[-2:]
    except Exception as error:
        raise RuntimeError(
            f"it refuses images of {size[0]} x {size[1]} ({str(error) or type(error).__name__})"
        ) from error
    network.train()
    if tuple(found) != size:
        raise RuntimeError(f"images of {size[0]} x {size[1]} come out as {found[0]} x {found[1]}")


def pyramid(base: int, levels: int = 5) -> tuple[int, ...]:
    """Channels of a decoder from its deepest level to full resolution, halved at each: 256, 128, 64, 32, 16."""
    return tuple(max(base // 2**level, 8) for level in range(levels))


def sizeless(encoder: str) -> dict[str, bool]:
    """What makes an encoder of timm take images of any size, where it was written for one."""
    for beginnings, argument in {
        ("tu-swin", "tu-volo"): {"strict_img_size": False},
        ("tu-vit", "tu-deit", "tu-eva", "tu-beit"): {"dynamic_img_size": True},
    }.items():
        if encoder.startswith(beginnings):
            return argument
    return {}
