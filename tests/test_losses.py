"""Loss expressions: how they are spelled, what is refused, what class weights are, and how a loss is put together."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bench import criteria, losses, runner
from bench.errors import NameUnknown
from bench.prepare import open_prepared
from tests import small
from tests.criterion import PIXELS, batch

NAMES = (*losses.LOSSES, "focal[gamma=1.5]", "tversky[alpha=0.5]", "ce[weight=median]", "lovasz[per_image=true]")


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
        ("ce[weight=none,smoothing=0]", "ce"),
        ("ce[ weight = inverse, smoothing=.10 ]", "ce[smoothing=0.1,weight=inverse]"),
        ("weighted_ce[weight=inverse]+dice[weight=median]", "weighted_ce+dice[weight=median]"),
        ("weighted_ce[weight=effective]", "weighted_ce[weight=effective]"),
        ("topk[percent=10]+focal_tversky[gamma=1]", "topk+focal_tversky[gamma=1]"),
        ("lovasz[per_image=True]", "lovasz[per_image=true]"),
        ("lovasz[per_image=false]", "lovasz"),
    ],
)
def test_an_expression_has_one_spelling(written: str, spelled: str) -> None:
    assert spelled == losses.canonical(written)
    assert losses.parse(spelled) == losses.parse(written)


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 9.9e5), st.sampled_from(NAMES)),
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
        ("1e7*dice", "must be positive, and below a million"),
        ("half*dice", "Cannot read the weight 'half'"),
        ("dice[gamma=2]", "There is no option of the loss 'dice' named 'gamma'"),
        ("focal[gama=2]", "Did you mean gamma"),
        ("focal[gamma=two]", "must be a number"),
        ("focal[gamma=true]", "must be a number"),
        ("focal[gamma=-1]", "at least 0"),
        ("focal[gamma=nan]", "at least 0"),
        ("focal[gamma=inf]", "at least 0"),
        ("focal[gamma=1e7]", "gamma=10000000.0 .* at most 1e\\+06"),
        (f"focal[gamma={10**400}]", "at most 1e"),
        ("focal[gamma]", "Cannot read the option"),
        ("ce[weight=heavy]", "weight=heavy of the loss .* must be one of none, inverse, effective, median"),
        ("ce[weight=2]", "weight=2 .* must be one of none"),
        ("ce[weight=true]", "weight=true .* must be one of none"),
        ("weighted_ce[weight=none]", "must be one of inverse, effective, median"),
        ("ce[smoothing=1.5]", "a number of at least 0 and at most 1"),
        ("topk[percent=0]", "at least 0.001 and at most 100"),
        ("focal_tversky[gamma=0]", "at least 0.1"),
        ("lovasz[per_image=1]", "per_image=1 .* must be true or false"),
        ("lovasz[per_image=yes]", "must be true or false"),
        ("boundary[weight=inverse]", "There is no option of the loss 'boundary'"),
        ("focal[gamma=2", "Cannot read the name"),
        ("focal[gamma=2]]", "Cannot read the name"),
    ],
)
def test_what_is_no_loss_is_answered_in_one_line(expression: str, message: str) -> None:
    with pytest.raises(NameUnknown, match=message) as caught:
        losses.build(expression)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_options_that_are_listed_are_those_of_the_function_of_that_name(name: str) -> None:
    spec, taken = losses.LOSSES[name], dict(inspect.signature(getattr(criteria, name)).parameters)
    accepted = {key: value.default for key, value in taken.items() if key not in ("logits", "target")}
    weighs = accepted.pop("weight", "none")

    assert {key: value for key, value in spec.options.items() if key != "weight"} == accepted
    assert (weighs is None) == ("weight" in spec.options)
    assert all(words[0] == spec.options[key] for key, words in spec.choices.items())


@pytest.mark.parametrize("name", [name for name, spec in losses.LOSSES.items() if len(spec.options)])
def test_every_option_reaches_the_loss(name: str) -> None:
    logits, target = batch()
    other = {"weight": "median", "per_image": "true", "smoothing": 0.3, "power": 1, "percent": 50}
    default = losses.build(name, PIXELS)(logits, target)
    for key in losses.LOSSES[name].options:
        changed = losses.build(f"{name}[{key}={other.get(key, 0.9)}]", PIXELS)(logits, target)

        assert float(default) != pytest.approx(float(changed), rel=1e-4), key


def test_a_sum_weighs_its_terms() -> None:
    logits, target = batch()
    terms = {name: losses.build(name)(logits, target) for name in ("ce", "dice")}

    torch.testing.assert_close(0.25 * terms["ce"] + 3 * terms["dice"], losses.build("0.25*ce+3*dice")(logits, target))


def test_a_term_with_class_weights_needs_the_pixels_and_another_does_not() -> None:
    losses.build("ce+dice[weight=none]")
    for expression in ("weighted_ce", "dice+ce[weight=effective]"):
        with pytest.raises(ValueError, match="needs the pixels of each class"):
            losses.build(expression)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_a_loss_is_computed_in_single_precision(kind: torch.dtype) -> None:
    logits, target = batch()
    value = losses.build("dice+ce")(logits.to(kind), target)

    assert torch.float32 == value.dtype
    torch.testing.assert_close(losses.build("dice+ce")(logits.to(kind).float(), target), value)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_autocast_changes_no_loss(name: str) -> None:
    logits, target = batch()
    loss = losses.build(name, PIXELS)
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(logits.bfloat16(), target)

    assert torch.float32 == cast.dtype
    assert torch.equal(loss(logits.bfloat16().float(), target), cast)


def test_autocast_is_off_inside_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        criteria, "ce", lambda logits, target, smoothing: seen.append(torch.is_autocast_enabled("cpu")) or 0
    )
    with torch.autocast("cpu", torch.bfloat16):
        losses.build("ce")(*batch())

    assert [False] == seen


@pytest.mark.parametrize("name", losses.LOSSES)
def test_one_channel_is_the_foreground_against_a_background_of_zero(name: str) -> None:
    logits, target = batch()
    logits, target = logits[:, :1], target.clamp(max=1)
    loss = losses.build(name, PIXELS[:, :2])

    torch.testing.assert_close(loss(torch.cat([torch.zeros_like(logits), logits], 1), target), loss(logits, target))


def test_cross_entropy_of_one_channel_is_binary_cross_entropy() -> None:
    logits, target = batch()
    logits, target = logits[:, :1], target.clamp(max=1)

    torch.testing.assert_close(
        functional.binary_cross_entropy_with_logits(logits[:, 0], target.double()).float(),
        losses.build("ce")(logits, target),
    )


def test_inverse_weights_are_those_of_the_smear_seed() -> None:
    shares = np.array([65.62, 1.74, 0.92, 1.70])  # of the pixels [%], the first classes of the seed
    rest = 100 - shares.sum()
    found = losses.class_weights("inverse", np.array([[*(shares * 100), rest * 100]]).round().astype(np.int64))

    assert [1.524, 57.5, 108.7, 58.8] == pytest.approx(found[:4].tolist(), rel=2e-3)


def test_median_weights_look_at_the_images_in_which_a_class_occurs() -> None:
    pixels = np.array([[60, 40, 0], [90, 0, 10], [100, 0, 0]])
    frequency = [250 / 300, 40 / 100, 10 / 100]

    assert [0.4 / one for one in frequency] == pytest.approx(losses.class_weights("median", pixels).tolist())


def test_effective_weights_follow_rarity_up_to_a_million_pixels_and_no_further() -> None:
    rare = losses.class_weights("effective", np.array([[1000, 100]]))
    plenty = losses.class_weights("effective", np.array([[10**9, 10**8]]))
    between = losses.class_weights("effective", np.array([[10**6, 10**5]]))
    numbers = [sum(losses.BETA**power for power in range(1000)), sum(losses.BETA**power for power in range(100))]

    assert 10.0 == pytest.approx(rare[1] / rare[0], rel=1e-3)
    assert numbers[0] / numbers[1] == pytest.approx(rare[1] / rare[0])
    assert 1.0 == pytest.approx(plenty[1] / plenty[0])
    assert (1 - math.exp(-1)) / (1 - math.exp(-0.1)) == pytest.approx(between[1] / between[0], rel=1e-3)
    assert 1.0 == pytest.approx(between.mean())


@pytest.mark.parametrize("scheme", losses.WEIGHTS[1:])
def test_a_class_that_never_occurs_weighs_nothing(scheme: str) -> None:
    pixels = np.array([[60, 0, 40], [90, 0, 10]])
    found = losses.class_weights(scheme, pixels)

    assert 0.0 == found[1]
    assert 0 < found[0] < found[2] < math.inf
    np.testing.assert_allclose(losses.class_weights(scheme, pixels[:, [0, 2]]), found[[0, 2]])
    assert [0.0] * 3 == losses.class_weights(scheme, 0 * pixels).tolist()


def test_a_cell_weighs_classes_by_the_pixels_of_its_training_images_alone(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, build = list[np.ndarray](), losses.build
    monkeypatch.setattr(losses, "build", lambda name, pixels: given.append(pixels) or build(name, pixels))
    wanted = small.study(losses=("weighted_ce+ce[weight=median]",), baselines=())
    small.execute(wanted, small.place(tmp_path, data_home))
    (record,) = small.stored(wanted, small.place(tmp_path, data_home)).values()
    prepared = open_prepared(small.SMEAR, data_home)
    masks = [prepared.native(prepared.index.entries[at])[1] for at in prepared.split(0, 1)["train"]]

    assert "ok" == record.status
    assert [[np.count_nonzero(mask == label) for label in range(10)] for mask in masks] == given[0].tolist()


def test_what_a_study_with_class_weights_costs_is_told(tmp_path: Path, data_home: Path) -> None:
    wanted, where = small.study(losses=("ce[weight=inverse]",), baselines=()), small.place(tmp_path, data_home)
    runner.survey(wanted, where)  # prepares what is generated
    (cost,) = runner.costs(runner.job(wanted, where, "cpu", 1))

    assert ("", True) == (cost.error, cost.seconds > 0)
