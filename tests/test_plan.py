"""A study to its cells, and the ingredients that decide whether a stored result still stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan
from bench.specs import Cell, Study

STUDY = Study(
    name="s",
    datasets=("a", "b"),
    architectures=("unet", "fpn"),
    losses=("ce", "dice"),
    baselines=("otsu",),
    seeds=2,
)
TRAINED, BASELINE = Cell(dataset="a", architecture="unet", loss="ce"), Cell(dataset="a", architecture="otsu", loss=None)
GIVEN: dict[str, Any] = {"data": "d", "code": "c", "versions": {"torch": "2", "numpy": "2", "scikit-image": "0.26"}}


def fingerprint(cell: Cell = TRAINED, study: Study = STUDY, **changes: Any) -> str:
    return plan.digest(plan.ingredients(cell, study, **(GIVEN | changes)))


def test_cells_come_by_data_set_baselines_first_then_architecture_loss_and_seed() -> None:
    keys = [cell.key for cell in plan.cells(replace(STUDY, losses=("ce",), seeds=1))]

    assert keys == [
        f"{data}/{rest}"
        for data in "ab"
        for rest in ("otsu/-/f0-s0", "unet/ce/f0-s0", "unet/ce/f0-s1", "fpn/ce/f0-s0", "fpn/ce/f0-s1")
    ]


@pytest.mark.parametrize(("folds", "numbers"), [(1, [0]), (3, [1, 2, 3])])
def test_one_fold_is_number_0_and_more_count_from_1(folds: int, numbers: list[int]) -> None:
    cells = plan.cells(replace(STUDY, folds=folds))

    assert numbers == sorted({cell.fold for cell in cells})
    assert {1} == set(Counter(cells).values())


@pytest.mark.parametrize("seeds", [0, 1, 4])
def test_seed_0_is_always_there_and_fresh_seeds_follow(seeds: int) -> None:
    cells = [cell for cell in plan.cells(replace(STUDY, seeds=seeds)) if cell.loss is not None]

    assert list(range(seeds + 1)) == sorted({cell.seed for cell in cells})
    assert 2 * 2 * 2 * (seeds + 1) == len(cells)


def test_baselines_have_neither_loss_nor_seeds() -> None:
    cells = [cell for cell in plan.cells(STUDY) if cell.architecture == "otsu"]

    assert [Cell(dataset=name, architecture="otsu", loss=None) for name in "ab"] == cells


def test_names_given_twice_are_run_once() -> None:
    twice = replace(STUDY, datasets=("a", "b", "a"), losses=("ce", "dice", "ce"), baselines=("otsu", "otsu"))

    assert plan.cells(STUDY) == plan.cells(twice)


def test_a_group_holds_all_seeds_of_one_tuning_in_order() -> None:
    cells = plan.cells(STUDY)
    groups = plan.groups(cells[::-1])

    assert sorted(cells, key=str) == sorted((cell for group in groups for cell in group), key=str)
    assert {(0, 1, 2), (0,)} == {tuple(cell.seed for cell in group) for group in groups}
    assert all(1 == len({replace(cell, seed=0) for cell in group}) for group in groups)


CHANGES: dict[str, dict[str, Any]] = {
    "data": {"data": "other"},
    "code": {"code": "other"},
    "package version": {"versions": GIVEN["versions"] | {"torch": "3"}},
    "seed": {"cell": replace(TRAINED, seed=1)},
    "fold": {"cell": replace(TRAINED, fold=1)},
    "loss": {"cell": replace(TRAINED, loss="dice")},
    "recipe": {"study": replace(STUDY, recipe=replace(STUDY.recipe, batch=2))},
    "tuning": {"study": replace(STUDY, tuning=replace(STUDY.tuning, trials=1))},
    "budget": {"study": replace(STUDY, budget=replace(STUDY.budget, epochs=1))},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_can_change_a_result_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint() != fingerprint(**change)


def test_the_recipe_version_is_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(), fingerprint(BASELINE)
    monkeypatch.setattr(plan, "RECIPE_VERSION", plan.RECIPE_VERSION + 1)

    assert not {*before} & {fingerprint(), fingerprint(BASELINE)}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "t"},
        {"title": "t"},
        {"seeds": 9},
        {"datasets": ("a",)},
        {"architectures": ("unet",)},
        {"losses": ("ce",)},
        {"baselines": ()},
        {"measures": ("boundary", "objects")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_else_a_study_runs_does_not_touch_a_stored_cell(change: dict[str, Any]) -> None:
    assert fingerprint() == fingerprint(study=replace(STUDY, **change))


@pytest.mark.parametrize("name", ["code", "recipe", "tuning", "budget", "package version"])
def test_a_baseline_does_not_depend_on_how_networks_are_trained(name: str) -> None:
    assert fingerprint(BASELINE) == fingerprint(BASELINE, **CHANGES[name])


@pytest.mark.parametrize(
    "change", [{"data": "e"}, {"versions": GIVEN["versions"] | {"numpy": "3"}}], ids=["data", "numpy"]
)
def test_a_baseline_depends_on_data_and_numpy(change: dict[str, Any]) -> None:
    assert fingerprint(BASELINE) != fingerprint(BASELINE, **change)


def test_the_protocol_is_how_networks_are_trained_and_nothing_else() -> None:
    others = [
        replace(STUDY, name="t", seeds=5, folds=2, datasets=("c",)),
        *(c["study"] for c in CHANGES.values() if "study" in c),
    ]

    assert [True, False, False, False] == [plan.protocol(STUDY) == plan.protocol(other) for other in others]


JSON = st.none() | st.booleans() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers(), max_size=3)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert plan.digest(value) == plan.digest(dict(reversed(value.items())))


def test_a_digest_is_the_same_everywhere() -> None:
    assert "30dc0108ceea6102" == plan.digest({"a": [1, 2.5, None, "ü"]})


def test_a_digest_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        plan.digest({"lr": float("nan")})


def test_work_counts_every_trial_of_seed_0() -> None:
    epochs, trials = STUDY.budget.epochs, STUDY.tuning.trials

    assert [1, epochs * trials, epochs] == [
        plan.work(cell, STUDY) for cell in (BASELINE, TRAINED, replace(TRAINED, seed=1))
    ]
