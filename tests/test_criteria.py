"""What holds for every loss there is: ignored pixels, saturated logits, the minimum, gradients, the order of a batch."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from bench import check_losses, criteria, losses
from bench.specs import IGNORE
from tests.criterion import CLASSES, PIXELS, batch, saturated

NAMES = tuple(losses.LOSSES)
WEIGHED = tuple(f"{name}[weight=median]" for name, spec in losses.LOSSES.items() if "weight" in spec.options)
EXPRESSIONS = (
    *NAMES,
    *WEIGHED,
    "ce[smoothing=0.2,weight=inverse]",
    "focal[gamma=0.5]",
    "tversky[alpha=0,beta=1]",
    "focal_tversky[gamma=0.5]",
    "lovasz[per_image=true]",
    "topk[percent=40]",
    "hausdorff_dt[power=0.5]",
    "0.7*focal+dice",
)
SPATIAL = ("boundary", "hausdorff_dt", "ssim", "basnet_hybrid")
"""Where a pixel lies matters to them."""


def built(expression: str) -> losses.Loss:
    """The loss of an expression, with class weights where it has some."""
    return losses.build(expression, PIXELS)


def gradient(expression: str, logits: Tensor, target: Tensor) -> Tensor:
    """The derivative by the logits."""
    return check_losses.slopes(built(expression), logits, target)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ignored_pixels_change_neither_value_nor_gradient(expression: str) -> None:
    logits, target = batch(ignored=0.4)

    assert [] == list(check_losses.ignored(built(expression), CLASSES))
    assert 0.0 < float(gradient(expression, logits, target).abs().max())


@pytest.mark.parametrize(
    "expression", [one for one in EXPRESSIONS if one not in SPATIAL and "power" not in one and "image" not in one]
)
def test_a_batch_with_ignored_pixels_costs_what_it_costs_without_them(expression: str) -> None:
    logits, target = batch(ignored=0.4)
    valid = target != IGNORE
    alone = (logits.movedim(1, -1)[valid].T[None, :, None], target[valid][None, None])

    torch.testing.assert_close(built(expression)(*alone), built(expression)(logits, target))


@pytest.mark.parametrize("name", ["boundary", "hausdorff_dt"])
def test_a_border_of_ignored_pixels_adds_no_outline(name: str) -> None:
    logits, target = batch(size=(2, 13, 14))
    wide = torch.nn.functional.pad(logits, (3, 3, 3, 3), value=5.0)
    around = torch.nn.functional.pad(target, (3, 3, 3, 3), value=IGNORE)

    torch.testing.assert_close(built(name)(logits, target), built(name)(wide, around))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_batch_of_ignored_pixels_costs_nothing_and_moves_nothing(expression: str) -> None:
    logits, target = batch()
    nothing = torch.full_like(target, IGNORE)
    for scale in (1.0, 1e4):
        assert 0.0 == float(built(expression)(scale * logits, nothing))
        assert 0.0 == float(gradient(expression, scale * logits, nothing).abs().max())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_saturated_logits_give_finite_values_and_gradients(expression: str) -> None:
    assert [] == list(check_losses.extreme(built(expression), CLASSES))


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("only", range(CLASSES))
def test_a_batch_of_one_class_gives_finite_values_and_gradients(expression: str, only: int) -> None:
    logits, target = batch()
    target = torch.full_like(target, only)

    assert math.isfinite(built(expression)(logits, target))
    assert bool(gradient(expression, logits, target).isfinite().all())


@pytest.mark.parametrize("expression", [one for one in EXPRESSIONS if "boundary" not in one and "smoothing" not in one])
def test_a_perfect_prediction_is_the_minimum(expression: str) -> None:
    loss = built(expression)
    for seed in range(5):
        logits, target = batch(seed, ignored=0.2)
        best = float(loss(saturated(target), target))

        assert best == pytest.approx(0.0, abs=2e-6)
        assert best < float(loss(logits, target))


def test_a_perfect_prediction_is_the_minimum_of_boundary_and_below_zero() -> None:
    target = torch.zeros(2, 9, 9, dtype=torch.int64)
    target[0, 2:7, 2:7], target[1, :, 4:] = 1, 3
    best = float(built("boundary")(saturated(target), target))

    assert best < 0
    for seed in range(5):
        assert best < float(built("boundary")(saturated(target) / 1e4 + batch(seed, size=(2, 9, 9))[0], target))


def test_smoothed_cross_entropy_is_least_where_a_pixel_is_as_sure_as_its_truth() -> None:
    _, target = batch()
    truth = torch.nn.functional.one_hot(target, CLASSES).movedim(-1, 1) * 0.8 + 0.2 / CLASSES

    assert 1e-7 > float(gradient("ce[smoothing=0.2]", truth.log(), target).abs().max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighed", [False, True])
def test_gradients_are_those_of_finite_differences(name: str, weighed: bool) -> None:
    logits, target = batch(ignored=0.2, size=(2, 3, 4), classes=3)
    compute = getattr(criteria, name)
    if weighed and "weight" not in inspect.signature(compute).parameters:
        return
    given = {"weight": torch.tensor([0.5, 3.0, 1.5], dtype=torch.float64)} if weighed else {}

    assert torch.autograd.gradcheck(lambda x: compute(x, target, **given), logits.requires_grad_())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_order_of_a_batch_does_not_matter(expression: str) -> None:
    logits, target = batch(ignored=0.2)
    order = torch.tensor([2, 0, 1])

    torch.testing.assert_close(built(expression)(logits, target), built(expression)(logits[order], target[order]))
    torch.testing.assert_close(
        gradient(expression, logits, target)[order], gradient(expression, logits[order], target[order])
    )


# ssim hardly looks at corners, and an outline loss does not mind a class that is absent: both stand beside another
@pytest.mark.parametrize("expression", [*WEIGHED, *sorted({*NAMES} - {"ssim", "boundary", "hausdorff_dt"})])
def test_descending_a_loss_brings_the_truth(expression: str) -> None:
    target = torch.zeros(2, 12, 12, dtype=torch.int64)
    target[0, 2:9, 3:8], target[1, 1:6, 1:6], target[1, 7:, 6:] = 1, 2, 3
    logits = (0.1 * batch(size=(2, 12, 12))[0].float()).requires_grad_()
    optimiser = torch.optim.Adam([logits], 0.3)
    for _ in range(120):
        optimiser.zero_grad()
        built(expression)(logits, target).backward()
        optimiser.step()

    assert 0.95 < float((logits.argmax(dim=1) == target).float().mean())
