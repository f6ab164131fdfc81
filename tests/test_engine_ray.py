"""The cells of a study on a real Ray cluster of this machine, whose nodes come and go."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import alike, attempts, engine_ray, node, prepare, ray_team, report, runner, shipping
from bench.attempts import Task
from bench.errors import BenchError, StudyError
from bench.job import Event, Job
from bench.records import Status
from bench.specs import Budget, Place, Study
from bench.store import Store, records
from bench.workers import Limits
from tests import small

pytest.importorskip("ray")
ROOT = Path(__file__).resolve().parents[1]
NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20}
pytestmark = [
    # Ray leaves sockets and pipes of its own processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Generator[Any]:
    """The head of a cluster, with one core; tests add nodes, and take them away."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield found
        found.shutdown()


@contextlib.contextmanager
def second(cluster: Any, **more: Any) -> Generator[Any]:
    """One more node of one core, for as long as it lives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = cluster.add_node(**NODE, **more)
        try:
            yield added
        finally:
            if added in cluster.worker_nodes:
                cluster.remove_node(added, allow_graceful=False)


class Watched:
    """An engine whose team can be looked at while it works."""

    threads = 1

    def __init__(self, engine: engine_ray.RayEngine) -> None:
        self.engine, self.slots = engine, engine.slots
        self.teams: list[ray_team.Team] = []

    @contextlib.contextmanager
    def team(self, job: Job, tasks: Sequence[Task]) -> Generator[ray_team.Team]:
        """The team of the engine."""
        with self.engine.team(job, tasks) as team:
            self.teams.append(team)
            yield team

    def where(self, event: Event) -> str | None:
        """The node that runs the cell of an event."""
        running = self.teams[-1].running.values()
        return next((one.node for one in running if event.cell in dict(one.payload.cells)), None)


def execute(
    cluster: Any,
    wanted: Study,
    where: Place,
    *,
    limits: Limits | None = None,
    on_event: Callable[[Watched, Event], None] = lambda engine, event: None,
    **options: str,
) -> list[Event]:
    """Run what is pending of a study on a cluster; return what was told."""
    events: list[Event] = []
    reached = engine_ray.connect(
        address=cluster.address, options=options, slots=None, limits=limits or Limits(silence=120)
    )
    with reached as plain:
        engine = Watched(plain)

        def tell(event: Event) -> None:
            events.append(event)
            on_event(engine, event)

        job = replace(runner.job(wanted, where, "cpu", 1), threads=1, workers=1)
        todo = runner.pending(runner.survey(wanted, where), retry_failed=False)
        runner.run_study(job, todo, engine=engine, on_event=tell)
    return events


def board(wanted: Study, where: Place) -> str:
    """The leaderboard of a study, with every digit."""
    report.publish(report.collect(where.results / wanted.name, "default"))
    return (where.results / wanted.name / "leaderboard.csv").read_text()


def results(wanted: Study, where: Place) -> dict[str, tuple[object, ...]]:
    """What a cell came to that does not depend on time or machine, by cell."""
    return {
        key: (one.status, one.counts_hash, one.measures_hash, one.weights_hash, one.lr, one.best_epoch)
        for key, one in small.stored(wanted, where).items()
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Study, Place]:
    """A study that has run in this process."""
    recipe = replace(small.study().recipe, deterministic=True)  # the layout is not chosen by timing, which varies
    wanted = small.study(losses=("ce", "dice"), seeds=1, budget=Budget(epochs=60), recipe=recipe)
    where = small.place(tmp_path_factory.mktemp("here"), data_home)
    small.execute(wanted, where)
    return wanted, where


def test_a_node_that_is_killed_in_mid_run_changes_nothing_of_the_leaderboard(
    cluster: Any, reference: tuple[Study, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted, before = reference
    where = small.place(tmp_path, before.data_home)
    lost: list[str] = []
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)  # a cell that is blamed fails at once

    def kill(engine: Watched, event: Event) -> None:
        if not lost and event.kind == "epoch" and engine.where(event) == victim.node_id:
            cluster.remove_node(victim, allow_graceful=False)
            lost.append(event.cell.key)

    with second(cluster) as victim:
        events = execute(cluster, wanted, where, on_event=kill)
    started = [event.cell.key for event in events if event.kind == "started"]

    assert 2 == started.count(lost[0])
    assert results(wanted, before) == results(wanted, where)
    assert board(wanted, before) == board(wanted, where)
    assert [] == runner.pending(runner.survey(wanted, where), retry_failed=True)
    assert [] == [path.name for path in (where.results / "small").glob(".run*")]


def test_nodes_that_share_no_disk_are_brought_code_and_data_and_give_back_what_they_made(
    cluster: Any, reference: tuple[Study, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wanted, before = reference
    (tmp_path / "own" / "architectures").mkdir(parents=True)
    text = (ROOT / "tests" / "catalog" / "architectures" / "tiny.py").read_text()
    (tmp_path / "own" / "architectures" / "mine.py").write_text(text)
    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([str(tmp_path / "own"), os.environ["BENCH_PATH"]]))
    wanted = replace(wanted, architectures=("mine", "tiny"), losses=("ce",))
    where = small.place(tmp_path, before.data_home)
    events = execute(cluster, wanted, where, scratch=str(tmp_path / "scratch"))
    store, found = Store(where.results / "small"), results(wanted, where)
    cell = next(event.cell for event in events if event.cell.architecture == "mine")

    assert {Status.OK} == {row[0] for row in found.values()}
    assert {key: row for key, row in results(replace(wanted), before).items() if key in found}.items() <= found.items()
    assert {"journal", "trials.json"} == {path.name for path in store.tuning(cell).glob("[!.]*")}
    assert store.examples(cell.dataset, cell.fold).is_file()
    assert [path.name for path in store.executions("mine").iterdir()]
    assert 1 == len(list((tmp_path / "scratch" / "data").iterdir()))  # once, for all cells
    assert [] == list((tmp_path / "scratch" / "results").iterdir())
    assert [] == execute(cluster, wanted, where, scratch=str(tmp_path / "scratch"))  # nothing is left to do


@pytest.mark.slow
def test_a_trial_that_was_finished_on_a_lost_node_with_a_disk_of_its_own_is_not_run_again(
    cluster: Any, data_home: Path, tmp_path: Path
):
    wanted = small.study(losses=("ce", "dice"), baselines=(), budget=Budget(epochs=400))
    where, lost = small.place(tmp_path, data_home), []

    def kill(engine: Watched, event: Event) -> None:
        second_trial = event.kind == "epoch" and event.trial == 1
        if not lost and second_trial and engine.where(event) == victim.node_id:
            cluster.remove_node(victim, allow_graceful=False)
            lost.append(event.cell)

    with second(cluster) as victim:
        events = execute(cluster, wanted, where, on_event=kill, scratch=str(tmp_path / "scratch"))
    firsts = [
        event.trial for event in events if event.cell == lost[0] and event.epoch is not None and event.epoch.epoch == 1
    ]

    assert [0, 1, 1] == firsts
    assert {Status.OK} == {record.status for record in small.stored(wanted, where).values()}


@pytest.mark.slow
def test_a_worker_that_dies_is_blamed_on_its_cell_and_one_that_hangs_is_ended(
    cluster: Any, data_home: Path, tmp_path: Path
):
    names = ("faulty[how=kill]", "faulty[how=raise]", "faulty[how=hang_c]", "tiny")
    wanted, where = small.study(architectures=names, baselines=()), small.place(tmp_path, data_home)
    execute(cluster, wanted, where, limits=Limits(silence=8, grace=2))
    records = small.stored(wanted, where)
    killed, raised, hung, fine = (records[f"{small.SMEAR}/{name}/ce/f0-s0"] for name in names)
    logs = [(Store(where.results / "small").cell(one.cell) / "log.txt").read_text() for one in (killed, raised, hung)]

    assert (Status.FAILED, Status.FAILED, Status.TIMED_OUT, Status.OK) == (
        killed.status, raised.status, hung.status, fine.status,
    )  # fmt: skip
    assert killed.error is not None and raised.error is not None and hung.error is not None
    assert ("WorkerDied", "tune") == (killed.error.kind, killed.error.phase)
    assert 2 == killed.error.message.count("ended without a word")
    assert 2 == hung.error.message.count("No sign of life for 8 s; the worker was killed.")
    assert [True] * 3 == [f"about to {how}" in log for how, log in zip(("kill", "raise", "hang_c"), logs, strict=True)]
    assert "planted: this network does not work" in logs[1]


@pytest.mark.slow
def test_ctrl_c_stores_the_cells_that_were_running_and_ends_their_workers(
    cluster: Any, data_home: Path, tmp_path: Path
):
    wanted = small.study(baselines=(), budget=Budget(epochs=100_000))
    where = small.place(tmp_path, data_home)

    runs = set[str]()

    def interrupt(engine: Watched, event: Event) -> None:
        if event.kind == "epoch":
            runs.add(engine.teams[-1].orders.run)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        execute(cluster, wanted, where, on_event=interrupt, scratch=str(tmp_path / "scratch"))

    assert [Status.INTERRUPTED] == [record.status for record in small.stored(wanted, where).values()]
    assert [] == list((tmp_path / "scratch" / "results").iterdir())
    assert [] == [path for run in runs for path in node.output(run, 0).parent.glob(f"{run}-*")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("gcs_server", "The head of the Ray cluster has not answered for 25 s. Finished cells are kept; "),
        ("raylet", "The Ray cluster is gone: "),
    ],
)
def test_a_head_that_dies_ends_the_command_in_one_line_and_what_was_done_is_kept(
    data_home: Path, tmp_path: Path, what: str, told: str
):
    """Left to itself, Ray ends the process of a driver that has lost either, with exit code 1 and no line of ours."""
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    command = [sys.executable, "-m", "bench", "run", "matrix", "--dataset", small.SMEAR, "--architecture", "tiny"]
    command += ["--epochs", "100000", "--size", "32", "--engine", "ray", "--address", own.address, "--workers", "1"]
    command += ["--results", str(tmp_path), "--data-home", str(data_home), "--name", "small", "--loss", "ce", "--json"]
    try:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None and running.stderr is not None
            next(line for line in running.stdout if '"epoch"' in line)
            own.head_node.all_processes[what][0].process.kill()
            running.stdout.read()
            last = running.stderr.read().splitlines()[-1]
            code = running.wait()
    finally:
        own.shutdown()

    assert (2, f"Error: {told}") == (code, last[: len(told) + 7])
    assert len(list(tmp_path.rglob("record.json"))) == sum(
        one.status is Status.OK for one in records(tmp_path / "small")
    )


@pytest.mark.slow
def test_a_node_of_other_versions_is_refused_before_anything_runs(cluster: Any, data_home: Path, tmp_path: Path):
    shadow = tmp_path / "shadow" / "pillow-1.0.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 1.0\n")
    wanted, where = small.study(architectures=(), losses=()), small.place(tmp_path, data_home)

    with (
        second(cluster, env_vars={"PYTHONPATH": str(shadow.parent)}),
        pytest.raises(StudyError, match=r"The node \S+ has pillow 1\.0, and the study was planned with \d+"),
    ):
        execute(cluster, wanted, where)

    assert {} == small.stored(wanted, where)


def test_a_request_that_no_node_can_meet_is_refused(cluster: Any, data_home: Path, tmp_path: Path):
    wanted, where = small.study(architectures=(), losses=()), small.place(tmp_path, data_home)

    with pytest.raises(
        StudyError, match=r"No node .* carries a task of 1 CPUs and 0\.5 GPUs: they have 1 CPUs and 0 GPU"
    ):
        execute(cluster, wanted, where, gpus="0.5")


def test_what_ray_says_of_an_ending_is_blamed_on_the_cell_or_on_its_node():
    import ray

    team = ray_team.Team.__new__(ray_team.Team)
    team.ray = ray
    errors = ray.exceptions

    def ending(error: Exception, verdict: str | None = None) -> str:
        task = ray_team._Running(job=0, number=0, payload=Task(cells=()), ref=None, verdict=verdict)
        return team._ending(task, error).kind

    assert ["lost", "lost", "died", "out_of_memory", "timed_out"] == [
        ending(errors.NodeDiedError("gone")),
        ending(errors.ObjectLostError("0" * 56, None, "call")),
        ending(errors.WorkerCrashedError()),
        ending(errors.OutOfMemoryError("too much")),
        ending(errors.WorkerCrashedError(), "The time limit of 1 s passed"),
    ]
    with pytest.raises(StudyError, match="cannot be brought to a node: no room"):
        ending(errors.RuntimeEnvSetupError("no room"))


def test_a_cluster_without_a_node_that_works_is_waited_for_and_then_given_up():
    team = ray_team.Team.__new__(ray_team.Team)
    there = [True]
    team.engine = SimpleNamespace(capacity=lambda: 0, wanted=None, answers=lambda: there[0])  # ty: ignore[invalid-assignment]
    team.waiting, team.running = deque([(0, Task(cells=()))]), {}
    team.now, team.counted, team.carried, team.size, team.headless = 0.0, -math.inf, 0.0, 0, None

    assert team._hand_out()
    team.now, there[0] = 10.0, False
    assert team._hand_out()
    team.now = 10.0 + ray_team.HEADLESS + 1
    with pytest.raises(StudyError, match="The head of the Ray cluster has not answered for 25 s"):
        team._hand_out()
    team.counted, there[0] = -math.inf, True
    assert team._hand_out()
    team.now = ray_team.PATIENCE + 1
    with pytest.raises(StudyError, match="No node of the Ray cluster has carried a task for 120 s"):
        team._hand_out()


@pytest.fixture
def orders(reference: tuple[Study, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> node.Orders:
    """What a machine is told that sees everything, which is this process."""
    wanted, where = reference
    monkeypatch.setenv("BENCH_PATH", "")  # set anew by whoever looks
    monkeypatch.chdir(tmp_path)
    (tmp_path / "probe").write_text("word")
    data = prepare.open_prepared(small.SMEAR, where.data_home)
    return node.Orders(
        job=runner.job(wanted, where, "cpu", 1), run="word", probe=tmp_path / "probe", scratch=None, cpus=1.0, gpus=0.0,
        data={small.SMEAR: data.index.hash}, versions=alike.versions(["numpy"]), folder=tmp_path, folders=frozenset(),
    )  # fmt: skip


def test_a_machine_finds_out_what_it_does_not_see(orders: node.Orders, tmp_path: Path):
    nowhere = "/nowhere/of-mine"
    told = [
        node.look(one)
        for one in (
            orders,
            replace(orders, run="another word"),
            replace(orders, probe=tmp_path / "absent"),
            replace(orders, data={small.SMEAR: "of other pixels"}),
            replace(orders, scratch=tmp_path),
            replace(orders, data={nowhere: "0"}, folders=frozenset([nowhere])),
        )
    ]

    both = node.Lacks(data=True, results=True)
    assert [node.Lacks(), node.Lacks(results=True), node.Lacks(results=True), node.Lacks(data=True), both] == [
        lacks for _, lacks in told[:-1]
    ]
    assert [None] * 5 == [wrong for wrong, _ in told[:-1]]
    assert f"does not see the folder {nowhere}. " in str(told[-1][0])


def test_a_machine_that_joins_late_is_looked_at_too(orders: node.Orders, reference: tuple[Study, Place]):
    wanted, where = replace(reference[0], architectures=()), reference[1]
    one = runner.survey(wanted, where)[0]
    task, empty = Task(cells=((one.cell, one.ingredients),)), node.Luggage(number=0)

    def work(told: node.Orders) -> node.Lacks:
        return node.work(told, task, empty, lambda ref: b"", lambda mail: None)

    assert node.Lacks(results=True) == work(replace(orders, run="another word"))
    with pytest.raises(StudyError, match=r"has numpy \S+, and the study was planned with 0\.1"):
        work(replace(orders, versions={"numpy": "0.1"}))


def test_a_node_with_a_gpu_carries_as_many_tasks_as_shares_of_it():
    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            return [
                {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
                {"Alive": True, "Resources": {"CPU": 3.0}},
                {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
            ]

    def slots(wanted: int | None = None, **options: str) -> int:
        return engine_ray.RayEngine(Ray(), engine_ray.asking(None, options), wanted, Limits()).slots

    assert [2, 8, 6, 4, 11, 5] == [
        slots(), slots(gpus="0.25"), slots(gpus="0.3"), slots(gpus="0.25", cpus="2"), slots(gpus="0"),
        slots(5, gpus="0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"Python": "3.11", "torch": "2.15.0", "other": "1"}, None),
        ({"Python": "3.11", "torch": "2.11.0"}, "torch 2.11.0, and the study was planned with 2.15.0: "),
        ({"Python": "3.12", "torch": "2.15.0"}, "Python 3.12, and the study was planned with 3.11: "),
        ({"Python": "3.11"}, "no torch, and the study was planned with 2.15.0: "),
    ],
)
def test_versions_of_a_node_are_compared_with_ours(theirs: dict[str, str], told: str | None):
    found = alike.differing(theirs, {"Python": "3.11", "torch": "2.15.0"})

    assert told == found if told is None else found is not None and f"The node {alike.name()} has {told}" in found


def test_the_versions_that_are_compared_are_those_of_the_fingerprint():
    import numpy as np

    found = alike.versions(["numpy", "a-package-that-nobody-has"])

    assert {"Python": ".".join(map(str, sys.version_info[:2])), "numpy": np.__version__} == found


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("gpu", "1", "no option 'gpu'"),
        ("gpus", "3", "0.01 to 1"),
        ("gpus", "many", "0.01 to 1"),
        ("gpus", "1e-9", "0.01 to 1"),
        ("cpus", "0", "0.01 or more"),
        ("cpus", "nan", "0.01 or more"),
        ("cpus", "inf", "0.01 or more"),
        ("scratch", "here", "no absolute path"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str, value: str, told: str):
    with pytest.raises(StudyError, match=told):
        engine_ray.asking(None, {option: value})


def test_a_share_is_cut_to_what_ray_can_count():
    assert (0.3333, 0.29) == tuple(engine_ray.asking(None, {"gpus": text}).gpus for text in ("0.33333333", "0.29"))


def test_a_cluster_that_cannot_be_reached_is_one_line_and_exit_code_2(
    data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as free, socket.socket() as mute:
        free.bind(("127.0.0.1", 0))  # nobody listens
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        closed, other = (f"127.0.0.1:{one.getsockname()[1]}" for one in (free, mute))
        command = [sys.executable, "-m", "bench", "run", "matrix", "--dataset", small.SMEAR, "--architecture", "tiny"]
        command += ["--results", str(tmp_path), "--data-home", str(data_home), "--engine", "ray", "--address", closed]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        monkeypatch.setattr(engine_ray, "ANSWER", 0.2)
        with pytest.raises(StudyError, match="There is no Ray cluster at"):
            engine_ray._knock(other)

    assert 2 == done.returncode
    assert f"Error: There is no Ray cluster at {closed}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ray_it_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with (
        pytest.raises(StudyError, match=r"--engine ray needs the package ray, .*pip install 'cytobench\[cluster\]'"),
        engine_ray.connect(address=None, options={}, slots=None, limits=Limits()),
    ):
        pass


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265"])
def test_an_address_of_another_kind_is_refused(address: str):
    with (
        pytest.raises(StudyError, match=r"HOST:PORT"),
        engine_ray.connect(address=address, options={}, slots=None, limits=Limits()),
    ):
        pass


def test_what_is_staged_finds_the_same_code_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The program as it travels, run where nothing else of ours is: every name, and every hash, is the same."""
    code = textwrap.dedent("""\
        import sys
        from pathlib import Path
        from bench import catalog, losses, shipping
        shipping.arrive()
        names = catalog.entries("architectures")
        print(Path(shipping.__file__).parents[1])
        print([catalog.code_hash("architectures", name) for name in names], list(catalog.entries("datasets")))
        """)
    (tmp_path / "own" / "losses").mkdir(parents=True)
    (tmp_path / "own" / "losses" / "mine.py").write_text('"""A loss."""\n')
    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([os.environ["BENCH_PATH"], str(tmp_path / "own"), str(ROOT)]))
    shipping.stage(tmp_path / "stage")
    told = []
    for root in (ROOT, tmp_path / "stage"):
        changed = {"PYTHONPATH": str(root), "BENCH_PATH": os.environ["BENCH_PATH"] if root == ROOT else "/nowhere"}
        script = code if root != ROOT else code.replace("shipping.arrive()", "")
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | changed, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        told.append(done.stdout.splitlines())

    assert [str(ROOT), str(tmp_path / "stage")] == [lines[0] for lines in told]
    assert told[0][1] == told[1][1]
    assert (tmp_path / "stage" / "own" / "1" / "losses" / "mine.py").is_file()
    assert (tmp_path / "stage" / "bench" / "_builtin" / "reference" / "published.csv").is_file()


def test_a_file_that_would_lie_elsewhere_is_not_written(tmp_path: Path):
    with pytest.raises(BenchError, match="would lie outside"):
        shipping.unpack(tmp_path / "results", {"../other": b""}, over=True)

    assert not (tmp_path / "other").exists()


def test_what_a_machine_has_stays_but_for_a_journal_that_went_on_elsewhere(tmp_path: Path):
    (tmp_path / "journal").write_bytes(b"one\n")
    (tmp_path / "trial-0.safetensors").write_bytes(b"mine")
    shipping.unpack(tmp_path, {"journal": b"one\ntwo\n", "trial-0.safetensors": b"other"}, over=False)

    assert (b"one\ntwo\n", b"mine") == tuple((tmp_path / n).read_bytes() for n in ("journal", "trial-0.safetensors"))


def test_a_file_travels_in_pieces_that_make_it_whole_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipping, "PIECE", 4)
    for content in (b"", b"1234", b"123456789"):
        (tmp_path / "file").write_bytes(content)
        found = list(shipping.pieces(tmp_path / "file"))

        assert content == b"".join(piece for _, piece in found)
        assert [4 * number for number in range(len(found))] == [at for at, _ in found]
