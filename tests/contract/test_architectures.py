"""What every architecture of the catalogue must do; a new file is tested because it exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import catalog, losses
from bench.forward import Forward
from bench.records import Execution
from bench.specs import Option
from bench.train import weights
from tests.small import plain

PLANTED = Path(__file__).resolve().parents[1] / "catalog"
NAMES = [name for name, entry in catalog.entries("architectures").items() if PLANTED not in entry.path.parents]

# The smallest variant of each family, for the parts that train: what is not named here is tested as it is by default.
SMALL: dict[str, dict[str, Option]] = {
    "unet": {"encoder": "resnet18", "decoder": 32},
    "fpn": {"encoder": "resnet18", "pyramid": 32, "decoder": 32},
    "linknet": {"encoder": "resnet18"},
    "deeplabv3plus": {"encoder": "resnet18", "decoder": 16},
    "plain_unet": {"width": 8, "levels": 4},
}


def build(name: str, channels: int = 3, classes: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    spec, _ = catalog.architecture(name)
    return spec.build(channels=channels, classes=classes, **(dict(spec.options) | SMALL.get(name, {})))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_specification_is_filled(name: str):
    spec, _ = catalog.architecture(name)

    assert all([spec.title, spec.family, spec.citation, catalog.entries("architectures")[name].summary])
    assert spec.divisor >= 1


def test_default_options_build_and_every_option_is_an_argument(name: str):
    spec, _ = catalog.architecture(name)
    with torch.device("meta"):
        network = spec.build(channels=3, classes=2, **spec.options)

    assert sum(parameter.numel() for parameter in network.parameters()) > 0


@pytest.mark.parametrize(("channels", "classes"), [(3, 2), (3, 10), (1, 6)])
def test_logits_have_one_channel_per_class_at_the_size_of_the_input(name: str, channels: int, classes: int):
    network, divisor = build(name, channels, classes).eval(), catalog.architecture(name)[0].divisor
    with torch.inference_mode():
        shapes = [
            plain(network, divisor=divisor)(torch.rand(2, channels, *size)).shape for size in ((64, 64), (50, 70))
        ]

    assert [(2, classes, 64, 64), (2, classes, 50, 70)] == [tuple(shape) for shape in shapes]


def test_every_parameter_gets_a_gradient(name: str):
    network = build(name).train()
    loss = losses.build("dice+ce")(network(torch.rand(2, 3, 64, 64)), torch.randint(3, (2, 64, 64)))
    loss.backward()

    assert [] == [label for label, parameter in network.named_parameters() if parameter.grad is None]


def test_the_same_seed_builds_the_same_network(name: str):
    one, other = weights(build(name)), weights(build(name))

    assert all(torch.equal(one[label], other[label]) for label in one)


def test_the_state_survives_safetensors(name: str, tmp_path):
    import safetensors.torch

    state = weights(build(name))
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    again = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    build(name).load_state_dict(again)

    assert all(torch.equal(state[label], again[label]) for label in state)


def test_bf16_on_channels_last_stays_close_to_fp32(name: str):
    network = build(name).eval().to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        exact = plain(network)(images)
        fast = Forward(network, 1, Execution(precision="bf16", micro_batch=2))(images)

    assert torch.float32 == fast.dtype
    assert (exact - fast).abs().max() < 0.1 * exact.abs().max().clamp(min=1)


def test_two_pictures_can_be_learned_by_heart(name: str):
    torch.manual_seed(0)
    network = build(name).train()
    images = torch.zeros(2, 3, 64, 64)
    masks = torch.zeros(2, 64, 64, dtype=torch.long)
    for number, (row, label) in enumerate(((8, 1), (32, 2))):
        images[number, label, row : row + 24, 16:48] = 1.0
        masks[number, row : row + 24, 16:48] = label
    optimiser, loss = torch.optim.Adam(network.parameters(), 3e-3), losses.build("dice+ce")
    for _ in range(40):
        optimiser.zero_grad()
        loss(network(images), masks).backward()
        optimiser.step()
    overlap = (network(images).argmax(dim=1) == masks)[masks > 0].float().mean()

    assert overlap > 0.95
