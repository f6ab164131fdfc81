"""Which cells several workers are handed first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import order, runner
from bench.records import DataCard, Record, Status, Trial, TrialStatus
from bench.runner import Planned, Standing
from bench.specs import Place
from tests import small

LARGE, SMALL = "smear[size=64,test=4,train=24,val=3]", small.SMEAR
STUDY = small.study(datasets=(SMALL, LARGE), architectures=("plain_unet[width=4]", "tiny"), seeds=1)


@pytest.fixture
def place(tmp_path: Path, data_home: Path) -> Place:
    return small.place(tmp_path, data_home)


def took(one: Planned, seconds: float, images: int, standing: Standing = Standing.STALE) -> Planned:
    """The cell with a record of 4 epochs over so many images."""
    trials = (Trial(number=0, lr=1e-3, value=0.5, status=TrialStatus.COMPLETE, epochs=4, seconds=seconds),)
    card = DataCard(title="", hash="", classes=(), train=images, val=1, test=1, sources=1, licence="", citation="")
    record = Record(
        study="s", cell=one.cell, fingerprint="", ingredients={}, status=Status.OK, data=card, trials=trials,
        seconds={"tune": seconds, "evaluate": 99.0},
    )  # fmt: skip
    return replace(one, record=record, standing=standing)


def names(found: list[Planned]) -> list[str]:
    """Size, network and seed of each, or `base`."""
    return [
        "base" if one.cell.loss is None
        else f"{'large' if one.cell.dataset == LARGE else 'small'} {one.cell.architecture[:4]} {one.cell.seed}"
        for one in found
    ]  # fmt: skip


def test_before_anything_is_recorded_epochs_and_images_decide_and_baselines_come_last(place: Place):
    planned = runner.survey(STUDY, place)
    found = order.longest_first(planned, planned, STUDY, place)

    assert names(found) == [
        "large plai 0", "large plai 1", "large tiny 0", "large tiny 1",
        "small plai 0", "small plai 1", "small tiny 0", "small tiny 1", "base", "base",
    ]  # fmt: skip
    assert sorted(one.cell for one in planned if one.cell.loss) == sorted(one.cell for one in found if one.cell.loss)


def test_what_an_architecture_took_anywhere_decides_where_it_is_known(place: Place):
    planned = runner.survey(STUDY, place)
    at = {name: number for number, name in enumerate(names(planned))}
    planned[at["small tiny 0"]] = took(planned[at["small tiny 0"]], 600.0, 6)  # 25 s per image and epoch
    planned[at["large plai 0"]] = took(planned[at["large plai 0"]], 96.0, 24)  # 1 s
    found = names(order.longest_first(planned, planned, STUDY, place))

    assert ["large tiny 0", "small tiny 0", "large plai 0", "small plai 0"] == [n for n in found if n.endswith("0")]


def test_what_is_done_is_learnt_from_and_not_run_again(place: Place):
    planned = runner.survey(STUDY, place)
    at = names(planned).index("small tiny 0")
    planned[at] = took(planned[at], 600.0, 6, Standing.DONE)
    todo = runner.pending(planned, retry_failed=False)
    found = order.longest_first(todo, planned, STUDY, place)

    assert len(planned) - 1 == len(found)
    assert planned[at] not in found
    assert "large tiny 0" == names(found)[0] or names(found)[0].startswith("large")


def test_a_group_with_fewer_cells_left_comes_later(place: Place):
    planned = [one for one in runner.survey(STUDY, place) if one.cell.dataset == LARGE and one.cell.loss]
    first = next(one for one in planned if one.cell == replace(planned[0].cell, seed=0))
    todo = [one for one in planned if one is not first]

    assert "large tiny 0" == names(order.longest_first(todo, planned, STUDY, place))[0]
