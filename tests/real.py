"""The forty real pairs of Blood-Cell, where they lie beside the checkout; tests that need them are skipped elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("BENCH_TEST_BLOOD_CELL", Path(__file__).resolve().parents[2] / "shared/data/blood_cell"))
real = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the forty real pairs are not in {REAL}; set BENCH_TEST_BLOOD_CELL"
)
