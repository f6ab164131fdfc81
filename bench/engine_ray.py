"""Cells as tasks of a Ray cluster: one of its own on this machine, or the one that this machine is a node of.

What runs on the nodes is `bench.node`; who hands out the tasks and listens to them is `bench.ray_team`. Ray itself
tries nothing again: what became of a task is told to the ledger (docs/adr/0011).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import alike, catalog, extras, machine, node, shipping
from bench.attempts import Task
from bench.errors import StudyError
from bench.job import Job
from bench.node import Lacks, Orders
from bench.prepare import Prepared, open_prepared
from bench.ray_team import PATIENCE, Team, quiet, told
from bench.specs import Place
from bench.workers import Limits

KEYS = ("cpus", "gpus", "scratch")
ANSWER = 10.0
"""How long the head of a cluster may take to answer the first word [s]."""
HURRY = 3.0
"""How long it may take to answer while a study runs, where it is asked again [s]."""
PASSED_ON = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TORCH_HOME")
"""Variables that tasks have as the driver has them."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""What a client of gRPC says first (RFC 9113, 3.4), to which a server answers with its settings, a frame of type 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a task asks of the cluster; `gpus` None: a GPU where there are any."""

    cpus: float = 1.0
    gpus: float | None = None
    scratch: Path | None = None


@contextlib.contextmanager
def connect(
    *, address: str | None, options: Mapping[str, str], slots: int | None, limits: Limits
) -> Generator[RayEngine]:
    """Reach a Ray cluster, or start one on this machine that ends with the block; see `engines.connect`.

    Args:
        address: HOST:PORT of its head, or `auto` for the one that runs here; None takes RAY_ADDRESS, or starts one.

    Raises:
        StudyError: If Ray is not installed, an option makes no sense, or there is no such cluster.
    """
    asked = asking(address, options)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with quiet():
        ray = extras.load("ray", extra="cluster", wanted_by="--engine ray")
    if ray.is_initialized():
        raise StudyError("This process is connected to a Ray cluster already. Call ray.shutdown() first.")
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    asking(where, {})
    with tempfile.TemporaryDirectory(prefix="cytobench-") as staged:
        shipping.stage(Path(staged))
        _join(ray, where, Path(staged), max(1, int(asked.cpus)))
        try:
            yield RayEngine(ray, asked, slots, limits)
        finally:
            ray.shutdown()


def asking(address: str | None, options: Mapping[str, str]) -> Asked:
    """What `--engine-option` says; of the address only its form is looked at.

    Raises:
        StudyError: If there is no such option, or a value is out of its range.
    """
    if "://" in (address or ""):
        raise StudyError(
            f"--address {address} is that of a client, and the driver has to be a node. Run the same command on a node "
            "of the cluster with --address auto, or give HOST:PORT of its head, as 10.0.0.1:6379."
        )
    strange = sorted(options.keys() - set(KEYS))
    if strange:
        raise StudyError(f"--engine ray has no option {strange[0]!r}. Allowed: cpus=2, gpus=0.5, scratch=DIR.")
    cpus, gpus, scratch = (options.get(key) for key in KEYS)
    return Asked(
        cpus=1.0 if cpus is None else _number("cpus", cpus, "0.01 or more, as cpus=2", lambda n: 0.01 <= n < 1e6),
        gpus=None
        if gpus is None
        else _number("gpus", gpus, "0, or 0.01 to 1, for a cell has one GPU", lambda n: n == 0 or 0.01 <= n <= 1),
        scratch=None if scratch is None else _absolute(scratch),
    )


class RayEngine:
    """A Ray cluster that this process has joined.

    Attributes:
        slots: How many tasks it carries at once, or fewer where that was asked for.
        threads: Those that a task asks for.
    """

    def __init__(self, ray: Any, asked: Asked, wanted: int | None, limits: Limits) -> None:
        self.ray, self.limits, self.wanted = ray, limits, wanted
        gpus = float(any(one["Resources"].get("GPU") for one in self.nodes())) if asked.gpus is None else asked.gpus
        self.asked, self.gpus, self.cpus = asked, gpus, asked.cpus
        self.threads: int | None = max(1, int(asked.cpus))
        self._check_room()

    @property
    def slots(self) -> int:
        """See the class."""
        return min(self.capacity(), self.wanted or sys.maxsize)

    def answers(self) -> bool:
        """Whether the head of the cluster is there: without it, what asks it waits until Ray ends this process."""
        try:
            return _greeted(self.ray.get_runtime_context().gcs_address, HURRY)
        except OSError:
            return False

    def nodes(self) -> list[dict[str, Any]]:
        """What Ray says of the nodes that are alive."""
        return [one for one in self.ray.nodes() if one["Alive"]]

    def carried(self, one: Mapping[str, Any]) -> int:
        """How many tasks a node carries at once."""
        there = one["Resources"]
        by_cpu = int(there.get("CPU", 0) / self.cpus + 1e-6)
        return min(by_cpu, int(there.get("GPU", 0)) * int(1 / self.gpus + 1e-6)) if self.gpus else by_cpu

    def capacity(self) -> int:
        """How many tasks all nodes carry at once."""
        return sum(map(self.carried, self.nodes()))

    @contextlib.contextmanager
    def team(self, job: Job, tasks: Sequence[Task]) -> Generator[Team]:
        """Look at every node, then hand out tasks; see `engines.Engine`."""
        if job.device == "cpu":
            self.gpus = 0.0
        if job.device == "cuda" and not self.gpus:
            raise StudyError(
                "--device cuda needs a GPU, and a task asks for none of the cluster's: it has none, or gpus=0."
            )
        if ":" in job.device:
            raise StudyError(f"--device {job.device} names a GPU, but Ray hands them out. Use --device cuda or auto.")
        self._check_room()
        run = secrets.token_hex(6)
        probe = job.store.root.resolve() / f".run-{run}.probe"
        prepared = {name: open_prepared(name, job.place.data_home) for name in _datasets(tasks)}
        probe.write_text(run)
        try:
            orders = self._orders(job, tasks, run, probe, prepared)
            with quiet(), Team(self, orders, self._looked(orders), prepared) as team:
                yield team
        finally:
            probe.unlink(missing_ok=True)

    def _orders(
        self, job: Job, tasks: Sequence[Task], run: str, probe: Path, prepared: Mapping[str, Prepared]
    ) -> Orders:
        place = Place(results=job.place.results.resolve(), data_home=job.place.data_home.resolve())
        return Orders(
            job=replace(job, place=place),
            run=run,
            probe=probe,
            scratch=self.asked.scratch,
            cpus=self.cpus,
            gpus=self.gpus,
            data={name: data.index.hash for name, data in prepared.items()},
            versions=alike.planned(tasks, alike.python()),
            folder=Path.cwd(),
            folders=frozenset(filter(catalog.is_folder, prepared)),
        )

    def _looked(self, orders: Orders) -> Lacks:
        """What some node has to be brought.

        Raises:
            StudyError: If one cannot be used: all nodes run the same versions, or none runs anything.
        """
        nodes = {one["NodeID"]: one["NodeManagerAddress"] for one in self.nodes()}
        data = results = False
        for key, ref in self.everywhere(node.look, orders).items():
            try:
                wrong, lacks = self.ray.get(ref, timeout=PATIENCE)
            except (self.ray.exceptions.NodeDiedError, self.ray.exceptions.TaskUnschedulableError):
                continue  # it left while it was asked, or was gone and not missed yet
            except self.ray.exceptions.RayError as error:
                raise StudyError(
                    f"The node {nodes.get(key, key)} cannot run the program: {told(error)}. Mend its Python, or take "
                    "it out."
                ) from error
            if wrong:
                raise StudyError(wrong)
            data, results = data or lacks.data, results or lacks.results
        return Lacks(data=data, results=results)

    def on(self, key: str, function: Any) -> Any:
        """A function to be called on one node alone, which nothing has to be free for."""
        return self.ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=self.at(key))

    def everywhere(self, function: Any, orders: Orders) -> dict[str, Any]:
        """What a function will have come to on every node that carries tasks, by node."""
        return {
            one["NodeID"]: self.on(one["NodeID"], function).remote(orders) for one in self.nodes() if self.carried(one)
        }

    def at(self, key: str) -> Any:
        """What says that something is to run on one node alone."""
        strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
        return strategies.NodeAffinitySchedulingStrategy(key, soft=False)

    def _check_room(self) -> None:
        if self.capacity() == 0:
            has = ", ".join(
                f"{one['Resources'].get('CPU', 0):g} CPUs and {one['Resources'].get('GPU', 0):g} GPUs"
                for one in self.nodes()[:4]
            )
            raise StudyError(
                f"No node of the Ray cluster carries a task of {self.cpus:g} CPUs and {self.gpus:g} GPUs: they have "
                f"{has}. Ask for less with --engine-option cpus=1 and gpus=0, or add a node."
            )


def _datasets(tasks: Sequence[Task]) -> list[str]:
    return list(dict.fromkeys(task.cells[0][0].dataset for task in tasks))


def _number(key: str, text: str, allowed: str, fits: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise StudyError(f"--engine-option {key}={text} is out of range. Give {allowed}.")
    return math.floor(value * 1e4 + 1e-6) / 1e4  # Ray counts no finer


def _absolute(text: str) -> Path:
    if not Path(text).is_absolute():
        raise StudyError(
            f"--engine-option scratch={text} is no absolute path. Give a folder that every node may make, as "
            "scratch=/local/scratch."
        )
    return Path(text)


def _join(ray: Any, where: str, staged: Path, threads: int) -> None:
    """Become the driver of a job on a cluster, whose tasks run the staged program.

    Raises:
        StudyError: If there is no such cluster, or it does not take this machine.
    """
    if where not in ("auto", "local"):
        _knock(where)
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    variables |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = {"num_cpus": machine.cores(), "include_dashboard": False} if where == "local" else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        with quiet():
            ray.init(
                address=where,
                runtime_env={"working_dir": str(staged), "env_vars": variables},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **own,
            )
    except Exception as error:  # it raises whatever went wrong in it
        raise StudyError(
            f"The Ray cluster {where} cannot be used: {told(error)}. Is this machine a node of it (ray status), with "
            "the same versions of Ray and Python? Without --address a cluster of this machine alone is started."
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray takes it over


def _greeted(where: str, patience: float) -> bool:
    """Whether a server of gRPC is at HOST:PORT; raises OSError where nobody is, or answers in time [s]."""
    host, _, port = where.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=patience) as line:
        line.sendall(HELLO)
        answer = line.recv(9)
    return len(answer) >= 4 and answer[3] == 4


def _knock(where: str) -> None:
    """Refuse an address where nothing answers as Ray's head would, before Ray tries for minutes."""
    _, colon, port = where.rpartition(":")
    if not colon or not port.isdigit():
        raise StudyError(f"--address {where} is not HOST:PORT, auto or local. Give it as 10.0.0.1:6379.")
    try:
        greeted = _greeted(where, ANSWER)
    except (OSError, OverflowError) as error:
        raise StudyError(
            f"There is no Ray cluster at {where}: {told(error)}. Is it up (ray status there), and the port open?"
        ) from error
    if not greeted:
        raise StudyError(f"What answers at {where} is no Ray cluster. Give the port of its head, 6379 unless changed.")
