"""Cells that take their worker down, on real workers: each costs itself, and is tried once more."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench import engines, locks, runner, workers
from bench import study as studies
from bench.engines import Local
from bench.errors import StoreError
from bench.job import Event
from bench.records import Record, Status
from bench.specs import Cell, Place
from bench.store import Store
from tests import small

ROOT = Path(__file__).resolve().parents[1]
FAULTS = {
    "exit": (Status.FAILED, "3", "SystemExit"),
    "raise": (Status.FAILED, "planted: this network does not work", "ValueError"),
    "segfault": (Status.FAILED, "The worker process ended without a word (killed by SIGSEGV).", "string_at"),
    "hang": (Status.TIMED_OUT, "No sign of life for 1 s; the worker was interrupted.", "time.sleep(600)"),
    "hang_c": (Status.TIMED_OUT, "No sign of life for 1 s; the worker was terminated.", "in hang_c"),
    "leak": (Status.OUT_OF_MEMORY, "this one, with ", "about to leak"),
}
RETRIED = ("segfault", "hang", "hang_c", "leak")


def cell(how: str) -> Cell:
    return Cell(dataset=small.SMEAR, architecture=f"faulty[how={how}]", loss="ce")


def _wait_with_those_that_hang(team: workers.Team, folder: Path) -> None:
    """Time passes only while nobody does anything but hang, so that a slow machine ends no cell that works."""
    before, team.looked = team.looked, time.monotonic()
    hanging = [folder / how for how in ("hang", "hang_c")]
    pids = {int(line) for path in hanging if path.is_file() for line in path.read_text().split()}
    if all(worker.process.pid in pids for worker in team.busy):
        team.now += team.looked - before


@pytest.fixture(scope="module")
def wrecked(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Place, dict[str, Record], list[Event]]:
    """A study of everything that can go wrong and of two networks that work, after it has run."""
    folder = tmp_path_factory.mktemp("wrecked")
    where = small.place(folder, data_home)
    names = [cell(how).architecture for how in (*FAULTS, "print")]
    wanted = small.study(architectures=(*names[:4], "tiny", *names[4:], "tiny[width=4]"))
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_TEST_ATTEMPTS", str(folder))
        patch.setattr(workers.Team, "_look_at_the_clock", lambda team: _wait_with_those_that_hang(team, folder))
        runner.run_study(
            replace(runner.job(wanted, where, "cpu", 2), threads=1),
            runner.survey(wanted, where),
            engine=Local(2, workers.Limits(silence=1, grace=3, memory=2 * 2**30)),
            on_event=events.append,
        )
    return where, small.stored(wanted, where), events


@pytest.mark.parametrize("how", FAULTS)
def test_a_cell_that_goes_wrong_is_a_row_that_says_how(wrecked: tuple[Place, dict[str, Record], list[Event]], how: str):
    where, records, _ = wrecked
    status, message, log = FAULTS[how]
    record = records[cell(how).key]

    assert status == record.status
    assert record.error is not None
    assert "tune" == record.error.phase
    assert (2 if how in RETRIED else 1) == record.error.message.count(message)
    text = (Store(where.results / "small").cell(cell(how)) / "log.txt").read_text()
    assert log in text
    assert f"about to {how}" in text  # what it printed


@pytest.mark.parametrize("how", FAULTS)
def test_a_cell_that_kills_its_worker_is_tried_once_more_and_one_that_raises_is_not(
    wrecked: tuple[Place, dict[str, Record], list[Event]], how: str
):
    where, _, events = wrecked
    attempts = (where.results.parent / how).read_text().split()
    kinds = Counter(event.kind for event in events if event.cell == cell(how))

    assert (2 if how in RETRIED else 1) == len(attempts) == len(set(attempts)) == kinds["started"]
    assert 1 == kinds["finished"]


def test_the_others_are_untouched(wrecked: tuple[Place, dict[str, Record], list[Event]]):
    where, records, events = wrecked
    calm = small.study(architectures=("tiny", "tiny[width=4]"), name="calm")
    small.execute(calm, where)
    good = {key: record.counts_hash for key, record in small.stored(calm, where).items()}

    assert good == {key: records[key].counts_hash for key in good}
    assert {1} == set(Counter(e.cell.key for e in events if e.kind == "started" and e.cell.key in good).values())


def test_megabytes_of_prints_cost_nothing_and_reach_no_terminal(
    wrecked: tuple[Place, dict[str, Record], list[Event]], tmp_path: Path
):
    where, records, _ = wrecked

    assert Status.OK == records[cell("print").key].status
    assert not (Store(where.results / "small").cell(cell("print")) / "log.txt").exists()


def test_a_cell_that_dies_once_is_a_cell_like_any_other_and_its_finished_trials_are_kept(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    """The worker is killed from outside in its second trial."""
    where, wanted = small.place(tmp_path, data_home), small.study(seeds=1, baselines=())
    events: list[Event] = []

    def kill_once(event: Event) -> None:
        events.append(event)
        if event.trial == 1 and not any(earlier.kind == "finished" for earlier in events) and not killed:
            killed.append(True)
            for process in multiprocessing.active_children():
                process.kill()

    killed: list[bool] = []
    job = replace(runner.job(wanted, where, "cpu", 1), threads=1)
    runner.run_study(job, runner.survey(wanted, where), engine=Local(1), on_event=kill_once)
    (tmp_path / "calm").mkdir()
    calm = small.place(tmp_path / "calm", data_home)
    small.execute(wanted, calm)
    tried = Counter((event.cell.seed, event.trial) for event in events if event.epoch and event.epoch.epoch == 1)

    assert killed
    assert 1 == tried[0, 0]  # the first trial was not run again
    assert {key: record.counts_hash for key, record in small.stored(wanted, calm).items()} == {
        key: record.counts_hash for key, record in small.stored(wanted, where).items()
    }


def test_a_time_limit_is_that_of_one_cell():
    kinds = ("started", "phase", "epoch", "finished", "busy")

    assert ["started"] == [kind for kind in kinds if engines.starts(Event(kind=kind, cell=cell("hang")))]


def test_cells_that_another_run_is_at_are_waited_for_and_not_run_again(tmp_path: Path, data_home: Path):
    """The other run, here the test, holds one group, finishes it, and lets go."""
    where, other = small.place(tmp_path / "one", data_home), small.place(tmp_path / "other", data_home)
    wanted = small.study(architectures=("tiny", "tiny[width=4]"))
    small.execute(wanted, other)
    planned = runner.survey(wanted, where)
    theirs = next(one.cell for one in planned if one.cell.architecture == "tiny")
    store, seen = Store(where.results / "small"), list[Event]()
    job = replace(runner.job(wanted, where, "cpu", 1), threads=1)
    thread = threading.Thread(
        target=runner.run_study, args=(job, planned), kwargs={"engine": None, "on_event": seen.append}
    )
    with locks.held(store.tuning(theirs) / ".lock") as ours:
        assert ours
        thread.start()
        _wait_for(lambda: {"busy": 1, "finished": 2} == _kinds(seen, "busy", "finished"))
        shutil.copytree(Store(other.results / "small").cell(theirs), store.cell(theirs))
    thread.join(90)

    assert {"busy": 1, "finished": 1} == Counter(event.kind for event in seen if event.cell == theirs)
    assert {Status.OK, Status.DIVERGED} >= {record.status for record in small.stored(wanted, where).values()}


def test_two_runs_on_one_folder_share_the_cells_and_run_none_twice(tmp_path: Path, data_home: Path):
    runs = [_start(tmp_path, data_home, workers=1) for _ in range(2)]
    ended = [(*process.communicate(timeout=200), process.returncode) for process in runs]
    started = [line for out, _, _ in ended for line in out.decode().split()]
    records = small.stored(small.study(losses=("ce", "dice", "dice+ce")), small.place(tmp_path, data_home))

    assert [0, 0] == [code for _, _, code in ended], ended
    assert sorted(records) == sorted(started)
    assert {Status.OK} == {record.status for record in records.values()}


def test_another_study_into_the_folder_of_a_live_run_is_refused_and_a_dead_one_is_no_hindrance(
    tmp_path: Path, data_home: Path
):
    where, wanted = small.place(tmp_path, data_home), small.study()
    folder = where.results / "small"
    with runner.writing_study(wanted, where):
        with runner.writing_study(wanted, where):  # the same study may be run by many
            assert 2 == len(list(folder.glob(".run-*.lock")))
        message = f"Another run with another study is writing to {folder}. Wait for it, or choose another --name."
        with pytest.raises(StoreError, match=re.escape(message)), runner.writing_study(small.study(seeds=1), where):
            pass
        assert wanted == studies.load(str(folder / "study.toml"))
    (folder / ".run-1-dead.lock").touch()  # as kill -9 leaves it
    with runner.writing_study(small.study(seeds=1), where):
        assert 1 == len(list(folder.glob(".run-*.lock")))

    assert [] == list(folder.glob(".run-*.lock"))


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from bench import locks\n"
        "with locks.held(Path(sys.argv[1])) as ours: print(ours, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert b"True\n" == process.stdout.readline()
    with locks.held(tmp_path / ".lock") as ours:
        assert not ours
    process.kill()
    process.communicate()

    with locks.held(tmp_path / ".lock") as ours:
        assert ours


SCRIPT = """
import sys
from pathlib import Path
from tests import small
if __name__ == "__main__":
    wanted = small.study(losses=("ce", "dice", "dice+ce"))
    where = small.place(Path(sys.argv[1]), Path(sys.argv[2]))
    for event in small.execute(wanted, where, workers=int(sys.argv[3])):
        if event.kind == "started":
            print(event.cell.key, flush=True)
"""


def _start(tmp_path: Path, data_home: Path, workers: int) -> subprocess.Popen[bytes]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(data_home), str(workers)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("wait", [0.0, 0.6, 1.5])
def test_after_kill_9_the_same_command_goes_on_and_ends_like_an_undisturbed_run(
    tmp_path: Path, data_home: Path, wait: float
):
    wanted = small.study(losses=("ce", "dice", "dice+ce"))
    (tmp_path / "calm").mkdir()
    calm = small.place(tmp_path / "calm", data_home)
    small.execute(wanted, calm)
    process = _start(tmp_path, data_home, workers=1)
    where = small.place(tmp_path, data_home)
    _wait_for(lambda: any((where.results / "small" / "cells").rglob("record.json")))
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = small.stored(wanted, where)
    small.execute(wanted, where)
    after, reference = small.stored(wanted, where), small.stored(wanted, calm)

    assert kept.items() <= after.items()  # what was finished is not touched again
    assert {key: record.counts_hash for key, record in reference.items()} == {
        key: record.counts_hash for key, record in after.items()
    }
    assert not [path for path in where.results.rglob("*.part") if path.parent.name != "f0"]


def test_ctrl_c_keeps_finished_cells_marks_the_running_one_and_leaves_no_process(tmp_path: Path, data_home: Path):
    process = _start(tmp_path, data_home, workers=1)
    where = small.place(tmp_path, data_home)
    _wait_for(lambda: any((where.results / "small" / "tuning").rglob("journal")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    records = small.stored(small.study(losses=("ce", "dice", "dice+ce")), where)

    assert {Status.OK, Status.INTERRUPTED} >= {record.status for record in records.values()}
    assert Status.OK == records[f"{small.SMEAR}/all_background/-/f0-s0"].status
    _wait_for(lambda: not _group_lives(process.pid), seconds=10)


def _kinds(events: list[Event], *kinds: str) -> Counter[str]:
    return Counter(event.kind for event in events if event.kind in kinds)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
