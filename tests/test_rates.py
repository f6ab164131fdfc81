"""Sensitivity and specificity against torchmetrics and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as reference

from bench.rates import sensitivity, specificity


def test_the_sensitivity_of_a_class_is_the_share_of_it_that_is_found() -> None:
    counts = np.array([[90, 10], [3, 1]])

    assert [0.9, 0.25] == sensitivity(counts).tolist()
    assert [0.25, 0.9] == specificity(counts).tolist()


def test_a_class_that_is_not_there_has_no_sensitivity_and_one_that_is_everything_no_specificity() -> None:
    counts = np.array([[7, 3], [0, 0]])

    np.testing.assert_array_equal([0.7, np.nan], sensitivity(counts))
    np.testing.assert_array_equal([np.nan, 0.7], specificity(counts))


def test_leading_axes_are_independent() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 4))

    for rate in (sensitivity, specificity):
        np.testing.assert_array_equal([[rate(one) for one in row] for row in counts], rate(counts))


@pytest.mark.parametrize("seed", range(5))
def test_both_are_those_of_torchmetrics(seed: int) -> None:
    truth, predicted = np.random.default_rng(seed).integers(0, 4, (2, 200))
    counts = np.bincount(truth * 4 + predicted, minlength=16).reshape(4, 4)
    maps = (torch.from_numpy(predicted), torch.from_numpy(truth), 4)

    np.testing.assert_allclose(reference.multiclass_recall(*maps, average="none"), sensitivity(counts), rtol=1e-6)
    np.testing.assert_allclose(reference.multiclass_specificity(*maps, average="none"), specificity(counts), rtol=1e-6)
