from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench import losses, train
from bench.data import resident
from bench.records import Epoch, TrialStatus
from bench.specs import Budget, Recipe
from tests.small import plain


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
    at_once: int = 0,
    loss: str = "ce",
    **hooks,
):
    torch.manual_seed(0)
    recipe = recipe or Recipe(size=(32, 32), batch=2)
    return train.fit(
        plain(network or nn.Conv2d(3, 2, 1), at_once or recipe.batch),
        losses.build(loss),
        pairs(),
        pairs(3),
        classes=2,
        recipe=recipe,
        budget=budget or Budget(epochs=8),
        lr=lr,
        seed=1,
        watch=watch or (lambda epoch, speed: False),
        **hooks,
    )


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "step", "plateau"])
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
    again, _ = train.validate(plain(network), pairs(3), 2, 2)

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

    def watch(epoch: Epoch, speed: float | None) -> bool:
        assert speed and speed > 0
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
    logits = plain(network, divisor=16)(images)

    assert (2, 4, *size) == tuple(logits.shape)
    assert all(edge % 16 == 0 for edge in shapes[0][-2:])
    assert torch.allclose(nn.Conv2d.forward(network, images), logits, atol=1e-6)


def test_the_schedule_rises_then_falls_to_one_percent():
    values = [train._factor(Recipe(warmup=0.2), step / 100, 100) for step in range(100)]

    assert 1.0 == pytest.approx(max(values))
    assert 19 <= int(np.argmax(values)) <= 20
    assert values[:20] == sorted(values[:20])
    assert values[20:] == sorted(values[20:], reverse=True)
    assert 0.01 == pytest.approx(values[-1], abs=0.002)


def test_validation_is_the_dice_of_torchmetrics_over_the_whole_split():
    from torchmetrics.functional.segmentation import dice_score

    torch.manual_seed(3)
    network, data = nn.Conv2d(3, 2, 1), pairs(5)
    value, collapsed = train.validate(plain(network), data, 2, 2)
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
    assert not collapsed


class Constant(nn.Conv2d):
    """Calls every pixel the same class, whatever it learns."""

    def forward(self, x):
        return super().forward(x) * 0 + torch.tensor([1.0, 0.0])[:, None, None]


def test_a_network_that_calls_every_pixel_one_class_has_collapsed():
    value, collapsed = train.validate(plain(Constant(3, 2, 1)), pairs(3), 2, 2)

    assert (0.0, True) == (value, collapsed)
    assert TrialStatus.COLLAPSED == fit(Constant(3, 2, 1)).status


def test_one_class_in_prediction_and_truth_alike_is_no_collapse():
    data = pairs(3)
    data.masks.zero_()

    assert not train.validate(plain(Constant(3, 2, 1)), data, 2, 2)[1]


def test_pixels_to_be_ignored_count_neither_for_the_score_nor_against_it():
    torch.manual_seed(3)
    network, data = nn.Conv2d(3, 2, 1), pairs(3)
    before = train.validate(plain(network), data, 2, 2)
    hidden = pairs(6)
    hidden.masks[:3], hidden.images[:3], hidden.masks[3:] = data.masks, data.images, 255

    assert before == train.validate(plain(network), hidden, 2, 2)


def test_a_loss_that_runs_away_ends_the_training_within_its_first_steps():
    steps = []

    class Exploding(nn.Conv2d):
        def forward(self, x):
            steps.append(len(x))
            return super().forward(x) * 10.0 ** len(steps)

    recipe = Recipe(size=(32, 32), batch=1, clip=0.0)  # six steps an epoch, and more in an epoch of the larger set
    fitted = train.fit(
        plain(Exploding(3, 2, 1), 1), losses.build("ce"), pairs(64), pairs(3), classes=2, recipe=recipe,
        budget=Budget(epochs=3), lr=0.1, seed=1, watch=lambda epoch, speed: False,
    )  # fmt: skip

    assert TrialStatus.DIVERGED == fitted.status
    assert (1, 0) == (len(fitted.history), fitted.best_epoch)
    assert 8 == len(steps)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(at_once: int):
    recipe = Recipe(size=(32, 32), batch=4, clip=0.0, optimiser="sgd", warmup=0.0, schedule="constant")
    whole, parts = (fit(recipe=recipe, budget=Budget(epochs=2), at_once=count) for count in (4, at_once))

    assert all(torch.allclose(whole.state[name], parts.state[name], atol=1e-5) for name in whole.state)
    assert [epoch.loss for epoch in whole.history] == pytest.approx([epoch.loss for epoch in parts.history], abs=1e-5)


def recorded_rates(recipe: Recipe, epochs: int, monkeypatch, scores: list[float] | None = None) -> list[float]:
    """The rate of the last step of every epoch."""
    rates: list[float] = []

    def watch(epoch: Epoch, speed: float | None) -> bool:
        rates.append(made[0].param_groups[0]["lr"])
        return False

    made, whole = [], train.optimiser
    monkeypatch.setattr(train, "optimiser", lambda *arguments: made.append(whole(*arguments)) or made[-1])
    if scores is not None:
        left = iter(scores)
        monkeypatch.setattr(train, "validate", lambda *arguments: (next(left), False))
    fit(lr=0.1, recipe=recipe, budget=Budget(epochs=epochs), watch=watch)
    return rates


def test_step_lowers_the_rate_every_so_many_epochs_as_torch_does(monkeypatch):
    recipe = Recipe(size=(32, 32), batch=2, schedule="step", decay=0.1, decay_epochs=2, warmup=0.0)
    reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    scheduler, expected = torch.optim.lr_scheduler.StepLR(reference, 2, 0.1), []
    for _ in range(6):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()

    assert expected == pytest.approx(recorded_rates(recipe, 6, monkeypatch))


@pytest.mark.parametrize("schedule", ["step", "plateau"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_rate_is_lowered_no_more_often_than_decay_times(schedule, times: int, monkeypatch):
    recipe = Recipe(size=(32, 32), batch=2, schedule=schedule, decay=0.1, decay_epochs=2, decay_times=times, warmup=0.0)
    rates = recorded_rates(recipe, 9, monkeypatch, [0.9] + 8 * [0.1])
    wait = 2 if schedule == "step" else 3  # the first epoch is the best one
    fallen = [0.1 * 0.1 ** min(max(epoch - wait + 2, 0) // 2, times) for epoch in range(9)]

    assert fallen == pytest.approx(rates)


def test_plateau_lowers_the_rate_where_the_score_no_longer_rises_as_torch_does(monkeypatch):
    recipe = Recipe(size=(32, 32), batch=2, schedule="plateau", decay=0.5, decay_epochs=2, warmup=0.0)
    scores = [0.1, 0.3, 0.2, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1]
    reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    # torch waits for more than `patience` epochs, we for `decay_epochs`; and it forgets small gains
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, "max", 0.5, patience=1, threshold=0.0)
    expected = []
    for score in scores:
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step(score)

    assert expected == pytest.approx(recorded_rates(recipe, len(scores), monkeypatch, scores))


@pytest.mark.parametrize(("clip_by", "norm"), [("norm", 1e-4), ("value", 1e-4 * 8**0.5)])
def test_the_gradient_is_clipped_as_a_whole_or_element_by_element(clip_by: str, norm: float, monkeypatch):
    """Eight parameters: clipped one by one each may reach the limit."""
    seen: list[float] = []
    whole = torch.optim.SGD.step

    def step(self, *arguments):
        seen.append(float(torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]]).norm()))
        return whole(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    fit(recipe=Recipe(size=(32, 32), batch=2, clip=1e-4, clip_by=clip_by, optimiser="sgd"), budget=Budget(epochs=1))

    assert norm == pytest.approx(max(seen), rel=1e-3)


def test_a_budget_in_seconds_bends_the_schedule_to_its_end(monkeypatch):
    """With a clock that goes on by a second per look, the rate is at its end when the time is."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(train.time, "perf_counter", lambda: float(next(ticks)))
    recipe = Recipe(size=(32, 32), batch=2, warmup=0.0)
    rates = []
    made, whole = [], train.optimiser
    monkeypatch.setattr(train, "optimiser", lambda *arguments: made.append(whole(*arguments)) or made[-1])
    fitted = fit(
        lr=0.1, recipe=recipe, budget=Budget(epochs=1000, seconds=60.0),
        watch=lambda epoch, speed: rates.append(made[0].param_groups[0]["lr"]) or False,
    )  # fmt: skip

    assert 60 <= fitted.history[-1].seconds <= 70
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.01
