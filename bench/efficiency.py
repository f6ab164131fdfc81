"""What networks cost, and what of a study repeats: records to rows and sentences for the page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from bench.records import Efficiency, Execution, Record
from bench.specs import Study
from bench.standings import Board, Standing

MEDIANS = ("train_images_s", "infer_images_s", "seconds_to_best", "gpu_seconds_to_best")


class Price(NamedTuple):
    """What one network costs: the median over its cells, None where nothing was measured.

    Attributes:
        flops: Floating point operations of a forward pass of one image at training size.
        train_images_s: Training throughput; `infer_images_s` that of inference [images/s].
        seconds_to_best: Wall time of the training that was scored, up to its best epoch [s]; `gpu_seconds_to_best` is
            the same on a GPU.
        seconds: Wall time of all its cells, tuning included [s].
        memory: The largest of its cells [MiB].
        energy_j: What a cell took on the GPU [J].
        ways: How it was run, as `bf16, channels_last, eager`; several where cells differ.
        timed: The throughput of every way that was timed before [images/s].
        refused: The ways that raised when they were timed, with what they said.
        adapted: The micro-batches below the recipe's batch that it was trained with.
    """

    standing: Standing
    flops: int | None
    params: int | None
    train_images_s: float | None
    infer_images_s: float | None
    seconds_to_best: float | None
    gpu_seconds_to_best: float | None
    seconds: float
    memory: float | None
    energy_j: float | None
    ways: tuple[str, ...]
    timed: tuple[tuple[str, float], ...]
    refused: tuple[tuple[str, str], ...]
    adapted: tuple[int, ...]


def prices(board: Board) -> tuple[Price, ...]:
    """The costs of every network of a data set that has been trained, in the order of its leaderboard."""
    result = []
    for standing in board.standings:
        records = [row.record for row in standing.rows if row.record is not None and row.record.execution is not None]
        if not records:
            continue
        costs = [record.efficiency for record in records if record.efficiency is not None]
        ways = [record.execution for record in records if record.execution is not None]
        result.append(
            Price(
                standing=standing,
                flops=next((cost.flops for cost in costs if cost.flops is not None), None),
                params=records[0].params,
                **{name: _median(costs, name) for name in MEDIANS},
                seconds=sum(sum(row.record.seconds.values()) for row in standing.rows if row.record is not None),
                memory=max((r.peak_memory_mb for r in records if r.peak_memory_mb is not None), default=None),
                energy_j=_median(costs, "energy_j"),
                ways=tuple(dict.fromkeys(_told(way) for way in ways)),
                timed=tuple(next((way.speeds for way in ways if way.speeds), {}).items()),
                refused=tuple(next((way.refused for way in ways if way.refused), {}).items()),
                adapted=tuple(sorted({r.execution.micro_batch for r in records if r.execution and r.batch_adapted})),
            )
        )
    return tuple(result)


def repeats(study: Study, records: Sequence[Record]) -> list[str]:
    """What a second run of the study would repeat to the last bit and what it would not, one sentence each."""
    trained = [record for record in records if record.execution is not None]
    if not trained:
        return ["Baselines repeat to the last bit."]
    on_gpu = any(record.efficiency and record.efficiency.gpu_seconds_to_best is not None for record in trained)
    threads = sorted({record.environment.get("threads", "unknown") for record in trained})
    said = [
        "Splits, initial weights, the order of the images, their augmentation and the first rates asked follow from "
        "names and seeds alone; they repeat on every machine."
    ]
    if study.budget.seconds is not None:
        said.append("Trainings end by the clock (budget.seconds), so nothing that was trained repeats exactly.")
    elif on_gpu and not study.recipe.deterministic:
        said.append(
            "On a GPU, sums in no fixed order make weights differ from run to run, and so the rates asked later and "
            "every score: read differences against the seeds' spread, or run with --deterministic."
        )
    else:
        where = "with the same versions on the same GPU" if on_gpu else "with the same versions on a like processor"
        said.append(
            f"Weights, rates and counts repeat to the last bit {where} and with {' or '.join(threads)} threads."
        )
    timed = sum(bool(record.execution and record.execution.speeds) for record in trained)
    if timed:
        said.append(
            f"Precision and memory layout of {timed} cells were chosen by timing; a run into another folder may choose "
            "others, and differ in the last digits."
        )
    if any(record.batch_adapted for record in trained):
        said.append("Where memory ran out, gradients were summed over smaller batches; a larger machine differs.")
    if operations := sorted({name for record in trained for name in record.nondeterministic}):
        said.append(f"Deterministic mode has no version of {', '.join(operations)}: these do not repeat.")
    return [*said, "Times, throughput, memory and energy never repeat."]


def _told(way: Execution) -> str:
    return f"{way.precision}, {way.layout.replace('_', ' ')}, {way.mode}"


def _median(costs: Sequence[Efficiency], name: str) -> float | None:
    found = [value for cost in costs if (value := getattr(cost, name)) is not None]
    return median(found) if found else None
