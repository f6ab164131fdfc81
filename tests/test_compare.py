"""Two results against each other: paired on the same images, refused on others, and a gate that needs support."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import compare, metrics, plan, selection, study
from bench.compare import Comparison, Pair, Verdict
from bench.errors import NameUnknown, StudyError
from bench.metrics import Counts
from bench.records import Efficiency, Status
from bench.specs import Cell, Recipe, Study
from bench.standings import label
from bench.store import Store, write_bytes
from tests import synthetic
from tests.commands import call

ACCURACY = replace(metrics.profile("default"), primary="pixel_acc")
NET, NETS = "fpn", ("fpn", "unet[encoder=resnet18]")
STUDY = replace(synthetic.STUDY, architectures=NETS, losses=("ce",), baselines=())
PIXELS = 10_000
IMAGES = 60


def wrote(folder: Path, wanted: Study = STUDY) -> Store:
    """A study's folder without a cell."""
    write_bytes(folder / "study.toml", study.dump(wanted).encode())
    return Store(folder)


def keep(
    store: Store,
    accuracy: Sequence[float] | np.ndarray,
    cell: Cell | None = None,
    wanted: Study = STUDY,
    ids: Sequence[str] | None = None,
    **values: object,
) -> None:
    """Store a cell with a given share of right pixels per image."""
    cell = cell or synthetic.cell(NET, "ce")
    names = list(ids or (f"image-{number:03d}" for number in range(len(accuracy))))
    hashed = store.write_counts(cell, names, counts_of(np.asarray(accuracy)))
    ingredients = plan.ingredients(cell, wanted, data="0123", code="4567", versions={"torch": "2.9.0"})
    found = synthetic.record(cell, ingredients=ingredients, fingerprint=plan.digest(ingredients), counts_hash=hashed)
    store.write(replace(found, **values))


def counts_of(accuracy: np.ndarray) -> Counts:
    """Matrices of four classes, of which two occur, each half the pixels."""
    counts = np.zeros((len(accuracy), 4, 4), np.uint32)
    right = np.rint(accuracy * PIXELS / 2).astype(np.uint32)
    for one, other in ((0, 1), (1, 0)):
        counts[:, one, one], counts[:, one, other] = right, PIXELS // 2 - right
    return counts


def compared(one: Store, other: Store, margin: float = 0.01, **keys: str) -> Comparison:
    sides = [selection.side(store.root, keys.get(name), ACCURACY) for name, store in (("a", one), ("b", other))]
    return compare.compare(*sides, ACCURACY, "accuracy", margin)


def only(found: Comparison) -> Pair:
    """The pair of the network that the tests store."""
    return next(pair for pair in found.pairs if NET in pair.a)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return wrote(tmp_path / "results" / "one"), wrote(tmp_path / "results" / "two")


def noise(seed: int, size: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, IMAGES)


def test_the_interval_is_that_of_a_paired_mean(stores: tuple[Store, Store]):
    one, other = 0.7 + noise(1, 0.05), 0.72 + noise(2, 0.05)
    keep(stores[0], one)
    keep(stores[1], other)
    found = only(compared(*stores)).primary
    differences = np.rint(other * PIXELS / 2) / (PIXELS / 2) - np.rint(one * PIXELS / 2) / (PIXELS / 2)
    error = 1.96 * differences.std(ddof=1) / np.sqrt(IMAGES)

    assert found is not None
    assert found.interval is not None
    assert differences.mean() == pytest.approx(found.difference)
    assert (differences.mean() - error, differences.mean() + error) == pytest.approx(found.interval, abs=0.12 * error)


def test_a_small_steady_loss_is_seen_through_images_that_differ_much(stores: tuple[Store, Store]):
    hardness = np.linspace(0.3, 0.95, IMAGES)
    keep(stores[0], hardness)
    keep(stores[1], hardness - 0.02 + noise(3, 0.003))

    assert Verdict.REGRESSION is only(compared(*stores)).verdict


def test_images_are_paired_by_their_names_not_by_their_order(stores: tuple[Store, Store]):
    values, names = np.linspace(0.3, 0.9, IMAGES), [f"image-{number:03d}" for number in range(IMAGES)]
    order = np.random.default_rng(4).permutation(IMAGES)
    keep(stores[0], values, ids=names)
    keep(stores[1], values[order], ids=[names[at] for at in order])

    assert Verdict.IDENTICAL is only(compared(*stores)).verdict


@pytest.mark.parametrize(
    ("interval", "margin", "expected"),
    [
        ((-0.05, -0.02), 0.01, Verdict.REGRESSION),
        ((-0.05, -0.01), 0.01, Verdict.WORSE),
        ((-0.05, -0.001), 0.0, Verdict.REGRESSION),
        ((-0.05, 0.0), 0.0, Verdict.UNTOLD),
        ((-0.5, 0.1), 0.01, Verdict.UNTOLD),
        ((0.001, 0.1), 0.01, Verdict.BETTER),
        (None, 0.01, Verdict.UNTOLD),
    ],
)
def test_the_whole_interval_decides(interval: tuple[float, float] | None, margin: float, expected: Verdict):
    assert expected is compare.verdict(interval, margin)


def test_two_results_that_differ_by_chance_alone_are_seldom_told_apart():
    generator, metric, told = np.random.default_rng(5), metrics.profile("default").metrics["pixel_acc"], 0
    for _ in range(150):
        runs = [[counts_of(np.clip(generator.normal(0.8, 0.05, 40), 0, 1))] for _ in range(2)]
        told += compare.verdict(compare._difference(metric, *runs).interval, 0.0) is not Verdict.UNTOLD

    assert told / 150 <= 0.09


def test_every_class_has_its_own_difference(stores: tuple[Store, Store]):
    for store, accuracy in zip(stores, (0.9, 0.8), strict=True):
        keep(store, np.full(IMAGES, accuracy))
    classes = only(compared(*stores)).classes
    names = [spec.name for spec in synthetic.CLASSES]

    assert names == list(classes)
    assert (0.9, 0.8) == (pytest.approx(classes[names[0]].a), pytest.approx(classes[names[0]].b))
    assert (None, None, None, None) == dataclasses.astuple(classes[names[2]])


def test_dice_of_one_class_against_the_rest_is_dice_of_that_class():
    counts = np.random.default_rng(6).integers(0, 9, (5, 4, 4)).astype(np.uint32)
    found = [compare.CLASS_DICE.compute(compare._one_against_rest(counts, label)) for label in range(4)]

    np.testing.assert_allclose(metrics.dice(counts.sum(axis=0)), found)


def test_other_data_and_other_test_images_are_refused_with_the_reason(stores: tuple[Store, Store]):
    card = synthetic.record(synthetic.cell(NET, "ce")).data
    assert card is not None
    keep(stores[0], np.full(12, 0.9))
    keep(stores[1], np.full(12, 0.5), data=replace(card, hash="cdef"))
    found = only(compared(*stores))

    assert (Verdict.REFUSED, "other data: 89ab in A, cdef in B", None) == (found.verdict, found.reason, found.primary)
    keep(stores[1], np.full(10, 0.5), ids=[f"image-{number:03d}" for number in range(5, 15)])
    found = only(compared(*stores))

    assert Verdict.REFUSED is found.verdict
    assert "other test images: 12 in A, 10 in B, 7 of them in both and in the same fold" == found.reason


def test_fresh_seeds_are_compared_and_the_tuned_run_is_not(tmp_path: Path):
    wanted = replace(STUDY, seeds=2)
    stores = [wrote(tmp_path / name, wanted) for name in ("one", "two")]
    for store, tuned, values in ((stores[0], 0.1, (0.8, 0.9)), (stores[1], 0.95, (0.7, 0.8))):
        for seed, value in enumerate((tuned, *values)):
            keep(store, value + noise(seed, 0.01), synthetic.cell(NET, "ce", seed=seed), wanted)
    found = only(compared(*stores))

    assert (2, 2) == found.seeds
    assert found.primary is not None
    assert -0.1 == pytest.approx(found.primary.difference, abs=0.005)
    assert not any("seed noise" in note for note in found.notes)


def test_a_single_seed_says_that_its_noise_is_not_in_the_interval(stores: tuple[Store, Store]):
    for store in stores:
        keep(store, 0.9 + noise(7))

    assert ("one seed on each side: the interval excludes seed noise",) == only(compared(*stores)).notes


def test_folds_are_put_together_and_a_missing_one_is_not_comparable(tmp_path: Path):
    wanted = replace(STUDY, folds=3)
    stores = [wrote(tmp_path / name, wanted) for name in ("one", "two")]
    for store, folds in ((stores[0], (1, 2, 3)), (stores[1], (1, 2))):
        for fold in folds:
            cell = replace(synthetic.cell(NET, "ce"), fold=fold)
            keep(store, np.full(5, 0.8), cell, wanted, [f"{fold}-{number}" for number in range(5)])
    found = only(compared(*stores))

    assert "other test images: 15 in A, 10 in B, 10 of them in both and in the same fold" == found.reason
    cell = replace(synthetic.cell(NET, "ce"), fold=3)
    keep(stores[1], np.full(5, 0.8), cell, wanted, [f"3-{number}" for number in range(5)])

    assert (Verdict.IDENTICAL, 15) == (only(compared(*stores)).verdict, only(compared(*stores)).images)


def test_a_side_without_a_score_says_how_it_ended(stores: tuple[Store, Store]):
    keep(stores[0], np.full(12, 0.9))
    synthetic.failed(stores[1], synthetic.cell(NET, "ce"))

    assert "no score in B: failed" == only(compared(*stores)).reason


def test_what_only_one_side_has_is_listed(tmp_path: Path):
    one = wrote(tmp_path / "one", replace(STUDY, losses=("ce", "dice")))
    other = wrote(tmp_path / "two", replace(STUDY, losses=("ce", "focal")))
    found = compared(one, other)

    assert tuple(f"smear/{name}/dice" for name in NETS) == found.only_a
    assert tuple(f"smear/{name}/focal" for name in NETS) == found.only_b
    with pytest.raises(StudyError, match="share no data set, architecture and loss"):
        compared(one, wrote(tmp_path / "three", replace(STUDY, losses=("tversky",))))


def test_what_was_trained_differently_is_one_line_each(tmp_path: Path):
    wanted = replace(STUDY, recipe=Recipe(batch=4), tuning=replace(STUDY.tuning, trials=9))
    one, other = wrote(tmp_path / "one"), wrote(tmp_path / "two", wanted)
    keep(one, np.full(12, 0.9))
    keep(other, np.full(12, 0.9), wanted=wanted)

    assert ("recipe.batch: 8 in A, 4 in B", "tuning.trials: 5 in A, 9 in B") == compared(one, other).protocol


def test_costs_are_medians_and_a_ratio(stores: tuple[Store, Store]):
    for store, seconds, speed in ((stores[0], 30.0, 100.0), (stores[1], 60.0, 50.0)):
        keep(
            store,
            np.full(12, 0.9),
            seconds={"tune": 500.0, "train": seconds},
            efficiency=Efficiency(infer_images_s=speed, flops=10),
            params=7,
        )
    costs = only(compared(*stores)).costs

    assert compare.Change(a=30.0, b=60.0, ratio=2.0) == costs["train_seconds"]
    assert compare.Change(a=100.0, b=50.0, ratio=0.5) == costs["infer_images_s"]
    assert (1.0, 1.0) == (costs["params"].ratio, costs["flops"].ratio)
    assert "train_images_s" not in costs


def test_a_cell_is_named_in_four_ways(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch):
    results = stores[0].root.parent
    for store in stores:
        keep(store, np.full(12, 0.9))
    cell = synthetic.cell(NET, "ce")
    monkeypatch.chdir(results.parent)
    one, newest = stores[0].root, (results / "two").resolve()

    assert (one, None) == selection.find(str(one), results)
    assert (results / "one", None) == selection.find("one", results)
    assert (one, "smear/fpn/ce") == selection.find(f"{one}:smear/fpn/ce", results)
    assert (one.resolve(), cell.key) == selection.find(str(stores[0].cell(cell)), results)
    assert newest == selection.find(cell.key, results)[0].resolve()
    with pytest.raises(StudyError, match="nonsense is not a study in results"):
        selection.find("nonsense", Path("results"))


def test_two_cells_of_one_study_are_compared_across_architectures(stores: tuple[Store, Store]):
    store = stores[0]
    for name, value in zip(NETS, (0.9, 0.8), strict=True):
        keep(store, value + noise(8, 0.01), synthetic.cell(name, "ce"))
    found = compared(store, store, a=f"smear/{NETS[0]}/ce/f0-s0", b=f"smear/{NETS[1]}/ce")

    assert [(f"smear/{NETS[0]}/ce/f0-s0", f"smear/{NETS[1]}/ce")] == [(pair.a, pair.b) for pair in found.pairs]
    assert Verdict.REGRESSION is found.pairs[0].verdict
    with pytest.raises(NameUnknown, match=r"no cell named 'smear/fpm/ce'\. Did you mean .*smear/fpn/ce"):
        selection.side(store.root, "smear/fpm/ce", ACCURACY)


def test_a_study_is_not_compared_with_a_cell(stores: tuple[Store, Store]):
    keep(stores[0], np.full(12, 0.9))
    with pytest.raises(StudyError, match="are a study and a cell"):
        compared(*stores, a="smear/fpn/ce")


def test_the_gate_ends_with_1_on_a_supported_regression_and_with_0_otherwise(stores: tuple[Store, Store]):
    keep(stores[0], 0.9 + noise(9, 0.005))
    keep(stores[1], 0.88 + noise(10, 0.005))
    words = ("compare", stores[0].root, stores[1].root)

    assert 0 == call(*words)[0]
    code, out, err = call(*words, "--gate")

    assert (1, True) == (code, "1 regression" in out)
    assert "1 supported regressions beyond 0.01: smear/fpn/ce" in err
    assert 0 == call(*words, "--gate", "--margin", "0.05")[0]
    assert 0 == call("compare", stores[1].root, stores[0].root, "--gate")[0]


def test_wrong_input_ends_with_2_and_one_line(stores: tuple[Store, Store]):
    keep(stores[0], np.full(12, 0.9))
    synthetic.diverged(stores[1], synthetic.cell(NET, "ce"))
    one, other = stores[0].root, stores[1].root
    wrong = [
        ("compare", one, "nowhere"),
        ("compare", one, f"{other}:smear/fpn/ce"),
        ("compare", one, other, "--margin", "-1"),
        ("compare", one, other, "--profile", "default2"),
        ("compare", one, other, "--gate"),
    ]
    for words in wrong:
        code, _, err = call(*words)

        assert (2, 1) == (code, len(err.splitlines())), words


def test_the_json_has_a_schema_and_every_number(stores: tuple[Store, Store]):
    keep(stores[0], 0.9 + noise(11, 0.01))
    keep(stores[1], 0.9 + noise(12, 0.01))
    code, out, _ = call("compare", stores[0].root, stores[1].root, "--format", "json")
    told = json.loads(out)
    pair = told["pairs"][0]

    assert (0, 1, "mdice_d_fg", 0.01) == (code, told["schema"], told["metric"], told["margin"])
    assert {"cannot be told": 1, "not comparable": 1} == told["tally"]
    assert ["a", "b", "difference", "interval"] == list(pair["primary"])
    assert 2 == len(pair["classes"]["background"]["interval"])


def test_a_table_and_markdown_tell_the_same(stores: tuple[Store, Store]):
    keep(stores[0], 0.9 + noise(13, 0.005))
    keep(stores[1], 0.85 + noise(14, 0.005))
    table = call("compare", stores[0].root, stores[1].root)[1]
    markdown = call("compare", stores[0].root, stores[1].root, "--format", "md")[1]
    row = next(line for line in markdown.splitlines() if line.startswith("| smear/fpn/ce |"))

    assert all(field.strip() in table for field in row.strip("|").split("|"))
    assert "regression" in row
    assert "- one seed on each side" in markdown


def test_a_diverged_run_with_a_score_takes_part(stores: tuple[Store, Store]):
    keep(stores[0], 0.9 + noise(15, 0.01))
    keep(stores[1], 0.5 + noise(16, 0.01), status=Status.DIVERGED)

    assert Verdict.REGRESSION is only(compared(*stores)).verdict
    assert "fpn · ce" == label(selection.side(stores[0].root, None, ACCURACY).standings["smear/fpn/ce"])
