"""The page in a real browser: what a reader does with it, and that it asks for nothing from outside."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench import metrics, report, standings, study, views
from bench.standings import Board
from bench.store import Store
from tests import browsing, synthetic
from tests.browsing import Opened, opening

pytestmark = browsing.MARKS


def boards(folder: Path, profile: str) -> list[Board]:
    chosen = metrics.profile(profile)
    return standings.boards(standings.rows(study.load(str(folder / "study.toml")), Store(folder), chosen), chosen)


@pytest.mark.parametrize("profile", ["smp_macro", "mmseg", "metrics_reloaded", "image_binary", "default"])
def test_another_definition_shows_the_numbers_and_ranks_that_python_computes(
    opened: Opened, folder: Path, profile: str
):
    board, chosen = boards(folder, profile)[0], metrics.profile(profile)
    opened.page.locator("[data-control=view]").select_option("mmseg")
    opened.page.locator("[data-control=view]").select_option(profile)
    ranks = [one.rank for one in board.standings]

    assert [views.shown_rank(one, ranks) for one in board.standings] == opened.column("rank")
    for name in chosen.metrics:
        values = [one.values.get(name) for one in board.standings]
        assert ["n/a" if value is None else f"{value:.3f}" for value in values] == opened.column(name)


def test_the_ranking_over_data_sets_follows_the_definition(opened: Opened, folder: Path):
    from bench import ranking

    for profile in ("default", "smp_micro"):
        opened.page.locator("[data-control=view]").select_option(profile)
        expected, _ = ranking.mean_ranks(boards(folder, profile), metrics.profile(profile), ranking.Missing.COMMON)
        shown = opened.page.evaluate(
            "[...document.querySelectorAll('table.overall tbody tr')].map(row => [row.dataset.name, row.dataset.of, row.cells[0].dataset.sort])"
        )

        assert [(name, loss, mean) for (name, loss), mean in expected] == [
            (name, loss, float(mean)) for name, loss, mean in shown if mean
        ]


def test_a_click_sorts_a_column_and_another_reverses_it_and_missing_values_stay_last(opened: Opened):
    button = opened.page.locator("table.board").first.locator("th[data-key=pixel_acc] button")
    button.click()
    falling = opened.column("pixel_acc")
    button.click()
    rising = opened.column("pixel_acc")
    numbers = [one for one in falling if one != "n/a"]

    assert sorted(numbers, reverse=True) == numbers == [one for one in rising if one != "n/a"][::-1]
    assert ["n/a"] * 3 == falling[-3:] == rising[-3:]
    assert "ascending" == opened.page.locator("th[data-key=pixel_acc]").first.get_attribute("aria-sort")


def test_filters_and_search_leave_what_fits_and_say_how_much_that_is(opened: Opened):
    opened.page.locator("[data-control=loss] summary").click()
    opened.page.locator("[data-control=loss] input[value='ce']").check()

    assert {"ce"} == set(opened.column("loss"))

    opened.page.locator("[data-control=q]").fill("UNET resnet50")
    assert ["unet encoder=resnet50"] == opened.column("architecture")
    assert ["2 of 14 rows · loss: ce · search: UNET resnet50"] == opened.text("#shown")


def test_failed_cells_are_rows_and_can_be_asked_for(opened: Opened):
    opened.page.locator("[data-control=status] summary").click()
    opened.page.locator("[data-control=status] input[value=failed]").check()

    assert ["n/a"] == opened.column("mdice_d_fg")
    assert ["–"] == opened.column("rank")


def test_columns_are_hidden_and_decimals_are_chosen(opened: Opened):
    opened.page.locator("[data-control=hide] summary").click()
    opened.page.locator("[data-control=hide] input[value=rate]").check()
    opened.page.locator("[data-control=digits]").select_option("5")

    assert not opened.page.locator("th[data-key=rate]").first.is_visible()
    assert all(len(one) == 7 for one in opened.column("mdice_d_fg") if one != "n/a")


def test_single_classes_are_a_view_of_their_own(opened: Opened, folder: Path):
    board = boards(folder, "default")[0]
    opened.page.locator("[data-control=view]").select_option("iou")
    expected = [one.values.get("iou_d/monocyte") for one in board.standings]

    assert ["n/a" if value is None else f"{value:.3f}" for value in expected] == opened.column("class/monocyte")


def test_the_address_keeps_every_choice_over_a_reload(browser, folder: Path):
    with opening(browser, folder) as one:
        one.page.locator("[data-control=view]").select_option("metrics_reloaded")
        one.page.locator("[data-control=loss] summary").click()
        one.page.locator("[data-control=loss] input[value='dice+ce']").check()
        one.page.locator("[data-control=digits]").select_option("2")
        one.page.locator("th[data-key=miou_i_fg] button").first.click()
        before, address = one.column("miou_i_fg"), one.page.url
        one.page.reload()

        assert before == one.column("miou_i_fg")
        assert [] == one.complaints
    with opening(browser, folder, address.partition("index.html")[2]) as other:
        assert before == other.column("miou_i_fg")
        assert "2" == other.page.locator("[data-control=digits]").input_value()
        assert {"dice+ce"} == set(other.column("loss"))


def test_an_address_that_makes_no_sense_shows_the_page_as_it_is(browser, folder: Path):
    with opening(browser, folder, "#nowhere?view=<b>&digits=99&sort=nothing&loss=nobody") as one:
        assert "default" == one.page.locator("[data-control=view]").input_value()
        assert ["0 of 14 rows · loss: nobody"] == one.text("#shown")
        assert [] == one.complaints


@pytest.mark.parametrize("kind", ["CSV", "Markdown", "LaTeX"])
def test_copies_hold_what_is_seen(opened: Opened, kind: str):
    opened.page.locator("[data-control=q]").fill("resnet18 dice+ce (smear)")
    opened.page.locator("#controls summary", has_text="Copy as").click()
    opened.page.get_by_role("button", name=f"Copy {kind}").click()
    text = opened.page.locator("#copied textarea").input_value()
    value = opened.column("mdice_d_fg")[0]

    assert f"{value} (" in text
    assert 1 == text.count("dice+ce")
    if kind == "CSV":
        head, row = list(csv.reader(io.StringIO(text)))[:2]
        assert len(head) == len(row)
    elif kind == "LaTeX":
        assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\begin{tabular}")
        assert "\\&" not in text.split("\\midrule")[0].split("\\toprule")[0]
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#copied").is_visible()


def test_a_number_tells_its_definition_on_hover_and_its_column_on_focus(opened: Opened):
    definition = metrics.profile("default").metrics["mdice_d_fg"].definition
    opened.page.locator("td.metric.primary").first.hover()
    assert [f"mdice_d_fg: {definition}"] == opened.text("#tip")

    opened.page.keyboard.press("Escape")
    assert [] == opened.text("#tip")

    opened.page.locator("th[data-key=pixel_acc] button").first.focus()
    assert "pixel_acc: " in opened.text("#tip")[0]


def test_the_keyboard_alone_sorts_and_filters(opened: Opened):
    opened.page.locator("[data-control=loss] summary").focus()
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Space")
    first = opened.column("loss")
    opened.page.locator("th[data-key=miou_d_fg] button").first.focus()
    opened.page.keyboard.press("Enter")

    assert 1 == len(set(first))
    assert "descending" == opened.page.locator("th[data-key=miou_d_fg]").first.get_attribute("aria-sort")


def test_hostile_names_stay_text(opened: Opened):
    opened.page.locator("[data-control=view]").select_option("dice")

    assert 0 == opened.page.locator("img[src=x]").count()
    assert synthetic.IMAGE in opened.page.locator("table.board thead").first.inner_text()
    assert synthetic.SCRIPT in opened.page.locator("h1").inner_text()


def test_without_scripts_the_page_is_readable_and_shows_no_control(browser, folder: Path):
    with opening(browser, folder, java_script_enabled=False) as one:
        text = one.page.locator("table.board").first.inner_text()
        value = boards(folder, "default")[0].standings[0].values["mdice_d_fg"]

        assert f"{value:.3f}" in text
        assert not one.page.locator("#controls").is_visible()
        assert (
            one.page.locator("table.overall tbody tr:visible").count()
            == one.page.locator("table.overall tbody tr").count()
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390], ids=["wide", "phone"])
def test_nothing_serious_is_found_by_axe(browser, folder: Path, scheme: str, width: int):
    from axe_playwright_python.sync_playwright import Axe

    with opening(browser, folder, color_scheme=scheme, viewport={"width": width, "height": 900}) as one:
        found = Axe().run(one.page).response["violations"]

        assert [] == [
            (rule["id"], [node["target"] for node in rule["nodes"]][:3])
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_dark_page_is_dark(browser, folder: Path):
    shades = {}
    for scheme in ("light", "dark"):
        with opening(browser, folder, color_scheme=scheme) as one:
            shades[scheme] = one.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = (sum(int(part) for part in shades[one][4:-1].split(",")) for one in ("light", "dark"))
    assert dark < 150 < 600 < light


def test_a_page_that_refreshes_itself_keeps_what_was_chosen(browser, folder: Path, tmp_path: Path):
    content = report.collect(folder)
    (tmp_path / "index.html").write_text(report.index(content, refresh=3), encoding="utf-8")
    with opening(browser, tmp_path) as one:
        one.page.locator("[data-control=view]").select_option("mmseg")
        one.page.locator("[data-control=digits]").select_option("2")
        one.page.locator("#heatmap").scroll_into_view_if_needed()
        before, address, place = one.column("rank"), one.page.url, one.page.evaluate("scrollY")
        one.page.wait_for_event("load", timeout=20_000)

        assert address == one.page.url
        assert 0 < place == one.page.evaluate("scrollY")
        assert "mmseg" == one.page.locator("[data-control=view]").input_value()
        assert before == one.column("rank")
        assert [] == one.complaints


def test_a_page_of_two_folders_filters_and_switches_by_what_stands_twice(browser, tmp_path: Path):
    folders = [synthetic.write(tmp_path / machine) for machine in ("laptop", "server")]
    synthetic.scored(Store(folders[1]), synthetic.cell(synthetic.FINE, "ce"), skill=0.8)
    content = report.collect(folders, target=tmp_path / "merged")
    report.publish(content)
    with opening(browser, tmp_path / "merged", "#leaderboard?status=not+reproducible") as one:
        names = [f"unet encoder=resnet18 @ {machine}" for machine in ("laptop", "server")]

        assert names == one.column("architecture")
        one.page.locator("[data-control=view]").select_option("mmseg")
        [board] = next(view.boards for view in content.views if view.profile.name == "mmseg")
        found = {(row.architecture, row.loss): row.values.get("miou_d") for row in board.standings}
        values = [found[f"{synthetic.FINE} @ {machine}", "ce"] for machine in ("laptop", "server")]
        assert [f"{value:.3f}" for value in values] == one.column("miou_d")
        assert 1 == one.page.locator(".cautions a[href='#merged']").count()
        one.page.locator(".cautions a[href='#merged']").click()
        assert one.page.locator("#merged").is_visible()
        assert [] == one.complaints
