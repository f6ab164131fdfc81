"""What augmentation costs beside the training step that it feeds, one thread, one run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import networks
from bench.data import Resident, resident, shuffled
from bench.losses import build
from bench.presets import PRESETS, Augment

SIZE, BATCH, ROUNDS = 256, 8, 5


@pytest.mark.speed
def test_an_augmented_batch_costs_at_most_a_twentieth_of_the_step_of_a_resnet34_unet() -> None:
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2 * BATCH, SIZE, SIZE, 3)).astype(np.uint8)
    pairs = resident(images, images[..., 0] // 128, range(2 * BATCH), torch.device("cpu"))
    step = training()
    feeds = {name: batches(pairs, PRESETS[name]) for name in ("none", "light", "standard", "heavy", "seed2")}
    seconds: dict[str, list[float]] = {name: [] for name in [*feeds, "step"]}
    for number in range(ROUNDS + 1):  # the first round warms up
        for name, feed in feeds.items():
            began = perf_counter()
            batch = next(feed)
            seconds[name] += [perf_counter() - began] * (number > 0)
        began = perf_counter()
        step(*batch)
        seconds["step"] += [perf_counter() - began] * (number > 0)
    ratios = {name: median(seconds[name]) / median(seconds["step"]) for name in feeds}
    print(f"\nstep: {1e3 * median(seconds['step']):.0f} ms")
    for name, ratio in ratios.items():
        print(f"{name}: {1e3 * median(seconds[name]):.1f} ms, {ratio:.2%} of the step")

    assert ratios["standard"] < 0.05


def batches(pairs: Resident, augment: Augment) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch; drawing the amounts of an epoch is part of what its first batch costs."""
    for epoch in count():
        yield from shuffled(pairs, BATCH, augment, seed=0, epoch=epoch)


def training():
    """The whole step: forward, loss, backward, update."""
    network = networks.build("unet[encoder=resnet34]", 2).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    loss = build("dice+ce")

    def step(images: Tensor, masks: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(network(images), masks).backward()
        optimiser.step()

    return step
