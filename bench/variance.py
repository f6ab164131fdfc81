"""Where the variance of a score comes from: architecture, loss, seed, image and what they do together; numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Terms = Mapping[str, tuple[int, ...]]

TERMS: Terms = {
    "architecture": (0,),
    "loss": (1,),
    "architecture x loss": (0, 1),
    "seed": (0, 1, 2),  # a seed of one network has nothing to do with the same seed of another
    "image": (3,),
    "architecture x image": (0, 3),
    "loss x image": (1, 3),
    "architecture x loss x image": (0, 1, 3),
    "seed x image and rest": (0, 1, 2, 3),
}
"""The random effects by the axes (architecture, loss, seed, image) they vary along; seeds are nested in networks."""


class Component(NamedTuple):
    """One source: its variance, and its share of the sum of all."""

    name: str
    variance: float
    share: float


class Decomposition(NamedTuple):
    """Variance components of the score of single images.

    Attributes:
        components: Every source that can be told, in the order of TERMS.
        levels: How many architectures, losses, seeds and images the balanced part holds.
        dropped: What was left out to make it balanced, one sentence each.
    """

    components: tuple[Component, ...]
    levels: tuple[int, int, int, int]
    dropped: tuple[str, ...]


def components(values: NDArray[np.float64]) -> dict[str, float]:
    """Variance of every random effect, by the method of moments.

    The mean squares of a balanced design are set equal to their expectations and solved from the finest effect up.
    Effects along an axis with one level cannot be told from coarser ones and are left out.

    Args:
        values: float64 (architectures, losses, seeds, images), all defined.
    Returns:
        Name to variance, 0 where the estimate is negative, which says that it is too small to see.
    Source: Searle, Casella and McCulloch 1992, Variance Components, ch. 4 (balanced data).
    """
    axes = [axis for axis, levels in enumerate(values.shape) if levels > 1]
    terms = {kept: name for name, term in TERMS.items() if (kept := _kept(term, axes)) is not None}
    effects: dict[tuple[int, ...], NDArray[np.float64]] = {}
    degrees: dict[tuple[int, ...], int] = {}
    for term in sorted(terms, key=len):
        others = tuple(axis for axis in range(values.ndim) if axis not in term)
        inside = [one for one in effects if set(one) < set(term)]
        effects[term] = values.mean(axis=others, keepdims=True) - values.mean() - sum(effects[one] for one in inside)
        degrees[term] = int(np.prod([values.shape[axis] for axis in term])) - 1 - sum(degrees[one] for one in inside)
    found: dict[tuple[int, ...], float] = {}
    for term in sorted(terms, key=len, reverse=True):
        each = values.size / float(np.prod([values.shape[axis] for axis in term]))
        square = each * float((effects[term] ** 2).sum()) / degrees[term]
        above = sum(variance * _each(values, one) for one, variance in found.items() if set(term) < set(one))
        found[term] = (square - above) / each
    return {
        terms[term]: max(found[term], 0.0) for term in sorted(terms, key=lambda term: list(TERMS).index(terms[term]))
    }


def decompose(runs: Mapping[tuple[str, str, int], NDArray[np.float64]]) -> Decomposition | None:
    """The shares of the largest balanced part of a matrix; None where fewer than two runs or images are left.

    Args:
        runs: By architecture, loss and seed the score of each image, float64 (images,), NaN where undefined; all on
            the same images in the same order.
    """
    architectures, losses, seeds, dropped = _balanced(list(runs))
    if len(architectures) * len(losses) * len(seeds) < 2:
        return None
    values = np.array([[[runs[a, loss, seed] for seed in seeds] for loss in losses] for a in architectures])
    defined = np.isnan(values).sum(axis=(0, 1, 2)) == 0
    if defined.sum() < 2:
        return None
    if not defined.all():
        dropped.append(f"{int((~defined).sum())} of {len(defined)} images, undefined for some network")
    values = values[..., defined]
    found = components(values)
    total = sum(found.values())
    parts = [Component(name, one, one / total if total > 0 else 0.0) for name, one in found.items()]
    if len(seeds) < 2:
        dropped.append("seeds: there is one per network, so its effect is part of the interactions")
    return Decomposition(
        tuple(parts), (len(architectures), len(losses), len(seeds), int(defined.sum())), tuple(dropped)
    )


def _kept(term: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of an effect that have several levels; None where the effect is one of coarser ones.

    A seed needs only its own axis: with one architecture and one loss it is an effect of its own.
    """
    own = tuple(axis for axis in term if axis in axes)
    if 2 in term:
        return own if 2 in axes else None
    return own if own == term else None


def _each(values: NDArray[np.float64], term: tuple[int, ...]) -> float:
    """How many values share one level of an effect."""
    return values.size / float(np.prod([values.shape[axis] for axis in term]))


def _balanced(keys: Sequence[tuple[str, str, int]]) -> tuple[list[str], list[str], list[int], list[str]]:
    """Architectures, losses and seeds of which every combination is there, and what was left out for that.

    The architecture or loss that lacks the most is left out until nothing is missing.
    """
    there = set(keys)
    axes: list[list] = [list(dict.fromkeys(key[axis] for key in keys)) for axis in range(3)]
    dropped: list[str] = []
    while True:
        absent = [(a, b, c) for a in axes[0] for b in axes[1] for c in axes[2] if (a, b, c) not in there]
        if not absent:
            return axes[0], axes[1], axes[2], dropped
        lacking = chain.from_iterable(((axis, level) for level in axes[axis]) for axis in range(3))
        axis, worst = max(lacking, key=lambda one: sum(key[one[0]] == one[1] for key in absent) / _size(axes, one[0]))
        axes[axis].remove(worst)
        dropped.append(f"{('architecture', 'loss', 'seed')[axis]} {worst}, which lacks a score somewhere")


def _size(axes: Sequence[Sequence[object]], axis: int) -> int:
    """How many combinations hold one level of an axis."""
    return int(np.prod([len(levels) for at, levels in enumerate(axes) if at != axis]))
