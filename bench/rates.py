"""Sensitivity and specificity per class, from confusion matrices; numpy only."""

from __future__ import annotations

import numpy as np

from bench.metrics import Counts, Values


def sensitivity(counts: Counts) -> Values:
    """Share of the pixels of a class that are found (recall, true positive rate).

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where a class is not in the truth.
    """
    hit, true = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1, dtype=np.float64)
    return _share(hit, true)


def specificity(counts: Counts) -> Values:
    """Share of the pixels of all other classes that are not taken for a class (true negative rate).

    It is near 1 for whatever is rare, however badly it is found: read it beside the sensitivity.

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where there is nothing but the class.
    """
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    others = counts.sum(axis=(-2, -1), dtype=np.float64)[..., None] - counts.sum(axis=-1, dtype=np.float64)
    wrong = counts.sum(axis=-2, dtype=np.float64) - hit
    return _share(others - wrong, others)


def _share(part: np.ndarray, whole: np.ndarray) -> Values:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
