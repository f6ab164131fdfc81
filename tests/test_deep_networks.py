"""U2-Net, BASNet and UNet 3+: what was published of them, and other people's code of the first two."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import catalog, networks
from bench.errors import NameUnknown
from tests.contract.test_architectures import unmoved

HEADS = {"u2net[width=8]": 7, "u2net[variant=small,width=16]": 7, "basnet[width=16]": 8, "unet3plus[deep=true,levels=4,width=4]": 4, "attention_unet[deep=true,levels=4,width=4]": 3}  # fmt: skip


def built(name: str, classes: int = 1) -> nn.Module:
    spec, options = catalog.architecture(name)
    return spec.build(classes=classes, **options)


def parameters(name: str, classes: int = 1) -> int:
    with torch.device("meta"):
        return networks.facts(networks.build(name, classes), 32, (32, 32)).params


@pytest.mark.parametrize(
    ("name", "published"),
    [("u2net", 44_009_869), ("u2net[variant=small]", 1_131_181), ("basnet", 87_060_360)],
)
def test_there_are_as_many_parameters_as_were_published(name: str, published: int):
    """In megabytes of the files that were released, and to the unit in the code beside them; 87.06 M for BASNet."""
    assert published == parameters(name)


def convolutions(*channels: int) -> int:
    """Weights and biases of 3x3 convolutions, one after another, each with batch normalisation."""
    return sum(9 * before * after + 3 * after for before, after in itertools.pairwise(channels))


@pytest.mark.parametrize(("width", "levels", "classes"), [(64, 5, 1), (8, 3, 2), (16, 6, 11)])
def test_unet3plus_sees_every_scale_at_every_level(width: int, levels: int, classes: int):
    widths, fused = [width * 2**level for level in range(levels)], width * levels
    expected = sum(convolutions(before, after, after) for before, after in zip([3, *widths], widths, strict=False))
    for level in range(levels - 1):
        given = [*widths[: level + 1], *[fused] * (levels - 2 - level), widths[-1]]
        assert levels == len(given)
        expected += sum(convolutions(before, width) for before in given) + convolutions(fused, fused)
    heads = [9 * before * classes + classes for before in (*[fused] * (levels - 1), widths[-1])]
    name = f"unet3plus[levels={levels},width={width}{{}}]"

    assert expected + heads[0] == parameters(name.format(""), classes)
    assert expected + sum(heads) == parameters(name.format(",deep=true"), classes)
    if (width, levels, classes) == (64, 5, 1):
        assert 26.97 == round((expected + heads[0]) / 1e6, 2)  # as the paper has it


@pytest.mark.parametrize(("name", "count"), HEADS.items())
def test_every_depth_predicts_while_it_trains(name: str, count: int):
    with torch.device("meta"):
        heads = built(name, classes=3)(torch.empty(2, 3, 32, 64, device="meta"))

    assert [(2, 3, 32, 64)] * count == [tuple(logits.shape) for logits in heads]


@pytest.mark.parametrize(
    "name",
    [
        "u2net[deep={},width=8]",
        "basnet[deep={},width=16]",
        "unet3plus[deep={},levels=3,width=4]",
        "attention_unet[deep={},width=4]",
    ],
)
@pytest.mark.parametrize("deep", ["true", "false"])
def test_every_parameter_gets_a_gradient_with_and_without_deep_supervision(name: str, deep: str):
    torch.manual_seed(0)
    network = built(name.format(deep), classes=3)

    assert [] == unmoved(network, catalog.architecture(name.format(deep))[0].unused, 32)
    network.eval()
    assert isinstance(network(torch.rand(1, 3, 32, 32)), Tensor)


@pytest.mark.parametrize("name", HEADS)
def test_a_network_predicts_the_first_of_what_it_is_trained_for(name: str):
    torch.manual_seed(0)
    network, images = built(name, classes=2), torch.rand(2, 3, 64, 64)
    trained: Any = network.train()(images)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None  # as in training

    torch.testing.assert_close(trained[0], network.eval()(images), rtol=1e-4, atol=1e-4)


def test_the_stages_of_basnet_take_the_weights_of_a_resnet(tmp_path: Path):
    import safetensors.torch
    import timm

    state = timm.create_model("resnet34").state_dict()  # random numbers, but others than a network is built with
    safetensors.torch.save_file(state, tmp_path / "resnet34.safetensors")
    network = networks.build(f"basnet[weights={tmp_path / 'resnet34.safetensors'}]", 2)

    for name, value in state.items():
        if name.startswith("layer"):
            assert torch.equal(value, network.state_dict()[f"encoder.model.{name}"])


REFUSED = {
    "u2net[variant=tiny]": "There are: full, small",
    "u2net[width=10]": "a multiple of 4",
    "unet3plus[levels=2]": "levels=3 to 6",
    "unet3plus[levels=7]": "levels=3 to 6",
    "basnet[width=0]": "width=64, as published",
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_make_no_network_are_refused(name: str):
    with pytest.raises(NameUnknown, match=REFUSED[name]):
        networks.build(name, 2)


def others(package: str, path: str) -> ModuleType:
    """A file of a package that may be installed, without what else importing the package would do."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed: pip install --no-deps {package}")
    spec = importlib.util.spec_from_file_location(f"others_{package}", Path(found.origin).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def transplant(source: nn.Module, target: nn.Module, pairs: Iterable[tuple[Sequence[str], str]]) -> None:
    """Copy numbers of the modules of a source, in their order, into each module of a target."""
    given = set[str]()
    for names, name in pairs:
        parts = [source.get_submodule(one) for one in names]
        values = [value for part in parts for value in part.state_dict().values()]
        own = target.get_submodule(name)
        own.load_state_dict(dict(zip(own.state_dict(), values, strict=True)))
        given |= {f"{one}.{label}" for one in names for label in source.get_submodule(one).state_dict()}
    assert set(source.state_dict()) == given  # nothing is left over


def assert_equal_outputs(source: nn.Module, target: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """All outputs in training, and the prediction in evaluation; logits, in double precision."""
    monkeypatch.setattr(torch, "sigmoid", lambda logits: logits)
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected, heads = source.double().train()(images), target.double().train()(images)
        assert len(expected) == len(heads)
        for one, other in zip(expected, heads, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(target.eval()(images), source.eval()(images)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "kind"), [("full", "U2NET"), ("small", "U2NETP")])
def test_u2net_computes_what_the_one_of_backgroundremover_does(
    variant: str, kind: str, monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(0)
    source = getattr(others("backgroundremover", "u2net/u2net.py"), kind)(3, 1)
    target = built(f"u2net[variant={variant}]")
    pairs = [([f"stage{number}"], f"down.{number - 1}") for number in range(1, 7)]
    pairs += [([f"stage{number}d"], f"back.{number - 1}") for number in range(1, 6)]
    pairs += [([f"side{number}"], f"sides.{number - 1}") for number in range(1, 7)]
    transplant(source, target, [*pairs, (["outconv"], "fuse")])

    assert_equal_outputs(source, target, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torchvision, about how that code calls it
def test_basnet_computes_what_the_one_of_carvekit_does(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    source, target = others("carvekit", "ml/arch/basnet/basnet.py").BASNet(3, 1), built("basnet")
    names = [name for name, _ in source.named_children() if not re.match("relu|pool|up", name)]
    pairs: list[tuple[Sequence[str], str]] = [(["inconv", "inbn"], "stem")]
    pairs += [([f"encoder{number}"], f"encoder.model.layer{number}") for number in range(1, 5)]
    pairs += [([f"resb{number}_{block}" for block in (1, 2, 3)], f"deeper.{number - 5}") for number in (5, 6)]
    pairs += [([name for name in names if "bg_" in name], "bridge")]
    pairs += [([name for name in names if f"{number}d_" in name], f"decoder.{number - 1}") for number in range(1, 7)]
    pairs += [([f"outconv{which}"], f"heads.{head}") for head, which in enumerate("123456b")]
    refining = [f"refunet.{name}" for name, _ in source.refunet.named_children() if not re.match("relu|pool|up", name)]
    pairs += [(refining, "refine")]
    transplant(source, target, pairs)

    assert_equal_outputs(source, target, monkeypatch)
