from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench import losses, train
from bench.data import resident
from bench.specs import Budget, Epoch, Recipe, TrialStatus


def pairs(count: int = 6, size: int = 32):
    """Pictures that a 1x1 convolution can segment: bright squares on a dark ground, made in random places."""
    generator = np.random.default_rng(0)
    images = np.full((count, size, size, 3), 40, np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        row, column = generator.integers(0, size // 2, 2)
        image[row : row + size // 2, column : column + size // 2] = 210
        mask[row : row + size // 2, column : column + size // 2] = 1
    return resident(images, masks, range(count), torch.device("cpu"))


def fit(
    network: nn.Module | None = None,
    *,
    lr: float = 0.05,
    recipe: Recipe | None = None,
    budget: Budget | None = None,
    watch=None,
):
    torch.manual_seed(0)
    return train.fit(
        network or nn.Conv2d(3, 2, 1),
        losses.build("ce"),
        pairs(),
        pairs(3),
        classes=2,
        recipe=recipe or Recipe(size=(32, 32), batch=2),
        budget=budget or Budget(epochs=8),
        lr=lr,
        seed=1,
        precision=torch.float32,
        divisor=1,
        watch=watch or (lambda epoch: False),
    )


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_an_easy_task_is_learned(optimiser, schedule):
    fitted = fit(recipe=Recipe(size=(32, 32), batch=2, optimiser=optimiser, schedule=schedule))

    assert fitted.value > 0.95
    assert 8 == len(fitted.history)


def test_the_same_seed_gives_the_same_weights_and_curve():
    one, other = fit(), fit()

    assert [epoch.value for epoch in one.history] == [epoch.value for epoch in other.history]
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_the_weights_that_are_kept_are_those_of_the_best_epoch():
    network = nn.Conv2d(3, 2, 1)
    fitted = fit(network, lr=0.3, recipe=Recipe(size=(32, 32), batch=2, schedule="constant", clip=0.0))
    network.load_state_dict(fitted.state)
    again = train.validate(network, pairs(3), 2, 2, 1, torch.float32)

    assert max(epoch.value or 0.0 for epoch in fitted.history) == fitted.value
    assert fitted.history[fitted.best_epoch - 1].value == again == fitted.value


def test_a_loss_that_is_not_a_number_ends_the_training_as_diverged():
    class Broken(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * float("inf")

    fitted = fit(Broken(3, 2, 1))

    assert (TrialStatus.DIVERGED, 0, 0.0) == (fitted.status, fitted.best_epoch, fitted.value)
    assert fitted.history[0].loss is None


def test_the_watch_stops_a_training():
    seen: list[Epoch] = []

    def watch(epoch: Epoch) -> bool:
        seen.append(epoch)
        return epoch.epoch == 3

    fitted = fit(watch=watch)

    assert (TrialStatus.STOPPED, 3, tuple(seen)) == (fitted.status, len(fitted.history), fitted.history)


def test_patience_and_seconds_end_a_training_early():
    impatient = fit(lr=1e-9, recipe=Recipe(size=(32, 32), batch=2, patience=2))
    hurried = fit(budget=Budget(epochs=50, seconds=1e-6))

    assert 3 == len(impatient.history)
    assert 1 == len(hurried.history)


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (1, 5)])
def test_forward_pads_to_the_divisor_and_crops_back(size: tuple[int, int]):
    shapes: list[torch.Size] = []

    class Spy(nn.Conv2d):
        def forward(self, x):
            shapes.append(x.shape)
            return super().forward(x)

    images = torch.rand(2, 3, *size)
    network = Spy(3, 4, 1)
    logits = train.forward(network, images, 16, torch.float32)

    assert (2, 4, *size) == tuple(logits.shape)
    assert all(edge % 16 == 0 for edge in shapes[0][-2:])
    assert torch.allclose(nn.Conv2d.forward(network, images), logits, atol=1e-6)


def test_the_schedule_rises_then_falls_to_one_percent():
    factor = train._schedule(Recipe(warmup=0.2), 100)
    values = [factor(step) for step in range(100)]

    assert 1.0 == pytest.approx(max(values))
    assert 19 <= int(np.argmax(values)) <= 20
    assert values[:20] == sorted(values[:20])
    assert values[20:] == sorted(values[20:], reverse=True)
    assert 0.01 == pytest.approx(values[-1], abs=0.002)


def test_validation_is_the_dice_of_torchmetrics_over_the_whole_split():
    from torchmetrics.functional.segmentation import dice_score

    torch.manual_seed(3)
    network, data = nn.Conv2d(3, 2, 1), pairs(5)
    value = train.validate(network, data, 2, 2, 1, torch.float32)
    from bench.data import normalise

    with torch.inference_mode():
        predicted = network(normalise(data.images)).argmax(dim=1)
    expected = dice_score(
        predicted.flatten()[None],
        data.masks.long().flatten()[None],
        num_classes=2,
        include_background=False,
        input_format="index",
    )

    assert float(expected) == pytest.approx(value, abs=1e-6)
