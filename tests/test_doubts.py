"""Warnings on easy metrics, and rankings that change with the definition."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import doubts, explain, listing, markdown, metrics, report, tables
from bench.cli import app
from bench.errors import NameUnknown
from bench.metrics import PROFILES
from bench.rules import constant
from bench.store import Store, write_bytes
from tests import synthetic

ROOT = Path(__file__).resolve().parents[1]


def mostly_background() -> np.ndarray:
    """Two images, 90% background, half of the rest right."""
    return np.array([[[90, 0, 0], [2, 3, 0], [3, 0, 2]], [[90, 0, 0], [5, 5, 0], [0, 0, 0]]], np.uint32)


def test_a_constant_predictor_keeps_the_truth_and_calls_it_all_one_class() -> None:
    counts = mostly_background()
    found = constant(counts, 1)

    assert counts.sum(axis=-1).tolist() == found.sum(axis=-1).tolist()
    assert found.sum() == found[..., 1].sum()


def test_a_metric_that_background_alone_satisfies_is_easy_and_says_by_how_much() -> None:
    found = doubts.easy(mostly_background(), PROFILES["default"])

    assert {"pixel_acc": (180 / 200, 0)} == found


def test_easiness_depends_on_the_truth_alone() -> None:
    counts = mostly_background()
    perfect = np.stack([np.diag(image.sum(axis=-1)) for image in counts])

    for profile in PROFILES.values():
        assert doubts.easy(counts, profile) == doubts.easy(perfect, profile), profile.name


def test_the_scores_that_absent_classes_lend_are_warned_of() -> None:
    counts = np.zeros((3, 8, 8), int)
    counts[:, 0, 0], counts[0, 1, 1] = 95, 5

    assert {"miou_i", "mdice_i", "ovr_acc_i"} <= set(doubts.easy(counts, PROFILES["medsegbench"]))
    assert not doubts.easy(counts, PROFILES["nnunet"])
    assert 0.9 < doubts.easy(counts, PROFILES["seeds_soft"])["keras_dice_multiclass"].value


def test_a_class_other_than_background_may_be_the_easy_one() -> None:
    counts = np.array([[[10, 0], [0, 90]]])

    assert 1 == doubts.easy(counts, PROFILES["default"])["mdice_d_fg"].label


def test_the_limit_itself_is_not_easy() -> None:
    counts = np.array([[[60, 0], [40, 0]]])

    assert "pixel_acc" not in doubts.easy(counts, PROFILES["default"])
    assert "pixel_acc" in doubts.easy(counts + np.array([[1, 0], [0, 0]]), PROFILES["default"])


def test_nothing_is_easy_without_images() -> None:
    assert {} == doubts.easy(np.zeros((0, 3, 3), int), PROFILES["default"])


def test_the_two_rivals_change_places_between_definitions() -> None:
    first, second = explain.rivals()
    winners = {row["profile"]: row["first"] for row in explain.definitions()}

    assert first.sum(axis=-1).tolist() == second.sum(axis=-1).tolist()
    assert {10_000} == set(first.sum(axis=(1, 2)).tolist())
    assert ("A", "A", "B", "B") == tuple(winners[name] for name in ("default", "mmseg", "nnunet", "tm_meaniou"))
    assert 5 <= sum(winner == "A" for winner in winners.values()) <= len(winners) - 5
    assert min(first.min(), second.min()) >= 0


def test_rankings_name_the_profiles_that_put_another_network_first() -> None:
    first, second = explain.rivals()
    flips = doubts.rankings({"A": [first], "B": [second]}, PROFILES["default"])

    assert {row["profile"] for row in explain.definitions() if row["first"] == "B"} == {f.profile.name for f in flips}
    assert all(flip.first == "B" and flip.value > flip.instead for flip in flips)
    assert re.fullmatch(
        r"Other definitions put another network first, by value alone: B under nnunet, .*\.", doubts.sentence(flips)
    )


def test_rankings_that_agree_say_nothing() -> None:
    first, _ = explain.rivals()

    assert [] == doubts.rankings({"A": [first], "twin": [first]}, PROFILES["default"])
    assert [] == doubts.rankings({}, PROFILES["default"])
    assert "" == doubts.sentence([])


def test_rankings_take_the_mean_over_runs() -> None:
    first, second = explain.rivals()
    mixed = {"A": [first, first], "B": [second, second], "mixed": [first, second]}

    assert "mixed" not in {flip.first for flip in doubts.rankings(mixed, PROFILES["nnunet"])}


def test_a_ranking_by_a_measure_is_compared_with_nothing() -> None:
    first, second = explain.rivals()

    assert [] == doubts.rankings({"A": [first], "B": [second]}, PROFILES["seeds_soft"])


def test_the_page_and_the_tables_show_the_doubts(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path)
    store, (first, second) = Store(folder), explain.rivals()
    ids = [f"image-{number:02d}" for number in range(len(first))]
    for architecture, counts in ((synthetic.FINE, first), (synthetic.WEAK, second)):
        cell = synthetic.cell(architecture, "ce")
        classes = tuple(replace(synthetic.CLASSES[0], name=f"class {number}") for number in range(6))
        record = store.read(cell)
        assert record is not None and record.data is not None
        kept = replace(
            record, data=replace(record.data, classes=classes), counts_hash=store.write_counts(cell, ids, counts)
        )
        store.write(kept)
    text = (folder / "study.toml").read_text()
    text = re.sub(r"architectures = .*", f'architectures = ["{synthetic.FINE}", "{synthetic.WEAK}"]', text)
    text = re.sub(r"losses = .*", 'losses = ["ce"]', re.sub(r"baselines = .*", "baselines = []", text))
    write_bytes(folder / "study.toml", text.encode())
    page = report.write(folder).read_text(encoding="utf-8")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["report", str(folder)])

    assert "calling every pixel class 0 already scores 0.918 on these images" in page
    assert page.count("⚠") >= 2
    assert "Other definitions put another network first" in page
    assert f"{synthetic.WEAK} · ce under nnunet" in page.replace("&#39;", "'")
    assert 0 == result.exit_code, result.output
    flat = " ".join(result.output.split())
    assert "⚠ pixel_acc: calling every pixel class 0 already scores 0.918" in flat
    assert "Other definitions put another network first" in flat


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("doubts"))


@pytest.mark.parametrize(
    "name", ["mmseg", "wang_class", "seeds_soft", "seed1_hard", "custom[aggregate=image,worst=0.05]"]
)
def test_every_kind_of_profile_makes_tables(name: str, folder: Path) -> None:
    content = report.collect(folder, name)
    table = tables.as_json(content.rows, content.boards, content.profile)

    assert f'"profile": "{content.profile.id}"' in table
    assert content.profile.primary in markdown.as_markdown(content.boards, content.profile)
    assert content.profile.id in report.index(content)


@pytest.mark.parametrize("name", [*PROFILES, *sorted({key for one in PROFILES.values() for key in one.metrics})])
def test_everything_can_be_explained_with_a_number(name: str) -> None:
    text = "\n".join(explain.lines(name))

    assert "here: " in text
    assert "Example: " in text
    assert "used by: " in text.lower()


def test_the_worked_example_is_the_metric_of_the_matrices_that_are_shown() -> None:
    lines = explain.lines("miou_d_fg")
    text = "\n".join(lines)
    total = explain.EXAMPLE.sum(axis=0)
    nucleus, plasma = (total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in (1, 2))

    assert f"all images: nucleus {nucleus:.4f}, plasma {plasma:.4f}" in text
    assert f"here: {(nucleus + plasma) / 2:.4f}" in text
    assert "hit / (true + predicted - hit)" in text
    shown = [
        int(number)
        for line in lines
        if line.startswith(("  background", "  nucleus", "  plasma"))
        for number in line.split()[1:]
    ]
    assert explain.EXAMPLE.transpose(1, 0, 2).ravel().tolist() == shown


def test_a_family_and_a_class_are_explained_too() -> None:
    family = "\n".join(explain.lines("miou"))

    assert {"miou_d_fg", "miou_i_fg", "miou_d", "miou_i", "miou_c"} <= set(
        re.findall(r"^(miou_\w+) in", family, re.MULTILINE)
    )
    assert "One class by itself" in explain.lines("dice_d/monocyte")[0].replace("one", "One")
    assert any("worst" in line for line in explain.lines("custom"))


@pytest.mark.parametrize(
    ("name", "guess"), [("mious", "miou"), ("mmsegg", "mmseg"), ("pixelacc", "pixel_acc"), ("custm", "custom")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, guess: str) -> None:
    with pytest.raises(NameUnknown, match=f"Did you mean {guess}"):
        explain.lines(name)


def test_explain_and_list_show_every_profile() -> None:
    runner = CliRunner(env={"COLUMNS": "240"})
    table = runner.invoke(app, ["explain", "definitions"])
    one = runner.invoke(app, ["explain", "mmseg"])
    listed = {str(row["profile"]) for row in listing.table("metrics")}

    assert (0, 0) == (table.exit_code, one.exit_code)
    assert all(str(row["profile"]) in table.output for row in explain.definitions())
    assert PROFILES["mmseg"].id in one.output
    assert {one.id for one in PROFILES.values()} < listed


def test_the_guide_shows_the_table_that_the_command_prints() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

    for row in explain.definitions():
        line = f"| `{row['profile']}` | `{row['metric']}` | {row['A']} | {row['B']} | {row['first']} | {row['all background']} |"
        assert line in text
    assert all(f"`{name}`" in text for name in [*PROFILES, "custom[..]"])


def test_an_undefined_example_says_so() -> None:
    empty = replace(PROFILES["default"].metrics["pixel_acc"], compute=lambda counts: np.float64(math.nan))

    assert "undefined" == explain._value(empty)
    assert metrics.profile("default").primary == "mdice_d_fg"
