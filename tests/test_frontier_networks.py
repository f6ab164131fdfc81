"""The networks of 2024 and later: what was published of them, and that they compute what others say they do."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import catalog, networks
from bench.errors import NameUnknown

NAMES = ["cmunext", "dinov3", "emcad", "resenc_unet", "ukan"]


def counted(name: str, part: str = "", classes: int = 1) -> int:
    """Trainable numbers of an architecture, or of those parts whose names do not begin with `part`."""
    with torch.device("meta"):
        network = networks.build(name, classes)
    labels = network.named_parameters()
    return sum(one.numel() for label, one in labels if not (part and label.startswith(part)))


def randomised(network: nn.Module) -> nn.Module:
    """The network with no weight at zero or one, so that nothing is left out unseen; in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for label, buffer in network.named_buffers():
            if label.endswith(("running_mean", "running_var")):
                buffer.add_(0.3 * torch.rand(buffer.shape, generator=generator))
    return network.eval()


def images(*size: int, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))


def close(expected: Tensor, found: Tensor) -> None:
    """Equal within 1e-5 of the largest number."""
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize(
    ("name", "without", "millions"),
    [
        ("emcad", "", 26.76),
        ("emcad", "encoder.", 1.91),
        ("emcad[encoder=tu-pvt_v2_b0]", "", 3.92),
        ("dinov3[decoder=mlp]", "encoder.", 2.21),
    ],
)
def test_networks_have_the_parameters_that_were_published(name: str, without: str, millions: float):
    assert millions == round(counted(name, without) / 1e6, 2)


@pytest.mark.parametrize(("levels", "classes", "channels"), [(6, 1, 3), (7, 4, 3), (4, 2, 1)])
def test_resenc_unet_has_the_parameters_of_its_stages(levels: int, classes: int, channels: int):
    widths = [min(32 * 2**level, 512) for level in range(levels)]
    expected, before = 9 * channels * 32 + 2 * 32, 32
    for width, blocks in zip(widths, (1, 3, 4, 6, 6, 6, 6), strict=False):
        expected += 9 * before * width + (2 * blocks - 1) * 9 * width**2 + 2 * blocks * 2 * width
        expected += before * width + 2 * width if before != width else 0
        before = width
    for here, below in itertools.pairwise(widths):
        expected += 4 * below * here + here + 9 * 2 * here * here + 2 * here

    assert expected + 32 * classes + classes == counted(
        f"resenc_unet[levels={levels},channels={channels}]", classes=classes
    )


@pytest.mark.parametrize(
    ("name", "released"),
    [
        ("cmunext[variant=small]", 417_505),
        ("cmunext", 3_149_185),
        ("cmunext[variant=large]", 8_286_721),
        ("ukan", 6_356_689),
        ("ukan[variant=large]", 25_359_265),
    ],
)
def test_networks_have_the_parameters_of_the_code_that_was_released_but_for_idle_biases(name: str, released: int):
    """Theirs has biases before normalisations too, which subtract them again."""
    with torch.device("meta"):
        convolutions = [one for one in networks.build(name, 1).modules() if isinstance(one, nn.Conv2d)]

    assert released == counted(name) + sum(one.out_channels for one in convolutions if one.bias is None)


def residual_unet(state: dict[str, Tensor], x: Tensor, levels: int) -> list[Tensor]:
    """A residual U-Net written down without a module, after the paper: the logits of its heads, the deepest first."""
    blocks = (1, 3, 4, 6, 6, 6, 6)[:levels]

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.0.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, correction=0)
        scale, shift = (state[f"{name}.1.{one}"].view(1, -1, 1, 1) for one in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    x, skips, logits = act(conv(x, "stem.0")), [], []
    for level, count in enumerate(blocks):
        for number in range(count):
            name, stride = f"encoder.{level}.{number}", 2 if level and not number else 1
            y = conv(act(conv(x, f"{name}.main.0", stride)), f"{name}.main.2")
            x = functional.avg_pool2d(x, stride)
            beside = [key for key in state if key.startswith(f"{name}.beside") and key.endswith(".0.weight")]
            x = act(y + (conv(x, beside[0].removesuffix(".0.weight")) if beside else x))
        skips.append(x)
    skips.pop()
    heads = sum(key.startswith("heads") for key in state) // 2
    for step in range(levels - 1):
        x = functional.conv_transpose2d(x, state[f"ups.{step}.weight"], state[f"ups.{step}.bias"], stride=2)
        x = act(conv(torch.cat([x, skips.pop()], dim=1), f"decoder.{step}.0"))
        if (head := levels - 2 - step) < heads:
            logits.append(functional.conv2d(x, state[f"heads.{head}.weight"], state[f"heads.{head}.bias"]))
    return logits


@pytest.mark.parametrize("levels", [4, 6])
def test_resenc_unet_computes_what_the_paper_says(levels: int):
    network = randomised(networks.build(f"resenc_unet[width=8,levels={levels}]", 3, seed=0))
    with torch.inference_mode():
        close(residual_unet(network.state_dict(), images(64, 128), levels)[-1], network(images(64, 128)))


def test_every_prediction_of_resenc_unet_is_that_of_its_level():
    network = randomised(networks.build("resenc_unet[width=8,levels=5,deep=true]", 3, seed=0)).train()
    with torch.inference_mode():
        *deeper, last = residual_unet(network.state_dict(), images(64, 64), 5)
        found = network(images(64, 64))

    assert 3 == len(found)
    close(last, found[0])
    for factor, expected, one in zip((2, 4), reversed(deeper), found[1:], strict=True):
        close(functional.interpolate(expected, scale_factor=factor, mode="bilinear"), one)


@pytest.mark.parametrize("deep", [False, True])
def test_resenc_unet_is_the_network_of_those_who_made_it(deep: bool):
    """Their biases before a normalisation are drawn at random: they change nothing, which is why ours has none."""
    theirs = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    levels, width = 5, 8
    network = randomised(networks.build(f"resenc_unet[width={width},levels={levels},deep=true]", 3, seed=0))
    other = theirs.ResidualEncoderUNet(
        input_channels=3,
        n_stages=levels,
        features_per_stage=[width * 2**level for level in range(levels)],
        conv_op=nn.Conv2d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2, 2],
        n_blocks_per_stage=[1, 3, 4, 6, 6],
        num_classes=3,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        deep_supervision=deep,
    )
    for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d):
        mine, yours = ([one for one in net.modules() if isinstance(one, kind)] for net in (network, other))
        if kind is nn.Conv2d:
            # the first that predicts does so at the deepest level of the decoder, which weighs nothing with them
            yours[-4:] = yours[:-4:-1]
        for one, another in zip(mine, yours, strict=True):
            another.weight.data.copy_(one.weight.data)
            if one.bias is not None:
                another.bias.data.copy_(one.bias.data)
    with torch.inference_mode():
        found, expected = network(images(64, 96)), other.eval()(images(64, 96))

    close(expected[0] if deep else expected, found)


@pytest.mark.parametrize("name", ["resenc_unet[width=8,levels=4,deep=true]", "emcad[encoder=tu-test_resnet,deep=true]"])
def test_deep_levels_predict_in_training_alone_and_the_prediction_stands_first(name: str):
    network = randomised(networks.build(name, 3, seed=0))
    with torch.inference_mode():
        expected = network(images(64, 128))
        network.get_submodule("heads").training = True  # of these alone, so that normalisations stay as they are
        found = network(images(64, 128))

    assert {"resenc_unet": 2, "emcad": 4}[name.partition("[")[0]] == len(found)
    assert all((2, 3, 64, 128) == tuple(one.shape) for one in found)
    close(expected, found[0])
    assert all((expected - one).abs().max() > 1e-2 for one in found[1:])


@pytest.mark.parametrize("name", ["resenc_unet[width=8,levels=4]", "emcad[encoder=tu-test_resnet]"])
def test_without_deep_levels_there_is_one_prediction_in_training_too(name: str):
    assert (2, 3, 64, 64) == tuple(networks.build(name, 3, seed=0).train()(images(64, 64)).shape)


def test_the_splines_of_ukan_are_the_b_splines_of_scipy():
    from scipy.interpolate import BSpline

    knots = -1 + 0.4 * np.arange(-3, 9)
    layer = networks.build("ukan[variant=tiny]", 2, seed=0).get_submodule("tokens.0.layers.0")
    x = np.linspace(-1, 1, 101)[:-1]
    with torch.inference_mode():
        found = layer.basis(torch.from_numpy(x)).numpy()

    np.testing.assert_allclose(found, BSpline.design_matrix(x, knots, 3).toarray(), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)


def test_a_kolmogorov_arnold_layer_adds_a_function_of_every_connection():
    from scipy.interpolate import BSpline

    layer = randomised(networks.build("ukan[variant=tiny]", 2, seed=0)).get_submodule("tokens.0.layers.0")
    plain, scale, spline = (one.detach().double().numpy() for one in (layer.plain, layer.scale, layer.spline))
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (5, plain.shape[1]))  # beyond the knots too
    expected = np.zeros((5, plain.shape[0]))
    knots = -1 + 0.4 * np.arange(-3, 9)
    for into, start in np.ndindex(*plain.shape):
        curve = BSpline(knots, scale[into, start] * spline[into, start], 3, extrapolate=True)
        elements = [BSpline.basis_element(knots[i : i + 5], extrapolate=False) for i in range(8)]
        values = sum(c * np.nan_to_num(one(x[:, start])) for c, one in zip(curve.c, elements, strict=True))
        expected[:, into] += plain[into, start] * x[:, start] / (1 + np.exp(-x[:, start])) + values
    with torch.inference_mode():
        close(torch.from_numpy(expected).float(), layer(torch.from_numpy(x).float()))


def test_the_scales_of_emcad_are_added_and_their_channels_shuffled():
    network = randomised(networks.build("emcad[encoder=tu-test_resnet]", 2, seed=0))
    block, width = network.get_submodule("scales.3"), network.encoder.out_channels[-4]
    x = images(16, 16, channels=width)
    with torch.inference_mode():
        wide = block.before(x)
        added = block.scales[0](wide) + block.scales[1](wide) + block.scales[2](wide)
        expected = x + block.after(nn.ChannelShuffle(math.gcd(2 * width, width))(added))

        close(expected, block(x))


def test_a_gate_of_emcad_weighs_every_pixel_of_a_skip_once():
    network = randomised(networks.build("emcad[encoder=tu-test_resnet]", 2, seed=0))
    gate, width = network.get_submodule("gates.2"), network.encoder.out_channels[-4]
    x, skip = images(8, 8, channels=width), images(8, 8, channels=width).flip(0) + 3
    with torch.inference_mode():
        weight = gate(x, skip) / skip

    assert (weight > 0).all()
    assert (weight < 1).all()
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight), rtol=0, atol=1e-4)


def dinov3(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """A file of weights for the encoder of dinov3, and what is in it."""
    import safetensors.torch
    import timm

    state = timm.create_model("vit_small_patch16_dinov3", num_classes=0).state_dict()
    state = {label: 0.02 * torch.ones_like(tensor) for label, tensor in state.items()}
    safetensors.torch.save_file(state, folder / "encoder.safetensors")
    return folder / "encoder.safetensors", state


@pytest.mark.parametrize("frozen", [0, 4])
def test_what_was_loaded_into_dinov3_is_trained_unless_all_four_quarters_are_frozen(frozen: int, tmp_path: Path):
    path, state = dinov3(tmp_path)
    name = f"dinov3[blocks=4,weights={path},frozen={frozen}]"
    spec, options = catalog.architecture(name)
    network = spec.build(classes=2, **options)
    trained = {label.partition(".")[0] for label, one in network.named_parameters() if one.requires_grad}

    assert ({"decoder"} if frozen else {"decoder", "encoder"}) == trained
    assert all(torch.equal(state[label], one) for label, one in network.get_submodule("encoder").state_dict().items())


def test_dinov3_decodes_the_features_that_timm_gives_after_every_quarter():
    network = randomised(networks.build("dinov3[blocks=8,decoder=mlp]", 2, seed=0))
    seen: list[list[Tensor]] = []
    network.get_submodule("decoder").register_forward_pre_hook(lambda module, given: seen.append(given[1]))
    encoder = network.get_submodule("encoder")
    with torch.inference_mode():
        network(images(32, 48))
        tokens = encoder.forward_features(images(32, 48))[:, encoder.num_prefix_tokens :]

    assert [1, 3, 5, 7] == network.after
    assert 4 == len(seen[0])
    close(tokens.movedim(1, 2).unflatten(2, (2, 3)), seen[0][-1])


def test_the_mlp_decoder_of_dinov3_predicts_once_per_patch_and_unetr_at_every_pixel():
    spread = {}
    for decoder in ("mlp", "unetr"):
        network = randomised(networks.build(f"dinov3[blocks=4,decoder={decoder}]", 2, seed=0))
        with torch.inference_mode():
            logits = network(images(16, 16))
        spread[decoder] = logits.std(dim=(2, 3)).max().item()

    assert spread["mlp"] < 1e-5 < 1e-2 < spread["unetr"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cmunext[variant=tiny]", "There are: small, base, large."),
        ("ukan[variant=huge]", "There are: tiny, base, large."),
        ("dinov3[variant=tiny]", "There are: small, small_plus, base, large, huge_plus."),
        ("dinov3[decoder=dpt]", "There are: unetr, mlp."),
        ("dinov3[blocks=3]", "Give 4 to 12, or 0."),
        ("dinov3[blocks=13]", "Give 4 to 12, or 0."),
        ("resenc_unet[levels=8]", "Give 2 to 7 levels"),
        ("resenc_unet[deep=true,levels=3]", "Give deep=false, or 4 levels."),
        ("resenc_unet[width=0]", "a width of 1 or more"),
        ("emcad[encoder=tu-test_vit]", "Write dpt"),
    ],
)
def test_options_that_there_are_not_are_told_in_one_line(name: str, told: str):
    with pytest.raises(NameUnknown) as caught, torch.device("meta"):
        networks.build(name, 2)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
