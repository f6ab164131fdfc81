from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import catalog, losses
from bench.errors import DataError, NameUnknown

ROOT = Path(__file__).resolve().parents[1]


def test_entries_are_the_files_of_the_folders_with_their_docstrings():
    found = catalog.entries("architectures")

    folders = ROOT / "architectures", ROOT / "tests" / "catalog" / "architectures"
    assert {path.stem for folder in folders for path in folder.glob("[a-z]*.py")} == set(found)
    assert (
        "U-Net: an encoder, and a decoder that takes up the encoder's features at every scale." == found["unet"].summary
    )


def test_helpers_that_start_with_an_underscore_are_not_listed():
    assert not any(name.startswith("_") for kind in ("datasets", "architectures") for name in catalog.entries(kind))


@pytest.mark.parametrize(
    ("lookup", "name", "words"),
    [
        (catalog.architecture, "unett", ["architecture", "'unett'", "Did you mean unet", "bench list architectures"]),
        (catalog.dataset, "smeer", ["data set", "'smeer'", "Did you mean smear", "bench list datasets"]),
        (catalog.architecture, "unet[encodr=resnet18]", ["option", "'encodr'", "Did you mean encoder"]),
        (catalog.architecture, "unet[encoder]", ["'encoder'", "key=value"]),
        (catalog.architecture, "unet[", ["Cannot read", "'unet['"]),
        (catalog.architecture, "plain_unet[width=abc]", ["width=abc", "must be a whole number", "width=32"]),
        (catalog.dataset, "blood_cell[x=1]", ["option of 'blood_cell[x=1]'", "'x'", "skip_unpaired"]),
        (catalog.architecture, "_smp", ["architecture", "'_smp'"]),
        (catalog.architecture, "all[width=8]", ["'all'", "a whole axis of a study", "without options"]),
        (catalog.dataset, "all[size=64]", ["'all'", "a whole axis of a study", "without options"]),
        (losses.canonical, "2*all", ["'all'", "a whole axis of a study", "weights or other terms"]),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one_and_the_list(lookup, name: str, words: list[str]):
    with pytest.raises(NameUnknown) as error:
        lookup(name)

    message = str(error.value)
    assert [] == [word for word in words if word not in message]
    assert "\n" not in message


def test_a_path_that_is_not_there_is_a_data_error_that_says_what_to_give(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere does not exist.*images/ and masks/"):
        catalog.dataset(str(tmp_path / "nowhere"))


def test_the_same_name_in_two_folders_is_an_error_naming_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / "unet.py").write_text('"""Mine."""\n')
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))

    with pytest.raises(NameUnknown, match=r"Two files define architecture 'unet'.*Rename one"):
        catalog.entries("architectures")


def test_a_helper_of_the_same_name_in_two_folders_is_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / "_blocks.py").write_text('"""Not ours."""\n')
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))

    with pytest.raises(NameUnknown, match=r"Two files define architecture '_blocks'"):
        catalog.entries("architectures")


def test_a_file_named_like_the_whole_axis_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / "all.py").write_text('"""Everything."""\n')
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))

    with pytest.raises(
        NameUnknown, match=r"all.py cannot be used: 'all' stands for all architectures. Rename the file"
    ):
        catalog.entries("architectures")


def test_a_folder_named_twice_counts_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([str(ROOT), str(ROOT)]))

    assert "unet" in catalog.entries("architectures")


@pytest.mark.parametrize("edited", ["changing.py", "_changing_parts.py"])
def test_what_is_edited_while_the_program_runs_is_imported_anew(
    edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "architectures"
    folder.mkdir()
    (folder / "_changing_parts.py").write_text("TITLE = 'First'\n")
    (folder / "changing.py").write_text(
        "from bench.specs import ArchitectureSpec\nfrom ._changing_parts import TITLE\n"
        "SPEC = ArchitectureSpec(title=TITLE, family='f', citation='me', build=None, divisor=1)\n"
    )
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    before, code = catalog.architecture("changing")[0], catalog.code_hash("architectures", "changing")
    text = (folder / edited).read_text()
    (folder / edited).write_text(text.replace("'First'", "'The second'").replace("title=TITLE", "title='The second'"))

    assert ("First", "The second") == (before.title, catalog.architecture("changing")[0].title)
    assert code != catalog.code_hash("architectures", "changing")


def test_a_file_of_the_same_name_in_another_folder_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    titles = []
    for name in ("one", "two"):
        (tmp_path / name / "architectures").mkdir(parents=True)
        (tmp_path / name / "architectures" / "wandering.py").write_text(
            "from bench.specs import ArchitectureSpec\n"
            f"SPEC = ArchitectureSpec(title='{name}', family='f', citation='me', build=None, divisor=1)\n"
        )
        monkeypatch.setenv("BENCH_PATH", str(tmp_path / name))
        titles.append(catalog.architecture("wandering")[0].title)

    assert ["one", "two"] == titles


def test_a_user_catalogue_named_on_the_command_line_is_listed_and_found_by_spawned_workers(tmp_path: Path):
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / "mine.py").write_text(
        '"""My own network."""\n'
        "from bench.specs import ArchitectureSpec\n"
        "def build(channels, classes):\n"
        "    from torch import nn\n"
        "    return nn.Conv2d(channels, classes, 1)\n"
        'SPEC = ArchitectureSpec(title="Mine", family="mine", citation="me", build=build, divisor=1)\n'
    )
    code = (
        "import multiprocessing\n"
        "from bench import catalog\n"
        "def title(name):\n"
        "    return catalog.architecture(name)[0].title\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(title, ('mine',)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"BENCH_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    spawned = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    listed = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--catalog", str(tmp_path), "list", "architectures"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "Mine\n" == spawned.stdout, spawned.stderr
    assert "My own network." in listed.stdout


def test_a_file_without_a_specification_is_named_where_it_lies(tmp_path: Path):
    path = tmp_path / "architectures" / "without_spec.py"
    path.parent.mkdir()
    path.write_text('"""Nothing."""\n')
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--catalog", str(tmp_path), "run", "matrix", "--architecture", path.stem],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 2 == result.returncode
    assert f"{path} defines no SPEC of type ArchitectureSpec" in result.stderr


def test_a_catalogue_folder_with_nothing_to_find_is_an_error(tmp_path: Path):
    (tmp_path / "mine.py").write_text('"""In the wrong place."""\n')
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--catalog", str(tmp_path), "list", "architectures"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 2 == result.returncode
    assert f"{tmp_path} holds none of datasets/, architectures/, losses/, profiles/" in result.stderr


def test_a_drop_in_file_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path):
    (tmp_path / "architectures").mkdir()
    (tmp_path / "architectures" / "broken.py").write_text('"""Broken."""\nimport no_such_library\n')
    environment = os.environ | {"BENCH_PATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "run", "matrix", "--architecture", "broken"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 2 == result.returncode
    assert "broken.py cannot be imported: ModuleNotFoundError: No module named 'no_such_library'" in result.stderr
    assert "Traceback" not in result.stderr
