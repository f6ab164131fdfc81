"""Two studies, or two standings, against each other, paired on the test images that both were scored on; numpy only.

A difference is always B minus A. It is supported when its whole 95% interval lies on one side of 0, and a regression
when the whole interval lies below minus the margin; everything else cannot be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median

import numpy as np

from bench import metrics, paired, plan, standings, statistics
from bench.errors import StudyError
from bench.metrics import Counts, Metric, Profile
from bench.records import Record
from bench.rows import Row
from bench.selection import Side
from bench.specs import ClassSpec
from bench.standings import Standing

SCHEMA = 1
"""Version of what `as_json` gives."""

CLASS_DICE = Metric(
    title="Dice (data set, one class)",
    definition="Pixels summed over all test images; Dice of one class against the rest.",
    compute=lambda counts: metrics.dice(counts.sum(axis=-3))[..., 1],
)


class Verdict(StrEnum):
    """What can be said of B against A."""

    REGRESSION = "regression"
    """Worse by more than the margin: the whole interval lies below minus the margin."""
    WORSE = "worse"
    """The whole interval lies below 0, but not all of it below minus the margin."""
    UNTOLD = "cannot be told"
    """The interval holds 0, or there is none."""
    IDENTICAL = "identical"
    """The same matrices."""
    BETTER = "better"
    """The whole interval lies above 0."""
    REFUSED = "not comparable"
    """Not scored on the same images, or not scored; the reason says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One metric in A and in B; None where undefined.

    Attributes:
        difference: B minus A.
        interval: 95% bootstrap interval of the paired difference; None where it cannot be had.
    """

    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One cost in A and in B; the ratio is B over A, None where either is unknown or A's is 0."""

    a: float | None
    b: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One standing of A with its counterpart in B.

    Attributes:
        a, b: `dataset/architecture/loss`, with `/f0-s0` where one cell alone is meant.
        reason: Why the two are not comparable; None when they are.
        images: Test images, over all folds; `seeds` are those behind the value of A and of B.
        classes: Class name to its Dice over the data set.
        costs: Cost to its change; medians over the cells, seconds and memory as measured.
        notes: What a reader must know to read the difference.
    """

    a: str
    b: str
    verdict: Verdict
    reason: str | None = None
    images: int = 0
    seeds: tuple[int, int] = (0, 0)
    primary: Difference | None = None
    classes: dict[str, Difference] = field(default_factory=dict[str, Difference])
    costs: dict[str, Change] = field(default_factory=dict[str, Change])
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that A and B share, and what only one of them has."""

    a: str
    b: str
    profile: str
    metric: str
    definition: str
    margin: float
    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    protocol: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Pair, ...]:
        """The pairs that a gate is closed for."""
        return tuple(pair for pair in self.pairs if pair.verdict is Verdict.REGRESSION)

    @property
    def tally(self) -> dict[str, int]:
        """How many pairs there are of each verdict."""
        found = [pair.verdict for pair in self.pairs]
        return {str(verdict): found.count(verdict) for verdict in Verdict if verdict in found}


def compare(one: Side, other: Side, profile: Profile, name: str, margin: float) -> Comparison:
    """Pair what two studies share, or the one standing of each.

    Args:
        one: A, what is compared with.
        other: B, what is judged.
        name: What the profile is called.
        margin: How much worse is too much, in units of the metric; 0 or more.
    Raises:
        StudyError: If a study stands against a cell, nothing is shared, or the margin is negative.
    """
    if not 0 <= margin <= 1:
        raise StudyError(f"The margin is {margin:g}; it must lie between 0 and 1, as 0.01 for one point.")
    if one.whole != other.whole:
        raise StudyError(f"{one.name} and {other.name} are a study and a cell. Compare two studies, or two cells.")
    names = [(key, key) for key in one.standings if key in other.standings]
    if not one.whole:
        names = [(next(iter(one.standings)), next(iter(other.standings)))]
    if not names:
        raise StudyError(
            f"{one.name} and {other.name} share no data set, architecture and loss. Name two cells to compare across."
        )
    both = [(a, b, one.standings[a], other.standings[b]) for a, b in names]
    return Comparison(
        a=one.name,
        b=other.name,
        profile=name,
        metric=profile.primary,
        definition=profile.metrics[profile.primary].definition,
        margin=margin,
        pairs=tuple(_pair(a, b, first, second, profile, margin) for a, b, first, second in both),
        only_a=tuple(key for key in one.standings if one.whole and key not in other.standings),
        only_b=tuple(key for key in other.standings if one.whole and key not in one.standings),
        protocol=tuple(_protocol([(a, first, second) for a, _, first, second in both])),
    )


def verdict(interval: tuple[float, float] | None, margin: float) -> Verdict:
    """What an interval of the difference B - A supports."""
    if interval is None or interval[0] <= 0 <= interval[1]:
        return Verdict.UNTOLD
    if interval[0] > 0:
        return Verdict.BETTER
    return Verdict.REGRESSION if interval[1] < -margin else Verdict.WORSE


def as_json(found: Comparison) -> str:
    """All of it, with the version of this format; undefined is null."""
    return json.dumps({"schema": SCHEMA, "tally": found.tally, **asdict(found)}, indent=1, allow_nan=False) + "\n"


def remarks(found: Comparison) -> list[str]:
    """What else there is to know, one line each: notes, the protocol, and what only one side has."""
    notes: dict[str, list[str]] = {}
    for pair in found.pairs:
        for note in pair.notes:
            notes.setdefault(note, []).append(pair.a)
    lines = [f"{note}{_where(names, len(found.pairs))}" for note, names in notes.items()]
    lines += [f"protocol: {line}" for line in found.protocol]
    lines += [f"only in A: {key}" for key in found.only_a]
    return lines + [f"only in B: {key}" for key in found.only_b]


def _where(names: Sequence[str], of: int) -> str:
    """Which of the pairs a remark is of, in brackets; nothing where it is of all."""
    if len(names) == of:
        return ""
    return f" ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"


def _pair(a: str, b: str, one: Standing, other: Standing, profile: Profile, margin: float) -> Pair:
    rows = _scored(one), _scored(other)
    costs = _costs(*rows)
    reason = _reason(one, other, *rows)
    if reason is not None:
        return Pair(a=a, b=b, verdict=Verdict.REFUSED, reason=reason, costs=costs)
    runs = _runs(rows[0]), _runs(rows[1])
    metric = profile.metrics[profile.primary]
    taken = [list(standings.runs(side, metric).values()) for side in (one, other)]
    primary = _difference(metric, *taken)
    if primary.difference is None:
        why = "was not measured" if metric.measure and not all(taken) else "is undefined"
        return Pair(a=a, b=b, verdict=Verdict.REFUSED, reason=f"{profile.primary} {why} in A or B", costs=costs)
    same = len(taken[0]) == len(taken[1]) and all(
        np.array_equal(*both, equal_nan=both[0].dtype.kind == "f") for both in zip(*taken, strict=True)
    )
    return Pair(
        a=a,
        b=b,
        verdict=Verdict.IDENTICAL if same else verdict(primary.interval, margin),
        images=len(runs[0][0]),
        seeds=(len(runs[0]), len(runs[1])),
        primary=primary,
        classes=_classes(_card_classes(rows[0]), *runs),
        costs=costs,
        notes=tuple(_notes(one, other, *rows)),
    )


def _difference(metric: Metric, one: Sequence[Counts], other: Sequence[Counts]) -> Difference:
    """The difference of the means over the seeds, paired by the images, with the noise of images and seeds."""
    samples = statistics.sample(metric, one), statistics.sample(metric, other)
    a, b = (None if sample is None else sample.value for sample in samples)
    found = None if samples[0] is None or samples[1] is None else paired.compare(samples[1], samples[0])
    interval = None if found is None else found.interval
    if interval is not None and metric.better == "higher":  # two shares differ by 1 at most
        interval = (max(interval[0], -1.0), min(interval[1], 1.0))
    return Difference(a=a, b=b, difference=None if a is None or b is None else b - a, interval=interval)


def _classes(classes: Sequence[ClassSpec], one: Sequence[Counts], other: Sequence[Counts]) -> dict[str, Difference]:
    def against_rest(runs: Sequence[Counts], label: int) -> list[Counts]:
        return [_one_against_rest(run, label) for run in runs]

    return {
        spec.name: _difference(CLASS_DICE, against_rest(one, label), against_rest(other, label))
        for label, spec in enumerate(classes)
    }


def _one_against_rest(counts: Counts, label: int) -> Counts:
    """Matrices (images, C, C) of one class against all others: (images, 2, 2)."""
    hit = counts[:, label, label].astype(np.int64)
    missed = counts[:, label].sum(axis=-1, dtype=np.int64) - hit
    false = counts[:, :, label].sum(axis=-1, dtype=np.int64) - hit
    rest = counts.sum(axis=(-2, -1), dtype=np.int64) - hit - missed - false
    return np.stack([np.stack([rest, false], axis=-1), np.stack([missed, hit], axis=-1)], axis=-2)


def _reason(one: Standing, other: Standing, rows: Sequence[Row], others: Sequence[Row]) -> str | None:
    """Why two standings must not be paired; None when they may be."""
    for name, standing, scored in (("A", one, rows), ("B", other, others)):
        if not scored:
            endings = sorted({row.status for row in standing.rows})
            return f"no score in {name}: {', '.join(endings).replace('_', ' ')}"
        if len({tuple(images) for images in _tested(scored).values()}) > 1:
            return f"the seeds of {name} were not scored on the same images; run what is missing ({name}: bench status)"
    first, second = (next(iter(_tested(scored).values())) for scored in (rows, others))
    hashes = [{data for _, data, _ in images} for images in (first, second)]
    if hashes[0] != hashes[1]:
        return f"other data: {', '.join(sorted(hashes[0]))} in A, {', '.join(sorted(hashes[1]))} in B"
    if first != second:
        a, b = ({(fold, name) for fold, _, ids in images for name in ids} for images in (first, second))
        return f"other test images: {len(a)} in A, {len(b)} in B, {len(a & b)} of them in both and in the same fold"
    return None


def _tested(rows: Sequence[Row]) -> dict[int, list[tuple[int, str, tuple[str, ...]]]]:
    """By seed what was tested on: fold, hash of the data, image ids."""
    found: dict[int, list[tuple[int, str, tuple[str, ...]]]] = {}
    for row in sorted(rows, key=lambda row: row.cell.fold):
        if row.record is not None and row.record.data is not None:
            found.setdefault(row.cell.seed, []).append((row.cell.fold, row.record.data.hash, row.ids))
    return found


def _scored(standing: Standing) -> list[Row]:
    """The rows behind the value of a standing, as the leaderboard takes them: fresh seeds where there are some."""
    fresh = [row for row in standing.rows if row.cell.seed > 0] or standing.rows
    return [row for row in fresh if row.counts is not None and row.status in standings.SCORED]


def _runs(rows: Sequence[Row]) -> list[Counts]:
    """Per seed the matrices of all its folds, one after the other; ids are in order within each."""
    seeds: dict[int, list[Counts]] = {}
    for row in sorted(rows, key=lambda row: (row.cell.seed, row.cell.fold)):
        if row.counts is not None:
            seeds.setdefault(row.cell.seed, []).append(row.counts)
    return [np.concatenate(folds) for folds in seeds.values()]


def _costs(*sides: Sequence[Row]) -> dict[str, Change]:
    """What B costs against A: the median over the cells, where at least one side knows it."""
    found = [[_cost(row.record) for row in rows if row.record is not None] for rows in sides]
    changes = {}
    for name in _cost(None):
        a, b = (_median([cost[name] for cost in costs]) for costs in found)
        if a is not None or b is not None:
            changes[name] = Change(a=a, b=b, ratio=b / a if a and b is not None else None)
    return changes


def _median(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return float(median(known)) if known else None


def _cost(record: Record | None) -> dict[str, float | None]:
    """The costs of a cell by name; None where it is not known."""
    efficiency = record.efficiency if record else None
    return {
        "train_seconds": record.seconds.get("train") if record else None,
        "train_images_s": efficiency.train_images_s if efficiency else None,
        "infer_images_s": efficiency.infer_images_s if efficiency else None,
        "params": record.params if record else None,
        "flops": efficiency.flops if efficiency else None,
        "peak_memory_mb": record.peak_memory_mb if record else None,
    }


def _notes(one: Standing, other: Standing, rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """What is not in the interval, and where the two sides are not alike."""
    seeds = [len({row.cell.seed for row in scored}) for scored in (rows, others)]
    notes = []
    if min(seeds) == 1 and not (one.loss is None and other.loss is None):
        which = "each side" if max(seeds) == 1 else "the side of A" if seeds[0] == 1 else "the side of B"
        notes.append(f"one seed on {which}: the interval excludes seed noise")
    if one.selected != other.selected and None not in (one.loss, other.loss):
        tuned, fresh = ("A", "B") if one.selected else ("B", "A")
        notes.append(f"{tuned} is the tuned run itself, chosen for being the best; {fresh} was trained again")
    for name, standing in (("A", one), ("B", other)):
        if standing.done < standing.of:
            notes.append(f"{name} has {standing.done} of {standing.of} cells")
    if _data(rows) != _data(others):
        notes.append("the test images are the same, but not what was trained and validated on")
    devices = [{row.record.environment.get("device", "") for row in scored if row.record} for scored in (rows, others)]
    if devices[0] != devices[1]:
        notes.append(f"costs are of other machines: {' and '.join(devices[0])} in A, {' and '.join(devices[1])} in B")
    return notes


def _protocol(pairs: Sequence[tuple[str, Standing, Standing]]) -> list[str]:
    """How networks were trained differently, one line per ingredient; what a cell is and its data stand elsewhere."""
    found: dict[str, list[str]] = {}
    trained = 0
    for name, one, other in pairs:
        a, b = (next((row.record for row in side.rows if row.record), None) for side in (one, other))
        if a is None or b is None:
            continue
        trained += (a.cell.loss, b.cell.loss) != (None, None)
        for path, old, new in plan.differences(_how(a), _how(b)):
            found.setdefault(f"{path}: {_told(old)} in A, {_told(new)} in B", []).append(name)
    return [f"{line}{_where(names, trained)}" for line, names in found.items()]


def _how(record: Record) -> Mapping[str, object]:
    return {name: value for name, value in record.ingredients.items() if name not in ("cell", "data")}


def _told(value: object) -> str:
    return "nothing" if value is None else json.dumps(value) if isinstance(value, list | tuple) else str(value)


def _data(rows: Sequence[Row]) -> set[tuple[int, object]]:
    return {(row.cell.fold, row.record.ingredients.get("data")) for row in rows if row.record}


def _card_classes(rows: Sequence[Row]) -> tuple[ClassSpec, ...]:
    return next((row.record.data.classes for row in rows if row.record and row.record.data), ())


def _defined(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
