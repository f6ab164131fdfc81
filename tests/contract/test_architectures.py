"""What every architecture of the catalogue must do; a new file is tested because it exists."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import catalog, losses, names, networks, prepare, train
from bench.data import Resident, normalise
from bench.errors import NameUnknown
from bench.forward import Forward
from bench.records import Execution
from bench.specs import Recipe
from tests.small import plain

PLANTED = Path(__file__).resolve().parents[1] / "catalog"
NAMES = [name for name, entry in catalog.entries("architectures").items() if PLANTED not in entry.path.parents]


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """How an entry is trained here: a small variant of it, a rate, and the edge of the pictures [pixels]."""

    options: str = ""
    rate: float = 3e-3
    size: int = 64


# What is not named here is trained as it is by default.
SMALL: dict[str, Small] = {
    "attention_r2unet": Small(options="width=8", rate=1e-2, size=32),
    "attention_unet": Small(options="width=8", rate=1e-2, size=32),
    # torch 2.15 may crash on a 1x1 convolution by 2 of fewer channels in channels_last
    "basnet": Small(options="width=16"),
    "classic_unet": Small(options="width=8", rate=1e-2, size=32),
    "cmunext": Small(options="variant=small", rate=1e-2),
    "deeplabv3": Small(options="encoder=tu-test_resnet,decoder=64"),
    "deeplabv3plus": Small(options="encoder=tu-test_resnet,decoder=32"),
    "dinov3": Small(options="blocks=4", rate=1e-2, size=32),
    "dpt": Small(options="encoder=tu-test_vit,decoder=32"),
    "efficientunet": Small(rate=1e-2),
    "emcad": Small(options="encoder=tu-test_resnet", rate=1e-2),
    "flexunet": Small(options="dilation=2,kernel=5,levels=4,normalisation=true,width=8", rate=1e-2),
    "fpn": Small(options="encoder=tu-test_resnet,pyramid=64,decoder=64"),
    "halfwidth_unet": Small(options="width=8", rate=5e-3, size=32),
    "linknet": Small(options="encoder=tu-test_resnet"),
    "manet": Small(options="encoder=tu-test_resnet,decoder=64"),
    "multiresunet": Small(options="width=8", rate=1e-2, size=32),
    "pan": Small(options="encoder=tu-test_resnet"),
    "plain_unet": Small(options="width=8,levels=4", rate=1e-2),
    "pspnet": Small(options="encoder=resnet18,decoder=64"),
    "r2unet": Small(options="width=8", rate=1e-2, size=32),
    "resenc_unet": Small(options="width=8,levels=4", rate=1e-2, size=32),
    "resunet": Small(options="width=8", size=32),
    "segformer": Small(options="decoder=64"),
    "sharpunet": Small(options="width=8", size=32),
    "swinunet": Small(options="width=24", rate=1e-3, size=32),
    "ternausnet11": Small(rate=1e-3, size=32),
    "ternausnet16": Small(rate=1e-3, size=32),
    "transunet": Small(options="blocks=1,heads=2,layers=1,width=32", size=32),
    "u2net": Small(options="variant=small,width=32", rate=1e-2),
    "ukan": Small(options="variant=tiny", rate=1e-2, size=32),
    "unet": Small(options="encoder=tu-test_resnet,decoder=64"),
    "unet3plus": Small(options="levels=4,width=8"),
    "unetplusplus": Small(options="encoder=tu-test_resnet,decoder=32"),
    "upernet": Small(options="encoder=tu-test_resnet,decoder=32"),
    "xceptionunet": Small(options="width=16", rate=1e-2),
}
SMEAR = "smear[seed=1,size=80,test=1,train=4,val=1]"
CLASSES, STEPS, LEARNED = 10, 250, 0.95
RECIPE = Recipe(optimiser="adam", weight_decay=0.0, precision="fp32")


def small(name: str, **options: int) -> str:
    """The small variant of an entry, as it is written on the axis."""
    stem, chosen = names.parse(f"{name}[{SMALL[name].options}]" if SMALL.get(name, Small()).options else name)
    return names.show(stem, {**chosen, **options})


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def pictures(size: int, data_home: Path) -> Resident:
    """Four pictures of the smear data set: the background and five kinds of cells."""
    prepared = prepare.prepare(SMEAR, data_home)
    images, masks, _ = prepared.resized(Recipe(size=(size, size)))
    rows = prepared.split(0, 1)["train"]
    return Resident(torch.from_numpy(np.array(images[rows])), torch.from_numpy(np.array(masks[rows])))


@dataclass(frozen=True, slots=True)
class Learned:
    """A network that has learned a few pictures by heart, in evaluation mode."""

    network: nn.Module
    divisor: int
    pairs: Resident

    @property
    def images(self) -> Tensor:
        """As the network is given them: float32 (4, 3, size, size)."""
        return normalise(self.pairs.images)

    def dice(self, images: Tensor | None = None) -> float:
        """Mean Dice over the kinds of cells; of other images uint8 (4, size, size, 3) for the same masks."""
        forward = plain(self.network, divisor=self.divisor)
        pairs = Resident(self.pairs.images if images is None else images, self.pairs.masks)
        return train.validate(forward, pairs, CLASSES, batch=4)[0]

    def logits(self, **how: str) -> Tensor:
        """Of the pictures, run in fp32, eagerly, in channels_last, or as is said."""
        execution = Execution(**{"precision": "fp32", "micro_batch": 4, **how})
        with torch.inference_mode():
            return Forward(self.network.eval(), self.divisor, execution)(self.images)


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> None:
    """Replace running statistics, which lag behind fast training, by those of these images; to evaluation mode."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean, of one batch
        layer.train()
    network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


def trainer(network: nn.Module, divisor: int, pairs: Resident, rate: float) -> Callable[[], Tensor]:
    """What takes one step of training on all pictures, and gives the loss."""
    forward, loss = plain(network, divisor=divisor), losses.build("dice+ce")
    optimiser = train.optimiser(network, RECIPE, rate)
    images, masks = normalise(pairs.images), pairs.masks.long()
    return lambda: train.step(forward, loss, optimiser, images, masks, RECIPE)


@pytest.fixture(scope="module")
def learned(name: str, data_home: Path) -> Learned:
    """The small variant of an entry after it has learned the pictures, or has used up its steps."""
    how = SMALL.get(name, Small())
    pairs, divisor = pictures(how.size, data_home), catalog.architecture(name)[0].divisor
    found = Learned(networks.build(small(name), CLASSES, seed=0), divisor, pairs)
    step = trainer(found.network, divisor, pairs, how.rate)
    padded = nn.functional.pad(found.images, (0, -how.size % divisor) * 2, mode="replicate")
    for number in range(1, STEPS + 1):
        found.network.train()
        step()
        if number % 10 == 0:
            settle(found.network, padded)
            if found.dice() > LEARNED:
                break
    return found


def test_the_specification_is_filled(name: str):
    spec, _ = catalog.architecture(name)

    assert all([spec.title, spec.family, spec.licence, spec.origin, spec.build.__doc__])
    assert re.search(r"doi:10\.\d{4,9}/\S+|arXiv:\d{4}\.\d{4,5}\b", spec.citation), spec.citation
    assert re.fullmatch(r"[^:]+: \S.+\.", catalog.entries("architectures")[name].summary)
    assert spec.divisor >= 1
    assert all(prefix and reason for prefix, reason in spec.unused.items())


def test_the_options_and_their_defaults_are_the_arguments_of_build(name: str):
    spec, _ = catalog.architecture(name)
    arguments = inspect.signature(spec.build).parameters

    assert {"channels", "classes", *spec.options} == set(arguments)
    assert dict(spec.options) == {option: arguments[option].default for option in spec.options}


def test_the_default_is_counted_without_a_number_being_computed(name: str):
    spec, _ = catalog.architecture(name)
    with torch.device("meta"):
        network = networks.build(name, CLASSES)
    facts = networks.facts(network, spec.divisor, (256, 256))

    assert all(parameter.is_meta for parameter in network.parameters())
    assert facts.params > 0
    assert facts.flops > 2 * 256 * 256 * CLASSES / 64  # a head at an eighth of the resolution, at least
    for size in ((spec.divisor, spec.divisor), (2 * spec.divisor, 3 * spec.divisor)):
        assert (1, CLASSES, *size) == tuple(network(torch.empty(1, 3, *size, device="meta")).shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_one_channel_per_class_for_any_number_of_classes_and_colours(name: str, channels: int):
    spec, _ = catalog.architecture(name)
    for classes in (1, 2, 10):
        with torch.device("meta"):
            network = networks.build(small(name, channels=channels), classes).eval()
        found = network(torch.empty(1, 3, spec.divisor, 2 * spec.divisor, device="meta"))

        assert (1, classes, spec.divisor, 2 * spec.divisor) == tuple(found.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_size_of_the_image_whatever_that_is(name: str, channels: int):
    spec, _ = catalog.architecture(name)
    forward = plain(networks.build(small(name, channels=channels), 6, seed=0).eval(), divisor=spec.divisor)
    with torch.inference_mode():
        for size in ((spec.divisor, spec.divisor), (50, 70), (33, 31)):
            found = forward(torch.rand(1, 3, *size))

            assert (1, 6, *size) == tuple(found.shape)
            assert found.isfinite().all()


def test_all_heads_of_training_have_the_size_of_the_images_and_one_predicts(name: str):
    spec, options = catalog.architecture(small(name))
    deep = {"deep": True} if "deep" in options else {}
    with torch.device("meta"):
        network = spec.build(classes=3, **(options | deep))
    images = torch.empty(2, 3, 2 * spec.divisor, 4 * spec.divisor, device="meta")
    trained, predicted = network.train()(images), network.eval()(images)
    heads = [trained] if isinstance(trained, Tensor) else trained

    assert isinstance(predicted, Tensor)
    assert bool(deep) <= (len(heads) > 1)
    assert {(2, 3, *images.shape[-2:])} == {tuple(logits.shape) for logits in (*heads, predicted)}


def test_what_may_start_from_weights_can_keep_those_of_its_first_stages(name: str):
    spec, options = catalog.architecture(small(name))
    if "weights" not in options:
        assert "frozen" not in options
        return
    with torch.device("meta"):
        network = spec.build(classes=2, **(options | {"frozen": 1}))
    frozen = {label for label, one in network.named_parameters() if not one.requires_grad}

    assert frozen
    assert all(label.startswith("encoder.") for label in frozen)


def unmoved(network: nn.Module, unused: Mapping[str, str], divisor: int = 1) -> list[str]:
    """What is wrong with the gradients that dice+ce gives in three steps of training, a line each.

    A gradient counts once it is not zero: a layer behind a weight that starts at zero gets its own a step later.
    """
    torch.manual_seed(1)
    edge = max(64, 2 * divisor)
    images, masks = torch.randn(2, 3, edge, edge), torch.randint(3, (2, edge, edge))
    forward, loss = plain(network.train(), divisor=divisor), losses.build("dice+ce")
    optimiser = torch.optim.SGD(network.parameters(), 1e-2)
    largest = {label: 0.0 for label, parameter in network.named_parameters() if parameter.requires_grad}
    for _ in range(3):
        optimiser.zero_grad(set_to_none=True)
        train.supervised(forward, loss, images, masks).backward()
        optimiser.step()
        for label, parameter in network.named_parameters():
            if parameter.grad is not None:
                largest[label] = max(largest[label], parameter.grad.abs().max().item())
    excused = {label: next((one for one in unused if label.startswith(one)), None) for label in largest}
    wrong = [f"{label} gets no gradient" for label, one in excused.items() if one is None and largest[label] == 0]
    wrong += [f"{label} is unused, but gets one" for label, one in excused.items() if one and largest[label] > 0]
    wrong += [f"no parameter begins with {one}" for one in unused if one not in excused.values()]
    return wrong if max(largest.values()) > 1e-5 else [*wrong, "all gradients are rounding errors"]


def test_every_parameter_gets_a_gradient_unless_the_entry_says_why_not(name: str):
    """A narrow layer may begin with a ReLU that is silent for any image: then the next seed is asked."""
    spec, options = catalog.architecture(small(name))
    wrong: set[str] | None = None
    for seed in range(4):
        torch.manual_seed(seed)
        found = set(unmoved(spec.build(classes=3, **options), spec.unused, spec.divisor))
        wrong = found if wrong is None else wrong & found
        if not wrong:
            break

    assert set() == wrong


def test_what_is_unused_is_neither_trained_nor_counted():
    spec, options = catalog.architecture("pspnet")
    with torch.device("meta"):
        whole, counted = spec.build(classes=2, **options), networks.build("pspnet[channels=1]", 2)
    dead = sum(one.numel() for label, one in whole.named_parameters() if label.startswith(tuple(spec.unused)))
    colours = 2 * 64 * 7 * 7  # of the first convolution, which grey has not

    assert dead > 0
    assert (
        sum(one.numel() for one in whole.parameters()) - dead - colours == networks.facts(counted, 32, (64, 64)).params
    )


class Unfed(nn.Module):
    """As a published Sharp U-Net: the convolutions of a decoder level are computed, and what they give is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.decoder, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        skip = self.encoder(images)
        deep = self.deep(nn.functional.max_pool2d(skip, 2).relu())
        up = torch.cat([skip, nn.functional.interpolate(deep, scale_factor=2)], dim=1)
        self.decoder(up).relu()
        return self.head(up)


class OneChannel(nn.Module):
    """As a published UNet 3+: the head has one channel, whatever the number of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).relu()).expand(-1, 3, -1, -1)  # else its shape gives it away


def test_a_decoder_that_is_not_fed_forward_is_found_and_can_be_excused():
    wrong = ["decoder.weight gets no gradient", "decoder.bias gets no gradient"]

    assert wrong == unmoved(Unfed(), {})
    assert [] == unmoved(Unfed(), {"decoder.": "its result is dropped, as published"})


def test_a_head_of_one_channel_is_found():
    assert "all gradients are rounding errors" in unmoved(OneChannel(), {})


def test_an_excuse_for_what_is_used_or_not_there_is_found():
    wrong = ["encoder.weight is unused, but gets one", "encoder.bias is unused, but gets one"]

    assert [*wrong, "no parameter begins with gone."] == unmoved(
        Unfed(), {"decoder.": "its result is dropped", "encoder.": "a lie", "gone.": "of an earlier version"}
    )


def test_the_same_seed_builds_and_trains_the_same_network(name: str, data_home: Path):
    pairs, states, losses_ = pictures(32, data_home), [], []
    for _ in range(2):
        network = networks.build(small(name), CLASSES, seed=0)
        torch.manual_seed(1)
        step = trainer(network.train(), catalog.architecture(name)[0].divisor, pairs, 1e-3)
        losses_.append([step().item() for _ in range(2)])
        states.append(train.weights(network))

    assert losses_[0] == losses_[1]
    assert math.isfinite(losses_[0][1])
    assert all(torch.equal(states[0][label], states[1][label]) for label in states[0])


def test_four_pictures_are_learned_by_heart(learned: Learned):
    assert 6 == len(learned.pairs.masks.unique())
    assert learned.dice() > LEARNED


def test_channels_scrambled_by_a_reshape_are_not_recognised(learned: Learned):
    """Rows of pixels taken for planes of colours, as in a published comparison on Blood-Cell."""
    count, height, width, colours = learned.pairs.images.shape
    scrambled = learned.pairs.images.reshape(count, colours, height, width).movedim(1, -1).contiguous()

    assert learned.dice(scrambled) < 0.5 * learned.dice()


def test_the_state_survives_safetensors(name: str, learned: Learned, tmp_path: Path):
    import safetensors.torch

    state, expected = train.weights(learned.network), learned.logits()
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    again = networks.build(small(name), CLASSES, seed=7).eval()
    again.load_state_dict(safetensors.torch.load_file(tmp_path / "weights.safetensors"))

    assert torch.equal(expected, Learned(again, learned.divisor, learned.pairs).logits())


def test_both_layouts_give_the_same_numbers(learned: Learned):
    torch.testing.assert_close(learned.logits(layout="contiguous"), learned.logits(), rtol=1e-3, atol=1e-3)


def test_bf16_gives_nearly_the_same_numbers_and_labels(learned: Learned):
    exact, fast = learned.logits(), learned.logits(precision="bf16")

    assert torch.float32 == fast.dtype
    assert (exact - fast).abs().max() < 0.1 * exact.abs().max()
    assert (exact.argmax(dim=1) == fast.argmax(dim=1)).float().mean() > 0.97


@pytest.mark.slow
def test_the_compiler_gives_the_same_numbers(learned: Learned):
    torch._dynamo.reset()

    torch.testing.assert_close(learned.logits(), learned.logits(mode="compiled"), rtol=1e-3, atol=1e-3)


DECODERS = [name for name in NAMES if "encoder" in catalog.architecture(name)[0].options]
ENCODERS = [
    *("resnet18", "mobilenet_v2", "efficientnet-b0", "mit_b0", "vgg11"),
    *("tu-resnet10t", "tu-convnextv2_atto", "tu-mobilenetv3_small_050", "tu-swin_tiny_patch4_window7_224"),
    "tu-test_vit",
]
DILATED = {"deeplabv3", "deeplabv3plus", "pan"}
# Before 0.6, the library's decoders that need features at half the size failed without them.
HALF = {"linknet", "unetplusplus"} if version("segmentation-models-pytorch").startswith("0.5") else set[str]()
# Decoders that refuse an encoder: which is all that is refused, so that a hole more or less is noticed.
REFUSED: dict[str, set[str]] = {
    "resnet18": {"dpt"},  # DPT takes encoders of timm alone
    "mobilenet_v2": {"dpt"},
    "efficientnet-b0": {"dpt"},
    "mit_b0": {"dpt", "linknet", "unetplusplus"},  # it has no features at half the size
    "vgg11": {"dpt", *DILATED},  # a pooling cannot be dilated
    "tu-convnextv2_atto": HALF,
    "tu-swin_tiny_patch4_window7_224": DILATED | HALF,
    "tu-test_vit": set(DECODERS) - {"dpt"},  # all its features have one size
}


@pytest.mark.filterwarnings("ignore:Encoder does not have prefix tokens")  # which DPT can do without
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_takes_every_encoder_or_refuses_it_by_name(decoder: str, encoder: str):
    spec, _ = catalog.architecture(decoder)
    size = (spec.divisor, 3 * spec.divisor)
    try:
        with torch.device("meta"):
            network = networks.build(f"{decoder}[encoder={encoder}]", 5).eval()
        found = tuple(network(torch.empty(1, 3, *size, device="meta")).shape)
    except NameUnknown as error:
        found = str(error).partition(": ")[0]
    refusal = f"{decoder}[encoder={encoder}] cannot be built"

    assert (refusal if decoder in REFUSED.get(encoder, ()) else (1, 5, *size)) == found


@pytest.mark.parametrize(
    "name", ["fpn[encoder=tu-hiera_tiny_224]", "unet[encoder=tu-gcvit_xxtiny]", "dpt[encoder=tu-test_vit3]"]
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_encoder_that_is_bound_to_a_size_is_refused_when_it_is_built(name: str, device: str):
    with torch.device(device), pytest.raises(NameUnknown, match=r"cannot be built: it refuses images of 32 x 224 \("):
        networks.build(name, 2)


def test_trying_an_encoder_out_leaves_the_network_as_it_was_made():
    network = networks.build("unet[encoder=tu-test_resnet,decoder=64]", 2, seed=0)
    seen = {layer.num_batches_tracked.item() for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)}

    assert all(layer.training for layer in network.modules())
    assert {0} == seen
