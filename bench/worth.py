"""What a leak is worth: the same networks with the same losses where copies were split by file, and where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bench import copies, figures, names, paired, protocols, standings, statistics
from bench.metrics import Metric, Profile
from bench.quantities import word
from bench.rows import SCORED
from bench.standings import Board, Standing
from bench.statistics import Interval, Sample

HEADINGS = {
    "clean": "no copies",
    "split-first": "copies, split by photograph",
    "as-published": "copies, split by file (leak)",
}
"""How the protocols are called, the one without copies first and the leak last."""
PAIRED = (
    "Both protocols test the same photographs: these are resampled on both sides at once, all copies of one together."
)
UNPAIRED = (
    "The protocols do not test the same photographs, so that nothing is paired: these are resampled on either side by "
    "themselves, all copies of one together."
)
NARROW = "The leaderboards resample files as if copies were independent: with copies, their intervals are too narrow."


class Score(NamedTuple):
    """A number under a protocol, and its 95% interval over photographs, and over seeds where there are several."""

    value: float
    interval: Interval | None


class Line(NamedTuple):
    """One network with one loss, or a baseline.

    Attributes:
        scores: By protocol; None without a score.
        difference: The score under the table's `other` protocol minus that under `honest`; `interval` holds 95%.
        paired: Whether both test the same photographs.
    """

    architecture: str
    loss: str | None
    scores: Mapping[str, Score | None]
    difference: float | None
    interval: Interval | None
    paired: bool = False

    @property
    def told(self) -> bool:
        """Whether the difference is told from none."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


class Table(NamedTuple):
    """One data set under two protocols, or three.

    Attributes:
        title: Of the data set without copies, as far as it is known.
        protocols: All that are there, in the order of HEADINGS.
        honest: What the last of them, `other`, is compared with: the very same copies, if they are there, split by
            photograph.
        images: Test files by protocol, and the photographs they are of.
        metric: The short name of the number; `single` says whether it is of one run each, whose noise is not counted.
    """

    dataset: str
    title: str
    copies: str
    protocols: tuple[str, ...]
    honest: str
    other: str
    images: Mapping[str, tuple[int, int]]
    metric: str
    single: bool
    lines: tuple[Line, ...]
    sentence: str

    @property
    def note(self) -> str:
        """How the intervals came about."""
        return f"{PAIRED if all(line.paired for line in self.lines) else UNPAIRED} {NARROW}"


def tables(boards: Sequence[Board], profile: Profile) -> list[Table]:
    """One table for every data set that stands under two protocols at least, with the same copies."""
    found: dict[tuple[str, str], dict[str, Board]] = {}
    for board in boards:
        name, mark = names.apart(board.dataset)
        base, protocol = protocols.told(name)
        base = names.marked(base, mark)
        found.setdefault((base, protocol.copies if protocol.copied else ""), {})[protocol.word] = board
    result = []
    for (base, made), own in found.items():
        held = own | found.get((base, ""), {}) if made else {}
        if len(held) > 1:
            result.append(_table(base, made, {name: held[name] for name in HEADINGS if name in held}, profile))
    return result


def as_dicts(found: Sequence[Table]) -> list[dict[str, Any]]:
    """The same for a file of JSON; undefined is null."""
    return [
        {
            "dataset": table.dataset,
            "copies": table.copies,
            "honest": table.honest,
            "other": table.other,
            "metric": table.metric,
            "sentence": table.sentence,
            "rows": [
                {
                    "architecture": line.architecture,
                    "loss": line.loss,
                    "values": {name: score and score.value for name, score in line.scores.items()},
                    "intervals": {name: score and score.interval for name, score in line.scores.items()},
                    "difference": line.difference,
                    "interval": line.interval,
                }
                for line in table.lines
            ],
        }
        for table in found
    ]


def _table(base: str, made: str, boards: Mapping[str, Board], profile: Profile) -> Table:
    sides = {word: {(one.architecture, one.loss): one for one in board.standings} for word, board in boards.items()}
    metric = profile.metrics[profile.primary]
    first, last = list(boards)[-2:] if "as-published" in boards else ("clean", "split-first")
    samples = {word: {key: _sample(one, metric) for key, one in own.items()} for word, own in sides.items()}
    keys = [key for key in sides[last] if all(key in own for own in sides.values())]
    lines = [_line(key, {word: own[key] for word, own in samples.items()}, first, last) for key in keys]
    lines.sort(key=lambda line: line.loss is None)
    tested = {word: _tested(board) for word, board in boards.items()}
    title = boards[last].title.partition(", copies split")[0]
    single = any(one.selected for own in sides.values() for one in own.values())
    table = Table(base, title, made, tuple(boards), first, last, tested, _short(metric), single, tuple(lines), "")
    return table._replace(sentence=sentence(table))


def sentence(table: Table) -> str:
    """What the leak is worth, in words."""
    networks = [line for line in table.lines if line.loss is not None and line.difference is not None]
    first, last = table.honest, table.other
    if not networks:
        return f"No network has a score under both {first} and {last} yet."
    gains = [line.difference for line in networks if line.difference is not None]
    mean, told = sum(gains) / len(gains), sum(line.told for line in networks)
    most = max(networks, key=lambda line: abs(line.difference or 0.0))
    name = figures.short(line.architecture for line in networks)[most.architecture]
    what = (
        "Splitting copies by file instead of by photograph"
        if (first, last) == ("split-first", "as-published")
        else f"The protocol {last} instead of {first}"
    )
    verb = "raises" if mean >= 0 else "lowers"
    several = f" on average over {word(len(gains))} networks" if len(gains) > 1 else ""
    largest = f"; most, by {most.difference:+.3f}, for {name} · {most.loss}" if len(gains) > 1 else ""
    sure = f"{word(told) if told else 'none'} of {word(len(gains))} differences" if len(gains) > 1 else "The difference"
    surely = "can be told from none" if told or len(gains) > 1 else "cannot be told from none"
    return f"{what} {verb} {table.metric} by {abs(mean):.3f}{several}{largest}. {sure[0].upper()}{sure[1:]} {surely}."


class _Tested(NamedTuple):
    """A number with its noise, and the photographs it is of."""

    sample: Sample
    photographs: frozenset[str]


def _line(key: tuple[str, str | None], tested: Mapping[str, _Tested | None], first: str, last: str) -> Line:
    scores = {
        word: None if found is None else Score(found.sample.value, statistics.sure(found.sample))
        for word, found in tested.items()
    }
    one, other = tested[first], tested[last]
    if one is None or other is None:
        return Line(*key, scores, None, None)
    if one.photographs != other.photographs:
        interval, alike = statistics.unpaired(one.sample, other.sample), False
    else:  # drawn alike, since these are equally many in the same order
        found, alike = paired.compare(other.sample, one.sample), True
        interval = None if found is None else statistics.possible(found.interval, one.sample, other.sample)
    return Line(*key, scores, other.sample.value - one.sample.value, interval, alike)


def _sample(standing: Standing, metric: Metric) -> _Tested | None:
    """The score of a standing, with its noise over photographs, all copies of one drawn together; None without one."""
    runs = standings.runs(standing, metric)
    ids = [
        copies.photograph(name)  # whatever fold it is in: where copies are split by file, they are in several
        for row in standing.rows
        if runs and row.cell.seed == min(runs) and row.counts is not None and row.status in SCORED
        for name in row.ids
    ]
    if not standing.complete or not runs or any(len(run) != len(ids) for run in runs.values()):
        return None
    found = statistics.sample(metric, list(runs.values()), groups=np.unique(ids, return_inverse=True)[1])
    return None if found is None else _Tested(replace(found, share=metric.better == "higher"), frozenset(ids))


def _tested(board: Board) -> tuple[int, int]:
    """The test files of a board, over all folds, and the photographs they are of."""
    ids = {(row.cell.fold, name) for row in _rows(board) for name in row.ids}
    return len(ids), len({copies.photograph(name) for _, name in ids})


def _rows(board: Board) -> Iterator[Any]:
    return (row for one in board.standings for row in one.rows)


def _short(metric: Metric) -> str:
    return metric.title.partition(" (")[0]
