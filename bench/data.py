"""Prepared arrays to batches on the device, augmented there; image and mask always move together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.presets import Augment
from bench.specs import IGNORE

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
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W) in channels_last, ImageNet's mean 0 and deviation 1."""
    mean, std = (torch.tensor(values, device=images.device) * 255 for values in (MEAN, STD))
    scaled = ((images - mean) / std).permute(0, 3, 1, 2)
    return scaled.contiguous(memory_format=torch.channels_last)  # a copy only where mirroring left another layout


def ordered(pairs: Resident, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every pair once, in order: images float32 (N, 3, H, W), masks uint8 (N, H, W)."""
    for start in range(0, len(pairs), batch):
        yield normalise(pairs.images[start : start + batch]), pairs.masks[start : start + batch]


def shuffled(
    pairs: Resident, batch: int, augment: Augment, *, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order, augmented: images float32 (N, 3, H, W), masks int64 (N, H, W).

    Order and amounts depend on the seed and the epoch alone; amounts are drawn per sample, not per place in a batch.
    The batches of an epoch differ by one in size at most, so that none is a lone remainder.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(pairs), generator=generator)
    amounts = torch.rand(len(pairs), 8, generator=generator).to(pairs.images.device)
    for chosen in order.tensor_split(math.ceil(len(pairs) / batch)):
        chosen = chosen.to(pairs.images.device)
        images, masks = _mirror(pairs.images[chosen], pairs.masks[chosen], amounts[chosen], augment)
        inputs, targets = normalise(_recolour(images, amounts[chosen], augment)), masks.long()
        yield _move(inputs, targets, amounts[chosen], augment)


def _mirror(images: Tensor, masks: Tensor, amounts: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
    """Flip each pair along either axis, and transpose it when it is square, each with probability 1/2."""
    if not augment.mirror:
        return images, masks
    axes = [(0, lambda pairs: pairs.flip(1)), (1, lambda pairs: pairs.flip(2))]
    if images.shape[1] == images.shape[2]:
        axes.append((2, lambda pairs: pairs.transpose(1, 2)))
    for column, operation in axes:
        chosen = amounts[:, column] < 0.5
        images = torch.where(chosen[:, None, None, None], operation(images), images)
        masks = torch.where(chosen[:, None, None], operation(masks), masks)
    return images, masks


def _recolour(images: Tensor, amounts: Tensor, augment: Augment) -> Tensor:
    """Brightness, contrast and saturation of images (N, H, W, 3), each by its own factor; stays in 0 to 255."""
    if augment.colour == 0:
        return images
    images = images.float()
    brightness, contrast, saturation = (1 + augment.colour * (2 * amounts[:, 3:6] - 1)).T[:, :, None, None, None]
    images = images * brightness
    images = (images - images.mean(dim=(1, 2, 3), keepdim=True)) * contrast + images.mean(dim=(1, 2, 3), keepdim=True)
    grey = images.mean(dim=3, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 255)


def _move(inputs: Tensor, targets: Tensor, amounts: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
    """Turn and zoom images (N, 3, H, W) and masks (N, H, W) on one grid; what comes from outside is ignored."""
    if augment.turn == 0 and augment.zoom == 1:
        return inputs, targets
    height, width = inputs.shape[-2:]
    angle = math.radians(augment.turn) * (2 * amounts[:, 6] - 1)
    scale = augment.zoom ** (2 * amounts[:, 7] - 1)
    cosine, sine, zero = angle.cos() * scale, angle.sin() * scale, torch.zeros_like(angle)
    rows = [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
    grid = functional.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(inputs.shape), align_corners=False)
    moved = functional.grid_sample(inputs, grid, padding_mode="border", align_corners=False)
    marked = functional.grid_sample((targets[:, None] + 1).float(), grid, mode="nearest", align_corners=False)
    labels = marked[:, 0].long() - 1  # what grid_sample filled with 0 is now -1
    return moved.contiguous(memory_format=torch.channels_last), labels.masked_fill(labels < 0, IGNORE)
