"""Bootstrap intervals and shared ranks, against direct resampling and in small simulations."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics import PROFILES, Counts, Metric
from bench.statistics import SEED, interval, ranks, resampled

METRICS = {
    f"{p}/{name}": metric
    for p, profile in PROFILES.items()
    for name, metric in profile.metrics.items()
    if metric.measure is None
}
ACCURACY = PROFILES["default"].metrics["pixel_acc"]
DICE = PROFILES["image_binary"].metrics["dice_fg"]

SAME = ["the same images"]


def counts_of(accuracy: np.ndarray, pixels: int = 1000) -> Counts:
    """Matrices of two classes, half the pixels each, in which a given share is right."""
    right = np.rint(accuracy * pixels / 2).astype(np.int64)
    wrong = pixels // 2 - right
    return np.stack([np.stack([right, wrong], -1), np.stack([wrong, right], -1)], -2)


def random_counts(seed: int, images: int = 6) -> Counts:
    return np.random.default_rng(seed).integers(0, 9, (images, 3, 3)).astype(np.uint32)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_resampling_is_the_metric_of_the_drawn_images(metric: Metric) -> None:
    counts = random_counts(1)
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(6, size=(50, 6))
    expected = [float(metric.compute(counts[rows])) for rows in drawn]

    np.testing.assert_allclose(expected, resampled(metric, [counts], 50))


@pytest.mark.parametrize("metric", [ACCURACY, DICE], ids=["summed", "per image"])
def test_several_runs_are_averaged_on_the_same_images(metric: Metric) -> None:
    runs = [random_counts(seed) for seed in range(3)]
    alone = [resampled(metric, [run], 40) for run in runs]

    np.testing.assert_allclose(np.mean(alone, axis=0), resampled(metric, runs, 40))


@pytest.mark.parametrize("metric", [ACCURACY, DICE], ids=["summed", "per image"])
def test_the_interval_covers_the_true_value_about_as_often_as_it_says(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        low, high = interval(resampled(metric, [counts_of(generator.uniform(0.6, 1.0, 40))], 200)) or (0, 0)
        covered += low <= 0.8 <= high

    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_is_the_middle_95_percent() -> None:
    assert (0.025, 0.975) == pytest.approx(interval(np.linspace(0, 1, 1001)))


@pytest.mark.parametrize(
    ("values", "defined"),
    [([], False), ([np.nan] * 4, False), ([1.0, np.nan, np.nan], False), ([1.0, 1.0, np.nan, np.nan], True)],
)
def test_an_interval_needs_half_of_its_values(values: list[float], defined: bool) -> None:
    assert defined == (interval(np.array(values)) is not None)


def test_equal_lengths_are_resampled_alike_so_that_a_small_steady_lead_is_seen() -> None:
    accuracy = np.random.default_rng(5).uniform(0.5, 0.9, 30)
    better, worse = (resampled(ACCURACY, [counts_of(accuracy + lead)]) for lead in (0.02, 0.0))
    low, high = interval(better - worse) or (0, 0)
    overlapping = (interval(worse) or (0, 0))[1] > (interval(better) or (0, 0))[0]

    assert (0.02, 0.02) == pytest.approx((low, high), abs=2e-3)
    assert overlapping
    assert [1, 2] == ranks([0.72, 0.70], [better, worse], SAME * 2)


def test_identical_rows_tie() -> None:
    samples = resampled(DICE, [random_counts(7)])

    assert [1, 1, 1] == ranks([0.5, 0.5, 0.5], [samples, samples.copy(), samples.copy()], SAME * 3)


def test_rows_far_apart_do_not_tie_and_the_order_given_is_kept() -> None:
    accuracy = np.random.default_rng(6).uniform(0.4, 0.6, 20)
    samples = [resampled(ACCURACY, [counts_of(accuracy + lead)]) for lead in (0.1, 0.3, 0.2)]

    assert [3, 1, 2] == ranks([0.6, 0.8, 0.7], samples, SAME * 3)


def test_noise_without_a_lead_ties() -> None:
    generator = np.random.default_rng(8)
    rows = [counts_of(generator.uniform(0.5, 0.9, 30)) for _ in range(2)]
    values = [float(ACCURACY.compute(row)) for row in rows]

    assert [1, 1] == ranks(values, [resampled(ACCURACY, [row]) for row in rows], SAME * len(rows))


def test_a_row_without_a_value_has_no_rank() -> None:
    samples = resampled(DICE, [random_counts(7)])

    assert [None, 1, None] == ranks([None, 0.5, None], [None, samples, samples], SAME * 3)


def test_a_row_without_samples_stands_alone() -> None:
    samples = resampled(DICE, [random_counts(7)])

    assert [1, 2, 3] == ranks([0.5, 0.5, 0.5], [samples, None, samples], SAME * 3)


def test_a_row_is_compared_with_the_leader_of_its_group_not_with_its_neighbour() -> None:
    base = np.linspace(-1, 1, 101)
    rows = [base, base * 0.5 - 0.45, base * 0.2 - 0.95]  # the second touches both, the third only the second
    rows[2] = rows[0] - 0.9 + 0.05 * base

    assert [1, 1, 3] == ranks([0.9, 0.8, 0.7], rows, SAME * 3)
    assert [1, 1] == ranks([0.8, 0.7], rows[1:], SAME * 2)


def test_zero_is_a_value() -> None:
    ones = np.zeros(10)

    assert [1, 2] == ranks([0.5, 0.0], [ones + 0.5, ones], SAME * 2)


def test_nothing_has_no_ranks() -> None:
    assert [] == ranks([], [], [])


def test_rows_on_other_images_are_never_called_equal() -> None:
    samples = resampled(ACCURACY, [np.array([[[3, 1], [1, 3]]] * 4)])

    assert [1, 2] == ranks([0.75, 0.75], [samples, samples], ["these images", "those images"])
