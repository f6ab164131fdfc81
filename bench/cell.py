"""One cell of the matrix, from its names to its record: tune, train, evaluate; turns names into objects.

Runs wherever it is called: in a worker process or in this one. What it needs travels as names and numbers.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from bench import (
    catalog,
    checkpoint,
    evaluate,
    execution,
    film,
    looks,
    losses,
    measures,
    networks,
    plan,
    shapes,
    thumbnails,
    train,
    tune,
)
from bench.baselines import BASELINES
from bench.data import Pairs, place
from bench.device import (
    deterministic,
    energy,
    environment,
    out_of_memory,
    peak_memory,
    reset_peak,
    resolve_device,
    room,
    sharing,
)
from bench.errors import DataError, DiskFull, StoreError
from bench.job import Emit, Event, Job
from bench.prepare import Prepared, reopen
from bench.records import Efficiency, Execution, Failure, Record, Status, TrialStatus
from bench.specs import Cell, Recipe, Split, Study
from bench.store import raise_if_full, read_arrays, sha256, write_arrays, write_bytes, writing
from bench.trainer import Halted, Trainer, check_weights, seed_of

LOST = {
    TrialStatus.COLLAPSED: ("Collapsed", "It calls every validation pixel the same class."),
    TrialStatus.DIVERGED: ("Diverged", "The loss became no number, or ran away; scored is the best epoch before that."),
}
"""Trainings that have a score and are failures all the same: what each is called, and what happened."""


@dataclass(slots=True)
class _Bench:
    """The objects behind one cell: its data, its network, and where the record has got to."""

    cell: Cell
    job: Job
    prepared: Prepared
    positions: dict[Split, list[int]]
    device: torch.device
    emit: Emit
    record: Record
    phase: str = "prepare"
    tidy: Callable[[], None] = lambda: None  # removes what is not needed once the record is stored

    @contextlib.contextmanager
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
    record = Record(
        study=job.study.name,
        cell=cell,
        fingerprint=plan.digest(ingredients),
        ingredients=ingredients,
        status=Status.FAILED,
        data=prepared.card(positions),
        environment=environment(device, job.threads),
    )
    state = _Bench(cell, job, prepared, positions, device, emit, record)
    log, used = "", energy(device)
    try:
        _check_unchanged(state, ingredients)
        with deterministic(job.study.recipe.deterministic, device) as complaints:
            _run_baseline(state) if cell.loss is None else _run_network(state, cell.loss)
        state.record = replace(state.record, nondeterministic=tuple(complaints))
        _count_energy(state, used)
    except DiskFull:
        raise
    except (Exception, SystemExit) as error:  # sys.exit in a network ends its cell, not the worker
        raise_if_full(error, job.store.cell(cell))  # a library met it first, as optuna does in its journal
        log = "" if isinstance(error, Halted) else traceback.format_exc()
        failure = Failure(phase=state.phase, kind=type(error).__name__, message=str(error)[:2000])
        status = Status.OUT_OF_MEMORY if out_of_memory(error) else Status.FAILED
        status = Status.INTERRUPTED if isinstance(error, Halted) else status
        state.record = replace(state.record, status=status, error=failure)
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = replace(state.record, finished=finished, peak_memory_mb=peak_memory(device))
    if log:
        write_bytes(job.store.cell(cell) / "log.txt", log.encode())
    job.store.write(record)
    state.tidy()
    emit(Event(kind="finished", cell=cell, record=record))
    if record.error is not None and "CUDA error" in record.error.message:
        sys.exit("The CUDA context is broken; only a new process can go on.")
    return record


def _check_unchanged(state: _Bench, ingredients: dict[str, object]) -> None:
    """What the fingerprint names is what lies here now."""
    cell, study = state.cell, state.job.study
    if state.prepared.hash(cell.fold, study.folds, study.ratios) != ingredients["data"]:
        raise DataError(f"The data set {cell.dataset} changed while the study ran. Run the study again.")
    if cell.loss is not None:
        check_weights(cell, ingredients)


def _run_baseline(state: _Bench) -> None:
    baseline = BASELINES[state.cell.architecture]
    entries, classes = state.prepared.index.entries, len(state.prepared.classes)
    with state.timed("train"):
        pairs = (state.prepared.native(entries[position]) for position in state.positions["train"])
        predictor = baseline.fit(pairs, classes)
    with state.timed("evaluate"):
        images = (state.prepared.native(entries[position])[0] for position in state.positions["test"])
        found = (predictor(image) for image in images)
        _score(state, (evaluate.Prediction(labels, measures.one_hot(labels, classes)) for labels in found))


def _run_network(state: _Bench, expression: str) -> None:
    with state.timed("prepare"):
        images, masks, owners = state.prepared.resized(state.job.study.recipe)
        rows = {split: np.flatnonzero(np.isin(owners, group)).tolist() for split, group in state.positions.items()}
        free = room(state.device, sharing(state.job.device, state.device, state.job.workers)) / 2
        pairs = {split: place(images, masks, rows[split], state.device, free) for split in ("train", "val")}
        trainer = _trainer(state, expression, pairs["train"], pairs["val"])
        trainer.watched = _watched(state, masks, owners, rows["val"], looks.WATCHED)
        trainer.film = _film(state, images, masks, owners, rows["val"]) if state.job.watch else None
    with state.timed("measure"):
        steps = plan.steps(state.cell, state.job.study, len(rows["train"]))
        ahead = plan.seconds(state.cell, state.job.study)
        timer = trainer.timer(_widest(state.job.study), state.device)
        trainer.execution = execution.choose(timer, trainer.memory, steps, ahead)
    reset_peak(state.device)  # what was timed beside it is not the memory of the network
    fitted = _trained(state, trainer)
    state.record = replace(state.record, status=Status.DIVERGED, **_ran(state, trainer.execution))
    if fitted is None or fitted.best_epoch == 0:
        return
    with state.timed("evaluate"):
        trainer.network.load_state_dict(fitted.state)
        execution.fitting(
            fitted.execution,
            lambda way: _predict(state, trainer, way, images, rows["test"]),
            lambda way: None,  # a shortage here, at native size, says nothing of training
        )
        efficiency = _efficiency(state, trainer, fitted)
        state.record = replace(state.record, status=Status.OK, efficiency=efficiency, **_ran(state, fitted.execution))
        if fitted.status in LOST:
            kind, message = LOST[fitted.status]
            error = Failure(phase="train", kind=kind, message=message)
            state.record = replace(state.record, status=Status.DIVERGED, error=error)
        _keep(state, fitted)
        watched = [rows["val"][place] for place in trainer.watched]
        _write_epochs(state, fitted, images, masks, {row: int(owners[row]) for row in watched})
    state.tidy = trainer.tidy


def _trainer(state: _Bench, expression: str, train: Pairs, val: Pairs) -> Trainer:
    """The network of a cell with all that its trainings need."""
    spec, _ = catalog.architecture(state.cell.architecture)
    classes, recipe = len(state.prepared.classes), _widest(state.job.study)
    pixels = np.array([state.prepared.index.entries[at].pixels for at in state.positions["train"]])
    network = networks.build(state.cell.architecture, classes, seed_of(state.cell)).to(state.device)
    state.record = replace(state.record, params=sum(p.numel() for p in network.parameters() if p.requires_grad))
    return Trainer(
        cell=state.cell,
        job=state.job,
        classes=classes,
        network=network,
        divisor=spec.divisor,
        loss=losses.build(expression, pixels),
        train=train,
        val=val,
        execution=execution.rule(recipe, state.device),
        memory=_memory(state),
        ingredients=dict(state.record.ingredients),
        emit=state.emit,
    )


def _trained(state: _Bench, trainer: Trainer) -> train.Fit | None:
    """Tune, and train what is scored; None when every rate diverged."""
    with state.timed("tune"):
        trials = trainer.trials()
    found, smooth = tune.best(trials), tune.smooth_peak(trials)
    state.record = replace(state.record, trials=trials, lr_smooth=smooth)
    if found is None:
        return None
    candidate = tune.candidate(found)
    if state.cell.seed > 0:
        candidate = tune.fresh(trials) or candidate
    with state.timed("train"):
        fitted = trainer.final(found, candidate)
    lr, edge = candidate.lr, tune.at_edge(candidate.lr, state.job.study.tuning)
    state.record = replace(state.record, weight_decay=candidate.weight_decay, batch=candidate.batch)
    state.record = replace(state.record, lr=lr, edge=edge, history=fitted.history, best_epoch=fitted.best_epoch)
    return fitted


def _ran(state: _Bench, way: Execution) -> dict[str, Any]:
    """How the network was run, as the record tells it."""
    return {"execution": way, "batch_adapted": way.micro_batch < (state.record.batch or state.job.study.recipe.batch)}


def _widest(study: Study) -> Recipe:
    """The recipe with the largest batch that is tried: what has to fit, and what is timed."""
    return replace(study.recipe, batch=max(study.tuning.batches, default=study.recipe.batch))


def _memory(state: _Bench) -> execution.Memory:
    """Where it is remembered how to run the network of a cell, and what that depends on."""
    recipe, job = _widest(state.job.study), state.job
    circumstances = {
        "architecture": state.cell.architecture,
        "dataset": state.cell.dataset,
        "workers": sharing(job.device, state.device, job.workers),
        "code": state.record.ingredients["code"],
        "classes": len(state.prepared.classes),
        "size": list(recipe.size),
        "batch": recipe.batch,
        "precision": recipe.precision,
        "deterministic": recipe.deterministic,
        **{key: state.record.environment[key] for key in ("device", "threads", "torch")},
    }
    return execution.Memory(folder=job.store.executions(state.cell.architecture), circumstances=circumstances)


def _efficiency(state: _Bench, trainer: Trainer, fitted: train.Fit) -> Efficiency:
    """What the network costs, measured while it is warm."""
    forward, best = trainer.forward(fitted.execution), fitted.history[fitted.best_epoch - 1].seconds
    return Efficiency(
        flops=networks.flops(trainer.network, trainer.divisor, state.job.study.recipe.size),
        train_images_s=fitted.images_s,
        infer_images_s=evaluate.throughput(forward, state.job.study.recipe, state.device),
        seconds_to_best=best,
        gpu_seconds_to_best=best if state.device.type == "cuda" else None,
    )


def _count_energy(state: _Bench, before: float | None) -> None:
    """The energy of a cell that had its GPU for itself."""
    after = energy(state.device)
    if before is None or after is None or state.record.efficiency is None:
        return
    if sharing(state.job.device, state.device, state.job.workers) == 1:
        efficiency = replace(state.record.efficiency, energy_j=after - before)
        state.record = replace(state.record, efficiency=efficiency)


def _predict(state: _Bench, trainer: Trainer, way: Execution, images: np.ndarray, rows: list[int]) -> None:
    """Score the test images."""
    sizes = [state.prepared.sizes[at] for at in state.positions["test"]]
    recipe = state.job.study.recipe
    forward = trainer.forward(way)
    _score(state, evaluate.predictions(forward, images, sizes, recipe=recipe, device=state.device, rows=rows))


def _score(state: _Bench, predictions: Iterator[evaluate.Prediction]) -> None:
    """Count predictions against the truth, image by image; keep the counts, the measures and a few pictures."""
    prepared, cell, test = state.prepared, state.cell, state.positions["test"]
    kept = evaluate.kept(prepared.index.entries, test, evaluate.KEPT if cell.seed == 0 else evaluate.SHOWN)
    counts, taken, pictures = [], [], {}
    size = catalog.dataset(cell.dataset).pixel_size_um
    entries = [prepared.index.entries[at] for at in state.positions["train"]]
    takers = shapes.takers(
        state.job.study.measures, lambda: (prepared.native(one)[1] for one in entries), len(prepared.classes)
    )
    for position, (predicted, probabilities) in zip(test, predictions, strict=True):
        truth = prepared.native(prepared.index.entries[position])[1]
        counts.append(evaluate.confusion(truth, predicted, len(prepared.classes)))
        if probabilities is not None:
            taken.append(measures.measured(truth, predicted, probabilities))
            for take in takers:
                taken[-1] |= take(truth, predicted, size, len(prepared.classes))
        if position in kept:
            pictures[f"predicted{kept.index(position)}"] = thumbnails.mask(predicted)
    store, ids = state.job.store, _ids(state, test)
    _write_examples(state)
    write_arrays(store.cell(cell) / "predictions.npz", ids=np.array(_ids(state, kept)), **pictures)
    state.record = replace(
        state.record,
        counts_hash=store.write_counts(cell, ids, np.stack(counts)),
        measures_hash=store.write_measures(cell, ids, measures.stacked(taken)),
        status=Status.OK,
    )


def _ids(state: _Bench, positions: Iterable[int]) -> list[str]:
    return [state.prepared.index.entries[position].sample.id for position in positions]


def _write_examples(state: _Bench) -> None:
    """The images and true masks that all cells of a data set and fold are shown on, unless they are there."""
    path = state.job.store.examples(state.cell.dataset, state.cell.fold)
    data = str(state.record.ingredients["data"])
    with contextlib.suppress(StoreError):  # missing or damaged: written anew
        if str(read_arrays(path, "data").get("data")) == data:
            return
    kept = evaluate.kept(state.prepared.index.entries, state.positions["test"])
    pictures = evaluate.examples(state.prepared, kept)
    write_arrays(path, data=np.array(data), ids=np.array(_ids(state, kept)), **pictures)


def _watched(state: _Bench, masks: np.ndarray, owners: np.ndarray, rows: Sequence[int], count: int) -> tuple[int, ...]:
    """Which of the validation rows are watched while a network learns: of each chosen image the fullest window."""
    picked = evaluate.chosen(state.prepared.index.entries, state.positions["val"], count)
    own = [[place for place, row in enumerate(rows) if owners[row] == position] for position in picked]
    return tuple(max(group, key=lambda place: len(np.unique(masks[rows[place]]))) for group in own)


def _film(state: _Bench, images: np.ndarray, masks: np.ndarray, owners: np.ndarray, rows: Sequence[int]) -> looks.Film:
    """Begin the film of a cell, with the images and their true masks."""
    places = _watched(state, masks, owners, rows, state.job.watch)
    shown = [rows[place] for place in places]
    folder, key = film.folder(state.job.store.cell(state.cell)), state.record.fingerprint
    ids = _ids(state, (int(owners[row]) for row in shown))
    film.begin(folder, key, ids, [np.asarray(images[row]) for row in shown], [np.asarray(masks[row]) for row in shown])
    return looks.Film(folder, key, places)


def _write_epochs(
    state: _Bench, fitted: train.Fit, images: np.ndarray, masks: np.ndarray, owners: Mapping[int, int]
) -> None:
    """What the training that is scored made of the watched images, after some epochs and the best one.

    Args:
        images: All images uint8 (N, H, W, 3) at training size, and `masks` uint8 (N, H, W).
        owners: The rows of the N that were watched, in order, with the entry each belongs to.
    """
    path = state.job.store.cell(state.cell) / "epochs.npz"
    if not fitted.looks:
        path.unlink(missing_ok=True)
        return
    pictures: dict[str, np.ndarray] = {}
    for number, row in enumerate(owners):
        pictures[f"image{number}"] = thumbnails.encoded(thumbnails.image(np.asarray(images[row])))
        pictures[f"truth{number}"] = thumbnails.mask(np.asarray(masks[row]))
        pictures[f"predicted{number}"] = np.stack([maps[number].numpy() for maps in fitted.looks.values()])
    epochs, best = np.array(list(fitted.looks)), np.array(fitted.best_epoch)
    write_arrays(path, ids=np.array(_ids(state, owners.values())), epochs=epochs, best_epoch=best, **pictures)


def _keep(state: _Bench, fitted: train.Fit) -> None:
    """The weights and the training curve, beside the record."""
    folder = state.job.store.cell(state.cell)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(folder / "weights.safetensors", fitted)
    state.record = replace(state.record, weights_hash=sha256(folder / "weights.safetensors"))
    text = io.StringIO()
    table = csv.DictWriter(text, ["epoch", "loss", "value", "seconds"])
    table.writeheader()
    table.writerows(asdict(epoch) for epoch in fitted.history)
    write_bytes(folder / "history.csv", text.getvalue().encode())
