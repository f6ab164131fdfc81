"""What it costs to score a large study again under another definition, beside a bare sum over the same matrices."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from bench import metrics
from bench.metrics import PROFILES

CELLS, IMAGES, CLASSES = 1000, 200, 10


@pytest.mark.speed
def test_scoring_a_thousand_cells_again_costs_few_bare_sums_per_metric() -> None:
    names = [f"class {number}" for number in range(CLASSES)]
    few = np.random.default_rng(0).integers(0, 5000, (20, IMAGES, CLASSES, CLASSES)).astype(np.uint32)
    began = perf_counter()
    for cell in range(CELLS):
        for _ in range(2):  # over classes, once each way: what no definition can do without
            few[cell % 20].sum(axis=-1), few[cell % 20].sum(axis=-2)
    bare = (perf_counter() - began) / 2
    ratios: dict[str, float] = {}
    for name, profile in PROFILES.items():
        if any(metric.measure for metric in profile.metrics.values()):
            continue
        began = perf_counter()
        for cell in range(CELLS):
            metrics.scores(few[cell % 20], names, profile)
        seconds = perf_counter() - began
        ratios[name] = seconds / bare / len(profile.metrics)
        print(f"\n{name}: {seconds:.2f} s, {ratios[name]:.1f} bare sums per metric", end="")
    print(f"\nbare sums: {bare:.2f} s")

    assert max(ratios.values()) < 8
