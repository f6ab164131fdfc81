"""How long a study takes on N workers: against a plain reference, against proven bounds, and at its edges."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import makespan
from bench.errors import StudyError
from bench.makespan import Overheads, Time
from bench.records import DataCard, Epoch, Record, Status, Trial, TrialStatus
from bench.specs import Budget, Cell, Study, Tuning
from bench.store import Store

NONE = Overheads(startup=0.0, survey=0.0, messages=0.0)
CELL = Cell(dataset="smear", architecture="unet", loss="ce")
BASE = Cell(dataset="smear", architecture="otsu", loss=None)
GROUPS = st.lists(st.lists(st.floats(0.01, 100), min_size=1, max_size=4), min_size=1, max_size=30)
FEW = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=2), min_size=1, max_size=6)


def recorded(cell: Cell = CELL, *, tune: float = 30.0, train: float = 0.0, trials: int = 3, epochs: int = 60) -> Time:
    """A cell of 1 s to prepare, 2 s to measure and 4 s to evaluate beside its training."""
    seconds = (1.0, 2.0, tune, train, 4.0) if cell.loss else (0.0, 0.0, 0.0, train, 4.0)
    known = (trials, epochs) if cell.loss else (0, 0)
    return Time(study="s", cell=cell, device="cpu", threads="1", trials=known[0], epochs=known[1], seconds=seconds)


def listed(groups: list[list[float]], workers: int) -> float:
    """The next group goes to whoever is free first; no events, no heap, no driver."""
    free = [0.0] * workers
    for group in groups:
        at = free.index(min(free))
        free[at] += sum(group)
    return max(free)


def shortest(groups: list[list[int]], workers: int) -> float:
    """The best of all ways to share groups out."""
    lengths = [sum(group) for group in groups]
    return min(
        max(sum(length for length, to in zip(lengths, shares, strict=True) if to == at) for at in range(workers))
        for shares in itertools.product(range(workers), repeat=len(lengths))
    )


@given(groups=GROUPS, workers=st.integers(1, 40))
def test_without_overheads_it_is_list_scheduling(groups: list[list[float]], workers: int):
    assert listed(groups, workers) == pytest.approx(makespan.simulate(groups, workers, NONE))


@given(groups=FEW, workers=st.integers(1, 4))
def test_it_keeps_the_bounds_that_graham_proved(groups: list[list[int]], workers: int):
    best = shortest(groups, workers)
    row = makespan.forecast(groups, [workers], NONE).rows[0]

    assert best <= row.seconds * (1 + 1e-9) <= best * (2 - 1 / workers) * (1 + 2e-9)
    assert best <= row.longest_first * (1 + 1e-9) <= best * (4 / 3 - 1 / (3 * workers)) * (1 + 2e-9)
    assert row.bound <= best * (1 + 1e-9)


@given(groups=GROUPS, workers=st.integers(1, 40), startup=st.floats(0, 9), messages=st.floats(0, 9))
def test_nothing_is_faster_than_its_bound(groups: list[list[float]], workers: int, startup: float, messages: float):
    row = makespan.forecast(groups, [workers], Overheads(startup=startup, survey=0.5, messages=messages)).rows[0]

    assert row.bound <= min(row.seconds, row.longest_first) * (1 + 1e-9)


def test_the_cells_of_a_group_follow_each_other_however_many_workers_there_are():
    assert 6.0 == makespan.simulate([[1.0, 2.0, 3.0], [1.0]], 100, NONE)


def test_survey_and_start_come_before_the_first_cell_and_messages_after_each():
    overheads = Overheads(startup=10.0, survey=1.0, messages=0.25)

    assert 4 * 1.0 + 10.0 + 3 * 2.0 + 0.25 == makespan.simulate([[2.0, 2.0, 2.0], [1.0]], 2, overheads)


def test_a_start_of_each_group_is_paid_for_every_group_but_the_first_of_a_worker():
    assert 5.0 + 3 * 2.0 + 2 * 7.0 == makespan.simulate([[2.0]] * 3, 1, replace(NONE, startup=5.0, group=7.0))


def test_a_driver_that_takes_longer_than_the_workers_decides():
    row = makespan.forecast([[1.0]] * 200, [100], replace(NONE, messages=0.5)).rows[0]

    assert (101.0, "driver") == (row.seconds, row.limit)


def test_the_limit_is_what_the_bound_is_due_to_and_the_group_what_no_worker_can_help():
    found = makespan.forecast([[50.0], *[[1.0]] * 150], [1, 2, 8], NONE)

    assert [("workers", 200.0), ("workers", 100.0), ("group", 50.0)] == [(one.limit, one.bound) for one in found.rows]
    assert (200.0, 50.0, 4, 151, 151) == (found.work, found.longest, found.useful, found.cells, found.groups)


def test_speed_up_and_efficiency_are_those_over_one_worker():
    row = makespan.forecast([[3.0], [1.0], [1.0], [1.0]], [2], NONE).rows[0]

    assert (2, 3.0, 2.0, 1.0, 3.0) == (row.workers, row.seconds, row.speedup, row.efficiency, row.longest_first)
    assert 4.0 == makespan.forecast([[1.0], [1.0], [1.0], [3.0]], [2], NONE).rows[0].seconds


def test_lost_workers_cost_what_the_theory_of_checkpoints_says():
    """J. T. Daly, Future Generation Computer Systems 22 (2006): (e^(rate x checkpoint) - 1) (1 / rate + restart) each."""
    rate, checkpoint, restart, each = 6.0 / 3600, 60.0, 20.0, 10
    cells = [[each * checkpoint]] * 4000
    expected = each * math.expm1(rate * checkpoint) * (1 / rate + restart)
    overheads = replace(NONE, startup=restart, losses=rate * 3600, checkpoint=checkpoint)
    found = (makespan.simulate(cells, 1, overheads) - restart) / len(cells)

    assert expected == pytest.approx(found, rel=0.01)
    assert makespan.simulate(cells, 1, overheads) == makespan.simulate(cells, 1, overheads)
    assert makespan.simulate(cells, 1, overheads) != makespan.simulate(cells, 1, overheads, draw=1)


def test_times_are_read_from_records_by_group_and_failed_cells_left_out(tmp_path: Path):
    trials = tuple(
        Trial(number=at, lr=1e-3, value=0.5, status=TrialStatus.COMPLETE, epochs=20, seconds=9.0) for at in range(3)
    )
    card = DataCard(title="", hash="", classes=(), train=8, val=1, test=1, sources=1, licence="", citation="")
    first = Record(
        study="mine", cell=CELL, fingerprint="", ingredients={}, status=Status.OK, data=card, trials=trials,
        seconds={"tune": 27.5, "evaluate": 1.5}, environment={"device": "cuda (H200)", "threads": "4"},
    )  # fmt: skip
    history = (Epoch(epoch=1, loss=1.0, value=0.5, seconds=2.0),)
    second = replace(first, cell=replace(CELL, seed=1), history=history, seconds={"train": 9.0})
    for record in (second, first, replace(first, cell=replace(CELL, fold=1), status=Status.FAILED)):
        Store(tmp_path).write(record)
    ((one, two),) = makespan.load(tmp_path)

    assert (29.0, 27.5, 60, 3) == (one.total, one.training, one.epochs, one.trials)
    assert (9.0, 1) == (two.total, two.epochs)
    assert {"cuda (H200), 4 threads": 2} == makespan.machines([[one, two]])


def test_times_written_as_csv_are_read_again(tmp_path: Path):
    groups = [[recorded(), recorded(replace(CELL, seed=1), tune=0.0, train=10.0)], [recorded(BASE, train=0.125)]]
    (tmp_path / "times.csv").write_text(makespan.as_csv(groups))

    assert groups == makespan.load(tmp_path / "times.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "first line must be study,dataset"),
        (",".join(makespan.COLUMNS) + "\ns,d,a,ce,0,0,cpu,1,1,1,0,0,minus,0,0\n", "line 2 is no recorded time"),
        (",".join(makespan.COLUMNS) + "\ns,d,a,ce,0,0,cpu,1,1,1,0,0,-1,0,0\n", "seconds must be 0 or more"),
        (",".join(makespan.COLUMNS) + "\ns,d,a\n", "line 2 is no recorded time"),
        (",".join(makespan.COLUMNS) + "\n", "no cell with a result"),
    ],
    ids=["other columns", "a word", "negative", "cut off", "empty"],
)
def test_a_table_that_is_none_of_ours_is_refused(tmp_path: Path, text: str, says: str):
    (tmp_path / "times.csv").write_text(text)

    with pytest.raises(StudyError, match=says):
        makespan.load(tmp_path / "times.csv")


@pytest.mark.parametrize("seeds", [None, 0, 3])
def test_resampling_gives_exactly_so_many_cells_and_the_same_ones_again(seeds: int | None):
    groups = [[recorded(), recorded(replace(CELL, seed=1), tune=0.0, train=10.0)], [recorded(BASE)]]
    found = makespan.resampled(groups, 101, seeds)

    assert 101 == sum(map(len, found))
    assert found == makespan.resampled(groups, 101, seeds) != makespan.resampled(groups, 101, seeds, draw=1)


def test_a_further_seed_takes_one_training_and_a_baseline_has_none():
    tuned, bare = makespan.resampled([[recorded()]], 3, 2), makespan.resampled([[recorded(BASE)]], 2, 2)

    assert [37.0, 17.0, 17.0] == pytest.approx(tuned[0])  # 30 s for three trials, 7 s beside them
    assert [[4.0], [4.0]] == bare


def test_a_cell_to_come_takes_its_own_epochs_and_the_time_of_the_most_similar_that_was_recorded():
    study = Study(
        name="next",
        datasets=("smear", "lisc"),
        architectures=("unet", "fpn"),
        losses=("ce", "dice"),
        baselines=("otsu",),
        tuning=Tuning(trials=2),
        budget=Budget(epochs=40),
    )
    slow = recorded(replace(CELL, loss="focal"), tune=60.0)
    groups, told = makespan.predicted(study, [[recorded()], [slow], [recorded(BASE, train=1.0)]])

    # 80 epochs: half a second each as recorded with ce, a second with focal; 7 s beside them; 0.75 s on average
    assert [5.0, 47.0, 67.0, 67.0, 67.0, 5.0, 67.0, 67.0, 67.0, 67.0] == [sum(group) for group in groups]
    assert told == {
        "the same cell": 2,
        "the same architecture on the same data": 1,
        "every network": 4,
        "the same architecture": 3,
    }
