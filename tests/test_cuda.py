"""What only a GPU can show; run with `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import run
from bench.specs import Recipe, Status
from tests import small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def test_the_same_study_runs_on_cuda_in_bf16(tmp_path: Path, data_home: Path):
    where = small.place(tmp_path, data_home)
    wanted = small.study(
        architectures=("tiny", "plain_unet[width=8]"), recipe=Recipe(size=(64, 64), batch=3, augment="standard")
    )
    job = replace(run.job(wanted, where, "cuda", 1), threads=1)
    run.run_study(job, run.survey(wanted, where), count=0, on_event=lambda event: None)
    networks = [record for record in small.stored(wanted, where).values() if record.cell.loss]

    assert {Status.OK} == {record.status for record in networks}
    assert {"bf16"} == {record.execution.precision for record in networks}
    assert all((record.peak_memory_mb or 0) > 0 for record in networks)
