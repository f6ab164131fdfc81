"""What architectures/README.md tells a stranger to do, done as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.specs import ArchitectureSpec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "architectures" / "README.md").read_text(encoding="utf-8")
[CODE] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^((?:bench|pytest) .*)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "architectures").mkdir()
    (folder / "architectures" / "my_network.py").write_text(CODE)
    return folder


def call(folder: Path, *words: str, where: Path | None = None) -> str:
    """What a command of the README prints, run in the folder, or somewhere else, as a user would."""
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_PATH"}
    result = subprocess.run(
        [sys.executable, *words], cwd=where or folder, env=environment | {"BENCH_DATA": str(folder / "data")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 0 == result.returncode, result.stdout + result.stderr
    assert "" == result.stderr
    return result.stdout


def words(command: str, folder: Path) -> list[str]:
    """A command of the README, for this checkout and this folder."""
    return [str(ROOT / "cli.py"), *shlex.split(command.replace("DIR", str(folder)))[1:]]


def test_every_field_of_a_specification_is_told():
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", README, re.MULTILINE)))

    assert sorted(ArchitectureSpec.__dataclass_fields__) == sorted(told)


@pytest.mark.skipif(find_spec("torchview") is None, reason="the extra inspect is not installed")
def test_the_network_of_the_readme_is_listed_shown_and_run(folder: Path):
    listed, shown, tested, ran = COMMANDS
    rows = call(folder, *words(listed, folder)).splitlines()

    assert [["my_network", "19.1", "k", "1.12", "2"]] == [
        row.split()[:5] for row in rows if row.startswith("my_network")
    ]
    assert [] == [row for row in rows if "cannot be built" in row]
    assert "2 x 64 x 64" in call(folder, *words(shown, folder), "--to", "my_network.dot")
    assert (folder / "my_network.dot").read_text().count("Conv2d") == 5
    tiny = ran.replace("smear", "'smear[size=64,test=4,train=6,val=3]'").replace(",plain_unet", "")
    tiny += " --loss ce --epochs 4 --batch 2 --trials 1 --size 32 --workers 0 --name mine"
    board = call(folder, *words(tiny, folder))
    stored = json.loads((folder / "results" / "mine" / "leaderboard.json").read_text())
    trained = {row["architecture"]: row for row in stored if row["loss"]}

    assert {"my_network": "ok", "my_network[width=32]": "ok"} == {name: row["status"] for name, row in trained.items()}
    assert 0 < trained["my_network"]["metrics"]["mdice_d_fg"] <= 1
    assert "my_network[width=32]" in board


def test_the_contract_can_be_run_on_it(folder: Path):
    [command] = [one for one in COMMANDS if one.startswith("pytest ")]
    _, path, *rest = command.replace("DIR", str(folder)).split()
    out = call(folder, "-m", "pytest", path, *rest, "-p", "no:cacheprovider", where=ROOT)
    passed = int(re.findall(r"(\d+) passed", out)[0])

    assert passed >= 10
    assert " failed" not in out
