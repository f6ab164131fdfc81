"""The seeds' own U-Nets: what was published of them, how they start, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.ndimage
import torch
from torch import nn

from bench import catalog, networks
from bench.errors import NameUnknown

SEED_0 = "flexunet[dilation=2,dropout=0.07,kernel=7,levels=7]"
SEED_2, SEED_4 = "flexunet[kernel=9,levels=8]", "flexunet[dilation=3,kernel=9,levels=8]"


def build(name: str, channels: int = 3, classes: int = 1) -> Any:
    spec, options = catalog.architecture(name)
    return spec.build(classes=classes, **{**options, "channels": channels})


def shapes(name: str, channels: int = 3, classes: int = 1) -> Any:
    with torch.device("meta"):
        return build(name, channels, classes)


@pytest.mark.parametrize(
    ("name", "channels", "classes", "published"),
    [
        (SEED_0, 3, 1, 31_226_609),
        (SEED_2, 3, 6, 124_996_934),
        (SEED_4, 3, 1, 124_996_849),
        ("halfwidth_unet", 3, 11, 7_760_427),
        ("classic_unet", 3, 1, 23_381_121),
        ("classic_unet", 1, 1, 23_379_969),
        ("resunet", 3, 1, 67_383_111),
        ("xceptionunet", 3, 3, 2_055_203),  # of Keras' example, without its running statistics
    ],
)
def test_a_network_has_the_parameters_that_were_published(name: str, channels: int, classes: int, published: int):
    assert published == sum(one.numel() for one in shapes(name, channels, classes).parameters())


@pytest.mark.parametrize(
    ("name", "kernels", "dilations", "dropout", "narrowest"),
    [
        (SEED_0, [7, 5, 3, 3, 3, 3, 3], [2, 1, 1, 1, 1, 1, 1], 0.07, 1024),
        (SEED_2, [9, 7, 5, 3, 3, 3, 3, 3], [1, 1, 1, 1, 1, 1, 1, 1], 0.05, 2048),
        (SEED_4, [9, 7, 5, 3, 3, 3, 3, 3], [3, 2, 1, 1, 1, 1, 1, 1], 0.05, 2048),
    ],
)
def test_the_levels_of_flexunet_look_as_far_as_was_published(
    name: str, kernels: list[int], dilations: list[int], dropout: float, narrowest: int
):
    network = shapes(name)
    for part, levels in ((network.encoder, range(len(kernels))), (network.decoder, reversed(range(len(kernels) - 1)))):
        for block, level in zip(part, levels, strict=True):
            convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            rates = [layer.p for layer in block.modules() if isinstance(layer, nn.Dropout)]

            assert [kernels[level]] * 2 == [conv.kernel_size[0] for conv in convs]
            assert [dilations[level]] * 2 == [conv.dilation[0] for conv in convs]
            assert rates == ([pytest.approx(dropout * level)] if level else [])
    assert (narrowest, narrowest) == tuple(network.encoder[-1][-2].weight.shape[:2])


def convolutions(part: nn.Module, kind: type[nn.Module] = nn.Conv2d) -> list[Any]:
    return [layer for layer in part.modules() if isinstance(layer, kind)]


def test_flexunet_starts_as_keras_does():
    """He's truncated normal for convolutions, Glorot's uniform for the rest, and biases of zero."""
    torch.manual_seed(0)
    network = build("flexunet[kernel=5,levels=4]", classes=50)
    for conv in [*convolutions(network.encoder), *convolutions(network.decoder)]:
        inputs = conv.kernel_size[0] ** 2 * conv.in_channels
        deviation = math.sqrt(2 / inputs)

        assert deviation == pytest.approx(conv.weight.std().item(), rel=0.1 if conv.in_channels == 3 else 0.03)
        assert 1.9 < conv.weight.abs().max().item() / deviation < 2 / 0.8796
    for layer in [*convolutions(network.ups, nn.ConvTranspose2d), network.heads[0]]:
        fans = layer.kernel_size[0] ** 2 * (layer.in_channels + layer.out_channels)

        assert math.sqrt(6 / fans) == pytest.approx(layer.weight.abs().max().item(), rel=0.02)
        assert math.sqrt(2 / fans) == pytest.approx(layer.weight.std().item(), rel=0.05)
    assert all(0 == bias.abs().max() for name, bias in network.named_parameters() if name.endswith("bias"))


def test_the_half_width_unet_starts_with_glorots_normal_and_no_bias():
    torch.manual_seed(0)
    network = build("halfwidth_unet", classes=11)
    for layer in [*convolutions(network), *convolutions(network, nn.ConvTranspose2d)]:
        deviation = math.sqrt(2 / (layer.kernel_size[0] ** 2 * (layer.in_channels + layer.out_channels)))

        assert deviation == pytest.approx(layer.weight.std().item(), rel=0.1)
        assert layer.weight.abs().max().item() < 2 * deviation / 0.8796
        assert 0 == layer.bias.abs().max()


def test_what_goes_across_in_sharpunet_is_sharpened_by_its_kernel_and_nothing_of_it_is_trained():
    across, features = build("sharpunet").across, torch.rand(2, 5, 12, 16)
    kernel = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    expected = scipy.ndimage.convolve(features.numpy(), [[kernel]], mode="constant")

    torch.testing.assert_close(torch.from_numpy(expected), across[0](features + 1, features), rtol=1e-5, atol=1e-5)
    assert [] == list(across.parameters())


@pytest.mark.parametrize(
    "name",
    [
        *("flexunet[levels=7,width=2]", "halfwidth_unet[width=2]", "sharpunet[width=2]"),
        *("attention_unet[levels=6,width=2]", "r2unet[width=2]", "multiresunet[width=4]"),
    ],
)
@pytest.mark.parametrize("size", [(16, 48), (40, 24), (33, 31)])
def test_images_need_not_be_divisible_by_what_the_levels_halve_them_to(name: str, size: tuple[int, int]):
    """The levels of flexunet are an option, its divisor is not."""
    with torch.no_grad():
        logits = build(name, classes=5).eval()(torch.rand(1, 3, *size))

    assert (1, 5, *size) == tuple(logits.shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("kernel=4", "kernel=4 must be odd, and at least 3"),
        ("kernel=1", "kernel=1 must be odd, and at least 3"),
        ("levels=0", "width=16, levels=0 and dilation=1 must be at least 1"),
        ("dilation=0", "dilation=0 must be at least 1"),
        ("dropout=0.2", "dropout=0.2 must be at least 0 and below 0.2, since the deepest level drops 5 times it"),
        ("dropout=-1", "dropout=-1 must be at least 0"),
        ("activation=tanh", "there is no activation=tanh, but elu, gelu, mish, relu, selu, silu"),
    ],
)
def test_options_that_make_no_flexunet_are_refused_in_one_line(options: str, told: str):
    with pytest.raises(NameUnknown) as refused:
        networks.build(f"flexunet[{options}]", 2)

    assert str(refused.value).startswith("flexunet cannot be built: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
