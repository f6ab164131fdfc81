"""How long a study takes on any number of workers, told from recorded times, and what keeps it from taking less.

The unit of work is a group: cells that share a tuning and run one after another, on one worker. Groups are handed out
in their order to whoever is free (list scheduling, R. L. Graham, SIAM J. Appl. Math. 17, 1969), by a driver that does
one thing at a time. Simulated, not computed, so that start-up, the driver and lost workers can take their part.
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import io
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import plan
from bench.errors import StudyError
from bench.records import FINAL, Record
from bench.specs import Cell, Study
from bench.store import records

PHASES = ("prepare", "measure", "tune", "train", "evaluate")
COLUMNS = ("study", "dataset", "architecture", "loss", "fold", "seed", "device", "threads", "trials", "epochs", *PHASES)
USUAL = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
"""Numbers of workers that are simulated where none are asked for."""
NAMES = {
    "workers": "the workers",
    "group": "the longest group",
    "driver": "the driver",
}
"""What can decide how long a study takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """What one recorded cell took.

    Attributes:
        device: The one it ran on, with its `threads`, as its record says.
        trials: Rates that were tried; 0 for a baseline.
        epochs: Of all its trainings together; 0 for a baseline.
        seconds: By phase, those of PHASES [s].
    """

    study: str
    cell: Cell
    device: str
    threads: str
    trials: int
    epochs: int
    seconds: tuple[float, ...]

    @property
    def total(self) -> float:
        """All phases [s]."""
        return sum(self.seconds)

    @property
    def training(self) -> float:
        """What grows with the epochs: the search and the training after it; nothing of a baseline grows [s]."""
        phases = dict(zip(PHASES, self.seconds, strict=True))
        return 0.0 if self.cell.loss is None else phases["tune"] + phases["train"]

    def of(self, epochs: int) -> float:
        """What it would take with another number of epochs; a baseline has none [s]."""
        grown = self.training * epochs / self.epochs if self.epochs else self.training
        return self.total - self.training + grown


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """What is not training. The defaults were measured on two cores of a server, see docs/clusters.md.

    Attributes:
        startup: Until a worker can begin: its process, torch, and the data if its machine does not have them [s].
        group: Before each further group of a worker, where groups are processes of their own, as jobs of SLURM [s].
        survey: Of the driver, per cell, before the first one is handed out [s].
        messages: Of the driver, per cell, for all that it is told of it, an epoch at a time [s].
        losses: Workers that are lost, per worker and hour; another one starts in the place of each.
        checkpoint: What a lost worker did since a multiple of it into a cell is done again [s].
    """

    startup: float = 2.0
    group: float = 0.0
    survey: float = 0.0004
    messages: float = 0.0023
    losses: float = 0.0
    checkpoint: float = 60.0


class Row(NamedTuple):
    """A number of workers, and what they come to.

    Attributes:
        seconds: The makespan [s].
        speedup: One worker's makespan divided by this one; `efficiency` is that per worker.
        bound: What no order of the groups can be faster than, without lost workers [s].
        limit: What that bound is due to, one of NAMES.
        longest_first: The makespan where the longest groups are handed out first [s].
    """

    workers: int
    seconds: float
    speedup: float
    efficiency: float
    bound: float
    limit: str
    longest_first: float


class Forecast(NamedTuple):
    """A study on several numbers of workers.

    Attributes:
        work: Of all cells together [s]; `longest` is that of the longest group.
        useful: So many workers would take as long for all of it as the longest group takes; more cannot help.
    """

    label: str
    cells: int
    groups: int
    work: float
    longest: float
    useful: int
    rows: tuple[Row, ...]


def load(path: Path) -> list[list[Time]]:
    """The recorded groups of a results folder, or of a CSV file that `as_csv` wrote; only cells that have a result.

    Raises:
        StudyError: If there is none, or a line of the file is none of ours.
        StoreError: If a record is damaged.
    """
    times = _read(path) if path.is_file() else [time_of(record) for record in records(path) if record.status in FINAL]
    if not sum(one.total for one in times):
        raise StudyError(f"{path} has no cell with a result to take times from. Name the results of a study that ran.")
    found: dict[tuple[object, ...], list[Time]] = {}
    for one in times:
        shared = dataclasses.replace(one.cell, seed=0)
        found.setdefault((one.study, shared, one.device, one.threads), []).append(one)
    return [sorted(group, key=lambda one: one.cell.seed) for group in found.values()]


def as_csv(groups: Iterable[Sequence[Time]]) -> str:
    """Recorded times as CSV: names, and seconds to a thousandth."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in itertools.chain(*groups):
        cell = one.cell
        named = (one.study, cell.dataset, cell.architecture, cell.loss or "", cell.fold, cell.seed)
        counted = (one.device, one.threads, one.trials, one.epochs)
        writer.writerow((*named, *counted, *(f"{seconds:.3f}" for seconds in one.seconds)))
    return text.getvalue()


def machines(groups: Iterable[Sequence[Time]]) -> dict[str, int]:
    """How many cells were recorded on which device, with how many threads, by a name for both."""
    return dict(Counter(f"{one.device}, {one.threads} threads" for group in groups for one in group))


def resampled(
    groups: Sequence[Sequence[Time]], cells: int, seeds: int | None = None, draw: int = 0
) -> list[list[float]]:
    """So many cells, in groups drawn with replacement from recorded ones [s].

    Args:
        seeds: Fresh seeds that follow each tuning, each with one training; None keeps those that were recorded.
        draw: Another number draws others.
    """
    generator, left = random.Random(draw), cells  # of the standard library: the same everywhere
    found = []
    while left > 0:
        group = groups[generator.randrange(len(groups))]
        seconds = [one.total for one in group] if seeds is None else _seeded(group[0], seeds)
        found.append(seconds[:left])
        left -= len(found[-1])
    return found


def predicted(study: Study, groups: Sequence[Sequence[Time]]) -> tuple[list[list[float]], dict[str, int]]:
    """The groups of a study, each cell with the time of the recorded cells that are most like it [s].

    Times grow with the epochs that a cell may need at most; how many images there are, and their size, are taken to be
    those of the recorded cells.

    Returns:
        The groups, and how many cells were told from what.
    """
    like: dict[tuple[str | None, ...], list[Time]] = {}
    for one in itertools.chain(*groups):
        for _, key in _keys(one.cell):
            like.setdefault(key, []).append(one)
    found, counted = [], Counter[str]()
    for group in plan.groups(plan.cells(study)):
        found.append([])
        for cell in group:
            told, key = next(
                (told, key) for told, key in (*_keys(cell), ("every network", ())) if key in like or not key
            )
            same = like.get(key) or list(itertools.chain(*groups))
            epochs = plan.work(cell, study)
            found[-1].append(sum(one.of(epochs) for one in same) / len(same))
            counted[told] += 1
    return found, dict(counted)


def forecast(
    groups: Sequence[Sequence[float]],
    workers: Sequence[int] = USUAL,
    overheads: Overheads | None = None,
    label: str = "",
) -> Forecast:
    """Simulate groups of cells, not all of no length [s], on several numbers of workers."""
    overheads = overheads or Overheads()
    cells, work = sum(map(len, groups)), sum(map(sum, groups))
    longest = max(map(sum, groups))
    by_length = sorted(groups, key=sum, reverse=True)
    one = simulate(groups, 1, overheads)
    rows = []
    for count in workers:
        seconds = one if count == 1 else simulate(groups, count, overheads)
        parts = {"workers": work / count, "group": longest, "driver": cells * overheads.messages}
        limit = max(parts, key=lambda name: parts[name])
        bound = parts[limit] + cells * overheads.survey + overheads.startup
        ordered = simulate(by_length, count, overheads)
        rows.append(Row(count, seconds, one / seconds, one / seconds / count, bound, limit, ordered))
    return Forecast(label, cells, len(groups), work, longest, math.ceil(work / longest), tuple(rows))


def simulate(groups: Iterable[Sequence[float]], workers: int, overheads: Overheads, draw: int = 0) -> float:
    """The makespan of groups of cells that are handed out in their order [s].

    The driver takes up what a worker said when its cell ends, after what others said before. A worker goes on with its
    group meanwhile, and waits for the driver only for the next one.

    Args:
        groups: The cells of each, one after another [s].
        draw: Another number loses other workers.
    """
    groups, generator = list(groups), random.Random(draw)
    start = sum(map(len, groups)) * overheads.survey
    waiting, busy = iter(groups), list[tuple[float, int, Iterator[float]]]()
    number = itertools.count()  # told apart where two end at once

    def begin(now: float, group: Iterator[float]) -> bool:
        for seconds in itertools.islice(group, 1):
            heapq.heappush(busy, (now + _with_losses(seconds, overheads, generator), next(number), group))
            return True
        return False

    for group in itertools.islice(waiting, workers):
        begin(start + overheads.startup, iter(group))
    driver = start
    while busy:
        now, _, group = heapq.heappop(busy)
        driver = max(driver, now) + overheads.messages
        if not begin(now, group) and (following := next(waiting, None)) is not None:
            begin(driver + overheads.group, iter(following))
    return driver


def _with_losses(seconds: float, overheads: Overheads, generator: random.Random) -> float:
    """What a cell takes where its worker may be lost, at a constant rate, and another one goes on [s]."""
    taken = 0.0
    while overheads.losses:
        survived = generator.expovariate(overheads.losses / 3600)
        if survived >= seconds:
            break
        taken += survived + overheads.startup
        seconds -= survived // overheads.checkpoint * overheads.checkpoint
    return taken + seconds


def _seeded(first: Time, seeds: int) -> list[float]:
    """A tuning as it was, and a training of the tuned rate for each further seed; a baseline has none."""
    if first.cell.loss is None:
        return [first.total]
    once = first.total - first.training * (1 - 1 / max(first.trials, 1))
    return [first.total, *[once] * seeds]


def _keys(cell: Cell) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """What a recorded cell and one to come may have in common, the most first."""
    kind = "baseline" if cell.loss is None else "network"
    yield "the same cell", (cell.dataset, cell.architecture, cell.loss, kind)
    yield "the same architecture on the same data", (cell.dataset, cell.architecture, kind)
    yield "the same architecture", (cell.architecture, kind)
    yield f"every {kind}", (kind,)


def time_of(record: Record) -> Time:
    """What a record says of the time its cell took."""
    cell = record.cell
    epochs = sum(trial.epochs for trial in record.trials) if cell.seed == 0 else len(record.history)
    return Time(
        study=record.study,
        cell=cell,
        device=record.environment.get("device", "unknown"),
        threads=record.environment.get("threads", "?"),
        trials=len(record.trials),
        epochs=epochs,
        seconds=tuple(record.seconds.get(phase, 0.0) for phase in PHASES),
    )


def _read(path: Path) -> list[Time]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise StudyError(f"{path} is no table of times: its first line must be {','.join(COLUMNS)}.")
        return [_row(path, number, line) for number, line in enumerate(reader, start=2)]


def _row(path: Path, number: int, line: dict[str, str]) -> Time:
    try:
        seconds = tuple(float(line[phase]) for phase in PHASES)
        if not all(0 <= one < float("inf") for one in seconds):
            raise ValueError("seconds must be 0 or more")
        names = {name: line[name] for name in ("dataset", "architecture")}
        cell = Cell(**names, loss=line["loss"] or None, fold=int(line["fold"]), seed=int(line["seed"]))
        trials, epochs = int(line["trials"]), int(line["epochs"])
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path}, line {number} is no recorded time: {error}. Write the file anew.") from error
    return Time(
        study=line["study"],
        cell=cell,
        device=line["device"],
        threads=line["threads"],
        trials=trials,
        epochs=epochs,
        seconds=seconds,
    )
