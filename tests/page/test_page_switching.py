"""Where the page shows another definition, or hands a table on: every sentence, mark and copy says what is shown."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from bench import metrics, ranking, report, study, views
from tests import browsing, synthetic
from tests.browsing import Opened

pytestmark = browsing.MARKS
CLASSES = (
    *synthetic.CLASSES[:1],
    replace(synthetic.CLASSES[1], name="rank"),
    replace(synthetic.CLASSES[2], name="=1+1"),
    replace(synthetic.CLASSES[3], name="<b>|*cells*" + 70 * "x"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three data sets, one of them without a score, and classes whose names mean something elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "CLASSES", CLASSES)
        folder = browsing.written(tmp_path_factory.mktemp("results"))
    three = replace(synthetic.STUDY, datasets=("smear", "lisc", "cnseg"))
    (folder / "study.toml").write_text(study.dump(three))
    report.write(folder)
    return folder


def switch(opened: Opened, name: str) -> None:
    opened.page.locator("#controls [data-control=view]").select_option(name)


def copied(opened: Opened, kind: str) -> str:
    opened.page.locator("#controls summary", has_text="Copy as").click()
    opened.page.get_by_role("button", name=f"Copy {kind}").locator("visible=true").click()
    text = opened.page.locator("#copied textarea").input_value()
    opened.page.keyboard.press("Escape")
    return text


def test_data_sets_without_a_score_do_not_make_mean_ranks_more_certain(folder: Path):
    content = report.collect(folder)
    shown = views.data(content.views, content.missing)["views"][0]["across"]

    assert content.across is not None
    assert (2, 3) == (len(content.across.datasets), len(content.boards))
    assert content.across.ranking.critical == shown["critical"]


def test_the_ranking_over_data_sets_says_what_it_shows_and_is_whole_again_afterwards(opened: Opened, folder: Path):
    before, said = opened.text("table.overall tbody tr"), opened.text("#overall-said")
    switch(opened, "smp_micro")
    [switched] = opened.text("#overall-said")
    chosen = metrics.profile("smp_micro")
    content = report.collect(folder, "smp_micro")
    _, critical = ranking.mean_ranks(content.boards, chosen, content.missing)

    assert switched.startswith(f"{chosen.metrics[chosen.primary].title} on each data set")
    assert f"less than {critical:.2f} are" in switched
    switch(opened, "default")
    assert before == opened.text("table.overall tbody tr")
    assert said == opened.text("#overall-said")
    assert " to " in before[0]


def test_a_class_may_be_called_like_a_column(opened: Opened):
    switch(opened, "dice")
    places = opened.column("rank")
    opened.page.locator("th[data-key='class/rank'] button").first.click()
    scores = [float(one) for one in opened.column("class/rank") if one != "n/a"]

    assert sorted(scores, reverse=True) == scores
    assert sorted(places) == sorted(opened.column("rank"))
    assert "sort=-class%2Frank" in opened.page.url


def test_the_head_of_a_column_stays_in_its_column(opened: Opened):
    switch(opened, "dice")
    over = """[...document.querySelectorAll('table.board thead button, table.classes thead th')]
      .filter(one => one.scrollWidth > one.clientWidth + 1 || one.clientWidth > 160).map(one => one.textContent.trim())"""

    assert [] == [one for one in opened.page.evaluate(over) if one.strip() not in ("network",)]


def test_a_csv_of_several_data_sets_tells_them_apart_and_holds_no_formula(opened: Opened):
    switch(opened, "iou")
    rows = list(csv.reader(io.StringIO(copied(opened, "CSV"))))

    assert "data set" == rows[0][0]
    assert {one[0] for one in rows if one and one[0] != "data set"} > {"cnseg"}
    assert "'=1+1 (IoU)" in rows[0]
    assert not [one for row in rows for one in row if one.startswith("=")]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("Markdown", r"&#60;b&#62;\|\*cells\*xxx"), ("LaTeX", r"\textless{}b\textgreater{}\textbar{}*")],
)
def test_a_name_in_a_copy_is_text_there_too(opened: Opened, kind: str, said: str):
    switch(opened, "iou")
    text = copied(opened, kind)

    assert said in text
    assert "<b>" not in "".join(line for line in text.splitlines() if not line.startswith("%"))


def test_decimals_that_are_asked_for_are_those_of_the_number():
    assert 12.345679 == views.short(12.3456789)
    assert 0.000012 == views.short(0.0000123)
    assert views.short(None) is None
