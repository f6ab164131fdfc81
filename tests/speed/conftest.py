"""A clock for a machine that others use as well."""

from __future__ import annotations

from time import process_time
from types import SimpleNamespace

import pytest


@pytest.fixture
def own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and the seconds of the processor instead of the wall's: the same, but for what others take.

    It is for what computes here, on the processor; waiting for something costs nothing by this clock.
    """
    import torch

    from bench import execution, train
    from tests.speed import peers

    torch.set_num_threads(1)
    for module in (train, execution, peers):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=process_time))
