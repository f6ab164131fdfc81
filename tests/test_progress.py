"""The account of a running study, from made-up events: exact numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import plan
from bench.job import Event
from bench.progress import Account
from bench.records import Epoch, Record, Status
from bench.specs import Budget, Cell, Study, Tuning

ONE = Cell(dataset="smear", architecture="unet", loss="ce")
TWO = Cell(dataset="smear", architecture="fpn", loss="ce")
FAR = Cell(dataset="lisc", architecture="fpn", loss="ce")
AGAIN = Cell(dataset="smear", architecture="unet", loss="ce", seed=1)
BASE = Cell(dataset="smear", architecture="otsu", loss=None)


def study(**budget: object) -> Study:
    return Study(name="s", tuning=Tuning(trials=3), budget=Budget(**{"epochs": 10, **budget}))


def account(*cells: Cell, workers: int = 1, stored: int = 0, **budget: object) -> Account:
    return Account(study(**budget), cells, workers=workers, stored=stored, began=100.0)


def started(cell: Cell, phase: str = "tune") -> list[Event]:
    return [Event(kind="started", cell=cell), Event(kind="phase", cell=cell, phase=phase)]


def epochs(cell: Cell, first: int, last: int, each: float, trial: int | None = 0, **more: float) -> list[Event]:
    return [
        Event(
            kind="epoch", cell=cell, trial=trial, epoch=Epoch(epoch=at, loss=1.0, value=0.5, seconds=at * each), **more
        )
        for at in range(first, last + 1)
    ]


def finished(cell: Cell, status: Status = Status.OK) -> Event:
    return Event(
        kind="finished",
        cell=cell,
        record=Record(study="s", cell=cell, fingerprint="", ingredients={}, status=status),
    )


def feed(to: Account, *events: Event, now: float = 100.0) -> Account:
    for event in events:
        to.take(event, now)
    return to


def test_cells_are_counted_as_stored_to_run_done_and_failed():
    told = feed(account(ONE, TWO, FAR, stored=4), *started(ONE), finished(TWO), finished(FAR, Status.FAILED))

    assert (7, 6, 3, 2, 1) == (told.total, told.done, told.to_run, told.finished, told.failed)
    assert [ONE] == list(told.running)
    assert 7.5 == told.elapsed(107.5)


def test_a_diverged_cell_has_a_result_and_an_interrupted_one_has_none():
    told = feed(account(ONE, TWO), finished(ONE, Status.DIVERGED), finished(TWO, Status.INTERRUPTED))

    assert (2, 1) == (told.finished, told.failed)


def test_a_cell_that_ends_twice_or_was_not_asked_for_is_counted_once_or_not_at_all():
    told = feed(account(ONE), *started(FAR), finished(FAR), finished(ONE), finished(ONE, Status.FAILED), *started(ONE))

    assert (1, 1, 0, {}) == (told.total, told.finished, told.failed, told.running)


def test_a_running_cell_says_where_it_is():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 4, 2.0, trial=1, images_s=80.0))
    one = told.running[ONE]

    assert ("tune", 1, 4, 0.5, 80.0) == (one.phase, one.trial, one.epoch, one.value, one.images_s)


def test_throughput_is_the_sum_over_running_cells_and_unknown_while_none_tells():
    told = feed(account(ONE, TWO, FAR), *started(ONE), *started(TWO), *started(FAR), *epochs(FAR, 1, 1, 1.0))

    assert None is told.images_s
    feed(told, *epochs(ONE, 1, 1, 1.0, images_s=80.0), *epochs(TWO, 1, 2, 1.0, images_s=40.0))

    assert 120.0 == told.images_s
    feed(told, Event(kind="phase", cell=TWO, phase="evaluate"))

    assert 80.0 == told.images_s


def test_time_left_is_unknown_before_an_epoch_was_measured_and_nothing_at_the_end():
    told = feed(account(ONE, BASE), *started(ONE))

    assert None is told.seconds_left(100.0)
    feed(told, finished(ONE), finished(BASE))

    assert 0.0 == told.seconds_left(100.0)
    assert 1.0 == told.share


def test_time_left_is_the_epochs_that_may_be_needed_times_the_median_measured_time():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 2, 3.0))
    slow = Event(kind="epoch", cell=ONE, trial=0, epoch=Epoch(epoch=3, loss=1.0, value=0.5, seconds=106.0))
    feed(told, slow)  # 3, 3 and 100 seconds

    assert 27 * 3.0 == told.seconds_left(100.0)
    assert 3 / 30 == pytest.approx(told.share)


def test_trials_that_stopped_early_or_were_in_the_journal_make_the_time_less():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 4, 2.0), *epochs(ONE, 1, 1, 2.0, trial=2))

    assert 9 * 2.0 == told.seconds_left(100.0)


def test_the_tuned_run_of_seed_0_is_its_result_and_needs_no_training_of_its_own():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 5, 2.0), Event(kind="phase", cell=ONE, phase="train"))

    assert 0.0 == told.seconds_left(100.0)
    feed(told, *epochs(ONE, 1, 4, 2.0, trial=0))  # unless its weights were lost

    assert 6 * 2.0 == told.seconds_left(100.0)


def test_a_further_seed_needs_one_training_and_waits_for_the_one_before_it():
    told = feed(account(ONE, AGAIN, workers=2), *started(ONE), *epochs(ONE, 1, 10, 2.0))

    assert (20 + 10) * 2.0 == told.seconds_left(100.0)  # one after the other, however many workers there are
    feed(told, finished(ONE), *started(AGAIN), Event(kind="phase", cell=AGAIN, phase="train"))

    assert 10 * 2.0 == told.seconds_left(100.0)
    feed(told, *epochs(AGAIN, 1, 7, 2.0, trial=None))

    assert 3 * 2.0 == told.seconds_left(100.0)


def test_a_network_that_was_not_measured_takes_as_long_as_others_on_its_data_else_as_all():
    told = account(ONE, TWO, FAR)
    feed(told, *started(ONE), *epochs(ONE, 1, 10, 2.0, trial=2))  # the last epoch of the last trial

    assert 30 * 2.0 + 30 * 2.0 == told.seconds_left(100.0)
    feed(told, *started(FAR), *epochs(FAR, 1, 10, 5.0, trial=2))

    assert 30 * 2.0 == told.seconds_left(100.0)  # as unet on smear, not as fpn on lisc


def test_time_left_is_divided_by_the_workers_running():
    cells = [Cell(dataset="smear", architecture="unet", loss=loss) for loss in ("ce", "dice", "dice+ce", "focal")]
    told = feed(account(*cells, workers=2), *started(cells[0]), *epochs(cells[0], 1, 10, 1.0, trial=2))

    assert 90 / 2 == told.seconds_left(100.0)
    feed(told, *(finished(cell) for cell in cells[:3]))

    assert 30.0 == told.seconds_left(100.0)  # one cell keeps one worker


def test_time_left_is_never_less_than_that_of_the_longest_row_of_cells():
    told = feed(account(ONE, TWO, workers=2), *started(ONE), *epochs(ONE, 1, 10, 1.0, trial=2))

    assert 30.0 == told.seconds_left(100.0)  # fpn on its own, not half of it


def test_time_left_runs_down_between_epochs_but_not_beyond_the_next():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 2, 4.0, trial=2), now=200.0)

    assert (32.0, 31.0, 28.0) == tuple(told.seconds_left(now) for now in (200.0, 201.0, 260.0))


def test_no_training_takes_longer_than_its_budget_in_seconds():
    told = feed(account(ONE, seconds=12.0), *started(ONE), *epochs(ONE, 1, 4, 2.0))

    assert 2 * 12.0 + 4.0 == told.seconds_left(100.0)


def test_an_epoch_after_a_checkpoint_is_measured_by_the_mean_of_those_before():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 8, 8, 2.0, trial=2))

    assert 2 * 2.0 == told.seconds_left(100.0)


def test_a_phase_told_again_is_a_sign_of_life_and_changes_nothing():
    told = feed(account(ONE), *started(ONE), *epochs(ONE, 1, 4, 2.0, trial=1, images_s=80.0))
    before = told.running[ONE]
    feed(told, Event(kind="phase", cell=ONE, phase="tune"), Event(kind="phase", cell=ONE), now=150.0)

    assert before == told.running[ONE]


def test_a_busy_cell_waits_again_and_a_cell_that_starts_again_starts_anew():
    told = feed(account(ONE, TWO), *started(ONE), *epochs(ONE, 1, 4, 2.0, trial=2), Event(kind="busy", cell=ONE))

    assert {} == told.running
    assert 60 * 2.0 == told.seconds_left(100.0)
    feed(told, *started(ONE), *epochs(ONE, 1, 1, 2.0, trial=2), Event(kind="started", cell=ONE))

    assert (None, 30) == (told.running[ONE].epoch, told.running[ONE].left)


def test_a_real_study_leaves_nothing_in_its_account(tmp_path: Path, data_home: Path):
    from tests import small

    wanted = small.study()
    told = Account(wanted, plan.cells(wanted))
    shares = []
    for event in small.execute(wanted, small.place(tmp_path, data_home)):
        told.take(event, 0.0)
        shares.append(told.share)

    assert (2, 0, {}, 0.0, 1.0) == (told.done, told.failed, told.running, told.seconds_left(0.0), shares[-1])
    assert sorted(shares) == shares
