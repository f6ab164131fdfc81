"""Cells with known noise: counts whose Dice varies by image, by seed and by both, on the logit scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.metrics import Counts


class World(NamedTuple):
    """Standard deviations on the logit scale, and the logit of a middling image's Dice.

    Larger images are easier, so that the data-set level and the image level have different truths.
    """

    middle: float = 2.2
    image: float = 0.8
    seed: float = 0.15
    rest: float = 0.3


def cells(world: World, generator: np.random.Generator, *, images: int, seeds: int, shifts: tuple[float, ...] = (0.0,)):
    """Counts of several networks on the same images: for each a list with one (images, 2, 2) per seed.

    Args:
        shifts: What is added to the Dice of each network, so that a difference is planted exactly.
    """
    ease = generator.normal(0, world.image, images)
    size = np.rint(20_000 * np.exp(generator.normal(0, 0.6, images) + 0.3 * ease)).astype(np.int64) + 50
    return [[_counts(_dice(world, ease, generator) + shift, size) for _ in range(seeds)] for shift in shifts]


def truth(world: World, *, seed: float | None = None, images: int = 1_000_000) -> tuple[float, float]:
    """The Dice on all images and over all seeds: of the summed pixels, and the mean over images."""
    generator = np.random.default_rng(99)
    ease = generator.normal(0, world.image, images)
    size = np.exp(generator.normal(0, 0.6, images) + 0.3 * ease)
    shared = generator.normal(0, world.seed, images) if seed is None else seed
    dice = _logistic(world.middle + ease + shared + generator.normal(0, world.rest, images))
    return float((size * dice).sum() / size.sum()), float(dice.mean())


def _dice(world: World, ease: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    shared = generator.normal(0, world.seed)
    return _logistic(world.middle + ease + shared + generator.normal(0, world.rest, len(ease)))


def _counts(dice: np.ndarray, size: np.ndarray) -> Counts:
    """As many pixels called cell as are cell, so that Dice is the share of them that is right."""
    hit = np.rint(np.clip(dice, 0, 1) * size).astype(np.int64)
    wrong = size - hit
    return np.stack([np.stack([9 * size, wrong], -1), np.stack([wrong, hit], -1)], -2)


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))
