"""Resampling, intervals, paired differences, ranks and power, against direct computation and references."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench import statistics
from bench.metrics import PROFILES, Counts, Metric
from bench.paired import Difference, compare, comparisons, holm, ranks
from bench.statistics import (
    SEED,
    Sample,
    detectable,
    draw,
    draws,
    interval,
    places,
    power,
    rank_ranges,
    resampled,
    sample,
    seeds_needed,
    sure,
)

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


def patchy_counts(images: int = 7) -> Counts:
    """Four classes of which most are absent from most images, and one image without any pixel."""
    generator = np.random.default_rng(2)
    counts = generator.integers(0, 50, (images, 4, 4)) * (generator.random((images, 4, 1)) < 0.4)
    counts[0] = 0
    return counts * (generator.random((images, 1, 4)) < 0.6)


def known(value: float, error: float, *, seeds: int = 1, images: int = 100, runs: float = 0.0) -> Sample:
    """A sample with a given standard error over images, and a given standard deviation between runs."""
    drawn = value + error * stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    spread = np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
    spread = spread / spread.std(ddof=1) * runs if seeds > 1 else spread
    return Sample(runs=value + spread, drawn=drawn, images=images)


def gap(separated: bool) -> Difference:
    p = 0.001 if separated else 0.5
    return Difference(value=0.1, interval=(0.0, 0.2), p=p, adjusted=p, error=0.05, freedom=10)


@pytest.mark.parametrize("counts", [random_counts(1), patchy_counts()], ids=["full", "absent classes"])
@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_resampling_is_the_metric_of_the_drawn_images(metric: Metric, counts: Counts) -> None:
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(len(counts), size=(50, len(counts)))
    expected = [float(metric.compute(counts[rows])) for rows in drawn]

    np.testing.assert_allclose(expected, resampled(metric, [counts], 50))
    np.testing.assert_allclose(expected, draw([replace(metric, parts=None)], counts, 50)[0])


@pytest.mark.parametrize("metric", [ACCURACY, DICE], ids=["summed", "per image"])
def test_several_runs_are_averaged_on_the_same_images(metric: Metric) -> None:
    runs = [random_counts(seed) for seed in range(3)]
    alone = [resampled(metric, [run], 40) for run in runs]

    np.testing.assert_allclose(np.mean(alone, axis=0), resampled(metric, runs, 40))


def test_the_middle_of_resampled_values_is_their_middle_95_percent() -> None:
    assert (0.025, 0.975) == pytest.approx(interval(np.linspace(0, 1, 1001)))


@pytest.mark.parametrize(
    ("values", "defined"),
    [([], False), ([np.nan] * 4, False), ([1.0, np.nan, np.nan], False), ([1.0, 1.0, np.nan, np.nan], True)],
)
def test_an_interval_needs_half_of_its_values(values: list[float], defined: bool) -> None:
    assert defined == (interval(np.array(values)) is not None)
    assert defined == (sure(Sample(runs=np.array([0.5]), drawn=np.array(values), images=9)) is not None)


def test_without_seeds_the_interval_of_a_mean_is_that_of_a_t_test() -> None:
    values = np.random.default_rng(4).normal(0.5, 0.02, 400)
    low, high = sure(sample(ACCURACY, [counts_of(values, 10**6)])) or (0, 0)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval()

    assert (expected.low, expected.high) == pytest.approx((low, high), abs=3e-4)


def test_with_few_images_the_error_is_not_too_small() -> None:
    values = np.array([0.5, 0.6, 0.9, 0.7, 0.8])
    flat = Sample(runs=np.zeros(1), drawn=np.zeros(1000), images=5)
    one = sample(ACCURACY, [counts_of(values)])
    assert one is not None
    found = compare(one, flat)

    assert found is not None
    assert values.std(ddof=1) / math.sqrt(5) == pytest.approx(found.error, rel=0.06)  # 12% less without the correction


def test_the_spread_between_seeds_widens_the_interval_by_welch() -> None:
    one = known(0.5, 0.01, seeds=4, runs=0.04)
    parts = (1.01e-4 * 1.0, 99), (0.04**2 / 4, 3)  # n/(n-1) of the resampled variance, and s^2/S
    error = math.sqrt(sum(v for v, _ in parts))
    freedom = error**4 / sum(v**2 / d for v, d in parts)
    low, high = sure(one) or (0, 0)

    half = stats.t.ppf(0.975, freedom) * error / 0.25
    assert (1 / (1 + math.exp(half)), 1 / (1 + math.exp(-half))) == pytest.approx((low, high), abs=1e-3)
    assert high - low > 4 * 0.02 * 0.9


def test_an_interval_stays_between_0_and_1_and_holds_its_value() -> None:
    for value in (0.0, 1e-9, 0.004, 0.5, 0.996, 1.0):
        low, high = sure(known(value, min(value, 1 - value), seeds=3, runs=min(value, 1 - value) / 2)) or (2, 2)
        assert 0 <= low <= value <= high <= 1


def test_a_number_of_one_image_has_no_interval() -> None:
    assert sure(sample(ACCURACY, [counts_of(np.array([0.5]))])) is None


def test_a_number_undefined_in_one_run_has_no_noise() -> None:
    empty = np.zeros((4, 3, 3), np.int64)

    assert sample(DICE, [random_counts(1, 4), empty]) is None
    assert sample(DICE, []) is None
    assert sure(None) is None


def test_equal_lengths_are_resampled_alike_so_that_a_small_steady_lead_is_seen() -> None:
    accuracy = np.random.default_rng(5).uniform(0.5, 0.9, 30)
    better, worse = (sample(ACCURACY, [counts_of(accuracy + lead)]) for lead in (0.02, 0.0))
    assert better is not None and worse is not None
    found = compare(better, worse)
    assert found is not None

    assert 0.02 == pytest.approx(found.value, abs=2e-3)
    assert (0.02, 0.02) == pytest.approx(found.interval, abs=2e-3)
    assert (sure(worse) or (0, 0))[1] > (sure(better) or (0, 0))[0]  # the intervals alone overlap
    assert found.p < 1e-6


def test_a_paired_difference_is_that_of_a_paired_t_test() -> None:
    generator = np.random.default_rng(6)
    one = generator.uniform(0.5, 0.9, 300)
    other = one + generator.normal(0.004, 0.03, 300)
    samples = [sample(ACCURACY, [counts_of(values, 10**6)]) for values in (one, other)]
    found = compare(samples[0], samples[1])  # ty: ignore
    expected = stats.ttest_rel(one, other)

    assert found is not None
    assert expected.pvalue == pytest.approx(found.p, abs=0.02)
    assert tuple(expected.confidence_interval()) == pytest.approx(found.interval, abs=6e-4)


def test_without_image_noise_groups_of_seeds_are_compared_by_welch() -> None:
    one, other = np.array([0.80, 0.83, 0.81]), np.array([0.78, 0.775, 0.79])
    flat = np.full(100, 0.0)
    found = compare(
        Sample(runs=one, drawn=flat + one.mean(), images=50), Sample(runs=other, drawn=flat + other.mean(), images=50)
    )
    expected = stats.ttest_ind(one, other, equal_var=False)

    assert found is not None
    assert expected.pvalue == pytest.approx(found.p, abs=1e-9)
    assert expected.df == pytest.approx(found.freedom)


def test_holm_is_the_step_down_of_the_published_example() -> None:
    # worked by hand after Holm 1979: sorted p times m, m-1, .., each at least the one before
    assert [0.03, 0.06, 0.06, 0.02] == pytest.approx(holm([0.01, 0.04, 0.03, 0.005]))
    assert [1.0, 1.0] == pytest.approx(holm([0.9, 0.6]))
    assert [] == holm([])


def test_holm_equals_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    ps = np.random.default_rng(1).random(40) ** 3

    np.testing.assert_allclose(multitest.multipletests(ps, method="holm")[1], holm(ps.tolist()))


def test_the_correction_counts_every_pair_on_the_same_images_and_no_other() -> None:
    rows = [known(0.7 + 0.001 * at, 0.01) for at in range(4)]
    found = comparisons([*rows, None, known(0.9, 0.01)], [*SAME * 5, "other images"])

    assert {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)} == set(found)
    assert all(one.adjusted >= one.p for one in found.values())
    assert holm([one.p for one in found.values()]) == [one.adjusted for one in found.values()]


def test_identical_rows_are_equal_and_constant_ones_apart_are_not() -> None:
    one, other = (Sample(runs=np.array([v]), drawn=np.full(50, v), images=9) for v in (0.5, 0.6))
    same, apart = compare(one, one), compare(one, other)

    assert same is not None and apart is not None
    assert (1.0, 0.0, False, True) == (same.p, apart.p, same.separated, apart.separated)


def test_rows_that_cannot_be_separated_share_the_rank_of_their_leader() -> None:
    pairs = {(0, 1): gap(True), (0, 2): gap(False), (1, 2): gap(False)}

    assert [1, 3, 1] == ranks([0.8, 0.5, 0.7], pairs)
    assert [3, 1, 1] == ranks([0.5, 0.8, 0.7], {**pairs, (0, 2): gap(True)})


def test_a_row_is_compared_with_the_leader_of_its_group_not_with_its_neighbour() -> None:
    pairs = {(0, 1): gap(False), (0, 2): gap(True), (1, 2): gap(False)}

    assert [1, 1, 3] == ranks([0.9, 0.8, 0.7], pairs)


def test_a_row_without_a_value_has_no_rank_and_one_that_was_not_compared_stands_alone() -> None:
    assert [None, 1, None] == ranks([None, 0.5, None], {})
    assert [1, 2, 3] == ranks([0.5, 0.5, 0.5], {})
    assert [1, 2] == ranks([0.5, 0.0], {})
    assert [] == ranks([], {})


def test_rank_ranges_hold_what_resampling_can_swap() -> None:
    rows = [known(0.9, 0.001), known(0.700, 0.01, seeds=3, runs=0.05), known(0.695, 0.01, seeds=3, runs=0.05)]

    assert [(1, 1), (2, 3), (2, 3)] == rank_ranges(draws(rows))
    assert [(1, 1)] == rank_ranges(draws(rows[:1]))


def test_equal_rows_share_a_place_and_the_undefined_come_last() -> None:
    values = np.array([[0.5, 0.2], [0.5, np.nan], [0.1, 0.3]])

    assert [[1, 2], [1, 3], [3, 1]] == places(values).tolist()


def test_power_is_that_of_a_two_sided_t_test() -> None:
    power_module = pytest.importorskip("statsmodels.stats.power")
    expected = power_module.TTestPower().power(effect_size=0.5, nobs=20, alpha=0.05)

    assert expected == pytest.approx(power(0.5, 1 / math.sqrt(20), 19), abs=1e-4)


def test_power_of_a_published_design() -> None:
    # Cohen 1988, table 2.4.1: two groups of 64 at d = 0.5, two-sided 5%, have 80% power
    assert 0.80 == pytest.approx(power(0.5, math.sqrt(2 / 64), 126), abs=0.005)
    assert 0.5 == pytest.approx(detectable(math.sqrt(2 / 64), 126), abs=0.003)


def test_the_detectable_difference_is_found_in_80_percent_and_grows_with_correction() -> None:
    for freedom in (2.0, 4.3, 30.0, 1e5):
        found = detectable(0.01, freedom)
        assert 0.8 == pytest.approx(power(found, 0.01, freedom), abs=1e-6)
        assert detectable(0.01, freedom, 0.05 / 45) > found
    assert 0.0 == detectable(0.0, 5)


def test_power_at_the_ends() -> None:
    assert 0.05 == pytest.approx(power(0.0, 0.01, 7), abs=2e-4)
    assert 1.0 == pytest.approx(power(1.0, 1e-4, 7))
    assert (1.0, 0.0) == (power(0.1, 0.0, 7), power(0.0, 0.0, 7))


def test_seeds_needed_is_the_first_number_with_the_power() -> None:
    one, other = (known(v, 0.01, seeds=3, runs=0.02) for v in (0.82, 0.80))  # equal images: no image noise
    found = seeds_needed(one, other)

    def with_seeds(seeds: int) -> float:
        return power(0.02, math.sqrt(2 * 0.02**2 / seeds), 2 * (seeds - 1))

    assert found is not None
    assert with_seeds(found) >= 0.8 > with_seeds(found - 1)


def test_no_number_of_seeds_helps_where_images_set_the_limit_or_runs_are_single() -> None:
    noise = 0.05 * np.random.default_rng(1).normal(size=1000)
    noisy = Sample(runs=np.array([0.80, 0.81, 0.79]), drawn=0.8 + noise, images=20)

    assert seeds_needed(known(0.82, 0.0001, seeds=3, runs=0.01), noisy) is None
    assert seeds_needed(known(0.82, 0.01), known(0.80, 0.01)) is None
    assert seeds_needed(known(0.8, 0.01, seeds=3, runs=0.02), known(0.8, 0.01, seeds=3, runs=0.02)) is None


def test_coverage_is_told_from_the_nearest_measured_case_below() -> None:
    assert statistics.COVERAGE[20, 3] == statistics.covers(49, 4)
    assert statistics.COVERAGE[20, 1] == statistics.covers(3, 0)
    assert statistics.COVERAGE[100, 5] == statistics.covers(1000, 9)
    assert statistics.COVERAGE[100, 3] == statistics.covers(100, 4)
    assert statistics.covers(100, 2) is None


@pytest.mark.parametrize("freedom", [0.5, 1.0, 7.3, 59.0, 1e9, math.inf])
def test_the_quantile_of_an_interval_is_that_of_students_t(freedom: float):
    assert float(stats.t.ppf(0.975, freedom)) == statistics.quantile(freedom)
