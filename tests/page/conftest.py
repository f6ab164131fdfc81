"""One browser for all tests of the page, and the page that most of them open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import browsing
from tests.browsing import Opened, opening


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    yield from browsing.launched()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return browsing.written(tmp_path_factory.mktemp("results"))


@pytest.fixture
def opened(browser, folder: Path) -> Iterator[Opened]:
    with opening(browser, folder) as one:
        yield one
        assert [] == one.complaints
