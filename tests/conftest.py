"""Before anything of ours is imported: one thread per process, and the tests' own catalogue beside the real one."""

import os
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
os.environ["BENCH_PATH"] = str(Path(__file__).parent / "catalog")
os.environ.pop("BENCH_DATA", None)

import hypothesis
import pytest

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
