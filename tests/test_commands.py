"""The commands as a newcomer meets them: their groups, their words, and what is said where the terminal is narrow."""

from __future__ import annotations

import dataclasses
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.console import Console

from bench import cli, cli_check, cli_screen, listing, metrics, report
from bench.standings import Board
from tests import synthetic
from tests.commands import call

ROOT = Path(__file__).resolve().parents[1]
LOSS = '''"""A loss of mine."""

from bench.specs import LossSpec


def compute(logits, target):
    return logits.sum()


SPEC = LossSpec(title="Mine", citation="me", compute=compute)
'''


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with the words it is called by."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The leaderboard of a finished study."""
    return report.collect(synthetic.write(tmp_path_factory.mktemp("results"))).boards[0]


COMMANDS = dict(leaves(typer.main.get_command(cli.app)))


def test_help_has_every_command_once_in_its_group():
    grouped = [name for names in cli.ORDER.values() for name in names]

    assert sorted({name.split()[0] for name in COMMANDS}) == sorted(grouped)


def test_readme_lists_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [] == [name for name in COMMANDS if f"\nbench {name}" not in readme and name != "version"]


def test_readme_and_its_pages_lead_to_every_page():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert set() == pages - set(re.findall(r"\]\((docs/[\w-]+\.md)", readme))


@pytest.mark.parametrize("name", COMMANDS)
def test_names_of_arguments_leave_brackets_and_dots_to_the_help(name: str):
    arguments = [one.metavar or "" for one in COMMANDS[name].params if one.param_type_name == "argument"]

    assert [] == [one for one in arguments if set(one) & set("[]{}.")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_is_explained(name: str):
    assert [] == [one.name for one in COMMANDS[name].params if not one.help and one.name != "help"]


def test_an_option_of_several_commands_takes_the_same_kind_of_value_in_each():
    told: dict[str, set[str]] = {}
    for one in (one for command in COMMANDS.values() for one in command.params if one.param_type_name == "option"):
        told.setdefault(one.opts[0], set()).add("a flag" if one.is_flag else "a value")

    assert {} == {option: kinds for option, kinds in told.items() if len(kinds) > 1}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["list", "losses", "--catalog", "mine"], ["--catalog", "mine", "list", "losses"]),
        (
            ["list", "--catalog=mine", "losses", "--catalog", "b"],
            ["--catalog=mine", "--catalog", "b", "list", "losses"],
        ),
        (["predict", "--", "--catalog", "x"], ["predict", "--", "--catalog", "x"]),
        (["list", "--catalog"], ["--catalog", "list"]),
    ],
)
def test_catalogues_are_brought_before_the_command(given: list[str], expected: list[str]):
    assert expected == cli.catalogues_first(given)


def test_a_catalogue_may_stand_behind_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BENCH_PATH", "")
    (tmp_path / "losses").mkdir()
    (tmp_path / "losses" / "of_mine.py").write_text(LOSS)

    code, out, _ = call("list", "losses", "--catalog", tmp_path)

    assert 0 == code
    assert "of_mine" in out


def test_what_to_do_after_a_check_names_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BENCH_PATH", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my files" / "losses").mkdir(parents=True)
    (tmp_path / "my files" / "losses" / "of_mine.py").write_text(LOSS)

    _, out, err = call("list", "losses", "--catalog", "my files")
    assert "of_mine" in out, err

    target = cli_check.targets("my files/losses/of_mine.py")[0]

    assert "All checks passed. Next: bench --catalog 'my files' run matrix --loss 'of_mine'" == cli_check._next(target)
    assert cli_check._next(cli_check.targets("dice")[0]).startswith("All checks passed. Next: bench run matrix")


def test_a_name_that_nobody_knows_may_be_of_a_catalogue():
    assert "needs --catalog DIR" in call("run", "matrix", "--architecture", "zzz", "--dry-run")[2]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_leaderboard_keeps_its_primary_metric_whole_in_a_narrow_terminal(board: Board, width: int):
    profile = metrics.DEFAULT
    table = next(cli_screen.boards([board], profile, width))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()

    assert profile.primary in text
    assert (width == 200) == (" more metric" not in text)
    assert "…" not in text


def test_a_profile_of_one_metric_is_never_said_to_have_more(board: Board):
    one = dataclasses.replace(metrics.DEFAULT, metrics={"mdice_d_fg": metrics.DEFAULT.metrics["mdice_d_fg"]})

    assert "more metric" not in str(next(cli_screen.boards([board], one, 20)).caption)


def test_doctor_knows_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    assert set(listing.EXTRAS) == set(extras) - {"test"}
    assert all(any(one.startswith(listing.EXTRAS[name][0]) for one in extras[name]) for name in listing.EXTRAS)
