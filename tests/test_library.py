"""`import bench` as a user's script has it: the same records as the command, errors that are raised, data frames."""

from __future__ import annotations

import csv
import dataclasses
import doctest
import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench import leaking, library, metrics, report
from bench import study as studies
from bench.records import Record
from bench.specs import Place
from tests import commands, plain_folder, small
from tests.plain_folder import put, take

ROOT = Path(__file__).resolve().parents[1]
TUNED = bench.Tuning(lr_range=(1e-2, 1e-2), trials=1)
PLACES = ("seed", "fold", "status", "lr", "rank", "rank_low", "rank_high", "tie_group", "leaked")


def small_run(study: bench.Study, folder: Path, home: Path, **more: typing.Any) -> bench.Results:
    """A study run in this process."""
    return bench.run(study, **{"results": folder, "data_home": home, "workers": 0, "threads": 1} | more)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> bench.Results:
    """Two fresh seeds of one network, two baselines."""
    wanted = small.study(seeds=2, baselines=("all_background", "otsu"), tuning=TUNED)
    return small_run(wanted, tmp_path_factory.mktemp("results"), data_home)


def lines(results: bench.Results) -> list[dict[str, str]]:
    with (results.folder / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What Python does with a text on its standard input, as an interactive session would."""
    clean = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-"]
    return subprocess.run(command, input=code, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_the_example_in_the_readme_does_what_it_says(tmp_path: Path, data_home: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(data_home))
    blocks = re.findall(r"^```python\n(>>> .*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    told: list[str] = []
    for block in blocks:
        example = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
        doctest.DocTestRunner(verbose=False).run(example, out=told.append)

    assert [] == told
    assert 1 == len(blocks)
    assert (tmp_path / "results" / "first" / "index.html").is_file()
    assert ("", "") == tuple(capfd.readouterr())  # nothing is printed unless asked for


def test_the_command_and_the_library_store_the_same_records(seeded: bench.Results, tmp_path: Path, data_home: Path):
    file = tmp_path / "small.toml"
    file.write_text(studies.dump(small.study(seeds=2, baselines=("all_background", "otsu"), tuning=TUNED)))
    options = ("--workers", 0, "--threads", 1, "--results", tmp_path / "results", "--data-home", data_home)
    code, out, err = commands.call("run", "matrix", file, *options)
    stored = small.stored(seeded.study, small.place(tmp_path, data_home))

    assert 0 == code, out + err
    assert [one.cell.key for one in seeded.records] == [row.cell.key for row in report.collect(seeded.folder).rows]
    assert {key: (one.fingerprint, one.counts_hash) for key, one in stored.items()} == {
        one.cell.key: (one.fingerprint, one.counts_hash) for one in seeded.records
    }


def test_what_the_command_has_run_does_not_run_again_and_the_other_way_round(seeded: bench.Results, data_home: Path):
    events: list[bench.Event] = []
    again = small_run(seeded.study, seeded.folder.parent, data_home, on_event=events.append)
    command = ("run", "matrix", seeded.folder / "study.toml", "--results", seeded.folder.parent)
    code, out, _ = commands.call(*command, "--workers", 0, "--data-home", data_home, "--name", seeded.folder.name)

    assert ([], seeded) == (events, again)
    assert (0, True) == (code, out.startswith(f"Nothing to run: all {len(seeded.records)} cells of small are stored"))


def test_results_stand_for_their_folder(seeded: bench.Results):
    assert (seeded.folder / "index.html", str(seeded.folder)) == (seeded.page, os.fspath(seeded))
    assert ((), 5) == (seeded.failed, len(seeded.records))
    assert all(isinstance(one, Record) for one in seeded.records)


@pytest.mark.parametrize("profile", ["default", "image_binary"])
def test_the_frame_has_the_numbers_of_the_csv_file(seeded: bench.Results, profile: str):
    report.write(seeded.folder, profile)
    table = bench.leaderboard(seeded, profile=profile)
    cells = lines(seeded)
    numbers = [name for name in cells[0] if name not in ("dataset", "architecture", "loss", *PLACES)]

    assert 3 == len(table)
    for _, row in table.iterrows():
        loss = "" if pd.isna(row["loss"]) else row["loss"]
        own = [cell for cell in cells if (row["architecture"], loss) == (cell["architecture"], cell["loss"])]
        fresh = [cell for cell in own if cell["seed"] != "0"] or own
        for name in numbers:
            values = [float(cell[name]) for cell in fresh if cell[name]]  # the mean of all seeds, or of none
            if name.endswith(("_low", "_high")) and len(fresh) > 1:
                continue  # the interval of several seeds is in no file of single cells
            expected = sum(values) / len(values) if len(values) == len(fresh) else None
            assert expected == (None if pd.isna(row[name]) else pytest.approx(row[name], abs=1e-15)), name
        assert [own[0][name] for name in ("rank", "rank_low", "rank_high", "tie_group")] == [
            "" if pd.isna(row[name]) else str(row[name]) for name in ("rank", "rank_low", "rank_high", "tie_group")
        ]
    report.write(seeded.folder)


def test_the_frame_has_the_rows_of_the_page_with_their_intervals(seeded: bench.Results):
    page = (seeded.folder / "leaderboard.md").read_text("utf-8")
    shown = [row.split(" | ") for row in page.splitlines() if row.startswith("| ") and "---" not in row][1:]
    table = bench.leaderboard(seeded)

    assert len(shown) == len(table)
    for cells, (_, row) in zip(shown, table.iterrows(), strict=True):
        value, between = (cells[at].replace("*", "") for at in (3, 4))
        assert (cells[1], value) == (row["architecture"], f"{row['mdice_d_fg']:.4f}")
        assert between == f"{row['mdice_d_fg_low']:.4f} to {row['mdice_d_fg_high']:.4f}"


def test_the_frame_says_how_a_row_came_about(seeded: bench.Results, tmp_path: Path, data_home: Path):
    table = bench.leaderboard(seeded).set_index("architecture")
    single = small_run(small.study(tuning=TUNED), tmp_path, data_home).leaderboard().set_index("architecture")

    assert {"profile": metrics.DEFAULT.id, "primary": "mdice_d_fg"} == table.attrs
    assert [2, 1, 2, 2] == [table.loc["tiny", name] for name in ("seeds", "folds", "done", "cells")]
    assert [1, 1, 1, 1] == [table.loc["otsu", name] for name in ("seeds", "folds", "done", "cells")]
    assert 0.01 == pytest.approx(table.loc["tiny", "lr"])
    assert next(one.params for one in seeded.records if one.params) == table.loc["tiny", "params"]
    assert (
        pd.isna(table.loc["otsu", "params"]) and pd.isna(table.loc["otsu", "lr"]) and pd.isna(table.loc["otsu", "loss"])
    )
    assert "excludes seed noise" not in table.loc["tiny", "stamps"]
    assert single.loc["tiny", "stamps"].startswith("excludes seed noise")
    assert "" == single.loc["all_background", "stamps"]
    assert ["Int64", "float64", "int64"] == [str(table[name].dtype) for name in ("rank", "mdice_d_fg", "seeds")]


def test_a_study_with_missing_cells_has_rows_without_a_rank(seeded: bench.Results, tmp_path: Path):
    more = dataclasses.replace(seeded.study, losses=("ce", "dice"))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "study.toml").write_text(studies.dump(more))
    table = bench.leaderboard(tmp_path / "half")

    assert 4 == len(table)
    assert table["rank"].isna().all() and table["mdice_d_fg"].isna().all()
    assert {"pending"} == set(table[table["loss"].isna()]["stamps"])


def test_several_folders_are_one_frame(seeded: bench.Results, tmp_path: Path, data_home: Path):
    other = dataclasses.replace(seeded.study, architectures=("tiny[width=12]",))
    second = small_run(other, tmp_path / "other", data_home)
    table = bench.leaderboard([seeded, second.folder])

    assert ["tiny", "tiny[width=12]"] == sorted(table[table["loss"].notna()]["architecture"])
    assert [small.SMEAR] == list(table["dataset"].unique())
    pd.testing.assert_frame_equal(table, bench.leaderboard([seeded, second], dataset=small.SMEAR))


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": bench.Recipe(batch=0)},
        {"seeds": "3"},
        {"datasets": []},
        {"architectures": ["unett"]},
        {"losses": ["dicee"]},
        {"baselines": ["otso"]},
        {"tuning": bench.Tuning(lr_range=(1e-1, 1e-3))},
        {"recipe": bench.Recipe(augment="lots")},
    ],
    ids=str,
)
def test_a_value_that_is_not_allowed_is_the_error_of_a_study_file(changes: dict, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = small.study(**changes)
    (tmp_path / "small.toml").write_text(studies.dump(wanted))
    code, _, said = commands.call("run", "matrix", "small.toml")
    with pytest.raises(bench.BenchError) as raised:
        bench.run(wanted)

    assert (2, f"Error: {raised.value}") == (code, said.strip().replace("small.toml:", "The study 'small':"))
    assert ["small.toml"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"study": 3}, "3 is no study. Give a bench.Study, the path of a study file, or the name of a built-in study."),
        ({"workers": -1}, "workers is -1. Give a number, 0 or more."),
        ({"threads": 0}, "threads is 0. Give a number, 1 or more."),
        ({"time_limit_s": "90"}, "time_limit_s is '90'. Give a number, more than 0."),
        ({"silence_limit_s": float("nan")}, "silence_limit_s is nan. Give a number, more than 0."),
        ({"workers": 0, "time_limit_s": 9}, "--time-limit needs a worker to end: with --workers 0 nothing can be ended. Use --workers 1."),
        ({"device": "gpu"}, "There is no device 'gpu'. Allowed: auto, cpu, cuda, cuda:0, cuda:1, .."),
        ({"engine": "rey"}, "There is no engine named 'rey'. Did you mean ray? There are: local, ray, slurm. See bench run matrix --help."),
        ({"address": "here"}, "--engine local is this machine and takes no --address. Allowed with: ray, slurm."),
        ({"engine_options": {"gpus": 1}}, "--engine local is this machine and takes no --engine-option. Allowed with: ray, slurm."),
        ({"engine": "slurm", "engine_options": ("cluster=local",)}, "engine_options is ('cluster=local',). Give a mapping, as {'gpus': 0.5}."),
        ({"engine": "ray", "workers": 0}, "--workers 0 runs cells in this process, not on a cluster. Leave it out, or give 1 or more."),
        ({"results": __file__}, f"{__file__} is a file, not a folder for results. Choose another --results."),
        ({"study": small.study(name="a/b")}, "The study name 'a/b' cannot name a folder. Use letters, digits, '.', '-' and '_'."),
        ({"study": small.study(datasets=(name for name in "ab"))}, "The study 'small' holds what is no plain value: cannot pickle 'generator' object."),
    ],
    ids=lambda one: ",".join(one) if isinstance(one, dict) else "",
)  # fmt: skip
def test_an_argument_that_is_not_allowed_is_one_line_before_anything_is_written(arguments, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bench.BenchError) as raised:
        bench.run(**{"study": small.study(), "data_home": "data"} | arguments)

    assert line == str(raised.value)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"results": "none"}, "Neither none nor results/none is the results folder of a study. Run bench run matrix first."),
        ({"results": 3}, "3 is no results folder. Give what bench.run returned, or a path."),
        ({"results": []}, "bench.leaderboard was given no results folder. Name one, as results/quick."),
        ({"profile": "nnunett"}, "There is no metric profile named 'nnunett'. Did you mean nnunet"),
        ({"dataset": "smear"}, f"There is no data set in these results named 'smear'. There are: {small.SMEAR}."),
    ],
    ids=lambda one: ",".join(one) if isinstance(one, dict) else "",
)  # fmt: skip
def test_a_leaderboard_that_cannot_be_had_is_one_line(arguments: dict, line: str, seeded: bench.Results):
    with pytest.raises(bench.BenchError, match=re.escape(line)):
        bench.leaderboard(**{"results": seeded} | arguments)


def test_a_leak_is_refused_as_the_command_refuses_it_and_else_a_warning_and_a_stamp(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", {"train": 4, "val": 2, "test": 3}, size=96)
    put(root, "test", "again", take(root, "train", "t00"))
    wanted, home = small.study(datasets=(str(root),), tuning=TUNED), tmp_path / "home"
    (tmp_path / "small.toml").write_text(studies.dump(wanted))
    options = ("--results", tmp_path / "results", "--data-home", home, "--workers", 0)
    code, _, said = commands.call("run", "matrix", tmp_path / "small.toml", *options)
    with pytest.raises(bench.BenchError, match="LEAK") as refused:
        small_run(wanted, tmp_path / "results", home)

    assert (2, f"Error: {refused.value}") == (code, said.strip())
    assert not (tmp_path / "results").exists()
    with pytest.warns(UserWarning, match=r"The leaderboard bears the stamp LEAK\.") as warned:
        found = bench.run(wanted, results=tmp_path / "results", data_home=home, workers=0, threads=1, allow_leak=True)

    assert [__file__] == [one.filename for one in warned]  # it points at who called
    assert all(stamps.startswith("LEAK") for stamps in found.leaderboard()["stamps"])
    board = report.collect(found.folder).boards[0]
    assert leaking.leak(board, metrics.DEFAULT) is not None


def test_an_interrupt_keeps_what_is_finished_and_the_same_call_goes_on(tmp_path: Path, data_home: Path):
    wanted, first, second = small.study(tuning=TUNED, baselines=("all_background", "otsu")), [], []

    def interrupt(event: bench.Event) -> None:
        first.append(event)
        if event.kind == "finished":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_run(wanted, tmp_path, data_home, on_event=interrupt)
    kept = small.stored(wanted, Place(results=tmp_path, data_home=data_home))
    done = small_run(wanted, tmp_path, data_home, on_event=second.append)

    assert ["ok"] == [str(one.status) for one in kept.values()]
    assert 3 == len(done.records)
    assert {one.cell.key for one in done.records} - set(kept) == {
        one.cell.key for one in second if one.kind == "finished"
    }
    assert [one.finished for one in kept.values()] == [one.finished for one in done.records if one.cell.key in kept]


def test_what_a_listener_raises_ends_the_run_and_is_no_failure_of_the_cell(tmp_path: Path, data_home: Path):
    wanted = small.study(tuning=TUNED, baselines=())

    def refuse(event: bench.Event) -> None:
        if event.kind == "epoch":
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        small_run(wanted, tmp_path, data_home, on_event=refuse)

    assert {} == small.stored(wanted, Place(results=tmp_path, data_home=data_home))


def test_a_cell_that_fails_is_told_and_raises_nothing(tmp_path: Path, data_home: Path):
    found = small_run(small.study(architectures=("faulty", "tiny"), tuning=TUNED), tmp_path, data_home)
    [failed], table = found.failed, found.leaderboard().set_index("architecture")

    assert ("faulty", "failed") == (failed.cell.architecture, str(failed.status))
    assert failed.error is not None
    assert "failed" == table.loc["faulty", "stamps"]
    assert pd.isna(table.loc["faulty", "rank"])


def test_a_data_set_that_is_not_prepared_is_an_error_or_left_out_with_a_warning(tmp_path: Path, data_home: Path):
    wanted = small.study(datasets=(small.SMEAR, "lisc"), tuning=TUNED, baselines=())
    with pytest.raises(bench.BenchError, match="The data set 'lisc' is not prepared"):
        small_run(wanted, tmp_path, data_home)
    with pytest.warns(UserWarning, match="Left out: The data set 'lisc' is not prepared"):
        found = small_run(wanted, tmp_path, data_home, skip_missing=True)

    assert (small.SMEAR,) == found.study.datasets


def test_progress_shows_what_the_command_shows_and_tells_events_all_the_same(tmp_path: Path, data_home: Path, capsys):
    events: list[bench.Event] = []
    small_run(small.study(tuning=TUNED, baselines=()), tmp_path, data_home, progress=True, on_event=events.append)
    out = capsys.readouterr().out

    assert "Study small: 1 cell" in out and f"{small.SMEAR}/tiny/ce/f0-s0" in out
    assert "finished" == events[-1].kind


def test_workers_do_not_run_a_script_again_that_has_no_guard(tmp_path: Path):
    (tmp_path / "script.py").write_text(
        "import functools, operator\n"
        "print('the script runs')\n"
        "from bench import pool, workers\n"
        "with workers.Team(functools.partial(operator.call, print), size=2) as team:\n"
        "    team.add(0, 'a job')\n"
        "    told = [type(one).__name__ for one in team]\n"
        "print(told, sum(pool.each(abs, range(-20, 0))))\n"
    )
    command = [sys.executable, "script.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (0, "the script runs\n['Done'] 210\n", "") == (result.returncode, result.stdout, result.stderr)


def test_the_import_is_light_and_every_name_is_there_with_its_words(tmp_path: Path):
    code = (
        "import sys\n"
        "import bench\n"
        "bench.Study(name='mine', recipe=bench.Recipe()), bench.BenchError\n"
        "print({'torch', 'pandas', 'numpy', 'scipy', 'rich'} & set(sys.modules))\n"
        "print(sorted(bench.__all__) == dir(bench))\n"
    )
    result = python(code, tmp_path)

    assert ("set()\nTrue\n", "") == (result.stdout, result.stderr)
    for name in set(bench.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(bench, name)), name
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nothing'"):
        bench.nothing  # noqa: B018


def test_the_reference_has_every_name_and_every_argument():
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    for name in set(bench.__all__) - {"__version__", "How", "Model", "Options", "Prediction"}:
        assert name in text, name
    for function in (bench.run, bench.leaderboard):
        signature = inspect.signature(function)
        body = text.split(f"def {function.__name__}(")[1].split("```")[0]
        for one in signature.parameters.values():
            default = "" if one.default is inspect.Parameter.empty else f" = {one.default!r}".replace("'", '"')
            assert f"    {one.name}: {one.annotation}{default},".replace("OnEvent", "Callable[[Event], None]") in body
    columns = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.M))))
    assert {"rank", "seeds", "lr", "params", "stamps", "rank_low", "tie_group"} <= columns


def test_the_study_in_the_reference_is_one(tmp_path: Path):
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    names: dict[str, typing.Any] = {}
    exec(text.split("## A study")[1].split("```python\n")[1].split("```")[0], names)

    assert ("mine", "longer", 100) == (names["study"].name, names["longer"].name, names["longer"].budget.epochs)
    assert bench.load_study("quick") == names["quick"]
    assert studies.parse(dataclasses.asdict(names["study"]), where="here") == names["study"]


def test_a_type_checker_sees_the_types(tmp_path: Path):
    (tmp_path / "script.py").write_text(
        "import bench\n"
        "study = bench.Study(name='x', datasets=('smear',))\n"
        "found = bench.run(study, workers=2)\n"
        "rows: int = len(bench.leaderboard(found))\n"
        "bench.run(study, workers='two')\n"
        "bench.Study(name=3)\n"
        "found.pages\n"
    )
    checker = Path(sys.executable).with_name("ty")
    if not checker.is_file():
        pytest.skip("ty is not installed")
    command = [
        str(checker),
        "check",
        "--output-format",
        "concise",
        "--python",
        sys.prefix,
        "--extra-search-path",
        str(ROOT),
        "script.py",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (ROOT / "bench" / "py.typed").read_bytes() == b""
    assert ["5", "6", "7"] == re.findall(r"^script\.py:(\d+):\d+: error", result.stdout, re.M), result.stdout


def test_what_is_public_is_annotated_throughout():
    for function in (bench.run, bench.leaderboard, bench.load_study, bench.load, library.Results.leaderboard):
        signature = inspect.signature(function)
        assert inspect.Signature.empty != signature.return_annotation
        assert all(
            inspect.Parameter.empty != one.annotation for name, one in signature.parameters.items() if name != "self"
        )
