"""The page of an audit in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import auditpage
from tests import audited, browsing
from tests.browsing import opening

pytestmark = browsing.MARKS


@pytest.fixture(scope="module")
def folder(data_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepared, split = audited.opened(data_home)
    target = tmp_path_factory.mktemp("audit") / "index.html"
    names = sorted(split)
    copies = [audited.near(names[0], name, 0.9) for name in names[1:]]
    several = audited.audit([*audited.everything(split), *copies])
    return auditpage.publish(several, prepared, split, target).parent


def open_all(one: browsing.Opened) -> None:
    one.page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (820, "dark"), (1400, "light")], ids=["phone", "tablet-dark", "wide"]
)
def test_axe_finds_nothing_and_nothing_scrolls_the_whole_page_sideways(browser, folder: Path, scheme: str, width: int):
    from axe_playwright_python.sync_playwright import Axe

    with opening(browser, folder, color_scheme=scheme, viewport={"width": width, "height": 900}) as one:
        found = Axe().run(one.page).response["violations"]
        open_all(one)

        assert [] == [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]
        assert width == one.page.evaluate("document.documentElement.scrollWidth")
        assert [] == one.complaints


def test_every_picture_loads_and_no_script_is_needed(browser, folder: Path):
    with opening(browser, folder, java_script_enabled=False) as still:
        pictures = still.page.locator("img")
        assert pictures.count() > 30
        assert still.page.locator("img").first.is_visible()
        assert [] == still.complaints
    with opening(browser, folder) as one:
        assert [] == one.page.evaluate("[...document.images].filter(one => !one.naturalWidth).map(one => one.alt)")
        assert 0 == one.page.locator("script").count()


def test_a_link_of_the_table_leads_to_its_section(browser, folder: Path):
    with opening(browser, folder) as one:
        one.page.get_by_role("link", name="mask off its image").first.click()

        assert one.page.locator("#mask-off-its-image").is_visible()
        top = one.page.locator("#mask-off-its-image").bounding_box()["y"]
        assert 0 <= top < 300


def test_printed_the_pairs_stay_whole(browser, folder: Path):
    with opening(browser, folder) as one:
        one.page.emulate_media(media="print")

        assert one.page.locator(".shots figure").first.is_visible()
        assert not one.page.locator("nav").is_visible()
        assert "avoid" == one.page.evaluate("getComputedStyle(document.querySelector('.block')).breakInside")
