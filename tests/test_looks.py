"""What a training made of a few images, epoch by epoch: kept without changing it, and never lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import checkpoint, evaluate, looks, losses, train
from bench.data import ordered
from bench.prepare import Entry
from bench.specs import Budget, Place, Recipe, Sample
from bench.store import Store, read_arrays, sha256, write_arrays
from tests import small
from tests.test_checkpoint import network
from tests.test_train import pairs

RECIPE = Recipe(size=(32, 32), batch=2, augment="standard")


def fit(*, watched=(2, 0), epochs: int = 12, **hooks) -> train.Fit:
    torch.manual_seed(5)
    return train.fit(
        small.plain(network(), 2), losses.build("ce"), pairs(), pairs(3), classes=2, recipe=RECIPE, lr=0.05, seed=1,
        budget=Budget(epochs=epochs), watch=lambda epoch, speed: False, watched=watched, **hooks,
    )  # fmt: skip


def test_about_eight_epochs_are_looked_at_the_first_and_the_last_among_them():
    assert {1} == looks.epochs(1)
    assert {1, 2, 3} == looks.epochs(3)
    assert {1, 2, 4, 7, 14, 27, 52, 100} == looks.epochs(100)
    assert all(4 <= len(looks.epochs(last)) <= 8 and {1, last} <= looks.epochs(last) for last in range(5, 500))


def test_watching_changes_nothing_to_the_last_bit(tmp_path: Path):
    watched, calm = fit(), fit(watched=())

    assert [(e.loss, e.value) for e in calm.history] == [(e.loss, e.value) for e in watched.history]
    assert all(torch.equal(calm.state[name], watched.state[name]) for name in calm.state)
    assert ({}, calm.best_epoch) == (calm.looks, watched.best_epoch)
    for name, fitted in (("a", watched), ("b", calm)):
        checkpoint.save_weights(tmp_path / name, fitted)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_the_maps_are_those_of_the_epochs_and_of_the_best_one():
    own, seen = network(), {}
    maps: dict[int, torch.Tensor] = {}

    @torch.inference_mode()
    def keep(training: train.Training) -> None:
        training.network.eval()
        images = torch.cat([batch for batch, _ in ordered(pairs(3), 3)])
        number = len(training.history)
        maps[number] = training.network(images).argmax(dim=1)[[2, 0]].to(torch.uint8)
        seen[number] = training.best_epoch

    fitted = fit(keep=keep)
    own.load_state_dict(fitted.state)

    assert looks.epochs(12) | {fitted.best_epoch} == set(fitted.looks)
    assert list(fitted.looks) == sorted(fitted.looks)
    assert fitted.best_epoch in fitted.looks
    assert all(torch.equal(maps[epoch], fitted.looks[epoch]) for epoch in set(fitted.looks) & set(maps))
    assert len(set(seen.values())) > 1  # the best one changed on the way


def test_large_maps_are_kept_as_thumbnails():
    one = looks.Looks((1,), frozenset({1}))
    labels = torch.randint(0, 9, (2, 700, 300))
    one.see(0, labels)
    kept: dict[int, torch.Tensor] = {}
    one.onto(kept, 1, 0, better=False)

    assert {1: (1, 256, 110)} == {epoch: tuple(maps.shape) for epoch, maps in kept.items()}
    assert torch.uint8 is kept[1].dtype


def test_a_training_that_is_taken_up_again_loses_no_look(tmp_path: Path):
    path = tmp_path / "checkpoint.safetensors"

    def keep(training: train.Training) -> None:
        checkpoint.save(path, training, "a")
        if len(training.history) == 5:
            raise KeyboardInterrupt

    calm = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(keep=keep)
    resumed = fit(resume=lambda training: checkpoint.restore(path, training, "a"))
    checkpoint.save_fit(tmp_path / "fit.safetensors", resumed, "a")
    again = checkpoint.load_fit(tmp_path / "fit.safetensors", "a")

    assert again is not None
    for found in (resumed, again):
        assert list(calm.looks) == list(found.looks)
        assert all(torch.equal(calm.looks[epoch], found.looks[epoch]) for epoch in calm.looks)
        assert calm.state.keys() == found.state.keys()


def test_the_images_that_are_kept_begin_with_the_chosen_ones_and_are_spread_over_the_rest():
    def entry(*pixels: int) -> Entry:
        sample = Sample(id="x", image="", mask="", source="x")
        return Entry(sample=sample, height=1, width=1, offset=0, hash="", pixels=pixels)

    entries = [entry(9, 0, 0), *[entry(9, 1, 0)] * 50, entry(9, 0, 1)]
    test = list(range(len(entries)))
    kept = evaluate.kept(entries, test, 12)

    assert evaluate.chosen(entries, test) == kept[:4]
    assert 12 == len(set(kept))
    assert max(np.diff(sorted(kept[4:]))) < 9
    assert sorted(evaluate.kept(entries, test)) == test
    assert evaluate.chosen(entries, test, 2) == evaluate.kept(entries, test, 2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> Place:
    where = small.place(tmp_path_factory.mktemp("finished"), data_home)
    small.execute(small.study(seeds=1), where)
    return where


def test_a_cell_keeps_the_masks_that_its_counts_are_of(finished: Place):
    store = Store(finished.results / "small")
    examples = None
    for record in small.stored(small.study(), finished).values():
        arrays = read_arrays(store.cell(record.cell) / "predictions.npz")
        examples = read_arrays(store.examples(record.cell.dataset, 0))
        ids, counts = store.counts(record.cell)
        names = [str(name) for name in arrays["ids"]]
        assert set(ids) == set(names)
        assert names == [str(name) for name in examples["ids"]]
        for number, name in enumerate(names):
            truth, found = examples[f"truth{number}"], arrays[f"predicted{number}"]
            assert evaluate.confusion(truth, found, counts.shape[1]).tolist() == counts[ids.index(name)].tolist()


def test_the_scored_training_of_seed_zero_leaves_its_epochs_and_only_that(finished: Place):
    records = small.stored(small.study(seeds=1), finished)
    store = Store(finished.results / "small")
    first, second = (records[f"{small.SMEAR}/tiny/ce/f0-s{seed}"] for seed in (0, 1))
    arrays = read_arrays(store.cell(first.cell) / "epochs.npz")
    val = json.loads(store.split(small.SMEAR, 0).read_bytes())["val"]

    assert [1, 2] == arrays["epochs"].tolist()
    assert first.best_epoch == arrays["best_epoch"]
    assert sorted(val) == sorted(map(str, arrays["ids"]))
    assert all((2, 32, 32) == arrays[f"predicted{number}"].shape for number in range(3))
    assert not (store.cell(second.cell) / "epochs.npz").exists()


def test_the_best_epochs_map_is_what_the_stored_weights_give(finished: Place):
    import safetensors.torch

    from bench import networks, prepare, thumbnails
    from bench.data import normalise

    store = Store(finished.results / "small")
    record = small.stored(small.study(), finished)[f"{small.SMEAR}/tiny/ce/f0-s0"]
    arrays = read_arrays(store.cell(record.cell) / "epochs.npz")
    prepared = prepare.reopen(small.SMEAR, finished.data_home)
    images, masks, owners = prepared.resized(small.study().recipe)
    own = networks.build("tiny", len(prepared.classes), 0).eval()
    own.load_state_dict(safetensors.torch.load_file(store.cell(record.cell) / "weights.safetensors"))
    at = arrays["epochs"].tolist().index(record.best_epoch)
    for number, name in enumerate(arrays["ids"]):
        row = next(row for row, owner in enumerate(owners) if prepared.index.entries[owner].sample.id == str(name))
        with torch.inference_mode():
            found = own(normalise(torch.from_numpy(np.array(images[row : row + 1])))).argmax(dim=1)[0]
        assert (found.numpy() == arrays[f"predicted{number}"][at]).mean() > 0.999
        assert thumbnails.mask(np.array(masks[row])).tolist() == arrays[f"truth{number}"].tolist()


def test_examples_of_other_data_are_replaced_and_right_ones_are_left_alone(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    wanted = replace(small.study(), architectures=())
    small.execute(wanted, where)
    path = Store(where.results / "small").examples(small.SMEAR, 0)
    right, moment = read_arrays(path), path.stat().st_mtime_ns
    small.execute(replace(wanted, baselines=("all_background", "otsu")), where)
    assert moment == path.stat().st_mtime_ns

    write_arrays(path, ids=np.array(["x"]), image0=np.zeros((2, 2, 3), np.uint8), truth0=np.zeros((2, 2), np.uint8))
    small.execute(replace(wanted, baselines=("all_background", "otsu", "majority_class")), where)
    assert right.keys() == read_arrays(path).keys()


def test_a_network_that_was_trained_anew_without_looks_loses_the_old_ones(finished: Place, monkeypatch, tmp_path: Path):
    from bench import cell as cells

    monkeypatch.setattr(looks, "WATCHED", 0)
    where = small.place(tmp_path, finished.data_home)
    record = small.stored(small.study(), finished)[f"{small.SMEAR}/tiny/ce/f0-s0"]
    path = Store(where.results / "small").cell(record.cell) / "epochs.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    small.execute(small.study(), where)

    assert not path.exists()
    again = small.stored(small.study(), where)[f"{small.SMEAR}/tiny/ce/f0-s0"]
    assert (record.counts_hash, record.weights_hash) == (again.counts_hash, again.weights_hash)
    assert cells.looks is looks
