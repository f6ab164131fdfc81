"""Weights to start from: downloaded from a hub on this machine, cached, read from a file, and told in records."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from bench import catalog, networks, report, runner
from bench.errors import DataError, NameUnknown
from bench.runner import Standing
from bench.specs import MEAN, STD
from bench.train import weights
from tests import commands, hub, small
from tests.hub import COMMIT, Hub

ROOT = Path(__file__).resolve().parents[1]
TIMM, OWN = "timm/test_resnet.r160_in1k", "smp-hub/mobilenet_v2.imagenet"
REVISION = smp.encoders.encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]["revision"]
OF_TIMM, OF_SMP = "unet[decoder=16,encoder=tu-test_resnet,weights={}]", "fpn[encoder=mobilenet_v2,weights={}]"


def numbers(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """A state with numbers of its own, unlike any that a network has at the start."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: 0.5 + torch.rand(value.shape, generator=draw)
        if name.endswith("running_var")
        else 0.1 * torch.randn(value.shape, generator=draw)
        if value.is_floating_point()
        else value.clone()
        for name, value in module.state_dict().items()
    }


@pytest.fixture(scope="module")
def timms() -> dict[str, Tensor]:
    """What a file of timm's smallest ResNet holds, its classifier among it."""
    return numbers(timm.create_model("test_resnet"), 1)


@pytest.fixture(scope="module")
def smps() -> dict[str, Tensor]:
    """What a file of a MobileNetV2 holds."""
    head = {"classifier.1.weight": torch.ones(1000, 1280), "classifier.1.bias": torch.ones(1000)}
    return numbers(smp.encoders.get_encoder("mobilenet_v2"), 2) | head


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timms: dict[str, Tensor], smps: dict[str, Tensor]
) -> Generator[Hub]:
    """A hub with both files, which this process asks; its cache is empty."""
    config = json.dumps({"mean": MEAN, "std": STD, "input_range": [0, 1]})
    with hub.serving() as found:
        hub.ask(found.address, tmp_path / "cache", monkeypatch)
        found.files[TIMM, "model.safetensors"] = safetensors.torch.save(timms)
        found.files[OWN, "model.safetensors"] = safetensors.torch.save(smps)
        found.files[OWN, "config.json"] = config.encode()
        yield found


def of_timm(state: dict[str, Tensor]) -> nn.Module:
    """The features of timm's network, loaded by torch alone."""
    whole = timm.create_model("test_resnet")
    whole.load_state_dict(state)
    features = timm.create_model("test_resnet", features_only=True)
    features.load_state_dict({name: whole.state_dict()[name] for name in features.state_dict()})
    return features.eval()


def of_smp(state: dict[str, Tensor]) -> nn.Module:
    encoder = smp.encoders.get_encoder("mobilenet_v2")
    encoder.load_state_dict(dict(state))
    return encoder.eval()


def seen_by_encoder(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The features that the encoder of a network hands to its decoder, when the engine gives it images."""
    caught: list[list[Tensor]] = []
    encoder = next(module for name, module in network.named_modules() if name.split(".")[-1] == "encoder")
    encoder.register_forward_hook(lambda module, given, features: caught.append(features))
    with torch.no_grad():
        network.eval()(images)
    return caught[0]


def normalised(images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def assert_same(expected: list[Tensor], features: list[Tensor]) -> None:
    for one, other in zip(expected, features, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def test_an_encoder_of_smp_computes_with_the_numbers_that_the_hub_served(served: Hub, smps: dict[str, Tensor]):
    images = normalised(torch.rand(2, 3, 64, 64))
    features = seen_by_encoder(networks.build(OF_SMP.format("imagenet"), 2, seed=0), images)

    assert_same(of_smp(smps)(images), features)


def test_an_encoder_of_timm_sees_images_normalised_as_those_it_was_trained_on(served: Hub, timms: dict[str, Tensor]):
    assert (0.5, 0.5, 0.5) == timm.models.get_pretrained_cfg("test_resnet").mean
    images = torch.rand(2, 3, 64, 64)
    features = seen_by_encoder(networks.build(OF_TIMM.format("imagenet"), 2, seed=0), normalised(images))

    assert_same(of_timm(timms)(normalised(images, (0.5,) * 3, (0.5,) * 3)), features[1:])


def test_a_network_for_grey_images_sees_what_a_colour_encoder_sees_of_the_grey(served: Hub, timms: dict[str, Tensor]):
    images = torch.rand(2, 3, 64, 64)
    grey = (images * torch.tensor(networks.LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)
    network = networks.build("unet[channels=1,decoder=16,encoder=tu-test_resnet,weights=imagenet]", 2, seed=0)

    assert_same(
        of_timm(timms)((grey.expand(-1, 3, -1, -1) - 0.5) / 0.5), seen_by_encoder(network, normalised(images))[1:]
    )


@pytest.mark.parametrize("name", [OF_TIMM, OF_SMP])
def test_frozen_stages_keep_what_the_hub_served(served: Hub, name: str):
    network = networks.build(f"{name.format('imagenet')[:-1]},frozen=1]", 2, seed=0)
    encoder = next(module for label, module in network.named_modules() if label.split(".")[-1] == "encoder")
    names = {label for label, one in encoder.named_parameters() if not one.requires_grad}

    first = ("model.conv1.", "model.bn1.") if name == OF_TIMM else ("features.0.", "features.1.")
    assert {label for label, _ in encoder.named_parameters() if label.startswith(first)} == names != set()


def test_a_grey_encoder_of_smp_sums_the_colours_of_its_first_convolution(served: Hub, smps: dict[str, Tensor]):
    images = torch.rand(2, 3, 64, 64)
    grey = (images * torch.tensor(networks.LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)
    grey = (grey - sum(MEAN) / 3) / (sum(STD) / 3)
    network = networks.build("fpn[channels=1,encoder=mobilenet_v2,weights=imagenet]", 2, seed=0)
    expected = of_smp(smps)(grey.expand(-1, 3, -1, -1))

    assert_same(expected[1:], seen_by_encoder(network, normalised(images))[1:])


def test_dilated_and_shallow_encoders_start_from_the_same_file(served: Hub, smps: dict[str, Tensor]):
    for name in ("deeplabv3plus", "pan", "pspnet"):
        encoder = networks.build(f"{name}[encoder=mobilenet_v2,weights=imagenet]", 2, seed=0).get_submodule("encoder")
        state = encoder.state_dict()

        assert [] == [label for label in state if not torch.equal(smps[label], state[label])], name


def test_the_source_names_repository_commit_and_file(served: Hub):
    own, timms = catalog.initial(OF_SMP.format("imagenet")), catalog.initial(OF_TIMM.format("imagenet"))

    assert f"{OWN}@{REVISION}/model.safetensors" == (own or {})["source"]
    assert f"{TIMM}@{COMMIT}/model.safetensors" == (timms or {})["source"]


def test_what_is_in_the_cache_is_never_asked_for_again(served: Hub):
    first = catalog.initial(OF_TIMM.format("imagenet"))
    asked = len(served.asked)

    assert first == catalog.initial(OF_TIMM.format("imagenet"))
    assert asked == len(served.asked)


def test_a_download_that_breaks_off_leaves_nothing_and_is_an_error(served: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client pauses between its attempts
    served.cut = 1000
    with pytest.raises(DataError, match=r"model\.safetensors of timm/test_resnet.* cannot be downloaded"):
        catalog.initial(OF_TIMM.format("imagenet"))
    served.cut = None

    assert catalog.initial(OF_TIMM.format("imagenet")) is not None


def test_a_file_that_the_hub_does_not_have_is_an_error_of_one_line(served: Hub):
    del served.files[TIMM, "model.safetensors"]
    with pytest.raises(DataError, match="404") as caught:
        catalog.initial(OF_TIMM.format("imagenet"))

    assert "\n" not in str(caught.value)


def test_offline_the_command_says_which_file_is_wanted_and_how_to_get_it(
    served: Hub, tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = ("--dataset", small.SMEAR, "--architecture", OF_TIMM.format("imagenet"), "--data-home", data_home)
    code, _, complaint = commands.call("run", "matrix", *options, "--workers", 0, "--results", tmp_path / "results")

    assert 2 == code
    assert 1 == len(complaint.strip().splitlines())
    for part in (TIMM, "model.safetensors", served.address, "HF_HUB_OFFLINE", "weights=PATH"):
        assert part in complaint
    assert not list((tmp_path / "results").rglob("record.json"))


@pytest.mark.parametrize("command", [("run", "matrix", "--dry-run"), ("status",)], ids=["dry run", "status"])
def test_what_only_looks_downloads_nothing(served: Hub, tmp_path: Path, data_home: Path, command: tuple[str, ...]):
    wanted = small.study(architectures=(OF_TIMM.format("imagenet"),), baselines=())
    place = small.place(tmp_path, data_home)
    runner.write_study(runner.resolve(wanted), place)
    study = place.results / wanted.name
    where = (study / "study.toml", "--workers", 0) if "--dry-run" in command else (study,)
    code, out, complaint = commands.call(*command, *where, "--results", place.results, "--data-home", data_home)

    assert (0, "") == (code, complaint), complaint
    assert "pending" in out or "at most" in out
    assert [] == served.asked


def test_a_server_that_is_not_there_is_asked_once(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    hub.ask("http://127.0.0.1:9", tmp_path / "other", monkeypatch)
    with pytest.raises(DataError, match="cannot be downloaded"):
        catalog.initial(OF_SMP.format("imagenet"))

    assert [] == paused


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("unet[weights=noisy]", r"resnet34 has no weights named 'noisy'. There are: imagenet, none, or the path"),
        ("unet[encoder=resnet18,weights=imagenat]", "There are: imagenet, ssl, swsl, none"),
        ("unet[weights=2024]", "no weights named '2024'"),
        ("unet[encoder=50,weights=imagenet]", "no encoder named '50'"),
        ("unet[encoder=nothing,weights=imagenet]", "no encoder named 'nothing'"),
        ("unet[encoder=tu-nothing,weights=imagenet]", "timm has no model 'nothing'"),
        ("unet[encoder=tu-resnet50.nothing,weights=imagenet]", r"tu-resnet50\.a1_in1k"),
        ("unet[encoder=tu-resnet50,weights=a1_in1k]", r"carry the tag in their name: .*tu-resnet50\.a1_in1k"),
        ("linknet[encoder=mit_b0,weights=imagenat]", "has no weights named"),
        ("efficientunet[variant=b9]", "There are: b0, b1, b2, b3, b4, b5, b6, b7"),
    ],
)
def test_weights_that_nobody_has_are_refused_by_name(name: str, complaint: str):
    with pytest.raises(NameUnknown, match=complaint) as caught:
        catalog.initial(name)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "nested.pth"])
def test_a_path_gives_the_same_numbers_as_the_hub(suffix: str, tmp_path: Path, smps: dict[str, Tensor]):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(smps, path)
    else:
        named = {f"module.{name}": value for name, value in smps.items()}
        torch.save({"state_dict": named, "epoch": 3} if "nested" in suffix else smps, path)
    images = normalised(torch.rand(2, 3, 64, 64))
    network = networks.build(OF_SMP.format(path), 2, seed=0)

    assert str(path) == (catalog.initial(OF_SMP.format(path)) or {})["source"]
    assert_same(of_smp(smps)(images), seen_by_encoder(network, images))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["imagenet", "none"])
def test_the_weights_of_a_stored_cell_start_the_whole_network(served: Hub, tmp_path: Path, name: str, channels: int):
    base = f"unet[channels={channels},decoder=16,encoder=tu-test_resnet,weights={{}}]"
    first = networks.build(base.format(name), 3, seed=0)
    safetensors.torch.save_file(weights(first), tmp_path / "weights.safetensors")
    again = networks.build(base.format(tmp_path / "weights.safetensors"), 3, seed=1)
    images = torch.randn(2, 3, 64, 64)

    with torch.no_grad():
        assert torch.equal(first.eval()(images), again.eval()(images))


def test_what_is_never_used_is_not_trained_behind_other_moments_either(served: Hub):
    config = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_range": [0, 1]}
    served.files["smp-hub/resnet18.imagenet", "config.json"] = json.dumps(config).encode()
    content = safetensors.torch.save(weights(smp.encoders.get_encoder("resnet18")))
    served.files["smp-hub/resnet18.imagenet", "model.safetensors"] = content
    random, started = (networks.build(f"pspnet[encoder=resnet18,weights={name}]", 2) for name in ("none", "imagenet"))
    frozen = [label for label, one in random.named_parameters() if not one.requires_grad]

    assert frozen
    assert [f"1.{label}" for label in frozen] == [
        label for label, one in started.named_parameters() if not one.requires_grad
    ]


def test_a_whole_network_of_other_classes_is_refused(tmp_path: Path):
    safetensors.torch.save_file(
        weights(networks.build("unet[encoder=mobilenet_v2]", 3, seed=0)), tmp_path / "a.safetensors"
    )

    with pytest.raises(DataError, match=r"segmentation_head.* \(2, .*\) is \(3, .*\) in it.*same .* classes"):
        networks.build(f"unet[encoder=mobilenet_v2,weights={tmp_path / 'a.safetensors'}]", 2, seed=0)


@pytest.mark.parametrize("name", [OF_SMP, OF_TIMM])
def test_a_file_of_another_encoder_is_refused_with_how_much_of_it_fits(name: str, tmp_path: Path):
    safetensors.torch.save_file(numbers(timm.create_model("test_convnext"), 3), tmp_path / "a.safetensors")

    with pytest.raises(DataError, match=r"fills \d+ of the \d+ tensors of the encoder; .* not in it") as caught:
        networks.build(name.format(tmp_path / "a.safetensors"), 2, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["layer2.0.conv1.weight", "layer1.0.bn1.running_mean"])
def test_an_encoder_that_is_filled_in_part_is_refused(missing: str, tmp_path: Path, timms: dict[str, Tensor]):
    safetensors.torch.save_file({k: v for k, v in timms.items() if k != missing}, tmp_path / "a.safetensors")

    with pytest.raises(DataError, match=rf"model\.{missing.replace('.', '[.]')}.* not in it"):
        networks.build(OF_TIMM.format(tmp_path / "a.safetensors"), 2, seed=0)


class Trap:
    """Would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_nothing_in_a_file_is_unpickled(write, suffix: str, tmp_path: Path):
    path = tmp_path / f"a.{suffix}"
    write({"weight": Trap(tmp_path / "sprung")}, path)

    with pytest.raises(DataError, match="cannot be read as weights"):
        catalog.initial(OF_TIMM.format(path))
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_whole_file_of_weights_is_refused_before_anything_runs(tmp_path: Path, timms: dict[str, Tensor]):
    whole = safetensors.torch.save(timms)
    bad = {
        "cut": whole[:-10],
        "text": b"weights",
        "empty": b"",
        "longer": whole + b"0",
        "none": safetensors.torch.save({}),
    }
    torch.save(timms, tmp_path / "whole.pth")
    bad["torn"] = (tmp_path / "whole.pth").read_bytes()[:5000]
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read as weights") as caught:
            catalog.initial(OF_TIMM.format(tmp_path / name))
        assert "\n" not in str(caught.value)
    for missing in (tmp_path / "missing.safetensors", "~nobody-of-this-name/a.safetensors"):
        with pytest.raises(DataError, match="There is no file"):
            catalog.initial(OF_TIMM.format(missing))


def test_a_file_of_torch_that_holds_something_else_is_told_so_in_plain_words(tmp_path: Path):
    held = {
        r"ValueError: it holds no tensors by their names, but a list\)\.": [torch.ones(2)],
        r"UnpicklingError: Weights only load failed\)\.": {"weight": torch.ones(2), "score": Trap(tmp_path / "sprung")},
    }
    for reason, content in held.items():
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(DataError, match=reason) as caught:
            catalog.initial(OF_TIMM.format(tmp_path / "a.pth"))
        assert str(caught.value).isprintable()


def test_random_weights_load_no_torch_and_leave_the_ingredients_as_they_were(tmp_path: Path, data_home: Path):
    wanted = small.study(architectures=("unet",))
    planned = runner.survey(wanted, small.place(tmp_path, data_home))
    code = (
        "import sys\nfrom bench import catalog\n"
        "assert {None} == {catalog.initial(name) for name in catalog.entries('architectures')}\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert [] == [one for one in planned if "weights" in one.ingredients]
    assert (0, "") == (result.returncode, result.stderr)


def test_a_study_tells_its_weights_and_is_stale_when_the_file_changes(
    served: Hub, tmp_path: Path, data_home: Path, timms: dict[str, Tensor]
):
    path, where = tmp_path / "start.safetensors", small.place(tmp_path, data_home)
    safetensors.torch.save_file(timms, path)
    architectures = tuple(OF_TIMM.format(name) for name in ("imagenet", path, "none"))
    wanted = small.study(architectures=architectures)
    said: list[str] = []
    runner.survey(wanted, where, said.append)
    small.execute(wanted, where)
    records = {record.cell.architecture: record for record in small.stored(wanted, where).values() if record.cell.loss}
    page = report.write(where.results / "small").read_text(encoding="utf-8")
    sources = [f"{TIMM}@{COMMIT}/model.safetensors", str(path)]

    assert ["ok", "ok", "ok"] == [str(record.status) for record in records.values()]
    assert sources == [records[name].ingredients["weights"]["source"] for name in architectures[:2]]
    assert "weights" not in records[architectures[2]].ingredients
    for source, line, name in zip(sources, said, architectures, strict=False):
        sha256 = records[name].ingredients["weights"]["sha256"]
        assert source in line and sha256[:16] in line
        assert source in page and sha256 in page

    safetensors.torch.save_file(timms | {"bn1.bias": torch.zeros(32)}, path)
    planned = {one.cell.architecture: one for one in runner.survey(wanted, where) if one.cell.loss}
    assert [Standing.DONE, Standing.STALE, Standing.DONE] == [planned[name].standing for name in architectures]
    assert ["weights.sha256"] == [line.partition(":")[0] for line in runner.why(planned[architectures[1]])]


@pytest.mark.parametrize("when", ["before the cell", "in the cell"])
def test_a_file_that_changes_while_the_study_runs_fails_the_cell(
    when: str, tmp_path: Path, data_home: Path, timms: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    path, where = tmp_path / "start.safetensors", small.place(tmp_path, data_home)
    safetensors.torch.save_file(timms, path)
    wanted = small.study(architectures=(OF_TIMM.format(path),), baselines=())
    planned = runner.survey(wanted, where)
    build = networks.build

    def changed(*options: Any) -> nn.Module:
        """A network, once the file is another one."""
        safetensors.torch.save_file(timms | {"bn1.bias": torch.zeros(32)}, path)
        return build(*options)

    if when == "in the cell":
        monkeypatch.setattr(networks, "build", changed)
    else:
        changed(wanted.architectures[0], 2)
    runner.run_study(runner.job(wanted, where, "cpu", 1), planned, engine=None, on_event=lambda event: None)
    (record,) = small.stored(wanted, where).values()

    assert "failed" == record.status
    assert "weights" in record.error.message and "changed while the study ran" in record.error.message
