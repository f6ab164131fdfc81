"""A small study folder made of random counts, for tests that read results; nothing is trained, torch is not needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import plan, study
from bench.records import DataCard, Efficiency, Epoch, Execution, Failure, Record, Status, Trial, TrialStatus
from bench.specs import Cell, ClassSpec, Study
from bench.store import Store, write_arrays, write_bytes

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
CLASSES = (
    ClassSpec(name="background", colour=(0, 0, 0)),
    ClassSpec(name=IMAGE, colour=(0, 255, 255)),
    ClassSpec(name="monocyte", colour=(0, 0, 128)),
    ClassSpec(name="never_there", colour=(255, 0, 255)),
)
STUDY = Study(
    name="synthetic",
    title=f"A study of {SCRIPT}",
    datasets=("smear",),
    architectures=("unet[encoder=resnet18]", "unet[encoder=resnet50]", "fpn"),
    losses=("ce", "dice+ce"),
    baselines=("otsu",),
)
FINE, WEAK, BARE = "unet[encoder=resnet18]", "unet[encoder=resnet50]", "fpn"
IDS = [f"image-{number:02d}" for number in range(12)]


def write(root: Path) -> Path:
    """Write the study below `root`: four scored networks, one failed, one diverged, one pending in all, and otsu.

    Returns:
        The folder of the study.
    """
    folder = root / STUDY.name
    store = Store(folder)
    write_bytes(folder / "study.toml", study.dump(STUDY).encode())
    scored(store, cell("otsu", None), skill=0.3)
    scored(store, cell(FINE, "dice+ce"), skill=0.9, edge=True)
    scored(store, cell(FINE, "ce"), skill=0.9)
    scored(store, cell(WEAK, "ce"), skill=0.6)
    failed(store, cell(WEAK, "dice+ce"))
    diverged(store, cell(BARE, "ce"))
    return folder


def cell(architecture: str, loss: str | None, *, seed: int = 0) -> Cell:
    """A cell of the study's only data set."""
    return Cell(dataset="smear", architecture=architecture, loss=loss, seed=seed)


def record(cell: Cell, **values: object) -> Record:
    """A record with the provenance that all of them share."""
    versions = {"numpy": "2.0.0", "torch": "2.9.0"}
    ingredients = plan.ingredients(cell, STUDY, data="0123", code="4567", versions=versions)
    card = DataCard(
        title=f"Smear {SCRIPT}",
        hash="89ab",
        classes=CLASSES,
        train=30,
        val=8,
        test=len(IDS),
        sources=20,
        licence="CC0",
        citation="Nobody",
    )
    plain = Record(
        study=STUDY.name,
        cell=cell,
        fingerprint=plan.digest(ingredients),
        ingredients=ingredients,
        status=Status.OK,
        data=card,
        seconds={"tune": 60.0, "train": 30.5, "evaluate": 1.0},
        peak_memory_mb=1280.0,
        environment={"device": "cpu (test)", "python": "3.11.7"},
        finished="2026-01-02T03:04:05+00:00",
    )
    return replace(plain, **values)


def scored(store: Store, cell: Cell, *, skill: float, edge: bool = False) -> Record:
    """Store a cell whose predictions are right with a probability of `skill`, with counts and pictures."""
    masks = [np.random.default_rng(number).integers(0, 3, (32, 32), dtype=np.uint8) for number in range(len(IDS))]
    predicted = [_guess(mask, skill) for mask in masks]
    counts = np.stack([_confusion(mask, guess) for mask, guess in zip(masks, predicted, strict=True)])
    _examples(store, masks)
    write_arrays(store.cell(cell) / "predictions.npz", **{f"predicted{at}": predicted[at] for at in range(2)})
    found = record(cell, counts_hash=store.write_counts(cell, IDS, counts))
    if cell.loss is not None:
        found = replace(
            found,
            lr=3e-3,
            lr_smooth=2e-3,
            edge=edge,
            trials=trials(),
            history=history(),
            best_epoch=3,
            params=5_086_338,
            execution=Execution(precision="bf16", micro_batch=4, speeds={"bf16/channels_last/eager": 41.3}),
            batch_adapted=True,
            efficiency=Efficiency(
                flops=1_210_000_000, train_images_s=41.5, infer_images_s=1234.5, seconds_to_best=12.5
            ),
        )
    store.write(found)
    return found


def failed(store: Store, cell: Cell) -> Record:
    """Store a cell that ended in an error with a hostile message."""
    found = record(
        cell, status=Status.FAILED, error=Failure(phase="train", kind="RuntimeError", message=f"shape {SCRIPT}")
    )
    store.write(found)
    return found


def diverged(store: Store, cell: Cell) -> Record:
    """Store a cell of which every trial diverged."""
    tried = tuple(replace(trial, value=0.0, status=TrialStatus.DIVERGED) for trial in trials())
    found = record(cell, status=Status.DIVERGED, trials=tried)
    store.write(found)
    return found


def trials() -> tuple[Trial, ...]:
    """Three rates: complete, stopped, diverged."""
    endings = ((3e-3, 0.8, TrialStatus.COMPLETE), (1e-3, 0.4, TrialStatus.STOPPED), (1e-2, 0.0, TrialStatus.DIVERGED))
    return tuple(
        Trial(number=number, lr=lr, value=value, status=status, epochs=3, seconds=20.0)
        for number, (lr, value, status) in enumerate(endings)
    )


def history() -> tuple[Epoch, ...]:
    """Three epochs, the second with a loss that is not a number."""
    losses = (1.5, None, 0.5)
    return tuple(
        Epoch(epoch=at + 1, loss=loss, value=0.3 + 0.1 * at, seconds=10.0 * (at + 1)) for at, loss in enumerate(losses)
    )


def _guess(mask: np.ndarray, skill: float) -> np.ndarray:
    generator = np.random.default_rng(round(100 * skill))  # equal skill, equal predictions: a tie
    return np.where(generator.random(mask.shape) < skill, mask, 0).astype(np.uint8)


def _confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    classes = len(CLASSES)
    joint = truth.astype(np.int64) * classes + predicted
    return np.bincount(joint.ravel(), minlength=classes**2).reshape(classes, classes)


def _examples(store: Store, masks: list[np.ndarray]) -> None:
    pictures = {f"truth{at}": masks[at].copy() for at in range(2)}
    pictures["truth0"][:4] = 255
    pictures |= {f"image{at}": np.repeat(masks[at][..., None] * 80, 3, axis=2) for at in range(2)}
    write_arrays(store.examples("smear", 0), ids=np.array(IDS[:2]), **pictures)
