from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import cli
from bench.store import Store
from tests import lookalike, small, synthetic

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run a command as its entry point does; give its exit code, what it printed, and what it complained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(data_home))

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def study_file(tmp_path: Path) -> str:
    from bench import study

    path = tmp_path / "mine.toml"
    path.write_text(study.dump(small.study(name="mine")))
    return str(path)


def images(folder: Path, names: list[str], mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((*size, 3), np.uint8)).convert(mode).save(folder / name)


def test_a_study_runs_reports_and_repeats(bench, study_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code, out, err = bench("run", "matrix", study_file, "--workers", "0")

    assert (0, "") == (code, err)
    assert "tiny" in out
    assert "mdice_d_fg" in out
    assert f"Page: {tmp_path}/results/mine/index.html" in out
    assert {"index.html", "leaderboard.csv", "leaderboard.json", "leaderboard.md", "study.toml"} <= {
        path.name for path in (tmp_path / "results" / "mine").iterdir()
    }
    code, out, err = bench("run", "matrix", study_file, "--workers", "0")

    assert "Nothing to run: all 2 cells of mine are stored and up to date." in out
    code, out, err = bench("report", "mine", "--format", "json")
    rows = json.loads(out)

    assert {"dataset", "architecture", "loss", "seed", "fold", "status", "lr", "profile", "metrics"} <= set(rows[0])
    assert [None, "ce"] == [row["loss"] for row in rows]
    assert 0.0 == rows[0]["metrics"]["mdice_d_fg"]
    assert None is rows[0]["lr"]
    code, out, err = bench("status")

    assert "2 done, 0 failed, 0 stale, 0 pending" in out
    code, out, err = bench("status", "--why", f"{small.SMEAR}/tiny/ce/f0-s0")

    assert "It is done" in out
    code, out, err = bench("report", "mine")
    code, out, err = bench("verify", "mine")

    assert (0, "") == (code, err)
    assert "All is well: " in out
    assert "masks" in out
    code, out, err = bench("compare", "mine", "mine", "--gate")

    assert (0, True) == (code, "2 identical" in out)

    page = (tmp_path / "results" / "mine" / "index.html").read_text(encoding="utf-8")
    [command] = re.findall(r"<code>bench (run matrix study.toml --dataset [^<]*) --results again</code>", page)
    monkeypatch.chdir(tmp_path / "results" / "mine")
    code, out, err = bench(*shlex.split(html.unescape(command)), "--results", "..", "--workers", "0")

    assert (0, "") == (code, err)
    assert "Nothing to run: all 2 cells of mine are stored and up to date." in out


def test_several_results_folders_become_one_page(bench, tmp_path: Path):
    for machine in ("laptop", "server"):
        synthetic.write(tmp_path / machine)
    synthetic.scored(Store(tmp_path / "server" / "synthetic"), synthetic.cell(synthetic.FINE, "ce"), skill=0.8)
    code, out, err = bench("report", "laptop/synthetic", "server/synthetic")

    assert (0, "") == (code, err)
    assert f"Page: {tmp_path}/results/merged/index.html" in out
    assert "unet[encoder=resnet18] @ laptop" in out
    assert "1/1 not_reproducible" in out
    assert "laptop: 6 cells stored in laptop/synthetic, 6 shown, 1 not reproducible, 0 confirm another folder's." in out
    assert "unet[encoder=resnet18] · ce on smear: laptop differs from server in the counts" in out
    code, out, err = bench("report", "laptop/synthetic", "server/synthetic", "--to", "page", "--format", "csv")

    assert (0, "") == (code, err)
    assert out == (tmp_path / "page" / "leaderboard.csv").read_text(encoding="utf-8")
    assert {"page", "laptop", "server", "results"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["laptop/synthetic", "laptop/../laptop/synthetic"], "is named twice"),
        (["laptop/synthetic", "nowhere"], "Neither nowhere nor results/nowhere is the results folder of a study"),
        (["laptop/synthetic", "server/synthetic", "--to", "server/synthetic"], "cannot be written to server/synthetic"),
        (["laptop/synthetic", "--watch", "--format", "csv"], "Leave out --format"),
    ],
)
def test_what_cannot_stand_on_one_page_is_one_line(bench, tmp_path: Path, words: list[str], said: str):
    for machine in ("laptop", "server"):
        synthetic.write(tmp_path / machine)

    code, out, err = bench("report", *words)

    assert (2, "", 1) == (code, out, err.count("\n"))
    assert said in err


def test_options_win_over_the_file_and_the_resolved_study_is_written(bench, study_file: str, tmp_path: Path):
    code, out, _ = bench(
        "run", "matrix", study_file, "--workers", "0", "--epochs", "1", "--trials", "1", "--loss", "dice,0.5*ce+dice",
        "--architecture", "tiny[width=4]", "--size", "16x24", "--batch", "2", "--lr-range", "1e-3:1e-2", "--name", "other",
    )  # fmt: skip
    written = tomllib.loads((tmp_path / "results" / "other" / "study.toml").read_text())

    assert 0 == code
    assert (["dice", "0.5*ce+dice"], ["tiny[width=4]"]) == (written["losses"], written["architectures"])
    assert ([16, 24], 2, 1, 1) == (
        written["recipe"]["size"], written["recipe"]["batch"], written["budget"]["epochs"], written["tuning"]["trials"],
    )  # fmt: skip
    assert [0.001, 0.01] == written["tuning"]["lr_range"]


def test_dry_run_lists_cells_with_parameters_and_cost_and_writes_nothing(bench, study_file: str, tmp_path: Path):
    code, out, _ = bench("run", "matrix", study_file, "--dry-run")

    assert 0 == code
    assert f"{small.SMEAR}/tiny/ce/f0-s0" in out
    assert "898" in out  # the parameters of the tiny network with ten classes
    assert "2 of 2 cells to run" in out
    assert not (tmp_path / "results").exists()


def test_a_dry_run_goes_on_without_data_and_leaves_their_cells_out_of_the_total(bench, study_file: str, tmp_path: Path):
    home = str(tmp_path / "home")
    words = ["run", "matrix", study_file, "--dry-run", "--dataset", f"lisc,{small.SMEAR}", "--data-home", home]
    code, out, err = bench(*words)

    assert (0, "") == (code, err)
    assert ["not prepared"] * 2 == [
        line.split("  ")[-1] for line in map(str.rstrip, out.splitlines()) if "lisc/" in line
    ]
    assert "862" in out  # the tiny network with the six classes of lisc
    assert "4 of 4 cells to run" in out
    assert "Not in it: 2 cells whose data sets are not prepared" in out
    assert "bench data prepare lisc --from PATH" in out
    code, out, err = bench(*words, "--json")
    told = [json.loads(line) for line in out.splitlines()]

    assert ["study", *["cost"] * 4] == [line["event"] for line in told]
    assert [None, None] == [line["seconds"] for line in told[1:3]]
    assert [True] * 2 == [line["seconds"] is not None for line in told[3:]]
    assert 2 == bench(*words, "--dataset", "./nowhere")[0]
    assert not (tmp_path / "results").exists()


def test_a_failed_cell_makes_exit_code_1_and_the_others_are_kept(bench, study_file: str):
    code, out, err = bench("run", "matrix", study_file, "--workers", "0", "--architecture", "tiny,faulty")

    assert 1 == code
    assert "planted: this network does not work" in out
    assert "1 of 3 cells have no result; see bench status" in err
    code, out, _ = bench("status", "mine", "--why", f"{small.SMEAR}/faulty/ce/f0-s0")

    assert "failed in tune: ValueError: planted: this network does not work" in out


def test_a_script_reads_json_lines_from_stdout_and_people_read_stderr(bench, study_file: str, tmp_path: Path):
    from bench import events
    from bench.store import records

    code, out, err = bench(
        "run", "matrix", study_file, "--workers", "1", "--architecture", "tiny,faulty,chatty", "--json"
    )
    lines = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    finished = {line["cell"]: line for line in lines if line["event"] == "finished"}
    stored = {record.cell.key: record for record in records(tmp_path / "results" / "mine")}

    assert 1 == code
    assert "1 of 4 cells have no result" in err
    assert "mdice_d_fg" in err
    assert (
        "a line of its own" not in out + err
    )  # what a network prints in a worker goes to the log of a cell that fails
    assert ("study", 4, 4) == tuple(lines[0][name] for name in ("event", "cells", "to_run"))
    assert stored.keys() == finished.keys()
    for key, record in stored.items():
        told = json.loads(json.dumps(events.recorded(record)))

        assert told == {name: finished[key][name] for name in told}
    assert ("report", 4, 1) == tuple(lines[-1][name] for name in ("event", "cells", "failed"))
    assert [] == [name for name in ("page", "csv", "md", "json") if not Path(lines[-1][name]).is_file()]
    tested = {"mdice_d_fg", "miou_d_fg", "pixel_acc", "metrics", "counts_hash", "test"}
    assert [] == [line for line in lines if tested & line.keys()]
    code, out, err = bench("run", "matrix", study_file, "--json", "--architecture", "tiny,faulty,chatty")

    assert (1, ["study", "report"]) == (code, [json.loads(line)["event"] for line in out.splitlines()])
    assert "Nothing to run" in err
    code, out, err = bench("run", "matrix", study_file, "--json", "--dry-run", "--name", "dry")

    assert ["study", "cost", "cost"] == [json.loads(line)["event"] for line in out.splitlines()]
    code, out, err = bench("run", "matrix", study_file, "--json", "--device", "tpu")

    assert (2, "error") == (code, json.loads(out)["event"])
    assert 1 == err.count("\n")


def test_any_folder_is_a_data_set(bench, tmp_path: Path):
    for number in range(8):
        images(tmp_path / "cells" / "images", [f"{number}.png"])
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 8 : 16 + number] = 255
        (tmp_path / "cells" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{number}.png")
    code, out, err = bench(
        "run", "matrix", "--dataset", "./cells", "--architecture", "tiny", "--loss", "ce", "--epochs", "1", "--trials", "1",
        "--size", "16", "--workers", "0",
    )  # fmt: skip

    assert (0, "") == (code, err)
    assert (tmp_path / "results" / "custom" / "index.html").is_file()
    assert "tiny" in out


WRONG = {
    "unknown architecture": (["--architecture", "unett"], ["'unett'", "Did you mean unet", "bench list architectures"]),
    "unknown data set": (["--dataset", "smeer"], ["'smeer'", "Did you mean smear"]),
    "unknown loss": (["--loss", "dise"], ["'dise'", "Did you mean dice", "bench list losses"]),
    "unknown augmentation": (["--augment", "hevy"], ["'hevy'", "Did you mean heavy"]),
    "unknown study": (["quik"], ["'quik'", "Did you mean quick"]),
    "missing study file": (["nowhere.toml"], ["nowhere.toml", "No such file"]),
    "negative rate": (["--lr-range", "-1e-3:1e-2"], ["lr_range", "-0.001", "between"]),
    "rates the wrong way round": (["--lr-range", "1e-1:1e-3"], ["lr_range", "lower end comes first"]),
    "a rate that is no number": (["--lr-range", "high"], ["--lr-range high", "LOW:HIGH"]),
    "no epochs": (["--epochs", "0"], ["budget.epochs is 0", "between 1"]),
    "a size that is no size": (["--size", "big"], ["--size big", "HEIGHTxWIDTH"]),
    "an empty axis": (["--loss", ","], ["losses is empty"]),
    "a missing folder": (["--dataset", "./nowhere"], ["./nowhere does not exist", "images/ and masks/"]),
    "an empty folder": (["--dataset", "./empty"], ["empty", "no images/"]),
    "an image without a mask": (["--dataset", "./lonely"], ["have no mask", "b.png", "same stem"]),
    "sizes that differ": (["--dataset", "./unequal"], ["32x32", "16x16", "same size"]),
    "an unreadable file": (["--dataset", "./unreadable"], ["a.png", "cannot be read"]),
    "too many mask values": (["--dataset", "./values"], ["values", "two values"]),
    "data that are not prepared": (
        ["--dataset", "blood_cell"],
        ["not prepared", "bench data prepare blood_cell --from PATH"],
    ),
    "a device that is not there": (["--device", "cuda:77", "--workers", "0"], ["cuda:77 is not here", "--device auto"]),
    "a device of no kind": (["--device", "tpu", "--workers", "0"], ["'tpu'", "auto, cpu, cuda"]),
    "a name that is no folder": (["--name", "../up"], ["'../up'", "cannot name a folder"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_that_says_what_where_and_how_to_fix_it(bench, case: str, tmp_path: Path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for name, masks in (("lonely", ["a.png"]), ("unequal", ["a.png", "b.png"]), ("unreadable", ["a.png", "b.png"])):
        images(tmp_path / name / "images", ["a.png", "b.png"])
        images(tmp_path / name / "masks", masks, "L", (16, 16) if name == "unequal" else (32, 32))
        if name != "lonely":
            Image.fromarray(np.eye(16 if name == "unequal" else 32, dtype=np.uint8)).save(
                tmp_path / name / "masks" / "b.png"
            )
    (tmp_path / "unreadable" / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is no picture")
    images(tmp_path / "values" / "images", ["a.png"])
    (tmp_path / "values" / "masks").mkdir()
    Image.fromarray(np.arange(1024, dtype=np.int64).reshape(32, 32).astype(np.uint8)).save(
        tmp_path / "values" / "masks" / "a.png"
    )
    options, words = WRONG[case]
    if case == "data that are not prepared":
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / "none"))
    code, out, err = bench("run", "matrix", *options)

    assert 2 == code, out + err
    assert 1 == err.count("\n"), err
    assert [] == [word for word in words if word not in err], err
    assert "Traceback" not in out + err
    assert not (tmp_path / "results" / "custom" / "cells").exists()


def test_no_room_on_the_disk_is_said_before_the_first_epoch(bench, study_file: str, monkeypatch: pytest.MonkeyPatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    code, _, err = bench("run", "matrix", study_file)

    assert 2 == code
    assert "has 1 MiB free; 64 MiB are needed to start" in err


def test_results_of_another_schema_are_refused_by_every_command_that_reads_them(bench, study_file: str, tmp_path: Path):
    bench("run", "matrix", study_file, "--workers", "0")
    for path in (tmp_path / "results").rglob("record.json"):
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 99', 1))
    for command in (["run", "matrix", study_file], ["report", "mine"], ["status", "mine"]):
        code, _, err = bench(*command)

        assert 2 == code
        assert "has schema 99; this version of bench reads schema 1" in err
        assert 1 == err.count("\n")


def test_a_report_without_results_says_how_to_make_some(bench):
    code, _, err = bench("report")

    assert 2 == code
    assert "bench run matrix" in err


def test_an_exported_data_set_is_a_folder_with_boxes_that_reads_back(bench, tmp_path: Path):
    code, out, err = bench("data", "export", small.SMEAR, "--to", "out")
    boxes = json.loads(next((tmp_path / "out" / "train" / "labels").glob("*.json")).read_text())

    assert (0, "") == (code, err)
    assert {"className", "classIdx", "posX", "posY", "bboxW", "bboxH", "tlX", "tlY"} <= set(boxes["0"])
    code, out, err = bench("data", "prepare", "./out")

    assert "6 train, 3 val, 4 test" in " ".join(out.split())


def test_a_split_is_printed_as_table_and_as_csv(bench):
    _, table, _ = bench("data", "split", small.SMEAR)
    code, out, err = bench("data", "split", small.SMEAR, "--folds", "3", "--format", "csv")
    lines = [line.split(",") for line in out.splitlines()]

    assert (0, "") == (code, err)
    assert "split version" in table
    assert ["id", "source", "label", "f1", "f2", "f3"] == lines[0]
    assert 13 == len(lines[1:])
    assert [1] * 13 == [line.count("test") for line in lines[1:]]
    assert [line[0] for line in lines[1:]] == sorted(line[0] for line in lines[1:])


def test_preparing_says_the_disk_it_needs_and_brings_images_to_size(bench, tmp_path: Path):
    lookalike.folder(tmp_path / "mine", count=3, size=(32, 32))
    home = str(tmp_path / "home")
    code, out, err = bench("data", "prepare", "./mine", "--data-home", home, "--size", "500x400", "--fit", "letterbox")

    assert (0, "") == (code, err)
    assert f"3 pairs need about {(3 * 4 * (32 * 32 + 500 * 400)) / 1e6:.1f} MB on {home}; " in out
    assert 2 == len(list((tmp_path / "home").glob("*/*-500x400-letterbox.npy")))
    code, out, err = bench("data", "prepare", "./mine", "--data-home", home, "--no-native")

    assert 0 == code
    assert ["index.json"] == [path.name for path in (tmp_path / "home").glob("*/*")]
    assert 2 == bench("data", "prepare", "./mine", "--data-home", home, "--fit", "crop")[0]


def test_doctor_tells_versions_devices_and_data(bench):
    code, out, _ = bench("doctor")

    assert 0 == code
    assert [] == [
        word for word in ("torch", "optuna", "cpu", "blood_cell", "missing: get it from", "smear") if word not in out
    ]


@pytest.mark.parametrize("axis", ["datasets", "architectures", "losses", "metrics", "studies"])
def test_every_axis_can_be_listed(bench, axis: str):
    code, out, _ = bench("list", axis)
    expected = {
        "datasets": "blood_cell", "architectures": "unet", "losses": "tversky", "metrics": "mdice_d_fg", "studies": "quick",
    }[axis]  # fmt: skip

    assert 0 == code
    assert expected in out


def test_cli_py_in_the_root_is_the_same_program(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (0, "0.1.0\n") == (result.returncode, result.stdout)


def test_help_names_every_command(bench):
    _, out, _ = bench("--help")

    assert [] == [word for word in ("list", "data", "run", "status", "report", "doctor") if word not in out]


@pytest.mark.parametrize("option", ["--time-limit", "--silence-limit"])
@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_a_limit_that_is_no_time_is_one_line(bench, option: str, minutes: str):
    line = f"Error: {option} is {minutes}. Give minutes, more than 0, as {option} 90 or {option} 0.5.\n"

    assert (2, "", line) == bench("run", "matrix", option, minutes)


def test_limits_are_given_in_minutes_and_change_no_result(bench, study_file: str, monkeypatch: pytest.MonkeyPatch):
    from bench import runner

    given, run_study = [], runner.run_study
    monkeypatch.setattr(
        runner, "run_study", lambda *a, engine, **k: (given.append(engine.limits), run_study(*a, engine=None, **k))
    )
    bench("run", "matrix", study_file, "--workers", "1", "--time-limit", "1.5")
    _, out, _ = bench("run", "matrix", study_file, "--workers", "1", "--time-limit", "2", "--silence-limit", "3")

    assert [(90.0, 3600.0)] == [(limits.seconds, limits.silence) for limits in given]
    assert "Nothing to run" in out


def test_limits_that_nothing_could_keep_are_refused(bench, study_file: str):
    code, out, err = bench("run", "matrix", study_file, "--workers", "0", "--time-limit", "1")

    assert (2, "") == (code, out)
    assert "--time-limit needs a worker" in err


def test_a_script_hears_of_wrong_arguments_too(bench):
    code, out, _ = bench("run", "matrix", "nosuch", "--json")

    assert 2 == code
    assert ["error"] == [json.loads(line)["event"] for line in out.splitlines()]


def test_threads_do_not_depend_on_how_much_is_left_to_run(bench, study_file: str, tmp_path: Path, monkeypatch):
    """Two networks first, then one of them again: a result must not depend on what was interrupted."""
    from bench import machine
    from bench.store import records

    monkeypatch.setattr(machine, "cores", lambda: 2)
    words = ("run", "matrix", study_file, "--architecture", "tiny,tiny[width=12]", "--workers", "2", "--name", "mine")
    bench(*words)
    [path] = (tmp_path / "results/mine/cells").glob("*/tiny/ce/f0-s0/record.json")
    path.unlink()
    bench(*words)

    assert {"1"} == {record.environment["threads"] for record in records(tmp_path / "results/mine")}


def test_a_letter_that_a_terminal_has_no_code_for_ends_nothing():
    code = "from bench import cli, cli_options; cli.app = lambda: cli_options.say('smear \u00b7 unet'); cli.main()"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (0, "smear ? unet\n", "") == (result.returncode, result.stdout, result.stderr)
