"""What ours is compared with: the script that a competent user writes, and the bare step that no training can beat.

The script reads every picture anew in every epoch, brings it to the training size, mirrors it at random, and asks
segmentation-models-pytorch for network, loss and scores, batch by batch, in training and in validation alike.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench import catalog, losses, networks, train
from bench.data import Resident, normalise
from bench.forward import Forward
from bench.records import Execution
from bench.specs import MEAN, STD, Recipe

Pair = tuple[Path, Path]


class Pictures(Dataset):
    """Pictures and their masks from files, or, when they are kept, from memory."""

    def __init__(self, pairs: Sequence[Pair], size: int, *, keep: bool = False, mirror: bool = True) -> None:
        self.pairs, self.size, self.mirror = pairs, size, mirror
        self.kept = [self.read(at) for at in range(len(pairs))] if keep else None

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """Decode and resize: image uint8 (S, S, 3), mask uint8 (S, S) of 0 and 1."""
        image, mask = (Image.open(path) for path in self.pairs[at])
        size = (self.size, self.size)
        small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        labels = mask.convert("L").resize(size, Image.Resampling.NEAREST)
        return np.asarray(small), (np.asarray(labels) > 127).astype(np.uint8)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        image, mask = self.read(at) if self.kept is None else self.kept[at]
        scaled = (image.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        for axis in (0, 1):
            if self.mirror and random.random() < 0.5:
                scaled, mask = np.flip(scaled, axis), np.flip(mask, axis)
        return torch.from_numpy(scaled.transpose(2, 0, 1).copy()), torch.from_numpy(mask.astype(np.int64))


def shrunk(pairs: Sequence[Pair], size: int, folder: Path) -> list[Pair]:
    """The same pictures as PNG files of the training size: what a script gains from when it does this beforehand."""
    made, pictures = [], Pictures(pairs, size)
    for at in range(len(pairs)):
        made.append((folder / f"{at}-image.png", folder / f"{at}-mask.png"))
        for path, pixels, factor in zip(made[-1], pictures.read(at), (1, 255), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels * np.uint8(factor)).save(path)
    return made


class Script:
    """The loop around it, as it stands in most repositories; fp32, and batches as the loader gives them."""

    def __init__(
        self, network: nn.Module, pictures: Dataset, *, batch: int = 8, device: str = "cpu", loaders: int = 0
    ) -> None:
        import segmentation_models_pytorch as smp

        self.network = copy.deepcopy(network).to(device, memory_format=torch.contiguous_format)
        self.metrics, self.device = smp.metrics, device
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.dice, self.entropy = smp.losses.DiceLoss("multiclass"), nn.CrossEntropyLoss()
        self.training = DataLoader(pictures, batch_size=batch, shuffle=True, num_workers=loaders)
        self.validation = DataLoader(pictures, batch_size=batch, num_workers=loaders)

    def train(self) -> float:
        """One epoch; its throughput [images/s]."""
        self.network.train()
        began, seen, running, scores = time.perf_counter(), 0, 0.0, []
        for images, masks in self._batches(self.training):
            self.optimiser.zero_grad()
            logits = self.network(images)
            loss = self.dice(logits, masks) + self.entropy(logits, masks)
            loss.backward()
            self.optimiser.step()
            running += loss.item() * len(images)
            scores.append(self._score(logits.detach(), masks))
            seen += len(images)
        return seen / (time.perf_counter() - began)

    def validate(self) -> float:
        """One pass without training; its throughput [images/s]."""
        self.network.eval()
        began, seen, running, scores = time.perf_counter(), 0, 0.0, []
        with torch.no_grad():
            for images, masks in self._batches(self.validation):
                logits = self.network(images)
                running += (self.dice(logits, masks) + self.entropy(logits, masks)).item() * len(images)
                scores.append(self._score(logits, masks))
                seen += len(images)
        return seen / (time.perf_counter() - began)

    def _batches(self, loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
        for images, masks in loader:
            yield images.to(self.device), masks.to(self.device)

    def _score(self, logits: Tensor, masks: Tensor) -> float:
        stats = self.metrics.get_stats(logits.argmax(dim=1), masks, mode="multiclass", num_classes=logits.shape[1])
        return self.metrics.iou_score(*stats, reduction="macro").item()


def network(architecture: str) -> tuple[nn.Module, int]:
    """A network for two classes, always with the same weights, and its divisor."""
    return networks.build(architecture, 2, seed=0), catalog.architecture(architecture)[0].divisor


def forward(architecture: str, precision: str = "fp32", batch: int = 8) -> Forward:
    """A network of its own, run in the layout that ours has where nothing is measured."""
    built, divisor = network(architecture)
    return Forward(built, divisor, Execution(precision=precision, micro_batch=batch))


class Bare:
    """Steps on one batch that is there already: forward, loss, backward, update; no data, no scores, no clipping."""

    def __init__(self, forward: Forward, pairs: Resident, recipe: Recipe) -> None:
        self.forward, self.loss = forward, losses.build("dice+ce")
        self.optimiser = train.optimiser(forward.network, recipe, 1e-3)
        self.images, self.masks = normalise(pairs.images[: recipe.batch]), pairs.masks[: recipe.batch].long()

    def train(self, steps: int) -> float:
        """So many steps; their throughput [images/s]."""
        self.forward.network.train()
        began = time.perf_counter()
        for _ in range(steps):
            self.optimiser.zero_grad(set_to_none=True)
            self.loss(self.forward(self.images), self.masks).backward()
            self.optimiser.step()
        return steps * len(self.images) / (time.perf_counter() - began)

    @torch.inference_mode()
    def infer(self, passes: int) -> float:
        """So many passes forward; their throughput [images/s]."""
        self.forward.network.eval()
        began = time.perf_counter()
        for _ in range(passes):
            self.forward(self.images)
        return passes * len(self.images) / (time.perf_counter() - began)


def rate(work: Callable[[], object], images: int) -> float:
    """Throughput of something that treats so many images [images/s]."""
    began = time.perf_counter()
    work()
    return images / (time.perf_counter() - began)
