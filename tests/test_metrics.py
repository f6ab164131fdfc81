"""Definitions of the metrics against torchmetrics and against hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification as reference

from bench import check_profiles, metrics
from bench.errors import NameUnknown
from bench.metrics import PROFILES, Counts, Profile

CLASSES = ("background", "nucleus", "plasma", "platelet")
C = len(CLASSES)
ALL = [
    (profile, name)
    for profile in PROFILES
    for name, metric in PROFILES[profile].metrics.items()
    if metric.measure is None
]

# (truth, predicted) label maps of two pictures of six pixels: what the definitions have to survive.
CASES: dict[str, tuple[list[list[int]], list[list[int]]]] = {
    "plain": ([[0, 1, 1, 2, 3, 0], [0, 2, 2, 3, 3, 1]], [[0, 1, 2, 2, 3, 0], [1, 2, 2, 0, 3, 1]]),
    "absent class": ([[0, 1, 1, 2, 0, 0], [0, 2, 2, 1, 1, 1]], [[0, 1, 2, 2, 0, 0], [1, 2, 2, 0, 1, 1]]),
    "class in one picture only": ([[0, 1, 1, 3, 0, 0], [0, 1, 1, 0, 0, 0]], [[0, 1, 0, 3, 3, 0], [0, 1, 1, 0, 0, 1]]),
    "found where it is not": ([[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]], [[3, 0, 1, 1, 2, 2], [3, 3, 1, 1, 2, 0]]),
    "all background": ([[0] * 6, [0] * 6], [[0] * 6, [0] * 6]),
    "background called cells": ([[0] * 6, [0] * 6], [[1] * 6, [2] * 6]),
    "cells called background": ([[1] * 6, [2, 3, 2, 3, 2, 3]], [[0] * 6, [0] * 6]),
    "all wrong": ([[0, 1, 2, 3, 0, 1], [1, 1, 2, 2, 3, 3]], [[1, 2, 3, 0, 1, 2], [2, 2, 3, 3, 0, 0]]),
    "one pixel": ([[2]], [[2]]),
    "one wrong pixel": ([[2]], [[0]]),
}
LABELS = st.integers(1, 4).flatmap(
    lambda images: st.integers(1, 12).flatmap(
        lambda pixels: st.tuples(
            *2
            * [
                st.lists(
                    st.lists(st.integers(0, C - 1), min_size=pixels, max_size=pixels), min_size=images, max_size=images
                )
            ]
        )
    )
)
COUNTS = st.integers(1, 4).flatmap(
    lambda images: st.lists(st.integers(0, 3), min_size=images * C * C, max_size=images * C * C).map(
        lambda flat: np.array(flat, np.uint32).reshape(images, C, C)
    )
)


def matrices(truth: list[list[int]], predicted: list[list[int]]) -> Counts:
    """One confusion matrix per picture, by torchmetrics."""
    pairs = zip(torch.tensor(predicted), torch.tensor(truth), strict=True)
    return np.stack([reference.multiclass_confusion_matrix(*pair, num_classes=C).numpy() for pair in pairs])


def overlap(name: str, truth: torch.Tensor, predicted: torch.Tensor) -> np.ndarray:
    """IoU or Dice per class by torchmetrics; NaN where a class is in neither map."""
    function = {"iou": reference.multiclass_jaccard_index, "dice": reference.multiclass_f1_score}[name]
    values = function(predicted, truth, num_classes=C, average=None).double().numpy()
    there = np.array([bool(((truth == label) | (predicted == label)).any()) for label in range(C)])
    return np.where(there, values, np.nan)


def mean(values: np.ndarray) -> float | None:
    """The mean of what is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def plain(scores: dict[str, float | None]) -> dict[str, float]:
    """Scores as numbers that can be compared: -1 where there is none."""
    return {name: -1.0 if value is None else value for name, value in scores.items()}


def expected_default(truth: torch.Tensor, predicted: torch.Tensor) -> dict[str, float | None]:
    """The default profile, from the label maps rather than from counts."""
    expected: dict[str, float | None] = {}
    present = np.array([bool((truth == label).any()) for label in range(1, C)])
    for name in ("dice", "iou"):
        whole = overlap(name, truth.flatten(), predicted.flatten())
        expected[f"m{name}_d_fg"] = mean(whole[1:][present])
        single = np.stack([overlap(name, *pair)[1:] for pair in zip(truth, predicted, strict=True)])
        expected[f"m{name}_i_fg"] = mean(
            np.array([value for column in single.T if (value := mean(column)) is not None])
        )
        expected |= {f"{name}_d/{c}": None if math.isnan(v) else float(v) for c, v in zip(CLASSES, whole, strict=True)}
    expected["pixel_acc"] = float((truth == predicted).double().mean())
    expected["background_share"] = float((truth == 0).double().mean())
    return expected


def expected_binary(truth: torch.Tensor, predicted: torch.Tensor) -> dict[str, float | None]:
    """The profile image_binary, from label maps in which every cell is 1."""
    rows: dict[str, list[float]] = {"dice_fg": [], "iou_fg": [], "dice_mean": [], "pixel_acc": []}
    for true, found in zip((truth > 0).long(), (predicted > 0).long(), strict=True):
        scores = {name: overlap(name, true, found) for name in ("dice", "iou")}
        values = (scores["dice"][1], scores["iou"][1], mean(scores["dice"][:2]), float((true == found).double().mean()))
        for row, value in zip(rows.values(), values, strict=True):
            row.append(math.nan if value is None else value)
    return {name: mean(np.array(row)) for name, row in rows.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_default_profile_agrees_with_torchmetrics(case: str) -> None:
    truth, predicted = CASES[case]
    scores = metrics.scores(matrices(truth, predicted), CLASSES)

    assert plain(expected_default(torch.tensor(truth), torch.tensor(predicted))) == pytest.approx(plain(scores))


@pytest.mark.parametrize("case", CASES)
def test_the_binary_profile_agrees_with_torchmetrics(case: str) -> None:
    truth, predicted = CASES[case]
    scores = metrics.scores(matrices(truth, predicted), CLASSES, metrics.IMAGE_BINARY)

    assert plain(expected_binary(torch.tensor(truth), torch.tensor(predicted))) == pytest.approx(plain(scores))


@settings(max_examples=40, deadline=None)
@given(LABELS)
def test_both_profiles_agree_with_torchmetrics_on_any_maps(maps: tuple[list[list[int]], list[list[int]]]) -> None:
    truth, predicted = maps
    tensors, counts = (torch.tensor(truth), torch.tensor(predicted)), matrices(truth, predicted)
    scores, binary = metrics.scores(counts, CLASSES), metrics.scores(counts, CLASSES, metrics.IMAGE_BINARY)

    assert plain(expected_default(*tensors)) == pytest.approx(plain(scores))
    assert plain(expected_binary(*tensors)) == pytest.approx(plain(binary))


def test_a_class_absent_everywhere_is_none() -> None:
    scores = metrics.scores(matrices([[0, 1, 1]], [[0, 1, 0]]), CLASSES)

    assert scores["iou_d/platelet"] is None
    assert scores["dice_d/platelet"] is None


def test_a_class_only_predicted_is_zero_per_class_and_left_out_of_the_data_set_mean() -> None:
    scores = metrics.scores(matrices([[0, 0, 1]], [[2, 0, 1]]), CLASSES)

    assert 0.0 == scores["iou_d/plasma"]
    assert 1.0 == scores["mdice_d_fg"]
    assert 0.5 == scores["mdice_i_fg"]


def test_a_data_set_of_background_alone_has_no_foreground_score() -> None:
    scores = metrics.scores(matrices([[0, 0]], [[0, 0]]), CLASSES)

    assert {None} == {scores[name] for name in ("mdice_d_fg", "miou_d_fg", "mdice_i_fg", "miou_i_fg")}
    assert 1.0 == scores["pixel_acc"] == scores["background_share"]


@pytest.mark.parametrize("definition", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("images", [0, 3])
def test_counts_without_pixels_give_none_throughout(definition: Profile, images: int) -> None:
    scores = metrics.scores(np.zeros((images, C, C), np.uint32), CLASSES, definition)

    assert {None} == set(scores.values())


def test_the_binary_profile_on_a_hand_made_picture() -> None:
    counts = np.array([[[50, 10], [5, 35]]])
    scores = metrics.scores(counts, ("background", "cell"), metrics.IMAGE_BINARY)

    assert {
        "dice_fg": 70 / 85,
        "iou_fg": 35 / 50,
        "dice_mean": (70 / 85 + 100 / 115) / 2,
        "pixel_acc": 0.85,
    } == pytest.approx(scores)


def test_merging_keeps_rows_and_columns_apart_and_forgets_confusion_between_cells() -> None:
    counts = np.arange(1, 10).reshape(1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9

    assert [[[1, 5], [11, 28]]] == metrics.binary(counts).tolist()


def test_large_counts_do_not_overflow() -> None:
    counts = np.full((3, 2, 2), 2**32 - 1, np.uint32)
    scores = metrics.scores(counts, ("background", "cell"))

    assert 0.5 == scores["pixel_acc"] == scores["mdice_d_fg"]


@settings(max_examples=25, deadline=None)
@given(COUNTS)
def test_leading_axes_are_independent(counts: Counts) -> None:
    swapped = counts.swapaxes(-1, -2)
    stacked = np.stack([np.stack([counts, swapped, np.zeros_like(counts)]), np.stack([swapped, counts, counts])])
    for profile, name in ALL:
        compute = PROFILES[profile].metrics[name].compute
        alone = [[float(compute(one)) for one in row] for row in stacked]

        np.testing.assert_array_equal(np.array(alone), compute(stacked), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(COUNTS)
def test_a_metric_called_summed_depends_on_the_sum_alone(counts: Counts) -> None:
    for profile, name in ALL:
        assert [] == list(check_profiles.summed(PROFILES[profile].metrics[name], counts)), name


@pytest.mark.parametrize(("profile", "name"), ALL)
def test_a_metric_not_called_summed_depends_on_more_than_the_sum(profile: str, name: str) -> None:
    metric = PROFILES[profile].metrics[name]
    counts = np.array([[[8, 0], [0, 2]], [[0, 1], [4, 35]]])
    together = metric.compute(counts.sum(axis=0, keepdims=True))

    assert metric.summed == bool(np.isclose(together, metric.compute(counts)))


@settings(max_examples=25, deadline=None)
@given(COUNTS)
def test_every_defined_score_lies_between_zero_and_one(counts: Counts) -> None:
    values = [v for p in PROFILES.values() for v in metrics.scores(counts, CLASSES, p).values() if v is not None]

    assert all(0.0 <= value <= 1.0 for value in values)


@pytest.mark.parametrize("name", PROFILES)
def test_the_primary_metric_of_a_profile_is_one_of_its_metrics(name: str) -> None:
    assert metrics.profile(name).primary in metrics.profile(name).metrics


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(NameUnknown, match="Did you mean image_binary"):
        metrics.profile("image_binari")


def test_as_many_names_as_classes_are_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        metrics.scores(np.zeros((1, C, C), int), CLASSES[:2])
