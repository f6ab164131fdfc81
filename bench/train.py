"""One network, one learning rate, one budget: train, validate every epoch, keep the best epoch's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from bench import metrics
from bench.data import Pairs, ordered, parts, shuffled
from bench.forward import Forward
from bench.looks import Looks, epochs
from bench.losses import Loss
from bench.presets import preset
from bench.records import Epoch, Execution, TrialStatus
from bench.specs import Budget, Recipe

Watch = Callable[[Epoch, float | None], bool]
"""Told about each epoch and the throughput of its training [images/s]; answers whether to stop."""

See = Callable[[int, Tensor], None]
"""Shown a batch of class maps (n, H, W), and the place of the first one among the validation images."""

RUNAWAY = 10.0
"""An epoch whose loss becomes so many times what it was in its first step, and so many at least, has diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a training leaves behind.

    Attributes:
        state: The weights of the best epoch, on the CPU.
        value: Validation mdice_d_fg of that epoch, in [0, 1]; 0 when training diverged before the first.
        best_epoch: 1-based; 0 when there is none.
        images_s: Training throughput, the median over the epochs [images/s]; None when no epoch was finished.
        execution: How the network was run.
        looks: Class maps uint8 (watched, h, w) of the watched validation images, by epoch; thumbnails, on the CPU.
    """

    state: dict[str, Tensor]
    value: float
    best_epoch: int
    history: tuple[Epoch, ...]
    status: TrialStatus
    images_s: float | None
    execution: Execution
    looks: Mapping[int, Tensor] = field(default_factory=dict[int, Tensor])


@dataclass(slots=True)
class Training:
    """A training under way: all that the next epoch depends on, and so what a checkpoint holds.

    Attributes:
        best: The weights of the best epoch so far, on the CPU; the initial ones before there is one.
        execution: How the network is run.
        value: The validation score of that epoch; -1 before there is one.
        collapsed: Whether that epoch's network calls every validation pixel the same class.
        level: What the schedule's steps have made of the rate so far.
        level_since: The last epoch in which `level` changed.
        seconds: Time spent so far [s].
        speeds: Throughput of each epoch's training [images/s].
        looks: See `Fit`.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    execution: Execution
    value: float = -1.0
    best_epoch: int = 0
    collapsed: bool = False
    level: float = 1.0
    level_since: int = 0
    seconds: float = 0.0
    history: tuple[Epoch, ...] = ()
    speeds: tuple[float, ...] = ()
    looks: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def take(self, epoch: Epoch, looks: Looks, *, collapsed: bool, speed: float) -> None:
        """Take up a finished epoch; keep its weights when it is the best one."""
        self.history, self.seconds, self.speeds = (*self.history, epoch), epoch.seconds, (*self.speeds, speed)
        if epoch.value is None:
            return
        better = epoch.value > self.value
        looks.onto(self.looks, epoch.epoch, self.best_epoch, better=better)
        if better:
            self.best, self.value = weights(self.network), epoch.value
            self.best_epoch, self.collapsed = epoch.epoch, collapsed

    def ended(self, status: TrialStatus) -> Fit:
        """What it leaves behind; the first epoch warms up, and counts for the throughput only where it is alone."""
        if status is TrialStatus.COMPLETE and self.collapsed:
            status = TrialStatus.COLLAPSED
        speed = median(self.speeds[1:] or self.speeds) if self.speeds else None
        return Fit(
            state=self.best,
            value=max(self.value, 0.0),
            best_epoch=self.best_epoch,
            history=self.history,
            status=status,
            images_s=speed,
            execution=self.execution,
            looks=self.looks,
        )


Keep = Callable[[Training], None]
"""Called after every epoch that is not the last one: the place for a checkpoint."""


def fit(
    forward: Forward,
    loss: Loss,
    train: Pairs,
    val: Pairs,
    *,
    classes: int,
    recipe: Recipe,
    budget: Budget,
    lr: float,
    seed: int,
    watch: Watch,
    resume: Callable[[Training], object] = lambda training: None,
    keep: Keep = lambda training: None,
    watched: Sequence[int] = (),
    see: See = lambda first, predicted: None,
) -> Fit:
    """Train the network of a forward in place; see `Fit` for what comes back.

    Args:
        forward: A network on its device, with the weights to start from, and how it is run.
        loss: Of logits float32 (N, C, H, W) and masks int64 (N, H, W).
        train: What it is trained on; `val` what its epochs are judged by.
        classes: C.
        recipe: How it is trained.
        budget: How long it may last.
        lr: The rate that the schedule starts from.
        seed: Of the order of the images, of augmentation, and of layers that draw.
        watch: Told about each epoch, those of a resumed training included; answers whether to stop.
        resume: Brings the training to where a checkpoint left it.
        keep: Called after every epoch but the last.
        watched: Validation images, by their places, whose class maps are kept after some epochs; changes nothing else.
        see: Shown the class maps of every validation.
    """
    network, augment, looks = forward.network, preset(recipe.augment), Looks(watched, epochs(budget.epochs))
    torch.manual_seed(seed)  # for layers that draw, as dropout does: no training depends on the one before it
    training = Training(network, optimiser(network, recipe, lr), weights(network), forward.execution)
    steps = budget.epochs * parts(len(train), recipe.batch)
    resume(training)

    def look(first: int, predicted: Tensor) -> None:
        looks.see(first, predicted)
        see(first, predicted)

    for epoch in training.history:
        watch(epoch, None)
    began, taken = time.perf_counter() - training.seconds, len(training.history) * steps // budget.epochs

    for number in range(len(training.history) + 1, budget.epochs + 1):
        network.train()
        losses, seen, epoch_began = _Losses(train.device), 0, time.perf_counter()
        for images, masks in shuffled(train, recipe.batch, augment, seed=seed, epoch=number):
            done = max(taken / steps, (time.perf_counter() - began) / (budget.seconds or math.inf))
            for group in training.optimiser.param_groups:
                group["lr"] = lr * training.level * _factor(recipe, done, steps)
            losses.add(step(forward, loss, training.optimiser, images, masks, recipe))
            taken, seen = taken + 1, seen + len(images)
            if done >= 1 or losses.hopeless():
                break

        mean_loss = losses.mean()  # waits for the device
        speed = seen / (time.perf_counter() - epoch_began)
        score = validate(forward, val, classes, recipe.batch, look) if mean_loss is not None else None
        epoch = Epoch(epoch=number, loss=mean_loss, value=score and score[0], seconds=time.perf_counter() - began)
        training.take(epoch, looks, collapsed=score is not None and score[1], speed=speed)
        stop = watch(epoch, speed)
        if score is None:
            return training.ended(TrialStatus.DIVERGED)
        if number == budget.epochs or _exhausted(recipe, budget, training):
            break
        if stop:
            return training.ended(TrialStatus.STOPPED)
        _decay(recipe, training)
        keep(training)

    return training.ended(TrialStatus.COMPLETE)


@torch.inference_mode()
def validate(
    forward: Forward,
    pairs: Pairs,
    classes: int,
    batch: int,
    see: See = lambda first, predicted: None,
) -> tuple[float, bool]:
    """mdice_d_fg on pairs at training size, in [0, 1], and whether all is called one class although it is not.

    The score is 0 where no foreground class occurs. `see` is shown the class maps (n, H, W) of each batch, with the
    place of the first one among the pairs.
    """
    forward.network.eval()
    counts, first = torch.zeros(classes, classes, dtype=torch.int64, device=pairs.device), 0
    for images, masks in ordered(pairs, min(batch, forward.execution.micro_batch)):
        predicted = forward(images).max(dim=1).indices  # many times faster than argmax
        counts += confusion(masks, predicted, classes)
        see(first, predicted)
        first += len(predicted)
    matrix = counts.cpu().numpy()
    value = float(metrics.DEFAULT.metrics["mdice_d_fg"].compute(matrix[None]))
    collapsed = np.count_nonzero(matrix.sum(0)) == 1 < np.count_nonzero(matrix.sum(1))
    return (0.0 if np.isnan(value) else value), bool(collapsed)


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Pixels of each true class (row) that were called each class (column), where the truth is not IGNORE.

    Args:
        truth: uint8, of any shape.
        predicted: Integers below `classes`, of the same shape.
        classes: Their number C.
    Returns:
        int64 (C, C), on the device of the two [pixels].
    """
    cells = classes * classes
    kind = torch.uint8 if cells + classes <= 256 else torch.int32  # bytes are counted several times faster
    joint = truth.to(kind) * classes + predicted.to(kind)
    # where the truth is IGNORE, 255, this is beyond all cells: in bytes it wraps around to 256 - classes + predicted
    return torch.bincount(joint.flatten(), minlength=cells)[:cells].view(classes, classes)


def weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the state of a network, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def step(
    forward: Forward, loss: Loss, optimiser: torch.optim.Optimizer, images: Tensor, masks: Tensor, recipe: Recipe
) -> Tensor:
    """One step of the optimiser on a batch, in parts where the whole does not fit; the mean loss, still on the device.

    The gradient of parts is the mean of theirs by their sizes: that of the whole for a loss that is a mean over pixels
    which all count; an approximation where some are ignored, for a loss over the batch, as Dice, and for layers that
    look at the batch, as batch normalisation.
    """
    optimiser.zero_grad(set_to_none=True)
    total = torch.zeros((), device=images.device)
    for part, truth in _parts(images, masks, forward.execution.micro_batch):
        part_loss = supervised(forward, loss, part, truth) * (len(part) / len(images))
        part_loss.backward()
        total += part_loss.detach()
    if recipe.clip > 0:
        clip = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}[recipe.clip_by]
        clip(forward.network.parameters(), recipe.clip)
    optimiser.step()
    return total


def supervised(forward: Forward, loss: Loss, images: Tensor, masks: Tensor) -> Tensor:
    """The loss of a network on images: the mean over all its heads, of which most networks have one."""
    losses = [loss(logits, masks) for logits in forward.heads(images)]
    return losses[0] if len(losses) == 1 else torch.stack(losses).mean()


def _parts(images: Tensor, masks: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch in parts of about so many images, of sizes that differ by one at most."""
    count = parts(len(images), most)
    yield from zip(images.tensor_split(count), masks.tensor_split(count), strict=True)


class _Losses:
    """The losses of an epoch, summed on the device; looked at after 8, 16, 32, .. steps, since looking waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.total, self.first, self.steps = torch.zeros((), device=device), torch.zeros((), device=device), 0
        self.looked_at, self.lost = (0, 0.0), False

    def add(self, loss: Tensor) -> None:
        self.total += loss
        self.steps += 1
        if self.steps == 1:
            self.first = loss

    def hopeless(self) -> bool:
        """Whether the loss is no number any more, or has run away."""
        if self.steps < 8 or self.steps & (self.steps - 1):
            return False
        self._look()
        return self.lost

    def mean(self) -> float | None:
        """None when the steps were hopeless."""
        if self.looked_at[0] < self.steps:
            self._look()
        return None if self.lost else self.total.item() / self.steps

    def _look(self) -> None:
        total, first = torch.stack([self.total, self.first]).tolist()
        steps, before = self.looked_at
        self.looked_at = (self.steps, total)
        lately = (total - before) / (self.steps - steps)
        self.lost = self.lost or not math.isfinite(total) or lately > RUNAWAY * max(first, 1.0)


def optimiser(network: nn.Module, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """The optimiser of a recipe over all that is trained in a network; fused: one pass over all parameters."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True, fused=fused
        )
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimiser]
    return kind(parameters, lr, weight_decay=recipe.weight_decay, fused=fused)


def _factor(recipe: Recipe, done: float, steps: int) -> float:
    """Factor on the rate when so much of the budget is spent: a linear rise, then level or half a cosine down to 1%."""
    warmup = max(1, round(recipe.warmup * steps))
    step = done * steps
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    if recipe.schedule != "cosine":
        return 1.0
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _decay(recipe: Recipe, training: Training) -> None:
    """Lower the level of the rate after an epoch, where the schedule goes down in steps."""
    epoch = len(training.history)
    since = training.level_since if recipe.schedule == "step" else max(training.level_since, training.best_epoch)
    spent = recipe.decay_times is not None and training.level < recipe.decay ** (recipe.decay_times - 0.5)
    if recipe.schedule in ("step", "plateau") and epoch - since >= recipe.decay_epochs and not spent:
        training.level, training.level_since = training.level * recipe.decay, epoch


def _exhausted(recipe: Recipe, budget: Budget, training: Training) -> bool:
    impatient = recipe.patience is not None and len(training.history) - training.best_epoch >= recipe.patience
    return impatient or (budget.seconds is not None and training.seconds >= budget.seconds)
