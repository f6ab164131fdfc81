"""What networks cost and what repeats, from records alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import efficiency, metrics, report, standings
from bench.records import Efficiency, Execution, Record
from bench.specs import Budget, Recipe
from bench.store import Store, records
from tests import synthetic


@pytest.fixture
def trained(tmp_path: Path) -> list[Record]:
    return [record for record in records(synthetic.write(tmp_path)) if record.execution is not None]


def test_the_costs_of_a_network_are_the_median_over_its_cells(tmp_path: Path):
    root = synthetic.write(tmp_path)
    store = Store(root)
    [*_, last] = [record for record in records(root) if record.execution is not None]
    group = (last.cell.architecture, last.cell.loss)
    study = replace(synthetic.STUDY, seeds=2)
    for seed, speed in ((1, 50.0), (2, 70.0)):
        cost = Efficiency(flops=10, train_images_s=speed, infer_images_s=None, energy_j=3.0)
        ran = Execution(precision="fp32", micro_batch=8, refused={"bf16/contiguous/graphs": "RuntimeError: <b>no</b>"})
        synthetic.scored(store, synthetic.cell(*group, seed=seed), skill=0.5)
        stored = store.read(synthetic.cell(*group, seed=seed))
        assert stored is not None
        store.write(replace(stored, efficiency=cost, execution=ran, batch_adapted=False))
    [board] = standings.boards(standings.rows(study, store, metrics.DEFAULT), metrics.DEFAULT)
    price = next(one for one in efficiency.prices(board) if (one.standing.architecture, one.standing.loss) == group)

    assert (50.0, 1234.5, 3.0) == (price.train_images_s, price.infer_images_s, price.energy_j)
    assert ("bf16, channels last, eager", "fp32, channels last, eager") == price.ways
    assert ((4,), (("bf16/channels_last/eager", 41.3),)) == (price.adapted, price.timed)
    assert (("bf16/contiguous/graphs", "RuntimeError: <b>no</b>"),) == price.refused


@pytest.mark.parametrize(
    ("recipe", "budget", "cost", "words"),
    [
        (
            Recipe(),
            Budget(),
            Efficiency(),
            "repeat to the last bit with the same versions on a like processor and with 2 threads",
        ),
        (Recipe(), Budget(seconds=60.0), Efficiency(), "Trainings end by the clock"),
        (Recipe(), Budget(), Efficiency(gpu_seconds_to_best=1.0), "sums in no fixed order"),
        (Recipe(deterministic=True), Budget(), Efficiency(gpu_seconds_to_best=1.0), "on the same GPU"),
    ],
)
def test_what_repeats_is_said_for_the_device_and_the_budget(
    trained: list[Record], recipe: Recipe, budget: Budget, cost: Efficiency, words: str
):
    study = replace(synthetic.STUDY, recipe=recipe, budget=budget)
    told = [replace(one, efficiency=cost, environment={"threads": "2"}) for one in trained]

    assert words in " ".join(efficiency.repeats(study, told))


def test_what_was_timed_adapted_or_cannot_repeat_is_said(trained: list[Record]):
    told = [replace(one, nondeterministic=("upsample_bilinear2d_backward_out_cuda",)) for one in trained]
    said = " ".join(efficiency.repeats(synthetic.STUDY, told))
    plain = [replace(one, execution=Execution(precision="fp32", micro_batch=8), batch_adapted=False) for one in trained]
    silent = " ".join(efficiency.repeats(synthetic.STUDY, plain))

    for words in ("chosen by timing", "summed over smaller batches", "upsample_bilinear2d_backward_out_cuda"):
        assert words in said
        assert words not in silent


def test_the_page_shows_the_costs(tmp_path: Path):
    root = synthetic.write(tmp_path)
    page = report.write(root).read_text()

    for words in ("1.21 G", "41.5/s", "1,234/s", "12.5 s", "bf16, channels last, eager", "4 at a time", "What repeats"):
        assert words in page
