"""Cells counted on the forty real pairs: the watershed of the masks themselves, and of what a network predicts."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import bench
from bench import objects, overlay
from bench.datasets import blood_cell
from bench.predict import Options
from bench.prepare import prepare
from bench.specs import Budget, ClassSpec, Recipe, Sample, Tuning
from bench.store import Store
from tests import small
from tests.commands import call
from tests.real import REAL, real

DUST = 20
"""Pixels that no cell of the real masks has: some masks have specks of a single one."""
TWO = (ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(255, 0, 0)))


def areas(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Areas of the components of a mask, without specks."""
    found = np.bincount(objects.components(mask == 1).ravel())[1:]
    return found[found > DUST]


def apart(mask: NDArray[np.uint8]) -> bool:
    """Whether the watershed finds nothing to part in a mask: its cells are separate."""
    found = objects.components(mask == 1)
    return objects.watershed_count(found, DUST) == len(areas(mask))


@real
def test_cells_of_real_masks_are_counted_within_ten_percent_and_exactly_to_one_where_none_is_large():
    total = np.zeros(2, int)
    for sample in blood_cell.read(REAL)[::2]:
        mask = blood_cell.load(sample)[1]
        true = areas(mask)
        counted = overlay.counts("a", mask, TWO, split=True)[1].objects
        total += len(true), counted

        assert len(true) == pytest.approx(counted, rel=0.1), sample.id
        if true.max() < 1.6 * np.median(true):  # nothing is as large as two cells
            assert len(true) == pytest.approx(counted, abs=1), sample.id
    assert total[0] == pytest.approx(total[1], rel=0.03)


def test_specks_do_not_count_unless_it_is_said_from_where_on_they_do():
    labels, rows = np.zeros((120, 200), np.uint8), np.indices((120, 200))
    for row, column in ((30, 30), (30, 90), (80, 60)):  # discs of 1,257 pixels
        labels[(rows[0] - row) ** 2 + (rows[1] - column) ** 2 <= 400] = 1
    labels[100, 100:105] = labels[5:17, 150:162] = 1  # 5, and 144 pixels: a fifth of a disc is 251

    assert [3, 5, 4] == [
        overlay.counts("a", labels, TWO, split=True, min_area=least)[1].objects for least in (None, 0, 100)
    ]
    assert 0 == overlay.counts("a", labels * 0, TWO, split=True)[1].objects


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> Path:
    """The folder of a network trained on seventeen of the real pictures."""
    prepare("blood_cell", data_home, REAL)
    wanted = small.study(
        name="real",
        datasets=("blood_cell",),
        architectures=("plain_unet[width=16]",),
        losses=("dice+ce",),
        recipe=Recipe(size=(288, 384), batch=2, augment="standard", precision="fp32"),
        tuning=Tuning(lr_range=(2e-3, 2e-3), trials=1),
        budget=Budget(epochs=40),
    )
    where = small.place(tmp_path_factory.mktemp("real"), data_home)
    small.execute(wanted, where)
    record = next(one for one in small.stored(wanted, where).values() if one.cell.loss)
    return Store(where.results / "real").cell(record.cell)


def scored() -> list[Sample]:
    return [sample for sample in blood_cell.read(REAL) if sample.id.startswith("test")]


@real
@pytest.mark.slow
def test_a_trained_network_counts_separate_cells_within_ten_percent(cell: Path, tmp_path: Path):
    pictures = [sample.image for sample in scored()]
    words = ("--objects", "--threshold", "0.8", "--to", tmp_path / "out", "--device", "cpu")
    assert 0 == call("predict", cell, *pictures, *words)[0]
    rows = csv.DictReader((tmp_path / "out/counts.csv").read_text().splitlines())
    found = {row["image"]: int(row["objects"]) for row in rows if row["class"] == "cell"}
    masks = {str(sample.image): blood_cell.load(sample)[1] for sample in scored()}
    true = {image: len(areas(mask)) for image, mask in masks.items()}
    separate = [image for image, mask in masks.items() if apart(mask)]

    assert sum(true.values()) == pytest.approx(sum(found.values()), rel=0.1)
    assert len(separate) >= 5
    assert sum(true[one] for one in separate) == pytest.approx(sum(found[one] for one in separate), rel=0.1)
    assert 0.1 > np.median([abs(found[one] / true[one] - 1) for one in separate])


@real
@pytest.mark.slow
def test_windows_change_fewer_pixels_than_mirroring_the_picture_does(cell: Path):
    model, whole = bench.load(cell, device="cpu"), Options(how="whole", scale=0.24)
    equal = []
    for sample in scored()[::4]:
        image = blood_cell.load(sample)[0]
        plain, tiled = model.predict(image, whole), model.predict(image, replace(whole, how="tile", size=(192, 256)))
        mirrored = model.predict(np.ascontiguousarray(image[:, ::-1]), whole).labels[:, ::-1]
        equal.append([(plain.labels == labels).mean() for labels in (tiled.labels, mirrored)])

        assert np.abs(plain.probabilities - tiled.probabilities).mean() < 0.02
    windows, mirror = np.mean(equal, axis=0)
    assert windows >= mirror
    assert np.min(equal, axis=0)[0] > 0.99
