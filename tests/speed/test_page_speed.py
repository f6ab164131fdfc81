"""What the page of 300 cells costs: bytes, and seconds beside those of a tenth of it, in one run."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from bench import report
from tests import large

LIMIT = 5 * 2**20


@pytest.mark.speed
def test_a_page_of_300_cells_is_small_and_takes_no_more_than_its_share(tmp_path: Path):
    small = large.write(tmp_path / "small", datasets=3, architectures=5, losses=2)
    whole = large.write(tmp_path / "whole", datasets=3, architectures=10, losses=10)
    report.write(small)  # warms up what is imported and cached
    taken = {}
    for folder in (small, whole):
        shutil.rmtree(folder / "pictures", ignore_errors=True)
        began = time.perf_counter()
        page = report.write(folder)
        taken[folder.name] = time.perf_counter() - began
        print(f"{folder.name}: {page.stat().st_size / 2**20:.2f} MiB in {taken[folder.name]:.1f} s")

    assert page.stat().st_size < LIMIT
    assert taken["whole"] < 20 * taken["small"]


@pytest.mark.speed
def test_a_browser_shows_a_page_of_300_cells(tmp_path: Path):
    play = pytest.importorskip("playwright.sync_api")
    chromium = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium here: apt install chromium")
    page = report.write(large.write(tmp_path / "whole", datasets=3, architectures=10, losses=10))
    with play.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(f"file://{page}")
        tab.wait_for_selector("#controls:visible")
        shown = tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        switched = tab.evaluate(
            "() => { const began = performance.now(); const choice = document.querySelector('[data-control=view]');"
            "choice.value = 'mmseg'; choice.dispatchEvent(new Event('change')); return performance.now() - began; }"
        )
        rows = tab.locator("table.board tbody tr").count()
        browser.close()
    print(f"first paint {painted:.0f} ms, all scripts done {shown:.0f} ms, another definition {switched:.0f} ms")

    assert 306 == rows
