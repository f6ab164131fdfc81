"""Predictions to counts: one integer matrix, true class by predicted class, per test image at its native size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from bench import thumbnails, train
from bench.data import normalise
from bench.device import synchronise
from bench.fit import Window, join, windows
from bench.forward import Forward
from bench.prepare import Entry, Prepared
from bench.specs import Recipe

SHOWN = 4
"""Test images that all cells of a data set are shown side by side on."""
KEPT = 200
"""Test images whose prediction is kept as a picture, for the best, the worst and the doubtful ones to be found."""


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each true class (row) that were called each class (column); ignored pixels are left out.

    Args:
        truth: uint8 (H, W), IGNORE where a pixel does not count.
        predicted: uint8 (H, W), every value below `classes`.
    Returns:
        int64 (classes, classes) [pixels].
    """
    # a map of a file is read-only, which torch does not know: that is copied
    one, other = (torch.from_numpy(np.require(labels, requirements="W")) for labels in (truth, predicted))
    return train.confusion(one, other, classes).numpy()


class Prediction(NamedTuple):
    """One image at native size: the class map uint8 (H, W), and the probabilities float32 (C, H, W) where asked for."""

    labels: np.ndarray
    probabilities: np.ndarray | None


def predict(
    forward: Forward,
    images: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    *,
    recipe: Recipe,
    device: torch.device,
    rows: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """The class maps alone, uint8 (height, width) for each image, in order; arguments as `predictions`."""
    found = predictions(forward, images, sizes, recipe=recipe, device=device, rows=rows, soft=False)
    return (one.labels for one in found)


@torch.inference_mode()
def predictions(
    forward: Forward,
    images: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    *,
    recipe: Recipe,
    device: torch.device,
    rows: Sequence[int] | None = None,
    soft: bool = True,
) -> Iterator[Prediction]:
    """Predictions at native size: logits at training size, brought up bilinearly, then the largest one.

    Args:
        forward: A network on the device, and how it is run.
        images: uint8 (N, H, W, 3) at training size: the windows of each image, one after another.
        sizes: The native sizes (height, width) of the images.
        recipe: How the images came to the training size.
        device: Where the network is.
        rows: Which of the N are the windows of these images; None for all.
        soft: Whether the probabilities, the softmax of the logits brought up, are wanted too.
    Yields:
        One prediction for each image, in order; one image at a time is held.
    """
    forward.network.eval()
    rows, at_once = range(len(images)) if rows is None else rows, forward.execution.micro_batch
    todo = iter([window for size in sizes for window in windows(size, recipe)])
    whole, pieces = iter(sizes), list[tuple[Window, Prediction]]()
    size = next(whole, None)
    for start in range(0, len(rows), at_once):
        batch = torch.from_numpy(np.ascontiguousarray(images[list(rows[start : start + at_once])])).to(device)
        for one in forward(normalise(batch)):
            window = next(todo)
            pieces.append((window, _at_native(one, window, soft=soft)))
            if size is not None and len(pieces) == len(windows(size, recipe)):
                yield _joined(size, pieces, soft=soft)
                pieces, size = [], next(whole, None)


@torch.inference_mode()
def throughput(forward: Forward, recipe: Recipe, device: torch.device) -> float:
    """Images per second of inference at training size: the median of five passes, after two to warm up [images/s]."""
    forward.network.eval()
    count, seconds = forward.execution.micro_batch, list[float]()
    images = torch.zeros(count, *recipe.size, 3, dtype=torch.uint8, device=device)
    for _ in range(7):
        synchronise(device)
        began = time.perf_counter()
        forward(normalise(images)).max(dim=1)
        synchronise(device)
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds[2:])


def _joined(size: tuple[int, int], pieces: Sequence[tuple[Window, Prediction]], *, soft: bool) -> Prediction:
    """The prediction of a native image, out of those of its windows."""
    labels = join(size, [(window, piece.labels) for window, piece in pieces])
    maps = [(window, piece.probabilities) for window, piece in pieces if piece.probabilities is not None]
    return Prediction(labels, join(size, maps) if soft else None)


def _at_native(logits: torch.Tensor, window: Window, *, soft: bool) -> Prediction:
    """The prediction of a window at its native size, from logits (C, H, W) at training size; padding cut off."""
    inner = logits[(slice(None), *window.inside)]
    if not soft:
        return Prediction(_labels(inner, window.native).cpu().numpy(), None)
    if inner.shape[-2:] != window.native:
        inner = functional.interpolate(inner[None], size=window.native, mode="bilinear", align_corners=False)[0]
    labels = inner.max(dim=0).indices.to(torch.uint8).cpu().numpy()
    return Prediction(labels, inner.softmax(dim=0).cpu().numpy())


def _labels(logits: torch.Tensor, native: tuple[int, int]) -> torch.Tensor:
    """The class with the largest logit, brought up to native size: uint8 (h, w) of logits (C, H, W)."""
    if logits.shape[-2:] == native:
        return logits.max(dim=0).indices.to(torch.uint8)
    # one class after another, as what it has more than class 0: several times less to bring up and to move than all
    margins = (logits[1:] - logits[:1]).contiguous()
    largest = torch.zeros(native, device=logits.device)
    labels = torch.zeros(native, dtype=torch.uint8, device=logits.device)
    for label, margin in enumerate(margins, 1):
        large = functional.interpolate(margin[None, None], size=native, mode="bilinear", align_corners=False)
        labels = torch.maximum(labels, (large[0, 0] > largest).to(torch.uint8) * label)
        largest = torch.maximum(largest, large[0, 0])
    return labels


def chosen(entries: Sequence[Entry], positions: Sequence[int], count: int = SHOWN) -> list[int]:
    """The images that show most: each one brings the most classes not seen yet; ties by order."""
    left, seen, picked = list(positions), set[int](), list[int]()
    while left and len(picked) < count:
        new = [{label for label, pixels in enumerate(entries[at].pixels) if pixels} - seen for at in left]
        best = max(range(len(left)), key=lambda place: len(new[place]))
        seen = seen | new[best] if new[best] else set()
        picked.append(left.pop(best))
    return picked


def kept(entries: Sequence[Entry], positions: Sequence[int], count: int = KEPT) -> list[int]:
    """The images whose pictures are kept: the chosen ones, then others spread evenly over the rest."""
    first = chosen(entries, positions, min(count, SHOWN))
    rest = [position for position in positions if position not in first]
    more = min(count - len(first), len(rest))
    return first + [rest[place] for place in thumbnails.places(len(rest), more)] if more > 0 else first


def examples(prepared: Prepared, positions: Iterable[int]) -> dict[str, np.ndarray]:
    """Small images and true masks of some samples, as they are stored.

    Returns:
        `image0` a JPEG, uint8 (bytes,), `truth0` uint8 (H, W), `image1`, ..
    """
    arrays: dict[str, np.ndarray] = {}
    for number, position in enumerate(positions):
        image, mask = prepared.native(prepared.index.entries[position])
        arrays[f"image{number}"] = thumbnails.encoded(thumbnails.image(np.asarray(image)))
        arrays[f"truth{number}"] = thumbnails.mask(np.asarray(mask))
    return arrays
