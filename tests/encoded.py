"""Pictures that say what their mask is, so that an augmented image can be checked against its augmented mask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data import Resident, resident
from bench.specs import IGNORE

STEP = 20
"""Grey levels between two classes in the red channel."""


def encoded(count: int = 7, size: tuple[int, int] = (24, 40), classes: int = 5, block: int = 8) -> Resident:
    """Pictures whose red channel is their mask times `STEP`, whose green is their number; blocks, all of them different."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, classes, (count, size[0] // block, size[1] // block)).astype(np.uint8)
    masks = blocks.repeat(block, axis=1).repeat(block, axis=2)
    images = np.zeros((count, *size, 3), np.uint8)
    images[..., 0] = masks * STEP
    images[..., 1] = np.arange(count, dtype=np.uint8)[:, None, None] * 30
    return resident(images, masks, range(count), torch.device("cpu"))


def inside(masks: Tensor, margin: int = 2) -> Tensor:
    """Pixels of masks (N, H, W) whose surroundings are all of one class, so that blending cannot have changed them."""
    numbers = masks[:, None].float()
    high = torch.nn.functional.max_pool2d(numbers, 2 * margin + 1, 1, margin)
    low = -torch.nn.functional.max_pool2d(-numbers, 2 * margin + 1, 1, margin)
    sure = ((high == low) & (numbers != IGNORE))[:, 0]
    framed = torch.zeros_like(sure)  # what lies behind the frame is not known
    framed[:, margin:-margin, margin:-margin] = sure[:, margin:-margin, margin:-margin]
    return framed
