"""What docs/tutorial.md tells a newcomer to do, done in its order in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, beside which `bench` and `python` are those of this checkout."""
    root = tmp_path_factory.mktemp("newcomer")
    for name, words in (("bench", [sys.executable, ROOT / "cli.py"]), ("python", [sys.executable])):
        program = root / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {" ".join(map(str, words))} "$@"\n')
        program.chmod(0o755)
    (root / "here").mkdir()
    return root / "here"


def follow(folder: Path) -> list[str]:
    """Every block: files are written, commands are run; what each block of commands printed."""
    clean = {name: value for name, value in os.environ.items() if name != "BENCH_PATH"}
    path = os.pathsep.join([str(folder.parent / "bin"), os.environ["PATH"]])
    environment = clean | {"PATH": path, "BENCH_DATA": str(folder.parent / "data"), "COLUMNS": "200"}
    printed = []
    for kind, file, content in BLOCKS:
        if file:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content)
        if kind == "sh":
            result = subprocess.run(
                ["bash", "-ec", content], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert (0, "") == (result.returncode, result.stderr), result.stdout + result.stderr
            printed.append(result.stdout)
    return printed


def test_a_newcomer_ends_with_a_leaderboard_of_their_own_network_loss_and_profile(folder: Path):
    checked, looked, ran = follow(folder)
    stored = json.loads((folder / "results" / "mine" / "leaderboard.json").read_text())
    trained = {(row["dataset"], row["loss"]): row for row in stored if row["loss"]}

    assert "All checks passed" in checked
    assert 4 == looked.count("All checks passed")
    assert "--" not in re.findall(r"^  (ok|--|\.\.) ", looked, re.MULTILINE)
    assert re.search(r"log_cosh +.*smooth=1.0", looked)
    assert "worst_dice (worst Dice, ranks the leaderboard)" in looked
    assert {("cells", "log_cosh+ce"), ("rings", "log_cosh+ce")} == set(trained)
    assert {"ok"} == {row["status"] for row in trained.values()}
    assert all(re.fullmatch(r"worst@[0-9a-f]{8}", row["profile"]) for row in stored)
    assert all(0 < row["metrics"]["worst_dice"] <= 1 for row in trained.values())
    assert re.search(r"Drawn cells: The worst image\s+┏.*worst_dice.*scales +│ log_cosh\+ce", ran, re.DOTALL)
