"""Frozen stages of an encoder: which parameters they are, and that nothing moves them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from bench import catalog, estimate, losses, networks, train
from bench.errors import NameUnknown
from bench.specs import Recipe
from tests.small import plain

# How many stages there are, and what the first two of them are made of, by the beginnings of the names.
STAGES = {
    "unet[encoder=resnet18]": (5, ("conv1.", "bn1.", "layer1.")),
    "unet[encoder=vgg11]": (5, ("features.0.", "features.3.")),  # its first features are at full size
    "unet[encoder=mit_b0]": (4, ("patch_embed1.", "block1.", "norm1.", "patch_embed2.", "block2.", "norm2.")),
    "pspnet[encoder=resnet18]": (3, ("conv1.", "bn1.", "layer1.")),  # it uses no more of them
    "fpn[encoder=densenet121]": (5, ("features.conv0.", "features.norm0.", "features.denseblock1.", "features.transition1.norm.")),
    "unet[encoder=tu-convnextv2_atto]": (4, ("model.stem_", "model.stages_0.", "model.stages_1.")),
    "upernet[encoder=tu-swin_tiny_patch4_window7_224]": (4, ("model.patch_embed.", "model.layers_0.", "model.layers_1.")),
    "dpt[encoder=tu-test_vit,decoder=32]": (
        4,
        ("model.cls_token", "model.pos_embed", "model.patch_embed.", "model.blocks.0.", "model.blocks.1.", "model.blocks.2."),
    ),
    "ternausnet16": (5, ("features.0.", "features.2.", "features.5.", "features.7.")),
    "basnet[width=16]": (4, ("model.layer1.", "model.layer2.")),  # its first layer is its own
    "dinov3[blocks=8]": (4, ("cls_token", "reg_token", "patch_embed.", "blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.", "norm.")),
    "swinunet[width=24]": (4, ("patch_embed.", "layers.0.", "layers.1.downsample.")),
    "swinunet[skips=after,width=24]": (4, ("patch_embed.", "layers.0.", "layers.1.")),
    "transunet[heads=2,layers=1,width=32]": (4, ("patch_embed.backbone.stem.", "patch_embed.backbone.stages.0.")),
    "efficientunet": (5, ("model.conv_stem.", "model.bn1.", "model.blocks.0.", "model.blocks.1.")),
}  # fmt: skip
SMALL = "unet[encoder=tu-test_resnet,decoder=16,{}]"


def built(name: str, **more: object) -> nn.Module:
    spec, options = catalog.architecture(name)
    with torch.device("meta"):
        return spec.build(classes=2, **(options | more))


@pytest.mark.parametrize("name", STAGES)
def test_the_frozen_parameters_are_those_of_the_first_stages(name: str):
    _, beginnings = STAGES[name]
    network = built(name, frozen=2)
    frozen = {label for label, one in network.named_parameters() if not one.requires_grad}
    expected = {
        label
        for label, _ in network.named_parameters()
        if label.removeprefix("encoder.").startswith(beginnings) and label.startswith("encoder.")
    }

    assert expected == frozen
    assert all(any(label.removeprefix("encoder.").startswith(one) for label in frozen) for one in beginnings)


@pytest.mark.parametrize(("name", "count"), [*((name, count) for name, (count, _) in STAGES.items())])
def test_there_are_as_many_stages_as_the_network_takes_features_from(name: str, count: int):
    with pytest.raises(
        NameUnknown, match=rf"\[frozen={count + 1}\] .* has {count} stages .* Give frozen=0 to {count}\."
    ):
        built(name, frozen=count + 1)


def test_the_whole_encoder_can_be_frozen_and_no_less_than_nothing():
    trainable = {label for label, one in built("fpn", frozen=5).named_parameters() if one.requires_grad}

    assert not any(label.startswith("encoder.") for label in trainable)
    assert any(label.startswith("decoder.") for label in trainable)
    with pytest.raises(NameUnknown, match=r"fpn\[frozen=-1\] cannot be built"):
        built("fpn", frozen=-1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    torch.manual_seed(0)
    encoder = catalog.architecture(SMALL.format("channels=3"))[0].build(
        channels=3, classes=2, encoder="tu-test_resnet", decoder=16
    )
    state = {
        name: torch.rand_like(value) if value.is_floating_point() else value
        for name, value in train.weights(encoder.get_submodule("encoder")).items()
    }
    safetensors.torch.save_file({name.removeprefix("model."): value for name, value in state.items()}, path)
    return path


def trained(network: nn.Module, steps: int = 3) -> set[str]:
    """The parameters and running statistics that training moves."""
    before, recipe = train.weights(network), Recipe(weight_decay=0.1)
    optimiser = train.optimiser(network, recipe, 1e-2)
    images, masks = torch.rand(2, 3, 64, 64), torch.randint(2, (2, 64, 64))
    network.eval()
    network.train()
    for _ in range(steps):
        train.step(plain(network, divisor=32), losses.build("dice+ce"), optimiser, images, masks, recipe)
    return {name for name, value in train.weights(network).items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("channels", [1, 3])
def test_training_moves_no_number_of_a_frozen_stage_and_all_others(weights: Path, channels: int):
    network = networks.build(SMALL.format(f"channels={channels},frozen=2,weights={weights}"), 2, seed=0)
    beginning = "1.encoder.model." if channels == 1 else "encoder.model."
    stages = tuple(f"{beginning}{part}" for part in ("conv1.", "bn1.", "layer1."))
    frozen = {name for name in network.state_dict() if name.startswith(stages)}

    assert len([name for name in frozen if name.endswith("running_mean")]) > 1
    assert set(network.state_dict()) - frozen == trained(network)


def test_a_copy_keeps_its_frozen_stages_as_well(weights: Path):
    """A network is timed on a copy of it."""
    network = networks.build(SMALL.format(f"frozen=1,weights={weights}"), 2, seed=0)
    twin = copy.deepcopy(network)
    moved = trained(twin)

    assert not any(name.startswith(("encoder.model.conv1.", "encoder.model.bn1.")) for name in moved)
    assert network.get_submodule("encoder.model.layer1.0.bn1").training
    assert not twin.get_submodule("encoder.model.bn1").training


def test_what_is_frozen_does_not_count_as_trainable():
    name = "unet[encoder=resnet18,frozen=1,weights=imagenet]"
    whole, counted = (
        networks.sketch(one, 2, lambda network, divisor: networks.facts(network, divisor, (64, 64)))
        for one in ("unet[encoder=resnet18]", name)
    )

    assert 64 * 3 * 7 * 7 + 2 * 64 == whole.params - counted.params
    assert whole.flops == counted.flops
    assert counted.params == estimate._params(name, 2)


@pytest.mark.parametrize("name", ["unet[frozen=2]", "ternausnet11[frozen=1,weights=none]"])
def test_random_stages_are_not_frozen(name: str):
    with pytest.raises(
        NameUnknown, match=r"would keep random numbers.* Give weights=imagenet or a file, or frozen=0\."
    ) as told:
        networks.build(name, 2)

    assert "\n" not in str(told.value)
    assert {name: str(told.value)} == networks.check([name, "unet[frozen=2,weights=imagenet]"])


def test_too_many_frozen_stages_are_refused_before_a_study_runs():
    name = "unet[encoder=resnet18,frozen=6,weights=imagenet]"

    assert {name} == set(networks.check([name]))
