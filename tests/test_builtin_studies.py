"""The studies that come with the program: every name in them exists, and those of the seeds have the seeds' values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import nn

from bench import catalog, copies, names, networks, protocols, runner, study
from bench.specs import Study

ROOT = Path(__file__).resolve().parents[1]

# Read off what the five projects published; epochs times the copies that one held there.
# Rate, batch, size, clipping of each element of the gradient, patience, epochs.
VALUES = {
    "seed0-blood-cell": (1e-4, 4, 512, 0.5, 6 * 10, 6 * 100),
    "seed1-blood-cell": (1e-4, 4, 256, 0.0, 10, 100),
    "seed2-lisc": (7e-5, 2, 512, 0.4, 18 * 10, 18 * 100),
    "seed3-smear": (1e-3, 50, 224, 0.0, None, 35),
    "seed4-cnseg": (7e-5, 2, 512, 0.5, 20 * 10, 20 * 100),
}
# Schedule, what it multiplies the rate with, after how many epochs, and how often.
SCHEDULES = {
    "seed0-blood-cell": ("constant",),
    "seed1-blood-cell": ("constant",),
    "seed2-lisc": ("plateau", 0.5, 18 * 10, None),
    "seed3-smear": ("step", 0.1, 5, 1),
    "seed4-cnseg": ("plateau", 0.3, 20 * 4, None),
}
AXES = {
    "seed0-blood-cell": ("blood_cell", "bce_iou", "seed0", (0.64, 0.16, 0.2)),
    "seed1-blood-cell": ("blood_cell", "ce", "seed1", (0.78, 0.12, 0.1)),
    "seed2-lisc": ("lisc", "ce", "seed2", (0.7, 0.2, 0.1)),
    "seed3-smear": ("smear[test=656,train=6535,val=656]", "weighted_ce", "none", None),
    "seed4-cnseg": ("cnseg[subset=difficult]", "bce_dice", "seed4", (0.8, 0.15, 0.05)),
}


@pytest.mark.parametrize("name", study.builtin())
def test_every_name_in_a_builtin_study_exists(name: str) -> None:
    resolved = runner.resolve(study.load(name))

    assert "all" not in {*resolved.datasets, *resolved.architectures, *resolved.losses}


@pytest.mark.parametrize("name", VALUES)
def test_every_network_of_a_seed_can_be_built(name: str) -> None:
    assert {} == networks.check(study.load(name).architectures)


# Classes that the first network of a seed was published with, and its parameters.
NETWORKS = {
    "seed0-blood-cell": (1, 31_226_609),
    "seed1-blood-cell": (1, 23_381_121),
    "seed2-lisc": (6, 124_996_934),
    "seed3-smear": (11, 7_760_427),
    "seed4-cnseg": (1, 124_996_849),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_network_of_a_seed_is_the_one_that_was_published(name: str) -> None:
    classes, published = NETWORKS[name]

    def parameters(network: nn.Module, _: int) -> int:
        return sum(one.numel() for one in network.parameters())

    assert published == networks.sketch(study.load(name).architectures[0], classes, parameters)


@pytest.mark.parametrize("name", VALUES)
def test_a_seed_is_trained_as_it_was_published(name: str) -> None:
    told = study.load(name)
    recipe, (dataset, loss, augment, ratios) = told.recipe, AXES[name]
    rate, batch, size, clip, patience, epochs = VALUES[name]
    schedule = (recipe.schedule, recipe.decay, recipe.decay_epochs, recipe.decay_times)

    assert ((rate, rate), 1) == (told.tuning.lr_range, told.tuning.trials)
    assert (batch, (size, size), clip, patience) == (recipe.batch, recipe.size, recipe.clip, recipe.patience)
    assert (epochs, SCHEDULES[name]) == (told.budget.epochs, schedule[: len(SCHEDULES[name])])
    assert ("adam", 0.0, 0.0) == (recipe.optimiser, recipe.weight_decay, recipe.warmup)
    assert recipe.clip == 0 or recipe.clip_by == "value"
    assert ((dataset,), (loss,), augment) == (told.datasets, told.losses, recipe.augment)
    assert ratios in (None, told.ratios)


# Photographs, copies of each, and steps of an epoch as they were published.
STEPS = {"seed0-blood-cell": (1208, 6, 4638 / 4), "seed2-lisc": (242, 18, 3047 / 2), "seed4-cnseg": (95, 20, 1520 / 2)}


@pytest.mark.parametrize("name", STEPS)
def test_a_seed_makes_as_many_steps_as_it_made(name: str) -> None:
    told, (photographs, copies, steps) = study.load(name), STEPS[name]

    assert 100 * copies == told.budget.epochs
    assert steps == pytest.approx(copies * told.ratios[0] * photographs / told.recipe.batch, rel=0.01)


def test_every_network_of_seed_1_sees_colour_and_grey() -> None:
    stems = [names.parse(name) for name in study.load("seed1-blood-cell").architectures]
    colour = {names.show(stem, options) for stem, options in stems if "channels" not in options}
    grey = {
        names.show(stem, {key: value for key, value in options.items() if key != "channels"})
        for stem, options in stems
        if options.get("channels") == 1
    }

    assert colour == grey
    assert {"attention_unet", "classic_unet", "resunet", "ternausnet11", "ternausnet16"} == {stem for stem, _ in stems}


def test_the_study_of_families_has_every_architecture_once() -> None:
    planted = ROOT / "tests" / "catalog"
    ours = {name for name, one in catalog.entries("architectures").items() if planted not in one.path.parents}

    assert sorted(ours) == sorted(names.parse(name)[0] for name in study.load("families").architectures)


@pytest.mark.parametrize("name", VALUES)
def test_the_networks_of_a_seed_are_told_beside_those_files(name: str) -> None:
    """Rows of a table: files, studies, options, remarks; a row without a file is of the one above."""
    text = (ROOT / "architectures" / "README.md").read_text(encoding="utf-8")
    told, files = set[str](), list[str]()
    for row in text.partition("## Networks of the seed projects")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        files = re.findall(r"\]\((\w+)\.py\)", row) or files
        if f"`{name}`" in row:
            variants = [one for one in re.findall(r"`([^`]*)`", cells[3]) if one != "channels=1"]
            told |= {f"{file}[{one}]" if one else file for file in files for one in variants or [""]}
    parsed = [names.parse(one) for one in told]

    for stem, options in (names.parse(one) for one in study.load(name).architectures):
        assert any(
            stem == file and wanted.items() <= {**catalog.architecture(stem)[0].options, **options}.items()
            for file, wanted in parsed
        )
    assert {stem for stem, _ in parsed} == {names.parse(one)[0] for one in study.load(name).architectures}


def test_the_study_of_everything_is_every_data_set_network_and_loss() -> None:
    told: Study = runner.resolve(study.load("all"))

    assert {*catalog.entries("datasets")} - {"folder"} == {*told.datasets}
    assert {*catalog.entries("architectures")} == {*told.architectures}
    assert "dice+ce" == told.losses[-1]


@pytest.mark.parametrize("name", STEPS)
def test_a_seed_splits_its_own_copies_by_file_where_that_is_asked_for(name: str) -> None:
    told, copied = study.load(name), AXES[name][2]
    (resolved,) = runner.resolve(study.override(told, {"protocol": ["as-published"]})).datasets

    assert (AXES[name][0], protocols.Protocol("as-published", copied)) == protocols.apart(resolved)
    assert STEPS[name][1] == len(copies.MOVES[copied])


def test_the_leak_is_shown_on_the_same_cells_with_and_without_it() -> None:
    told = [protocols.apart(name) for name in runner.resolve(study.load("leak-demo")).datasets]

    assert {"split-first", "as-published"} == {protocol.word for _, protocol in told}
    assert 1 == len({base for base, _ in told})
