"""What every architecture of the catalogue must do; a new file is tested because it exists."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import catalog, check_learning, check_networks, networks
from bench.check_learning import Learned, pictures
from bench.check_networks import unmoved
from bench.errors import NameUnknown

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


def small(name: str, **options: int) -> str:
    """The small variant of an entry, as it is written on the axis."""
    return check_networks.variant(
        f"{name}[{SMALL[name].options}]" if SMALL.get(name, Small()).options else name, **options
    )


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def learned(name: str, data_home: Path) -> Learned:
    """The small variant of an entry after it has learned the pictures, or has used up its steps."""
    how = SMALL.get(name, Small())
    return check_learning.learn(small(name), pictures(how.size, data_home), how.rate)


def test_the_specification_is_filled(name: str):
    assert [] == list(check_networks.filled(name))


def test_the_options_and_their_defaults_are_the_arguments_of_build(name: str):
    assert [] == list(check_networks.arguments(name))


def test_the_default_is_counted_without_a_number_being_computed(name: str):
    assert [] == list(check_networks.counted(name))


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_one_channel_per_class_for_any_number_of_classes_and_colours(name: str, channels: int):
    assert [] == list(check_networks.shapes(small(name), channels))


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_size_of_the_image_whatever_that_is(name: str, channels: int):
    assert [] == list(check_networks.sizes(small(name), channels))


def test_all_heads_of_training_have_the_size_of_the_images_and_one_predicts(name: str):
    assert [] == list(check_networks.heads(small(name)))


def test_what_may_start_from_weights_can_keep_those_of_its_first_stages(name: str):
    assert [] == list(check_networks.frozen(small(name)))


def test_every_parameter_gets_a_gradient_unless_the_entry_says_why_not(name: str):
    assert [] == check_networks.gradients(small(name))


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
    assert [] == list(check_networks.repeats(small(name), pictures(32, data_home)))


def test_four_pictures_are_learned_by_heart(learned: Learned):
    assert 6 == len(learned.pairs.masks.unique())
    assert [] == list(check_networks.remembered(learned))


def test_channels_scrambled_by_a_reshape_are_not_recognised(learned: Learned):
    """Rows of pixels taken for planes of colours, as in a published comparison on Blood-Cell."""
    count, height, width, colours = learned.pairs.images.shape
    scrambled = learned.pairs.images.reshape(count, colours, height, width).movedim(1, -1).contiguous()

    assert learned.dice(scrambled) < 0.5 * learned.dice()


def test_the_state_survives_safetensors(learned: Learned):
    assert [] == list(check_networks.stored(learned))


def test_both_layouts_give_the_same_numbers(learned: Learned):
    assert [] == list(check_networks.layouts(learned))


def test_bf16_gives_nearly_the_same_numbers_and_labels(learned: Learned):
    assert [] == list(check_networks.half(learned))


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
