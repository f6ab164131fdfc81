"""A stored cell applied to pictures: as it was scored, whole, in windows, flipped; files, and every error one line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench import checkpoint, evaluate, networks, overlay, pictured, predict
from bench.errors import BenchError, DataError, StudyError
from bench.predict import How, Options
from bench.prepare import open_prepared
from bench.records import Record
from bench.specs import ClassSpec, Recipe
from bench.store import Store, write_bytes
from bench.trained import Trained
from tests import small
from tests.commands import call

FITS = {
    "resize": Recipe(size=(32, 32), batch=3, precision="fp32"),
    "letterbox": Recipe(size=(48, 32), batch=3, precision="fp32", fit="letterbox"),
    "tile": Recipe(size=(32, 32), batch=3, precision="fp32", fit="tile", overlap=8),
}
TWO = (ClassSpec(name="background", colour=(0, 0, 0)), ClassSpec(name="cell", colour=(255, 255, 255)))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> dict[str, tuple[Store, Record]]:
    """A trained cell of each fit."""
    found = {}
    for fit, recipe in FITS.items():
        study, where = small.study(recipe=recipe, name=fit), small.place(tmp_path_factory.mktemp(fit), data_home)
        small.execute(study, where)
        record = next(one for one in small.stored(study, where).values() if one.cell.loss)
        found[fit] = Store(where.results / fit), record
    return found


@pytest.fixture
def folder(cells: dict[str, tuple[Store, Record]], tmp_path: Path) -> Path:
    """A study of our own to spoil; the folder of its trained cell."""
    store, record = cells["resize"]
    shutil.copytree(store.root, tmp_path / "results" / "resize")
    return Store(tmp_path / "results" / "resize").cell(record.cell)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a [bold]picture.png"
    Image.fromarray(noise(40, 56)).save(path)
    return path


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def change(folder: Path, **changes: object) -> None:
    path = folder / "record.json"
    write_bytes(path, json.dumps(json.loads(path.read_bytes()) | changes).encode())


def model(network: torch.nn.Module, record: Record, monkeypatch: pytest.MonkeyPatch) -> predict.Model:
    """A network of the test's own behind the record of a cell."""
    monkeypatch.setattr(predict, "_network", lambda trained: network)
    return predict.Model(Trained(record=record, weights=Path(), recipe=FITS["resize"]), "cpu")


@pytest.mark.parametrize("fit", FITS)
def test_a_test_image_gives_the_counts_that_are_stored_to_the_last_pixel(
    cells: dict[str, tuple[Store, Record]], data_home: Path, fit: str
):
    store, record = cells[fit]
    ids, stored = store.counts(record.cell)
    prepared = open_prepared(small.SMEAR, data_home)
    entries = {entry.sample.id: entry for entry in prepared.index.entries}
    pairs = [prepared.native(entries[name]) for name in ids]
    found = bench.load(store.cell(record.cell), device="cpu").predict_many(image for image, _ in pairs)
    counts = [
        evaluate.confusion(truth, one.labels, len(prepared.classes))
        for (_, truth), one in zip(pairs, found, strict=True)
    ]

    assert stored.tolist() == np.stack(counts).tolist()
    assert stored.sum() > 0


def test_a_network_whose_encoder_was_frozen_is_rebuilt_without_the_weights_it_began_with(
    cells: dict[str, tuple[Store, Record]], tmp_path: Path
):
    record = cells["resize"][1]
    name = "unet[encoder=tu-test_resnet,frozen=1,weights=imagenet]"
    state = networks.build(name, len(record.data.classes), seed=3, scratch=True).state_dict()
    fit = SimpleNamespace(state=state, value=None, best_epoch=1)
    checkpoint.save_weights(tmp_path / "weights.safetensors", fit)
    other = replace(record, cell=replace(record.cell, architecture=name))

    found = predict.Model(Trained(record=other, weights=tmp_path / "weights.safetensors", recipe=FITS["resize"]), "cpu")

    for key, value in found._forward.network.state_dict().items():
        assert torch.equal(state[key], value), key
    assert (40, 56) == found.predict(noise(40, 56)).labels.shape


def test_windows_equal_the_whole_picture_where_the_network_sees_less_than_they_overlap(
    cells: dict[str, tuple[Store, Record]],
):
    store, record = cells["tile"]
    ours, image = bench.load(store.cell(record.cell), device="cpu"), noise(90, 70)
    whole = ours.predict(image, Options(how=How.WHOLE))
    tiled = ours.predict(image, Options(how=How.TILE, size=(40, 40), overlap=20))

    # convolutions of 3 x 3, padded with zeros, go wrong along the frame of a window, where its weight is least
    assert np.abs(whole.probabilities - tiled.probabilities).max() < 0.05
    assert (whole.labels == tiled.labels).mean() > 0.98


def test_windows_of_a_network_that_sees_single_pixels_are_the_whole_picture(
    cells: dict[str, tuple[Store, Record]], monkeypatch: pytest.MonkeyPatch
):
    record = cells["resize"][1]
    ours = model(torch.nn.Conv2d(3, len(record.data.classes), 1), record, monkeypatch)
    for shape in ((90, 70), (20, 100), (5, 7)):
        image = noise(*shape)
        whole = ours.predict(image, Options(how="whole"))
        tiled = ours.predict(image, Options(how="tile", size=(32, 24)))

        np.testing.assert_allclose(whole.probabilities, tiled.probabilities, atol=1e-5)


def test_flips_of_a_symmetric_picture_give_a_symmetric_prediction_and_one_flip_alone_does_not(
    cells: dict[str, tuple[Store, Record]], monkeypatch: pytest.MonkeyPatch
):
    record = cells["resize"][1]
    torch.manual_seed(0)
    ours = model(torch.nn.Conv2d(3, len(record.data.classes), 3, padding=1), record, monkeypatch)
    quarter = noise(16, 12)
    half = np.concatenate([quarter, quarter[::-1]])
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    flipped = ours.predict(image, Options(how="whole", flips=True)).probabilities
    plain = ours.predict(image, Options(how="whole")).probabilities

    np.testing.assert_allclose(flipped, flipped[:, ::-1, :], atol=1e-5)
    np.testing.assert_allclose(flipped, flipped[:, :, ::-1], atol=1e-5)
    assert np.abs(plain - plain[:, :, ::-1]).max() > 0.01


def test_pictures_of_mixed_sizes_are_predicted_as_each_alone_and_grey_is_its_colour_thrice(
    cells: dict[str, tuple[Store, Record]],
):
    store, record = cells["letterbox"]
    ours = bench.load(store.cell(record.cell), device="cpu", batch=3)
    images = [noise(40, 56), noise(40, 56, 1), noise(7, 99), noise(1, 1), noise(64, 64)[..., 0]]
    together = list(ours.predict_many(images))

    assert [image.shape[:2] for image in images] == [one.labels.shape for one in together]
    for image, one in zip(images, together, strict=True):
        np.testing.assert_allclose(ours.predict(image).probabilities, one.probabilities, atol=1e-5)
        np.testing.assert_allclose(1, one.probabilities.sum(axis=0), atol=1e-5)
    grey = np.repeat(images[4][..., None], 3, axis=2)
    assert (ours.predict(grey).labels == together[4].labels).all()
    assert (np.uint8, np.float32) == (together[0].labels.dtype, together[0].probabilities.dtype)


def test_a_threshold_and_a_blur_change_the_classes_and_a_blur_keeps_the_sum(
    cells: dict[str, tuple[Store, Record]], monkeypatch: pytest.MonkeyPatch
):
    record = cells["resize"][1]
    two = replace(record, data=replace(record.data, classes=TWO))
    torch.manual_seed(0)
    ours, image = model(torch.nn.Conv2d(3, 2, 1), two, monkeypatch), noise(32, 32)
    plain = ours.predict(image)
    strict = ours.predict(image, Options(threshold=0.7))
    blurred = ours.predict(image, Options(blur=2))

    assert ((plain.probabilities[1] >= 0.7) == strict.labels).all()
    np.testing.assert_allclose(1, blurred.probabilities.sum(axis=0), atol=1e-5)
    assert blurred.probabilities[1].std() < plain.probabilities[1].std() / 2


def test_an_overlay_ends_at_white_and_never_wraps():
    white, labels = np.full((4, 5, 3), 255, np.uint8), np.array([[0, 1, 1, 1, 0]] * 4, np.uint8)

    assert (overlay.overlay(white, labels, TWO) == 255).all()
    assert [100, 215] == overlay.overlay(np.full((1, 2, 3), 100, np.uint8), labels[:1, :2], TWO)[0, :, 0].tolist()


def test_the_command_writes_class_maps_overlays_probabilities_counts_and_what_was_done(folder: Path, picture: Path):
    to = picture.parent / "out"
    grey = picture.parent / "pictures" / "grey.png"
    grey.parent.mkdir()
    Image.fromarray(noise(30, 20)[..., 0].astype(np.uint16) * 257).save(grey)
    code, out, err = call(
        "predict", folder, picture, grey.parent, "--to", to, "--objects", "--probabilities", "float16", "--flips",
        "--device", "cpu",
    )  # fmt: skip
    rows = list(csv.DictReader((to / "counts.csv").read_text().splitlines()))
    manifest = json.loads((to / "predictions.json").read_bytes())
    ours = bench.load(folder, device="cpu")
    expected = ours.predict(noise(40, 56), Options(flips=True))
    stem = manifest["images"]
    name = next(name for name, path in stem.items() if path == str(picture))
    shown = Image.open(to / f"{name}-classes.png")
    half = np.load(to / f"{name}-probabilities.npy")

    assert (0, "") == (code, err)
    assert "2 pictures" in out
    assert (expected.labels == np.asarray(shown)).all()
    colours = [value for one in ours.classes for value in one.colour]
    assert colours == shown.getpalette()[: len(colours)]
    assert (np.float16, expected.probabilities.shape) == (half.dtype, half.shape)
    assert ["image", "class", "objects", "pixels", "share"] == list(rows[0])
    assert 40 * 56 + 30 * 20 == sum(int(row["pixels"]) for row in rows)
    assert (ours.record.weights_hash, True) == (manifest["weights_sha256"], manifest["options"]["flips"])
    assert (30, 20, 3) == np.asarray(Image.open(to / "grey-overlay.png")).shape


def test_a_cell_is_found_by_its_key_in_the_newest_study(folder: Path, picture: Path):
    results, key = folder.parents[5], bench.load(folder).record.cell.key

    assert 0 == call("predict", key, picture, "--results", results, "--to", picture.parent / "out")[0]
    assert key == bench.load(key, results=results).record.cell.key


def refused(*words: object) -> str:
    """The one line that a command ends with, exit code 2."""
    code, _, err = call("predict", *words)

    assert (2, 1) == (code, err.count("\n"))
    return err


def test_what_is_wrong_with_a_cell_is_one_line(folder: Path, picture: Path):
    results, key = folder.parents[5], bench.load(folder).record.cell.key
    here = ("--results", results, "--to", picture.parent / "out")

    assert "Did you mean" in refused(key.replace("tiny", "tinny"), picture, *here)
    assert "is a baseline" in refused(f"{small.SMEAR}/all_background/-/f0-s0", picture, *here)
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    assert "is not the file its record names" in refused(folder, picture, *here)
    weights.unlink()
    assert "is missing" in refused(folder, picture, *here)
    weights.write_bytes(whole)
    text = (folder / "record.json").read_text()
    ingredients = json.loads(text)["ingredients"]
    change(folder, ingredients=ingredients | {"code": "other"})
    assert "changed since" in refused(folder, picture, *here)
    assert 0 == call("predict", folder, picture, "--force", *here)[0]
    failure = {"phase": "train", "kind": "ValueError", "message": "out\nof luck"}
    change(folder, weights_hash=None, status="failed", error=failure)
    assert "ended as failed: out of luck" in refused(folder, picture, *here, "--overwrite")
    cell = json.loads(text)["cell"] | {"architecture": "unheard_of"}
    (folder / "record.json").write_text(text)
    change(folder, cell=cell)
    assert "no architecture named 'unheard_of'" in refused(folder, picture, *here, "--overwrite")


def test_what_is_wrong_with_pictures_folders_and_options_is_one_line(folder: Path, picture: Path):
    broken, mask = picture.with_name("broken.png"), picture.with_name("mask.png")
    broken.write_bytes(b"no picture")
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(mask)
    here = ("--to", picture.parent / "out", "--overwrite")

    assert "cannot be read as an image" in refused(folder, broken, *here)
    assert not list((picture.parent / "out").glob("*"))
    assert "looks like a mask" in refused(folder, mask, *here)
    assert "is no picture" in refused(folder, picture.with_name("nowhere*.png"), *here)
    assert "is not empty" in refused(folder, picture, "--to", picture.parent)
    assert "is a file" in refused(folder, picture, "--to", picture)
    assert "--size is 'big'" in refused(folder, picture, *here, "--size", "big")
    assert "threshold goes with two classes" in refused(folder, picture, *here, "--threshold", "0.5")
    assert "threshold is 2" in refused(folder, picture, *here, "--threshold", "2")
    assert "blur is -1" in refused(folder, picture, *here, "--blur", "-1")
    assert "overlap goes with how=tile" in refused(folder, picture, *here, "--overlap", "3")
    assert "overlap is 40" in refused(folder, picture, *here, "--how", "tile", "--overlap", "40")
    assert "no device" in refused(folder, picture, *here, "--device", "abacus")


def test_memory_that_is_too_small_is_one_line(folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*words: object, **named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(evaluate, "predictions", full)

    assert "--how tile" in refused(folder, picture, "--to", picture.parent / "out")


def test_a_picture_that_is_no_picture_is_refused_in_python(folder: Path):
    ours = bench.load(folder, device="cpu")

    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), None):
        with pytest.raises(DataError, match="must be uint8"):
            ours.predict(wrong)
    with pytest.raises(StudyError):
        bench.load(folder, batch=0)
    with pytest.raises(BenchError):
        bench.load("nowhere", results=folder)


def test_equal_names_of_pictures_get_numbers_and_leave_no_folder():
    assert ["a", "A-2", "a-3"] == overlay.stems([Path("x/a.png"), Path("y/A.png"), Path("a.tif")])
    assert 3 == len({name.casefold() for name in overlay.stems([Path("x/a.png"), Path("y/A.png"), Path("a-2.png")])})


def test_no_prediction_is_written_over_a_picture_that_is_read(tmp_path: Path):
    both = [tmp_path / "a.png", tmp_path / "a-overlay.png"]
    for path in both:
        Image.new("RGB", (8, 8)).save(path)
    code, _, complained = call("predict", "any/cell", *both, "--to", tmp_path, "--overwrite")
    assert code == 2
    assert "would be written over the picture" in " ".join(complained.split())


def test_importing_bench_alone_loads_nothing_heavy_and_names_what_it_offers():
    code = "import bench, sys; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules); print(bench.load.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (0, "load") == (result.returncode, result.stdout.strip())


def test_a_pattern_reaches_into_folders_of_folders(tmp_path: Path):
    for name in ("a.png", "deep/b.png", "deep/deeper/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)

    assert ["a.png", "b.png", "c.png"] == [one.name for one in pictured.found([f"{tmp_path}/**/*.png"])]


def test_the_table_holds_file_names_that_are_no_text(tmp_path: Path):
    name = os.fsdecode(b"cell-\xff.png")
    overlay.write_counts(
        tmp_path / "counts.csv", [overlay.Count(image=name, name="cell", objects=1, pixels=4, share=0.5)]
    )

    assert b"cell-\xff.png,cell,1,4,0.5\n" in (tmp_path / "counts.csv").read_bytes()
