"""Before anything of ours is imported: one thread per process, and the tests' own catalogue beside the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
os.environ["BENCH_PATH"] = str(Path(__file__).parent / "catalog")
os.environ.pop("BENCH_DATA", None)

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from bench.resemblance import Seen

COUNT = 120
"""Generated pictures that copies and crops are looked for among."""

# The same examples on every run, and no clock: a slow machine fails nothing.
hypothesis.settings.register_profile("bench", deadline=None, derandomize=True)
hypothesis.settings.load_profile("bench")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the contract tests look at a folder of somebody's own: `pytest tests/contract --catalog DIR -k NAME`."""
    parser.addoption(
        "--catalog",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with architectures/ or datasets/ to test, too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put those folders behind the tests' own catalogue, before any test is collected."""
    folders = [str(Path(folder).resolve(strict=True)) for folder in config.getoption("--catalog")]
    os.environ["BENCH_PATH"] = os.pathsep.join([os.environ["BENCH_PATH"], *folders])


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of prepared data for the whole run, so that nothing is prepared twice."""
    return tmp_path_factory.mktemp("data-home")


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Pages without their drawings, which take most of the time."""
    from bench import drawings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings.Drawing, "svg", lambda _: "<svg></svg>")
        yield


@pytest.fixture(scope="session")
def smears() -> list[np.ndarray]:
    """Distinct generated smears, uint8 (224, 224, 3)."""
    from bench.datasets import smear

    return [smear.load(sample)[0] for sample in smear.read(train=COUNT)[:COUNT]]


@pytest.fixture(scope="session")
def seen_smears(smears: list[np.ndarray]) -> list[Seen | None]:
    """What is kept of them for comparing."""
    from bench.resemblance import seen

    return [seen(image) for image in smears]


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """The forty real photographs, uint8 (1200, 1600, 3)."""
    from PIL import Image

    from bench.datasets import blood_cell
    from tests.real import REAL

    if not REAL.is_dir():
        pytest.skip("the forty real pairs are not here")
    return [np.asarray(Image.open(sample.image).convert("RGB")) for sample in blood_cell.read(REAL)]
