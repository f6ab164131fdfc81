"""What needs an optional package: with it when it is installed, and one clear line when it is not."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from bench import cli, cli_dashboard, extras, runner, tune
from bench.errors import StudyError
from bench.job import Event
from bench.records import Epoch
from bench.scalars import Scalars
from bench.specs import Cell
from bench.store import Store
from tests import small

TINY = Cell(dataset=small.SMEAR, architecture="tiny", loss="ce")


@pytest.mark.parametrize(
    ("package", "command", "line"),
    [
        (
            "tensorboard",
            ["run", "matrix", "--tensorboard", "curves"],
            "Error: --tensorboard needs the package tensorboard, which is not installed. "
            "Install it: pip install 'cytobench[tensorboard]'\n",
        ),
        (
            "optuna_dashboard",
            ["dashboard", "mine"],
            "Error: bench dashboard needs the package optuna_dashboard, which is not installed. "
            "Install it: pip install 'cytobench[dashboard]'\n",
        ),
        (
            "ray",
            ["run", "matrix", "--engine", "ray"],
            "Error: --engine ray needs the package ray, which is not installed. "
            "Install it: pip install 'cytobench[cluster]'\n",
        ),
        (
            "submitit",
            ["run", "matrix", "--engine", "slurm"],
            "Error: --engine slurm needs the package submitit, which is not installed. "
            "Install it: pip install 'cytobench[slurm]'\n",
        ),
    ],
)
def test_a_missing_package_is_one_line_before_anything_runs(
    package: str, command: list[str], line: str, tmp_path: Path, monkeypatch, capfd
):
    from bench import study

    (tmp_path / "results" / "mine").mkdir(parents=True)
    (tmp_path / "results" / "mine" / "study.toml").write_text(study.dump(small.study(name="mine")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "argv", ["bench", *command])
    with pytest.raises(SystemExit) as stop:
        cli.main()

    assert (2, ("", line)) == (stop.value.code, tuple(capfd.readouterr()))
    assert not (tmp_path / "data").exists()
    assert ["mine"] == [path.name for path in (tmp_path / "results").iterdir()]


def test_an_error_inside_a_package_that_is_there_is_not_taken_for_a_missing_one(tmp_path: Path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import a_module_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(StudyError, match="x needs the package a_module_nobody_has"):
        extras.load("half_installed", extra="y", wanted_by="x")


def curves(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Every scalar below a folder, by run and tag, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    read = EventMultiplexer().AddRunsFromDirectory(str(folder))
    read.Reload()
    return {
        name: {tag: [(one.step, one.value) for one in read.Scalars(name, tag)] for tag in tags["scalars"]}
        for name, tags in read.Runs().items()
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_of_a_study_read_back_as_its_records_tell_them(tmp_path: Path, data_home: Path):
    pytest.importorskip("tensorboard")
    wanted, where = small.study(seeds=1), small.place(tmp_path, data_home)
    with Scalars(tmp_path / "curves") as scalars:
        for event in small.execute(wanted, where):
            scalars.tell(event)
    found, stored = curves(tmp_path / "curves"), small.stored(wanted, where)
    first, second = stored[f"{small.SMEAR}/tiny/ce/f0-s0"], stored[f"{small.SMEAR}/tiny/ce/f0-s1"]
    base = f"{small.SMEAR}/tiny/ce"

    assert {f"{base}/{name}" for name in ("f0-s0", "f0-s0/trial-0", "f0-s0/trial-1", "f0-s1/final")} == set(found)
    assert [(one.epoch, pytest.approx(one.loss)) for one in second.history] == found[f"{base}/f0-s1/final"]["loss"]
    assert [(one.epoch, pytest.approx(one.value)) for one in second.history] == found[f"{base}/f0-s1/final"][
        "val/mdice_d_fg"
    ]
    assert [(one.number, pytest.approx(one.lr)) for one in first.trials] == found[f"{base}/f0-s0"]["tuning/lr"]
    assert [pytest.approx(second.lr)] == list({rate for _, rate in found[f"{base}/f0-s1/final"]["lr"]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_training_that_begins_again_replaces_what_it_had_written(tmp_path: Path):
    pytest.importorskip("tensorboard")

    def write(first: int, last: int, loss: float) -> None:
        with Scalars(tmp_path) as scalars:
            for at in range(first, last + 1):
                epoch = Epoch(epoch=at, loss=loss, value=None, seconds=1.0)
                scalars.tell(Event(kind="epoch", cell=TINY, trial=0, epoch=epoch))

    write(1, 5, 0.5)
    write(1, 2, 0.25)
    write(3, 4, 0.125)  # goes on from a checkpoint

    [run] = curves(tmp_path).values()

    assert {"loss": [(1, 0.25), (2, 0.25), (3, 0.125), (4, 0.125)]} == run


def test_names_cannot_leave_the_folder_of_curves(tmp_path: Path):
    pytest.importorskip("tensorboard")
    with Scalars(tmp_path / "curves") as scalars:
        epoch = Epoch(epoch=1, loss=1.0, value=0.5, seconds=1.0)
        scalars.tell(Event(kind="epoch", cell=Cell(dataset="../../up", architecture="..", loss="/ce"), epoch=epoch))

    assert ["curves"] == [path.name for path in tmp_path.iterdir()]


def test_journals_are_gathered_by_cell_and_left_as_they_are(tmp_path: Path, data_home: Path):
    wanted, where = small.study(losses=("ce", "dice")), small.place(tmp_path, data_home)
    small.execute(wanted, where)
    folder = where.results / "small"
    found = cli_dashboard.journals(folder)
    torn = Store(folder).tuning(TINY) / "journal"
    torn.write_bytes(torn.read_bytes() + b'{"op_code":6,"wor')  # as while it is written
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"what is this\n")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}
    storage, unread = tune.gather({**found, "damaged": damaged})

    assert [f"{small.SMEAR}/tiny/{loss}/f0-s0" for loss in ("ce", "dice")] == list(found)
    assert list(found) == [study.study_name for study in storage.get_all_studies()]
    assert [damaged] == unread
    for study in storage.get_all_studies():
        record = small.stored(wanted, where)[study.study_name]

        assert [(one.lr, one.value) for one in record.trials] == [
            (one.params["lr"], one.value) for one in storage.get_all_trials(study._study_id)
        ]
    assert before == {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_serves_the_tunings_of_a_study(tmp_path: Path, data_home: Path):
    pytest.importorskip("optuna_dashboard")
    wanted, where = small.study(), small.place(tmp_path, data_home)
    folder = where.results / "small"
    small.execute(wanted, where)
    with cli_dashboard.server(folder, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://localhost:{serving.server_port}/api/studies") as answer:
                told = json.load(answer)
            with pytest.raises(
                StudyError, match=f"port {serving.server_port} cannot be used: .* Choose another --port"
            ):
                cli_dashboard.server(folder, serving.server_port)
        finally:
            serving.shutdown()
            thread.join()

    assert [TINY.key] == [study["study_name"] for study in told["study_summaries"]]


def test_a_study_that_tuned_nothing_has_no_dashboard(tmp_path: Path, data_home: Path):
    pytest.importorskip("optuna_dashboard")
    where = small.place(tmp_path, data_home)
    runner.write_study(small.study(), where)

    with pytest.raises(StudyError, match=r"No cell of .* has been tuned yet"):
        cli_dashboard.server(where.results / "small", 0)
