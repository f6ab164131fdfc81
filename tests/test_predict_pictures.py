"""Which pictures `bench predict` takes, how they lie, what becomes of those that are wrong, and memory."""

from __future__ import annotations

import csv
import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bench
from bench import blending, networks, overlay, pictured, predict
from bench.errors import StudyError
from bench.fit import windows
from bench.predict import Options
from bench.records import Record
from bench.specs import Recipe
from bench.store import Store
from bench.trained import Trained
from tests import small
from tests.commands import call

TURNS = {1: 0, 3: 2, 6: 3, 8: 1}
"""Orientations of EXIF that are turns, and how many quarters counter-clockwise make a picture upright."""


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Path, Record]:
    """The folder of a trained cell, and its record."""
    study, where = small.study(name="shown"), small.place(tmp_path_factory.mktemp("shown"), data_home)
    small.execute(study, where)
    record = next(one for one in small.stored(study, where).values() if one.cell.loss)
    return Store(where.results / "shown").cell(record.cell), record


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(40, 56, seed)).save(path)
    return path


def model(network: nn.Module, record: Record, monkeypatch: pytest.MonkeyPatch) -> predict.Model:
    """A network of the test's own behind the record of a cell."""
    monkeypatch.setattr(predict, "_network", lambda trained: network)
    return predict.Model(Trained(record=record, weights=Path(), recipe=Recipe(size=(32, 32))), "cpu")


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_read_as_it_is_shown_whatever_way_the_camera_was_held(tmp_path: Path, kind: str, orientation: int):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :16] = 255
    stored, exif = Image.fromarray(np.rot90(upright, -TURNS[orientation])), Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{kind}", exif=exif, **({"quality": 100} if kind == "jpg" else {}))

    assert np.abs(upright.astype(int) - pictured.read(tmp_path / f"a.{kind}")).max() < 10
    assert (orientation != 1) == pictured.turned(tmp_path / f"a.{kind}")


def test_an_overlay_lies_as_the_turned_picture_does_and_the_command_says_so(cell: tuple[Path, Record], tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 56)).save(tmp_path / "phone.jpg", exif=exif)
    code, out, _ = call("predict", cell[0], tmp_path / "phone.jpg", "--to", tmp_path / "out", "--device", "cpu")

    assert 0 == code
    assert "Turned upright" in out
    assert (56, 40, 3) == np.asarray(Image.open(tmp_path / "out" / "phone-overlay.png")).shape
    assert [str(tmp_path / "phone.jpg")] == json.loads((tmp_path / "out/predictions.json").read_bytes())["turned"]


def test_a_folder_predicted_into_itself_twice_gives_the_same_pictures(cell: tuple[Path, Record], tmp_path: Path):
    for name in ("a.png", "b.png"):
        saved(tmp_path / name)
    saved(tmp_path / "a-classes-of-mine.png")
    for _ in range(2):
        assert 0 == call("predict", cell[0], tmp_path, "--to", tmp_path, "--overwrite", "--device", "cpu")[0]
    assert 0 == call("predict", cell[0], tmp_path / "b.png", "--to", tmp_path, "--overwrite", "--device", "cpu")[0]

    assert ["a-classes-of-mine.png", "a.png", "b.png"] == [one.name for one in pictured.found([str(tmp_path)])]
    assert 3 + 2 * 3 == len(list(tmp_path.glob("*.png")))
    assert ["a-overlay.png"] == [one.name for one in pictured.found([str(tmp_path / "a-overlay.png")])]


def test_what_cannot_be_read_is_skipped_and_told_and_the_others_are_done(cell: tuple[Path, Record], tmp_path: Path):
    good, broken, later = saved(tmp_path / "a.png"), tmp_path / "b.png", saved(tmp_path / "c.png", 1)
    broken.write_bytes(b"no picture")
    mask = tmp_path / "d.png"
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(mask)
    code, _, err = call("predict", cell[0], good, broken, later, mask, "--to", tmp_path / "out", "--device", "cpu")
    manifest = json.loads((tmp_path / "out/predictions.json").read_bytes())
    rows = list(csv.DictReader((tmp_path / "out/counts.csv").read_text().splitlines()))

    assert (2, 1) == (code, err.count("\n"))
    assert "2 of 4 pictures skipped, the first: " in err
    assert "b.png cannot be read as an image" in err
    assert [str(broken), str(mask)] == list(manifest["skipped"])
    assert ["a", "c"] == list(manifest["images"])
    assert {str(good), str(later)} == {row["image"] for row in rows}
    expected = bench.load(cell[0], device="cpu").predict(noise(40, 56, 1)).labels
    assert (expected == np.asarray(Image.open(tmp_path / "out/c-classes.png"))).all()


def test_an_error_in_the_middle_keeps_what_was_done_before(
    cell: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths, whole = [saved(tmp_path / f"{name}.png") for name in "ab"], predict.Model.predict_many

    def once(self: predict.Model, images: object, options: Options) -> object:
        yield next(whole(self, images, options))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(predict.Model, "predict_many", once)
    code, _, err = call("predict", cell[0], *paths, "--to", tmp_path / "out", "--device", "cpu", "--batch", 1)

    assert (2, 1) == (code, err.count("\n"))
    assert "The 1 pictures before are done." in err
    assert {"a-classes.png", "a-overlay.png", "counts.csv", "predictions.json"} == {
        one.name for one in (tmp_path / "out").iterdir()
    }


def test_an_option_that_is_wrong_leaves_nothing_in_the_folder(cell: tuple[Path, Record], tmp_path: Path):
    path = saved(tmp_path / "a.png")
    for words in (("--how", "tile", "--overlap", 40), ("--scale", 2), ("--how", "tile", "--scale", 99)):
        assert 2 == call("predict", cell[0], path, "--to", tmp_path / "out", "--device", "cpu", *words)[0]

    assert not list(tmp_path.glob("out/*"))


def test_no_file_name_is_a_formula_to_a_spreadsheet(tmp_path: Path):
    names = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "a=b.png"]
    rows = [overlay.Count(image=name, name="cell", objects=None, pixels=4, share=0.5) for name in names]
    overlay.write_counts(tmp_path / "counts.csv", rows)
    read = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))

    assert ["'=1+1.png", "'+a.png", "'-a.png", "'@a.png", "'\ta.png", "a=b.png"] == [row["image"] for row in read]


def test_windows_are_the_whole_picture_at_any_scale_for_a_network_that_sees_single_pixels(
    cell: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(0)
    ours, image = model(nn.Conv2d(3, len(cell[1].data.classes), 1), cell[1], monkeypatch), noise(90, 70)
    for scale in (0.5, 1.3):
        whole = ours.predict(image, Options(how="whole", scale=scale))
        tiled = ours.predict(image, Options(how="tile", scale=scale, size=(32, 24), flips=True))
        lean = ours.predict(image, Options(how="tile", scale=scale, size=(32, 24), probabilities=False))

        # brought to native size as logits there, as probabilities here: between pixels they differ
        np.testing.assert_allclose(whole.probabilities, tiled.probabilities, atol=0.1)
        np.testing.assert_allclose(1, tiled.probabilities.sum(axis=0), atol=1e-5)
        assert (whole.labels == lean.labels).mean() > 0.97
        assert (len(cell[1].data.classes), 0, 70) == lean.probabilities.shape


def test_bands_of_windows_give_the_weighted_mean_of_all_windows():
    recipe, native, generator = Recipe(size=(16, 12), fit="tile", overlap=5), (45, 31), np.random.default_rng(0)
    tiles = windows(native, recipe)
    maps = {window: generator.random((3, *window.native)).astype(np.float32) for window in tiles}
    labels, found = blending.blended(native, tiles, recipe.size, 3, lambda some: (maps[one] for one in some), keep=True)
    total, weights = np.zeros((3, *native)), np.zeros(native)
    rows, columns = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in recipe.size)
    for window, one in maps.items():
        at = (
            slice(window.rows.start, window.rows.start + window.rows.length),
            slice(window.columns.start, window.columns.start + window.columns.length),
        )
        total[(slice(None), *at)] += one * np.outer(rows, columns)
        weights[at] += np.outer(rows, columns)

    np.testing.assert_allclose(total / weights, found, rtol=1e-5)
    assert ((total / weights).argmax(axis=0) == labels).mean() > 0.999


def test_memory_of_a_tiled_picture_goes_with_its_width_where_no_probabilities_are_wanted(
    cell: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch
):
    ours = model(nn.Conv2d(3, len(cell[1].data.classes), 1), cell[1], monkeypatch)

    def peak(height: int) -> int:
        image = noise(height, 64)
        tracemalloc.start()
        ours.predict(image, Options(how="tile", size=(64, 64), probabilities=False))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    everything = 4 * len(cell[1].data.classes) * 64  # bytes of the probabilities of a row
    peak(128)
    assert peak(4096) - peak(1024) < 0.25 * 3072 * everything


def test_a_picture_that_cannot_fit_into_memory_whole_is_refused_before_it_is_tried(
    cell: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch
):
    ours = model(nn.Conv2d(3, len(cell[1].data.classes), 1), cell[1], monkeypatch)
    classes = len(cell[1].data.classes)

    assert 4 * (3 + classes) == networks.bytes_per_pixel(nn.Conv2d(3, classes, 1), 16)
    monkeypatch.setattr(predict, "free_memory", lambda: 1000.0)
    with pytest.raises(StudyError, match="Use --how tile"):
        ours.predict(noise(64, 64), Options(how="whole"))
    assert (64, 64) == ours.predict(noise(64, 64), Options(how="tile")).labels.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("how", ["as-trained", "whole", "tile"])
def test_a_gpu_predicts_many_pictures_as_the_processor_does(cell: tuple[Path, Record], tmp_path: Path, how: str):
    shutil.copytree(cell[0], tmp_path / "cell")
    images = [noise(40, 56, seed) for seed in range(5)]
    ours, theirs = (
        list(bench.load(tmp_path / "cell", device=device, batch=4).predict_many(images, Options(how=how, flips=True)))
        for device in ("cpu", "cuda")
    )

    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=2e-2)


def test_a_data_card_that_counts_leaks_can_stand_in_a_set(cell: tuple[Path, Record]):
    cards = [replace(cell[1].data, leaked={"test": 1}) for _ in range(2)]

    assert 1 == len(set(cards))


def test_the_command_says_that_cells_are_shown_at_another_size_than_the_network_knows(
    cell: tuple[Path, Record], tmp_path: Path
):
    words = cell[0], saved(tmp_path / "a.png"), "--to", tmp_path / "out", "--overwrite", "--device", "cpu", "--how"

    assert "The study showed its pictures at 32x32; --how whole shows" in call("predict", *words, "whole")[1]
    assert "The study showed" not in call("predict", *words, "tile", "--scale", "0.5")[1]
    assert "The study showed" not in call("predict", *words, "as-trained")[1]
