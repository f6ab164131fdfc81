"""Seeds come from names: what else a study holds changes no cell; and groups of seeds that differ in nothing else tie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import metrics, paired, standings, statistics
from bench.records import Record
from bench.rows import Row
from bench.specs import Budget, Cell, Place, Tuning
from bench.store import Store
from bench.trainer import seed_of
from tests import small


def lasting(record: Record) -> dict[str, object]:
    """What a record says of the result, without times, memory and the machine."""
    return {
        "fingerprint": record.fingerprint,
        "ingredients": record.ingredients,
        "status": record.status,
        "data": record.data,
        "lr": (record.lr, record.lr_smooth, record.edge),
        "trials": [replace(trial, seconds=0.0) for trial in record.trials],
        "history": [replace(epoch, seconds=0.0) for epoch in record.history],
        "best": record.best_epoch,
        "counts": record.counts_hash,
    }


def ran(folder: Path, data_home: Path, **changes: object) -> dict[str, Record]:
    folder.mkdir()
    where = small.place(folder, data_home)
    small.execute(small.study(**changes), where)
    return small.stored(small.study(**changes), where)


def test_more_seeds_architectures_and_losses_change_no_cell(tmp_path: Path, data_home: Path) -> None:
    one = ran(tmp_path / "one", data_home, seeds=1)
    three = ran(tmp_path / "three", data_home, seeds=3)
    wider = ran(tmp_path / "wider", data_home, seeds=1, architectures=("tiny[width=12]", "tiny"), losses=("dice", "ce"))

    for at in (0, 1):
        key = f"{small.SMEAR}/tiny/ce/f0-s{at}"
        assert lasting(one[key]) == lasting(three[key])
        assert lasting(one[key]) == lasting(wider[key])


def test_every_name_of_a_cell_changes_its_seed() -> None:
    cell = Cell(dataset="smear", architecture="unet", loss="ce", fold=1, seed=2)
    others = [
        replace(cell, **change)
        for change in ({"dataset": "lisc"}, {"architecture": "fpn"}, {"loss": "dice"}, {"fold": 2}, {"seed": 3})
    ]

    assert 6 == len({seed_of(one) for one in [cell, *others]})
    assert 2347371300 == seed_of(cell)  # the first four bytes of sha256("smear/unet/ce/f1-s2")


@pytest.mark.slow
def test_real_groups_of_three_seeds_that_differ_in_nothing_else_are_told_apart_at_most_4_times_in_40(
    tmp_path: Path, data_home: Path
) -> None:
    wanted = small.study(
        datasets=("smear[size=64,test=24,train=6,val=3]",),
        seeds=60,
        tuning=Tuning(lr_range=(1e-2, 1e-1), trials=2),
        budget=Budget(epochs=4),
        baselines=(),
    )
    where: Place = small.place(tmp_path, data_home)
    small.execute(wanted, where)
    rows = standings.rows(wanted, Store(where.results / wanted.name), metrics.DEFAULT)
    fresh = [row for row in rows if row.cell.seed > 0 and row.counts is not None]
    groups = [_sampled(fresh[at : at + 3]) for at in range(0, 60, 3)]
    pairs = [(at, (at + step) % 20) for step in (1, 7) for at in range(20)]

    found = [paired.compare(groups[one], groups[other]) for one, other in pairs]
    alone = sum(one is not None and one.p < 0.05 for one in found)
    adjusted = paired.holm([one.p for one in found if one is not None])
    print(f"{alone} of {len(found)} pairs at 5% each; with Holm {sum(p < 0.05 for p in adjusted)}")

    assert 40 == len(adjusted)
    assert alone <= 4
    assert not any(p < 0.05 for p in adjusted)


def _sampled(rows: list[Row]) -> statistics.Sample:
    metric = metrics.DEFAULT.metrics["mdice_d_fg"]
    found = statistics.sample(metric, [row.counts for row in rows if row.counts is not None])
    assert found is not None
    return found
