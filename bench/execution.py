"""How a network is run on a device: the fastest of a few ways, measured where that pays, within the memory there is.

What was found is remembered beside the results, so that every cell of a study runs an architecture in the same way, a
resumed one too. It is no part of a fingerprint: like the device, it is told with each record.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import filelock
import torch
from torch import nn

from bench import train
from bench.data import normalise
from bench.device import computes_in_bf16, out_of_memory, synchronise
from bench.forward import Forward
from bench.losses import Loss
from bench.records import Execution
from bench.specs import Recipe
from bench.store import write_bytes

Result = TypeVar("Result")
ROUNDS, STEPS = 3, 2
"""Each candidate is timed in so many rounds of so many steps, after one to warm up; the rounds are interleaved."""
PAYS = 20
"""Measuring must cost less than a part in so many of the steps that are ahead."""
COMPILING = 90.0
"""What compiling a network takes, so that it is tried only where that pays as well [s]."""


def rule(recipe: Recipe, device: torch.device) -> Execution:
    """How a network is run when nothing is measured: bf16 where the hardware multiplies it, images channels_last."""
    native = "bf16" if computes_in_bf16(device) else "fp32"
    return Execution(precision=native if recipe.precision == "auto" else recipe.precision, micro_batch=recipe.batch)


def candidates(recipe: Recipe, device: torch.device, seconds: float = 0.0) -> list[Execution]:
    """The ways worth timing when so many seconds of training are ahead, the rule's first.

    Both layouts; both precisions on a processor, unless the recipe names one; CUDA graphs on a GPU, and the compiler
    where much is ahead.
    """
    first = rule(recipe, device)
    # a processor is the faster for fp32 with some networks, and for bf16 with others
    both = recipe.precision == "auto" and device.type == "cpu" and first.precision == "bf16"
    modes = ["eager"] if device.type == "cpu" else ["eager", "graphs"]
    if device.type == "cuda" and seconds > PAYS * COMPILING:
        modes.append("compiled")
    ways = itertools.product(["bf16", "fp32"] if both else [first.precision], ["channels_last", "contiguous"], modes)
    made = [replace(first, precision=precision, layout=layout, mode=mode) for precision, layout, mode in ways]
    return sorted(made, key=lambda one: one != first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The executions of one architecture that were found before: one file per set of circumstances.

    Attributes:
        folder: Where they are kept.
        circumstances: All that the best way depends on: device, threads, sizes, versions.
    """

    folder: Path
    circumstances: Mapping[str, object]

    @property
    def path(self) -> Path:
        """The file for these circumstances."""
        text = json.dumps(self.circumstances, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    @property
    def lock(self) -> filelock.BaseFileLock:
        """Held by whoever measures or writes; the same object for the same file, so that its holder may write."""
        return filelock.FileLock(self.path.with_suffix(".lock"), is_singleton=True)

    def sweep(self) -> None:
        """Remove what a kill left of a file that was being written; for whoever holds the lock."""
        for part in self.folder.glob(f".{self.path.name}.*.part"):
            part.unlink(missing_ok=True)

    def recall(self) -> Execution | None:
        """What was found under the same circumstances; None when nothing was, or the file is not one of ours."""
        try:
            return Execution(**json.loads(self.path.read_bytes())["execution"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, execution: Execution) -> None:
        """Keep it, together with the circumstances, for whoever reads the file."""
        content = {"circumstances": self.circumstances, "execution": asdict(execution)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.lock:
            write_bytes(self.path, json.dumps(content, indent=1).encode())


def choose(timer: Timer, memory: Memory, steps: int, seconds: float = math.inf) -> Execution:
    """The way to run a network: remembered, or measured now when that pays, or by the rule.

    Only one process measures an architecture; the others wait for what it finds.

    Args:
        timer: Of the network, which is as before afterwards.
        memory: Where earlier findings are.
        steps: How many steps of training are ahead, over all cells that it is chosen for.
        seconds: How long they may take at most [s].
    """
    recipe, device = timer.recipe, timer.device
    pays = not recipe.deterministic and _pays(steps, timer)
    memory.folder.mkdir(parents=True, exist_ok=True)
    with memory.lock:
        memory.sweep()
        found = memory.recall()
        if found is None or (pays and not found.speeds and not found.refused):
            found = _measured(timer, memory, steps, seconds) if pays else rule(recipe, device)
            memory.remember(found)
        return found


def _measured(timer: Timer, memory: Memory, steps: int, seconds: float) -> Execution:
    """The fastest way; the rule where nothing can be timed, since what cannot be copied may yet be trained."""
    first = rule(timer.recipe, timer.device)

    def timed(way: Execution) -> Execution:
        ahead = steps if math.isinf(seconds) else min(steps, int(seconds / timer.seconds(way)))
        return fastest(timer, way, ahead) if _pays(ahead, timer) else way

    try:
        return fitting(first, timed, memory.remember)
    except Exception as error:
        if out_of_memory(error):
            raise
        return replace(first, refused={first.name: _first_line(error)})


def _pays(steps: int, timer: Timer) -> bool:
    return steps >= PAYS * len(candidates(timer.recipe, timer.device)) * (1 + ROUNDS * STEPS)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def fastest(timer: Timer, first: Execution, steps: int = 0, ways: Sequence[Execution] = ()) -> Execution:
    """The candidate with the highest throughput of training, and what each one had; the first wins what is no gain.

    A candidate that raises is left out, and told in `refused`: an operation may be missing in a precision, or refuse to
    be captured.

    Args:
        timer: Of the network.
        first: The way that the others are compared with, which must work.
        steps: How many steps of training are ahead.
        ways: The candidates; by default those of the recipe and the device.
    """
    taken = {first: timer.seconds(first)}
    broken: dict[Execution, str] = {}
    others = ways or candidates(timer.recipe, timer.device, steps * taken[first])
    for number, other in itertools.product(range(ROUNDS), others):
        way = replace(other, micro_batch=first.micro_batch)
        if way.mode == "graphs" and way.micro_batch < timer.recipe.batch:
            continue
        once = way.mode != "eager" and number > 0  # captured or compiled: steady, and dear to set up again
        if once or way in broken or taken.get(way, 0.0) > 2 * min(taken.values()):
            continue
        try:
            taken[way] = min(taken.get(way, math.inf), timer.seconds(way))
        except Exception as error:
            if way == first:
                raise
            broken[way] = _first_line(error)
    best = min(taken, key=lambda way: taken[way] * (0.97 if way == first else 1.0))
    images = timer.recipe.batch
    speeds = {way.name: round(images / time, 2) for way, time in taken.items()}
    return replace(best, speeds=speeds, refused={way.name: said for way, said in broken.items()})


def fitting(
    execution: Execution, attempt: Callable[[Execution], Result], adapted: Callable[[Execution], None]
) -> Result:
    """What `attempt` gives with the largest micro-batch that fits: halved whenever memory runs out.

    Args:
        execution: To begin with.
        attempt: Runs with an execution, from the start each time.
        adapted: Told about each smaller execution before it is tried.
    Raises:
        torch.OutOfMemoryError: Or what the processor's allocator raises, when a single image does not fit.
    """
    shortage: list[str] = []
    while True:
        try:
            return attempt(execution)
        except (RuntimeError, MemoryError, ValueError) as error:
            if shortage and "more than 1 value per channel" in str(error):  # a single image cannot be normalised
                raise torch.OutOfMemoryError(f"{shortage[-1]} (one image at a time is too few for it)") from error
            if not out_of_memory(error) or execution.micro_batch == 1:
                raise
            shortage.append(str(error))
        # outside of the handler, where the error no longer holds the tensors of its frames
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        mode = "eager" if execution.mode == "graphs" else execution.mode  # a captured step cannot sum up gradients
        execution = replace(execution, micro_batch=math.ceil(execution.micro_batch / 2), mode=mode)
        adapted(execution)


@dataclass(frozen=True, slots=True)
class Timer:
    """Times steps of training on a copy of a network, with made-up images."""

    network: nn.Module
    loss: Loss
    divisor: int
    classes: int
    recipe: Recipe
    device: torch.device

    def seconds(self, way: Execution) -> float:
        """The quickest of a few steps, after what it takes to warm up [s]."""
        forward = Forward(copy.deepcopy(self.network).train(), self.divisor, way)
        optimiser = train.optimiser(forward.network, self.recipe, 1e-5)
        shape = (self.recipe.batch, *self.recipe.size)
        images = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, device=self.device)
        masks = torch.randint(0, self.classes, shape, device=self.device)
        times = []
        for _ in range(1 + STEPS):
            synchronise(self.device)
            began = time.perf_counter()
            train.step(forward, self.loss, optimiser, normalise(images), masks, self.recipe)
            synchronise(self.device)
            times.append(time.perf_counter() - began)
        return min(times[1:])
