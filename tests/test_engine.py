"""What a cell does when memory runs out, when a network collapses, and when it is broken off within a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import runner, train
from bench.records import Execution, Status, TrialStatus
from bench.specs import Place, Recipe, Tuning
from bench.store import Store
from tests import small


def cell(name: str, loss: str = "ce", seed: int = 0) -> str:
    return f"{small.SMEAR}/{name}/{loss}/f0-s{seed}"


@pytest.fixture
def where(tmp_path: Path, data_home: Path) -> Place:
    return small.place(tmp_path, data_home)


def test_a_batch_that_does_not_fit_is_halved_and_the_record_says_so(where: Place):
    name = "hungry[everywhere=true,most=1]"
    wanted = runner.resolve(small.study(architectures=(name,), losses=("ce", "dice")))
    small.execute(wanted, where)
    records = small.stored(wanted, where)
    one, other = (records[f"{small.SMEAR}/{wanted.architectures[0]}/{loss}/f0-s0"] for loss in ("ce", "dice"))

    assert (Status.OK, Status.OK) == (one.status, other.status)
    assert one.batch_adapted and other.batch_adapted
    assert Execution(precision="fp32", micro_batch=1) == one.execution == other.execution


def test_the_batch_that_fits_is_found_once_for_all_cells_of_an_architecture(where: Place, monkeypatch):
    tried: list[int] = []
    whole = train.fit

    def fit(forward, *arguments, **options):
        tried.append(forward.execution.micro_batch)
        return whole(forward, *arguments, **options)

    monkeypatch.setattr(train, "fit", fit)
    wanted = runner.resolve(small.study(architectures=("hungry[most=1]",), losses=("ce", "dice")))
    small.execute(wanted, where)

    assert [3, 2, 1, 1, 1, 1] == tried  # two trials of two losses, and two that ran out of memory
    [memory] = (where.results / "small" / "executions").rglob("*.json")
    assert 1 == json.loads(memory.read_text())["execution"]["micro_batch"]


def test_memory_that_runs_out_in_validation_alone_is_found_too(where: Place):
    wanted = runner.resolve(small.study(architectures=("hungry[everywhere=false,most=2]",)))
    small.execute(wanted, where)
    record = small.stored(wanted, where)[f"{small.SMEAR}/{wanted.architectures[0]}/ce/f0-s0"]

    assert (Status.OK, True) == (record.status, record.batch_adapted)


def test_a_single_image_that_does_not_fit_is_a_row_out_of_memory(where: Place):
    wanted = runner.resolve(small.study(architectures=("hungry[most=0]", "tiny")))
    small.execute(wanted, where)
    records = small.stored(wanted, where)

    assert Status.OUT_OF_MEMORY == records[f"{small.SMEAR}/{wanted.architectures[0]}/ce/f0-s0"].status
    assert Status.OK == records[cell("tiny")].status


@pytest.mark.parametrize("seeds", [0, 1])
def test_a_network_that_calls_all_one_class_is_diverged_and_keeps_its_score(where: Place, seeds: int):
    wanted = small.study(architectures=("stubborn",), seeds=seeds)
    small.execute(wanted, where)
    record = small.stored(wanted, where)[cell("stubborn", seed=seeds)]
    _, counts = Store(where.results / "small").counts(
        next(c.cell for c in runner.survey(wanted, where) if c.cell.seed == seeds)
    )

    assert (Status.DIVERGED, "Collapsed") == (record.status, record.error and record.error.kind)
    assert {TrialStatus.COLLAPSED} == {trial.status for trial in record.trials}
    assert 0 == counts[:, :, 1:].sum() < counts.sum()
    from bench import metrics, standings

    [board] = standings.boards(standings.rows(wanted, Store(where.results / "small"), metrics.DEFAULT), metrics.DEFAULT)
    shown = next(one for one in board.standings if one.architecture == "stubborn")
    assert (0.0, 1) == (shown.values["mdice_d_fg"], shown.done)


@pytest.mark.parametrize("epochs", [1, 4, 7])
@pytest.mark.parametrize("seeds", [0, 1])
def test_a_cell_broken_off_within_a_training_goes_on_from_its_last_epoch(
    where: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, seeds: int
):
    """Whatever the epoch: the second run trains only what is left, and ends in the same record."""
    wanted = small.study(
        seeds=seeds, tuning=Tuning(lr_range=(1e-3, 1e-1), trials=2), budget=replace(small.study().budget, epochs=4)
    )
    (tmp_path / "calm").mkdir()
    calm = small.place(tmp_path / "calm", where.data_home)
    small.execute(wanted, calm)
    validated, whole = list[int](), train.validate

    def validate(*arguments):
        if len(validated) == epochs:
            raise KeyboardInterrupt
        validated.append(1)
        return whole(*arguments)

    todo = runner.pending(runner.survey(wanted, where), retry_failed=False)
    job = replace(runner.job(wanted, where, "cpu", 1), threads=1, checkpoint_s=0.0)
    monkeypatch.setattr(train, "validate", validate)
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(job, todo, engine=None, on_event=lambda event: None)
    epochs = 10**6
    runner.run_study(
        job, runner.pending(runner.survey(wanted, where), retry_failed=False), engine=None, on_event=lambda event: None
    )
    one, other = small.stored(wanted, calm), small.stored(wanted, where)

    assert 4 * (2 + seeds) == len(validated)  # no epoch twice
    for key, record in one.items():
        assert untimed(record) == untimed(other[key])
    assert not list(where.results.rglob("checkpoint.safetensors"))
    for name in ("counts.npz", "predictions.npz"):
        assert [path.read_bytes() for path in sorted(calm.results.rglob(name))] == [
            path.read_bytes() for path in sorted(where.results.rglob(name))
        ]


def untimed(record):
    """A record without what a clock or a meter says."""
    plain = replace(record, seconds={}, finished="", peak_memory_mb=None, efficiency=None)
    history = tuple(replace(epoch, seconds=0.0) for epoch in plain.history)
    return replace(plain, history=history, trials=tuple(replace(trial, seconds=0.0) for trial in plain.trials))


def test_deterministic_mode_asks_torch_for_it_and_measures_nothing(where: Place, monkeypatch: pytest.MonkeyPatch):
    import torch

    asked: list[bool] = []
    whole = train.fit

    def fit(*arguments, **options):
        asked.append(torch.are_deterministic_algorithms_enabled())
        return whole(*arguments, **options)

    monkeypatch.setattr(train, "fit", fit)
    wanted = small.study(recipe=Recipe(size=(32, 32), batch=3, augment="standard", deterministic=True))
    small.execute(wanted, where)
    record = small.stored(wanted, where)[cell("tiny")]

    assert [True, True] == asked
    assert not torch.are_deterministic_algorithms_enabled()
    assert record.execution is not None and {} == record.execution.speeds


def test_an_operation_without_a_deterministic_version_is_told():
    import torch

    from bench.device import deterministic

    with deterministic(True, torch.device("cpu")) as complaints:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    assert ["put_"] == complaints


def test_data_that_do_not_fit_are_streamed_to_the_same_result(where: Place, tmp_path: Path, monkeypatch):
    from bench import cell as cells
    from bench.data import Streamed

    seen: list[type] = []
    whole = train.fit

    def fit(forward, loss, pairs, *arguments, **options):
        seen.append(type(pairs))
        return whole(forward, loss, pairs, *arguments, **options)

    small.execute(small.study(), where)
    other = small.place(tmp_path / "streamed", where.data_home)
    monkeypatch.setattr(cells, "room", lambda device, workers: 100.0)
    monkeypatch.setattr(train, "fit", fit)
    small.execute(small.study(), other)
    one, streamed = (small.stored(small.study(), place)[cell("tiny")] for place in (where, other))

    assert {Streamed} == set(seen)
    assert untimed(one) == untimed(streamed)
    assert np.isfinite(one.efficiency.infer_images_s)


def test_a_disk_that_is_full_when_the_journal_is_written_ends_the_study_and_fails_no_cell(where: Place, monkeypatch):
    import errno

    from bench import tune
    from bench.errors import DiskFull

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tune.optuna.storages.journal.JournalFileBackend, "append_logs", full)
    with pytest.raises(DiskFull, match=r"No room is left to write .*tiny"):
        small.execute(small.study(), where)

    assert [f"{small.SMEAR}/all_background/-/f0-s0"] == list(small.stored(small.study(), where))


def test_weight_decay_and_batch_size_are_tuned_with_the_rate_and_told(where: Place):
    tuning = Tuning(lr_range=(1e-3, 1e-1), trials=4, weight_decay_range=(1e-6, 1e-2), batches=(2, 6))
    wanted = small.study(tuning=tuning, seeds=1)
    small.execute(wanted, where)
    first, second = (small.stored(wanted, where)[cell("tiny", seed=seed)] for seed in (0, 1))
    chosen = next(one for one in first.trials if one.lr == first.lr)

    assert {2, 6} >= {one.batch for one in first.trials} != {None}
    assert all(1e-6 <= one.weight_decay <= 1e-2 for one in first.trials)
    assert (
        (chosen.weight_decay, chosen.batch) == (first.weight_decay, first.batch) == (second.weight_decay, second.batch)
    )
    assert 6 == first.execution.micro_batch and not first.batch_adapted


def test_what_a_worker_says_can_be_read_without_torch(where: Place):
    import pickle
    import subprocess
    import sys

    events = small.execute(small.study(), where)
    code = "import pickle, sys; pickle.load(sys.stdin.buffer); assert 'torch' not in sys.modules"

    assert {"started", "phase", "epoch", "finished"} == {event.kind for event in events}
    subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(events),
        cwd=runner.__file__.rpartition("/bench/")[0],
        check=True,
    )


def test_a_final_row_that_went_wrong_says_both_what_happened_and_that_it_is_done(where: Place):
    wanted = small.study(architectures=("stubborn",))
    small.execute(wanted, where)
    one = next(one for one in runner.survey(wanted, where) if one.cell.loss)

    assert [
        "diverged in train: Collapsed: It calls every validation pixel the same class.",
        "It is done: nothing that matters changed.",
    ] == runner.why(one)


def test_a_seed_that_diverges_is_called_so_and_keeps_the_score_of_its_best_epoch(where: Place, monkeypatch):
    whole, calls = train.fit, list[int]()

    def fit(*arguments, **options):
        calls.append(1)
        if len(calls) < 3:
            return whole(*arguments, **options)
        monkeypatch.setattr(train, "_Losses", Lost)  # from the second epoch of the third training
        return whole(*arguments, **options)

    class Lost(train._Losses):
        made = 0

        def mean(self):
            Lost.made += 1
            return super().mean() if Lost.made == 1 else None

    monkeypatch.setattr(train, "fit", fit)
    wanted = small.study(seeds=1)
    small.execute(wanted, where)
    first, second = (small.stored(wanted, where)[cell("tiny", seed=seed)] for seed in (0, 1))

    assert "Diverged" != (first.error and first.error.kind)
    assert (Status.DIVERGED, "Diverged") == (second.status, second.error and second.error.kind)
    assert (1, None) == (second.best_epoch, second.history[-1].loss)
    assert second.counts_hash is not None


@pytest.mark.parametrize("batch", [2, 5])
def test_no_batch_is_a_single_image_where_there_are_more(where: Place, batch: int):
    """Five or seven images in batches of two, and six in batches of five: batch normalisation needs two."""
    wanted = runner.resolve(
        small.study(
            datasets=("smear[size=64,test=4,train=7,val=3]",),
            architectures=("normal",),
            recipe=Recipe(size=(32, 32), batch=batch, precision="fp32"),
        )
    )
    small.execute(wanted, where)

    assert {Status.OK, Status.DIVERGED} >= {record.status for record in small.stored(wanted, where).values()}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_finished_training_is_not_lost_when_its_process_dies_in_the_evaluation(where: Place, monkeypatch, seed: int):
    from bench import cell as cells

    wanted = small.study(seeds=1)
    trained, whole, predict = list[int](), train.fit, cells._predict

    def fit(*arguments, **options):
        trained.append(options["seed"])
        return whole(*arguments, **options)

    def die(state, *arguments):
        if state.cell.seed == seed:
            raise KeyboardInterrupt
        return predict(state, *arguments)

    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(cells, "_predict", die)
    with pytest.raises(KeyboardInterrupt):
        small.execute(wanted, where)
    monkeypatch.setattr(cells, "_predict", predict)
    small.execute(wanted, where)

    assert 3 == len(trained)  # two trials and one seed, each once
    assert not list(where.results.rglob("fit.safetensors"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: out of memory", True),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: device-side assert triggered", False),
    ],
)
def test_memory_that_has_run_out_is_known_by_its_many_names(message: str, expected: bool):
    from bench.device import out_of_memory

    assert expected == out_of_memory(RuntimeError(message))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_what_cannot_be_copied_is_run_by_the_rule(tmp_path: Path):
    import torch
    from torch import nn

    from bench import execution, losses

    network = nn.utils.weight_norm(nn.Conv2d(3, 2, 1))
    network(torch.rand(1, 3, 4, 4))  # its weight is no leaf now, and cannot be copied
    recipe = Recipe(size=(16, 16), batch=4)
    timer = execution.Timer(network, losses.build("ce"), 1, 2, recipe, torch.device("cpu"))
    memory = execution.Memory(folder=tmp_path, circumstances={})

    found = execution.choose(timer, memory, 10**6, seconds=100.0)

    assert execution.rule(recipe, timer.device) == replace(found, refused={})
    assert "deepcopy" in found.refused[found.name]
