"""What a study would cost before it runs: a step of each network and of each loss, timed here, times the steps.

A network is timed once, with the most classes it is to tell apart; a loss once for every number of classes, on random
logits. A cell's step is the sum of the two.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench import catalog, derived, losses, networks, plan
from bench.derived import Progress
from bench.device import resolve_device, synchronise
from bench.errors import NameUnknown
from bench.execution import rule
from bench.forward import Forward
from bench.job import Job
from bench.prepare import Prepared
from bench.specs import Cell, Study
from bench.train import supervised

PATIENCE = 45.0
"""What timing all networks, or all losses, should take at most; each has an equal share of it [s]."""
FEW = 2
"""Images at once where a whole batch would take more than its share; one is too few for batch normalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one cell; a baseline has neither parameters nor steps.

    Attributes:
        params: Trainable numbers of the network.
        step: A training step on a whole batch [s]; None when it cannot be trained.
        seconds: Upper bound of its training and validation on one worker [s]; early stopping makes it less. None when
            the data set is not prepared, so that nobody knows how many images there are.
        error: Why the network cannot be trained, if so.
        refused: Whether that is because its options do not go together.
    """

    cell: Cell
    params: int | None
    step: float | None
    seconds: float | None
    error: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What a network or a loss adds to a step; seconds per image. Each head of a network has its loss computed."""

    train: float = 0.0
    infer: float = 0.0
    heads: int = 1
    error: str = ""
    refused: bool = False


def costs(
    cells: Sequence[Cell],
    prepared: Mapping[str, Prepared],
    job: Job,
    progress: Progress = lambda done, of: None,
) -> list[Cost]:
    """Measure each network and each loss of the cells for a moment, and multiply.

    Args:
        cells: Whose prices are wanted.
        prepared: The data sets that are there; cells of others have a step, but no price.
        job: The study, and how it would run.
        progress: Told how many of the networks and losses are timed.
    """
    torch.set_num_threads(job.threads)
    classes = {name: _classes(name, prepared) for name in dict.fromkeys(cell.dataset for cell in cells)}
    timed, params = _timed_parts(cells, classes, job, progress), functools.cache(_params)

    @functools.cache
    def images(dataset: str, fold: int) -> dict[str, int] | None:
        return _images(prepared[dataset], fold, job.study) if dataset in prepared else None

    result = []
    for cell in cells:
        parts, count, of = [], None, classes[cell.dataset]
        if cell.loss is not None:
            parts = [timed[cell.architecture], *[timed[cell.loss, of]] * timed[cell.architecture].heads]
            count = None if parts[0].error else params(cell.architecture, of)
        result.append(_cost(cell, count, parts, images(cell.dataset, cell.fold), job.study))
    return result


def _timed_parts(
    cells: Sequence[Cell], classes: Mapping[str, int], job: Job, progress: Progress
) -> dict[str | tuple[str, int], _Part]:
    """Every network by its name, and every loss by its name and number of classes."""
    architectures = list(dict.fromkeys(cell.architecture for cell in cells if cell.loss is not None))
    terms = list(dict.fromkeys((cell.loss, classes[cell.dataset]) for cell in cells if cell.loss is not None))
    most = max(classes.values(), default=0)
    works: dict[str | tuple[str, int], Callable[[], _Part]] = {}
    for name in architectures:
        works[name] = functools.partial(_network, name, most, job, PATIENCE / len(architectures))
    for loss, of in terms:
        works[loss, of] = functools.partial(_loss, loss, of, job, PATIENCE / len(terms))
    timed: dict[str | tuple[str, int], _Part] = {}
    for key, work in works.items():
        progress(len(timed), len(works))
        timed[key] = _attempt(work)
    progress(len(works), len(works))
    return timed


def _params(name: str, classes: int) -> int | None:
    """Counted on the meta device; None where the network cannot be built there."""
    with contextlib.suppress(Exception), torch.device("meta"):
        network = networks.build(name, classes, scratch=True)
        return sum(one.numel() for one in network.parameters() if one.requires_grad)
    return None


def _cost(
    cell: Cell, params: int | None, parts: Sequence[_Part], images: Mapping[str, int] | None, study: Study
) -> Cost:
    """The sum of a network and its loss, times the images that go through them."""
    if not parts:
        return Cost(cell=cell, params=None, step=None, seconds=None if images is None else 0.0)
    train, infer = sum(part.train for part in parts), sum(part.infer for part in parts)
    error = next((part.error for part in parts if part.error), "")
    seconds = None
    if images is not None:
        each = images["train"] * train + images["val"] * infer
        seconds = 0.0 if error else plan.work(cell, study) * each + images["test"] * infer
    return Cost(
        cell=cell,
        params=params,
        step=None if error else train * study.recipe.batch,
        seconds=seconds,
        error=error,
        refused=any(part.refused for part in parts),
    )


def _classes(dataset: str, prepared: Mapping[str, Prepared]) -> int:
    return len(prepared[dataset].classes if dataset in prepared else catalog.dataset(dataset).classes)


def _images(data: Prepared, fold: int, study: Study) -> dict[str, int]:
    """How many training images each split of a fold comes to."""
    owners = derived.owners(data.sizes, study.recipe)
    split = data.split(fold, study.folds, study.ratios)
    return {name: int(np.isin(owners, group).sum()) for name, group in split.items()}


def _attempt(measure: Callable[[], _Part]) -> _Part:
    """What was measured, or why nothing could be."""
    try:
        return measure()
    except NameUnknown as error:
        return _Part(error=str(error), refused=True)
    except Exception as error:
        return _Part(error=f"{type(error).__name__}: {error}".splitlines()[0][:160])


def _network(name: str, classes: int, job: Job, share: float) -> _Part:
    """A step with cross-entropy, and a pass without; two of each after one to warm up."""
    recipe, device = job.study.recipe, resolve_device(job.device)
    network = networks.build(name, classes, scratch=True).to(device)
    forward = Forward(network, catalog.architecture(name)[0].divisor, rule(recipe, device))
    loss = losses.build("ce")
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(count, 3, *recipe.size, device=device), _masks(count, classes, job, device)

    def step(images: torch.Tensor, masks: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        supervised(forward, loss, images, masks).backward()
        optimiser.step()

    @torch.inference_mode()
    def infer(images: torch.Tensor, _: torch.Tensor) -> None:
        forward(images)

    network.train()
    with torch.no_grad():
        heads = len(forward.heads(batch(min(FEW, recipe.batch))[0]))
    train = _timed(batch, step, recipe.batch, device, share * 2 / 3)
    network.eval()
    return _Part(train=train, infer=_timed(batch, infer, recipe.batch, device, share / 3), heads=heads)


def _loss(expression: str, classes: int, job: Job, share: float) -> _Part:
    """A loss of random logits and its gradient."""
    recipe, device = job.study.recipe, resolve_device(job.device)
    loss = losses.build(expression, np.ones((1, classes), np.int64))  # which weights costs the same

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.randn(count, classes, *recipe.size, device=device, requires_grad=True)
        return logits, _masks(count, classes, job, device)

    def step(logits: torch.Tensor, masks: torch.Tensor) -> None:
        loss(logits, masks).backward()

    return _Part(train=_timed(batch, step, recipe.batch, device, share))


def _masks(count: int, classes: int, job: Job, device: torch.device) -> torch.Tensor:
    """Masks in which the upper left quarter of each picture is an object of some class."""
    height, width = job.study.recipe.size
    masks = torch.zeros(count, height, width, dtype=torch.int64, device=device)
    masks[:, : height // 2, : width // 2] = torch.randint(classes, (count, 1, 1), device=device)
    return masks


def _timed(
    batch: Callable[[int], tuple[torch.Tensor, torch.Tensor]],
    work: Callable[[torch.Tensor, torch.Tensor], None],
    size: int,
    device: torch.device,
    share: float,
) -> float:
    """Seconds per image: the faster of two tries after one to warm up, on few images where a batch takes too long."""
    few = min(FEW, size)
    seconds = _once(work, batch(few), device)
    if seconds > share:
        return seconds / few
    count = size if 2 * seconds * size / few <= share else few
    inputs = batch(count)
    return min(_once(work, inputs, device) for _ in range(2)) / count


def _once(work: Callable[..., None], inputs: tuple[torch.Tensor, torch.Tensor], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    work(*inputs)
    synchronise(device)
    return time.perf_counter() - began
