"""`bench status` from another shell: locks that a run holds, journals it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from bench import cli_status, runner, tune, watch
from bench.records import Epoch, Status, TrialStatus
from bench.specs import Cell, Tuning
from bench.store import Store
from tests import small

HOLD = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds a lock."""

    def __init__(self, lock: Path) -> None:
        lock.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Holder:
        assert self.process.stdout is not None
        assert b"held\n" == self.process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def write_journal(path: Path, trials: int) -> None:
    def attempt(number: int, lr: float, told: object) -> tune.Outcome:
        value = (0.25, 0.75, 0.5)[number]
        told(Epoch(epoch=1, loss=1.0, value=value, seconds=1.0))
        return tune.Outcome(value=value, status=TrialStatus.COMPLETE, epochs=1, seconds=1.0)

    tune.tune(Tuning(trials=trials), attempt, journal=path, fingerprint="f")


def test_a_lock_is_held_while_another_process_has_it_and_asking_takes_nothing_away(tmp_path: Path):
    lock = tmp_path / "deep" / ".lock"

    assert not watch.held(lock)
    assert not lock.parent.exists()
    with Holder(lock):
        assert [True, True] == [watch.held(lock), watch.held(lock)]
    assert lock.is_file()
    assert [False, False] == [watch.held(lock), watch.held(lock)]
    with filelock.FileLock(lock, timeout=0):  # free for whoever comes next
        pass


@pytest.mark.skipif(os.getuid() == 0, reason="root may open anything")
def test_a_lock_that_cannot_be_opened_is_not_said_to_be_held(tmp_path: Path):
    lock = tmp_path / ".lock"
    lock.touch(mode=0)

    assert not watch.held(lock)


def test_a_journal_tells_its_finished_trials_while_it_is_written(tmp_path: Path):
    journal = tmp_path / "journal"

    assert watch.Tried(trials=0, best=None) == watch.tried(journal)
    write_journal(journal, 3)
    before = journal.read_bytes()
    journal.write_bytes(before + b'not json\n[6]\n{"op_code":6,"sta')

    assert watch.Tried(trials=3, best=0.75) == watch.tried(journal)
    lines = before.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # the third trial still goes on

    assert watch.Tried(trials=2, best=0.75) == watch.tried(journal)


def test_unfinished_cells_of_a_held_group_are_running_and_still_to_be_run_by_this_one(tmp_path: Path, data_home: Path):
    where, wanted = (
        small.place(tmp_path, data_home),
        small.study(losses=("ce", "dice"), seeds=1, architectures=("tiny",)),
    )
    small.execute(small.study(), where)  # seed 0 of ce, and the baseline
    store, planned = Store(where.results / "small"), runner.survey(wanted, where)
    todo = runner.pending(planned, retry_failed=False)
    ce, dice = (Cell(dataset=small.SMEAR, architecture="tiny", loss=loss) for loss in ("ce", "dice"))

    assert set() == cli_status.running(planned, store)
    with Holder(store.tuning(ce) / ".lock"):
        rows, counts = cli_status.rows(planned, store, 2)

        assert {Cell(dataset=small.SMEAR, architecture="tiny", loss="ce", seed=1)} == cli_status.running(planned, store)
        assert "2 done, 0 failed, 0 stale, 2 pending, 1 running" == counts
        assert todo == runner.pending(runner.survey(wanted, where), retry_failed=False)
    told = {row["cell"]: (row["standing"], row["trials"]) for row in rows}

    assert ("running", "2/2") == told[f"{small.SMEAR}/tiny/ce/f0-s1"]
    assert ("pending", None) == told[dice.key]
    rows, counts = cli_status.rows(planned, store, 2)

    assert "2 done, 0 failed, 0 stale, 3 pending" == counts
    assert ["cell", "standing", "lr"] == list(rows[0])


def test_a_failed_cell_in_a_held_group_is_running_when_nothing_else_is_left_in_it(tmp_path: Path, data_home: Path):
    where, wanted = small.place(tmp_path, data_home), small.study(architectures=("faulty",))
    small.execute(wanted, where)
    store, planned = Store(where.results / "small"), runner.survey(wanted, where)
    cell = planned[-1].cell

    assert Status.FAILED is planned[-1].record.status
    with Holder(store.tuning(cell) / ".lock"):
        assert {cell} == cli_status.running(planned, store)
