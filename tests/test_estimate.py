"""What a dry run says a study costs: parts that are timed once, and their sum times what is ahead."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bench import cli_costs, estimate, plan, prepare, runner
from bench.errors import NameUnknown
from bench.estimate import Cost
from bench.specs import Cell, Study
from tests import small

MATRIX = small.study(
    datasets=(small.SMEAR, "lisc", "cnseg"), architectures=("tiny", "tiny[width=4]"), losses=("ce", "dice"), seeds=1
)


def priced(wanted: Study, tmp_path: Path, data_home: Path, **more) -> dict[str, Cost]:
    prepare.prepare(small.SMEAR, data_home)
    job = replace(runner.job(wanted, small.place(tmp_path, data_home), "cpu", 1), threads=1)
    found = estimate.costs(
        plan.cells(wanted), {small.SMEAR: prepare.open_prepared(small.SMEAR, data_home)}, job, **more
    )
    return {cost.cell.key: cost for cost in found}


def test_a_network_is_timed_once_and_a_loss_once_for_each_number_of_classes(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[tuple[str, int]] = []
    steps: list[tuple[int, int]] = []

    def part(name: str, classes: int, *_: object) -> estimate._Part:
        timed.append((name, classes))
        return estimate._Part(train={"tiny": 2.0, "tiny[width=4]": 1.0, "ce": 0.25}.get(name, 0.5), infer=0.125)

    monkeypatch.setattr(estimate, "_network", part)
    monkeypatch.setattr(estimate, "_loss", lambda *a: replace(part(*a), infer=0.0))
    found = priced(MATRIX, tmp_path, data_home, progress=lambda done, of: steps.append((done, of)))

    losses = [(name, classes) for classes in (10, 6, 2) for name in ("ce", "dice")]
    assert Counter([("tiny", 10), ("tiny[width=4]", 10), *losses]) == Counter(timed)
    assert [(done, 8) for done in range(9)] == steps
    # six images train for two trials of two epochs, three validate, four are tested; a fresh seed has no trials
    first, fresh = (found[f"{small.SMEAR}/tiny/dice/f0-s{seed}"] for seed in (0, 1))
    assert 4 * (6 * 2.5 + 3 * 0.125) + 4 * 0.125 == first.seconds
    assert 2 * (6 * 2.5 + 3 * 0.125) + 4 * 0.125 == fresh.seconds
    assert 3 * 2.5 == first.step  # a batch of three
    # another number of classes has other parameters; without data nobody knows the time
    assert (898, 862, 826) == tuple(found[f"{data}/tiny/ce/f0-s0"].params for data in (small.SMEAR, "lisc", "cnseg"))
    assert (3 * 1.25, None) == (found["lisc/tiny[width=4]/ce/f0-s0"].step, found["lisc/tiny[width=4]/ce/f0-s0"].seconds)


def test_what_cannot_be_trained_says_why_and_takes_no_time(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(expression: str, pixels: object = None):
        if expression == "dice":
            raise ArithmeticError("planted loss")
        return lambda logits, masks: logits.float().mean()

    monkeypatch.setattr(estimate.losses, "build", broken)
    names = ("tiny", "unbuildable[how=raise]", "unbuildable", "faulty")
    found = priced(small.study(architectures=names, losses=("ce", "dice")), tmp_path, data_home)
    told = {key: (cost.error, cost.refused) for key, cost in found.items()}

    assert ("", False) == told[f"{small.SMEAR}/tiny/ce/f0-s0"]
    assert ("ArithmeticError: planted loss", False) == told[f"{small.SMEAR}/tiny/dice/f0-s0"]
    assert ("ValueError: planted: it cannot be built", False) == told[f"{small.SMEAR}/unbuildable[how=raise]/ce/f0-s0"]
    assert ("ValueError: planted: this network does not work", False) == told[f"{small.SMEAR}/faulty/ce/f0-s0"]
    said, refused = told[f"{small.SMEAR}/unbuildable/ce/f0-s0"]
    assert "planted: these options do not go together" in said
    assert refused
    assert {(None, 0.0)} == {(cost.step, cost.seconds) for cost in found.values() if cost.error}


@pytest.mark.parametrize(
    ("passes", "share", "counts", "expected"),
    [
        ([9.0, 4.0, 3.2], 100.0, [2, 8, 8], 3.2 / 8),  # a whole batch is within the share
        ([9.0, 1.0, 0.8], 40.0, [2, 2, 2], 0.8 / 2),  # it is not: two such take 2 x 36 s
        ([9.0], 8.0, [2], 9.0 / 2),  # nor is a second try
    ],
)
def test_a_slow_one_is_timed_on_few_images(
    passes: list[float], share: float, counts: list[int], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    left = iter(passes)
    monkeypatch.setattr(estimate, "_once", lambda work, inputs, device: seen.append(len(inputs[0])) or next(left))

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(count), torch.zeros(count)

    assert expected == estimate._timed(batch, lambda *_: None, 8, torch.device("cpu"), share)
    assert counts == seen


def test_pretrained_weights_are_not_asked_for(tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def build(name: str, classes: int, *, scratch: bool) -> torch.nn.Module:
        asked.append((name, scratch))
        raise NameUnknown("enough")

    monkeypatch.setattr(estimate.networks, "build", build)
    priced(small.study(architectures=("unet[weights=imagenet]",)), tmp_path, data_home)

    assert {("unet[weights=imagenet]", True)} == set(asked)


def cost(dataset: str, architecture: str, loss: str | None, seconds: float | None, **more) -> Cost:
    values = {"params": 1234, "step": 0.5, **more} if loss else {"params": None, "step": None}
    return Cost(cell=Cell(dataset=dataset, architecture=architecture, loss=loss), seconds=seconds, **values)


def shown(prices: list[Cost], todo: set[Cell], missing: dict[str, str], workers: int = 2) -> list[str]:
    text = io.StringIO()
    cli_costs.show(Console(file=text, width=200), prices, todo, missing, workers)
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_a_large_matrix_is_a_row_per_data_set_and_architecture_with_the_losses_below() -> None:
    losses = [f"loss{number}" for number in range(20)]
    prices = [cost("a", "otsu", None, 0.0), cost("a", "majority_class", None, 0.0)]
    prices += [cost("a", "unet", loss, 30.0, step=0.5 + 0.1 * at) for at, loss in enumerate(losses)]
    prices += [cost("a", "dpt", loss, 0.0, step=None, params=None, error="planted") for loss in losses]
    prices += [cost("b", "unet", loss, None) for loss in losses]
    todo = {price.cell for price in prices[5:]}
    lines = shown(prices, todo, {"b": "b is not prepared, run this."})

    assert lines == [
        "data set architecture cells parameters step at most",
        "a (baselines) 2 - - 0 s stored",
        "a unet 20 1,234 500 ms to 2.4 s 10 min 3 stored",
        "a dpt 20 - - - planted",
        "b unet 20 1,234 500 ms - not prepared",
        f"Losses of each network (20): {', '.join(losses)}.",
        "57 of 62 cells to run: at most 8 min of training, about 4 min on 2 workers (one step of each network and loss, "
        "timed here).",
        "Not in it: 20 cells that cannot be trained, as said in their rows.",
        "Not in it: 20 cells whose data sets are not prepared, so that nobody knows how long they take:",
        "b is not prepared, run this.",
    ]


def test_a_small_one_is_a_row_per_cell() -> None:
    prices = [cost("a", "otsu", None, 0.0), *(cost("a", "unet", f"loss{number}", 30.0) for number in range(59))]
    lines = shown(prices, {price.cell for price in prices}, {}, workers=0)

    assert 62 == len(lines)
    assert "a/unet/loss7/f0-s0 1,234 500 ms 30 s" in lines
    assert lines[-1].startswith("60 of 60 cells to run: at most 30 min of training, about 30 min on 1 workers")
