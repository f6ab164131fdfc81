"""Prepared arrays to batches on the device, augmented there; image and mask always move together."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench import augment as augmentation
from bench.presets import Augment
from bench.specs import MEAN, STD

AHEAD = 2
"""Batches that are read before they are asked for, where data are streamed."""

Batch = tuple[Tensor, Tensor]


class Pairs(Protocol):
    """Images and masks of equal size that batches are made of, wherever they lie."""

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def batches(self, order: Tensor, count: int) -> Iterator[Batch]:
        """So many batches of the pairs in an order int64 (N,): images uint8 (n, H, W, 3), masks uint8 (n, H, W).

        Batches differ by one in size at most.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resident:
    """Pairs that live on the device as bytes: images uint8 (N, H, W, 3), masks uint8 (N, H, W)."""

    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where they live."""
        return self.images.device

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.masks.shape[1], self.masks.shape[2]

    def batches(self, order: Tensor, count: int) -> Iterator[Batch]:
        """See `Pairs`."""
        for chosen in order.to(self.device).tensor_split(count):
            yield self.images[chosen], self.masks[chosen]


@dataclass(frozen=True, slots=True)
class Streamed:
    """Pairs too many for the device: read from the prepared arrays a few batches ahead, and copied while it computes.

    Attributes:
        images: uint8 (M, H, W, 3), memory-mapped.
        masks: uint8 (M, H, W), likewise.
        rows: Which of the M they are, int64 (N,).
    """

    images: np.ndarray
    masks: np.ndarray
    rows: np.ndarray
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.masks.shape[1], self.masks.shape[2]

    def batches(self, order: Tensor, count: int) -> Iterator[Batch]:
        """See `Pairs`."""
        groups = np.array_split(self.rows[order.numpy()], count)
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        coming = deque[Future[Batch]]()
        with ThreadPoolExecutor(1) as reader:
            for group in groups:
                coming.append(reader.submit(self._fetch, group, stream))
                if len(coming) > AHEAD:
                    yield _arrived(coming.popleft(), stream)
            while coming:
                yield _arrived(coming.popleft(), stream)

    def _fetch(self, rows: np.ndarray, stream: torch.cuda.Stream | None) -> Batch:
        """Read a batch, and on a GPU start to copy it, on a stream of its own."""
        held = []
        for array in (self.images, self.masks):
            tensor = torch.empty((len(rows), *array.shape[1:]), dtype=torch.uint8, pin_memory=stream is not None)
            np.take(array, rows, axis=0, out=tensor.numpy(), mode="clip")  # a mode that lets it write in place
            held.append(tensor)
        if stream is not None:
            with torch.cuda.stream(stream):
                held = [tensor.to(self.device, non_blocking=True) for tensor in held]
        return held[0], held[1]


def _arrived(coming: Future[Batch], stream: torch.cuda.Stream | None) -> Batch:
    """A batch that may be computed with: the device, not this process, waits for its copy."""
    batch = coming.result()
    if stream is not None:
        here = torch.cuda.current_stream(stream.device)
        here.wait_stream(stream)
        for tensor in batch:
            tensor.record_stream(here)
    return batch


def resident(images: np.ndarray, masks: np.ndarray, positions: Sequence[int], device: torch.device) -> Resident:
    """Copy some of the prepared pairs to the device."""
    return Resident(*(torch.from_numpy(np.asarray(array[list(positions)])).to(device) for array in (images, masks)))


def place(
    images: np.ndarray, masks: np.ndarray, positions: Sequence[int], device: torch.device, room: float
) -> Resident | Streamed:
    """Some of the prepared pairs: on the device when they fit into `room` [bytes], else streamed."""
    if len(positions) * (images[0].nbytes + masks[0].nbytes) <= room:
        return resident(images, masks, positions, device)
    return Streamed(images, masks, np.asarray(positions, np.int64), device)


def normalise(images: Tensor) -> Tensor:
    """Images (N, H, W, 3), 0 to 255, to float32 (N, 3, H, W) in channels_last, ImageNet's mean 0 and deviation 1."""
    count, height, width, channels = images.shape
    mean, std = (moment.repeat(width) for moment in _moments(images.device))
    rows = images.reshape(count, height, width * channels)  # whole rows: a CPU is slow on short axes
    scaled = (rows - mean).div_(std)
    return scaled.view(images.shape).permute(0, 3, 1, 2)


@functools.cache
@torch.inference_mode(mode=False)
def _moments(device: torch.device) -> tuple[Tensor, Tensor]:
    """Copied to the device once: a copy in every step would wait for the device."""
    return torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255


def ordered(pairs: Pairs, batch: int) -> Iterator[Batch]:
    """Every pair once, in order: images float32 (N, 3, H, W), masks uint8 (N, H, W)."""
    for images, masks in pairs.batches(torch.arange(len(pairs)), math.ceil(len(pairs) / batch)):
        yield normalise(images), masks


def parts(count: int, most: int) -> int:
    """Into how many parts so many images go, of at most so many each: one more rather than a part of a single one."""
    return max(1, min(math.ceil(count / most), count // 2 if most > 1 else count))


def shuffled(pairs: Pairs, batch: int, augment: Augment, *, seed: int, epoch: int) -> Iterator[Batch]:
    """One epoch in random order, augmented: images float32 (N, 3, H, W), masks int64 (N, H, W).

    The order depends on seed and epoch alone, what happens to a sample on seed, epoch and its position among the pairs.
    """
    (height, width), count = pairs.size, parts(len(pairs), batch)
    mixing, drawing = (torch.Generator().manual_seed(2 * (seed * 1_000_003 + epoch) + stream) for stream in (0, 1))
    order = torch.randperm(len(pairs), generator=mixing)
    amounts = augmentation.draw(augment, len(pairs), drawing, square=height == width, device=pairs.device)
    groups = order.to(pairs.device).tensor_split(count)
    for chosen, (images, masks) in zip(groups, pairs.batches(order, count), strict=True):
        images, masks = augmentation.apply(augment, images, masks, [values[chosen] for values in amounts])
        yield normalise(images), masks.long()
