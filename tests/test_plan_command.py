"""`bench plan`, as it is typed, and what docs/clusters.md says of it and of clusters."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bench import cli, engines, makespan, paper, scaling
from tests import synthetic
from tests.commands import call
from tests.speed import makespans

TEXT = (makespans.ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
COMMANDS = [line.partition("  #")[0] for line in BLOCKS.splitlines() if line.startswith("bench ")]


def parsed(line: str) -> dict[str, Any]:
    """What the program understands of a command line, without doing it; raises where it is not one."""
    command, words = get_command(cli.app), shlex.split(line)[1:]
    context = command.make_context("bench", words, resilient_parsing=False)
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, rest)
        context = command.make_context(name, words, parent=context)
    return context.params


def test_the_commands_of_the_page_exist_with_all_their_options():
    assert len(COMMANDS) >= 15
    for line in COMMANDS:
        given = parsed(line)
        asked = tuple(given.get("engine_option") or ())

        assert len(asked) == len(engines.options(given.get("engine") or "local", given.get("address"), asked))


def test_the_table_of_the_page_is_what_the_times_in_the_repository_give():
    for line in makespans.table(makespans.forecasts()):
        assert line in TEXT


def test_the_sentences_of_the_page_are_true_of_the_table():
    (tuning, seeds), said = makespans.forecasts(), " ".join(TEXT.split())
    late = {row.workers: row.seconds / row.longest_first - 1 for row in seeds.rows}

    assert f"6 min 39 s, for which about {tuning.useful:,} workers are enough" in said
    assert f"1 h 6 min and {seeds.useful}." in said
    assert f"{late[32]:.0%} more time on 32 workers, {late[128]:.0%} on 128" in said
    assert "1,565 groups" in said and 1565 == seeds.groups
    recorded = makespan.load(makespans.TIMES)
    for found, count in ((tuning, 0), (seeds, 9)):
        lossy = makespan.Overheads(losses=0.02)
        again = makespan.forecast(makespan.resampled(recorded, makespans.CELLS, count), [64], lossy).rows[0]
        calm = next(row for row in found.rows if row.workers == 64)
        assert abs(again.seconds / calm.seconds - 1) < 0.01


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_the_figure_of_the_page_can_be_drawn_again(form: str):
    drawn = paper.files(scaling.drawing(makespans.forecasts()), [form])[form]
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}

    assert drawn.startswith(begins[form])
    assert makespans.FIGURE.read_bytes().startswith(b"<?xml")


def test_the_figure_shows_every_simulated_point_and_where_it_stops():
    import inspect

    found = makespans.forecasts()
    left, right = inspect.unwrap(scaling.draw_scaling)(found, "title").axes
    lines = [sorted(line.get_ydata()) for line in left.lines]

    for one in found:
        assert sorted(row.seconds for row in one.rows) in lines
        assert sorted(row.longest_first for row in one.rows) in lines
    assert [row.efficiency * 100 for row in found[1].rows] == list(right.lines[1].get_ydata())
    assert ["about 216 workers are enough for\nthe longest group, 1 h 6 min"] == [one.get_text() for one in left.texts]


def test_a_plan_from_results_tells_machine_limits_and_bounds(tmp_path: Path):
    folder = synthetic.write(tmp_path)
    code, out, err = call("plan", "--from", folder, "--workers", "2,1,2")

    assert (0, "") == (code, err)
    assert re.search(r"^1 +7 min", out, re.MULTILINE)
    assert [1, 2] == [int(n) for n in re.findall(r"^(\d)  ", out, re.MULTILINE)]
    assert "Recorded on cpu (test), ? threads" in out
    assert re.search(r"the longest group takes 1 min 3[12] s, which no number of workers can change", out)


def test_a_plan_of_a_study_says_what_its_times_are_from():
    _, out, _ = call("plan", "families", "--from", makespans.TIMES, "--seeds", "3", "--workers", "4")

    assert "147 cells in 39 groups" in out
    assert "147 from the same cell" in out
    assert "Not all were recorded on the same." in out


def test_a_plan_for_programs_is_seconds_and_the_rest_goes_to_standard_error():
    words = ("plan", "--from", makespans.TIMES, "--cells", "100", "--workers", "1,8", "--format")
    table, told = call(*words, "csv")[1:]
    content = json.loads(call(*words, "json")[1])
    rows = list(csv.DictReader(io.StringIO(table)))

    assert "100 cells in 100 groups" in told
    assert [row["seconds"] for row in content["rows"]] == [float(row["seconds"]) for row in rows]
    assert (100, ["1", "8"]) == (content["cells"], [row["workers"] for row in rows])


def test_overheads_are_those_that_are_given():
    def seconds(*more: str) -> float:
        words = ("plan", "--from", makespans.TIMES, "--cells", "50", "--workers", "5", "--format", "json")
        return json.loads(call(*words, *more)[1])["rows"][0]["seconds"]

    assert seconds() + 98.0 == pytest.approx(seconds("--startup", "100"))
    assert seconds() + 50.0 < seconds("--per-group", "10") < seconds() + 10 * 50
    assert seconds() < seconds("--lost-workers", "20")


def test_a_plan_is_drawn_into_a_file(tmp_path: Path):
    code, out, _ = call("plan", "--from", makespans.TIMES, "--workers", "1,2", "--to", tmp_path / "plan.png")

    assert 0 == code
    assert str(tmp_path / "plan.png") in out
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--workers", "0"], "--workers is '0'. Give whole numbers from 1"),
        (["--workers", "4,many"], "--workers is '4,many'"),
        (["--lost-workers", "nan"], "--lost-workers is nan. Give a number from 0 to 60."),
        (["--lost-workers", "61"], "--lost-workers is 61. Give a number from 0 to 60."),
        (["--startup", "-1"], "--startup is -1. Give a number from 0 to 86400."),
        (["--per-group", "inf"], "--per-group is inf. Give a number from 0 to 86400."),
        (["--to", "plan.txt"], "--to plan.txt is no figure that can be drawn"),
        (["--from", "nowhere.csv"], "There is no file nowhere.csv"),
        (["--from", "nowhere"], "Neither nowhere nor"),
        (["quick", "--cells", "9"], "--cells 9 is for no study in particular"),
    ],
)
def test_what_cannot_be_planned_is_one_line_that_says_why(words: list[str], says: str):
    source = [] if "--from" in words else ["--from", str(makespans.TIMES)]
    code, out, err = call("plan", *source, *words)

    assert (2, "") == (code, out)
    assert says in err
    assert 1 == err.count("\n")
