"""What networks run on: the device behind a name, the precision it is good at, its memory, and a description of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from bench import __version__
from bench.errors import StudyError


def resolve_device(name: str) -> torch.device:
    """The device behind auto, cpu, cuda or cuda:i.

    Raises:
        StudyError: If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        found = torch.cuda.device_count()
        if int(index or 0) >= found:
            raise StudyError(f"The device {name} is not here: torch sees {found} CUDA devices. Use --device auto.")
        torch.cuda.set_device(int(index or 0))
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """What networks compute in: bf16 by wish, or by itself where the hardware multiplies it natively."""
    if name == "auto":
        native = torch.cuda.get_device_capability(device) >= (8, 0) if device.type == "cuda" else _cpu_has_bf16()
        return torch.bfloat16 if native else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def environment(device: torch.device, precision: torch.dtype, threads: int) -> dict[str, str]:
    """What the numbers were made on; shown in the report, no part of the fingerprint."""
    return {
        "bench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "threads": str(threads),
        "precision": str(precision).removeprefix("torch."),
    }


def _cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 itself; where it does not, bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


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
