"""What networks run on: the device behind a name, the precision it is good at, its memory, and a description of it."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import platform
import re
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from bench import __version__
from bench.errors import StudyError
from bench.serve import SLOT

NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED", "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
)  # fmt: skip
"""What libraries say when memory has run out, beside the errors of that name."""


def resolve_device(name: str) -> torch.device:
    """The device behind auto, cpu, cuda or cuda:i.

    Raises:
        StudyError: If there is no such device on this machine.
    """
    found = torch.cuda.device_count()
    kind, _, index = ("cuda" if found else "cpu", "", "") if name == "auto" else name.partition(":")
    if kind != "cuda":
        return torch.device(name if name != "auto" else "cpu")
    if int(index or 0) >= found:
        raise StudyError(f"The device {name} is not here: torch sees {found} CUDA devices. Use --device auto.")
    number = int(index) if index else int(os.environ.get(SLOT, "0")) % found  # workers spread over the GPUs
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself; where it does not, bf16 is slower than fp32."""
    return torch.cuda.get_device_capability(device) >= (8, 0) if device.type == "cuda" else _cpu_has_bf16()


def environment(device: torch.device, threads: int) -> dict[str, str]:
    """What the numbers were made on; shown in the report, no part of the fingerprint."""
    return {
        "bench": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of torch itself, which would travel with the record
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "threads": str(threads),
    }


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(text in str(error) for text in NO_MEMORY)


def sharing(name: str, device: torch.device, workers: int) -> int:
    """How many workers share the device: all of them the processor, or one GPU; else they are spread over the GPUs."""
    spread = device.type == "cuda" and ":" not in name
    return math.ceil(workers / max(torch.cuda.device_count(), 1)) if spread else workers


def room(device: torch.device, workers: int) -> float:
    """Memory that data may take on a device: a quarter of what is free, and this worker's share of it [bytes]."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return free / 4 / workers


@contextlib.contextmanager
def deterministic(wanted: bool, device: torch.device) -> Generator[list[str]]:
    """Ask torch for what repeats to the last bit; gives the operations that could not, known afterwards."""
    torch.backends.cudnn.benchmark = device.type == "cuda" and not wanted  # shapes are few, so the search is repaid
    if not wanted:
        yield []
        return
    complaints: list[str] = []
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", ".* does not have a deterministic implementation")
            whole = warnings.showwarning

            def heard(message: Warning | str, *others: Any) -> None:
                found = re.match(r"(\S+) does not have a deterministic implementation", str(message))
                if found is None:
                    whole(message, *others)
                elif found[1] not in complaints:  # it comes again in every step
                    complaints.append(found[1])

            warnings.showwarning = heard  # ty: ignore[invalid-assignment]
            yield complaints
    finally:
        torch.use_deterministic_algorithms(False)


def energy(device: torch.device) -> float | None:
    """What the GPU has used since its driver was loaded, by its own meter [J]; None where it has none."""
    if device.type != "cuda":
        return None
    try:
        nvml = importlib.import_module("pynvml")  # an extra; without a driver it is there and cannot be used
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        return nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(uuid)) / 1000
    except nvml.NVMLError:
        return None


def reset_peak(device: torch.device) -> None:
    """Start measuring the peak of a cell; a kernel that does not allow it leaves the peak of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return


def peak_memory(device: torch.device) -> float | None:
    """Peak resident memory of this process, or allocated on the device [MiB]; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)


def free_memory() -> float:
    """Memory that new work may take without swapping, within the limit of the control group if there is one [bytes]."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 * 2.0**30
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        cached = int(stat.get("active_file", 0)) + int(stat.get("inactive_file", 0))  # given back when it is needed
        free = min(free, max(limit - used + cached, 0))
    return free
