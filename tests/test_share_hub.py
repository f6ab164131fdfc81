"""Results and models on the Hub: what is uploaded, its card, and every refusal in one line; a server of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import DatasetCard, ModelCard, constants

import bench
from bench import metrics, plan, report
from bench.errors import NameUnknown, StudyError
from bench.records import Record
from bench.specs import Place
from bench.store import Store, records
from tests import exported, hub_uploads, small, synthetic
from tests.commands import call
from tests.hub_uploads import Hub

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    pytest.mark.filterwarnings("ignore:.*content=.*:DeprecationWarning"),  # of the client's own PUT
]
FINE = synthetic.cell(synthetic.FINE, "dice+ce")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.complete(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> tuple[Path, Record, Place]:
    """The smallest real study: its folder and its network."""
    wanted, where = small.study(), small.place(tmp_path_factory.mktemp("small"), data_home)
    small.execute(wanted, where)
    record = next(one for one in small.stored(wanted, where).values() if one.cell.loss)
    return where.results / "small", record, where


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that this process uploads to, with the right token, by the plain way for large files."""
    with hub_uploads.serving() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", found.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


def card(text: str) -> ModelCard:
    return ModelCard(text)


def test_a_model_that_was_uploaded_by_the_program_itself_predicts_as_here(
    trained: tuple[Path, Record, Place], tmp_path: Path
):
    folder, record, _ = trained
    with hub_uploads.serving() as hub:
        settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1"}
        settings |= {"HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-m", "bench", "share", "me/tiny", str(folder), "--cell", record.cell.key]
        found = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)

    assert (0, "") == (found.returncode, found.stderr)
    assert f"Uploaded: {hub.address}/me/tiny" in found.stdout
    assert {"models/me/tiny": False} == hub.repositories
    away = written(hub, "models/me/tiny", tmp_path / "away")
    assert {"README.md", "record.json", "weights.safetensors", "study.toml", "catalog/architectures/tiny.py"} <= {
        path.relative_to(away).as_posix() for path in away.rglob("*") if path.is_file()
    }
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    here, there = (bench.load(place, device="cpu").predict(picture) for place in (cell_of(folder, record), away))
    assert np.array_equal(here.probabilities, there.probabilities)


def cell_of(folder: Path, record: Record) -> Path:
    return Store(folder).cell(record.cell)


def written(hub: Hub, repository: str, target: Path) -> Path:
    """What lies in a repository, as a folder."""
    for (own, name), content in hub.files.items():
        if own == repository:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    return target


def test_results_are_uploaded_as_a_data_set_that_is_a_results_folder(folder: Path, hub: Hub, tmp_path: Path):
    code, _, err = call("share", "me/results", folder, "--private", "--licence", "cc-by-4.0")

    assert (0, "") == (code, err)
    assert {"datasets/me/results": True} == hub.repositories
    away = written(hub, "datasets/me/results", tmp_path / "synthetic")
    assert 0 == call("verify", away)[0]
    sums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=away, capture_output=True, check=False)
    assert (0, b"") == (sums.returncode, sums.stderr)
    found = DatasetCard((away / "README.md").read_text())
    assert ("cc-by-4.0", ["image-segmentation"]) == (found.data.license, found.data.task_categories)
    assert [{"config_name": "leaderboard", "data_files": "leaderboard.csv"}] == found.data.configs
    assert (folder / "leaderboard.md").read_text().splitlines()[4:12] == found.text.strip().splitlines()[4:12]
    assert "CC0" in found.text


def test_a_second_upload_goes_into_the_same_repository(folder: Path, hub: Hub):
    for _ in range(2):
        assert 0 == call("share", "me/twice", folder, "--cell", FINE.key)[0]

    assert {"models/me/twice": False} == hub.repositories
    assert 2 == sum(line.startswith("POST /api/models/me/twice/commit/") for line in hub.asked)


def test_a_dry_run_writes_what_would_go_and_asks_nobody(folder: Path, hub: Hub, tmp_path: Path):
    code, out, _ = call("share", "me/unet", folder, "--cell", FINE.key, "--dry-run", "--to", tmp_path / "look")

    names = sorted(path.relative_to(tmp_path / "look").as_posix() for path in (tmp_path / "look").rglob("*"))
    assert (0, []) == (code, hub.asked)
    assert ["README.md", "SHA256SUMS", "counts.npz", "history.csv", "record.json"] == names[:5]
    assert all(name in out for name in names)
    assert "Nothing was uploaded" in out


def test_a_dry_run_that_fails_leaves_nothing_behind(folder: Path, hub: Hub, tmp_path: Path, monkeypatch):
    def broken(*_: object) -> str:
        raise StudyError("The card cannot be written.")

    monkeypatch.setattr("bench.modelcard.dataset", broken)

    assert 2 == call("share", "me/all", folder, "--dry-run", "--to", tmp_path / "look")[0]
    assert not (tmp_path / "look").exists()


def test_the_card_holds_each_number_with_its_interval_and_definition(folder: Path, tmp_path: Path):
    call("share", "me/unet", folder, "--cell", FINE.key, "--dry-run", "--to", tmp_path / "look")
    found = card((tmp_path / "look" / "README.md").read_text())
    content = report.collect(folder)
    row = next(row for row in content.rows if row.cell == FINE)

    results = {one.metric_type: one for one in found.data.eval_results}
    defined = {
        name: value for name, value in row.values.items() if value is not None and name in content.profile.metrics
    }
    assert defined == {name: one.metric_value for name, one in results.items()}
    for name, one in results.items():
        assert metrics.DEFAULT.metrics[name].definition == one.metric_args["definition"]
        interval = row.intervals[name]
        assert (None if interval is None else list(interval)) == one.metric_args.get("interval_95")
    assert ("unet", "smear", "test") == (
        found.data.model_name,
        results["mdice_d_fg"].dataset_type,
        results["mdice_d_fg"].dataset_split,
    )
    assert ["smear"] == found.data.datasets
    assert f"| `mdice_d_fg` | {row.values['mdice_d_fg']:.4f} |" in found.text


def test_the_card_says_what_has_to_be_known_before_the_numbers(folder: Path, tmp_path: Path):
    call("share", "me/unet", folder, "--cell", FINE.key, "--dry-run", "--to", tmp_path / "look")
    text = (tmp_path / "look" / "README.md").read_text()
    plain = " ".join(text.split())

    for words in (
        "Excludes seed noise", "not for diagnosis", "were not searched for copies", 'snapshot_download("me/unet")',
        "licence: CC0", "citation: Nobody", "energy: not measured", "device cpu (test)", "5,086,338 trainable",
        "The best baseline without a network, `otsu`", "Nobody has said under which licence the weights are",
        "at the end of the range",
    ):  # fmt: skip
        assert words in plain, words
    body = card(text).text
    assert [] == [tag for tag in ("<script", "<img") if tag in body]


def test_no_text_of_data_or_files_is_markup_on_a_card(tmp_path: Path):
    bad = "<img src=x>`\n---\n# boo [a](http://b.c) |"

    def spoiled(record: Record) -> Record:
        card = replace(record.data, title=bad, licence=bad, citation=bad, hash=bad) if record.data else None
        return replace(record, data=card, environment={bad: bad})

    folder = exported.complete(tmp_path / "results", spoiled)
    call("share", "me/unet", folder, "--cell", FINE.key, "--dry-run", "--to", tmp_path / "model", "--licence", bad)
    call("share", "me/all", folder, "--dry-run", "--to", tmp_path / "all")

    for where in ("model", "all"):
        text = card((tmp_path / where / "README.md").read_text()).text
        plain = re.sub(r"`[^`\n]*`", "", text.replace("\\`", ""))  # what is code is shown as it is
        assert "boo" in plain
        assert [] == [mark for mark in ("<img", "\n# boo", "](http", "b.c) |", "://b") if mark in plain], where


def test_a_leak_is_on_the_card_and_among_its_tags(tmp_path: Path):
    def leaky(record: Record) -> Record:
        return replace(record, data=replace(record.data, leaked={"train": 0, "val": 0, "test": 5}))

    folder = exported.complete(tmp_path / "results", leaky)
    call("share", "me/unet", folder, "--cell", FINE.key, "--dry-run", "--to", tmp_path / "look")
    found = card((tmp_path / "look" / "README.md").read_text())

    assert "leak" in found.data.tags
    assert "LEAK: 5 of 12 test images have a copy in another split" in found.text


def refused(*words: object) -> str:
    """What a command complains, which is one line."""
    code, _, err = call(*words)
    assert (2, 1) == (code, err.count("\n")), err
    return err


def test_without_a_token_nothing_is_asked(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")

    assert "There is no token for the Hub" in refused("share", "me/unet", folder, "--cell", FINE.key)
    assert [] == hub.asked


def test_a_wrong_token_is_told(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")

    assert "does not accept the token" in refused("share", "me/unet", folder, "--cell", FINE.key)
    assert {} == hub.repositories


def test_somebody_elses_name_is_told(folder: Path, hub: Hub):
    complaint = refused("share", "you/unet", folder, "--cell", FINE.key)

    assert "The Hub refuses you/unet" in complaint
    assert "OWNER must be your name" in complaint


def test_no_network_is_told(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    assert "http://127.0.0.1:9 did not take me/unet" in refused("share", "me/unet", folder, "--cell", FINE.key)


def test_a_hub_that_is_out_of_order_is_told(folder: Path, hub: Hub):
    hub.broken = "/commit/"

    assert "did not take me/unet" in refused("share", "me/unet", folder, "--cell", FINE.key)


@pytest.mark.parametrize("name", ["unet", "a/b/c", "me/..", "me/-x-", "", "me/a b"])
def test_a_name_that_no_repository_can_have_is_refused_at_once(name: str, folder: Path, hub: Hub):
    assert "is no name of a repository" in refused("share", name, folder)
    assert [] == hub.asked


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("smear/otsu/-/f0-s0", "has no weights, so that it is no model"),
        (f"smear/{synthetic.WEAK}/dice+ce/f0-s0", "has no weights"),
        ("smear/nobody/ce/f0-s0", "There is no cell named"),
    ],
)
def test_what_is_no_model_is_told(cell: str, reason: str, folder: Path, hub: Hub):
    assert reason in refused("share", "me/x", folder, "--cell", cell)
    assert [] == hub.asked


def test_several_seeds_are_no_model(tmp_path: Path, hub: Hub):
    folder = exported.complete(tmp_path / "results")
    first = next(one for one in records(folder) if one.cell == FINE)
    second = replace(first, cell=replace(FINE, seed=1))
    made = first.ingredients | {"cell": {**first.ingredients["cell"], "seed": 1}}
    shutil.copytree(Store(folder).cell(FINE), Store(folder).cell(second.cell))
    Store(folder).write(replace(second, ingredients=made, fingerprint=plan.digest(made)))

    assert "A model is one cell, and 2 are meant" in refused(
        "share", "me/x", folder, "--cell", FINE.key.rpartition("/")[0]
    )


def test_a_model_with_own_code_says_how_to_name_it(trained: tuple[Path, Record, Place], tmp_path: Path):
    folder, record, _ = trained
    call("share", "me/tiny", folder, "--cell", record.cell.key, "--dry-run", "--to", tmp_path / "look")

    assert "`BENCH_PATH`" in (tmp_path / "look" / "README.md").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BENCH_PATH")
        code = tmp_path / "look" / "catalog" / "architectures" / "tiny.py"
        whole = code.read_bytes()
        code.write_bytes(f"open({str(tmp_path / 'was-run')!r}, 'w')\n".encode() + whole)
        patch.chdir(tmp_path / "look")  # not from the folder itself either
        with pytest.raises(NameUnknown, match=r"came along as catalog/architectures/tiny\.py, and is not run unasked"):
            bench.load(tmp_path / "look", device="cpu")
        ended, _, err = call("convert", ".", "--to", tmp_path / "a.onnx", "--force")
        assert (2, 1, False) == (ended, err.count("\n"), (tmp_path / "was-run").exists())
        code.write_bytes(whole)
        patch.setenv("BENCH_PATH", str(tmp_path / "look" / "catalog"))
        assert record.cell == bench.load(tmp_path / "look", device="cpu").record.cell
