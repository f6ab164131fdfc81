"""What a study would cost before it runs: one step of each network, timed here, times the steps it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench import catalog, derived, losses, networks, plan
from bench.device import resolve_device, synchronise
from bench.execution import rule
from bench.forward import Forward
from bench.job import Job
from bench.prepare import Prepared
from bench.specs import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one cell; a baseline has no parameters.

    Attributes:
        params: Trainable numbers of the network.
        seconds: Upper bound of its training and validation on one worker [s]; early stopping makes it less.
        error: Why the network cannot be trained, if so.
    """

    cell: Cell
    params: int | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    params: int
    train: float  # seconds per image of a training step
    infer: float  # seconds per image of a forward pass
    error: str = ""


def costs(cells: Sequence[Cell], prepared: dict[str, Prepared], job: Job) -> list[Cost]:
    """Measure each network of the cells for a moment and multiply; networks are built once per number of classes."""
    torch.set_num_threads(job.threads)
    steps: dict[tuple[str, str, int], _Step] = {}
    result = []
    for cell in cells:
        data = prepared[cell.dataset]
        if cell.loss is None:
            result.append(Cost(cell=cell, params=None, seconds=0.0))
            continue
        key = (cell.architecture, cell.loss, len(data.classes))
        if key not in steps:
            try:
                steps[key] = _measure(cell.architecture, cell.loss, len(data.classes), job)
            except Exception as error:
                steps[key] = _Step(0, 0.0, 0.0, f"{type(error).__name__}: {error}".splitlines()[0][:160])
        owners = derived.owners(data.sizes, job.study.recipe)
        split = data.split(cell.fold, job.study.folds, job.study.ratios)
        sizes = {name: int(np.isin(owners, group).sum()) for name, group in split.items()}
        epochs = plan.work(cell, job.study)
        step = steps[key]
        seconds = epochs * (sizes["train"] * step.train + sizes["val"] * step.infer) + sizes["test"] * step.infer
        result.append(Cost(cell=cell, params=step.params, seconds=seconds, error=step.error))
    return result


def _measure(architecture: str, expression: str, classes: int, job: Job) -> _Step:
    """Median of three steps and passes, after one to warm up."""
    recipe, device = job.study.recipe, resolve_device(job.device)
    network = networks.build(architecture, classes).to(device)
    forward = Forward(network, catalog.architecture(architecture)[0].divisor, rule(recipe, device))
    loss = losses.build(expression, np.ones((1, classes), np.int64))  # which weights costs the same
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)
    images = torch.rand(recipe.batch, 3, *recipe.size, device=device).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(classes, (recipe.batch, *recipe.size), device=device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(forward(images), masks).backward()
        optimiser.step()

    def infer() -> None:
        with torch.inference_mode():
            forward(images)

    network.train()
    train = _median(step, device)
    network.eval()
    return _Step(
        params=sum(p.numel() for p in network.parameters() if p.requires_grad),
        train=train / recipe.batch,
        infer=_median(infer, device) / recipe.batch,
    )


def _median(work: Callable[[], None], device: torch.device) -> float:
    times = []
    for _ in range(4):
        began = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return sorted(times[1:])[1]
