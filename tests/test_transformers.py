"""Swin-Unet and TransUNet: against timm, torchvision, and numbers that another implementation gave."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer

from bench import catalog, networks
from bench.architectures import _swinunet  # ty: ignore[unresolved-import]
from bench.errors import DataError, NameUnknown

TINY, HYBRID = "swin_tiny_patch4_window7_224", "vit_base_r50_s16_224"
SMALL = "blocks=1,heads=4,layers=2,width=64"
SHORT: dict[str, Any] = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_classes": 0}
HYBRID_OPTIONS: dict[str, Any] = {"embed_dim": 64, "num_heads": 4, "num_classes": 0}


def parameters(name: str, classes: int) -> int:
    with torch.device("meta"):
        return networks.facts(networks.build(name, classes), 32, (64, 64)).params


def filled(network: nn.Module) -> nn.Module:
    """With numbers that depend on nothing but the names and shapes of its tensors; in evaluation mode.

    What scales, or is a variance, lies around one; weights are drawn so that signals stay about as large as they are.
    """
    draw = np.random.RandomState(0)
    with torch.no_grad():
        for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()]):
            if tensor.is_floating_point() and not name.endswith(("scale", "shift")):
                scales = tensor.ndim == 1 and name.endswith(("weight", "running_var"))
                spread = {1: 0.2, 3: 1.0}.get(tensor.ndim, 1.7 * tensor[:1].numel() ** -0.5)
                numbers = float(scales) + spread * draw.uniform(-1.0, 1.0, tuple(tensor.shape))
                tensor.copy_(torch.from_numpy(np.asarray(numbers, dtype=np.float32)))
    return network.eval()


def picture(height: int, width: int) -> Tensor:
    """One image that is not the same anywhere."""
    return torch.from_numpy(np.random.RandomState(1).standard_normal((1, 3, height, width)).astype(np.float32))


def caught(network: nn.Module, images: Tensor, *places: str) -> list[tuple[Tensor, ...]]:
    """What modules are given when the network sees images, by their names."""
    given: dict[str, tuple[Tensor, ...]] = {}
    for place in places:
        network.get_submodule(place).register_forward_pre_hook(lambda _, args, place=place: given.update({place: args}))
    with torch.no_grad():
        network(images)
    return [given[place] for place in places]


def levels(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What the blocks of a Swin-Unet give at each level, where its skips are taken after them: (N, H, W, C) each."""
    *skips, deepest = caught(network, images, "decoder.2", "decoder.1", "decoder.0", "encoder.norm")
    return [*(skip for _, skip in skips), deepest[0]]


def close(expected: Tensor, found: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_the_networks_have_the_parameters_that_were_published():
    """27.17 M and 105.28 M, for the nine classes of the data set in both papers, and images of 224 x 224.

    An independent implementation (PyMIC 0.6.2) has 27,168,900 and 105,323,161: it has the second for 256 x 256.
    """
    swin, hybrid = parameters("swinunet", 9), parameters("transunet", 9)

    assert (27_168_900, 27.17) == (swin, round(swin / 1e6, 2))
    assert (105_323_161 - (16 * 16 - 14 * 14) * 768, 105.28) == (hybrid, round(hybrid / 1e6, 2))


@pytest.mark.parametrize(("channels", "classes"), [(3, 2), (1, 6)])
def test_transunet_on_plain_convolutions_has_the_parameters_of_its_layers(channels: int, classes: int):
    encoder = sum(9 * (a * b + b * b) + 2 * b for a, b in itertools.pairwise((channels, 64, 128, 256, 512)))
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    tokens = 512 * 768 + 768 + 28 * 28 * 768 + 12 * layer + 2 * 768
    decoder = sum(9 * ((a + b) * b + b * b) + 4 * b for a, b in itertools.pairwise((512, 256, 128, 64)))
    middle = 9 * 768 * 512 + 2 * 512
    head = 9 * 64 * classes + classes

    assert encoder + tokens + middle + decoder + head == parameters(
        f"transunet[backbone=conv,channels={channels}]", classes
    )


PUBLISHED = {
    "swinunet": [0.663379, 0.937491, 0.381317, 1.201253, 0.376087, -0.557369, -0.322913, -0.068944, -1.164551],
    "transunet": [-0.139928, -0.075791, -0.438094, -0.105891, -0.046236, -0.025403, -0.166985, 0.026902, 0.086094],
}
"""Logits of three classes at (0, 0), (20, 33) and (63, 62), of the same numbers and pictures, by PyMIC 0.6.2.

Its TransUNet was given our maps of the ResNet, which differs as `build` says; these are compared with timm's below.
"""


def at_three_places(logits: Tensor) -> list[float]:
    return logits[0, :, [0, 20, 63], [0, 33, 62]].flatten().tolist()


def reference_swinunet() -> nn.Module:
    return filled(networks.build("swinunet[width=24]", 3))


def reference_transunet() -> nn.Module:
    """With as many position embeddings as an image of 64 x 64 has tokens, since PyMIC does not interpolate."""
    network = networks.build(f"transunet[{SMALL}]", 3)
    network.get_submodule("encoder").pos_embed = nn.Parameter(torch.zeros(1, 16, 64))
    return filled(network)


@pytest.mark.parametrize(("name", "edge"), [("swinunet", 224), ("transunet", 64)])
def test_logits_are_those_of_an_independent_implementation(name: str, edge: int):
    network = reference_swinunet() if name == "swinunet" else reference_transunet()
    with torch.no_grad():
        found = at_three_places(network(picture(edge, edge)))

    assert PUBLISHED[name] == pytest.approx(found, abs=1e-5)


def shortened(state: dict[str, Tensor], beginning: str) -> dict[str, Tensor]:
    """The tensors of one part of a network, as that part names them."""
    return {name.removeprefix(beginning): value for name, value in state.items() if name.startswith(beginning)}


@pytest.mark.parametrize("edge", [224, 448])
def test_the_encoder_of_swinunet_is_that_of_timm_where_windows_divide_the_maps(edge: int):
    """At 448, every map is larger than a window; at 224, the last one is a window, and is not shifted."""
    network = filled(networks.build("swinunet[width=24,skips=after]", 2))
    model: Any = timm.create_model(TINY, img_size=edge, **SHORT).eval()
    model.load_state_dict(shortened(network.state_dict(), "encoder."))
    images = picture(edge, edge)
    with torch.no_grad():
        expected = model.forward_intermediates(images, intermediates_only=True)

    for one, found in zip(expected, levels(network, images), strict=True):
        close(one, found.permute(0, 3, 1, 2))


def as_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a Swin transformer of timm by their names in torchvision, its head left out."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        kind, _, rest = name.partition(".")
        if kind == "patch_embed":
            renamed[rest.replace("proj", "features.0.0").replace("norm", "features.0.2")] = tensor
        elif kind == "layers":
            level, part, inner = rest.split(".", 2)
            inner = inner.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")
            renamed[f"features.{2 * int(level) + (part == 'blocks')}.{inner}"] = tensor
        else:
            renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 288)])
def test_the_encoder_of_swinunet_is_that_of_torchvision_at_any_size(size: tuple[int, int]):
    network = filled(networks.build("swinunet[width=24,skips=after]", 2))
    model = SwinTransformer([4, 4], 24, [2, 2, 2, 2], [3, 6, 12, 24], [7, 7], stochastic_depth_prob=0.0).eval()
    missing = model.load_state_dict(as_torchvision(shortened(network.state_dict(), "encoder.")), strict=False)
    maps: list[Tensor] = []
    for place in (1, 3, 5, 7):
        model.features[place].register_forward_hook(lambda module, given, result: maps.append(result))
    with torch.no_grad():
        model(picture(*size))

    assert ["head.weight", "head.bias"] == [one for one in missing.missing_keys if "relative_position_index" not in one]
    assert [] == missing.unexpected_keys
    for one, found in zip(maps, levels(network, picture(*size)), strict=True):
        close(one, found)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 8), (3, 3), (9, 9), (9, 1)])
def test_a_pixel_of_a_shifted_window_sees_its_own_window_alone(row: int, column: int):
    """Windows of 7, moved by 3, end at 3 and 10 of a map of 10 x 11: what fills the map up lies behind its edges."""
    network = filled(networks.build("swinunet[width=24]", 2))
    attention = network.get_submodule("encoder.layers.0.blocks.1.attn")
    x = torch.from_numpy(np.random.RandomState(2).standard_normal((1, 10, 11, 24)).astype(np.float32))
    _swinunet.windows(attention, x.requires_grad_(), shifted=True)[0, row, column].sum().backward()
    rows, columns = ((torch.arange(edge) + 4) // 7 for edge in (10, 11))
    window = (rows == rows[row])[:, None] & (columns == columns[column])

    assert x.grad is not None
    assert torch.equal(window, (x.grad[0].abs() > 1e-30).any(dim=-1))  # masks add -100


def test_the_skips_of_swinunet_are_taken_before_the_blocks_of_a_level_unless_asked_otherwise():
    network = filled(networks.build("swinunet[width=24]", 2))
    inputs = [f"encoder.layers.{level}.blocks.0.norm1" for level in range(3)]
    *skips, first, second, third = caught(network, picture(64, 96), "decoder.2", "decoder.1", "decoder.0", *inputs)

    for (expected,), (_, skip) in zip((first, second, third), skips, strict=True):
        assert torch.equal(expected, skip)


@pytest.mark.parametrize("size", [(224, 224), (64, 96)])
def test_the_tokens_of_transunet_are_those_of_timms_hybrid(size: tuple[int, int]):
    """Position embeddings are those of 224 x 224, and are interpolated for any other size."""
    network = filled(networks.build(f"transunet[backbone=r50,{SMALL.replace('blocks=1', 'blocks=9')}]", 2))
    model: Any = timm.create_model(
        HYBRID, class_token=False, global_pool="", dynamic_img_size=True, depth=2, **HYBRID_OPTIONS
    ).eval()
    model.load_state_dict(shortened(network.state_dict(), "encoder."))
    ((tokens,),) = caught(network, picture(*size), "middle")
    with torch.no_grad():
        expected = model.forward_features(picture(*size))

    assert (1, 64, size[0] // 16, size[1] // 16) == tuple(tokens.shape)
    close(expected, tokens.flatten(2).mT)


def test_every_parameter_of_transunet_on_plain_convolutions_is_trained():
    network = networks.build("transunet[backbone=conv,heads=2,layers=1,width=8]", 3, seed=0)
    network(picture(40, 24)).square().mean().backward()

    assert [] == [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]


@pytest.fixture(scope="module")
def swin_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A file as of timm's Swin-T, narrow: six blocks in its third level, and a classifier."""
    state = filled(timm.create_model(TINY, embed_dim=24)).state_dict()
    path = tmp_path_factory.mktemp("swin") / "swin.safetensors"
    safetensors.torch.save_file(state, path)
    return path, state


@pytest.mark.parametrize("channels", [3, 1])
def test_weights_of_swin_t_start_the_encoder_and_the_levels_of_the_decoder(
    swin_file: tuple[Path, dict[str, Tensor]], channels: int
):
    path, file = swin_file
    network = networks.build(f"swinunet[channels={channels},weights={path},width=24]", 2, seed=0)
    state = {name.removeprefix("1."): tensor for name, tensor in network.state_dict().items()}
    encoder = shortened(state, "encoder.")
    colours = encoder.pop("patch_embed.proj.weight")

    close(
        file["patch_embed.proj.weight"].sum(1, keepdim=True) if channels == 1 else file["patch_embed.proj.weight"],
        colours,
    )
    assert all(torch.equal(file[name], tensor) for name, tensor in encoder.items())
    assert {"layers.2.blocks.1.mlp.fc2.bias", "norm.weight"} < set(encoder)
    for level in range(3):
        copied = shortened(state, f"decoder.{2 - level}.blocks.")
        assert len(copied) == 26
        assert all(torch.equal(file[f"layers.{level}.blocks.{name}"], tensor) for name, tensor in copied.items())


def test_random_weights_of_the_decoder_are_its_own():
    state = networks.build("swinunet[width=24]", 2, seed=0).state_dict()
    level, copied = "encoder.layers.0.blocks.0.", "decoder.2.blocks.0."
    drawn = ("attn.qkv.weight", "attn.relative_position_bias_table", "mlp.fc1.weight")

    assert [0.02] * 6 == pytest.approx(
        [state[at + name].std().item() for at in (level, copied) for name in drawn], rel=0.1
    )
    assert not any(torch.equal(state[level + name], state[copied + name]) for name in drawn)


def test_weights_of_the_hybrid_start_transunet_without_the_class_token(tmp_path: Path):
    file = filled(timm.create_model(HYBRID, depth=1, **HYBRID_OPTIONS)).state_dict()
    safetensors.torch.save_file(file, tmp_path / "hybrid.safetensors")
    name = f"transunet[heads=4,layers=1,weights={tmp_path / 'hybrid.safetensors'},width=64]"
    encoder = shortened(networks.build(name, 2, seed=0).state_dict(), "encoder.")

    assert set(file) - {"cls_token"} == set(encoder)
    assert torch.equal(file["pos_embed"][:, 1:], encoder.pop("pos_embed"))
    assert all(torch.equal(file[name], tensor) for name, tensor in encoder.items())


@pytest.mark.parametrize("name", ["swinunet[width=12{}]", "transunet[backbone=conv,heads=2,layers=1,width=8{}]"])
def test_the_weights_of_a_stored_cell_start_a_network_as_they_are(name: str, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    stored = filled(networks.build(name.format(""), 2)).state_dict()
    safetensors.torch.save_file(stored, path)
    found = networks.build(name.format(f",weights={path}"), 2).state_dict()

    assert stored.keys() == found.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in found.items())


def test_a_file_of_something_else_starts_no_transunet_on_plain_convolutions(tmp_path: Path):
    safetensors.torch.save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    name = f"transunet[backbone=conv,heads=2,layers=1,weights={tmp_path / 'other.safetensors'},width=8]"

    with pytest.raises(DataError, match="does not fit: it fills 0 of"):
        networks.build(name, 2)


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("swinunet[weights=imagenet]", "timm/swin_tiny_patch4_window7_224.ms_in1k"),
        ("transunet[weights=imagenet]", "timm/vit_base_r50_s16_224.orig_in21k"),
    ],
)
def test_weights_named_imagenet_are_those_that_the_authors_started_from(
    name: str, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=rf"^model.safetensors of {repository} is not in"):
        catalog.initial(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("swinunet[width=100]", "width is a multiple of 3"),
        ("swinunet[window=0]", "window 1 or more"),
        ("swinunet[skips=both]", "There are: before, after"),
        ("swinunet[drop_path=1]", "a share from 0 to below 1"),
        ("transunet[backbone=vgg]", "There are: r50, conv"),
        ("transunet[heads=5]", "width a multiple of heads"),
        ("transunet[layers=0]", "each is 1 or more"),
        ("transunet[dropout=1]", "a share from 0 to below 1"),
        ("transunet[backbone=conv,weights=imagenet]", "Write weights=none"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(name: str, complaint: str):
    assert list(networks.check([name])) == ([name] if "weights" not in name else [])
    with pytest.raises(NameUnknown, match=complaint) as caught:
        networks.build(name, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("window", "size"), [(1, (32, 64)), (4, (96, 32)), (8, (64, 64))])
def test_swinunet_takes_any_window(window: int, size: tuple[int, int]):
    network = networks.build(f"swinunet[width=12,window={window}]", 2, seed=0).eval()
    table = network.get_parameter("encoder.layers.3.blocks.0.attn.relative_position_bias_table")
    with torch.no_grad():
        logits = network(picture(*size))

    assert ((2 * window - 1) ** 2, 24) == tuple(table.shape)
    assert (1, 2, *size) == tuple(logits.shape)
