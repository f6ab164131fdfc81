"""A study folder with real masks and known mistakes, for tests of pictures; nothing is trained, torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import plan, study, thumbnails
from bench.records import Record
from bench.specs import ClassSpec, Study
from bench.store import Store, write_arrays, write_bytes
from tests import synthetic

HOSTILE = '../"><img src=x onerror=alert(3)>'
IDS = ("a", "b", "c", "d", HOSTILE)
CLASSES = (
    ClassSpec(name="background", colour=(0, 0, 0)),
    ClassSpec(name="red", colour=(200, 0, 0)),
    ClassSpec(name="blue", colour=(0, 0, 200)),
)
NETWORKS = ("one", "two", "three")
STUDY = Study(name="planted", datasets=("smear",), architectures=NETWORKS, losses=("ce",), baselines=("otsu",))
SIDE = 64


def true(number: int) -> np.ndarray:
    """The cells of a picture as they are: one of class 1, one of class 2; uint8 (64, 64)."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:24, 8 : 24 + number] = 1
    mask[36:56, 36:56] = 2
    return mask


def masks() -> dict[str, np.ndarray]:
    """The masks as somebody drew them: in `b` the cell of class 2 is forgotten, in `c` a corner does not count."""
    found = {name: true(number) for number, name in enumerate(IDS)}
    found["b"][36:56, 36:56] = 0
    found["c"][:10, :10] = 255
    return found


def predicted(network: int, name: str) -> np.ndarray:
    """All networks see the true cells, each with a rim of its own; `d` is hard for all, `a` is right for all."""
    found = true(IDS.index(name))
    if name == "d":
        found[found == 2] = 1
        found[40 + network : 44 + network, 36:56] = 0
    elif name != "a":
        found[24 : 25 + network, 8:24] = 1
    return found


def confusion(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Pixels of each true class (row) that were called each class (column), without those that do not count."""
    matrix = np.zeros((3, 3), np.int64)
    np.add.at(matrix, (truth[truth != 255], found[truth != 255]), 1)
    return matrix


def write(root: Path, *, old: bool = False) -> Path:
    """Write the study; in an `old` one only the first two predictions are kept, without names. Return its folder."""
    folder = root / STUDY.name
    store = Store(folder)
    write_bytes(folder / "study.toml", study.dump(STUDY).encode())
    truths = masks()
    names = IDS[:2] if old else IDS
    arrays = {f"truth{at}": truths[name] for at, name in enumerate(names)}
    for at in range(len(names)):
        image = np.repeat(60 * true(at)[..., None] + 40, 3, axis=2).astype(np.uint8)
        arrays[f"image{at}"] = image if old else thumbnails.encoded(image)
    about = {} if old else {"data": np.array("0123")}
    write_arrays(store.examples("smear", 0), ids=np.array(names), **about, **arrays)
    for network, name in enumerate(NETWORKS):
        scored(store, name, "ce", {one: predicted(network, one) for one in IDS}, truths, names, old=old)
    scored(store, "otsu", None, {one: np.zeros((SIDE, SIDE), np.uint8) for one in IDS}, truths, names, old=old)
    return folder


def scored(
    store: Store,
    architecture: str,
    loss: str | None,
    found: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    names: tuple[str, ...],
    *,
    old: bool,
) -> Record:
    """Store a cell with its counts and pictures."""
    cell = synthetic.cell(architecture, loss)
    kept = {f"predicted{at}": found[name] for at, name in enumerate(names)}
    if not old:
        kept["ids"] = np.array(names)
    write_arrays(store.cell(cell) / "predictions.npz", **kept)
    counts = np.stack([confusion(truths[name], found[name]) for name in IDS])
    record = synthetic.record(cell, study=STUDY.name, counts_hash=store.write_counts(cell, list(IDS), counts))
    ingredients = plan.ingredients(cell, STUDY, data="0123", code="", versions={})
    assert record.data is not None
    card = replace(record.data, classes=CLASSES, test=len(IDS))
    record = replace(record, data=card, ingredients=ingredients, fingerprint=plan.digest(ingredients), best_epoch=4)
    store.write(record)
    return record


def grown(folder: Path, architecture: str, *, best_epoch: int = 4) -> Path:
    """Store how the predictions of a network grew, over epochs 1, 2, 4 and 8; return the file."""
    path = Store(folder).cell(synthetic.cell(architecture, "ce")) / "epochs.npz"
    frames = np.stack([np.minimum(true(0), at) for at in range(4)]).astype(np.uint8)
    image = thumbnails.encoded(np.zeros((SIDE, SIDE, 3), np.uint8))
    arrays = {"image0": image, "truth0": true(0), "predicted0": frames}
    epochs = {"epochs": np.array([1, 2, 4, 8]), "best_epoch": np.array(best_epoch)}
    write_arrays(path, ids=np.array([HOSTILE]), **epochs, **arrays)
    return path
