"""`bench check`: every check fails where it should, and the command says so with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench import catalog, check_datasets, check_losses, check_networks, check_profiles, checks
from bench.metrics import PROFILES
from bench.rules import Metric, Profile, divide
from bench.specs import IGNORE, ClassSpec, DatasetSpec, Sample
from tests.commands import call

HERE = Path(__file__)
WORDS = {"source": "here", "users": "me", "title": "A title"}


def right(counts: np.ndarray) -> np.ndarray:
    """The share of right pixels over all images."""
    whole = counts.sum(axis=-3)
    return divide(np.trace(whole, axis1=-2, axis2=-1), whole.sum(axis=(-2, -1)))


def first(counts: np.ndarray) -> np.ndarray:
    """That of the first image."""
    return right(counts[..., :1, :, :])


def each(counts: np.ndarray) -> np.ndarray:
    """The mean of that of each image."""
    return np.nanmean(right(counts[..., None, :, :]), axis=-1) if counts.any() else np.float64(np.nan)


def profile(compute: Callable[[np.ndarray], np.ndarray], **how: object) -> Profile:
    metric = Metric(**{"title": "t", "definition": "A sentence.", "compute": compute, **how})
    return Profile(name="mine", primary="x", metrics={"x": metric}, **WORDS)


def failed(suite: tuple[checks.Check, ...], subject: object) -> set[str]:
    """The titles of the checks that fail."""
    return {one.title for one in checks.outcomes(suite, subject, HERE) if one.wrong}


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_of_ours_passes(name: str):
    assert set() == failed(check_profiles.CHECKS, PROFILES[name])


@pytest.mark.parametrize(
    ("wrong", "title"),
    [
        (profile(lambda counts: 1 - right(counts)), "a prediction without an error scores best"),
        (profile(right, better="lower"), "a prediction without an error scores best"),
        (profile(lambda counts: np.nan_to_num(right(counts))), "every value is a number, or undefined (NaN)"),
        (profile(first, summed=False), "the order of the images changes nothing"),
        (profile(lambda counts: right(counts.reshape(-1, *counts.shape[-2:]))), "axes before the images are independent"),
        (profile(each), "`summed` says the truth"),
        (profile(right, summed=False, parts=lambda counts: right(counts)), "`parts` become the metric"),
        (profile(right, parts=lambda counts: right(counts[:, None])[:, None] / 2), "`parts` become the metric"),
        (profile(right, definition="no sentence"), "the specification is filled"),
        (replace(profile(right), source=""), "the specification is filled"),
    ],
)  # fmt: skip
def test_a_profile_that_breaks_a_rule_is_found(wrong: Profile, title: str):
    assert title in failed(check_profiles.CHECKS, wrong)
    assert set() == failed(check_profiles.CHECKS, profile(right))


def entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy as it should be."""
    losses = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    return losses.sum() / (target != IGNORE).sum().clamp(min=1)


@pytest.mark.parametrize(
    ("compute", "find"),
    [
        (lambda logits, target: entropy(logits, target).detach(), check_losses.finite),
        (lambda logits, target: entropy(logits, target) + logits.mean() * np.inf, check_losses.finite),
        (lambda logits, target: -(logits.softmax(1).log().gather(1, (target % 255)[:, None]) * (target != 255)[:, None]).mean(), check_losses.extreme),
        (lambda logits, target: entropy(logits, target) + logits.square().mean(), check_losses.ignored),
        (lambda logits, target: torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE), check_losses.nothing),
        (lambda logits, target: -entropy(logits, target), check_losses.minimum),
        (lambda logits, target: entropy(logits, target).bfloat16(), check_losses.half),
    ],
)  # fmt: skip
def test_a_loss_that_breaks_a_rule_is_found(compute: Callable[[Tensor, Tensor], Tensor], find: Callable):
    assert [] == list(find(entropy, 3))
    assert [] != list(find(compute, 3))


def test_the_losses_of_ours_pass():
    for expression in ("ce", "dice+ce", "boundary", "weighted_ce", "topk", "lovasz[per_image=true]"):
        assert set() == failed(check_losses.CHECKS, expression), expression


def spec(**changes: object) -> DatasetSpec:
    """A data set without a fault, drawn by the name of a sample."""
    names = [f"{split}-{number}" for split in ("train", "val", "test") for number in range(2)]
    samples = [Sample(id=one, image=one, mask=one, source=one, split=one.split("-")[0]) for one in names]
    classes = (ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(9, 9, 9)))
    told = {"title": "t", "licence": "CC0", "citation": "me", "homepage": "", "generated": True}
    return DatasetSpec(**{"classes": classes, "read": lambda root: samples, "load": load, **told, **changes})


def load(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((32, 32, 3), np.uint8), np.eye(32, dtype=np.uint8)


def changed(**how: object) -> list[Sample]:
    samples = list(spec().read(Path()))
    return [replace(samples[0], **how), *samples[1:]]


def random(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng().integers(0, 255, (32, 32, 3), np.uint8), np.eye(32, dtype=np.uint8)


@pytest.mark.parametrize(
    ("wrong", "title"),
    [
        ({"licence": ""}, "title, licence and citation are filled"),
        ({"classes": spec().classes[::-1]}, "classes begin with the background and differ in name and colour"),
        ({"classes": spec().classes[:1] * 2}, "classes begin with the background and differ in name and colour"),
        ({"load": lambda sample: load(sample)}, "loading travels to other processes"),
        ({"read": lambda root: changed(id="val-0")}, "samples are listed, with unique ids"),
        ({"read": lambda root: []}, "samples are listed, with unique ids"),
        ({"read": lambda root: changed(split=None)}, "splits are whole, and no source is parted"),
        ({"read": lambda root: changed(source="val-0")}, "splits are whole, and no source is parted"),
        ({"load": lambda one: (load(one)[0], load(one)[1] * 7)}, "pictures are RGB bytes, masks hold known classes"),
        ({"load": lambda one: (load(one)[0][..., 0], load(one)[1])}, "pictures are RGB bytes, masks hold known classes"),
        ({"load": random}, "loading again gives the same picture"),
        ({"load": lambda one: (load(one)[0][:9], load(one)[1][:9])}, "pictures are large enough"),
        ({"load": lambda one: (load(one)[0], load(one)[1] * 0)}, "every class is in some mask"),
    ],
)  # fmt: skip
def test_a_data_set_that_breaks_a_rule_is_found(wrong: dict[str, object], title: str):
    suite = check_datasets.TOLD + check_datasets.READ

    assert set() == failed(suite, check_datasets.Subject(name="mine", spec=spec(), root=Path()))
    assert title in failed(suite, check_datasets.Subject(name="mine", spec=spec(**wrong), root=Path()))


NETWORK = '''"""Bad: a network with what is asked for."""

from bench.specs import ArchitectureSpec


def build(channels: int, classes: int, width: int = 4):
    """Images to logits."""
    import torch
    from torch import nn

    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, classes, 1)

        def forward(self, images):
            return self.head(self.body(images).relu())

    return Bad()


SPEC = ArchitectureSpec(
    title="Bad", family="none", citation="arXiv:2601.00001", licence="CC0", origin="a test", build=build, divisor=1,
    options={"width": 4},
)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of the test's own with one faultless small network, `bad`."""
    (tmp_path / "architectures").mkdir()
    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([str(tmp_path), os.environ["BENCH_PATH"]]))
    monkeypatch.delitem(sys.modules, "bench.architectures.bad", raising=False)
    catalog.parsed.cache_clear()
    (tmp_path / "architectures" / "bad.py").write_text(NETWORK)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "find"),
    [
        ('licence="CC0", ', "", check_networks.filled),
        ("arXiv:2601.00001", "me", check_networks.filled),
        ("width: int = 4", "width: int = 5", check_networks.arguments),
        ("width: int = 4", "width: int = 4, depth: int = 1", check_networks.arguments),
        ("            return", "            images.sum().item()\n            return", check_networks.counted),
        ("nn.Conv2d(width, classes, 1)", "nn.Conv2d(width, 2, 1)", lambda name: check_networks.shapes(name, 3)),
        ("images).relu()", "images).relu()[..., ::2, ::2]", lambda name: check_networks.sizes(name, 1)),
        ("self.body(images).relu()", "self.body(images).relu().detach()", check_networks.gradients),
    ],
)  # fmt: skip
def test_a_network_that_breaks_a_rule_is_found(folder: Path, old: str, new: str, find: Callable):
    suite = (checks.Check(title="it", find=find, mend=""),)

    assert set() == failed(suite, "bad")
    (folder / "architectures" / "bad.py").write_text(NETWORK.replace(old, new))
    sys.modules.pop("bench.architectures.bad")
    catalog.parsed.cache_clear()
    assert {"it"} == failed(suite, "bad")


def test_an_error_of_the_code_under_test_is_told_with_its_line(folder: Path):
    path = folder / "architectures" / "bad.py"
    path.write_text(NETWORK.replace("            return", "            return self.nowhere\n            return"))
    suite = (checks.Check(title="it", find=lambda name: check_networks.sizes(name, 3), mend=""),)
    [told] = [one.wrong[0] for one in checks.outcomes(suite, "bad", path)]

    assert told.startswith("AttributeError: 'Bad' object has no attribute 'nowhere'")
    assert told.endswith(f"at {path}, line 17")


def test_the_command_tells_each_check_of_a_folder_and_what_to_do_next(tmp_path: Path):
    for kind in ("images", "masks"):
        (tmp_path / "cells" / kind).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / f"cells/images/{number}.png")
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / f"cells/masks/{number}.png")
    code, out, err = call("check", tmp_path / "cells")

    assert (1, "") == (code, err)
    assert "  --  title, licence and citation are filled: `licence` is 'unknown' (and 1 more). Say them in SPEC" in out
    assert "  ok  every class is in some mask" in out
    (tmp_path / "cells" / "dataset.toml").write_text('title = "T"\nlicence = "CC0"\ncitation = "me"\n')
    code, out, err = call("check", tmp_path / "cells")

    assert (0, "") == (code, err)
    assert f"Next, its copies and masks: bench data audit {tmp_path / 'cells'}" in out


def test_a_name_of_several_kinds_is_checked_as_each_and_files_that_are_not_here_are_said():
    code, out, _ = call("check", "boundary", "lisc")

    assert 0 == code
    assert 3 == out.count("All checks passed")
    assert "boundary, loss (" in out
    assert "boundary, metric profile (" in out
    assert "not looked at: its pictures, which are not here. Give --from PATH." in out


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ("unett", "Did you mean unet"),
        ("dice+haff", "There is no loss named 'haff'"),
        ("./nowhere", "./nowhere does not exist"),
        ("nowhere.py", "nowhere.py does not exist"),
        (str(HERE), "a file lies in datasets/, architectures/, losses/, profiles/ of a folder of yours"),
        ("unet[encodr=x]", "Did you mean encoder"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_2(thing: str, said: str):
    code, _, err = call("check", thing)

    assert 2 == code
    assert said in err
    assert 1 == err.count("\n")
