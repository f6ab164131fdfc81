"""Architectures that cannot be built are named before a run; what fails in any other way stays a row of its cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import networks, refusals
from bench.errors import NameUnknown
from bench.study import dump
from tests import small
from tests.commands import call

REFUSED = {
    "unetplusplus[encoder=mit_b0]": ["does not take mit_*", "encoder=resnet34"],
    "linknet[encoder=mit_b2]": ["does not take mit_*", "encoder=resnet34"],
    "dpt[encoder=resnet34]": ["a plain vision transformer of timm alone", "encoder=tu-vit_small_patch16_224"],
    "unet[encoder=tu-vit_small_patch16_224]": ["no features at the five scales", "dpt[encoder=tu-vit_small_patch16_224]"],
    "linknet[encoder=tu-vit_small_patch16_224]": ["no features at the five scales", "encoder=resnet34"],
    "pan[encoder=tu-vit_small_patch16_224]": ["no features at the five scales", "encoder=resnet34"],
    "pspnet[encoder=tu-deit_tiny_patch16_224]": ["no features at the five scales", "resnet34"],
    "deeplabv3[encoder=vgg16]": ["can be dilated", "unet or fpn"],
    "deeplabv3plus[encoder=tu-swin_tiny_patch4_window7_224]": ["can be dilated", "unet or fpn"],
    "pan[encoder=densenet121]": ["can be dilated", "unet or fpn"],
    "fpn[encoder=resnett34]": ["there is no encoder resnett34", "Did you mean resnet34", "tu-convnextv2_tiny"],
    "unet[encoder=50]": ["there is no encoder 50", "tu-convnextv2_tiny"],
    "unet[encoder=tu-local-dir:tests]": ["not where one lies"],
    "dpt[encoder=tu-hf-hub:timm/test_vit.r160_in1k]": ["not where one lies"],
    "unet[encoder=tu-nobody]": ["there is no encoder tu-nobody", "tu-convnextv2_tiny"],
    "fpn[decoder=33]": ["fpn[decoder=33]: ", "33", "Check its options"],
}  # fmt: skip
OTHER = ["unbuildable[how=exit]", "unbuildable[how=raise]", "faulty[how=raise]", "tiny"]


@pytest.mark.parametrize("name", REFUSED)
def test_libraries_that_do_not_go_together_are_refused_in_words_that_say_what_to_do(name: str) -> None:
    found = networks.check([name, "unet"])

    assert [name] == list(found)
    assert [] == [word for word in [name, *REFUSED[name]] if word not in found[name]], found
    assert "\n" not in found[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_offered_instead_can_be_built(name: str) -> None:
    decoder, (_, told) = name.partition("[")[0], networks.check([name]).popitem()
    encoders = set(re.findall(r"\b(?:resnet34|mit_b\d|tu-swin\w+)", told.partition("cannot be built: ")[2]))
    offered = [f"{decoder}[encoder={one}]" for one in encoders if decoder != "dpt"]

    assert {} == networks.check(offered)


def test_only_options_that_do_not_go_together_are_refused_in_this_process() -> None:
    found = refusals.found([*OTHER, "unbuildable", "linknet[encoder=mit_b0]"], isolated=False)

    assert ["unbuildable", "linknet[encoder=mit_b0]"] == list(found)
    assert "unbuildable: planted: these options do not go together. Leave one out." == found["unbuildable"]


@pytest.mark.parametrize("how", ["kill", pytest.param("hang", marks=pytest.mark.slow)])
def test_one_that_dies_or_hangs_in_its_worker_is_not_refused_and_those_after_it_are_checked(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "PATIENCE", 20.0)
    names = [f"unbuildable[how={how}]", *OTHER, "unbuildable", "tiny[width=3]"]

    assert ["unbuildable"] == list(refusals.found(names, isolated=True))


def test_weights_are_no_matter_of_the_check() -> None:
    assert "unet[encoder=resnet18,weights=none]" == networks.from_scratch("unet[encoder=resnet18,weights=imagenet]")
    assert "tiny[width=3]" == networks.from_scratch("tiny[width=3]")
    assert {} == networks.check(["unet[encoder=resnet18,weights=imagenet]"])
    assert networks.build("unet[encoder=tu-test_resnet,weights=./gone.safetensors]", 2, scratch=True).training


@pytest.fixture
def run(tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a small study with some architectures."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(dump(small.study(name="mine", losses=("ce", "dice"))))

    def run(architectures: str, *options: object) -> tuple[int, str, str]:
        words = ["--architecture", architectures, "--data-home", data_home, *options]
        return call("run", "matrix", "mine.toml", *words)

    return run


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_with_refused_networks_ends_before_anything_is_written_and_names_them_all(run, workers: int) -> None:
    code, _, err = run("tiny,unbuildable,linknet[encoder=mit_b0],faulty", "--workers", workers)

    assert 2 == code
    assert 1 == err.count("\n"), err
    assert "2 architectures of the study cannot be built, so nothing was run. (1) unbuildable: planted: " in err
    assert "(2) linknet[encoder=mit_b0] cannot be built: " in err
    assert not Path("results").exists()


def test_a_dry_run_shows_refused_networks_in_their_rows_and_ends_with_2(run) -> None:
    code, out, err = run("tiny,unbuildable", "--dry-run")

    assert (2, "") == (code, err)
    assert 2 == out.count("planted: these options do not go together")
    assert "Not in it: 2 cells that cannot be trained" in out
    assert not Path("results").exists()


def test_a_cell_that_is_left_out_of_a_total_is_counted_once(run) -> None:
    _, out, _ = run("tiny,unbuildable", "--dry-run", "--dataset", f"lisc,{small.SMEAR}", "--loss", "ce")

    assert "Not in it: 2 cells that cannot be trained" in out
    assert "Not in it: 2 cells whose data sets are not prepared" in out  # of lisc: the baseline, and tiny


def test_a_network_that_raises_when_it_is_built_is_still_a_row(run) -> None:
    code, out, _ = run("tiny,unbuildable[how=raise]", "--workers", 1, "--loss", "ce")

    assert 1 == code
    assert "planted: it cannot be built" in out


def test_only_what_is_still_to_run_is_checked(run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(refusals, "found", lambda names, isolated: asked.append(list(names)) or {})
    codes = [run(names, "--workers", 0, "--loss", "ce")[0] for names in ("tiny", "tiny,tiny[width=4]", "tiny")]

    assert [0, 0, 0] == codes
    assert [["tiny"], ["tiny[width=4]"]] == asked


def test_one_refusal_is_told_as_it_is() -> None:
    with pytest.raises(NameUnknown, match=r"^unbuildable: planted: .* Leave one out\. Nothing was run\.$"):
        refusals.refuse(["tiny", "unbuildable"], isolated=False)
