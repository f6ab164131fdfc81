"""The page for everyone: by keyboard, on a phone, enlarged, on paper, and without a jump when the script starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests import browsing
from tests.browsing import Opened, opening

pytestmark = browsing.MARKS
SMALL = """() => [...document.querySelectorAll('a, button, summary, select, label, input[type=search]')].filter(one => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility() && !one.closest('p, .controls details:not([open])') && box.width && Math.min(box.width, box.height) < 23.9;
}).map(one => `${one.nodeName} ${one.className} ${one.textContent.trim().slice(0, 30)}`)"""
SHIFTS = """window.shifts = []; new PerformanceObserver(list => { for (const one of list.getEntries()) shifts.push(one.value); })
  .observe({ type: 'layout-shift', buffered: true });"""
PLACES = "[...document.querySelectorAll('h1, h2, h3, table')].map(one => Math.round(one.getBoundingClientRect().top))"


def open_everything(one: Opened) -> None:
    one.page.evaluate("document.querySelectorAll('details:not(.menu)').forEach(box => { box.open = true; })")


@pytest.mark.parametrize("width", [390, 700, 820, 1400], ids=["phone", "enlarged", "tablet", "wide"])
def test_nothing_scrolls_the_whole_page_sideways_and_every_target_can_be_hit(browser, folder: Path, width: int):
    with opening(browser, folder, viewport={"width": width, "height": 844}) as one:
        open_everything(one)

        assert width == one.page.evaluate("document.documentElement.scrollWidth")
        assert [] == one.page.evaluate(SMALL)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_when_everything_is_opened(browser, folder: Path, scheme: str):
    from axe_playwright_python.sync_playwright import Axe

    with opening(browser, folder, color_scheme=scheme) as one:
        open_everything(one)
        one.page.locator("#controls summary").first.click()
        found = Axe().run(one.page).response["violations"]

        assert [] == [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]


def test_menus_stay_on_a_phone_and_close_when_the_focus_leaves(browser, folder: Path):
    with opening(browser, folder, viewport={"width": 390, "height": 844}) as one:
        for at in range(one.page.locator("#controls summary").count()):
            one.page.locator("#controls summary").nth(at).click()
            one.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            box = one.page.locator("details.menu[open] .choices").bounding_box()

            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            one.page.keyboard.press("Escape")

        assert 0 == one.page.locator("details.menu[open]").count()
        assert "Copy as" == one.page.evaluate("document.activeElement.textContent")


def test_nothing_jumps_when_the_script_starts(browser, folder: Path):
    with opening(browser, folder, java_script_enabled=False) as plain:
        still = plain.page.evaluate(PLACES)
    with opening(browser, folder) as one:
        one.page.add_init_script(SHIFTS)
        one.page.reload()
        one.page.wait_for_timeout(200)
        first = one.page.evaluate("innerHeight")
        after = one.page.evaluate(PLACES)

        assert [] == one.page.evaluate("shifts")
        assert [top for top in still if top < first / 2] == [top for top in after if top < first / 2]


def test_the_keyboard_reaches_every_control_in_order_and_leaves_the_page(browser, folder: Path):
    with opening(browser, folder) as one:
        script = """() => { const now = document.activeElement; if (now === document.body) return null;
          const look = getComputedStyle(now);
          return [[...document.querySelectorAll('*')].indexOf(now), look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) > 0]; }"""
        places = []
        for _ in range(400):
            one.page.keyboard.press("Tab")
            if (found := one.page.evaluate(script)) is None:
                break
            places.append(found)

        assert len(places) < 400  # the focus left the page
        assert [at for at, _ in places] == sorted(at for at, _ in places)
        assert all(seen for _, seen in places)


def test_the_dialog_gives_the_focus_back(opened: Opened):
    opened.page.locator("#controls summary", has_text="Copy as").focus()
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#copied").is_visible()

    opened.page.keyboard.press("Escape")

    assert "Copy as" == opened.page.evaluate("document.activeElement.textContent")


def test_every_table_has_a_name_and_every_header_a_scope_and_no_heading_skips_a_level(opened: Opened):
    script = """() => [[...document.querySelectorAll('table')].filter(one => !one.ariaLabel && !one.caption).length,
      [...document.querySelectorAll('th')].filter(one => !one.scope).length,
      [...document.querySelectorAll('main :is(h2, h3, h4), h1')].map(one => Number(one.tagName[1]))]"""
    unnamed, unscoped, levels = opened.page.evaluate(script)

    assert (0, 0) == (unnamed, unscoped)
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_only_what_differs_is_marked_and_can_be_reset(opened: Opened):
    reset = opened.page.get_by_role("button", name="Reset")
    assert reset.is_disabled()

    opened.page.locator("[data-control=digits]").select_option("2")
    opened.page.locator("[data-control=loss] summary").click()
    opened.page.locator("[data-control=loss] input").first.check()
    marked = opened.page.evaluate("[...document.querySelectorAll('.on')].map(one => one.dataset.control)")
    reset.click()

    assert ["loss", "digits"] == marked
    assert reset.is_disabled() and 0 == opened.page.locator(".on").count()
    assert "q" == opened.page.evaluate("document.activeElement.dataset.control")


def test_what_was_switched_back_is_what_python_wrote(opened: Opened):
    before = opened.page.locator("table.board").first.inner_text()
    for name in ("mmseg", "dice", "default"):
        opened.page.locator("[data-control=view]").select_option(name)

    assert before == opened.page.locator("table.board").first.inner_text()


def test_the_ranking_over_data_sets_can_be_copied(opened: Opened):
    opened.page.locator("#overall summary").click()
    opened.page.locator("#overall").get_by_role("button", name="Copy Markdown").click()
    lines = opened.page.locator("#copied textarea").input_value().strip().splitlines()

    assert "**Mean ranks over the data sets**" == lines[0]
    assert len(lines) - 4 == opened.page.locator("table.overall tbody tr:visible").count()


def test_a_page_on_paper_has_no_controls_and_opens_what_matters(opened: Opened):
    opened.page.emulate_media(media="print", color_scheme="dark")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert [] == opened.text(":is(nav, .controls, #shown)")
    assert opened.page.locator("pre", has_text="[recipe]").is_visible()
    assert not opened.page.locator("summary", has_text="Fingerprints").is_visible()
    assert 0 == opened.page.locator("table.overall [data-more]:not(:visible)").count()
    assert "rgb(255, 255, 255)" == opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert 0 == opened.page.locator("details[data-print][open]").count()


def test_no_table_or_figure_is_wider_than_the_paper(browser, folder: Path):
    width = 1031  # A4 landscape within its margins [CSS pixels]
    with opening(browser, folder, viewport={"width": width, "height": 700}) as one:
        open_everything(one)
        one.page.emulate_media(media="print")
        wide = "limit => [...document.querySelectorAll('table, figure svg, pre')].filter(one => one.getBoundingClientRect().right > limit).length"

        assert 0 == one.page.evaluate(wide, width)
