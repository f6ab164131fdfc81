"""A network that learns four pictures by heart: what most checks of an architecture look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import catalog, losses, networks, prepare, train
from bench.data import Resident, normalise
from bench.forward import Forward
from bench.records import Execution
from bench.specs import Recipe

SMEAR = "smear[seed=1,size=80,test=1,train=4,val=1]"
CLASSES, STEPS, LEARNED = 10, 250, 0.95
RECIPE = Recipe(optimiser="adam", weight_decay=0.0, precision="fp32")


def plain(network: nn.Module, divisor: int) -> Forward:
    """A network that is run in fp32, eagerly."""
    return Forward(network, divisor, Execution(precision="fp32", micro_batch=4))


def pictures(size: int, data_home: Path) -> Resident:
    """Four pictures of the smear data set: the background and five kinds of cells."""
    prepared = prepare.prepare(SMEAR, data_home)
    images, masks, _ = prepared.resized(Recipe(size=(size, size)))
    rows = prepared.split(0, 1)["train"]
    return Resident(torch.from_numpy(np.array(images[rows])), torch.from_numpy(np.array(masks[rows])))


@dataclass(frozen=True, slots=True)
class Learned:
    """A network that has learned a few pictures by heart, in evaluation mode."""

    name: str
    network: nn.Module
    divisor: int
    pairs: Resident

    @property
    def images(self) -> Tensor:
        """As the network is given them: float32 (4, 3, size, size)."""
        return normalise(self.pairs.images)

    def dice(self, images: Tensor | None = None) -> float:
        """Mean Dice over the kinds of cells; of other images uint8 (4, size, size, 3) for the same masks."""
        pairs = Resident(self.pairs.images if images is None else images, self.pairs.masks)
        return train.validate(plain(self.network, self.divisor), pairs, CLASSES, batch=4)[0]

    def logits(self, **how: Any) -> Tensor:
        """Of the pictures, run in fp32, eagerly, in channels_last, or as is said."""
        execution = replace(Execution(precision="fp32", micro_batch=4), **how)
        with torch.inference_mode():
            return Forward(self.network.eval(), self.divisor, execution)(self.images)


def learn(name: str, pairs: Resident, rate: float) -> Learned:
    """A network after it has learned the pictures, or has used up its steps."""
    size, divisor = pairs.images.shape[1], catalog.architecture(name)[0].divisor
    found = Learned(name, networks.build(name, CLASSES, seed=0), divisor, pairs)
    step = trainer(found.network, divisor, pairs, rate)
    padded = nn.functional.pad(found.images, (0, -size % divisor) * 2, mode="replicate")
    for number in range(1, STEPS + 1):
        found.network.train()
        step()
        if number % 10 == 0:
            settle(found.network, padded)
            if found.dice() > LEARNED:
                break
    return found


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> None:
    """Replace running statistics, which lag behind fast training, by those of these images; to evaluation mode."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean, of one batch
        layer.train()
    network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


def trainer(network: nn.Module, divisor: int, pairs: Resident, rate: float) -> Callable[[], Tensor]:
    """What takes one step of training on all pictures, and gives the loss."""
    forward, loss = plain(network, divisor), losses.build("dice+ce")
    optimiser = train.optimiser(network, RECIPE, rate)
    images, masks = normalise(pairs.images), pairs.masks.long()
    return lambda: train.step(forward, loss, optimiser, images, masks, RECIPE)
