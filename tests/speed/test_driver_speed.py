"""What the driver of a large study does grows with its cells and no faster, as ratios in one run."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from time import process_time as now

import pytest
from scipy import stats

from bench import events, order, plan, runner, statistics
from bench.job import Event
from bench.progress import Account
from bench.records import Epoch
from bench.specs import Cell
from tests import small
from tests.speed import driver


def least(call: Callable[[], object], times: int = 3) -> float:
    """The best of several [s of the processor]."""
    found = []
    for _ in range(times):
        began = now()
        call()
        found.append(now() - began)
    return min(found)


@pytest.mark.speed
def test_planning_ten_times_the_cells_takes_little_more_than_ten_times_as_long(tmp_path: Path, data_home: Path):
    place = small.place(tmp_path, data_home)
    taken = {}
    for cells in (1_000, 10_000):
        wanted = runner.resolve(driver.wanted(cells))
        planned = runner.survey(wanted, place)
        taken["survey", cells] = least(functools.partial(runner.survey, wanted, place))
        taken["order", cells] = least(functools.partial(order.longest_first, planned, planned, wanted, place))
    for what in ("survey", "order"):
        print(f"\n{what} of 10,000 cells / of 1,000: {taken[what, 10_000] / taken[what, 1_000]:.1f}")

        assert taken[what, 10_000] < 20 * taken[what, 1_000]


def tell(account: Account, script: events.Script, cell: Cell) -> None:
    """2,000 epochs of a cell."""
    for number in range(2000):
        epoch = Epoch(epoch=number % 20 + 1, loss=1.0, value=0.5, seconds=1.0)
        told = Event(kind="epoch", cell=cell, trial=0, epoch=epoch)
        account.take(told, 0.0)
        script.tell(told)


@pytest.mark.speed
def test_an_epoch_of_a_large_study_is_told_to_a_script_in_little_more_time_than_that_of_a_small_one():
    taken = {}
    for cells in (10, 10_000):
        wanted = driver.wanted(10_000)
        account = Account(wanted, plan.cells(wanted)[:cells])
        script = events.Script(io.BytesIO())
        script.account = account
        taken[cells] = least(functools.partial(tell, account, script, plan.cells(wanted)[0]))
    print(f"\nan epoch told, 10,000 cells / 10: {taken[10_000] / taken[10]:.2f}")

    assert taken[10_000] < 3 * taken[10]


@pytest.mark.speed
def test_the_quantile_of_an_interval_is_found_faster_than_scipy_stats_finds_it():
    freedoms = [1 + number / 7 for number in range(2000)]
    ours = least(lambda: [statistics.quantile.__wrapped__(freedom) for freedom in freedoms])
    theirs = least(lambda: [stats.t.ppf(0.975, freedom) for freedom in freedoms])
    print(f"\nscipy.stats / ours: {theirs / ours:.0f}")

    assert theirs > 10 * ours
