from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import train, tune
from bench.records import Epoch, Trial, TrialStatus
from bench.specs import Recipe, Tuning
from bench.tune import Candidate
from tests import small

TUNING = Tuning(lr_range=(1e-4, 1e-1), trials=7, stop=True, grace=2)
WIDE = replace(TUNING, trials=8, weight_decay_range=(1e-6, 1e-2), batches=(4, 8, 16))


def bump(lr: float) -> float:
    """A made-up score: a peak at 3e-3, lower by half a decade away."""
    return 0.9 * math.exp(-((math.log10(lr / 3e-3)) ** 2))


def score(candidate: Candidate) -> float:
    """`bump`, less what a weight decay far from 1e-4 and a batch other than 8 cost."""
    decay = 0.0 if candidate.weight_decay is None else abs(math.log10(candidate.weight_decay / 1e-4)) / 20
    return max(0.0, bump(candidate.lr) - decay - (0.1 if candidate.batch not in (None, 8) else 0.0))


def attempt(epochs: int = 4, asked: list[Candidate] | None = None, die_at: int | None = None):
    """Trials whose curve rises to `score(candidate)`; optionally the process dies in one of them."""

    def run(number: int, candidate: Candidate, watch: Callable[[Epoch], bool]) -> tune.Outcome:
        if asked is not None:
            asked.append(candidate)
        for epoch in range(1, epochs + 1):
            value = score(candidate) * epoch / epochs
            if number == die_at and epoch == 3:
                raise KeyboardInterrupt
            if watch(Epoch(epoch=epoch, loss=1.0, value=value, seconds=float(epoch))):
                return tune.Outcome(value=value, status=TrialStatus.STOPPED, epochs=epoch, seconds=float(epoch))
        return tune.Outcome(value=value, status=TrialStatus.COMPLETE, epochs=epochs, seconds=float(epochs))

    return run


def test_the_peak_is_found_and_every_trial_is_returned(tmp_path: Path):
    trials = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    found = tune.best(trials)

    assert list(range(7)) == [trial.number for trial in trials]
    assert found is not None
    assert 1e-3 < found.lr < 1e-2


def test_the_first_rates_are_an_even_grid_from_the_middle_outwards(tmp_path: Path):
    trials = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")

    assert pytest.approx([10**-2.5, 10**-3.1, 10**-1.9, 10**-3.7, 10**-1.3]) == [trial.lr for trial in trials[:5]]


@pytest.mark.parametrize(("trials", "exponents"), [(1, [-2.5]), (2, [-3.25, -1.75]), (3, [-2.5, -3.5, -1.5])])
def test_fewer_trials_spread_over_the_whole_range(trials: int, exponents: list[float]):
    asked = tune.anchors(replace(TUNING, trials=trials))

    assert pytest.approx([10**exponent for exponent in exponents]) == [candidate.lr for candidate in asked]


def test_a_hopeless_trial_is_stopped_after_its_grace_and_is_never_the_best(tmp_path: Path):
    trials = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    stopped = [trial for trial in trials if trial.status is TrialStatus.STOPPED]
    found = tune.best(trials)

    assert stopped
    assert all(trial.epochs >= TUNING.grace for trial in stopped)
    assert any(trial.epochs < 4 for trial in stopped)
    assert found not in stopped


def test_without_stopping_every_trial_runs_to_its_end(tmp_path: Path):
    patient = Tuning(lr_range=(1e-4, 1e-1))
    trials = tune.tune(patient, attempt(), journal=tmp_path / "journal", fingerprint="a")

    assert {TrialStatus.COMPLETE} == {trial.status for trial in trials}


def test_a_finished_tuning_asks_nothing_again(tmp_path: Path):
    first = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    asked: list[Candidate] = []
    second = tune.tune(TUNING, attempt(asked=asked), journal=tmp_path / "journal", fingerprint="a")

    assert ([], first) == (asked, second)


@pytest.mark.parametrize("tuning", [TUNING, WIDE], ids=["rate", "rate, decay and batch"])
@pytest.mark.parametrize("die_at", [0, 1, 5, 6])
def test_an_interrupted_tuning_asks_the_same_as_one_that_was_not(tmp_path: Path, tuning: Tuning, die_at: int):
    undisturbed = tune.tune(tuning, attempt(), journal=tmp_path / "one", fingerprint="a")
    before: list[Candidate] = []
    after: list[Candidate] = []
    with pytest.raises(KeyboardInterrupt):
        tune.tune(tuning, attempt(asked=before, die_at=die_at), journal=tmp_path / "two", fingerprint="a")
    with (tmp_path / "two").open("ab") as journal:
        journal.write(b'{"op_code": 5, "half a li')  # what a kill in the middle of a write leaves
    resumed = tune.tune(tuning, attempt(asked=after), journal=tmp_path / "two", fingerprint="a")

    assert undisturbed == resumed
    assert before[-1] == after[0]  # so that a checkpoint of the trial that was cut short is of use


@pytest.mark.parametrize("kept", [2, 3, 4, 5, 6, 7, 13, 18, 60])
def test_a_journal_that_ends_anywhere_leads_to_the_same_trials(tmp_path: Path, kept: int):
    undisturbed = tune.tune(WIDE, attempt(), journal=tmp_path / "journal", fingerprint="a")
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join(lines[:kept]))

    assert undisturbed == tune.tune(WIDE, attempt(), journal=tmp_path / "journal", fingerprint="a")


def test_a_journal_of_other_ingredients_is_thrown_away(tmp_path: Path):
    tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    asked: list[Candidate] = []
    tune.tune(TUNING, attempt(asked=asked), journal=tmp_path / "journal", fingerprint="b")

    assert 7 == len(asked)


def test_a_diverged_trial_is_no_rival_for_the_ones_after_it(tmp_path: Path):
    def run(number: int, candidate: Candidate, watch: Callable[[Epoch], bool]) -> tune.Outcome:
        for epoch in range(1, 5):
            value = 0.5 if number < 2 else 0.1
            if watch(Epoch(epoch=epoch, loss=1.0, value=value, seconds=1.0)):
                return tune.Outcome(value=value, status=TrialStatus.STOPPED, epochs=epoch, seconds=1.0)
        status = TrialStatus.DIVERGED if number < 2 else TrialStatus.COMPLETE
        return tune.Outcome(value=0.0 if number < 2 else 0.1, status=status, epochs=4, seconds=1.0)

    trials = tune.tune(
        Tuning(lr_range=(1e-4, 1e-1), trials=4, stop=True, grace=2), run, journal=tmp_path / "journal", fingerprint="a"
    )

    assert [TrialStatus.DIVERGED] * 2 + [TrialStatus.COMPLETE] * 2 == [trial.status for trial in trials]
    assert tune.best(trials) is not None


def test_a_trial_is_judged_by_its_best_epoch(tmp_path: Path):
    def run(number: int, candidate: Candidate, watch: Callable[[Epoch], bool]) -> tune.Outcome:
        curve = [0.2, 0.3, 0.4, 0.5] if number < 2 else [0.9, 0.1, 0.1, 0.1]
        for epoch, value in enumerate(curve, start=1):
            if watch(Epoch(epoch=epoch, loss=1.0, value=value, seconds=1.0)):
                return tune.Outcome(value=0.9, status=TrialStatus.STOPPED, epochs=epoch, seconds=1.0)
        return tune.Outcome(value=max(curve), status=TrialStatus.COMPLETE, epochs=4, seconds=1.0)

    trials = tune.tune(
        Tuning(lr_range=(1e-4, 1e-1), trials=3, stop=True), run, journal=tmp_path / "journal", fingerprint="a"
    )
    found = tune.best(trials)

    assert found is not None
    assert (2, 0.9) == (found.number, found.value)


def test_a_lock_that_a_kill_left_behind_holds_nobody_up(tmp_path: Path):
    first = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    (tmp_path / "journal.lock").symlink_to("nowhere")

    assert first == tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")


def test_a_damaged_journal_is_tuned_anew(tmp_path: Path):
    first = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join([*lines[:3], b"{not json}\n", *lines[4:]]))

    assert first == tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")


def test_weight_decay_and_batch_are_searched_with_the_rate_from_their_middle_and_first(tmp_path: Path):
    asked: list[Candidate] = []
    trials = tune.tune(WIDE, attempt(asked=asked), journal=tmp_path / "journal", fingerprint="a")

    assert [(pytest.approx(1e-4), 4)] * 5 == [(one.weight_decay, one.batch) for one in asked[:5]]
    assert pytest.approx([10**-2.5, 10**-3.1, 10**-1.9, 10**-3.7, 10**-1.3]) == [one.lr for one in asked[:5]]
    assert asked == [tune.candidate(one) for one in trials]
    assert all(1e-6 <= (one.weight_decay or 0) <= 1e-2 and one.batch in (4, 8, 16) for one in asked)
    assert len({one.weight_decay for one in asked}) > 1
    assert len({one.batch for one in asked}) > 1


def test_what_is_not_searched_is_left_to_the_recipe(tmp_path: Path):
    trials = tune.tune(TUNING, attempt(), journal=tmp_path / "journal", fingerprint="a")

    assert {(None, None)} == {(one.weight_decay, one.batch) for one in trials}


def test_a_collapsed_trial_keeps_its_value_but_is_neither_chosen_nor_a_rival(tmp_path: Path):
    def run(number: int, candidate: Candidate, watch: Callable[[Epoch], bool]) -> tune.Outcome:
        value, status = (0.5, TrialStatus.COLLAPSED) if number < 2 else (0.1, TrialStatus.COMPLETE)
        for epoch in range(1, 5):
            if watch(Epoch(epoch=epoch, loss=1.0, value=value, seconds=1.0)):
                return tune.Outcome(value=value, status=TrialStatus.STOPPED, epochs=epoch, seconds=1.0)
        return tune.Outcome(value=value, status=status, epochs=4, seconds=1.0)

    tuning = Tuning(lr_range=(1e-4, 1e-1), trials=4, stop=True, grace=2)
    trials = tune.tune(tuning, run, journal=tmp_path / "journal", fingerprint="a")
    found = tune.best(trials)

    assert [(0.5, "collapsed")] * 2 + [(0.1, "complete")] * 2 == [(one.value, one.status) for one in trials]
    assert found is not None
    assert 2 == found.number
    assert trials[0] == tune.best(trials[:2])  # for want of a better one


def trial(
    number: int, lr: float, value: float, status: TrialStatus = TrialStatus.COMPLETE, batch: int | None = None
) -> Trial:
    return Trial(number=number, lr=lr, value=value, status=status, epochs=1, seconds=1.0, batch=batch)


def test_all_diverged_means_no_best_and_no_peak():
    trials = [trial(0, 1e-2, 0.0, TrialStatus.DIVERGED)]

    assert (None, None, None) == (tune.best(trials), tune.smooth_peak(trials), tune.fresh(trials))


def test_the_smoothed_peak_is_pulled_away_from_a_lucky_outlier():
    smooth = [trial(n, 10 ** (-4 + n / 3), bump(10 ** (-4 + n / 3))) for n in range(10)]
    lucky = [*smooth[:7], trial(7, smooth[7].lr, 0.91), *smooth[8:]]
    best, peak = tune.best(lucky), tune.smooth_peak(lucky)

    assert best is not None
    assert best.lr == smooth[7].lr
    assert peak is not None
    assert abs(math.log10(peak / 3e-3)) < abs(math.log10(best.lr / 3e-3))


def test_fresh_seeds_take_the_smoothed_rate_or_the_best_trial_itself_where_trials_differ_in_more():
    smooth = [
        trial(n, 10 ** (-4 + n / 3), bump(10 ** (-4 + n / 3)) + (0.25 if n == 6 else 0), batch=8) for n in range(10)
    ]
    mixed = [*smooth[:2], trial(2, smooth[2].lr, smooth[2].value, batch=4), *smooth[3:]]

    assert Candidate(lr=tune.smooth_peak(smooth) or 0.0, batch=8) == tune.fresh(smooth)
    assert smooth[6].lr != (tune.fresh(smooth) or Candidate(lr=0.0)).lr
    assert tune.smooth_peak(mixed) is None
    assert Candidate(lr=smooth[6].lr, batch=8) == tune.fresh(mixed)


@pytest.mark.parametrize(
    ("trials", "lrs", "edges"),
    [
        (5, (10**-3.7, 10**-3.1, 10**-1.9, 10**-1.3), [True, False, False, True]),
        (9, (1.1e-4, 10**-3.7, 10**-3.1, 9e-2), [True, True, False, True]),
        (1, (1.1e-4, 10**-2.5, 9e-2), [True, False, True]),
    ],
)
def test_the_outermost_of_the_grid_and_what_lies_beyond_is_at_the_edge(
    trials: int, lrs: tuple[float, ...], edges: list[bool]
):
    tuning = replace(TUNING, trials=trials)

    assert edges == [tune.at_edge(lr, tuning) for lr in lrs]


def test_a_range_of_one_rate_has_no_edge():
    assert not tune.at_edge(1e-3, replace(TUNING, lr_range=(1e-3, 1e-3)))


def test_a_cell_trains_every_trial_and_every_fresh_seed_with_its_own_values(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[tuple[float, float, int]] = []

    def spy(*things: object, recipe: Recipe, lr: float, **more: object) -> train.Fit:
        trained.append((lr, recipe.weight_decay, recipe.batch))
        return fit(*things, recipe=recipe, lr=lr, **more)

    fit = train.fit
    monkeypatch.setattr(train, "fit", spy)
    tuning = Tuning(lr_range=(1e-3, 1e-1), trials=6, weight_decay_range=(1e-6, 1e-2), batches=(2, 3))
    study = small.study(tuning=tuning, seeds=1, baselines=())
    small.execute(study, small.place(tmp_path, data_home))
    record = next(record for record in small.stored(study, small.place(tmp_path, data_home)).values())
    asked = [(one.lr, one.weight_decay, one.batch) for one in record.trials]
    found = tune.fresh(record.trials)

    assert asked == trained[:6]
    assert found is not None
    assert [(found.lr, found.weight_decay, found.batch)] == trained[6:]
