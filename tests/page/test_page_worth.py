"""What a leak is worth, in a browser: sorted by a click, within the page on a phone, nothing that axe complains of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from tests import browsing, test_worth
from tests.browsing import opening

pytestmark = browsing.MARKS


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = test_worth.written(tmp_path_factory.mktemp("results"))
    report.write(folder)
    return folder


def test_a_click_sorts_by_the_difference(browser, leaky: Path):
    with opening(browser, leaky) as one:
        table = one.page.locator("table[aria-label^='What the leak is worth']")
        table.locator("button", has_text="difference").click()

        gains = [float(text.split()[0]) for text in one.text("table[aria-label^='What the leak'] td:last-child")]
        assert sorted(gains, reverse=True) == gains
        assert [] == one.complaints


@pytest.mark.parametrize("width", [390, 1400], ids=["phone", "wide"])
def test_it_stays_within_the_page_and_axe_finds_nothing(browser, leaky: Path, width: int):
    from axe_playwright_python.sync_playwright import Axe

    with opening(browser, leaky, viewport={"width": width, "height": 844}) as one:
        found = Axe().run(one.page).response["violations"]

        assert width == one.page.evaluate("document.documentElement.scrollWidth")
        assert [] == [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]
