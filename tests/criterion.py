"""A small batch for losses: logits, targets, and the pixels of a training split that class weights come from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.specs import IGNORE

CLASSES = 4
PIXELS = np.array([[60, 20, 15, 5], [80, 0, 18, 2], [70, 30, 0, 0]])


def batch(
    seed: int = 0, ignored: float = 0.0, size: tuple[int, int, int] = (3, 5, 6), classes: int = CLASSES
) -> tuple[Tensor, Tensor]:
    """Logits float64 and a target in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size[0], classes, *size[1:], generator=generator, dtype=torch.float64)
    target = torch.randint(classes, size, generator=generator)
    return logits, target.masked_fill(torch.rand(size, generator=generator) < ignored, IGNORE)


def saturated(target: Tensor, classes: int = CLASSES) -> Tensor:
    """Logits that are as sure of the target as logits can be."""
    truth = functional.one_hot(target.masked_fill(target == IGNORE, 0), classes).movedim(-1, 1).float()
    return 1e4 * (2 * truth - 1)
