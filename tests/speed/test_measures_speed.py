"""What boundary and object measures cost beside the distance transforms that they cannot do without, one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import pytest
from scipy import ndimage

from bench import boundary, objects


@pytest.mark.speed
@pytest.mark.parametrize(("size", "cells", "radius"), [((256, 256), 30, 12), ((1200, 1600), 300, 35)])
def test_a_measured_pair_costs_at_most_a_few_distance_transforms_of_the_picture(
    size: tuple[int, int], cells: int, radius: int
) -> None:
    truth = picture(size, cells, radius)
    predicted = np.roll(truth, 3, axis=1)
    transforms = fastest(lambda: [ndimage.distance_transform_edt(labels == 0) for labels in (truth, predicted)])
    costs = {module: fastest(partial(module.measure, truth, predicted, 0.25, 2)) for module in (boundary, objects)}
    for module, cost in costs.items():
        print(f"\n{module.__name__} {size}: {1e3 * cost:.1f} ms, {cost / transforms:.1f} of two transforms")

    assert costs[boundary] < 3 * transforms
    assert costs[objects] < 4 * transforms


def picture(size: tuple[int, int], cells: int, radius: int) -> np.ndarray:
    """Discs of class 1 all over the picture, many of which touch."""
    generator, labels = np.random.default_rng(0), np.zeros(size, np.uint8)
    rows, columns = np.ogrid[: size[0], : size[1]]
    for y, x in generator.uniform((0, 0), size, (cells, 2)):
        labels[np.hypot(rows - y, columns - x) < radius * generator.uniform(0.7, 1.3)] = 1
    return labels


def fastest(action: Callable[[], object]) -> float:
    """Seconds of the fastest of three calls, after one to warm up."""
    seconds = []
    for _ in range(4):
        began = perf_counter()
        action()
        seconds.append(perf_counter() - began)
    return min(seconds[1:])
