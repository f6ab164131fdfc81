"""Studies on `--engine slurm`: through submitit's processes of this machine, and on a real cluster where one can be started."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import filelock
import pytest

from bench import alike, engine_slurm, engines, plan, runner, slurm_job, slurm_options, slurm_sites
from bench.attempts import Task
from bench.errors import BenchError, DataError, DiskFull, NameUnknown, StudyError
from bench.job import Event
from bench.records import Epoch, Record, Status
from bench.serve import Done, Said
from bench.specs import Cell, Place, Study
from bench.store import Store
from bench.workers import Died, Limits
from tests import small

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "tests" / "slurm_cluster.sh"
HERE = {"cluster": "local", "cpus": "1"}
Heard = Callable[[Event], None]


def execute(
    wanted: Study,
    where: Place,
    options: Mapping[str, str],
    *,
    limits: Limits | None = None,
    on_event: Heard = lambda event: None,
    slots: int | None = 2,
) -> list[Event]:
    """Run what is pending of a study on the engine; return what was told."""
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        on_event(event)

    with engines.connect("slurm", address=None, options=options, slots=slots, limits=limits or Limits()) as engine:
        todo = runner.pending(runner.survey(wanted, where), retry_failed=False)
        job = replace(runner.job(wanted, where, "cpu", 2), threads=engine.threads or 1)
        runner.run_study(job, todo, engine=engine, on_event=tell)
    return events


def results(records: Mapping[str, Record]) -> dict[str, tuple[object, ...]]:
    """What must not depend on where a cell ran."""
    return {
        key: (one.status, one.lr, one.counts_hash, one.weights_hash, [trial.value for trial in one.trials])
        for key, one in records.items()
    }


def steady(**changes: object) -> Study:
    """The small study, whose layout is not chosen by timing: another one would give other weights."""
    wanted = small.study(**changes)
    return replace(wanted, recipe=replace(wanted.recipe, deterministic=True))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> dict[str, tuple[object, ...]]:
    """The results of the small study with one more seed, run in this process."""
    wanted, where = steady(seeds=1), small.place(tmp_path_factory.mktemp("calm"), data_home)
    small.execute(wanted, where)
    return results(small.stored(wanted, where))


def jobs_of(where: Place) -> list[int]:
    """The processes that work on the tasks of a study here."""
    folder = str(where.results / "small" / ".slurm")
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"submitit.core._submit" in words and any(word.startswith(folder.encode()) for word in words):
            found.append(int(path.name))
    return found


def kill_in_second_trial(where: Place, killed: list[int]) -> Heard:
    """Kill every job, once, when one is in its second trial."""

    def heard(event: Event) -> None:
        if event.trial == 1 and not killed:
            killed.extend(jobs_of(where))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    return heard


def test_jobs_end_in_the_results_of_the_run_in_this_process_though_they_are_killed_in_mid_run(
    tmp_path: Path, data_home: Path, calm: dict[str, tuple[object, ...]], capfd: pytest.CaptureFixture[str]
):
    wanted, where, killed = steady(seeds=1), small.place(tmp_path, data_home), list[int]()
    events = execute(wanted, where, HERE, on_event=kill_in_second_trial(where, killed))
    tuned = Cell(dataset=small.SMEAR, architecture="tiny", loss="ce")

    assert calm == results(small.stored(wanted, where))
    assert killed
    kinds = Counter((event.cell, event.kind) for event in events)
    assert {1} == {count for (_, kind), count in kinds.items() if kind == "finished"}
    assert 2 == kinds[tuned, "started"]
    # the first trial was finished when its job was killed, and is not run again
    assert wanted.budget.epochs == sum(1 for event in events if event.cell == tuned and event.trial == 0)
    assert not (where.results / "small" / ".slurm").exists()
    assert [] == jobs_of(where)
    assert ("", "") == capfd.readouterr()
    assert [] == execute(wanted, where, HERE)  # nothing is left to run, and no job is sent for that


def time_passes_for_what_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is ended on a slow machine: time stands still unless all jobs that run have come to the hang."""
    monkeypatch.setenv("BENCH_TEST_ATTEMPTS", str(folder))

    def look(team: engine_slurm.Team) -> None:
        before, team.looked = team.looked, time.monotonic()
        path = folder / "hang_c"
        hanging = [pid for pid in path.read_text().split() if Path(f"/proc/{pid}").exists()] if path.exists() else []
        if len(hanging) == len(team.runs):
            team.now += team.looked - before

    monkeypatch.setattr(engine_slurm.Team, "_look_at_the_clock", look)


def test_a_network_that_hangs_is_cancelled_twice_and_is_then_a_row_that_says_where(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted, where = small.study(architectures=("faulty[how=hang_c]",), baselines=()), small.place(tmp_path, data_home)
    time_passes_for_what_hangs(tmp_path, monkeypatch)
    execute(wanted, where, HERE, limits=Limits(silence=1.0))
    (record,) = small.stored(wanted, where).values()
    log = (Store(where.results / "small").cell(record.cell) / "log.txt").read_text()

    assert Status.TIMED_OUT is record.status
    assert record.error is not None and 2 == record.error.message.count("No sign of life for 1 s; the job ")
    assert "about to hang_c" in log and "in hang_c" in log  # what it printed, and its stack


def test_an_interrupted_run_cancels_its_jobs_and_stores_their_cells_as_interrupted(tmp_path: Path, data_home: Path):
    wanted, where = small.study(architectures=("faulty[how=hang_c]",), baselines=()), small.place(tmp_path, data_home)

    def interrupt(event: Event) -> None:
        if event.phase == "tune":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(wanted, where, HERE, on_event=interrupt)

    assert [Status.INTERRUPTED] == [one.status for one in small.stored(wanted, where).values()]
    assert [] == jobs_of(where)


def test_cells_that_another_run_is_at_are_waited_for_without_a_job(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_slurm, "ASLEEP", 0.5)
    monkeypatch.setattr(slurm_sites.Here, "submit", lambda *_: pytest.fail("a job was sent"))
    wanted, where = small.study(architectures=()), small.place(tmp_path, data_home)
    small.execute(wanted, where)  # the other run, which has not let go of its lock yet
    one, job = runner.survey(wanted, where)[0], runner.job(wanted, where, "cpu", 1)
    task = Task(cells=((one.cell, one.ingredients),), pause=1.0)
    lock = filelock.FileLock(job.store.tuning(one.cell) / ".lock", thread_local=False)
    lock.acquire()
    release = threading.Timer(1.0, lock.release)
    with (
        engines.connect("slurm", address=None, options=HERE, slots=1, limits=Limits()) as engine,
        engine.team(job, [task]) as team,
    ):
        team.add(0, task)
        release.start()
        messages = [(message, lock.is_locked) for message in team]
    release.join()

    assert [(Said(0, Event(kind="finished", cell=one.cell, record=one.record)), False), (Done(0), False)] == messages


REFUSED = {
    "gpu=1": "--engine slurm has no --engine-option gpu with cluster=slurm. Allowed: cluster, cpus, gpus, memory",
    "cpus=0": "--engine-option cpus=0 is not a whole number of at least 1.",
    "gpus=0.5": "--engine-option gpus=0.5 is not a whole number of at least 0.",
    "memory=nan": "--engine-option memory=nan is not a number, in GB of at least 0.001.",
    "minutes=1h": "--engine-option minutes=1h is not a whole number of at least 1.",
    "cluster=pbs": "--engine-option cluster=pbs is not one. Allowed: slurm, local.",
    "partition=": "--engine-option partition='' is empty",
    "setup=a\nb": "--engine-option setup='a\\nb' is empty or has more than one line.",
}


@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_makes_no_sense_is_refused_with_what_is_allowed(option: str):
    with pytest.raises(BenchError) as caught:
        engines.options("slurm", None, [option])

    assert str(caught.value).startswith(REFUSED[option])


def test_options_of_slurm_have_no_meaning_on_this_machine_and_are_refused():
    with pytest.raises(
        NameUnknown, match=r"no --engine-option partition with cluster=local\. Allowed: cluster, cpus, g"
    ):
        slurm_options.parse({"partition": "gpu", "cluster": "local"})


def test_sbatch_is_asked_for_what_the_options_say_and_for_time_for_all_cells_of_a_task():
    asked = slurm_options.parse({"cpus": "4", "gpus": "1", "memory": "1.5", "account": "lab", "setup": "module load x"})
    told = slurm_options.request(asked, name="s", threads=8, cells=3, limits=Limits(seconds=90.0))

    assert {
        "job_name": "bench-s", "cpus_per_task": 4, "srun_args": ["--cpus-per-task=4"], "gpus_per_node": 1,
        "mem": "1536MB", "account": "lab", "setup": ["module load x"], "time": 5 + slurm_options.SLACK, "wckey": None,
    } == told  # fmt: skip
    asked = slurm_options.parse({"minutes": "7"})
    assert 7 == slurm_options.request(asked, name="s", threads=8, cells=3, limits=Limits(seconds=90.0))["time"]
    asked = slurm_options.parse({})
    told = slurm_options.request(asked, name="s", threads=8, cells=3, limits=Limits())
    assert (None, 8) == (told["time"], told["cpus_per_task"])


def test_a_device_of_the_cluster_need_not_be_on_the_machine_that_sends_jobs_there():
    runner.check_device("cuda:99", here=False)

    with pytest.raises(StudyError, match="There is no device 'gpu'"):
        runner.check_device("gpu", here=False)


def test_a_machine_without_sbatch_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with (
        pytest.raises(StudyError) as caught,
        engines.connect("slurm", address=None, options={}, slots=None, limits=Limits()),
    ):
        pass
    assert (
        "--engine slurm needs sbatch, which is not on this machine. Run it on a login node of the cluster, or try it here "
        "with --engine-option cluster=local."
    ) == str(caught.value)


def test_an_address_and_a_missing_submitit_are_refused(monkeypatch: pytest.MonkeyPatch):
    def reach(address: str | None) -> None:
        with engines.connect("slurm", address=address, options=HERE, slots=None, limits=Limits()):
            pass

    with pytest.raises(StudyError, match=r"takes no --address \(head\): sbatch knows its cluster"):
        reach("head")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(StudyError, match=r"pip install 'cytobench\[slurm\]'"):
        reach(None)


def test_a_python_that_cannot_start_ends_the_study_in_one_line_and_its_log_is_kept(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    python.chmod(0o755)

    with pytest.raises(StudyError, match=r"ended before bench began in it: no such module\. Its log: ") as caught:
        execute(small.study(architectures=()), where, {**HERE, "python": str(python)})
    log = Path(str(caught.value).split("Its log: ")[1].split(". ")[0])
    assert "no such module\n" == log.read_text()


def planned(where: Place) -> tuple[runner.Planned, Study]:
    wanted = small.study()
    return runner.survey(wanted, where)[1], wanted


def task_with(one: runner.Planned, **changes: object) -> Task:
    return Task(cells=((one.cell, {**one.ingredients, **changes}),))


def test_a_node_with_other_versions_or_other_code_refuses_with_both(tmp_path: Path, data_home: Path):
    one, wanted = planned(where := small.place(tmp_path, data_home))
    check = functools.partial(alike.check, runner.job(wanted, where, "cpu", 1))
    versions = one.ingredients["versions"]
    assert isinstance(versions, dict)

    check(task_with(one), alike.python())
    with pytest.raises(StudyError, match=rf"has Python {alike.python()}, and the study was planned with 3\.9: "):
        check(task_with(one), "3.9")
    with pytest.raises(
        StudyError, match=rf"has torch {versions['torch']}, and the study was planned with 1\.0: .*==1\.0"
    ):
        check(task_with(one, versions=versions | {"torch": "1.0"}), alike.python())
    with pytest.raises(StudyError, match="has no nosuch, and the study was planned with 2"):
        check(task_with(one, versions={"nosuch": "2"}), alike.python())
    with pytest.raises(StudyError, match="has other code of tiny or ce"):
        check(task_with(one, code="0" * 16), alike.python())


def test_a_node_that_does_not_see_the_data_or_sees_others_refuses(tmp_path: Path, data_home: Path):
    one, wanted = planned(where := small.place(tmp_path, data_home))
    blind = replace(where, data_home=tmp_path / "nowhere")

    with pytest.raises(DataError, match=r"cannot see the prepared data of smear.* in .*nowhere\. Give a --data-home"):
        alike.check(runner.job(wanted, blind, "cpu", 1), task_with(one), alike.python())
    with pytest.raises(DataError, match=r"has other prepared data of smear"):
        alike.check(runner.job(wanted, where, "cpu", 1), task_with(one, data="0" * 16), alike.python())


def test_what_a_node_refuses_ends_the_study_in_that_line(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alike, "python", lambda: "3.9")  # in this process, not in the jobs

    with pytest.raises(StudyError, match=r"^The node .* the study was planned with 3\.9: "):
        execute(small.study(architectures=()), small.place(tmp_path, data_home), HERE)


def test_events_and_refusals_come_through_a_file_and_a_torn_line_waits_for_its_end(tmp_path: Path):
    cell = Cell(dataset="d", architecture="a", loss="l", seed=2)
    epoch = Epoch(epoch=3, loss=float("inf"), value=0.5, seconds=1.5)
    events = [
        Event(kind="started", cell=cell),
        Event(kind="phase", cell=cell, phase="tune"),
        Event(kind="epoch", cell=cell, trial=1, lr=0.1, epoch=epoch, images_s=7.0),
    ]
    path = tmp_path / "events.jsonl"
    tail = slurm_job.Tail(path)
    assert [] == tail.lines()
    with path.open("ab", buffering=0) as stream:
        writer = slurm_job._Writer(stream)
        for event in events:
            writer.event(event)
        writer.put("refused", error="DiskFull", message="full")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])

    assert events == [slurm_job.event(line) for line in tail.lines()]
    path.write_bytes(whole)
    refused = slurm_job.refusal(tail.lines()[0])
    assert (DiskFull, "full", 1) == (type(refused), str(refused), refused.exit_code)
    assert StudyError is type(slurm_job.refusal({"error": "OSError", "message": "odd"}))


class Scripted:
    """A site whose jobs end as a list says, each after it has written some lines."""

    tick, patience = 0.0, 0.0

    def __init__(self, folder: Path, states: list[str], lines: list[dict[str, object]]) -> None:
        self.states, self.lines, self.folder, self.sent = states, lines, folder, 0

    def room(self, outstanding: int) -> int:
        return 1

    def submit(self, function: object, calls: list[tuple[Path, ...]]) -> list[object]:
        (call,) = calls
        call[0].write_text("".join(f"{json.dumps(line)}\n" for line in self.lines))
        self.sent += 1
        log = self.folder / f"{self.sent}.out"
        log.write_text("slurmstepd: killed")
        paths = type("Paths", (), {"stdout": log})
        return [type("Job", (), {"job_id": f"7_{self.sent}", "paths": paths})]

    def state(self, job: object) -> str:
        return self.states[min(self.sent, len(self.states)) - 1]

    def cancel(self, jobs: object) -> None: ...

    def close(self) -> None: ...


def scripted(folder: Path, state: str, lines: list[dict[str, object]], stored: bool = False) -> list[object]:
    """What a team tells of one job that ends in a state."""
    wanted, where = small.study(architectures=()), small.place(folder, folder)
    job = runner.job(wanted, where, "cpu", 1)
    cell, ingredients = plan.cells(wanted)[0], {"data": "x"}
    if stored:
        fingerprint = plan.digest(ingredients)
        job.store.write(
            Record(study="small", cell=cell, fingerprint=fingerprint, ingredients=ingredients, status=Status.OK)
        )
    team = engine_slurm.Team(Scripted(folder, [state], lines), job, folder, Limits())  # ty: ignore[invalid-argument-type]
    team.add(0, Task(cells=((cell, ingredients),)))
    return list(team)


AT_WORK: list[dict[str, object]] = [{"kind": "here", "node": "n2"}]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("FAILED", "died"), ("CANCELLED", "died"), ("TIMEOUT", "timed_out"), ("DEADLINE", "timed_out"),
        ("OUT_OF_MEMORY", "out_of_memory"), ("NODE_FAIL", "lost"), ("PREEMPTED", "lost"), ("BOOT_FAIL", "lost"),
        ("GONE", "lost"), ("COMPLETED", "lost"),
    ],
)  # fmt: skip
def test_each_way_in_which_slurm_ends_a_job_is_one_of_ours(tmp_path: Path, state: str, kind: str):
    hint = engine_slurm.HINTS.get(state, "")
    reason = f"The job 7_1 on n2 ended without its last word ({state}{hint})."

    assert [Died(0, reason, kind, "slurmstepd: killed")] == scripted(tmp_path, state, AT_WORK)  # ty: ignore[invalid-argument-type]


def test_a_job_whose_last_lines_never_came_counts_as_done_when_its_record_lies_there(tmp_path: Path):
    said, done = scripted(tmp_path, "COMPLETED", [], stored=True)

    assert isinstance(said, Said) and isinstance(said.content, Event)
    assert said.content.record is not None and Status.OK is said.content.record.status
    assert Done(0) == done


def test_a_job_that_somebody_cancels_in_the_queue_ends_the_study(tmp_path: Path):
    with pytest.raises(StudyError, match="The job 7_1 was cancelled by somebody else before it began"):
        scripted(tmp_path, "CANCELLED", [])


def test_states_are_asked_of_squeue_where_no_accounts_are_kept_and_a_forgotten_job_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from submitit.slurm import slurm

    for name, script in {"sacct": "exit 1", "squeue": f"cat {tmp_path}/queue", "true": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    site = object.__new__(slurm_sites.Queue)
    site.watcher, site.seen = (
        slurm_sites._watcher(slurm.SlurmInfoWatcher)(),
        dict.fromkeys(("5_0", "5_1"), time.monotonic()),
    )
    one, other = (type("Job", (), {"job_id": name}) for name in ("5_0", "5_1"))
    for job in (one, other):
        site.watcher.register_job(job.job_id)
    (tmp_path / "queue").write_text("5_0|RUNNING|n1\n5_1|NODE_FAIL|n2\n")

    assert ["RUNNING", "NODE_FAIL"] == [site.state(job) for job in (one, other)]
    (tmp_path / "queue").write_text("")
    site.watcher.hurry()
    assert "RUNNING" == site.state(one)
    site.watcher.hurry()
    monkeypatch.setattr(time, "monotonic", functools.partial(sum, [time.monotonic(), slurm_sites.FORGET, 1.0]))
    assert ["GONE", "NODE_FAIL"] == [site.state(job) for job in (one, other)]


def test_no_more_jobs_run_at_once_than_were_asked_for_though_more_are_sent_than_one_array_takes():
    site = object.__new__(slurm_sites.Queue)
    site.slots, site.array = 8, 100

    assert [100, 7, 2, 0, 0] == [site.room(outstanding) for outstanding in (0, 1, 6, 7, 60)]


def test_a_controller_that_is_down_is_no_fault_of_the_options(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (tmp_path / name).write_text(
            "#!/bin/sh\necho 'sbatch: error: Unable to contact slurm controller' >&2\nexit 1\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(StudyError, match=r"^SLURM cannot be reached: .*Unable to contact slurm controller\. Ask sinfo"):
        execute(small.study(architectures=()), small.place(tmp_path, data_home), {})


def free_ports() -> int:
    """The first of three ports that are free now."""
    for first in range(16817, 60000, 7):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SLURM cluster of two nodes on this machine."""
    needed = ("slurmctld", "slurmd", "munged", "sbatch")
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in needed):
        pytest.skip("needs root and SLURM's daemons (Debian: slurmctld slurmd slurm-client munge)")
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        subprocess.run([CLUSTER, "start", folder, str(free_ports())], check=True, timeout=60)
        yield folder
        subprocess.run([CLUSTER, "stop", folder], check=True, timeout=60)


@pytest.mark.slow
def test_a_real_cluster_ends_in_the_results_of_the_run_in_this_process_though_a_node_fails_in_mid_run(
    tmp_path: Path, data_home: Path, cluster: Path
):
    wanted = steady(
        baselines=(), architectures=("tiny", "tiny[width=4]"), tuning=replace(small.study().tuning, trials=3),
        budget=replace(small.study().budget, epochs=300),
    )  # fmt: skip
    here = small.place(tmp_path / "here", data_home)
    small.execute(wanted, here)
    where, killed = small.place(tmp_path / "there", data_home), list[str]()

    def kill(event: Event) -> None:
        if event.trial == 1 and not killed:
            command = ["squeue", "--me", "--states=running", "--noheader", "--format=%N"]
            killed.extend(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[:1])
            subprocess.run([CLUSTER, "kill", cluster, killed[0]], check=True, timeout=60)

    execute(wanted, where, {}, on_event=kill)

    assert results(small.stored(wanted, here)) == results(small.stored(wanted, where))
    command = ["squeue", "--me", "--states=node_fail", "--noheader", "--format=%N"]
    assert set(killed) == set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.slow
def test_a_real_cluster_refuses_what_it_has_not_and_ends_what_hangs_or_crashes(
    tmp_path: Path, data_home: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted = small.study(architectures=("faulty[how=segfault]", "faulty[how=hang_c]"), baselines=())
    where = small.place(tmp_path, data_home)
    time_passes_for_what_hangs(tmp_path, monkeypatch)
    monkeypatch.setattr(slurm_sites.Queue, "patience", 0.0)
    with pytest.raises(StudyError, match=r"sbatch refused the jobs: .*[Ii]nvalid partition"):
        execute(wanted, where, {"partition": "nowhere"})

    execute(wanted, where, {}, limits=Limits(silence=1.0))
    records = {one.cell.architecture[11:-1]: one for one in small.stored(wanted, where).values()}
    logs = {
        how: (Store(where.results / "small").cell(one.cell) / "log.txt").read_text() for how, one in records.items()
    }
    messages = {how: one.error.message for how, one in records.items() if one.error is not None}
    assert (Status.FAILED, Status.TIMED_OUT) == (records["segfault"].status, records["hang_c"].status)
    assert 2 == messages["segfault"].count("ended without its last word (FAILED).")
    assert 2 == messages["hang_c"].count("No sign of life for 1 s; the job ")
    assert "about to segfault" in logs["segfault"] and "string_at" in logs["segfault"]
    assert "about to hang_c" in logs["hang_c"] and "in hang_c" in logs["hang_c"]
