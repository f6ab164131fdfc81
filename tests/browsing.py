"""The page in a real browser, for tests: what is shown, what it said on its console, what it asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench import report, study
from bench.store import Store
from tests import synthetic

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'cytobench[test]'"
)
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@dataclass
class Opened:
    """A page, what it said on its console, and what it asked for from outside."""

    page: object
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> list[str]:
        """The visible texts of all elements."""
        found = self.page.locator(f"{selector}:visible")
        return [" ".join(one.split()) for one in found.all_inner_texts()]

    def column(self, key: str) -> list[str]:
        """The visible cells of one column of the first leaderboard, in order."""
        script = """key => { const table = document.querySelector('table.board');
          const at = [...table.tHead.rows[0].cells].findIndex(one => one.dataset.key === key);
          return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => {
            const cell = row.cells[at].cloneNode(true); cell.querySelectorAll('small, .bar, .tag, details').forEach(one => one.remove());
            return cell.textContent.trim().replace(/\\s+/g, ' '); }); }"""
        return self.page.evaluate(script, key)


def launched() -> Iterator[object]:
    """A Chromium without a window."""
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def written(results: Path) -> Path:
    """The page of a study of two data sets, so that there is something to rank over."""
    folder = synthetic.write(results)
    (folder / "study.toml").write_text(study.dump(replace(synthetic.STUDY, datasets=("smear", "lisc"))))
    store = Store(folder)
    for name, loss, skill in ((synthetic.FINE, "ce", 0.7), (synthetic.WEAK, "ce", 0.8), ("otsu", None, 0.2)):
        synthetic.scored(store, replace(synthetic.cell(name, loss), dataset="lisc"), skill=skill)
    report.write(folder)
    return folder


class opening:  # noqa: N801 - used as a function
    """A page in a fresh context; everything it complains of is kept."""

    def __init__(self, browser, folder: Path, address: str = "", **options: object) -> None:
        """Nothing is opened yet."""
        self.browser, self.url, self.options = browser, f"file://{folder / 'index.html'}{address}", options

    def __enter__(self) -> Opened:
        self.context = self.browser.new_context(**({"viewport": {"width": 1400, "height": 900}} | self.options))
        one = Opened(self.context.new_page())
        one.page.on("console", lambda said: one.complaints.append(said.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on(
            "request", lambda asked: asked.url.startswith(("file:", "data:")) or one.complaints.append(asked.url)
        )
        one.page.goto(self.url)
        return one

    def __exit__(self, *_: object) -> None:
        self.context.close()
