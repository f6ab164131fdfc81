"""What only a GPU can show; run with `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench import execution, losses, runner, train
from bench.data import Streamed, ordered, resident, shuffled
from bench.engines import Local
from bench.execution import Timer
from bench.forward import Forward
from bench.presets import PRESETS
from bench.records import Execution, Status
from bench.specs import Recipe
from tests import small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
GPU = torch.device("cuda", 0)
FP32 = Execution(precision="fp32", micro_batch=4)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)
    return nn.Sequential(*layers).to(GPU).train()


class Deep(nn.Module):
    """Two heads while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.other = network(), nn.Conv2d(3, 3, 3, padding=1, device=GPU)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        logits = self.body(images)
        return (logits, self.other(logits)) if self.training else logits


def pairs(count: int = 12, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return images, images[..., 0] // 86


def stepped(way: Execution, steps: int = 6, kind: Callable[[], nn.Module] = network) -> dict[str, torch.Tensor]:
    """The weights after a few steps of SGD on the same batches, of two sizes."""
    torch.manual_seed(1)
    forward, loss = Forward(kind(), 1, way), losses.build("ce")
    recipe = Recipe(size=(32, 32), batch=4, optimiser="sgd", weight_decay=0.0)
    optimiser = train.optimiser(forward.network, recipe, 0.1)
    data = resident(*pairs(11), range(11), GPU)
    for epoch in range(steps // 3):
        for images, masks in shuffled(data, 4, PRESETS["none"], seed=1, epoch=epoch):
            train.step(forward, loss, optimiser, images, masks, recipe)
    return train.weights(forward.network)


def test_the_same_study_runs_on_cuda_in_bf16(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    wanted = small.study(
        architectures=("tiny", "plain_unet[width=8]"), recipe=Recipe(size=(64, 64), batch=3, augment="standard")
    )
    job = replace(runner.job(wanted, where, "cuda", 1), threads=1)
    runner.run_study(job, runner.survey(wanted, where), engine=None, on_event=lambda event: None)
    networks = [record for record in small.stored(wanted, where).values() if record.cell.loss]

    assert {Status.OK, Status.DIVERGED} >= {record.status for record in networks}
    assert {"bf16"} == {record.execution and record.execution.precision for record in networks}
    assert all((record.peak_memory_mb or 0) > 0 for record in networks)
    assert all(record.efficiency and record.efficiency.gpu_seconds_to_best for record in networks)


def test_two_workers_share_a_gpu(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    wanted = small.study(architectures=("tiny", "tiny[width=12]"), losses=("ce", "dice"))
    job = replace(runner.job(wanted, where, "cuda", 2), threads=1)
    runner.run_study(job, runner.survey(wanted, where), engine=Local(2), on_event=lambda event: None)

    assert {Status.OK, Status.DIVERGED} >= {record.status for record in small.stored(wanted, where).values()}


@pytest.mark.parametrize("kind", [network, Deep])
def test_captured_steps_train_as_eager_ones_do(kind: Callable[[], nn.Module]):
    eager, captured = stepped(FP32, kind=kind), stepped(replace(FP32, mode="graphs"), kind=kind)

    assert all(torch.allclose(eager[name].float(), captured[name].float(), atol=1e-4) for name in eager)


@pytest.mark.slow
def test_compiled_steps_train_as_eager_ones_do():
    eager, compiled = stepped(FP32), stepped(replace(FP32, mode="compiled"))

    assert all(torch.allclose(eager[name].float(), compiled[name].float(), atol=1e-3) for name in eager)


def test_graphs_are_a_candidate_and_what_is_found_works():
    timer = Timer(network(), losses.build("ce"), 1, 3, Recipe(size=(32, 32), batch=4), GPU)
    found = execution.fastest(timer, execution.rule(timer.recipe, GPU))

    assert {"eager", "graphs"} == {name.rpartition("/")[2] for name in found.speeds}
    stepped(found)


@pytest.mark.parametrize("batch", [2, 5])
def test_streamed_batches_arrive_whole(batch: int):
    images, masks = pairs(40, 64)
    streamed, held = Streamed(images, masks, np.arange(40), GPU), resident(images, masks, range(40), GPU)
    for one, other in zip(ordered(streamed, batch), ordered(held, batch), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_memory_that_runs_out_halves_the_batch_and_the_study_goes_on():
    def attempt(way: Execution) -> int:
        torch.empty(way.micro_batch * 2**40, dtype=torch.uint8, device=GPU) if way.micro_batch > 1 else None
        return way.micro_batch

    assert 1 == execution.fitting(replace(FP32, micro_batch=8), attempt, lambda way: None)
