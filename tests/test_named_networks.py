"""TernausNet-11 and -16 and Efficient U-Net: what was published of them, counted by hand."""

from __future__ import annotations

import itertools

import pytest
import torch

from bench import catalog, networks
from bench.errors import NameUnknown
from bench.specs import Option

VGG = {11: [64, 128, 256, 256, 512, 512, 512, 512], 16: [64, 64, 128, 128, 256, 256, 256, *[512] * 6]}


def convolutions(*channels: int, kernel: int = 3) -> int:
    """Weights and biases of convolutions, one after another."""
    return sum(kernel * kernel * before * after + after for before, after in itertools.pairwise(channels))


def parameters(name: str, channels: int = 3, classes: int = 1, **options: Option) -> int:
    spec, _ = catalog.architecture(name)
    with torch.device("meta"):
        network = spec.build(channels=channels, classes=classes, **(dict(spec.options) | options))
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("layers", "middle", "published"), [(11, 128, 22.93), (16, 256, 29.31)])
@pytest.mark.parametrize(("channels", "classes"), [(3, 1), (1, 1), (3, 6)])
def test_ternausnet_has_the_parameters_that_were_published(
    layers: int, middle: int, published: float, channels: int, classes: int
):
    blocks = [(512, 512, 256), (768, 512, 256), (768, 512, middle), (256 + middle, 256, 64), (192, 128, 32)]
    decoder = sum(convolutions(*block) for block in blocks) + convolutions(96, 32) + convolutions(32, classes, kernel=1)
    count = parameters(f"ternausnet{layers}", channels, classes)

    assert convolutions(channels, *VGG[layers]) + decoder == count
    if (channels, classes) == (3, 1):
        assert published == round(count / 1e6, 2)


@pytest.mark.parametrize(
    ("variant", "features"),
    [("b0", [16, 24, 40, 112, 320]), ("b3", [24, 32, 48, 136, 384]), ("b6", [32, 40, 72, 200, 576])],
)
@pytest.mark.parametrize(("channels", "classes"), [(3, 2), (1, 6)])
def test_the_decoder_of_efficientunet_has_the_parameters_of_its_blocks(
    variant: str, features: list[int], channels: int, classes: int
):
    import timm

    with torch.device("meta"):
        encoder = timm.create_model(f"tf_efficientnet_{variant}", features_only=True, in_chans=channels)
    expected, before = sum(parameter.numel() for parameter in encoder.parameters()), features[4]
    for skip, after in [*((width, width) for width in reversed(features[:4])), (channels, features[0])]:
        convolved = 9 * ((before + skip) * after + after * after) + 4 * after  # without bias, normalised
        expected += convolved + convolutions(before + skip, after, kernel=1)
        before = after

    assert expected + convolutions(features[0], classes, kernel=1) == parameters(
        "efficientunet", channels, classes, variant=variant
    )


@pytest.mark.parametrize("variant", [f"b{number}" for number in range(8)])
def test_every_variant_of_efficientunet_can_be_built(variant: str):
    assert parameters("efficientunet", variant=variant) > 4e6


@pytest.mark.parametrize("name", ["ternausnet11", "ternausnet16", "efficientunet"])
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 2), (3, 11)])
def test_logits_stand_at_the_size_of_the_images(name: str, channels: int, classes: int):
    network = networks.build(f"{name}[channels={channels}]", classes, seed=0).eval()
    with torch.inference_mode():
        logits = network(torch.rand(1, 3, 64, 32))

    assert (1, classes, 64, 32) == tuple(logits.shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "kinds"), [("ternausnet11", {"ConvTranspose2d"}), ("ternausnet16", {"Upsample"})])
def test_only_ternausnet11_doubles_the_size_by_transposed_convolutions(name: str, kinds: set[str]):
    with torch.device("meta"):
        network = catalog.architecture(name)[0].build(channels=3, classes=2)
    found = [type(module).__name__ for module in network.modules()]

    assert dict.fromkeys(kinds, 5) == {
        kind: found.count(kind) for kind in ("ConvTranspose2d", "Upsample") if kind in found
    }


def test_the_last_block_of_efficientunet_sees_the_image_itself():
    network = networks.build("efficientunet", 2, seed=0).eval()
    seen: list[torch.Tensor] = []
    network.get_submodule("decoder.4").register_forward_hook(lambda module, given, result: seen.append(given[0]))
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        network(images)

    assert torch.equal(images, seen[0][:, -3:])


def test_an_unknown_variant_is_told_the_known_ones():
    with pytest.raises(NameUnknown, match="There are: b0, b1, b2, b3, b4, b5, b6, b7"):
        networks.build("efficientunet[variant=b8]", 2)
