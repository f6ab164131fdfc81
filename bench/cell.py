"""One cell of the matrix, from its names to its record: tune, train, evaluate; turns names into objects.

Runs wherever it is called: in a worker process or in this one. What it needs travels as names and numbers.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from bench import catalog, evaluate, losses, plan, train, tune
from bench.baselines import BASELINES
from bench.data import Resident, resident
from bench.device import environment, peak_memory, reset_peak, resolve_device, resolve_precision
from bench.errors import DataError, DiskFull
from bench.fit import resize
from bench.prepare import Prepared, reopen
from bench.specs import Cell, Epoch, Failure, Place, Record, Split, Status, Study, Trial, TrialStatus
from bench.store import Store, write_arrays, write_bytes, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a running cell tells about itself."""

    kind: Literal["started", "phase", "epoch", "finished", "busy"]
    """`phase`: a sign of life between epochs; `busy`: another run is at this cell, ask again later."""
    cell: Cell
    phase: str | None = None
    trial: int | None = None  # None outside the tuning
    epoch: Epoch | None = None
    images_s: float | None = None  # throughput of the epoch's training [images/s]
    record: Record | None = None


Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a worker needs to run cells of a study; names and numbers only."""

    study: Study
    place: Place
    device: str
    threads: int
    checkpoint_s: float = 60.0  # a training that goes on longer leaves a checkpoint every so often [s]

    @property
    def store(self) -> Store:
        """Where the records of the study go."""
        return Store(self.place.results / self.study.name)


@dataclass(slots=True)
class _Bench:
    """The objects behind one cell: its data, its network, and where the record has got to."""

    cell: Cell
    job: Job
    prepared: Prepared
    positions: dict[Split, list[int]]
    device: torch.device
    precision: torch.dtype
    emit: Emit
    record: Record
    phase: str = "prepare"

    @contextmanager
    def timed(self, phase: str) -> Generator[None]:
        """Note the phase, for the error message, and its wall time, for the record."""
        self.phase = phase
        self.emit(Event(kind="phase", cell=self.cell, phase=phase))
        began = time.perf_counter()
        try:
            yield
        finally:
            self.record = replace(self.record, seconds={**self.record.seconds, phase: time.perf_counter() - began})


def run(cell: Cell, ingredients: dict[str, object], job: Job, emit: Emit) -> Record:
    """Run one cell and store its record, whatever happens; only a full disk ends the study.

    Raises:
        DiskFull: If the record cannot be written.
    """
    emit(Event(kind="started", cell=cell))
    device = resolve_device(job.device)
    torch.set_num_threads(job.threads)
    reset_peak(device)
    prepared = reopen(cell.dataset, job.place.data_home)
    positions = prepared.split(cell.fold, job.study.folds, job.study.ratios)
    precision = resolve_precision(job.study.recipe.precision, device)
    record = Record(
        study=job.study.name,
        cell=cell,
        fingerprint=plan.digest(ingredients),
        ingredients=ingredients,
        status=Status.FAILED,
        data=prepared.card(positions),
        environment=environment(device, precision, job.threads),
    )
    state = _Bench(cell, job, prepared, positions, device, precision, emit, record)
    log = ""
    try:
        if prepared.hash(cell.fold, job.study.folds, job.study.ratios) != ingredients["data"]:
            raise DataError(f"The data set {cell.dataset} changed while the study ran. Run the study again.")
        _run_baseline(state) if cell.loss is None else _run_network(state, cell.loss)
    except DiskFull:
        raise
    except Exception as error:
        log = traceback.format_exc()
        failure = Failure(phase=state.phase, kind=type(error).__name__, message=str(error)[:2000])
        status = Status.OUT_OF_MEMORY if isinstance(error, (MemoryError, torch.OutOfMemoryError)) else Status.FAILED
        state.record = replace(state.record, status=status, error=failure)
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = replace(state.record, finished=finished, peak_memory_mb=peak_memory(device))
    if log:
        write_bytes(job.store.cell(cell) / "log.txt", log.encode())
    job.store.write(record)
    emit(Event(kind="finished", cell=cell, record=record))
    if record.error is not None and "CUDA error" in record.error.message:
        sys.exit("The CUDA context is broken; only a new process can go on.")
    return record


def _run_baseline(state: _Bench) -> None:
    baseline = BASELINES[state.cell.architecture]
    entries, classes = state.prepared.index.entries, len(state.prepared.classes)
    with state.timed("train"):
        pairs = (state.prepared.native(entries[position]) for position in state.positions["train"])
        predictor = baseline.fit(pairs, classes)
    with state.timed("evaluate"):
        images = (state.prepared.native(entries[position])[0] for position in state.positions["test"])
        _score(state, (predictor(image) for image in images))


def _run_network(state: _Bench, expression: str) -> None:
    recipe, cell = state.job.study.recipe, state.cell
    spec, _ = catalog.architecture(cell.architecture)
    with state.timed("prepare"):
        network = build(cell, len(state.prepared.classes)).to(state.device)
        images, masks, owners = state.prepared.resized(recipe)
        rows = {split: np.flatnonzero(np.isin(owners, group)).tolist() for split, group in state.positions.items()}
        pairs = {split: resident(images, masks, rows[split], state.device) for split in ("train", "val")}
    state.record = replace(state.record, params=sum(p.numel() for p in network.parameters() if p.requires_grad))
    trainer = _Trainer(state, network, losses.build(expression), pairs["train"], pairs["val"], spec.divisor)
    with state.timed("tune"):
        trials = trainer.trials()
    found = tune.best(trials)
    state.record = replace(state.record, trials=trials, lr_smooth=tune.smooth_peak(trials))
    if found is None:
        state.record = replace(state.record, status=Status.DIVERGED)
        return
    with state.timed("train"):
        fitted, lr = trainer.final(found)
    edge = tune.at_edge(lr, state.job.study.tuning)
    state.record = replace(state.record, lr=lr, edge=edge, history=fitted.history, best_epoch=fitted.best_epoch)
    if fitted.best_epoch == 0:
        state.record = replace(state.record, status=Status.DIVERGED)
        return
    with state.timed("evaluate"):
        network.load_state_dict(fitted.state)
        _score(
            state,
            evaluate.predict(
                network,
                images,
                [state.prepared.sizes[at] for at in state.positions["test"]],
                recipe=recipe,
                divisor=spec.divisor,
                precision=state.precision,
                device=state.device,
                rows=rows["test"],
            ),
        )
        _keep(state, fitted)
    trainer.tidy()


@dataclass(slots=True)
class _Trainer:
    """Trains one network again and again from the same initial weights."""

    state: _Bench
    network: nn.Module
    loss: losses.Loss
    train: Resident
    val: Resident
    divisor: int
    initial: dict[int, dict[str, Tensor]] = field(default_factory=dict[int, dict[str, Tensor]])  # by seed

    @property
    def folder(self) -> Path:
        return self.state.job.store.tuning(self.state.cell)

    def trials(self) -> tuple[Trial, ...]:
        """The trials of the cell's tuning, those that are not in its journal yet run now."""
        ingredients = {**self.state.record.ingredients, "cell": {**_named(self.state.record), "seed": 0}}
        fingerprint, journal = plan.digest(ingredients), self.folder / "journal"
        trials = tune.tune(self.state.job.study.tuning, self.attempt, journal=journal, fingerprint=fingerprint)
        text = json.dumps([asdict(trial) for trial in trials], indent=1)
        write_bytes(self.folder / "trials.json", text.encode())
        return trials

    def attempt(self, number: int, candidate: tune.Candidate, watch: train.Watch) -> tune.Outcome:
        """One trial, under seed 0; a complete one leaves its weights, since it may turn out the best."""
        fitted = self.fit(candidate, seed=0, trial=number, watch=watch)
        if fitted.status is TrialStatus.COMPLETE:
            save(self.weights(number), fitted)
        diverged = fitted.status is TrialStatus.DIVERGED
        return tune.Outcome(
            value=0.0 if diverged else fitted.value,
            status=fitted.status,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
        )

    def final(self, found: Trial) -> tuple[train.Fit, float]:
        """The training that is scored and its rate: the best trial itself, or what a fresh seed trains with."""
        cell, candidate = self.state.cell, tune.candidate(found)
        if cell.seed > 0:
            candidate = tune.fresh(self.state.record.trials) or candidate
            return self.fit(candidate, seed=cell.seed, trial=None, watch=lambda epoch: False), candidate.lr
        if not self.weights(found.number).is_file():
            self.attempt(found.number, candidate, lambda epoch: False)
        return load(self.weights(found.number)), found.lr

    def fit(self, candidate: tune.Candidate, *, seed: int, trial: int | None, watch: train.Watch) -> train.Fit:
        """One training from the initial weights of a seed, told to the outside epoch by epoch."""
        cell, recipe = replace(self.state.cell, seed=seed), self.state.job.study.recipe
        decay = recipe.weight_decay if candidate.weight_decay is None else candidate.weight_decay
        recipe = replace(recipe, weight_decay=decay, batch=candidate.batch or recipe.batch)
        if seed not in self.initial:
            self.initial[seed] = train.weights(build(cell, len(self.state.prepared.classes)))
        self.network.load_state_dict(self.initial[seed])

        def told(epoch: Epoch) -> bool:
            self.state.emit(Event(kind="epoch", cell=self.state.cell, trial=trial, epoch=epoch))
            return watch(epoch)

        return train.fit(
            self.network,
            self.loss,
            self.train,
            self.val,
            classes=len(self.state.prepared.classes),
            recipe=recipe,
            budget=self.state.job.study.budget,
            lr=candidate.lr,
            seed=seed_of(cell),
            precision=self.state.precision,
            divisor=self.divisor,
            watch=told,
        )

    def weights(self, number: int) -> Path:
        return self.folder / f"trial-{number}.safetensors"

    def tidy(self) -> None:
        """Trials' weights are of no use once seed 0 has its own."""
        if self.state.cell.seed == 0:
            for path in self.folder.glob("trial-*.safetensors"):
                path.unlink()


def build(cell: Cell, classes: int) -> nn.Module:
    """The network of a cell on the CPU, initialised from the cell's own seed."""
    spec, options = catalog.architecture(cell.architecture)
    torch.manual_seed(seed_of(cell))
    return spec.build(channels=3, classes=classes, **{**spec.options, **options})


def seed_of(cell: Cell) -> int:
    """A seed from the names of a cell alone, so that adding a cell changes no other; where a folder lies is no name."""
    named = replace(cell, dataset="folder") if catalog.is_folder(cell.dataset) else cell
    return int.from_bytes(hashlib.sha256(named.key.encode()).digest()[:4])


def save(path: Path, fitted: train.Fit) -> None:
    """A training as one safetensors file: weights, and its curve in the header."""
    history = [asdict(epoch) for epoch in fitted.history]
    about = {"value": fitted.value, "best_epoch": fitted.best_epoch, "history": history}
    write_bytes(path, safetensors.torch.save(fitted.state, {"fit": json.dumps(about)}))


def load(path: Path) -> train.Fit:
    """What `save` wrote."""
    with safetensors.safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["fit"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
    history = tuple(Epoch(**epoch) for epoch in about.pop("history"))
    return train.Fit(state=state, history=history, status=TrialStatus.COMPLETE, **about)


def _named(record: Record) -> dict[str, object]:
    """What the ingredients of a record call its cell."""
    named = record.ingredients["cell"]
    return {str(key): value for key, value in named.items()} if isinstance(named, dict) else {}


def _score(state: _Bench, predictions: Iterator[np.ndarray]) -> None:
    """Count predictions against the truth, image by image; keep the counts and a few pictures."""
    prepared, cell, test = state.prepared, state.cell, state.positions["test"]
    shown = evaluate.chosen(prepared.index.entries, test)
    counts, pictures = [], {}
    for position, predicted in zip(test, predictions, strict=True):
        truth = prepared.native(prepared.index.entries[position])[1]
        counts.append(evaluate.confusion(truth, predicted, len(prepared.classes)))
        if position in shown:
            small = resize(predicted, predicted, evaluate.thumbnail_size(predicted))[1]
            pictures[f"predicted{shown.index(position)}"] = small
    store, ids = state.job.store, [prepared.index.entries[position].sample.id for position in test]
    examples = store.examples(cell.dataset, cell.fold)
    if not examples.is_file():
        names = np.array([prepared.index.entries[position].sample.id for position in shown])
        write_arrays(examples, ids=names, **evaluate.thumbnails(prepared, shown))
    write_arrays(store.cell(cell) / "predictions.npz", **pictures)
    state.record = replace(state.record, counts_hash=store.write_counts(cell, ids, np.stack(counts)), status=Status.OK)


def _keep(state: _Bench, fitted: train.Fit) -> None:
    """The weights and the training curve, beside the record."""
    folder = state.job.store.cell(state.cell)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    save(folder / "weights.safetensors", fitted)
    text = io.StringIO()
    table = csv.DictWriter(text, ["epoch", "loss", "value", "seconds"])
    table.writeheader()
    table.writerows(asdict(epoch) for epoch in fitted.history)
    write_bytes(folder / "history.csv", text.getvalue().encode())
