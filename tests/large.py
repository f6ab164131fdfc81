"""A study of any size made of random counts and round cells, for tests of what a page costs; nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import plan, study, thumbnails
from bench.records import DataCard, Efficiency, Epoch, Execution, Trial, TrialStatus
from bench.specs import Cell, ClassSpec, Study
from bench.store import Store, write_arrays, write_bytes
from tests import synthetic

PIXELS, EDGE, EPOCHS = 65536, 192, 30


def write(folder: Path, *, datasets: int, architectures: int, losses: int, seeds: int = 0, images: int = 60) -> Path:
    """Write a study of datasets x architectures x losses x (1 + seeds) cells and two baselines; return its folder."""
    wanted = Study(
        name=folder.name,
        title="A large study",
        datasets=tuple(f"data{number}" for number in range(datasets)),
        architectures=tuple(f"net{number}[encoder=resnet{number}]" for number in range(architectures)),
        losses=tuple(f"loss{number}" for number in range(losses)),
        baselines=("otsu", "all_background"),
        seeds=seeds,
    )
    store, classes = Store(folder), 5
    write_bytes(folder / "study.toml", study.dump(wanted).encode())
    ids = [f"image-{number:04d}" for number in range(images)]
    truths = [_cells(np.random.default_rng(number), classes) for number in range(min(images, 60))]
    for name in wanted.datasets:
        pictures = {f"truth{at}": truth for at, truth in enumerate(truths)}
        pictures |= {f"image{at}": thumbnails.encoded(_photograph(truth)) for at, truth in enumerate(truths)}
        write_arrays(store.examples(name, 0), ids=np.array(ids[: len(truths)]), data=np.array(f"h{name}"), **pictures)
    for number, cell in enumerate(plan.cells(wanted)):
        _write(store, wanted, cell, np.random.default_rng(number), ids, truths)
    return folder


def _write(
    store: Store, wanted: Study, cell: Cell, generator: np.random.Generator, ids: list[str], truths: list[NDArray]
) -> None:
    classes = tuple(
        ClassSpec(name=f"class {at}" if at else "background", colour=(50 * at, 60 * at % 256, 255 - 40 * at))
        for at in range(5)
    )
    skill = 0.5 if cell.loss is None else 0.85 + 0.01 * (len(cell.architecture) % 5) + generator.normal(0, 0.01)
    shares = np.random.default_rng(7).dirichlet(np.r_[20, np.ones(4)], len(ids)) * PIXELS
    hit = (shares * np.clip(skill + generator.normal(0, 0.03, (len(ids), 1)), 0, 1)).astype(np.uint32)
    counts = np.zeros((len(ids), 5, 5), np.uint32)
    for at in range(5):
        counts[:, at, at] = hit[:, at]
        counts[:, at, (at + 1) % 5] += (shares[:, at] - hit[:, at]).astype(np.uint32)
    card = DataCard(title=cell.dataset, hash=f"h{cell.dataset}", classes=classes, train=200, val=50, test=len(ids),
                    sources=300, licence="CC0", citation="Nobody")  # fmt: skip
    ingredients = plan.ingredients(cell, wanted, data=f"h{cell.dataset}", code="4567", versions={"numpy": "2.0"})
    found = replace(
        synthetic.record(cell),
        study=wanted.name,
        data=card,
        ingredients=ingredients,
        fingerprint=plan.digest(ingredients),
        counts_hash=store.write_counts(cell, ids, counts),
    )
    if cell.seed == 0:
        shown = {f"predicted{at}": _guess(truth, generator) for at, truth in enumerate(truths)}
        write_arrays(store.cell(cell) / "predictions.npz", ids=np.array(ids[: len(truths)]), **shown)
    store.write(found if cell.loss is None else replace(found, **trained()))


def trained() -> dict[str, object]:
    """What a record tells of a training."""
    return {
        "lr": 3e-3,
        "lr_smooth": 2e-3,
        "trials": tuple(
            Trial(number=at, lr=10 ** (-4 + at / 2), value=0.5 + 0.1 * at, status=TrialStatus.COMPLETE, epochs=EPOCHS, seconds=9)
            for at in range(5)
        ),
        "history": tuple(
            Epoch(epoch=at, loss=1 / at, value=0.9 - 0.5 / at, seconds=5.0 * at) for at in range(1, EPOCHS + 1)
        ),
        "best_epoch": EPOCHS,
        "params": 10**7,
        "execution": Execution(precision="bf16", micro_batch=8),
        "efficiency": Efficiency(flops=10**10, train_images_s=50.0, infer_images_s=300.0, seconds_to_best=30.0),
    }  # fmt: skip


def _cells(generator: np.random.Generator, classes: int) -> NDArray[np.uint8]:
    """A mask of a dozen discs."""
    mask = np.zeros((EDGE, EDGE), np.uint8)
    y, x = np.mgrid[:EDGE, :EDGE]
    for _ in range(12):
        centre, radius = generator.uniform(0, EDGE, 2), generator.uniform(8, 22)
        mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = generator.integers(1, classes)
    return mask


def _photograph(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat((230 - 25 * mask)[..., None], 3, axis=2).astype(np.uint8)


def _guess(mask: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """The mask a little aside."""
    return np.roll(mask, tuple(generator.integers(-4, 5, 2)), axis=(0, 1))
