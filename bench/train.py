"""One network, one learning rate, one budget: train, validate every epoch, keep the best epoch's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import metrics
from bench.data import Resident, ordered, shuffled
from bench.losses import Loss
from bench.presets import preset
from bench.specs import IGNORE, Budget, Epoch, Recipe, TrialStatus

Watch = Callable[[Epoch], bool]
"""Told about each epoch; answers whether to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a training leaves behind.

    Attributes:
        state: The weights of the best epoch, on the CPU.
        value: Validation mdice_d_fg of that epoch, in [0, 1]; 0 when training diverged before the first.
        best_epoch: 1-based; 0 when there is none.
    """

    state: dict[str, Tensor]
    value: float
    best_epoch: int
    history: tuple[Epoch, ...]
    status: TrialStatus


def fit(
    network: nn.Module,
    loss: Loss,
    train: Resident,
    val: Resident,
    *,
    classes: int,
    recipe: Recipe,
    budget: Budget,
    lr: float,
    seed: int,
    precision: torch.dtype,
    divisor: int,
    watch: Watch,
) -> Fit:
    """Train a network in place; see `Fit` for what comes back."""
    device = train.images.device
    torch.manual_seed(seed)  # for layers that draw, as dropout does: no training depends on the one before it
    network.to(device).to(memory_format=torch.channels_last)
    optimiser = _optimiser(network, recipe, lr, device)
    steps_per_epoch = math.ceil(len(train) / recipe.batch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(recipe, budget.epochs * steps_per_epoch))
    augment = preset(recipe.augment)
    state, value, best_epoch, history = weights(network), -1.0, 0, list[Epoch]()
    status, began = TrialStatus.COMPLETE, time.perf_counter()

    for epoch in range(1, budget.epochs + 1):
        network.train()
        total = torch.zeros((), device=device)
        for images, masks in shuffled(train, recipe.batch, augment, seed=seed, epoch=epoch):
            optimiser.zero_grad(set_to_none=True)
            step_loss = loss(forward(network, images, divisor, precision), masks)
            step_loss.backward()
            if recipe.clip > 0:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimiser.step()
            scheduler.step()
            total += step_loss.detach()  # stays on the device: no waiting for it in every step

        mean_loss = total.item() / steps_per_epoch
        finite = math.isfinite(mean_loss)
        score = validate(network, val, classes, recipe.batch, divisor, precision) if finite else None
        seconds = time.perf_counter() - began
        history.append(Epoch(epoch=epoch, loss=mean_loss if finite else None, value=score, seconds=seconds))
        if score is None:
            status = TrialStatus.DIVERGED
            break
        if score > value:
            state, value, best_epoch = weights(network), score, epoch
        if watch(history[-1]) and epoch < budget.epochs:  # a training that has ended cannot be stopped
            status = TrialStatus.STOPPED
            break
        if _exhausted(recipe, budget, epoch - best_epoch, seconds):
            break

    return Fit(state=state, value=max(value, 0.0), best_epoch=best_epoch, history=tuple(history), status=status)


def forward(network: nn.Module, images: Tensor, divisor: int, precision: torch.dtype) -> Tensor:
    """Logits float32 (N, C, H, W) of images (N, 3, H, W) of any size: padded to the divisor, cropped back."""
    height, width = images.shape[-2:]
    below, right = -height % divisor, -width % divisor
    if below or right:
        images = functional.pad(images, (0, right, 0, below), mode="replicate")
    with torch.autocast(images.device.type, precision, enabled=precision is not torch.float32):
        logits = network(images)
    return logits[..., :height, :width].float()


@torch.inference_mode()
def validate(
    network: nn.Module, pairs: Resident, classes: int, batch: int, divisor: int, precision: torch.dtype
) -> float:
    """mdice_d_fg of a network on pairs at training size, in [0, 1]; 0 where no foreground class occurs."""
    network.eval()
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=pairs.images.device)
    for images, masks in ordered(pairs, batch):
        predicted = forward(network, images, divisor, precision).argmax(dim=1)
        valid = masks != IGNORE
        counts += torch.bincount(masks[valid].long() * classes + predicted[valid], minlength=classes * classes)
    matrices = counts.cpu().numpy().reshape(1, classes, classes)
    value = float(metrics.DEFAULT.metrics["mdice_d_fg"].compute(matrices))
    return 0.0 if np.isnan(value) else value


def weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the state of a network, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def _optimiser(network: nn.Module, recipe: Recipe, lr: float, device: torch.device) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimiser]
    return kind(parameters, lr, weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda"))


def _schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Factor on the rate at each step: a linear rise, then level or half a cosine down to 1%."""
    warmup = max(1, round(recipe.warmup * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if recipe.schedule == "constant":
            return 1.0
        progress = (step - warmup) / max(1, steps - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    return factor


def _exhausted(recipe: Recipe, budget: Budget, epochs_since_best: int, seconds: float) -> bool:
    impatient = recipe.patience is not None and epochs_since_best >= recipe.patience
    return impatient or (budget.seconds is not None and seconds >= budget.seconds)
