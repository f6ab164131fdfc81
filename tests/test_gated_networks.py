"""Attention U-Net, R2U-Net, both together, and MultiResUNet: they compute what others do, and what was published."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import catalog, networks
from bench.errors import NameUnknown

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # its older versions use what torch has since deprecated
    from monai.networks.blocks import Convolution
    from monai.networks.nets.attentionunet import AttentionBlock, AttentionUnet, ConvBlock


def build(name: str, classes: int = 4) -> Any:
    spec, options = catalog.architecture(name)
    return spec.build(classes=classes, **options)


def shapes(name: str, classes: int = 1) -> Any:
    with torch.device("meta"):
        return build(name, classes)


def disturbed(name: str) -> Any:
    """In double precision, with other weights than the first ones, of which some are all alike."""
    torch.manual_seed(0)
    network = build(name).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return network


def pictures(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64)


def weighted(*parts: nn.Module) -> Iterator[Any]:
    """The layers that hold weights, in order."""
    return (one for part in parts for one in part.modules() if next(one.parameters(recurse=False), None) is not None)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("attention_unet", 34_878_573),
        ("r2unet", 39_091_393),  # of the common implementation, as 39.09 million
        ("r2unet[steps=3]", 39_091_393),
        ("attention_r2unet", 39_442_925),
    ],
)
def test_a_network_has_the_parameters_that_were_published(name: str, published: int):
    assert published == sum(one.numel() for one in shapes(name).parameters())


def test_multiresunet_has_the_numbers_that_were_published():
    """Keras counts running statistics, too, of which its normalised logits have two more."""
    network = shapes("multiresunet")
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    running = sum(one.numel() for label, one in network.named_buffers() if "running_" in label)

    assert 7_238_228 == trained
    assert 7_262_750 == trained + running + 2


def test_the_blocks_and_the_paths_of_multiresunet_are_as_wide_and_as_long_as_published():
    network = shapes("multiresunet")

    assert [51, 105, 212, 426, 853] == [block[-1].num_features for block in network.encoder]
    assert [[8, 17, 26], [17, 35, 53], [35, 71, 106], [71, 142, 213], [142, 284, 427]] == [
        [layer[0].out_channels for layer in block[0].main.layers] for block in network.encoder
    ]
    assert [1, 2, 3, 4] == [len(path.layers) for path in network.across]


class Swapped(nn.Module):
    """MONAI puts what comes across before what comes up, the seeds behind it."""

    def forward(self, x: Tensor) -> Tensor:
        across, up = x.chunk(2, dim=1)
        return torch.cat([up, across], dim=1)


def monai_attention(widths: list[int], each: str) -> tuple[AttentionUnet, Any, Any]:
    """Attention U-Net of MONAI, with maxima, doubled pixels, and two layers where it merges.

    It has strides, transposed convolutions and one layer there, which normalises each picture alone. Its order, its
    gates and its layers are left as they are, but where each channel has a gate.
    """
    network = AttentionUnet(2, 3, 4, widths, [2] * (len(widths) - 1))
    layer: Any = network.model[1]
    down: list[nn.Module] = [network.model[0]]
    up: list[nn.Module] = [network.model[2]]
    for width, wide in itertools.pairwise(widths):
        down.append(ConvBlock(2, width, wide))
        up += [nn.Sequential(nn.Upsample(scale_factor=2), Convolution(2, wide, width, act="relu", norm="batch"))]
        layer.upconv, layer.merge = up[-1], nn.Sequential(Swapped(), ConvBlock(2, 2 * width, width))
        if each == "channel":
            layer.attention = AttentionBlock(2, f_int=width, f_g=width, f_l=width)
            layer.attention.psi = nn.Sequential(nn.Conv2d(width, width, kernel_size=1), nn.Sigmoid())
        up[-1:] = [layer.merge, layer.attention, layer.upconv]
        halved = nn.Sequential(nn.MaxPool2d(2), down[-1])
        if wide == widths[-1]:
            layer.submodule = halved
        else:
            layer.submodule[0] = halved
            layer = layer.submodule[1]
    return network, down, up[::-1]


@pytest.mark.parametrize(("each", "levels"), [("pixel", 5), ("pixel", 3), ("channel", 4)])
@pytest.mark.parametrize("training", [False, True])
def test_attention_unet_computes_what_that_of_monai_does(each: str, levels: int, training: bool):
    ours = disturbed(f"attention_unet[gate={each},levels={levels},width=8]").train(training)
    reference, down, up = monai_attention([8 * 2**level for level in range(levels)], each)
    theirs = reference.double().train(training)
    given = weighted(ours.encoder, *itertools.chain(*zip(ours.ups, ours.across, ours.decoder, strict=True)), ours.heads)
    for one, other in zip(given, weighted(*down, *up), strict=True):
        other.load_state_dict(one.state_dict())
    images = pictures(32, 48)

    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-9, atol=1e-9)


def convolved(x: Tensor, layer: Any) -> Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def normal(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalised by the batch."""
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), False, keepdim=True) + eps).sqrt()


def scaled(x: Tensor, layer: Any, eps: float = 1e-5) -> Tensor:
    return normal(x, eps) * layer.weight[:, None, None] + layer.bias[:, None, None]


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def r2_block(x: Tensor, block: Any, steps: int) -> Tensor:
    """A 1x1 convolution, and two recurrent layers whose result is added to what it gives."""
    x = found = convolved(x, block[0])
    for unit in block[1].main:
        state = dict(unit.named_parameters())
        start, last = found, torch.zeros_like(found)
        for _ in range(1 + steps):
            last = normal(functional.conv2d(start + last, state["conv.weight"], state["conv.bias"], padding=1))
            last = (last * state["factor"] + state["offset"]).clamp(min=0)
        found = last
    return x + found


def gated(up: Tensor, skip: Tensor, gate: Any) -> Tensor:
    """The common implementation's gate, with one share for all channels of a pixel."""
    (ask, ask_norm, _), (asked, asked_norm, _), (share, share_norm, _) = gate.asking, gate.asked, gate.share
    both = scaled(convolved(up, ask), ask_norm) + scaled(convolved(skip, asked), asked_norm)
    return skip / (1 + torch.exp(-scaled(convolved(both.clamp(min=0), share), share_norm)))


@pytest.mark.parametrize(
    ("name", "steps"), [("r2unet", 1), ("r2unet", 2), ("r2unet", 3), ("attention_r2unet", 1), ("attention_r2unet", 2)]
)
def test_r2unet_computes_its_formulas_with_gates_and_without(name: str, steps: int):
    network, x = disturbed(f"{name}[steps={steps},width=4]").train(), pictures(32, 48)
    with torch.no_grad():
        skips = [r2_block(x, network.encoder[0], steps)]
        for block in network.encoder[1:]:
            skips.append(r2_block(functional.max_pool2d(skips[-1], 2), block, steps))
        found = skips.pop()
        for (_, (conv, norm, _)), gate, step in zip(
            network.ups, network.across or itertools.repeat(None), network.decoder, strict=False
        ):
            up, skip = scaled(convolved(doubled(found), conv), norm).clamp(min=0), skips.pop()
            if name == "attention_r2unet":
                skip = gated(up, skip, gate)
            found = r2_block(torch.cat([up, skip], dim=1), step, steps)

        torch.testing.assert_close(convolved(found, network.heads[0]), network(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["r2unet[steps=3,width=4]", "attention_r2unet[width=4]"])
def test_what_recurrent_layers_give_in_evaluation_is_what_they_give_in_training(name: str):
    """Runs that share running statistics are evaluated by those of none of them."""
    block, images = disturbed(name).encoder[0], pictures(64, 64)
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        torch.testing.assert_close(block.train()(images), block.eval()(images), rtol=1e-2, atol=1e-2)


def multires(x: Tensor, block: Any, eps: float = 1e-3) -> Tensor:
    """Three chained layers, joined, beside a 1x1 convolution; offsets alone, but behind what is joined or added."""
    total, _, norm = block
    found: list[Tensor] = []
    for conv, offset, _ in total.main.layers:
        at = normal(convolved(found[-1] if found else x, conv), eps) + offset.bias[:, None, None]
        found.append(at.clamp(min=0))
    conv, offset = total.beside
    beside = normal(convolved(x, conv), eps) + offset.bias[:, None, None]
    return scaled((scaled(torch.cat(found, dim=1), total.main.norm, eps) + beside).clamp(min=0), norm, eps)


def res_path(x: Tensor, path: Any, eps: float = 1e-3) -> Tensor:
    """Each time a layer beside a 1x1 convolution."""
    for total, _, norm in path.layers:
        main, beside = (
            normal(convolved(x, conv), eps) + offset.bias[:, None, None]
            for conv, offset in (total.main[:2], total.beside)
        )
        x = scaled((main.clamp(min=0) + beside).clamp(min=0), norm, eps)
    return x


@pytest.mark.parametrize("levels", [3, 5])
def test_multiresunet_computes_its_formulas(levels: int):
    network, x = disturbed(f"multiresunet[levels={levels},width=5]").train(), pictures(32, 48)
    with torch.no_grad():
        skips = [multires(x, network.encoder[0])]
        for block in network.encoder[1:]:
            skips.append(multires(functional.max_pool2d(skips[-1], 2), block))
        found = skips.pop()
        for up, path, block in zip(network.ups, network.across, network.decoder, strict=True):
            above = functional.conv_transpose2d(found, up.weight, up.bias, stride=2)
            found = multires(torch.cat([above, res_path(skips.pop(), path)], dim=1), block)

        torch.testing.assert_close(convolved(found, network.heads[0]), network(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("attention_unet[gate=row]", "there is no gate=row, but pixel, channel"),
        ("attention_unet[levels=1]", "width=64 must be at least 1, and levels=1 at least 2"),
        ("attention_unet[width=0]", "width=0 must be at least 1"),
        ("r2unet[steps=0]", "width=64 and steps=0 must be at least 1"),
        ("attention_r2unet[steps=0]", "width=64 and steps=0 must be at least 1"),
        ("multiresunet[width=3]", "width=3 must be at least 4, and levels=5 at least 2"),
        ("multiresunet[levels=1]", "width=32 must be at least 4, and levels=1 at least 2"),
    ],
)
def test_options_that_make_no_network_are_refused_in_one_line(name: str, told: str):
    with pytest.raises(NameUnknown) as refused:
        networks.build(name, 2)

    assert str(refused.value).startswith(f"{name.partition('[')[0]} cannot be built: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
