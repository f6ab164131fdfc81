"""What the intervals and tests promise, checked on simulated cells whose truth is known."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from bench import statistics
from bench.metrics import PROFILES
from bench.paired import compare, comparisons
from bench.statistics import Sample, power, sample, sure
from tests.simulated import World, cells, truth

METRICS = [PROFILES["default"].metrics[name] for name in ("mdice_d_fg", "mdice_i_fg")]
WORLDS = {
    "calm": World(),
    "wide": World(image=1.2, seed=0.1, rest=0.5),
    "loud seeds": World(seed=0.4),
    "quiet seeds": World(seed=0.02),
}


def coverage(world: World, images: int, seeds: int, rounds: int) -> list[float]:
    """Percent of intervals that hold the truth, of the data-set metric and of the image metric."""
    world = world._replace(seed=0.0) if seeds == 1 else world  # a single run claims no more than its own weights
    true, generator, held = truth(world), np.random.default_rng(5), np.zeros(2)
    for _ in range(rounds):
        [runs] = cells(world, generator, images=images, seeds=seeds)
        for at, metric in enumerate(METRICS):
            low, high = sure(sample(metric, runs, 500)) or (2.0, 2.0)
            held[at] += low <= true[at] <= high
    return [float(100 * one / rounds) for one in held]


@pytest.mark.parametrize("world", ["calm", "wide"])
def test_intervals_hold_the_truth_in_95_percent_at_100_images_and_5_seeds(world: str) -> None:
    for share in coverage(WORLDS[world], 100, 5, 500):
        assert 92.5 <= share <= 97.5  # 93 to 97, and the noise of 500 rounds


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_the_coverage_that_the_report_tells_is_what_is_measured(world: str) -> None:
    for (images, seeds), told in statistics.COVERAGE.items():
        found = coverage(WORLDS[world], images, seeds, 1500)
        print(world, images, seeds, found)
        assert told - 1.5 <= min(found)
        assert max(found) <= 97
        if (images, seeds) == (100, 5):
            assert min(found) >= 93 - 0.5


def test_without_the_seeds_the_intervals_would_miss_the_truth() -> None:
    world, generator, held = World(seed=0.4), np.random.default_rng(5), 0
    true = truth(world)[0]
    for _ in range(100):
        [runs] = cells(world, generator, images=100, seeds=5)
        found = sample(METRICS[0], runs, 300)
        assert found is not None
        low, high = sure(Sample(runs=found.runs[:1] * 0 + found.value, drawn=found.drawn, images=100)) or (2, 2)
        held += low <= true <= high

    assert held <= 75


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_networks_are_called_different_in_at_most_5_percent(seeds: int) -> None:
    generator, flagged, families = np.random.default_rng(7), [], 0
    rounds = 160
    for _ in range(rounds):
        rows = cells(World(), generator, images=60, seeds=seeds, shifts=(0.0,) * 5)
        samples = [sample(METRICS[0], runs, 300) for runs in rows]
        pairs = comparisons(samples, ["same"] * 5)
        flagged += [one.p < 0.05 for one in pairs.values()]
        families += any(one.separated for one in pairs.values())

    assert fmean(flagged) <= 0.055  # one pair alone, over ten pairs a round: half a percent is the noise of so many
    assert families / rounds <= 0.075  # 5% over many rounds; one and a half percent is the noise of so few


def test_a_single_run_against_another_seed_is_called_different_too_often_which_is_why_it_is_stamped() -> None:
    generator, flagged = np.random.default_rng(8), 0
    for _ in range(100):
        one, other = (sample(METRICS[0], runs, 300) for runs in cells(
            World(), generator, images=100, seeds=1, shifts=(0.0, 0.0)
        ))  # fmt: skip
        assert one is not None and other is not None
        found = compare(one, other)
        flagged += found is not None and found.separated

    assert flagged > 20


@pytest.mark.parametrize(("images", "seeds"), [(100, 5), (40, 3)])
def test_a_planted_difference_of_two_points_is_found_as_often_as_predicted(images: int, seeds: int) -> None:
    generator, found, predicted = np.random.default_rng(9), [], []
    world = World(seed=0.12)
    for _ in range(400):
        rows = cells(world, generator, images=images, seeds=seeds, shifts=(0.0, -0.02))
        one, other = (sample(METRICS[1], runs, 300) for runs in rows)
        assert one is not None and other is not None
        difference = compare(one, other)
        assert difference is not None
        found.append(difference.separated and difference.value > 0)
        predicted.append((difference.error, difference.freedom))
    error = np.sqrt(fmean(error**2 for error, _ in predicted))
    expected = power(0.02, float(error), fmean(freedom for _, freedom in predicted))
    print(images, seeds, expected, fmean(found))

    assert 0.2 < expected < 0.99
    assert expected == pytest.approx(fmean(found), abs=0.07)
    medium = power(0.02, *sorted(predicted)[len(predicted) // 2])  # what one report of the many would have said
    assert medium == pytest.approx(fmean(found), abs=0.1)
