"""What this machine has, found out without torch, and how many workers it carries."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.specs import Recipe

SMALL = 8 * 256 * 256
"""Pixels of a batch up to which a GPU waits for the processor, so that several workers may share it."""
SHARE = 8 * 1024
"""Memory that each of several workers on a GPU should have [MiB]."""


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[int]:
    """The memory of each GPU that CUDA may use [MiB]; empty where there is none, or its driver does not answer."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "" or not any(Path("/dev").glob("nvidia[0-9]*")):  # a container may have the fourth one only
        return []
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
        found = [int(line) for line in lines]
    except (OSError, subprocess.SubprocessError, ValueError):
        found = [0]
    return found if visible is None else found[: len(visible.split(","))]


def default_workers(device: str, recipe: Recipe) -> int:
    """Workers when nobody says: one per core of a processor, up to 8; on GPUs one each, a few where batches are small.

    Several share a GPU only where each has memory and two cores for itself.
    """
    found = gpus() if device != "cpu" else []
    if not found:
        return min(cores(), 8)
    used = found[:1] if ":" in device else found
    height, width = recipe.size
    if recipe.batch * height * width > SMALL:
        return len(used)
    return len(used) * max(1, min(4, cores() // (2 * len(used)), min(used) // SHARE))
