"""Which learning rates a network tolerates, and what tuning gained, from trials alone."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from bench import metrics, rates, report, standings, study
from bench.rates import Sweep, Tried
from bench.records import Epoch, TrialStatus
from bench.rows import Row
from bench.standings import Board
from bench.store import Store
from tests import synthetic

PROFILE = metrics.profile("default")
ENDED, STOPPED, DIVERGED, ONE_CLASS = TrialStatus


def sweep(*tried: tuple[float, float] | tuple[float, float, TrialStatus]) -> Sweep:
    """Trials by rate and value, complete where nothing else is said."""
    return Sweep(
        "unet", "ce", 0, tuple(Tried(one[0], one[1], one[2] if len(one) > 2 else ENDED) for one in tried), None, None
    )


def board(folder: Path) -> Board:
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE)
    return standings.boards(table, PROFILE)[0]


def test_the_tolerated_range_ends_where_the_score_falls_by_more_than_a_point() -> None:
    found = rates.tolerance(sweep((1e-1, 0.2), (1e-3, 0.795), (1e-2, 0.8), (3e-3, 0.79), (1e-4, 0.789), (3e-2, 0.7)))

    assert found is not None
    assert (1e-2, 0.8, 1e-3, 1e-2) == (found.rate, found.best, found.low, found.high)
    assert (False, False, rates.CLOSE, 6) == (found.lowest, found.highest, found.within, found.tried)


def test_a_rate_that_fails_between_two_good_ones_ends_the_range() -> None:
    for ending in (DIVERGED, ONE_CLASS):
        found = rates.tolerance(sweep((1e-4, 0.8), (1e-3, 0.8, ending), (1e-2, 0.8), (1e-1, 0.8)))

        assert found is not None
        assert (1e-4, 1e-4, True, False) == (found.low, found.high, found.lowest, found.highest)


@pytest.mark.parametrize(
    ("values", "edges"),
    [((0.8, 0.5, 0.3), (True, False)), ((0.3, 0.5, 0.8), (False, True)), ((0.8, 0.8, 0.8), (True, True)),
     ((0.3, 0.8, 0.3), (False, False))],
)  # fmt: skip
def test_a_range_that_reaches_the_outermost_rate_may_go_on(values: tuple[float, ...], edges: tuple[bool, bool]) -> None:
    found = rates.tolerance(sweep(*zip((1e-4, 1e-3, 1e-2), values, strict=True)))

    assert found is not None
    assert edges == (found.lowest, found.highest)


def test_the_gain_is_over_the_rate_that_is_nearest_to_the_default_on_a_log_scale() -> None:
    found = rates.tolerance(sweep((4e-4, 0.6, STOPPED), (2e-3, 0.7), (1e-2, 0.8)))

    assert found is not None
    assert 2e-3 == min((4e-4, 2e-3, 1e-2), key=lambda rate: abs(math.log10(rate) - math.log10(rates.DEFAULT)))
    assert (2e-3, pytest.approx(0.1), ENDED) == (found.default, found.gain, found.reached)
    stopped = rates.tolerance(sweep((9e-4, 0.6, STOPPED), (1e-2, 0.8)))
    assert stopped is not None
    assert (9e-4, pytest.approx(0.2), STOPPED) == (stopped.default, stopped.gain, stopped.reached)


def test_nothing_is_said_of_one_rate_or_of_none_that_ended() -> None:
    assert rates.tolerance(sweep((1e-3, 0.8))) is None
    assert rates.tolerance(sweep((1e-3, 0.8), (1e-3, 0.9))) is None
    assert rates.tolerance(sweep((1e-3, 0.8, STOPPED), (1e-2, 0.0, DIVERGED))) is None


def test_seeds_that_differ_by_more_than_a_point_widen_what_is_tolerated() -> None:
    trials = sweep((1e-3, 0.75), (1e-2, 0.8))
    close, wide = rates.tolerance(trials, 0.04), rates.tolerance(trials, 0.06)

    assert close is not None
    assert wide is not None
    assert (1e-2, 0.04, 1e-3, 0.06) == (close.low, close.within, wide.low, wide.within)


def test_the_spread_is_that_of_three_further_seeds_without_the_tuned_run() -> None:
    def row(seed: int, value: float | None) -> Row:
        cell = synthetic.cell("fpn", "ce", seed=seed)
        history = (Epoch(epoch=1, loss=1.0, value=value, seconds=1.0), Epoch(epoch=2, loss=1.0, value=0.1, seconds=2.0))
        return Row(cell=cell, status="ok", record=synthetic.record(cell, history=history), values={})

    rows = [row(0, 0.99), row(1, 0.5), row(2, 0.6), row(3, 0.8)]
    assert statistics.stdev([0.5, 0.6, 0.8]) == pytest.approx(rates.noise(rows))
    assert rates.noise(rows[:3]) is None


def test_the_leading_networks_keep_their_sweeps_and_no_other(tmp_path: Path) -> None:
    found = board(synthetic.write(tmp_path))
    sweeps = rates.sweeps(found)

    assert {"unet[encoder=resnet18]"} == {one.architecture for one in rates.leading(found, sweeps, 2)}
    assert sweeps == rates.leading(found, sweeps, 30)


def test_the_page_tells_tolerance_edge_and_gain(tmp_path: Path) -> None:
    root = synthetic.write(tmp_path)
    store = Store(root)
    fine = store.read(synthetic.cell(synthetic.FINE, "ce"))
    assert fine is not None
    tried = [replace(trial, status=ENDED) for trial in fine.trials]
    store.write(
        replace(fine, trials=tuple(replace(one, value=v) for one, v in zip(tried, (0.4, 0.1, 0.8), strict=True)))
    )
    page = report.write(root).read_text()

    assert "How sensitive each network is" in page
    assert "over 1.0e-3" in page
    assert "at most 0.400" in page  # the others' trial at the default was stopped
    assert "<td>inside</td>" in page
    assert "<td>highest tried</td>" in page
    assert "For 1 of 3 tunings" in page
    assert 'id="tolerance"' in page
