"""Real training curves over a dense grid of rates, on which tuning strategies are replayed: how `curves.json` was made.

    python -m tests.speed.curves train FOLDER BLOOD_CELL [PART PARTS]
    python -m tests.speed.curves pack FOLDER

`train` writes each finished training to FOLDER at once and leaves out those that are there; PARTS processes can share
the work. BLOOD_CELL is the folder or zip of the forty pairs. It takes an hour of one core altogether.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench import losses, networks, train
from bench.catalog import architecture
from bench.data import Resident, resident
from bench.forward import Forward
from bench.prepare import prepare
from bench.records import Execution
from bench.specs import Budget, Cell, Recipe
from bench.trainer import seed_of

CURVES = Path(__file__).with_name("curves.json")
BUDGET = Budget(epochs=12)
RATES = tuple(10 ** (-4 + 3 * step / 19) for step in range(20))
SEEDS = (0, 1, 2)  # 0 tunes, the others are fresh
DATASETS = {"blood_cell": 4, "smear[size=64,test=1,train=96,val=32]": 8}  # and their batch
NETWORKS = (
    "plain_unet[width=8]",
    "linknet[encoder=tu-test_resnet]",
    "unet[decoder=64,encoder=tu-test_resnet]",
    "fpn[decoder=32,encoder=tu-mobilenetv3_small_050,pyramid=64]",
    "deeplabv3plus[decoder=64,encoder=tu-test_resnet]",
)
CELLS = tuple((dataset, network, "dice+ce") for dataset in DATASETS for network in NETWORKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of one cell: `values[seed][rate][epoch]`, shorter where training diverged."""

    dataset: str
    architecture: str
    loss: str
    values: list[list[list[float]]]


def recipe(dataset: str) -> Recipe:
    """How every network of a data set is trained."""
    return Recipe(size=(64, 64), batch=DATASETS[dataset], precision="fp32", deterministic=True)


def read() -> list[Curves]:
    """The committed curves."""
    return [Curves(**cell) for cell in json.loads(CURVES.read_text())["cells"]]


def measure(folder: Path, blood_cell: Path, part: int, parts: int) -> None:
    """Train what is not in the folder yet, one thread."""
    torch.set_num_threads(1)
    done = {tuple(line["key"]) for line in _lines(folder)}
    folder.mkdir(parents=True, exist_ok=True)
    for dataset, network, loss in CELLS:
        pairs = _pairs(dataset, folder / "data", blood_cell)
        for number, (at, seed) in enumerate((at, seed) for at in range(len(RATES)) for seed in SEEDS):
            key = (dataset, network, loss, at, seed)
            if number % parts != part or key in done:
                continue
            values = _train(Cell(dataset=dataset, architecture=network, loss=loss, seed=seed), RATES[at], *pairs)
            with (folder / f"part-{part}-of-{parts}.jsonl").open("a") as file:
                file.write(json.dumps({"key": key, "values": values}) + "\n")


def pack(folder: Path) -> None:
    """All trainings of the folder as one small file, with the settings they were made under."""
    found = {tuple(line["key"]): line["values"] for line in _lines(folder)}
    cells = [
        Curves(
            dataset=cell[0],
            architecture=cell[1],
            loss=cell[2],
            values=[[found[*cell, at, seed] for at in range(len(RATES))] for seed in SEEDS],
        )
        for cell in CELLS
    ]
    settings = {
        "recipes": {name: asdict(recipe(name)) for name in DATASETS},
        "budget": asdict(BUDGET),
        "rates": RATES,
        "seeds": SEEDS,
    }
    about = "validation mdice_d_fg by [seed][rate][epoch]; made by tests/speed/curves.py"
    text = json.dumps({"about": about, "torch": torch.__version__, **settings, "cells": [asdict(c) for c in cells]})
    CURVES.write_text(text.replace('{"dataset"', '\n{"dataset"') + "\n")


def _pairs(dataset: str, home: Path, blood_cell: Path) -> tuple[train.Resident, train.Resident, int]:
    """Training and validation pairs, and the number of classes.

    Of the forty two thirds train and the others validate: the official split would leave three that validate.
    """
    generated = dataset.startswith("smear")
    prepared = prepare(dataset, home, None if generated else blood_cell)
    if generated:
        split = prepared.split(0, 1)
        chosen = split["train"], split["val"]
    else:
        split = prepared.split(1, 3)
        chosen = sorted(split["train"] + split["val"]), split["test"]
    images, masks, owners = prepared.resized(recipe(dataset))
    assert owners.tolist() == list(range(len(images)))  # one row per pair
    return *(resident(images, masks, rows, torch.device("cpu")) for rows in chosen), len(prepared.classes)


def _train(cell: Cell, lr: float, pairs: Resident, val: Resident, classes: int) -> list[float]:
    """The validation values of a training, by epoch, rounded; ends where training diverged."""
    spec, _ = architecture(cell.architecture)
    fitted = train.fit(
        Forward(
            networks.build(cell.architecture, classes, seed_of(cell)),
            spec.divisor,
            Execution(precision="fp32", micro_batch=recipe(cell.dataset).batch),
        ),
        losses.build(cell.loss or ""),
        pairs,
        val,
        classes=classes,
        recipe=recipe(cell.dataset),
        budget=BUDGET,
        lr=lr,
        seed=seed_of(cell),
        watch=lambda epoch, speed: False,
    )
    return [round(epoch.value, 4) for epoch in fitted.history if epoch.value is not None]


def _lines(folder: Path) -> Iterator[dict[str, list]]:
    for path in sorted(folder.glob("part-*.jsonl")):
        yield from (json.loads(line) for line in path.read_text().splitlines())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["train", folder, blood_cell, *rest]:
            measure(Path(folder), Path(blood_cell), *(map(int, rest) if rest else (0, 1)))
        case ["pack", folder]:
            pack(Path(folder))
        case _:
            sys.exit(__doc__)
