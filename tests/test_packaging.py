"""A wheel, built and installed as users do, beside the package whose name is like one of our folders."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = re.compile(r"^```sh\n(python3 .*)\n```$", re.MULTILINE)


def test_the_readme_leads_with_two_commands_that_install_with_pip_alone():
    commands = COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    setup = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e "

    assert [
        f"{setup}. && .venv/bin/bench run matrix",
        f"{setup}'.[test]' && .venv/bin/pytest -n 2 --dist loadfile",
    ] == commands


def test_every_dependency_has_an_exact_version_in_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)}
    wanted = {re.split(r"[<>=!~\[ ]", name)[0].lower().replace("_", "-") for name in named}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}

    assert set() == wanted - pinned


def test_no_registry_address_stands_in_the_constraints():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")

    assert not re.search(r"https?://|--index|@ ", text)


@pytest.mark.slow
def test_a_wheel_lists_runs_and_uninstalls_beside_hugging_face_datasets(tmp_path: Path):
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)], tmp_path)
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()

    assert {"bench", wheel.name.split("-py3")[0] + ".dist-info"} == {name.split("/")[0] for name in names}
    assert "bench/_builtin/reference/published.csv" in names
    assert {"bench/_builtin/datasets/smear.py", "bench/_builtin/architectures/unet.py", "bench/templates/report.html",
            "bench/studies/quick.toml", "bench/py.typed"} <= set(names)  # fmt: skip

    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    bench = str(tmp_path / "venv" / "bin" / "bench")
    run([python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel), "datasets"], tmp_path)

    assert "plain_unet" in run([bench, "list", "architectures"], tmp_path)
    assert "Dataset" in run([python, "-c", "import datasets; print(datasets.Dataset.__name__)"], tmp_path)
    code = "from bench import published; print(len(published.load()))"

    assert 100 < int(run([python, "-c", code], tmp_path))
    out = run(
        [bench, "run", "matrix", "--dataset", "smear[size=64,train=6,val=3,test=3]", "--architecture", "plain_unet[width=8,levels=2]",
         "--loss", "ce", "--epochs", "1", "--trials", "1", "--size", "32", "--data-home", str(tmp_path / "data")],
        tmp_path,
    )  # fmt: skip

    assert "plain_unet" in out
    assert (tmp_path / "results" / "custom" / "index.html").is_file()
    run([python, "-m", "pip", "uninstall", "-q", "-y", "cytobench"], tmp_path)

    assert "Dataset" in run([python, "-c", "import datasets; print(datasets.Dataset.__name__)"], tmp_path)
    assert not list((tmp_path / "venv").rglob("site-packages/bench"))


def run(command: list[str], folder: Path) -> str:
    """What a command printed; an error shows what it complained."""
    clean = {key: value for key, value in os.environ.items() if key not in ("BENCH_PATH", "PYTHONPATH")}
    result = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout
