"""What is kept of a cell: how it ended, its trials and curve, how it was run and what it cost; plain values on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from bench.specs import SCHEMA, Cell, ClassSpec


class Status(StrEnum):
    """How a cell ended; every ending is a row of the leaderboard."""

    OK = "ok"
    """Trained and scored. Final."""
    DIVERGED = "diverged"
    """Every rate that was tried ended in a loss that is no number, or in a network that sees one class. Final."""
    FAILED = "failed"
    """An error was raised; `--retry-failed` runs it again."""
    OUT_OF_MEMORY = "out_of_memory"
    """The device or the machine ran out of memory; `--retry-failed` runs it again."""
    TIMED_OUT = "timed_out"
    """The cell's time limit passed; `--retry-failed` runs it again."""
    INTERRUPTED = "interrupted"
    """Stopped from outside; the next run takes it up by itself."""


FINAL = frozenset({Status.OK, Status.DIVERGED})


class TrialStatus(StrEnum):
    """How one trial of a learning rate ended."""

    COMPLETE = "complete"
    """Ran its whole budget."""
    STOPPED = "stopped"
    """Stopped early because earlier trials did better at the same epoch; its value is the one it had reached."""
    DIVERGED = "diverged"
    """The loss was not a number, or ran away; counted as the worst value, 0."""
    COLLAPSED = "collapsed"
    """Ran its whole budget, and calls every validation pixel the same class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of a training curve."""

    epoch: int  # 1-based
    loss: float | None  # mean training loss; None when it is not a number
    value: float | None  # mdice_d_fg on validation at training size
    seconds: float  # since the training began


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One learning rate, tried."""

    number: int
    lr: float
    value: float  # best validation mdice_d_fg, in [0, 1]
    status: TrialStatus
    epochs: int
    seconds: float
    weight_decay: float | None = None  # None where it is the recipe's
    batch: int | None = None  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a network is run on a device.

    Attributes:
        precision: What its layers compute in.
        layout: How images lie in memory.
        mode: eager, graphs (CUDA graphs, captured once and replayed) or compiled (torch.compile).
        micro_batch: Images at once; below the batch of the recipe when more do not fit, gradients are then summed up.
        speeds: Images per second of training for every candidate that was timed, by `precision/layout/mode`; empty
            where nothing was timed and the rule decided.
        refused: The candidates that raised when they were timed, likewise, with what they said.
    """

    precision: Literal["fp32", "bf16"]
    layout: Literal["channels_last", "contiguous"] = "channels_last"
    mode: Literal["eager", "graphs", "compiled"] = "eager"
    micro_batch: int
    speeds: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    refused: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    @property
    def name(self) -> str:
        """What it is called among candidates."""
        return f"{self.precision}/{self.layout}/{self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What a network costs; None where it cannot be measured.

    Attributes:
        flops: Floating point operations of a forward pass of one image at training size; a multiply-add counts as two.
        train_images_s: Training throughput, the median over the epochs [images/s].
        infer_images_s: Inference throughput at training size, warm, the median of several passes [images/s].
        seconds_to_best: Wall time of the training up to its best epoch [s].
        gpu_seconds_to_best: The same on a GPU; None on a processor [s].
        energy_j: What the GPU used for the whole cell, by its own meter [J].
    """

    flops: int | None = None
    train_images_s: float | None = None
    infer_images_s: float | None = None
    seconds_to_best: float | None = None
    gpu_seconds_to_best: float | None = None
    energy_j: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """What a record says about the data it was scored on.

    Attributes:
        leaked: Validation and test images that have a copy in another split, by the split they stand in; None where
            the data were not audited.
    """

    title: str
    hash: str
    classes: tuple[ClassSpec, ...]
    train: int
    val: int
    test: int
    sources: int
    licence: str
    citation: str
    leaked: Mapping[str, int] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a cell has no score: the phase it was in, and the message."""

    phase: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that is kept of one cell, beside its counts and weights.

    Attributes:
        fingerprint: Hash of `ingredients`: a stored cell stands as long as it is the same.
        ingredients: All that can change the result, by name; see `bench.plan.ingredients`.
        lr: The rate it was trained with; None for a baseline, or before one was found.
        weight_decay: The tuned one; None where it is the recipe's. `batch` likewise.
        lr_smooth: Top of the smoothed rate curve, which further seeds train with.
        edge: True when the chosen rate is at an end of the range, so that a better one may lie outside.
        trials: Every trial of the tuning, whichever seed this is.
        history: The training curve of the run that was scored.
        best_epoch: The epoch (1-based) whose weights were scored.
        params: Trainable numbers in the network; None for a baseline.
        seconds: Wall time per phase: tune, train, evaluate [s].
        peak_memory_mb: Largest resident memory of the process, or of the device when there is one [MiB].
        environment: Versions, device, threads, precision; not part of the fingerprint.
        execution: How the network was run; None for a baseline.
        batch_adapted: True when the batch did not fit into memory and gradients were summed over smaller ones.
        efficiency: What it cost; None for a baseline.
        nondeterministic: The operations that do not repeat to the last bit, where deterministic mode asked for it.
        counts_hash: sha256 of counts.npz; None when there are no counts.
        measures_hash: sha256 of measures.npz; None when there is none.
        weights_hash: sha256 of weights.safetensors; None when there are none.
    """

    schema: int = SCHEMA
    study: str
    cell: Cell
    fingerprint: str
    ingredients: Mapping[str, object]
    status: Status
    data: DataCard | None = None
    lr: float | None = None
    weight_decay: float | None = None
    batch: int | None = None
    lr_smooth: float | None = None
    edge: bool = False
    trials: tuple[Trial, ...] = ()
    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    params: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    peak_memory_mb: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    execution: Execution | None = None
    batch_adapted: bool = False
    efficiency: Efficiency | None = None
    nondeterministic: tuple[str, ...] = ()
    finished: str = ""  # ISO 8601, UTC
    counts_hash: str | None = None
    measures_hash: str | None = None
    weights_hash: str | None = None
    error: Failure | None = None
