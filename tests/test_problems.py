"""When many files are wrong at once, a log lists them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import cli, problems
from bench.errors import DataError
from tests import lookalike


def test_the_command_names_a_log_with_all_files_and_removes_it_once_they_are_right(tmp_path: Path) -> None:
    raw, home = tmp_path / "raw", tmp_path / "home"
    lookalike.folder(raw)
    wrong = sorted((raw / "images").iterdir())[:4]
    kept = {path: path.read_bytes() for path in wrong}
    for path in wrong:
        path.write_text("no picture")
    command = ["data", "prepare", str(raw), "--data-home", str(home)]
    error = CliRunner().invoke(cli.app, command).exception
    (log,) = home.glob("*.problems.log")

    assert isinstance(error, DataError)
    assert f"4 of 6 files are wrong, the first: {wrong[0]} cannot" in str(error)
    assert str(error).endswith(f"All 4 files are listed in {log}.") and "\n" not in str(error)
    assert [str(path) for path in wrong] == log.read_text().splitlines()
    for path, content in kept.items():
        path.write_bytes(content)
    assert 0 == CliRunner().invoke(cli.app, command).exit_code
    assert [] == list(home.glob("*.problems.log"))


@pytest.mark.parametrize("files", [(), ("one.png",)])
def test_a_single_file_needs_no_log(files: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^wrong\.$"), problems.logged("blood_cell", tmp_path):
        raise DataError("wrong.", files)

    assert [] == list(tmp_path.iterdir())
