"""The trainings behind one cell: its trials and the one that is scored, taken up again where a kill left them."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import catalog, checkpoint, device, networks, plan, train, tune
from bench.data import Pairs
from bench.errors import DataError
from bench.execution import Memory, Timer, fitting
from bench.forward import Forward
from bench.job import Emit, Event, Job
from bench.looks import Film
from bench.losses import Loss
from bench.records import Epoch, Execution, Trial, TrialStatus
from bench.specs import Cell, Recipe
from bench.store import write_bytes


class Halted(Exception):
    """The file appeared that ends a training after the epoch it is at; a checkpoint holds what was done."""


@dataclass(slots=True)
class Trainer:
    """Trains one network again and again from the same initial weights.

    Attributes:
        cell: Whose trainings these are.
        job: The study, and where its files are.
        classes: How many the network tells apart.
        network: On its device.
        execution: How it is run; with a smaller micro-batch as soon as memory runs out.
        memory: Where that is remembered.
        ingredients: Those of the cell; the tuning's key is made from them.
        emit: Told about each epoch.
        watched: Validation images, by their places, whose class maps the trainings of seed 0 keep after some epochs.
        film: Keeps those of some images after every epoch; None where nobody looks.
    """

    cell: Cell
    job: Job
    classes: int
    network: nn.Module
    divisor: int
    loss: Loss
    train: Pairs
    val: Pairs
    execution: Execution
    memory: Memory
    ingredients: dict[str, object]
    emit: Emit
    watched: tuple[int, ...] = ()
    film: Film | None = None
    initial: dict[int, dict[str, Tensor]] = field(default_factory=dict[int, dict[str, Tensor]])  # by seed
    forwards: dict[Execution, Forward] = field(default_factory=dict[Execution, Forward])  # the latest alone

    @property
    def folder(self) -> Path:
        """Where the files of the tuning are."""
        return self.job.store.tuning(self.cell)

    @property
    def key(self) -> str:
        """The fingerprint of the tuning: that of the cell of seed 0."""
        return plan.tuning(self.ingredients)

    def trials(self) -> tuple[Trial, ...]:
        """The trials of the cell's tuning, those that are not in its journal yet run now."""
        trials = tune.tune(self.job.study.tuning, self.attempt, journal=self.folder / "journal", fingerprint=self.key)
        text = json.dumps([asdict(trial) for trial in trials], indent=1)
        write_bytes(self.folder / "trials.json", text.encode())
        return trials

    def attempt(self, number: int, candidate: tune.Candidate, watch: tune.Watch) -> tune.Outcome:
        """One trial, under seed 0; one that was not stopped leaves its weights, since it may turn out the best."""
        key, path = self._named(number, candidate), self.weights(number)
        fitted = checkpoint.load_fit(path, key)
        if fitted is None:
            fitted = self.fit(candidate, seed=0, trial=number, watch=watch, key=key, folder=self.folder)
            if fitted.status in (TrialStatus.COMPLETE, TrialStatus.COLLAPSED):
                checkpoint.save_fit(path, fitted, key)
        else:  # it was finished, and its process died before it could say so
            for epoch in fitted.history:
                watch(epoch)
        (self.folder / "checkpoint.safetensors").unlink(missing_ok=True)
        diverged = fitted.status is TrialStatus.DIVERGED
        return tune.Outcome(
            value=0.0 if diverged else fitted.value,
            status=fitted.status,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
        )

    def final(self, found: Trial, candidate: tune.Candidate) -> train.Fit:
        """The training that is scored: the best trial itself, or a candidate retrained under the seed of the cell."""
        seed, folder = self.cell.seed, self.job.store.cell(self.cell)
        if seed > 0:
            key, path = self._named(f"seed {seed}", candidate), folder / "fit.safetensors"
            fitted = checkpoint.load_fit(path, key)
            if fitted is None:
                fitted = self.fit(candidate, seed=seed, trial=None, watch=lambda epoch: False, key=key, folder=folder)
                checkpoint.save_fit(path, fitted, key)
            (folder / "checkpoint.safetensors").unlink(missing_ok=True)
            return fitted
        key = self._named(found.number, candidate)
        fitted = checkpoint.load_fit(self.weights(found.number), key)
        if fitted is None:
            self.attempt(found.number, candidate, lambda epoch: False)
            fitted = checkpoint.load_fit(self.weights(found.number), key)
        assert fitted is not None
        return fitted

    def fit(
        self, candidate: tune.Candidate, *, seed: int, trial: int | None, watch: tune.Watch, key: str, folder: Path
    ) -> train.Fit:
        """One training from the initial weights of a seed, told to the outside epoch by epoch."""
        cell, study, lr = replace(self.cell, seed=seed), self.job.study, candidate.lr
        recipe = study.recipe
        decay = recipe.weight_decay if candidate.weight_decay is None else candidate.weight_decay
        recipe = replace(recipe, weight_decay=decay, batch=candidate.batch or recipe.batch)
        if seed not in self.initial:
            network = networks.build(cell.architecture, self.classes, seed_of(cell))
            check_weights(cell, self.ingredients)  # after they were read: now they are those that are named
            self.initial[seed] = train.weights(network)
        path = folder / "checkpoint.safetensors"
        name = "the last training" if trial is None else f"trial {trial + 1}"
        keep = _Keeper(path, key, self.job.checkpoint_s, self.job.stop, name)
        if _wanted(self.job.stop):
            raise Halted(f"{self.job.stop} was there before the first epoch of {name}.")
        under_way: list[train.Training] = []

        def resumed(training: train.Training) -> None:
            under_way[:] = [training]
            checkpoint.restore(path, training, key)

        def told(epoch: Epoch, speed: float | None) -> bool:
            self._tell(trial, lr, epoch, speed, under_way[0])
            return watch(epoch)

        def once(execution: Execution) -> train.Fit:
            self.network.load_state_dict(self.initial[seed])
            return train.fit(
                self.forward(execution),
                self.loss,
                self.train,
                self.val,
                classes=self.classes,
                recipe=recipe,
                budget=study.budget,
                lr=lr,
                seed=seed_of(cell),
                watch=told,
                resume=resumed,
                keep=keep,
                watched=self.watched if seed == 0 else (),
                **({"see": self.film.looks.see} if self.film else {}),
            )

        return fitting(self.execution, once, self.adapt)

    def _tell(self, trial: int | None, lr: float, epoch: Epoch, speed: float | None, training: train.Training) -> None:
        """Tell the outside about an epoch; a frame of the film is there before whoever hears of it looks."""
        if self.film and speed is not None and epoch.value is not None:
            self.film.keep(trial, epoch.epoch)
        rate = None if speed is None else float(training.optimiser.param_groups[0]["lr"])
        memory = device.peak_memory(self.train.device)
        of = Event(kind="epoch", cell=self.cell, trial=trial, lr=lr, epoch=epoch, images_s=speed)
        self.emit(replace(of, rate=rate, memory_mb=memory))

    def timer(self, recipe: Recipe, device: torch.device) -> Timer:
        """What times ways to run the network."""
        return Timer(self.network, self.loss, self.divisor, self.classes, recipe, device)

    def forward(self, execution: Execution) -> Forward:
        """The network as an execution runs it; kept, so that nothing is compiled or captured twice."""
        if execution not in self.forwards:
            self.forwards = {execution: Forward(self.network, self.divisor, execution)}
        return self.forwards[execution]

    def adapt(self, execution: Execution) -> None:
        """From now on with a smaller micro-batch, here and in every cell that trains the same network."""
        self.execution = execution
        self.memory.remember(execution)

    def _named(self, what: object, candidate: tune.Candidate) -> str:
        """What a file of a training is the file of."""
        return f"{self.key}/{what}/{candidate}"

    def weights(self, number: int) -> Path:
        """The file with the weights of a trial."""
        return self.folder / f"trial-{number}.safetensors"

    def tidy(self) -> None:
        """What was kept for a resumed cell is of no use once it is stored."""
        kept = self.folder.glob("trial-*.safetensors") if self.cell.seed == 0 else ()
        for path in (*kept, self.job.store.cell(self.cell) / "fit.safetensors"):
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Keeper:
    """Leaves a checkpoint every so often [s], and never spends more than a twentieth of the time on it."""

    path: Path
    key: str
    every: float
    stop: Path | None
    name: str
    cost: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def __call__(self, training: train.Training) -> None:
        began, halt = time.perf_counter(), _wanted(self.stop)
        if not halt and began - self.since < (self.every and max(self.every, 20 * self.cost)):
            return
        checkpoint.save(self.path, training, self.key)
        if halt:
            raise Halted(f"{self.stop} ended it after epoch {len(training.history)} of {self.name}.")
        self.since = time.perf_counter()
        self.cost = self.since - began


def _wanted(stop: Path | None) -> bool:
    """Whether somebody wants training to end."""
    return stop is not None and stop.exists()


def check_weights(cell: Cell, ingredients: dict[str, object]) -> None:
    """The file that a network starts from is the one that the fingerprint names.

    Raises:
        DataError: If it is another one by now, or gone.
    """
    if catalog.initial(cell.architecture) != ingredients.get("weights"):
        raise DataError(f"The weights of {cell.architecture} changed while the study ran. Run the study again.")


def seed_of(cell: Cell) -> int:
    """A seed from the names of a cell alone, so that adding a cell changes no other; where a folder lies is no name."""
    named = replace(cell, dataset="folder") if catalog.is_folder(cell.dataset) else cell
    return int.from_bytes(hashlib.sha256(named.key.encode()).digest()[:4])
