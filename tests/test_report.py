"""The page of a study: complete, honest, one file, and safe to open whatever the data says."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench import metrics, quantities, report, sections, standings, study
from bench.errors import NameUnknown, StoreError, StudyError
from bench.standings import Board
from bench.store import Store, write_bytes
from tests import synthetic

PROFILE = metrics.profile("default")
LOADS = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")


class Page(HTMLParser):
    """What a browser would make of a page: its elements, the text, and what it would load."""

    def __init__(self, text: str) -> None:
        """Parse at once."""
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = synthetic.write(tmp_path_factory.mktemp("results"))
    report.write(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def board(folder: Path, profile: str = "default") -> Board:
    """The only leaderboard of a synthetic study."""
    chosen = metrics.profile(profile)
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), chosen)
    return standings.boards(table, chosen)[0]


def test_write_leaves_the_page_and_its_tables(folder: Path) -> None:
    names = {path.name for path in folder.iterdir() if path.is_file()} - {"leaderboard.parquet"}

    assert {
        "study.toml",
        "index.html",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "leaderboard.json",
        "statistics.json",
    } == names


def test_the_json_has_one_entry_per_cell_failed_or_not(folder: Path) -> None:
    entries = json.loads((folder / "leaderboard.json").read_text())

    keys = {
        "dataset",
        "architecture",
        "loss",
        "seed",
        "fold",
        "status",
        "lr",
        "leaked",
        "profile",
        "metrics",
        "intervals",
    }
    keys |= {"schema", "rank", "rank_range", "tie_group"}
    assert all(keys == set(entry) for entry in entries)
    assert sorted(entry["status"] for entry in entries) == ["diverged", "failed", "ok", "ok", "ok", "ok", "pending"]
    assert all(entry["metrics"] == {} for entry in entries if entry["status"] != "ok")
    with (folder / "leaderboard.csv").open(newline="") as file:
        assert len(entries) == len(list(csv.DictReader(file)))


def test_the_page_loads_nothing(text: str) -> None:
    page = Page(text)

    loaded = [value for name, value in page.attributes if name in LOADS]
    linked = [value for value in loaded if not value.startswith(("#", "data:"))]
    assert all(re.fullmatch(r"pictures/[0-9a-f]{20}\.(png|jpg)", value) for value in linked)
    assert not re.search(r"url\((?!['\"]?(#|data:))|@import", text)
    assert {"link", "script", "svg", "table"} <= set(page.tags)
    assert linked
    assert ("role", "img") in page.attributes
    assert not {"iframe", "object", "embed", "form", "base"} & set(page.tags)


def test_the_policy_allows_the_one_script_and_no_other(text: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)

    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_text_from_data_stays_text(text: str) -> None:
    page = Page(text)

    assert page.tags.count("script") == 2  # data, and the one that runs
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert ("src", "x") not in page.attributes
    assert synthetic.SCRIPT not in text
    assert f"A study of {synthetic.SCRIPT}" in "".join(page.texts)
    assert synthetic.IMAGE in "".join(page.texts)


def test_the_first_sentence_names_the_leader_its_ties_and_the_baselines(folder: Path) -> None:
    first = board(folder)
    value = first.standings[0].values["mdice_d_fg"]

    expected = (
        f"On Smear {synthetic.SCRIPT}, unet[encoder=resnet18] · ce (mDice {value:.3f}) leads; one other cannot be told "
        "apart from it; every scored network beats every baseline; three networks have no score."
    )
    assert expected == sections.answer(first, PROFILE)


def test_the_first_sentence_says_so_when_no_network_beats_a_baseline(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    synthetic.scored(Store(folder), synthetic.cell("otsu", None), skill=0.99)

    sentence = sections.answer(board(folder), PROFILE)

    assert "no network beats the baseline otsu (mDice 0.99" in sentence
    assert "the best network is unet[encoder=resnet18] · ce (0.9" in sentence


def test_behind_a_baseline_the_best_network_is_not_called_alone_where_it_is_not(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    synthetic.scored(Store(folder), synthetic.cell("otsu", None), skill=0.99)

    assert "(0.947); one other cannot be told apart from it; three" in sections.answer(board(folder), PROFILE)


def test_what_was_not_tuned_is_nowhere_called_tuned_or_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = replace(synthetic.STUDY.tuning, trials=1, lr_range=(1e-3, 1e-3))
    monkeypatch.setattr(synthetic, "STUDY", replace(synthetic.STUDY, tuning=tuning))

    words = " ".join(report.write(synthetic.write(tmp_path)).read_text().split())

    assert "one run each, on 12 test images; rate 1.0e-3, not tuned" in words
    assert "<b>Single runs.</b> Each network's value is that of a single run; its test score" in words
    assert "none: every network has the rate 1.0e-3" in words
    for wrong in ("tuned run", "1 learning rates", "chosen for being the best", "1 losses", "1 seeds"):
        assert wrong not in words


def test_nothing_is_said_of_test_images_that_nobody_has_seen(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    shutil.rmtree(folder / "cells")

    text = report.write(folder).read_text()

    assert "on one data set, one tuned run each; every rate" in text


def test_the_leader_that_differences_are_from_may_be_a_baseline(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    synthetic.scored(Store(folder), synthetic.cell("otsu", None), skill=0.99)

    report.write(folder)

    before, _, _ = (folder / "index.html").read_text().partition(">leads<")

    assert "otsu" in before.rsplit('<th scope="row">', 1)[1]


def test_a_page_can_be_written_when_baselines_alone_have_scores(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    store, wanted = Store(folder), replace(synthetic.STUDY, baselines=("otsu", "majority_class"))
    write_bytes(folder / "study.toml", study.dump(wanted).encode())
    for name, loss in ((synthetic.FINE, "dice+ce"), (synthetic.FINE, "ce"), (synthetic.WEAK, "ce")):
        synthetic.failed(store, synthetic.cell(name, loss))
    synthetic.scored(store, synthetic.cell("majority_class", None), skill=0.2)

    report.write(folder)

    assert 1 == (folder / "index.html").read_text().count(">leads<")


def test_the_first_sentence_says_so_when_nothing_is_scored(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    shutil.rmtree(folder / "cells")

    report.write(folder)

    assert sections.answer(board(folder), PROFILE) == "On smear, no network has a score yet."


def test_lines_share_ranks_mark_the_best_and_keep_troubles(folder: Path) -> None:
    lines = sections.lines(board(folder), PROFILE)

    assert [line.rank for line in lines] == ["1=", "1=", "3", "4", "–", "–", "–"]
    assert [line.follows for line in lines] == [False, True, False, False, False, False, False]
    assert {"mdice_d_fg", "miou_d_fg", "mdice_i_fg", "miou_i_fg", "pixel_acc"} == lines[0].best == lines[1].best
    assert not lines[3].best
    assert [line.standing.loss for line in lines if line.edge] == ["dice+ce"]
    assert {"failed", "diverged", "pending"} == {row.status for line in lines for row in line.troubles}
    assert (lines[0].params, lines[0].rates) == (5_086_338, (3e-3,))


def test_fresh_seeds_replace_the_selected_run(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    (folder / "study.toml").write_text(study.dump(replace(synthetic.STUDY, seeds=2)))
    for seed, skill in ((1, 0.5), (2, 0.55)):
        synthetic.scored(Store(folder), synthetic.cell(synthetic.WEAK, "ce", seed=seed), skill=skill)

    text = report.write(folder).read_text(encoding="utf-8")

    only = next(line for line in sections.lines(board(folder), PROFILE) if line.standing.done)
    assert (only.standing.architecture, only.standing.done, only.standing.of) == (synthetic.WEAK, 2, 2)
    assert only.standing.spread is not None
    assert "This run was chosen" not in text


def test_the_class_table_leaves_the_undefined_undefined(folder: Path) -> None:
    table = sections.class_table(board(folder))

    assert table is not None
    assert all(values[-1] == (None, None) for _, values in table.rows)
    assert pytest.approx(sum(share for share in table.share if share is not None)) == 1.0
    assert table.share[-1] == 0.0


def test_the_page_shows_failures_edge_selection_and_provenance(text: str) -> None:
    shown = " ".join(Page(text).texts)

    for part in (
        "This run was chosen for being the best on validation",
        "At the edge of the range.",
        "Excludes seed noise.",
        "1 failed",
        "1 diverged",
        "1 pending",
        f"shape {synthetic.SCRIPT}",
        "bench run matrix study.toml",
        "30 training, 8 validation and 12 test images, of 20 sources",
        "cpu (test)",
        "2.9.0",
        "n/a",
    ):
        assert part in shown


def test_pixel_accuracy_stands_beside_the_share_of_the_background_in_every_profile(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")

    text = report.write(copy, "image_binary").read_text(encoding="utf-8")

    share = sections.lines(board(copy, "image_binary"), metrics.profile("image_binary"))[0].background_share
    assert "background share" in text
    assert f">{share:.3f}<" in text


def test_writing_twice_gives_the_same_bytes(folder: Path, text: str) -> None:
    assert text == report.write(folder).read_text(encoding="utf-8")


def test_a_report_needs_no_torch_and_nothing_that_trains(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    code = (
        "import sys, pathlib; from bench import report; report.write(pathlib.Path(sys.argv[1]));"
        "print(sorted({'torch', 'optuna', 'timm', 'segmentation_models_pytorch'} & set(sys.modules)))"
    )
    root = Path(report.__file__).resolve().parents[1]

    done = subprocess.run(
        [sys.executable, "-c", code, str(copy)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )

    assert done.stdout.strip() == "[]"


def test_newest_is_the_study_stored_into_last(tmp_path: Path) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    for folder, moment in ((old, 1000), (new, 2000)):
        folder.mkdir()
        (folder / "study.toml").write_text("")
        os.utime(folder / "study.toml", (moment, moment))

    assert new == report.newest(tmp_path)

    late = old / "cells" / "smear" / "unet" / "ce" / "f0-s0" / "record.json"
    late.parent.mkdir(parents=True)
    late.write_text("{}")
    assert old == report.newest(tmp_path)


def test_newest_says_what_to_do_when_there_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no study in .*bench run matrix"):
        report.newest(tmp_path)


def test_a_missing_study_or_profile_is_an_error_of_the_user(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study\.toml"):
        report.write(tmp_path)
    with pytest.raises(NameUnknown, match="nonsense"):
        report.write(folder, "nonsense")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (quantities.rate(3e-3), "3.0e-3"),
        (quantities.rate(1.0), "1.0"),
        (quantities.rate(None), "n/a"),
        (quantities.size(184), "0.2 kB"),
        (quantities.size(15_918_279), "15.9 MB"),
        (quantities.size(2.5e9), "2.5 GB"),
        (quantities.amount(5_086_338), "5.09 M"),
        (quantities.amount(7), "7"),
        (quantities.duration(0.44), "0.4 s"),
        (quantities.duration(211), "3 min 31 s"),
        (quantities.duration(7500), "2 h 5 min"),
        (quantities.memory(812.4), "812 MiB"),
        (quantities.memory(1280), "1.2 GiB"),
        (quantities.speed(8.449), "8.45/s"),
        (quantities.speed(1234.5), "1,234/s"),
        (quantities.speed(None), "n/a"),
        (quantities.decimals(None), "n/a"),
    ],
)
def test_quantities_are_short_and_carry_their_unit(shown: str, expected: str) -> None:
    assert expected == shown
