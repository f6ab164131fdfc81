"""What stands in leaderboard.json and statistics.json, and the schemas of these, of audit.json and of manifest.json."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from bench import study
from bench.auditfile import AuditFile, LeakEntry
from bench.findings import Finding
from bench.manifest import CellEntry, CodeEntry, DataEntry, FileEntry, Manifest

Interval = tuple[float, float]
Numbers = dict[str, float | None]
Intervals = dict[str, Interval | None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of a study: an object of leaderboard.json, which is a list of them.

    Attributes:
        schema: Version of the format.
        dataset: The data set; with the folder's name behind @ where folders have other data under one name.
        architecture: The network with its options, or a baseline; with the folder's name where several stand apart.
        loss: The loss; null for a baseline.
        seed: 0 for the run that was tuned; further ones for fresh seeds.
        fold: Of the cross-validation; 0 where there is none.
        status: How the cell ended; pending without a record, stale where it was made by another protocol,
            not_reproducible where another folder has other counts under the same fingerprint.
        lr: The learning rate it was trained with; null where there is none.
        leaked: Its test images that have a copy in another split; null where the data were not audited.
        metrics: The numbers of this cell by name; null where undefined, empty without a score.
        profile: The metric profile with its version.
        intervals: 95% intervals of the numbers over the test images; null where they cannot be had.
        rank: Of the row of the leaderboard that the cell is part of, from 1; shared where rows cannot be told apart.
        rank_range: The ranks that the row takes in 95% of the resamples.
        tie_group: Number of the group of rows that cannot be told apart, from 1.
    """

    schema: Literal[1]
    dataset: str
    architecture: str
    loss: str | None
    seed: int
    fold: int
    status: Literal[
        "ok", "diverged", "failed", "out_of_memory", "timed_out", "interrupted", "not_reproducible", "stale", "pending"
    ]
    lr: float | None
    leaked: int | None
    metrics: Numbers
    profile: str
    intervals: Intervals
    rank: int | None
    rank_range: tuple[int, int] | None
    tie_group: int | None


@dataclass(frozen=True, kw_only=True)
class StandingEntry:
    """One row of a leaderboard: all seeds and folds of an architecture with a loss.

    Attributes:
        loss: Null for a baseline.
        rank: From 1, shared where rows cannot be told apart; null without a value, or while cells are missing.
        rank_range: The ranks it takes in 95% of the resamples.
        tie_group: Number of its group of rows that cannot be told apart, from 1.
        leads: The share of the resamples in which it is first.
        seeds: Seeds that have a score.
        values: Each metric over all images of the folds, then the mean over seeds; null where undefined.
        intervals: 95% intervals over images, and over seeds where there are several.
    """

    architecture: str
    loss: str | None
    rank: int | None
    rank_range: tuple[int, int] | None
    tie_group: int | None
    leads: float | None
    seeds: int
    values: Numbers
    intervals: Intervals


@dataclass(frozen=True, kw_only=True)
class DifferenceEntry:
    """The paired difference of two rows, on the same images.

    Attributes:
        difference: The first minus the second, in the primary metric.
        interval: Its 95% interval, for this pair alone.
        p: Two-sided, for this pair alone.
        p_holm: Holm's, over all pairs that were compared.
    """

    first: str
    second: str
    difference: float
    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class ComponentEntry:
    """One source of variance: its variance, and its share of the sum of all."""

    name: str
    variance: float
    share: float


@dataclass(frozen=True, kw_only=True)
class VarianceEntry:
    """Where the variance of the networks' scores of single images comes from.

    Attributes:
        levels: How many architectures, losses, seeds and images the balanced part holds.
        dropped: What was left out to make it balanced.
    """

    components: list[ComponentEntry]
    levels: tuple[int, int, int, int]
    dropped: list[str]


@dataclass(frozen=True, kw_only=True)
class PrecisionEntry:
    """What the leaderboard of a data set can tell.

    Attributes:
        images: Test images.
        seeds: The fewest behind a network.
        coverage: How often an interval from so much holds the truth, as measured [percent]; null where it was not.
        excludes_seeds: Whether a network is a single run, so that its ties and intervals exclude seed noise.
        detectable: The difference that two networks alone would show in 80% of such studies.
        corrected: The same at the strictest level of Holm's correction.
        pairs: How many comparisons the correction counts.
        seeds_needed: Seeds that would separate the two best networks with 80% power.
    """

    images: int
    seeds: int
    coverage: int | None
    excludes_seeds: bool
    detectable: float | None
    corrected: float | None
    pairs: int
    seeds_needed: int | None
    variance: VarianceEntry | None


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """The leaderboard of one data set, best first.

    Attributes:
        precision: Null where no row has an interval.
    """

    dataset: str
    title: str
    standings: list[StandingEntry]
    differences: list[DifferenceEntry]
    precision: PrecisionEntry | None


@dataclass(frozen=True, kw_only=True)
class FriedmanEntry:
    """Friedman's test that all networks are alike; null for fewer than three, or where all tie."""

    statistic: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class AcrossEntry:
    """The networks ranked over the data sets.

    Attributes:
        missing: Whether a network without a score somewhere is left out, or gets the best baseline's.
        methods: Architecture and loss, best mean rank first; all lists below are in this order.
        values: The primary metric, data sets by methods.
        mean_ranks: 1 is best; ties get the mean of their ranks.
        critical_difference: The difference of mean ranks that Nemenyi's test calls real.
        nemenyi_p: Of every two methods.
        wilcoxon_holm_p: Of every two methods, by Wilcoxon's signed ranks with Holm's correction.
        leads: The share of the resamples in which each has the best mean rank; null where the noise is not known.
        mean_rank_ranges: What holds 95% of the mean ranks of the resamples.
        dropped: Networks and data sets left out for a missing score.
        imputed: Data set, architecture and loss that got the best baseline's score.
    """

    missing: Literal["common", "baseline"]
    datasets: list[str]
    methods: list[str]
    values: list[list[float]]
    mean_ranks: list[float]
    friedman: FriedmanEntry
    critical_difference: float
    nemenyi_p: list[list[float]]
    wilcoxon_holm_p: list[list[float]]
    leads: list[float | None]
    mean_rank_ranges: list[Interval | None]
    dropped: list[str]
    imputed: list[tuple[str, str, str | None]]


@dataclass(frozen=True, kw_only=True)
class WorthRow:
    """One network with one loss, or a baseline (loss null), under several protocols.

    Attributes:
        values: By protocol; null without a score. Likewise `intervals`, over photographs.
        difference: The value under `other` minus that under `honest`, on test files of their own.
        interval: Its 95% interval.
    """

    architecture: str
    loss: str | None
    values: dict[str, float | None]
    intervals: dict[str, Interval | None]
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class WorthEntry:
    """What a leak is worth: one data set under several protocols.

    Attributes:
        dataset: Its name without a protocol.
        copies: Whose copies these are.
        honest: The protocol that the other one is compared with.
        sentence: What there is to say, in words.
    """

    dataset: str
    copies: str
    honest: str
    other: str
    metric: str
    sentence: str
    rows: list[WorthRow]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What the leaderboards of a study can tell apart: statistics.json.

    Attributes:
        schema: Version of the format.
        profile: The metric profile with its version.
        primary: The metric that ranks.
        across: Null with fewer than two data sets or networks in common.
        protocols: Empty where no data set stands under several protocols.
    """

    schema: Literal[1]
    profile: str
    primary: str
    datasets: list[DatasetEntry]
    across: AcrossEntry | None
    protocols: list[WorthEntry]


FILES: dict[str, Any] = {"leaderboard": list[Entry], "statistics": Statistics, "audit": AuditFile, "manifest": Manifest}
KINDS = (
    Entry, StandingEntry, DifferenceEntry, ComponentEntry, VarianceEntry, PrecisionEntry, DatasetEntry, FriedmanEntry,
    AcrossEntry, WorthRow, WorthEntry, Statistics, Finding, LeakEntry, AuditFile,
    FileEntry, CellEntry, DataEntry, CodeEntry, Manifest,
)  # fmt: skip


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of one of FILES, as published in docs/; unknown keys are refused."""
    import pydantic

    document = pydantic.TypeAdapter(FILES[name]).json_schema()
    places = document.get("$defs", {}) | {document.get("title", ""): document}
    for kind in KINDS:
        if (place := places.get(kind.__name__)) is not None:
            study.describe(place, kind)
            place["additionalProperties"] = False
            place["required"] = [field.name for field in dataclasses.fields(kind)]
    return document | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cytobench {name}.json",
    }
