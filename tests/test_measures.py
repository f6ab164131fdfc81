"""What is measured per image: against the formulas on flat lists, on maps with ignored pixels and empty truths."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from bench import evaluate, metrics, rules, standings
from bench import measures as registry
from bench.datasets import blood_cell
from bench.errors import StoreError
from bench.fit import windows
from bench.measures import MEASURES, measured, one_hot, stacked
from bench.metrics import PROFILES
from bench.specs import IGNORE, Recipe
from bench.store import Store, write_arrays
from tests import synthetic
from tests.real import REAL, real
from tests.small import SMEAR, execute, place, plain, stored, study

C = 3


def soft_maps(seed: int, *, ignored: float = 0.0, size: tuple[int, int] = (9, 7)) -> tuple[np.ndarray, ...]:
    """Truth, class map and probabilities of one image."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, C, size).astype(np.uint8)
    logits = generator.normal(size=(C, *size)) + 1.5 * (np.arange(C)[:, None, None] == truth)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth[generator.random(size) < ignored] = IGNORE
    return truth, probabilities.argmax(axis=0).astype(np.uint8), probabilities.astype(np.float32)


def by_hand(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The Keras formulas over flat lists, foreground as one class; ignored pixels are left out."""
    points = [
        (int(true), [float(p) for p in column])
        for true, column in zip(truth.ravel(), probabilities.reshape(C, -1).T, strict=True)
        if true != IGNORE
    ]
    y, p = [float(true > 0) for true, _ in points], [column[1] + column[2] for _, column in points]
    flat_y = [float(true == label) for true, _ in points for label in range(C)]
    flat_p = [value for _, column in points for value in column]
    hit = sum(a * b for a, b in zip(y, p, strict=True))
    union = sum(a + b - a * b for a, b in zip(y, p, strict=True))
    return {
        "keras_dice": (2 * hit + 1) / (sum(y) + sum(p) + 1),
        "keras_iou": hit / union if union else math.nan,
        "keras_dice_multiclass": (2 * sum(a * b for a, b in zip(flat_y, flat_p, strict=True)) + 1)
        / (sum(flat_y) + sum(flat_p) + 1),
    }


@pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_soft_measures_are_the_keras_formulas(seed: int, ignored: float) -> None:
    truth, predicted, probabilities = soft_maps(seed, ignored=ignored)
    expected = by_hand(truth, probabilities)
    found = measured(truth, predicted, probabilities, expected)

    assert expected == pytest.approx({name: float(value) for name, value in found.items()}, abs=1e-6, nan_ok=True)


def test_soft_pixel_accuracy_is_nearly_the_mean_probability_of_the_true_class() -> None:
    truth, predicted, probabilities = soft_maps(1, size=(60, 60))
    chosen = np.take_along_axis(probabilities, truth[None].astype(int), axis=0).mean()

    assert chosen == pytest.approx(registry.keras_dice_multiclass(truth, predicted, probabilities), abs=2e-4)


def test_seed_0_widens_the_truth_by_one_pixel() -> None:
    truth = np.zeros((512, 512), np.uint8)
    truth[2, 2], truth[511, 500], truth[0, 0] = 1, 2, IGNORE
    predicted = np.zeros((512, 512), np.uint8)
    predicted[1:4, 1:4] = 1  # exactly the widened pixel, nothing at the edge
    found = registry.seed0_hard(truth, predicted, one_hot(predicted, C))

    assert [512 * 512 - 1 - 9 - 6, 0, 6, 9] == found.tolist()


def test_seed_0_pads_to_a_square_and_shrinks() -> None:
    truth = np.zeros((100, 2048), np.uint8)
    truth[:, 1024:] = 1
    found = registry.seed0_hard(truth, truth, one_hot(truth, 2))

    assert 24 * 256 <= found[3] <= 26 * 257  # a quarter of the edges, and what the weights and the blur spread to
    assert 0 == found[1]
    assert 0 < found[2] <= 4 * 257 + 28  # two rows above and below, and a column


def test_seed_1_scores_a_perfect_prediction_below_1() -> None:
    rows, columns = np.mgrid[:1200, :1600] % 120 - 60
    truth = (rows**2 + columns**2 < 40**2).astype(np.uint8)  # cells of 80 pixels, as on the real pictures
    found = registry.seed1_hard(truth, truth, one_hot(truth, 2))
    wide = np.asarray(Image.fromarray(truth * 255).resize((256, 256), Image.Resampling.BICUBIC)) > 0

    assert wide.sum() == found[2] + found[3]
    assert 0.7 < found[3] / found[1:].sum() < 0.95


@real
def test_a_perfect_prediction_of_real_cells_scores_what_was_measured_in_the_seeds() -> None:
    truths = [np.asarray(blood_cell.load(sample)[1]) for sample in list(blood_cell.read(REAL))[::4]]
    names = ["seed0_hard", "seed1_hard"]
    values = stacked(measured(truth, truth, one_hot(truth, 2), names) for truth in truths)
    found = {name: float(MEASURES[name].reduce(values[name])) for name in names}

    assert {"seed0_hard": 0.842, "seed1_hard": 0.840} == pytest.approx(found, abs=0.01)


def test_seed_1_asks_for_a_logit_above_one_half() -> None:
    truth = np.ones((256, 256), np.uint8)
    for logit, hits in ((0.49, 0), (0.51, 256 * 256)):
        cell = np.full((256, 256), 1 / (1 + math.exp(-logit)), np.float32)

        assert hits == registry.seed1_hard(truth, truth, np.stack([1 - cell, cell]))[3]


def test_seed_3_takes_unsure_and_unlabelled_pixels_for_background() -> None:
    truth = np.array([[0, 0, 1, 1, 2, IGNORE, IGNORE]], np.uint8)
    rows = [
        [0.2, 0.4, 0.4],
        [0.1, 0.8, 0.1],
        [0.1, 0.8, 0.1],
        [0.3, 0.4, 0.3],
        [0.1, 0.8, 0.1],
        [0.9, 0.1, 0],
        [0, 1, 0],
    ]
    probabilities = np.array(rows, np.float32).T[:, None]

    # right: the unsure background, the sure nucleus, the unlabelled pixel that nobody is sure of
    predicted = probabilities.argmax(axis=0).astype(np.uint8)
    assert [3, 7] == registry.seed3_hard(truth, predicted, probabilities).tolist()


def test_batches_of_four_are_scored_together_and_the_last_may_be_shorter() -> None:
    pixels = np.random.default_rng(0).integers(1, 50, (6, 4)).astype(float)
    first, last = pixels[:4].sum(axis=0), pixels[4:].sum(axis=0)

    expected = (first[3] / first[1:].sum() + last[3] / last[1:].sum()) / 2
    assert expected == pytest.approx(float(registry.pooled_iou(pixels)))
    assert math.isnan(registry.pooled_iou(np.zeros((0, 4))))
    assert pixels[:, 0].sum() / pixels[:, 1].sum() == pytest.approx(float(registry.pooled_share(pixels[:, :2])))


@pytest.mark.parametrize("name", MEASURES)
def test_leading_axes_of_a_measure_are_independent(name: str) -> None:
    images = [measured(*soft_maps(seed), [name])[name] for seed in range(6)]
    values = np.stack(images)
    both = np.stack([values, values[::-1]])

    expected = [float(MEASURES[name].reduce(one)) for one in both]
    np.testing.assert_allclose(expected, MEASURES[name].reduce(both))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_measures_stay_between_0_and_1_on_any_maps(seed: int, ignored: float) -> None:
    values = stacked([measured(*soft_maps(seed, ignored=ignored)), measured(*soft_maps(seed + 1))])
    numbers = [float(MEASURES[name].reduce(found)) for name, found in values.items()]

    assert all(0 <= number <= 1 + 1e-6 for number in numbers if not math.isnan(number))


@pytest.mark.parametrize("name", [name for name, one in MEASURES.items() if one.constant])
def test_the_constant_predictor_of_a_measure_follows_from_the_true_pixels(name: str) -> None:
    truths = [soft_maps(seed)[0] for seed in range(4)]
    true = np.stack([[(truth == label).sum() for label in range(C)] for truth in truths]).astype(float)
    for label in range(C):
        taken = [measured(t, t * 0 + label, one_hot(np.full_like(t, label), C), [name]) for t in truths]
        constant = MEASURES[name].constant
        assert constant is not None

        np.testing.assert_allclose(stacked(taken)[name], constant(true, label), rtol=1e-6)


def test_certainty_is_one_hot() -> None:
    labels = np.array([[0, 2], [1, 1]], np.uint8)

    assert labels.tolist() == one_hot(labels, C).argmax(axis=0).tolist()
    assert 4 == one_hot(labels, C).sum()
    assert np.float32 == one_hot(labels, C).dtype


@pytest.mark.parametrize("way", ["resize", "letterbox", "tile"])
def test_probabilities_are_the_softmax_of_the_logits_at_native_size(way: str) -> None:
    torch.manual_seed(0)
    recipe = Recipe(size=(16, 24), fit=way, batch=3)  # ty: ignore[invalid-argument-type]
    sizes = [(16, 24), (40, 50), (20, 9)]
    count = sum(len(windows(size, recipe)) for size in sizes)
    images = np.random.default_rng(1).integers(0, 256, (count, 16, 24, 3), dtype=np.uint8)
    forward = plain(nn.Conv2d(3, C, 3, padding=1), 3)
    options = {"recipe": recipe, "device": torch.device("cpu")}
    found = list(evaluate.predictions(forward, images, sizes, **options))
    hard = list(evaluate.predict(forward, images, sizes, **options))

    for size, one, labels in zip(sizes, found, hard, strict=True):
        assert one.probabilities is not None
        assert (C, *size) == one.probabilities.shape
        assert np.float32 == one.probabilities.dtype
        np.testing.assert_allclose(np.ones(size), one.probabilities.sum(axis=0), rtol=1e-5)
        assert (
            one.probabilities.max(axis=0) == np.take_along_axis(one.probabilities, labels[None].astype(int), 0)[0]
        ).all()
        assert (labels == one.labels).all()


def test_a_study_stores_measures_beside_counts_and_ranks_by_them(tmp_path: Path, data_home: Path) -> None:
    wanted, where = study(), place(tmp_path, data_home)
    execute(wanted, where)
    store = Store(where.results / wanted.name)
    for record in stored(wanted, where).values():
        ids, values = store.measures(record)
        assert (sorted(MEASURES), ids) == (sorted(values), store.counts(record.cell)[0])
        assert all(len(one) == len(ids) and one.dtype == np.float64 for one in values.values())
    profile = metrics.profile("seeds_soft")
    rows = standings.rows(wanted, store, profile)

    assert {SMEAR} == {row.cell.dataset for row in rows}
    assert all(0 < (row.values["keras_dice_multiclass"] or 0) <= 1 for row in rows)
    empty = next(row for row in rows if row.cell.architecture == "all_background")
    constant = MEASURES["keras_dice_multiclass"].constant
    assert constant is not None and empty.counts is not None
    share = rules.mean(constant(empty.counts.sum(axis=-1).astype(float), 0))
    assert float(share) == pytest.approx(empty.values["keras_dice_multiclass"])
    [board] = standings.boards(rows, profile)
    assert all(one.interval is not None for one in board.standings)


def test_a_cell_without_measures_has_no_value_and_no_rank_under_their_profiles(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    rows = standings.rows(synthetic.STUDY, Store(folder), PROFILES["seeds_soft"])
    [board] = standings.boards(rows, PROFILES["seeds_soft"])

    assert {None} == {value for row in rows for value in row.values.values()}
    assert {None} == {one.rank for one in board.standings} == {one.interval for one in board.standings}


def test_measures_follow_the_order_of_the_image_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = synthetic.cell("otsu", None)
    ids = [f"image-{number}" for number in (3, 1, 2)]
    values = {name: np.array([0.3, 0.1, 0.2]) for name in PROFILES["seeds_soft"].metrics}
    record = synthetic.record(
        cell,
        counts_hash=store.write_counts(cell, ids, np.ones((3, 4, 4), np.uint32)),
        measures_hash=store.write_measures(cell, ids, values),
    )
    store.write(record)
    row = next(row for row in standings.rows(synthetic.STUDY, store, PROFILES["seeds_soft"]) if row.cell == cell)

    assert ("image-1", "image-2", "image-3") == row.ids
    assert [0.1, 0.2, 0.3] == row.measures["keras_iou"].tolist()
    assert 0.2 == pytest.approx(row.values["keras_iou"])


def test_measures_that_are_not_those_of_the_record_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = synthetic.cell("otsu", None)
    record = synthetic.record(cell, measures_hash=store.write_measures(cell, ["a"], {"keras_iou": np.array([0.5])}))
    assert 0.5 == store.measures(record)[1]["keras_iou"]
    write_arrays(store.cell(cell) / "measures.npz", ids=np.array(["a"]), keras_iou=np.array([0.9]))

    with pytest.raises(StoreError, match=r"measures\.npz is not the file its record names\. Delete record\.json"):
        store.measures(record)
    (store.cell(cell) / "measures.npz").unlink()
    assert ([], {}) == store.measures(record)
