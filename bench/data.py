"""Prepared arrays to batches on the device, augmented there; image and mask always move together."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench import augment as augmentation
from bench.presets import Augment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for every network alike


@dataclass(frozen=True, slots=True)
class Resident:
    """Pairs that live on the device as bytes: images uint8 (N, H, W, 3), masks uint8 (N, H, W)."""

    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)


def resident(images: np.ndarray, masks: np.ndarray, positions: Sequence[int], device: torch.device) -> Resident:
    """Copy some of the prepared pairs to the device."""
    return Resident(*(torch.from_numpy(np.asarray(array[list(positions)])).to(device) for array in (images, masks)))


def normalise(images: Tensor) -> Tensor:
    """Images (N, H, W, 3), 0 to 255, to float32 (N, 3, H, W) in channels_last, ImageNet's mean 0 and deviation 1."""
    count, height, width, channels = images.shape
    mean, std = (moment.repeat(width) for moment in _moments(images.device))
    scaled = (images.reshape(count, height, width * channels) - mean) / std  # whole rows: a CPU is slow on short axes
    return scaled.view(images.shape).permute(0, 3, 1, 2)


@functools.cache
@torch.inference_mode(mode=False)
def _moments(device: torch.device) -> tuple[Tensor, Tensor]:
    """Copied to the device once: a copy in every step would wait for the device."""
    return torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255


def ordered(pairs: Resident, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every pair once, in order: images float32 (N, 3, H, W), masks uint8 (N, H, W)."""
    for start in range(0, len(pairs), batch):
        yield normalise(pairs.images[start : start + batch]), pairs.masks[start : start + batch]


def shuffled(
    pairs: Resident, batch: int, augment: Augment, *, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order, augmented: images float32 (N, 3, H, W), masks int64 (N, H, W).

    The order depends on seed and epoch alone, what happens to a sample on seed, epoch and its position among the pairs.
    The batches of an epoch differ by one in size at most, so that none is a lone remainder.
    """
    device, (height, width) = pairs.images.device, pairs.masks.shape[1:]
    mixing, drawing = (torch.Generator().manual_seed(2 * (seed * 1_000_003 + epoch) + stream) for stream in (0, 1))
    order = torch.randperm(len(pairs), generator=mixing).to(device)
    amounts = augmentation.draw(augment, len(pairs), drawing, square=height == width, device=device)
    for chosen in order.tensor_split(math.ceil(len(pairs) / batch)):
        drawn = [values[chosen] for values in amounts]
        images, masks = augmentation.apply(augment, pairs.images[chosen], pairs.masks[chosen], drawn)
        yield normalise(images), masks.long()
