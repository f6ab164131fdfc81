"""Resampling is a product of matrices, not a thousand evaluations."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from bench import metrics
from bench.statistics import draw


@pytest.mark.speed
@pytest.mark.parametrize("name", ["mdice_i_fg", "mdice_d_fg"])
def test_a_metric_of_200_images_is_resampled_many_times_faster_than_it_is_evaluated(name: str) -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 500, (200, 10, 10))
    metric = metrics.DEFAULT.metrics[name]
    draw([metric], counts)  # which images are drawn is remembered

    def seconds(resampled: metrics.Metric) -> float:
        began = time.perf_counter()
        draw([resampled], counts)
        return time.perf_counter() - began

    slow = min(seconds(replace(metric, parts=None, summed=False)) for _ in range(2))
    fast = min(seconds(metric) for _ in range(5))
    print(name, slow / fast)

    assert slow > 10 * fast
