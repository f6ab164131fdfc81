"""The learning rate of a cell, found by Optuna on validation scores; the only module that imports optuna.

Weight decay and batch size are searched with it where the study says so.

Trials run one after another: an even grid over the range, then, where there are more than five, a Gaussian process
proposes. Where the study stops trials, one that falls behind the median of the earlier ones at the same epoch is told
with the value it had reached, so that the process still learns from it, but it is never chosen (docs/adr/0004).
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from bench.records import Epoch, Trial, TrialStatus
from bench.specs import Tuning
from bench.store import write_bytes

ANCHORS = 5
"""Rates tried before the process proposes: the middles of as many equal parts of the range, on a log scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one trial came to: the best validation value in [0, 1], and how it ended."""

    value: float
    status: TrialStatus
    epochs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a trial trains with; None where the recipe decides."""

    lr: float
    weight_decay: float | None = None
    batch: int | None = None


Watch = Callable[[Epoch], bool]
"""Told about each epoch from the first; answers whether to stop."""

Try = Callable[[int, Candidate, Watch], Outcome]
"""Given the trial's number, its candidate, and a watch: trains and reports.

A trial that a kill cut short is asked again under the same number with the same candidate; one that goes on from a
checkpoint shows the watch its earlier epochs again first.
"""


def tune(tuning: Tuning, attempt: Try, *, journal: Path, fingerprint: str) -> tuple[Trial, ...]:
    """Run the trials that the journal does not hold yet; return all of them, in order.

    Every proposal depends on the fingerprint and the trials before it alone, so that a tuning which was interrupted
    asks the same as one that was not. A journal of another fingerprint is thrown away.
    """
    study = _open(journal, fingerprint)
    _repeat_unfinished(study, tuning)
    while (number := len(_finished(study))) < tuning.trials:
        study.sampler = _sampler(f"{fingerprint}/{number}")
        if number < ANCHORS and not _waiting(study):
            study.enqueue_trial(_parameters(anchors(tuning)[number]))
        trial = study.ask()
        candidate = _suggest(trial, tuning)
        reached = [0.0]

        def watch(epoch: Epoch, trial: optuna.Trial = trial, reached: list[float] = reached) -> bool:
            before = reached[0] if epoch.epoch > 1 else 0.0  # it may begin again, with less memory
            reached[0] = max(before, epoch.value or 0.0)  # a trial is worth its best epoch so far
            trial.report(reached[0], epoch.epoch)
            return tuning.stop and epoch.epoch >= tuning.grace and _behind(study, epoch.epoch, reached[0])

        outcome = attempt(number, candidate, watch)
        trial.set_user_attr("status", str(outcome.status))
        trial.set_user_attr("epochs", outcome.epochs)
        trial.set_user_attr("seconds", outcome.seconds)
        study.tell(trial, outcome.value)
    return tuple(_trial(number, frozen) for number, frozen in enumerate(_finished(study)))


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest value among those that ran to their end; a collapsed one if there is no other.

    None when all diverged.
    """
    ended = [trial for trial in trials if trial.status in (TrialStatus.COMPLETE, TrialStatus.COLLAPSED)]
    return max(ended, key=lambda t: (t.status is TrialStatus.COMPLETE, t.value, -t.number), default=None)


def candidate(trial: Trial) -> Candidate:
    """What a trial trained with."""
    return Candidate(lr=trial.lr, weight_decay=trial.weight_decay, batch=trial.batch)


def fresh(trials: Sequence[Trial]) -> Candidate | None:
    """What a fresh seed trains with: what the best trial did, its rate moved to the smoothed peak where there is one.

    None when every trial diverged or was stopped.
    """
    found = best(trials)
    return None if found is None else replace(candidate(found), lr=smooth_peak(trials) or found.lr)


def smooth_peak(trials: Sequence[Trial]) -> float | None:
    """The rate at the top of a smoothed curve of value against log rate, between the outermost complete trials.

    A Gaussian process with a length scale of half a decade and noise of 0.02, the spread of seeds near a peak; the
    luckiest trial at the edge of stability is pulled towards its neighbours. Stopped trials are left out: their values
    are of an earlier epoch. None when no trial is complete, or when complete trials differ in more than the rate: two
    of one rate then have two values, and a handful of trials is too thin for a surface over two or three dimensions.
    """
    from scipy.interpolate import RBFInterpolator

    tried = [trial for trial in trials if trial.status is TrialStatus.COMPLETE]
    if len({(trial.weight_decay, trial.batch) for trial in tried}) != 1:
        return None
    at = np.array([[math.log10(trial.lr)] for trial in tried])
    values = np.array([trial.value for trial in tried])
    if len(tried) == 1 or np.ptp(at) < 1e-9:
        return tried[0].lr
    variance = max(float(values.var()), 1e-6)
    curve = RBFInterpolator(
        at,
        values - values.mean(),
        kernel="gaussian",
        epsilon=math.sqrt(0.5) / 0.5,
        smoothing=0.02**2 / variance,
        degree=-1,
    )
    grid = np.linspace(at.min(), at.max(), 401)[:, None]
    return float(f"{10 ** grid[int(curve(grid).argmax()), 0]:.6g}")  # the last digits differ between processors


def at_edge(lr: float, tuning: Tuning) -> bool:
    """Whether a rate is the lowest or highest of the anchors, or beyond, so that a better one may lie outside.

    With less than three anchors there is none between: then only the outermost twentieths of the range are its edge.
    """
    low, high = (math.log(end) for end in tuning.lr_range)
    count = len(anchors(tuning))
    margin = 0.5001 / count if count >= 3 else 0.05
    return high > low and not margin <= (math.log(lr) - low) / (high - low) <= 1 - margin


def anchors(tuning: Tuning) -> list[Candidate]:
    """The first candidates: an even grid over the range of rates on a log scale, from its middle outwards.

    All with the geometric middle of the range of weight decays and the first batch, where those are searched.
    """
    count = min(tuning.trials, ANCHORS)
    shares = [(at + 0.5) / count for at in sorted(range(count), key=lambda at: abs(2 * at + 1 - count))]
    decay = _between(tuning.weight_decay_range, 1 / 2) if tuning.weight_decay_range else None
    batch = tuning.batches[0] if tuning.batches else None
    return [Candidate(lr=_between(tuning.lr_range, share), weight_decay=decay, batch=batch) for share in shares]


def _between(ends: tuple[float, float], share: float) -> float:
    """The number that lies at a share of the way between two others on a logarithmic scale, never outside them."""
    low, high = ends
    return min(max(math.exp(math.log(low) + (math.log(high) - math.log(low)) * share), low), high)


def _suggest(trial: optuna.Trial, tuning: Tuning) -> Candidate:
    decays, batches = tuning.weight_decay_range, tuning.batches
    return Candidate(
        lr=trial.suggest_float("lr", *tuning.lr_range, log=True),
        weight_decay=trial.suggest_float("weight_decay", *decays, log=True) if decays else None,
        batch=trial.suggest_categorical("batch", batches) if batches else None,
    )


def _parameters(candidate: Candidate) -> dict[str, float]:
    """A candidate as Optuna names it: what is searched, and nothing else."""
    return {name: value for name, value in asdict(candidate).items() if value is not None}


def gather(journals: Mapping[str, Path]) -> tuple[optuna.storages.BaseStorage, list[Path]]:
    """Copy journals into one storage in memory, a study under each name; a journal is read, never written or locked.

    Returns:
        The storage, and the journals that could not be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, unread = optuna.storages.InMemoryStorage(), []
    for name, path in journals.items():
        try:
            whole = optuna.storages.JournalStorage(_Reading(path))
            optuna.copy_study(from_study_name="lr", from_storage=whole, to_storage=storage, to_study_name=name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            unread.append(path)
    return storage, unread


class _Reading(optuna.storages.journal.BaseJournalBackend):
    """The whole lines of a journal as they are now, kept from whatever would write to it."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.logs = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise OSError("A journal that is only read.")


def _behind(study: optuna.Study, epoch: int, value: float) -> bool:
    """Whether the best value of a trial so far is below the median of at least two earlier trials at the same epoch.

    Diverged and collapsed trials are no rivals, so the first two of the others always run to their end.
    """
    rivals = [
        trial.intermediate_values[epoch]
        for trial in _finished(study)
        if epoch in trial.intermediate_values
        and trial.user_attrs["status"] not in (TrialStatus.DIVERGED, TrialStatus.COLLAPSED)
    ]
    return len(rivals) >= 2 and value < float(np.median(rivals))


def _open(journal: Path, fingerprint: str) -> optuna.Study:
    """The study of a journal file, which nobody else has open; what a kill left behind is cleared away.

    That is half a line at its end, and a lock that no process holds. A journal that cannot be read starts anew.
    """
    journal = journal.resolve()  # optuna's lock is a link to this path
    journal.parent.mkdir(parents=True, exist_ok=True)
    for lock in journal.parent.glob(f"{journal.name}.lock*"):
        lock.unlink()
    if journal.is_file():
        content = journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_bytes(journal, whole)
    try:
        study = _create(journal)
    except (ValueError, KeyError, TypeError, AttributeError):
        journal.unlink()
        study = _create(journal)
    if study.user_attrs.get("fingerprint", fingerprint) != fingerprint:
        journal.unlink()
        study = _create(journal)
    study.set_user_attr("fingerprint", fingerprint)
    return study


def _create(journal: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    return optuna.create_study(study_name="lr", storage=storage, direction="maximize", load_if_exists=True)


def _sampler(seed: str) -> optuna.samplers.BaseSampler:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=number, n_startup_trials=ANCHORS)


def _repeat_unfinished(study: optuna.Study, tuning: Tuning) -> None:
    """Trials that a kill left running are given up, and asked again as they were.

    One that was killed before it had all of its values is left to `tune`, which asks the same again by itself.
    """
    wanted = _parameters(anchors(tuning)[0]).keys()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params.keys() == wanted:
            study.enqueue_trial(trial.params)


def _waiting(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _trial(number: int, frozen: optuna.trial.FrozenTrial) -> Trial:
    return Trial(
        number=number,
        lr=frozen.params["lr"],
        weight_decay=frozen.params.get("weight_decay"),
        batch=frozen.params.get("batch"),
        value=frozen.value or 0.0,
        status=TrialStatus(frozen.user_attrs["status"]),
        epochs=frozen.user_attrs["epochs"],
        seconds=frozen.user_attrs["seconds"],
    )
