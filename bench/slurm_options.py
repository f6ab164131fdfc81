"""What `--engine slurm` can be asked for, and what sbatch is told of it."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import NameUnknown, StudyError
from bench.workers import Limits

SLACK = 10
"""Minutes that a job is given beside the time limits of its cells, to start and to store."""
WORDS = ("partition", "account", "qos", "constraint", "setup")
NUMBERS = {"cpus": (1, int), "gpus": (0, int), "memory": (0.001, float), "minutes": (1, int), "array": (1, int)}
"""The least of each, and what it is counted in."""
OPTIONS = {"slurm": (*NUMBERS, *WORDS, "python"), "local": ("cpus", "gpus", "python")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of SLURM for each job; None leaves it to SLURM.

    Attributes:
        cluster: `slurm`, or `local` for processes of this machine.
        memory: [GB].
        minutes: The time limit of a job.
        array: How many jobs are sent at a time.
        words: Partition, account, qos, constraint; and setup, a command that is run first.
        python: The command that starts Python on a node; None for the one that runs here.
    """

    cluster: str = "slurm"
    cpus: int | None = None
    gpus: int | None = None
    memory: float | None = None
    minutes: int | None = None
    array: int | None = None
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    python: str | None = None


def parse(options: Mapping[str, str]) -> Asked:
    """The engine options, checked.

    Raises:
        NameUnknown: If there is no such option.
        StudyError: If a value is not one.
    """
    cluster = options.get("cluster", "slurm")
    if cluster not in OPTIONS:
        raise StudyError(f"--engine-option cluster={cluster} is not one. Allowed: slurm, local.")
    numbers: dict[str, Any] = {}
    for key, text in options.items():
        if key != "cluster" and key not in OPTIONS[cluster]:
            raise NameUnknown(
                f"--engine slurm has no --engine-option {key} with cluster={cluster}. Allowed: cluster, "
                f"{', '.join(OPTIONS[cluster])}."
            )
        if not text.strip() or not text.isprintable():
            raise StudyError(f"--engine-option {key}={text!r} is empty or has more than one line. Give {key}=VALUE.")
        if key in NUMBERS:
            numbers[key] = _number(key, text)
    words = {key: options[key] for key in WORDS if key in options}
    return Asked(cluster=cluster, words=words, python=options.get("python"), **numbers)


def _number(key: str, text: str) -> float:
    least, kind = NUMBERS[key]
    with contextlib.suppress(ValueError):
        if least <= (value := kind(text)) < math.inf:
            return value
    what = "a whole number" if kind is int else "a number, in GB"
    raise StudyError(f"--engine-option {key}={text} is not {what} of at least {least}.")


def command(python: str | None, threads: int) -> str:
    """The command that starts Python on a node with what it has to know from the start."""
    root = Path(__file__).resolve().parents[1]
    paths = [] if root.name in ("site-packages", "dist-packages") else [str(root)]  # a clone that is not installed
    told = {
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "BENCH_PATH": os.environ.get("BENCH_PATH", ""),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
    }
    return " ".join(
        [
            "env",
            *(f"{name}={shlex.quote(value)}" for name, value in told.items() if value),
            python or shlex.quote(sys.executable),
        ]
    )


def request(asked: Asked, *, name: str, threads: int, cells: int, limits: Limits) -> dict[str, Any]:
    """What sbatch is told, in the names of submitit.

    Args:
        name: Of the study.
        threads: That a job computes with.
        cells: Of the largest task, which its time limit has to do for.
    """
    derived = None if limits.seconds is None else math.ceil(cells * limits.seconds / 60) + SLACK
    cpus = asked.cpus or threads
    words = dict(asked.words)
    setup = words.pop("setup", None)
    return {
        "job_name": f"bench-{name}",
        "time": asked.minutes or derived,
        "cpus_per_task": cpus,
        "srun_args": [f"--cpus-per-task={cpus}"],  # which srun no longer takes over from sbatch
        "gpus_per_node": asked.gpus or None,
        "mem": None if asked.memory is None else f"{math.ceil(asked.memory * 1024)}MB",
        "setup": None if setup is None else [setup],
        "wckey": None,
        **words,
    }
