"""Where submitit takes jobs to: the queue of SLURM, or processes of this machine to try the same without one."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bench.errors import StudyError

Call = tuple[Any, ...]
"""What `bench.slurm_job.work` is called with."""
ENDED = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
    "REVOKED", "GONE",
}  # fmt: skip
"""The states of SLURM that a job does not leave again, and GONE: it was there, and nobody knows it any more."""
ARRAY = 1000
"""Jobs in one array when nobody says; SLURM takes 1001 unless told otherwise."""
FORGET = 300.0
"""A job that was known and is not for so long is gone [s]."""
CLOSING = 10.0
"""What processes of this machine may take to end [s]."""
SLOWEST = 60.0
"""SLURM is asked for the states of all jobs together at most so rarely, and more often at first [s]."""


class Site(Protocol):
    """A place that takes jobs.

    Attributes:
        tick: How often files of events are looked at [s].
        patience: For the last lines of a job that has ended to become visible here [s].
    """

    tick: float
    patience: float

    def room(self, outstanding: int) -> int:
        """How many jobs it takes now, where some have not ended."""
        ...

    def submit(self, function: Any, calls: Sequence[Call]) -> list[Any]:
        """A submitit job for each call."""
        ...

    def state(self, job: Any) -> str:
        """The state of a job in SLURM's words, as it was when SLURM was last asked."""
        ...

    def cancel(self, jobs: Sequence[Any]) -> None:
        """End jobs, wherever they are."""

    def close(self) -> None:
        """Leave nothing of this process behind."""


class Queue:
    """SLURM: jobs go there as arrays, and all are asked after together."""

    tick, patience = 1.0, 20.0

    def __init__(
        self, submitit: ModuleType, folder: Path, python: str, slots: int, array: int, asked: dict[str, Any]
    ) -> None:
        from submitit.slurm import slurm

        self.submitit, self.slots, self.array = submitit, slots, array
        self.watcher = _watcher(slurm.SlurmInfoWatcher)(delay_s=int(SLOWEST))
        self.seen: dict[str, float] = {}
        self.executor = slurm.SlurmExecutor(folder, max_num_timeout=0, python=python)
        self.executor.update_parameters(
            stderr_to_stdout=True, array_parallelism=slots, signal_delay_s=30,
            additional_parameters={"no-requeue": True},  # a lost job is ours to hand out again
            **asked,
        )  # fmt: skip

    def room(self, outstanding: int) -> int:
        """An array at first, of which SLURM runs no more than `slots`; then what is free, a quarter at least."""
        free = self.slots - outstanding
        if not outstanding:
            return self.array
        return min(free, self.array) if 4 * free >= self.slots else 0

    def submit(self, function: Any, calls: Sequence[Call]) -> list[Any]:
        """One array.

        Raises:
            StudyError: With what sbatch says.
        """
        try:
            with self._outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
                jobs = self.executor.map_array(function, *zip(*calls, strict=True))
        except self.submitit.core.utils.FailedJobError as error:
            told = "; ".join(line.removeprefix("sbatch: error: ") for line in str(error).splitlines())
            if any(words in told for words in ("Unable to contact", "configuration source")):
                raise StudyError(
                    f"SLURM cannot be reached: {told}. Ask sinfo from here; finished cells are kept, and the same "
                    "command goes on."
                ) from error
            raise StudyError(
                f"sbatch refused the jobs: {told}. Change --engine-option partition, account, "
                "qos, constraint, cpus, gpus, memory, minutes or array; sinfo tells what there is."
            ) from error
        for job in jobs:
            self.watcher.register_job(job.job_id)
            self.seen[job.job_id] = time.monotonic()
        return jobs

    def state(self, job: Any) -> str:
        """As SLURM said last; UNKNOWN before it knows the job."""
        self.watcher.update_if_long_enough("standard")
        state = self.watcher.get_state(job.job_id, mode="cache").split(" ")[0].rstrip("+")
        if state != "UNKNOWN":
            self.seen[job.job_id] = self.watcher.answered.get(job.job_id, 0.0)
        forgotten = self.watcher.looked - self.seen[job.job_id] > FORGET
        return "GONE" if forgotten and state not in ENDED else state

    def cancel(self, jobs: Sequence[Any]) -> None:
        """One call for all; what has ended meanwhile is no error."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", *(job.job_id for job in jobs)], capture_output=True, check=False, timeout=60)
        self.watcher.hurry()

    def close(self) -> None:
        """Jobs belong to SLURM."""

    @contextlib.contextmanager
    def _outside_of_jobs(self) -> Generator[None]:
        """Whoever starts a study from a job of SLURM's does not want that job's limits for all."""
        kept = {name: os.environ[name] for name in ("SLURM_CONF", "SLURM_CLUSTERS") if name in os.environ}
        inside = "SLURM_JOB_ID" in os.environ
        with self.submitit.helpers.clean_env() if inside else contextlib.nullcontext():
            os.environ.update(kept)
            yield


class Here:
    """This machine: every job is a process of its own, as many as there are slots."""

    tick, patience = 0.2, 0.0

    def __init__(self, submitit: ModuleType, folder: Path, python: str, slots: int, gpus: int) -> None:
        self.slots = slots
        self.jobs: list[Any] = []
        self.executor = submitit.LocalExecutor(folder, max_num_timeout=0, python=python)
        self.executor.update_parameters(timeout_min=10**6, gpus_per_node=gpus, stderr_to_stdout=True)

    def room(self, outstanding: int) -> int:
        """As many as are free."""
        return self.slots - outstanding

    def submit(self, function: Any, calls: Sequence[Call]) -> list[Any]:
        """A process each."""
        jobs = self.executor.map_array(function, *zip(*calls, strict=True))
        self.jobs = [job for job in self.jobs if not job.done()] + jobs
        return jobs

    def state(self, job: Any) -> str:
        """RUNNING, then FAILED: of a job that did its work nobody asks."""
        return "FAILED" if job.done() else "RUNNING"

    def cancel(self, jobs: Sequence[Any]) -> None:
        """The process of submitit passes the signal on, and ends when its job has."""
        for job in jobs:
            if not job.done():
                os.kill(int(job.job_id), signal.SIGTERM)

    def close(self) -> None:
        """Wait for the processes of jobs that have ended or were told to."""
        deadline = time.monotonic() + CLOSING
        while not all(job.done() for job in self.jobs) and time.monotonic() < deadline:
            time.sleep(0.05)


def slurm_is_here() -> None:
    """Refuse a machine from which no job can be sent.

    Raises:
        StudyError: If the commands of SLURM are missing.
    """
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise StudyError(
            f"--engine slurm needs {missing[0]}, which is not on this machine. Run it on a login node of the cluster, "
            "or try it here with --engine-option cluster=local."
        )


def _watcher(base: Any) -> Any:
    """The watcher of submitit, which asks less often the longer jobs run, with squeue where nobody keeps accounts."""

    class Watcher(base):
        looked = -math.inf
        answered: dict[str, float]

        def update(self) -> None:
            self._last_status_check = time.time()
            found = self._asked()
            if found is not None:
                self.looked = time.monotonic()
                self._info_dict.update(found)
                self.answered = {**getattr(self, "answered", {}), **dict.fromkeys(found, self.looked)}
            self._finished |= {name for name in self._registered if self.get_state(name, "cache").split()[0] in ENDED}

        def hurry(self) -> None:
            """Ask soon, as after a job was sent."""
            self._start_time = time.time()
            self._last_status_check = -math.inf

        def _asked(self) -> dict[str, dict[str, str]] | None:
            squeue = ["squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i|%T|%N"]
            for command, head in ((self._make_command() or ["true"], ""), (squeue, "JobID|State|NodeList\n")):
                with contextlib.suppress(OSError, subprocess.SubprocessError):
                    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
                    return self.read_info(head + told)
            return None

    return Watcher
