"""Predictions to counts: one integer matrix, true class by predicted class, per test image at its native size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.data import normalise
from bench.prepare import Entry, Prepared, resize
from bench.specs import IGNORE, Recipe
from bench.train import forward

THUMBNAIL = 256  # longer edge of the example pictures [pixels]


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each true class (row) that were called each class (column); ignored pixels are left out.

    Args:
        truth: uint8 (H, W), IGNORE where a pixel does not count.
        predicted: uint8 (H, W), every value below `classes`.
    Returns:
        int64 (classes, classes) [pixels].
    """
    valid = truth != IGNORE
    joint = truth[valid].astype(np.int64) * classes + predicted[valid]
    return np.bincount(joint, minlength=classes * classes).reshape(classes, classes)


@torch.inference_mode()
def predict(
    network: nn.Module,
    images: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    *,
    recipe: Recipe,
    divisor: int,
    precision: torch.dtype,
    device: torch.device,
) -> Iterator[np.ndarray]:
    """Class maps at native size: logits at training size, brought up bilinearly, then the largest one.

    Args:
        images: uint8 (N, H, W, 3) at training size.
        sizes: The N native sizes (height, width).
    Yields:
        uint8 (height, width) for each image, in order.
    """
    network.eval()
    for start in range(0, len(images), recipe.batch):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + recipe.batch])).to(device)
        logits = forward(network, normalise(batch), divisor, precision)
        for one, size in zip(logits, sizes[start : start + recipe.batch], strict=True):
            native = functional.interpolate(one[None], size=size, mode="bilinear", align_corners=False)
            yield native.max(dim=1).indices[0].to(torch.uint8).cpu().numpy()


def chosen(entries: Sequence[Entry], positions: Sequence[int], count: int = 4) -> list[int]:
    """The test images that cells are shown on: each one brings the most classes not seen yet; ties by order."""
    left, seen, picked = list(positions), set[int](), list[int]()
    while left and len(picked) < count:
        new = [{label for label, pixels in enumerate(entries[at].pixels) if pixels} - seen for at in left]
        best = max(range(len(left)), key=lambda place: len(new[place]))
        seen = seen | new[best] if new[best] else set()
        picked.append(left.pop(best))
    return picked


def thumbnails(prepared: Prepared, positions: Iterable[int]) -> dict[str, np.ndarray]:
    """Small images and true masks of some samples: `image0` uint8 (H, W, 3), `truth0` uint8 (H, W), `image1`, .."""
    arrays: dict[str, np.ndarray] = {}
    for number, position in enumerate(positions):
        image, mask = prepared.native(prepared.index.entries[position])
        arrays[f"image{number}"], arrays[f"truth{number}"] = resize(image, mask, thumbnail_size(mask))
    return arrays


def thumbnail_size(mask: np.ndarray) -> tuple[int, int]:
    """The size of an example picture (height, width): the longer edge is THUMBNAIL, or as it is when smaller."""
    factor = min(1.0, THUMBNAIL / max(mask.shape))
    return max(1, round(mask.shape[0] * factor)), max(1, round(mask.shape[1] * factor))
