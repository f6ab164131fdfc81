"""A study on data that leak: stopped before anything is written, or allowed and stamped wherever its scores are shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench import audit, auditfile, cli_audit, leaking, metrics, prepare, standings
from bench import study as studies
from bench.errors import DataError
from bench.findings import Audit, Finding, Kind
from bench.records import Record
from bench.specs import Place, Tuning
from bench.store import Store, records
from tests import commands, plain_folder, small
from tests.plain_folder import put, take

SPLITS = {"train": 6, "val": 3, "test": 4}


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a turned copy and a plain copy of training images among its test images."""
    root = plain_folder.write(tmp_path_factory.mktemp("leaky") / "cells", SPLITS, size=96)
    put(root, "test", "again", take(root, "train", "t00"))
    put(root, "test", "turned", tuple(map(np.rot90, take(root, "train", "t01"))))
    return root


def study_file(folder: Path, dataset: str) -> Path:
    path = folder / "mine.toml"
    wanted = small.study(name="mine", datasets=(dataset,), tuning=Tuning(lr_range=(1e-2, 1e-2), trials=1))
    path.write_text(studies.dump(wanted))
    return path


def run(folder: Path, study: Path, *words: object) -> tuple[int, str, str]:
    return commands.call(
        "run", "matrix", study, "--results", folder / "results", "--data-home", folder / "home", "--workers", 0, *words
    )


@pytest.fixture(scope="module")
def allowed(leaky: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Results of a study on the leaky folder, and what it complained."""
    folder = tmp_path_factory.mktemp("allowed")
    code, out, err = run(folder, study_file(folder, str(leaky)), "--allow-leak")
    assert 0 == code, out + err
    return folder, err


def test_a_leak_stops_a_study_before_anything_is_trained_or_written(leaky: Path, tmp_path: Path):
    code, _, err = run(tmp_path, study_file(tmp_path, str(leaky)))
    last = err.strip().splitlines()[-1]
    [page] = (tmp_path / "home").glob("*/audit.html")

    assert 2 == code
    assert f"{leaky} leaks: train-t00 (train) and test-again (test), exact copy and 1 more." in last
    assert all(hint in last for hint in (str(page), f"bench data audit {leaky}", "--allow-leak", "LEAK"))
    assert not (tmp_path / "results").exists()


def test_an_allowed_leak_is_counted_in_every_record_and_listed_with_the_split(allowed: tuple[Path, str]):
    folder, err = allowed
    results = folder / "results/mine"
    found: list[Record] = list(records(results))
    split = json.loads(next(results.rglob("splits/**/*.json")).read_text())

    assert "The leaderboard bears the stamp LEAK." in err
    assert 2 == len(found)
    assert all(one.data is not None and one.data.leaked == {"val": 0, "test": 2} for one in found)
    assert {"val": [], "test": ["test-again", "test-turned"]} == split["leaked"]


def test_every_form_of_the_leaderboard_of_an_allowed_leak_says_so(allowed: tuple[Path, str], tmp_path: Path):
    results = shutil.copytree(allowed[0] / "results/mine", tmp_path / "mine")
    said = "LEAK: 2 of 6 test images have a copy in another split"
    forms = {form: commands.call("report", results, "--format", form) for form in ("md", "tex", "json", "csv")}

    assert {0} == {code for code, _, _ in forms.values()}
    assert f"**{said}" in forms["md"][1]
    assert said in forms["tex"][1]
    assert '"leaked": 2' in forms["json"][1]
    assert all(line.endswith(",2") for line in forms["csv"][1].splitlines()[1:])
    page = (results / "index.html").read_text()
    assert page.count('class="stamp"') == 1
    assert "the other 4" in page


def test_scores_without_the_leaked_images_are_shown_for_every_row(allowed: tuple[Path, str]):
    results = allowed[0] / "results/mine"
    rows = standings.rows(studies.load(results / "study.toml"), Store(results), metrics.DEFAULT)
    [board] = standings.boards(rows, metrics.DEFAULT)
    found = leaking.leak(board, metrics.DEFAULT)

    assert found is not None
    assert (2, 6, 0, 3) == found[:4]
    assert {"tiny", "all_background"} == {one.standing.architecture for one in found.without}


def test_results_with_a_leak_verify_and_have_a_status(allowed: tuple[Path, str]):
    folder = allowed[0]
    verified = commands.call("verify", folder / "results/mine")
    status = commands.call("status", folder / "results/mine", "--data-home", folder / "home")

    assert 0 == verified[0], verified[1] + verified[2]
    assert 0 == status[0], status[1] + status[2]


def test_a_second_run_neither_audits_nor_trains_again_but_warns(
    allowed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
):
    folder = allowed[0]
    monkeypatch.setattr(audit, "_made", lambda *words: pytest.fail("audited again"))
    times = {path: path.stat().st_mtime_ns for path in folder.glob("results/mine/cells/**/record.json")}
    code, _, err = run(folder, folder / "mine.toml", "--allow-leak")

    assert 0 == code
    assert "The leaderboard bears the stamp LEAK." in err
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert 2 == run(folder, folder / "mine.toml")[0]


def test_results_of_a_time_before_audits_are_still_reported_and_bear_no_stamp(
    allowed: tuple[Path, str], tmp_path: Path
):
    results = shutil.copytree(allowed[0] / "results/mine", tmp_path / "mine")
    for path in results.glob("cells/**/record.json"):
        content = json.loads(path.read_text())
        del content["data"]["leaked"]
        path.write_text(json.dumps(content))
    for path in results.rglob("splits/**/*.json"):
        content = json.loads(path.read_text())
        del content["leaked"]
        path.write_text(json.dumps(content))
    code, out, _ = commands.call("report", results, "--format", "md")

    assert 0 == code
    assert "LEAK" not in out
    assert 'class="stamp"' not in (results / "index.html").read_text()


def test_defects_without_a_leak_are_told_and_do_not_stop_a_study(tmp_path: Path):
    root = plain_folder.write(tmp_path / "cells", SPLITS, size=96)
    image, mask = take(root, "train", "t02")
    put(root, "train", "t02", (image, plain_folder.moved(mask, 5, 5)))
    code, _, err = run(tmp_path, study_file(tmp_path, str(root)))

    assert 0 == code, err
    assert f"{root} has defects, which do not stop the study: see " in err


def test_a_dry_run_tells_of_the_leak_that_will_stop_the_study(leaky: Path, tmp_path: Path):
    study = study_file(tmp_path, str(leaky))
    stopped, allowed = run(tmp_path, study, "--dry-run"), run(tmp_path, study, "--dry-run", "--allow-leak")

    assert (2, 0) == (stopped[0], allowed[0])
    assert "tiny" in stopped[1]
    assert all(hint in stopped[2].replace("\n", " ") for hint in ("train-t00 (train) and test-again", "--allow-leak"))
    assert "The leaderboard bears the stamp LEAK." in allowed[2].replace("\n", " ")
    assert not (tmp_path / "results").exists()


def test_a_leak_in_a_later_fold_stops_a_study_whose_first_fold_has_a_defect_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prepared = prepare.prepare(small.SMEAR, tmp_path)
    first, second = prepared.ids(1, 3), prepared.ids(2, 3)
    pair = next(
        (one, other) for one in second["test"] for other in second["train"] if {one, other} <= {*first["train"]}
    )
    found = Audit(
        dataset=small.SMEAR,
        title="Smear",
        hash=prepared.index.hash,
        version=audit.VERSION,
        images=len(prepared.samples),
        findings=(
            Finding(kind=Kind.SHIFTED, images=pair[:1], note="Off."),
            Finding(kind=Kind.EXACT, images=pair, note="The same."),
        ),
        seconds={},
    )
    monkeypatch.setattr(audit, "_made", lambda *words: found)
    study = small.study(name="mine", datasets=(small.SMEAR,), folds=3)

    with pytest.raises(DataError, match=r"leaks in fold 2: .* \(test\).*--allow-leak"):
        cli_audit.before(study, Place(results=tmp_path, data_home=tmp_path), allow_leak=False)


def test_a_study_says_that_crops_were_not_searched_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(audit.audit.__kwdefaults__, "crops_s", 0.0)
    study = small.study(name="mine", datasets=(small.SMEAR,))
    cli_audit.before(study, Place(results=tmp_path, data_home=tmp_path), allow_leak=False)

    assert f"Leaks of {small.SMEAR} may be missed. Crops: 0 of " in capsys.readouterr().err.replace("\n", " ")


def test_copies_split_as_published_run_without_leave_and_are_stamped(tmp_path: Path):
    name = "smear[protocol=as-published,size=64,test=2,train=4,val=2]"
    code, _, err = run(tmp_path, study_file(tmp_path, name))
    card = next(records(tmp_path / "results/mine")).data
    [stored] = (tmp_path / "home").glob(f"*protocol*/{auditfile.FILE}")

    assert 0 == code, err
    assert "as its protocol is meant to. The leaderboard bears the stamp LEAK." in err
    assert card is not None
    assert card.leaked is not None
    assert card.leaked["test"] > 0.9 * card.test
    assert stored.is_file()
    assert "LEAK: " in commands.call("report", tmp_path / "results/mine", "--format", "md")[1]
