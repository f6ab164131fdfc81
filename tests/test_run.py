from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import catalog, losses, runner
from bench import study as studies
from bench.errors import DataError, StudyError
from bench.records import Execution, Record, Status
from bench.specs import Budget, Place, Recipe, Tuning
from bench.split import SPLIT_VERSION
from bench.store import Store
from tests import small

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> Place:
    """A small study that has run to its end."""
    where = small.place(tmp_path_factory.mktemp("finished"), data_home)
    small.execute(small.study(), where)
    return where


def test_every_cell_ends_as_a_record_that_says_how_it_was_made(finished: Place):
    records = small.stored(small.study(), finished)
    network = records[f"{small.SMEAR}/tiny/ce/f0-s0"]
    baseline = records[f"{small.SMEAR}/all_background/-/f0-s0"]

    assert {Status.OK} == {record.status for record in records.values()}
    assert (2, 2) == (len(network.trials), len(network.history))
    assert network.lr in {trial.lr for trial in network.trials}
    assert network.params == sum(p.numel() for p in _tiny().parameters())
    assert {"prepare", "measure", "tune", "train", "evaluate"} == set(network.seconds)
    assert network.peak_memory_mb is None or network.peak_memory_mb > 50
    assert {"torch", "device", "threads"} <= set(network.environment)
    assert network.execution == Execution(precision="fp32", micro_batch=3)
    assert network.efficiency is not None
    assert network.efficiency.flops == 2 * 32 * 32 * 9 * (3 * 8 + 8 * 8) + 2 * 32 * 32 * 8 * 10
    assert None not in (network.efficiency.train_images_s, network.efficiency.infer_images_s)
    assert network.efficiency.seconds_to_best == network.history[network.best_epoch - 1].seconds
    assert (None, None) == (network.efficiency.gpu_seconds_to_best, network.efficiency.energy_j)
    assert (None, ()) == (baseline.lr, baseline.trials)
    assert {"recipe", "tuning", "budget", "versions", "data", "code"} <= set(network.ingredients)


def test_the_stored_weights_give_the_stored_counts(finished: Place):
    """Everything that was published of a cell can be made again from its files."""
    import safetensors.torch

    from bench import evaluate, prepare

    cell = next(c for c in (one.cell for one in runner.survey(small.study(), finished)) if c.loss)
    store = Store(finished.results / "small")
    network = _tiny()
    network.load_state_dict(safetensors.torch.load_file(store.cell(cell) / "weights.safetensors"))
    data = prepare.open_prepared(small.SMEAR, finished.data_home)
    test = [data.index.entries[at] for at in data.split(0, 1)["test"]]
    images = data.resized(small.study().recipe)[0][data.split(0, 1)["test"]]
    sizes = [(entry.height, entry.width) for entry in test]
    predicted = evaluate.predict(
        small.plain(network, 3), images, sizes, recipe=small.study().recipe, device=torch.device("cpu")
    )
    again = np.stack([evaluate.confusion(data.native(e)[1], p, 10) for e, p in zip(test, predicted, strict=True)])
    ids, counts = store.counts(cell)

    assert [entry.sample.id for entry in test] == ids
    assert (64 * 64 * np.ones(4) == counts.sum(axis=(1, 2))).all()
    assert (again == counts).all()


def test_a_second_run_does_nothing(finished: Place):
    before = {path: path.stat().st_mtime_ns for path in finished.results.rglob("*") if path.is_file()}

    assert [] == small.execute(small.study(), finished)
    assert before == {path: path.stat().st_mtime_ns for path in finished.results.rglob("*") if path.is_file()}


def test_the_resolved_study_is_written_beside_the_results(finished: Place):
    assert small.study() == studies.load(str(finished.results / "small" / "study.toml"))


def test_the_run_repeats_itself_to_the_last_count(finished: Place, tmp_path: Path):
    again = replace(small.place(tmp_path, finished.data_home))
    small.execute(small.study(), again)
    one, other = (small.stored(small.study(), where) for where in (finished, again))

    assert {key: record.counts_hash for key, record in one.items()} == {
        key: record.counts_hash for key, record in other.items()
    }


@pytest.mark.parametrize(
    ("change", "ingredient"),
    [
        ({"budget": Budget(epochs=3)}, "budget.epochs: was 2, is 3"),
        ({"recipe": Recipe(size=(32, 32), batch=2, precision="fp32")}, "recipe.batch: was 3, is 2"),
        ({"tuning": Tuning(lr_range=(1e-3, 1e-2), trials=2)}, "tuning.lr_range: was [0.001, 0.1], is (0.001, 0.01)"),
    ],
)
def test_a_changed_setting_makes_networks_stale_but_not_baselines(finished: Place, change: dict, ingredient: str):
    planned = runner.survey(small.study(**change), finished)
    network = next(one for one in planned if one.cell.loss)
    baseline = next(one for one in planned if one.cell.loss is None)

    assert (runner.Standing.STALE, runner.Standing.DONE) == (network.standing, baseline.standing)
    assert [ingredient] == runner.why(network)


def test_a_changed_drop_in_file_makes_its_cells_stale(finished: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner.catalog, "code_hash", lambda kind, name: "other")
    standings = {one.cell.architecture: one.standing for one in runner.survey(small.study(), finished)}

    assert {"tiny": runner.Standing.STALE, "all_background": runner.Standing.DONE} == standings


def test_fresh_seeds_retrain_the_smoothed_rate_and_leave_seed_zero_alone(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    small.execute(small.study(), where)
    first = small.stored(small.study(), where)[f"{small.SMEAR}/tiny/ce/f0-s0"]
    events = small.execute(small.study(seeds=2), where)
    after = small.stored(small.study(seeds=2), where)
    fresh = [after[f"{small.SMEAR}/tiny/ce/f0-s{seed}"] for seed in (1, 2)]

    assert first == after[f"{small.SMEAR}/tiny/ce/f0-s0"]
    assert {None} == {event.trial for event in events}  # no rate was tried again
    assert [first.lr_smooth] * 2 == [record.lr for record in fresh]
    assert 3 == len({first.counts_hash, *(record.counts_hash for record in fresh)})


def test_folds_test_every_image_once(tmp_path: Path, data_home: Path):
    where, wanted = small.place(tmp_path, data_home), small.study(folds=3, architectures=("tiny",))
    small.execute(wanted, where)
    store = Store(where.results / wanted.name)
    cells = [one.cell for one in runner.survey(wanted, where) if one.cell.loss]
    tested = [name for cell in cells for name in store.counts(cell)[0]]

    assert [1, 2, 3] == [cell.fold for cell in cells]
    assert (13, 13) == (len(tested), len(set(tested)))


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("raise", Status.FAILED, "planted: this network does not work"),
        ("memory", Status.OUT_OF_MEMORY, "planted: no memory left"),
        ("diverge", Status.DIVERGED, None),
    ],
)
def test_a_cell_that_goes_wrong_is_a_row_and_the_study_goes_on(
    tmp_path: Path, data_home: Path, how: str, status: Status, words: str | None
):
    where = small.place(tmp_path, data_home)
    wanted = small.study(architectures=(f"faulty[how={how}]", "tiny"))
    small.execute(wanted, where)
    records = small.stored(wanted, where)
    wrong = records[f"{small.SMEAR}/faulty[how={how}]/ce/f0-s0"]

    assert (status, Status.OK) == (wrong.status, records[f"{small.SMEAR}/tiny/ce/f0-s0"].status)
    assert (words is None) == (wrong.error is None)
    if wrong.error is not None:
        assert ("tune", words) == (wrong.error.phase, wrong.error.message)
        assert "Traceback" in (Store(where.results / "small").cell(wrong.cell) / "log.txt").read_text()


def test_a_failed_cell_runs_again_only_when_asked_to(tmp_path: Path, data_home: Path):
    where, wanted = small.place(tmp_path, data_home), small.study(architectures=("faulty",), baselines=())
    small.execute(wanted, where)

    assert [] == small.execute(wanted, where)
    kinds = [event.kind for event in small.execute(wanted, where, retry_failed=True)]

    assert ("started", "finished") == (kinds[0], kinds[-1])


def test_a_folder_gives_the_same_result_however_its_path_is_spelled(tmp_path: Path, data_home: Path, monkeypatch):
    from bench import export

    export.export(small.SMEAR, data_home, tmp_path / "cells")
    monkeypatch.chdir(tmp_path)
    counts = set()
    for number, spelled in enumerate(("./cells", "cells/", str(tmp_path / "cells"))):
        wanted = runner.resolve(small.study(name=f"s{number}", datasets=(spelled,)))
        where = small.place(tmp_path, data_home)
        small.execute(wanted, where)
        counts |= {record.counts_hash for record in small.stored(wanted, where).values() if record.cell.loss}

    assert 1 == len(counts)
    assert ("cells",) == runner.resolve(small.study(datasets=("./cells", "cells/"))).datasets


def test_all_stands_for_every_entry_of_an_axis_and_others_may_stand_beside_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all").mkdir()
    wanted = runner.resolve(
        small.study(
            datasets=(small.SMEAR, "all", "./all"),
            architectures=("all", "tiny[width=3]"),
            losses=("dice+ce", "all", "ce"),
        )
    )

    assert (
        small.SMEAR,
        *(name for name in catalog.entries("datasets") if name != "folder"),
        "./all",
    ) == wanted.datasets
    assert (*catalog.entries("architectures"), "tiny[width=3]") == wanted.architectures
    assert ("dice+ce", *losses.LOSSES) == wanted.losses
    assert {"smear", "lisc"} <= set(wanted.datasets)
    assert runner.resolve(wanted) == wanted  # as it is read again from the results folder


def test_a_rate_that_is_fixed_is_trained_at_exactly_and_is_at_no_edge(tmp_path: Path, data_home: Path):
    rate = 7e-5
    wanted = small.study(tuning=Tuning(lr_range=(rate, rate), trials=1), seeds=1)
    where = small.place(tmp_path, data_home)
    small.execute(studies.check(wanted, where="here"), where)
    records = [record for record in small.stored(wanted, where).values() if record.cell.loss]

    assert [(rate, False)] * 2 == [(record.lr, record.edge) for record in records]
    assert [rate] == [trial.lr for trial in records[0].trials]


def test_a_split_without_foreground_is_refused_before_anything_runs(tmp_path: Path, data_home: Path):
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(10):
        noise = generator.integers(0, 256, (8, 8), dtype=np.uint8)
        for kind, mask in (("images", noise), ("masks", np.eye(8, dtype=np.uint8) * (number == 0))):
            (tmp_path / "cells" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "cells" / kind / f"{number}.png")
    wanted = small.study(datasets=(str(tmp_path / "cells"),))

    with pytest.raises(
        DataError, match=r"The \w+ split of .*cells \(fold 0\) has no foreground pixel in its \d+ images."
    ):
        runner.survey(wanted, small.place(tmp_path, data_home))


def test_results_inside_the_folder_of_a_data_set_do_not_change_it(tmp_path: Path, data_home: Path, monkeypatch):
    from bench import export

    export.export("smear[size=64,test=6,train=12,val=4]", data_home, tmp_path / "cells")
    monkeypatch.chdir(tmp_path / "cells")
    wanted = small.study(datasets=(".",))
    where = small.place(tmp_path / "cells", data_home)
    small.execute(wanted, where, workers=2)

    assert {Status.OK} == {record.status for record in small.stored(wanted, where).values()}
    assert [] == small.execute(wanted, where)


def test_an_error_without_words_is_a_failed_row_like_any_other(tmp_path: Path, data_home: Path):
    where, wanted = small.place(tmp_path, data_home), small.study(architectures=("faulty[how=silent]", "tiny"))
    events = small.execute(wanted, where)
    import io

    from rich.console import Console

    from bench import plan
    from bench.cli_live import Lines
    from bench.progress import Account

    with Lines(Console(file=io.StringIO()), Account(wanted, plan.cells(wanted))) as lines:
        for event in events:
            lines.tell(event)
    statuses = {record.cell.architecture: record.status for record in small.stored(wanted, where).values()}

    assert (Status.FAILED, Status.OK) == (statuses["faulty[how=silent]"], statuses["tiny"])


def test_a_device_that_is_not_there_ends_the_study_with_one_line(tmp_path: Path, data_home: Path):
    where, wanted = small.place(tmp_path, data_home), small.study()
    job = replace(runner.job(wanted, where, "cuda:77", 1), threads=1)

    with pytest.raises(StudyError, match=r"cuda:77 is not here: torch sees \d+ CUDA devices. Use --device auto."):
        runner.run_study(job, runner.survey(wanted, where), engine=None, on_event=lambda event: None)


@pytest.mark.parametrize("calls", [1, 2])
def test_a_tuning_broken_off_between_trials_ends_like_an_undisturbed_one(
    finished: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
):
    """No training may depend on the one before it: initial weights, order and dropout come from the seed alone."""
    from bench import train

    whole, left = train.fit, [calls]

    def fit(*arguments: object, **options: object) -> train.Fit:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    where = small.place(tmp_path, finished.data_home)
    monkeypatch.setattr(train, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        small.execute(small.study(tuning=Tuning(lr_range=(1e-3, 1e-1), trials=3)), where)
    monkeypatch.undo()
    wanted = small.study(tuning=Tuning(lr_range=(1e-3, 1e-1), trials=3))
    (tmp_path / "calm").mkdir()
    calm = small.place(tmp_path / "calm", finished.data_home)
    for place in (where, calm):
        small.execute(wanted, place)
    one, other = (small.stored(wanted, place)[f"{small.SMEAR}/tiny/ce/f0-s0"] for place in (where, calm))

    assert [trial.lr for trial in one.trials] == [trial.lr for trial in other.trials]
    assert [trial.value for trial in one.trials] == [trial.value for trial in other.trials]
    assert one.counts_hash == other.counts_hash


FULL = """
import resource, sys
from pathlib import Path
from bench.errors import DiskFull
from tests import small
if __name__ == "__main__":
    where = small.place(Path(sys.argv[1]), Path(sys.argv[2]))
    small.execute(small.study(architectures=("tiny",)), where)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        small.execute(small.study(architectures=("tiny", "tiny[width=64]")), where)
    except DiskFull as error:
        print("full:", error)
"""


def test_a_disk_that_fills_stops_the_study_and_keeps_every_finished_cell(tmp_path: Path, data_home: Path):
    script = tmp_path / "script.py"
    script.write_text(FULL)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(data_home)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    where = small.place(tmp_path, data_home)

    assert "full: No room is left to write" in result.stdout, result.stderr
    assert {Status.OK} == {record.status for record in small.stored(small.study(), where).values()}
    assert [] == list(where.results.rglob("*.part"))


def test_records_are_plain_json_that_json_itself_reads(finished: Place):
    paths = list((finished.results / "small" / "cells").rglob("record.json"))
    loaded = [
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in a record")) for path in paths
    ]

    assert 2 == len(loaded)
    assert {field.name for field in fields(Record)} | {"seal"} == set(loaded[0])


def _tiny() -> torch.nn.Module:
    from bench import networks

    return networks.build("tiny", 10)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(size=(48, 32), fit="letterbox"), Recipe(size=(40, 40), fit="tile", overlap=8)],
    ids=["letterbox", "tile"],
)
def test_every_fit_is_scored_at_native_size_on_every_pixel_once(recipe: Recipe, tmp_path: Path, data_home: Path):
    wanted = small.study(name=recipe.fit, recipe=replace(recipe, batch=3, precision="fp32"))
    where = small.place(tmp_path, data_home)
    small.execute(wanted, where)
    store = Store(where.results / recipe.fit)

    assert {Status.OK} == {record.status for record in small.stored(wanted, where).values()}
    for record in small.stored(wanted, where).values():
        assert (64 * 64 * np.ones(4) == store.counts(record.cell)[1].sum(axis=(1, 2))).all()


def test_images_are_brought_to_size_before_the_first_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    where = small.place(tmp_path, tmp_path / "home")
    found: list[str] = []

    def look(*_: object) -> None:
        found.extend(path.name for path in where.data_home.glob("*/*.npy"))

    monkeypatch.setattr(runner, "_run_on", look)
    small.execute(small.study(), where, workers=2)

    assert ["images-32x32-resize.npy", "masks-32x32-resize.npy"] == sorted(found)


def test_the_split_is_stored_beside_the_results(finished: Place):
    from bench.prepare import open_prepared

    prepared = open_prepared(small.SMEAR, finished.data_home)
    stored = json.loads(Store(finished.results / "small").split(small.SMEAR, 0).read_text())

    assert (SPLIT_VERSION, small.SMEAR, 0, 1) == tuple(stored[key] for key in ("version", "dataset", "fold", "folds"))
    assert prepared.index.hash == stored["data"]
    for name, group in prepared.split(0, 1).items():
        assert sorted(prepared.index.entries[at].sample.id for at in group) == stored[name]


def test_another_way_of_splitting_makes_stored_cells_stale(finished: Place, monkeypatch: pytest.MonkeyPatch):
    from bench import prepare

    monkeypatch.setattr(prepare, "SPLIT_VERSION", SPLIT_VERSION + 1)

    assert {runner.Standing.STALE} == {one.standing for one in runner.survey(small.study(), finished)}
