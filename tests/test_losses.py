"""Loss expressions, and every loss against segmentation_models_pytorch, torch and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch import losses as smp
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torch import Tensor
from torch.nn import functional

from bench import losses
from bench.errors import NameUnknown
from bench.specs import IGNORE

EXPRESSIONS = (
    "ce",
    "dice",
    "jaccard",
    "focal",
    "focal[gamma=0.5]",
    "tversky",
    "tversky[alpha=0,beta=1]",
    "0.7*focal+dice",
)
CLASSES = 4


def batch(seed: int = 0, ignored: float = 0.0, size: tuple[int, int, int] = (3, 5, 6)) -> tuple[Tensor, Tensor]:
    """Logits float64 and a target in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size[0], CLASSES, *size[1:], generator=generator, dtype=torch.float64)
    target = torch.randint(CLASSES, size, generator=generator)
    return logits, target.masked_fill(torch.rand(size, generator=generator) < ignored, IGNORE)


def gradient(expression: str, logits: Tensor, target: Tensor) -> Tensor:
    """The derivative by the logits."""
    leaf = logits.detach().clone().requires_grad_()
    losses.build(expression)(leaf, target).backward()
    assert leaf.grad is not None
    return leaf.grad


def saturated(target: Tensor, scale: float = 1e4) -> Tensor:
    """Logits that are as sure of the target as logits can be."""
    truth = functional.one_hot(target.masked_fill(target == IGNORE, 0), CLASSES).movedim(-1, 1).float()
    return scale * (2 * truth - 1)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("ce", "ce"),
        (" dice + ce ", "dice+ce"),
        ("1*dice+0.5*ce", "dice+0.5*ce"),
        ("2.0*ce", "2*ce"),
        ("0.7*focal[gamma=3]+0.3*tversky", "0.7*focal[gamma=3]+0.3*tversky"),
        ("focal[gamma=2.0]+tversky[alpha=0.30]", "focal+tversky"),
        ("tversky[ beta = 0.6, alpha=0.4 ]", "tversky[alpha=0.4,beta=0.6]"),
    ],
)
def test_an_expression_has_one_spelling(written: str, spelled: str) -> None:
    assert spelled == losses.canonical(written)
    assert losses.parse(spelled) == losses.parse(written)


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 9.9e5), st.sampled_from(["ce", "dice", "focal[gamma=1.5]", "tversky[alpha=0.5]"])),
        min_size=1,
        max_size=4,
    )
)
def test_the_canonical_spelling_reads_back_to_the_same_terms(terms: list[tuple[float, str]]) -> None:
    expression = "+".join(f"{weight!r}*{name}" for weight, name in terms)

    assert losses.parse(expression) == losses.parse(losses.canonical(expression))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("dise+ce", "Did you mean dice"),
        ("", "empty term"),
        ("+", "empty term"),
        ("dice++ce", "empty term"),
        ("focal[gamma=1,gamma=2]", "stands twice"),
        ("-0.5*dice", "must be positive"),
        ("0*dice", "must be positive"),
        ("nan*dice", "must be positive"),
        ("half*dice", "Cannot read the weight 'half'"),
        ("dice[gamma=2]", "There is no option of the loss 'dice' named 'gamma'"),
        ("focal[gama=2]", "Did you mean gamma"),
        ("focal[gamma=two]", "must be a number"),
        ("focal[gamma=true]", "must be a number"),
        ("focal[gamma=-1]", "at least 0"),
        ("focal[gamma=nan]", "at least 0"),
        ("focal[gamma=inf]", "at least 0"),
        ("focal[gamma]", "Cannot read the option"),
        ("focal[gamma=2", "Cannot read the name"),
        ("focal[gamma=2]]", "Cannot read the name"),
    ],
)
def test_what_is_no_loss_is_answered_in_one_line(expression: str, message: str) -> None:
    with pytest.raises(NameUnknown, match=message) as caught:
        losses.build(expression)

    assert "\n" not in str(caught.value)


def test_every_listed_option_is_one_the_loss_accepts() -> None:
    logits, target = batch()
    for name, spec in losses.LOSSES.items():
        assert math.isfinite(spec.compute(logits, target, **spec.options)), name
        assert spec.compute(logits, target, **spec.options) == spec.compute(logits, target), name


def test_a_sum_weighs_its_terms() -> None:
    logits, target = batch()
    terms = {name: losses.build(name)(logits, target) for name in ("ce", "dice")}

    torch.testing.assert_close(0.25 * terms["ce"] + 3 * terms["dice"], losses.build("0.25*ce+3*dice")(logits, target))


@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_cross_entropy_is_that_of_torch(ignored: float) -> None:
    logits, target = batch(ignored=ignored)

    torch.testing.assert_close(
        functional.cross_entropy(logits, target, ignore_index=IGNORE), losses.cross_entropy(logits, target)
    )


@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_overlap_losses_are_those_of_smp_when_every_class_occurs(ignored: float) -> None:
    logits, target = batch(ignored=ignored)
    ours = [losses.dice(logits, target), losses.jaccard(logits, target), losses.tversky(logits, target, 0.2, 0.9)]
    theirs = [
        smp.DiceLoss("multiclass", ignore_index=IGNORE),
        smp.JaccardLoss("multiclass"),
        smp.TverskyLoss("multiclass", alpha=0.2, beta=0.9, ignore_index=IGNORE),
    ]
    for mine, other in zip(ours, theirs, strict=True):
        if ignored and isinstance(other, smp.JaccardLoss):
            continue  # it cannot leave pixels out
        torch.testing.assert_close(other(logits, target), mine)


def test_a_class_that_does_not_occur_is_left_out_where_smp_counts_it_as_solved() -> None:
    logits, target = batch()
    target = target.clamp(max=CLASSES - 2)

    torch.testing.assert_close(
        smp.DiceLoss("multiclass")(logits, target) * CLASSES / (CLASSES - 1), losses.dice(logits, target)
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_the_softmax_form_of_smp(gamma: float) -> None:
    # smp.FocalLoss itself takes each class against the rest with a sigmoid: another function of the same logits.
    logits, target = batch()

    torch.testing.assert_close(
        softmax_focal_loss_with_logits(logits, target, gamma), losses.focal(logits, target, gamma)
    )
    assert smp.FocalLoss("multiclass", gamma=gamma)(logits, target) != pytest.approx(
        losses.focal(logits, target, gamma)
    )


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, target = batch(ignored=0.3)

    torch.testing.assert_close(losses.cross_entropy(logits, target), losses.focal(logits, target, gamma=0))


def test_tversky_weighs_false_positives_by_alpha() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    too_much = saturated(torch.tensor([[[0, 1, 1, 1]]]))[:, :2]
    found = 1 - (1 / (1 + 0.9) + 2 / (2 + 0.2)) / 2  # background misses one pixel, the cell has one too many

    assert found == pytest.approx(float(losses.tversky(too_much, target, alpha=0.2, beta=0.9)))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ignored_pixels_change_neither_value_nor_gradient(expression: str) -> None:
    logits, target = batch(ignored=0.4)
    valid = target != IGNORE
    other = torch.where(valid[:, None], logits, torch.full_like(logits, 77.0).index_fill(1, torch.tensor([0]), -50.0))
    alone = (logits.movedim(1, -1)[valid].T[None, :, None], target[valid][None, None])
    loss = losses.build(expression)

    assert 0.0 == float(gradient(expression, logits, target).abs().movedim(1, -1)[~valid].max())
    torch.testing.assert_close(loss(logits, target), loss(other, target))
    torch.testing.assert_close(loss(*alone), loss(logits, target))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_batch_of_ignored_pixels_costs_nothing_and_moves_nothing(expression: str) -> None:
    logits, target = batch()
    nothing = torch.full_like(target, IGNORE)

    assert 0.0 == float(losses.build(expression)(logits, nothing))
    assert 0.0 == float(gradient(expression, logits, nothing).abs().max())


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["sure and right", "sure and wrong"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_saturated_logits_give_finite_values_and_gradients(expression: str, sign: float) -> None:
    _, target = batch(ignored=0.2)
    logits = sign * saturated(target)

    assert math.isfinite(losses.build(expression)(logits, target))
    assert bool(gradient(expression, logits, target).isfinite().all())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_perfect_prediction_is_the_minimum(expression: str) -> None:
    loss = losses.build(expression)
    for seed in range(5):
        logits, target = batch(seed, ignored=0.2)
        best = float(loss(saturated(target), target))

        assert best == pytest.approx(0.0, abs=1e-6)
        assert best < float(loss(logits, target))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    logits, target = batch(ignored=0.2, size=(2, 2, 3))

    assert torch.autograd.gradcheck(lambda x: losses.LOSSES[name].compute(x, target), logits.requires_grad_())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_order_of_a_batch_does_not_matter(expression: str) -> None:
    logits, target = batch(ignored=0.2)
    loss, order = losses.build(expression), torch.tensor([2, 0, 1])

    torch.testing.assert_close(loss(logits, target), loss(logits[order], target[order]))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_a_loss_is_computed_in_single_precision(kind: torch.dtype) -> None:
    logits, target = batch()
    value = losses.build("dice+ce")(logits.to(kind), target)

    assert torch.float32 == value.dtype
    torch.testing.assert_close(losses.build("dice+ce")(logits.to(kind).float(), target), value)
