"""Ways to find a rate, replayed on real curves: what the rate is worth under fresh seeds, and what finding it costs.

The curves are ten small cells over twenty rates and three seeds; see `curves.py`. In the program seed 0 tunes. Here each
seed tunes once while the two others are fresh, so that strategies are told apart by thirty tries instead of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from bench import tune
from bench.records import Epoch, Trial, TrialStatus
from bench.specs import Tuning
from tests.speed.curves import BUDGET, RATES, SEEDS, Curves, read

DENSE = len(RATES) * BUDGET.epochs  # epochs of the dense grid
TUNING = replace(Tuning(), lr_range=(RATES[0], RATES[-1]))  # the program's own, over the range of the grid


@dataclass(slots=True)
class Replay:
    """One cell whose rates are tried under one seed; counts the epochs that costs."""

    cell: Curves
    seed: int
    spent: int = 0

    def train(self, lr: float, epochs: int = BUDGET.epochs, since: int = 0) -> Trial:
        """A training that goes on from epoch `since`, with the best value it has reached."""
        curve = self.cell.values[self.seed][nearest(lr)]
        self.spent += min(epochs, len(curve) + 1) - since
        value, end = max(curve[:epochs], default=0.0), TrialStatus.COMPLETE if epochs == BUDGET.epochs else None
        diverged = len(curve) < epochs
        status = TrialStatus.DIVERGED if diverged else end or TrialStatus.STOPPED
        return Trial(number=0, lr=lr, value=0.0 if diverged else value, status=status, epochs=epochs, seconds=0.0)

    def attempt(self, number: int, candidate: tune.Candidate, watch: tune.Watch) -> tune.Outcome:
        """A trial as `tune` wants it."""
        curve, epochs = self.cell.values[self.seed][nearest(candidate.lr)], BUDGET.epochs
        for epoch, value in enumerate(curve[:-1], start=1):
            if watch(Epoch(epoch=epoch, loss=1.0, value=value, seconds=0.0)):
                epochs = epoch
                break
        done = self.train(candidate.lr, epochs)
        return tune.Outcome(value=done.value, status=done.status, epochs=done.epochs, seconds=0.0)


Strategy = Callable[[Replay, Path], Sequence[Trial]]
"""Tries rates; the folder is for journals."""


def nearest(lr: float) -> int:
    """The rate of the grid nearest to another, on a log scale."""
    return int(np.abs(np.log(RATES) - np.log(lr)).argmin())


def ours(
    sampler: Callable[[str], optuna.samplers.BaseSampler] = tune._sampler,
    anchors: int = tune.ANCHORS,
    **changes: object,
) -> Strategy:
    """The program's own tuning, or the same with another sampler, so many anchors, or other settings."""

    def run(replay: Replay, folder: Path) -> Sequence[Trial]:
        name = f"{replay.cell.dataset}/{replay.cell.architecture}/{replay.seed}"
        journal = folder / str(len(list(folder.iterdir())))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tune, "_sampler", sampler)
            patch.setattr(tune, "ANCHORS", anchors)
            return tune.tune(replace(TUNING, **changes), replay.attempt, journal=journal, fingerprint=name)

    return run


def tpe(seed: str) -> optuna.samplers.BaseSampler:
    """Optuna's default sampler, after the same anchors."""
    return optuna.samplers.TPESampler(seed=sum(seed.encode()), n_startup_trials=tune.ANCHORS)


def halving(points: int, *rungs: tuple[int, int]) -> Strategy:
    """A grid in step: after each rung's epochs so many of the best go on, the last of them to the end.

    Trainings pause and go on; without rungs it is the plain grid. Rates are the middles of equal parts of the range.
    """

    def run(replay: Replay, folder: Path) -> Sequence[Trial]:
        low, high = np.log10(TUNING.lr_range)
        going = (10 ** (low + (high - low) * (np.arange(points) + 0.5) / points)).tolist()
        since, trials = 0, list[Trial]()
        for epochs, keep in [*rungs, (BUDGET.epochs, 0)]:
            ranked = sorted((replay.train(lr, epochs, since) for lr in going), key=lambda trial: -trial.value)
            trials += ranked[keep:]
            going, since = [trial.lr for trial in ranked[:keep]], epochs
        return trials

    return run


STRATEGIES: dict[str, Strategy] = {
    "grid 5, range up to 1e-2": ours(lr_range=(1e-4, 1e-2)),
    "grid 5, median stop": ours(trials=5, stop=True),
    "grid 5 + GP 3": ours(trials=8, stop=False),
    "grid 5 + GP 3, median stop": ours(trials=8, stop=True),
    "3 anchors + GP 2": ours(anchors=3, trials=5, stop=False),
    "3 anchors + GP 3": ours(anchors=3, trials=6, stop=False),
    "3 anchors + GP 3, median stop": ours(anchors=3, trials=6, stop=True),
    "3 anchors + GP 5, median stop": ours(anchors=3, trials=8, stop=True),
    "3 anchors + TPE 3, median stop": ours(tpe, 3, trials=6, stop=True),
    "grid 6": halving(6),
    "grid 9": halving(9),
    "grid 20": halving(20),
    "halving 9: 3 at 2, 2 at 6": halving(9, (2, 3), (6, 2)),
    "halving 9: 5 at 2, 3 at 4, 2 at 8": halving(9, (2, 5), (4, 3), (8, 2)),
    "halving 9: 3 at 4": halving(9, (4, 3)),
    "halving 7: 3 at 3": halving(7, (3, 3)),
    "halving 12: 4 at 2, 2 at 6": halving(12, (2, 4), (6, 2)),
}
CHOICES: dict[str, Callable[[Sequence[Trial]], float | None]] = {
    "best": lambda trials: found.lr if (found := tune.best(trials)) else None,
    "smooth": tune.smooth_peak,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a chosen rate is worth under the fresh seeds."""

    relative: float  # to the peak of the dense grid
    reached: bool  # the goal: 0.997 of the peak, or within a seed's standard deviation of it
    reached_raw: bool  # the same against the luckiest of the twenty means


def judge(cell: Curves, seed: int, lr: float | None) -> Verdict:
    """Compare a rate with the dense grid under the seeds that did not choose it.

    The highest of twenty means over two seeds is lucky; the peak to be reached is that of their running average, with
    weights 1, 2, 1. The standard deviation is that of seeds at the five best rates.
    """
    values = np.array(
        [[max(curve, default=0.0) * (len(curve) == BUDGET.epochs) for curve in row] for row in cell.values]
    )
    means = np.delete(values, seed, axis=0).mean(axis=0)
    padded = np.pad(means, 1, mode="edge")
    peak = float(((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4).max())
    top = values[:, values.mean(axis=0).argsort()[-5:]]
    deviation = float(np.sqrt(top.var(axis=0, ddof=1).mean()))
    value = 0.0 if lr is None else float(means[nearest(lr)])
    reached = [value >= min(0.997 * goal, goal - deviation) for goal in (peak, float(means.max()))]
    return Verdict(value / peak, *reached)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A strategy over all cells and seeds; `verdicts` by way of choosing, seed 0 first for each cell."""

    name: str
    spent: list[int]
    verdicts: dict[str, list[Verdict]]

    def __str__(self) -> str:
        told = f"{self.name:36}{np.mean(self.spent) / DENSE:6.1%}"
        for verdicts in self.verdicts.values():
            worth = [verdict.relative for verdict in verdicts]
            seed0, raw = (
                sum(getattr(one, name) for one in verdicts[:: len(SEEDS)]) for name in ("reached", "reached_raw")
            )
            told += (
                f"   {np.mean(worth):.3f} {min(worth):.2f} {sum(one.reached for one in verdicts):3} {seed0:3} {raw:3}"
            )
        return told


def replayed(name: str, strategy: Strategy, cells: Sequence[Curves], folder: Path) -> Row:
    """A strategy tried under every seed of every cell."""
    replays = [Replay(cell, seed) for cell in cells for seed in SEEDS]
    tried = [strategy(replay, folder) for replay in replays]
    verdicts = {
        way: [judge(replay.cell, replay.seed, choose(trials)) for replay, trials in zip(replays, tried, strict=True)]
        for way, choose in CHOICES.items()
    }
    return Row(name=name, spent=[replay.spent for replay in replays], verdicts=verdicts)


@pytest.mark.speed
def test_the_tuned_rate_is_as_good_as_that_of_a_dense_grid_for_a_quarter_of_its_epochs(tmp_path: Path):
    cells = read()
    row = replayed("the program's own", ours(), cells, tmp_path)
    print(f"\n{'':36}epochs   chosen: best; smoothed peak (worth: mean, least; goal: of all, seed 0, seed 0 raw)")
    print(row)
    for name, strategy in STRATEGIES.items():
        print(replayed(name, strategy, cells, tmp_path))
    seed0 = slice(None, None, len(SEEDS))

    assert 10 == len(cells)
    assert sum(verdict.reached for verdict in row.verdicts["smooth"][seed0]) >= 8
    assert sum(row.spent[seed0]) <= 0.25 * DENSE * len(cells)
