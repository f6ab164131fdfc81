"""The seeds' own U-Nets compute what others compute: MONAI, and the formulas written out."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import catalog

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # its older versions use what torch has since deprecated
    from monai.networks.blocks import Convolution
    from monai.networks.nets import BasicUNet
    from monai.networks.nets.basic_unet import UpCat


def build(name: str, classes: int) -> Any:
    spec, options = catalog.architecture(name)
    return spec.build(classes=classes, **options)


class Swapped(nn.Module):
    """MONAI puts what comes across before what comes up, the seeds behind it."""

    def forward(self, x: Tensor) -> Tensor:
        across, up = x.chunk(2, dim=1)
        return torch.cat([up, across], dim=1)


class Sharpened(nn.Module):
    """A step up whose features from across are nine times what each pixel has more than the mean around it."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, across: Tensor) -> Tensor:
        return self.step(x, 9 * (across - functional.avg_pool2d(across, kernel_size=3, stride=1, padding=1)))


class Residual(nn.Module):
    """Normalised and activated before each of two convolutions, beside another convolution of the input."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(after), nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        between = self.conv1(functional.relu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(functional.relu(self.norm2(between)))


def monai_unet(width: int, act: Any) -> Any:
    """Five levels without normalisation."""
    widths = [width * 2**level for level in range(5)]
    network: Any = BasicUNet(2, 3, 4, features=(*widths, width), act=act, norm=None)
    network.upcat_1 = UpCat(
        2, 2 * width, width, width, act, None, True
    )  # there, too, channels are halved on the way up
    for step in steps_up(network):
        step.convs = nn.Sequential(Swapped(), step.convs)
    return network


def monai_early(width: int, layer: Callable[[int, int], nn.Module]) -> Any:
    """As a seed has it: one layer at the bottom, and channels that are halved before the size is doubled."""
    network, widths = monai_unet(width, "relu"), [width * 2**level for level in range(5)]
    for part, pair in zip(steps_down(network), itertools.pairwise([3, *widths]), strict=True):
        last = (pair[1], pair[1]) if pair[1] < 16 * width else pair[::-1]
        part.convs = nn.Sequential(layer(*pair), layer(*last))
    network.conv_0 = network.conv_0.convs
    for number, wide, narrow in ((4, 8, 4), (3, 4, 2), (2, 2, 1), (1, 1, 1)):
        step: Any = UpCat(2, wide * width, wide * width, 1, "relu", None, True, halves=False)
        layers = layer(2 * wide * width, wide * width), layer(wide * width, narrow * width)
        step.convs = nn.Sequential(Swapped(), *layers)
        setattr(network, f"upcat_{number}", step)
    return network


def steps_down(network: Any) -> list[Any]:
    return [network.conv_0, network.down_1, network.down_2, network.down_3, network.down_4]


def steps_up(network: Any) -> list[Any]:
    return [network.upcat_4, network.upcat_3, network.upcat_2, network.upcat_1]


def with_leaky_ups() -> Any:
    network = monai_unet(8, ("LeakyReLU", {"negative_slope": 0.1}))
    for step in steps_up(network):
        step.upsample = nn.Sequential(step.upsample, nn.LeakyReLU(0.1))
    return network


def with_sharp_skips() -> Any:
    network = monai_unet(8, "relu")
    for number in range(1, 5):
        setattr(network, f"upcat_{number}", Sharpened(getattr(network, f"upcat_{number}")))
    return network


def normalised(before: int, after: int) -> nn.Module:
    return Convolution(2, before, after, act="relu", norm="batch")


def weighted(*parts: nn.Module) -> Iterable[nn.Module]:
    """The layers that hold weights, in order."""
    return (
        layer for part in parts for layer in part.modules() if next(layer.parameters(recurse=False), None) is not None
    )


def copy(ours: Any, theirs: Any) -> None:
    """Other weights than the first ones for all layers of ours, and the same for those of the reference."""
    ups = [getattr(step, "step", step) for step in steps_up(theirs)]
    given = weighted(ours.encoder, ours.ups, ours.decoder, ours.heads)
    taken = weighted(
        *steps_down(theirs), *(step.upsample for step in ups), *(step.convs for step in ups), theirs.final_conv
    )
    with torch.no_grad():
        for one, other in zip(given, taken, strict=True):
            for parameter in one.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
            other.load_state_dict(one.state_dict())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("flexunet[dropout=0,kernel=3,levels=5,width=8]", lambda: monai_unet(8, "relu")),
        ("flexunet[activation=mish,dropout=0,kernel=3,levels=5,width=8]", lambda: monai_unet(8, "mish")),
        ("halfwidth_unet[width=8]", with_leaky_ups),
        ("sharpunet[width=8]", with_sharp_skips),
        ("classic_unet[width=8]", lambda: monai_early(8, normalised)),
        ("resunet[width=8]", lambda: monai_early(8, Residual)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_a_unet_computes_what_that_of_monai_does(name: str, reference: Callable[[], Any], training: bool):
    torch.manual_seed(0)
    ours, theirs = build(name, classes=4).double().train(training), reference().double().train(training)
    copy(ours, theirs)
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-9, atol=1e-9)


def normal(x: Tensor) -> Tensor:
    """Normalised by the batch, as Keras does before anything is learned."""
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), False, keepdim=True) + 1e-3).sqrt()


@pytest.mark.parametrize("normalisation", [False, True])
def test_flexunet_computes_its_formulas(normalisation: bool):
    """Convolution, activation, normalisation; a kernel smaller by 2 and a dilation by 1 in each level down."""
    torch.manual_seed(0)
    name = f"flexunet[dilation=3,dropout=0,kernel=7,levels=4,width=4,normalisation={str(normalisation).lower()}]"
    network, x = build(name, classes=2).double(), torch.randn(2, 3, 32, 48, dtype=torch.float64)
    state = network.state_dict()

    def block(x: Tensor, part: str, level: int) -> Tensor:
        kernel, dilation = [(7, 3), (5, 2), (3, 1), (3, 1)][level]
        for step in range(2):
            at = step * (3 if normalisation else 2)
            weight, bias = state[f"{part}.{at}.weight"], state[f"{part}.{at}.bias"]
            padded = functional.pad(x, [dilation * (kernel // 2)] * 4)
            x = functional.conv2d(padded, weight, bias, dilation=dilation).clamp(min=0)
            x = normal(x) if normalisation else x
        return x

    with torch.no_grad():
        skips = [block(x, "encoder.0", 0)]
        for level in range(1, 4):
            skips.append(block(functional.max_pool2d(skips[-1], 2), f"encoder.{level}", level))
        found = skips.pop()
        for number, level in enumerate((2, 1, 0)):
            up = functional.conv_transpose2d(
                found, state[f"ups.{number}.weight"], state[f"ups.{number}.bias"], stride=2
            )
            found = block(torch.cat([up, skips.pop()], dim=1), f"decoder.{number}", level)
        expected = functional.conv2d(found, state["heads.0.weight"], state["heads.0.bias"])

        torch.testing.assert_close(expected, network.train()(x), rtol=1e-9, atol=1e-9)


def same(edge: int, kernel: int, stride: int) -> tuple[int, int]:
    """What TensorFlow adds before and behind an edge, for padding=same."""
    added = max((math.ceil(edge / stride) - 1) * stride + kernel - edge, 0)
    return added // 2, added - added // 2


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def padded(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    return functional.pad(x, [*same(x.shape[3], kernel, stride), *same(x.shape[2], kernel, stride)], value=value)


def test_xceptionunet_computes_what_the_example_of_keras_does():
    """Each convolution padded as TensorFlow does; ways that are doubled before they are added, not after."""
    torch.manual_seed(0)
    network = build("xceptionunet[width=4]", classes=3).double()
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    layers: Any = iter(weighted(network))

    def conv(x: Tensor, kernel: int, stride: int = 1) -> Tensor:
        layer = next(layers)
        assert kernel == layer.kernel_size[0]
        if isinstance(layer, nn.ConvTranspose2d):  # without a stride, a convolution by the kernel turned around
            return functional.conv2d(padded(x, kernel, 1), layer.weight.flip(2, 3).transpose(0, 1), layer.bias)
        x = padded(x, kernel, stride)
        return functional.conv2d(x, layer.weight, layer.bias, stride=stride, groups=layer.groups)

    def norm(x: Tensor) -> Tensor:
        assert isinstance(next(layers), nn.BatchNorm2d)
        return normal(x)

    def separable(x: Tensor) -> Tensor:
        return norm(conv(conv(x.relu(), 3), 1))

    with torch.no_grad():
        x = norm(conv(images, 3, 2)).relu()
        for _ in range(3):
            pooled = functional.max_pool2d(padded(separable(separable(x)), 3, 2, -math.inf), kernel_size=3, stride=2)
            x = pooled + conv(x, 1, 2)
        for _ in range(4):
            main = norm(conv(norm(conv(x.relu(), 3)).relu(), 3))
            x = doubled(main) + conv(doubled(x), 1)
        expected = conv(x, 3)

        torch.testing.assert_close(expected, network.train()(images), rtol=1e-9, atol=1e-9)
