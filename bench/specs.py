"""The frozen types everything else passes around; standard library only.

A type here is a plain value: names and numbers that travel to a worker process, into a JSON file and back.
Objects (networks, arrays, open files) live where they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # numpy and torch are named in signatures only; importing this module loads neither
    import numpy as np
    import torch

IGNORE = 255
"""The mask value of a pixel that is neither trained on nor counted."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What images in [0, 1] are normalised by before any network sees them: ImageNet's, for every network alike."""

Split = Literal["train", "val", "test"]
Fit = Literal["resize", "letterbox", "tile"]
Measures = Literal["boundary", "objects"]
Protocol = Literal["clean", "as-published", "split-first"]
Copies = Literal["seed0", "seed2", "seed4"]
Option = str | int | float | bool
"""What may stand behind a key in `name[key=value]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSpec:
    """One class of a data set: its name in reports and its colour in pictures."""

    name: str
    colour: tuple[int, int, int]  # RGB, 0-255


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image with its mask, named but not loaded.

    Attributes:
        id: Unique within the data set and stable between machines (a stem, not a path).
        image: Where the image is: a file path, or whatever the data set's `load` understands.
        mask: Where the mask is, likewise.
        source: The photograph (slide, patient) this sample stems from; samples of one source never part. Empty when
            unknown: copies of a picture are then found by their looks.
        split: The official split; None when the data set has none.
        label: What kind of picture it is, for stratification; None when there is only one kind.
    """

    id: str
    image: str
    mask: str
    source: str
    split: Split | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a data set on somebody's server.

    Attributes:
        name: What it is called here; a zip.
        how: What `address` is: a URL (direct), `owner/name` of a data set on Kaggle, or the id of a file on Google
            Drive.
        size: None where nobody has published it [bytes].
        sha256: In hexadecimal; None where nobody has published it.
        version: Which version of a data set on Kaggle; None for the newest.
    """

    name: str
    how: Literal["direct", "kaggle", "drive"]
    address: str
    size: int | None = None
    sha256: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One of the ways in which a data set was released; its files belong together.

    Attributes:
        name: What stands behind `--release`.
        title: What it is, and who released it.
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """What a file in `datasets/` defines as `SPEC`.

    Attributes:
        title: The name shown in reports.
        classes: Class 0 is the background; a mask holds indices into this tuple, or IGNORE.
        read: `read(root, **options)` lists the samples; raises DataError on a malformed archive.
        load: `load(sample)` gives (image uint8 (H, W, 3) RGB, mask uint8 (H, W)).
        doubtful: `doubtful(sample)` counts mask pixels that had to be decided, because a JPEG blurred them or no class
            has their colour; None where masks are exact.
        objects: `objects(sample)` lists the annotated objects of a sample, where they are known; JSON-able.
        generated: True when no files are needed: `read` then ignores `root`.
        options: The options of the data set, with their defaults.
        configure: `configure(**options)` gives the specification with these options in effect, for options that
            change the classes or how a sample is loaded; None when options only reach `read`.
        raw: Where the raw files are, when the specification itself says so (an option, or a folder); None when they
            are named by `bench data prepare NAME --from PATH`, or none are needed.
        pixel_size_um: Edge of a pixel in micrometres; None when unknown.
        releases: What `bench data prepare NAME --download` can fetch, the usual one first.
        unreleased: Why there is nothing to fetch, and how to obtain the files; empty where there is.
    """

    title: str
    classes: tuple[ClassSpec, ...]
    read: Callable[..., Sequence[Sample]]
    load: Callable[[Sample], tuple[np.ndarray, np.ndarray]]
    licence: str
    citation: str
    homepage: str
    doubtful: Callable[[Sample], int] | None = None
    objects: Callable[[Sample], list[dict[str, Any]]] | None = None
    generated: bool = False
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])
    configure: Callable[..., DatasetSpec] | None = None
    raw: Path | None = None
    pixel_size_um: float | None = None
    releases: tuple[Release, ...] = ()
    unreleased: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A file of weights that a network starts from, found on this machine.

    Attributes:
        source: Where it is from, as a reader could find it again: `smp-hub/resnet34.imagenet@7a57b34`, or a path.
        path: Where it is here.
    """

    source: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpec:
    """What a file in `architectures/` defines as `SPEC`.

    Every architecture has the option `channels` (3, or 1 for grey images) beside its own: the engine provides it.

    Attributes:
        citation: The paper it follows.
        build: `build(channels, classes, **options)` gives a module mapping float (N, channels, H, W), normalised by
            MEAN and STD, to logits (N, classes, H, W), for H and W that are multiples of `divisor`. In training mode
            it may give a tuple of logits of that shape, the prediction first: the loss is their mean. It raises
            NameUnknown, before any tensor is computed, where options do not go together.
        licence: Of the code that `build` runs.
        origin: Who wrote that code: a library, or this project.
        divisor: The engine pads inputs to a multiple of this and crops the logits back [pixels].
        options: The options `build` accepts, with their defaults.
        pretrained: `pretrained(**options)` gives the file that the weights are from at the start, downloaded if need
            be; None where they are random. Itself None where they always are.
        unused: Parameters that a loss never moves, by the beginning of their names, each with the reason; they are
            neither trained nor counted.
    """

    title: str
    family: str
    citation: str
    build: Callable[..., torch.nn.Module]
    licence: str = ""
    origin: str = ""
    divisor: int = 32
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])
    pretrained: Callable[..., Pretrained | None] | None = None
    unused: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """One term that a loss expression may use; what a file in `losses/` of a user's own folder defines as `SPEC`.

    Attributes:
        citation: The paper it follows.
        options: With their defaults. A number is given to `compute` as a float; a word must have `choices`. An option
            `weight` is none of these: `compute` is given class weights, float (C,), or nothing where there are none.
        choices: The words that an option may be, its default first.
        limits: The least and the greatest value of a number, where they are not 0 and a million.
        compute: `compute(logits, target, **options)`: float32 (N, C, H, W) with C of at least 2, and int64 (N, H, W)
            with IGNORE where a pixel does not count, to a scalar. None for ours: the function of its name in
            `bench.criteria`.
    """

    title: str
    citation: str
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    compute: Callable[..., torch.Tensor] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How every network of a study is trained; the same for every cell.

    Attributes:
        size: Training size (height, width) [pixels]; test scores are at native size all the same.
        fit: How a native image becomes training images: `resize` stretches it, `letterbox` keeps its shape and pads,
            `tile` keeps its scale and covers it with windows.
        overlap: How far neighbouring windows of `tile` overlap at least [pixels]; 0 for the other fits.
        batch: Images per optimiser step.
        augment: A preset of `bench.presets.PRESETS`.
        optimiser: adamw, adam or sgd (momentum 0.9).
        weight_decay: Shrinking of the weights per step, relative to the rate.
        schedule: What becomes of the rate after the warm-up: cosine (down to 1% of it), constant, step (times `decay`
            every `decay_epochs`), or plateau (times `decay` after `decay_epochs` without a better validation score).
        decay: What step and plateau multiply the rate with, above 0 and below 1.
        decay_epochs: Epochs, for step and plateau.
        decay_times: How often the rate is lowered at most, for step and plateau; None for no limit.
        warmup: Share of all steps in which the rate rises linearly, 0 to 0.5.
        clip: Largest gradient; 0 for no clipping.
        clip_by: What `clip` is of: the norm of the whole gradient, or the value of each of its elements.
        patience: Epochs without a better validation score before training ends; None for never.
        precision: auto (bf16 or fp32, whichever is faster on the device), bf16 or fp32.
        deterministic: True runs in a way that repeats to the last bit on the same machine: nothing is chosen by timing.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic where a file enters

    size: tuple[int, int] = (128, 128)
    fit: Fit = "resize"
    overlap: int = 0
    batch: int = 8
    augment: str = "light"
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "constant", "step", "plateau"] = "cosine"
    decay: float = 0.5
    decay_epochs: int = 5
    decay_times: int | None = None
    warmup: float = 0.1
    clip: float = 1.0
    clip_by: Literal["norm", "value"] = "norm"
    patience: int | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    deterministic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the learning rate is found; the same budget for every cell.

    Attributes:
        lr_range: The lowest and the highest rate, searched on a logarithmic scale.
        trials: How many rates are tried, the first five on an even grid; 1 tries the geometric middle, untuned.
        stop: True stops trials that fall behind; cheaper, but a late bloomer is lost and the peak is told less surely.
        grace: Epochs every trial gets before it can be stopped.
        weight_decay_range: Searched together with the rate, on a logarithmic scale; None keeps the recipe's.
        batches: Batch sizes searched together with the rate; empty keeps the recipe's.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic where a file enters

    lr_range: tuple[float, float] = (1e-4, 1e-1)
    trials: int = 5
    stop: bool = False
    grace: int = 3
    weight_decay_range: tuple[float, float] | None = None
    batches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long one training may last; whichever ends earlier ends it.

    Attributes:
        epochs: Passes over the training images.
        seconds: Wall time; None for no limit [s].
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic where a file enters

    epochs: int = 20
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A whole matrix: what `bench run matrix` runs.

    Attributes:
        name: The folder of the results; by default the name of the file.
        title: The heading of the page.
        datasets: Names of bench list datasets, or paths of folders; `all` stands for every name.
        architectures: Names of bench list architectures, options in brackets; `all` for every name.
        losses: Expressions over bench list losses; `all` for every single loss.
        seeds: Fresh seeds 1..N that retrain the tuned rate; 0 shows the tuned run itself (seed 0) only.
        folds: 1 uses the data set's own split (fold 0); K > 1 cross-validates by source (folds 1..K).
        ratios: Shares of the sources that train, validate and test where a data set has no official split.
        baselines: Names from `bench.baselines.BASELINES` that stand on every leaderboard.
        protocol: What is done to the images of every data set before they are split, a word or several: nothing
            (clean); copies are made and every file is split by lot, as the seeds did (as-published: a leak); the very
            same copies, split by photograph (split-first). A name that asks for copies itself keeps its protocol.
        copies: Which copies: those of seed0 (6 of every image), seed2 (18) or seed4 (20); clean makes none.
        measures: What is computed at evaluation beside the counts: boundary (how far outlines are apart), objects
            (connected components, and counts). No training depends on it.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic where a file enters

    name: str
    title: str = ""
    datasets: tuple[str, ...] = ("smear",)
    architectures: tuple[str, ...] = ("unet",)
    losses: tuple[str, ...] = ("dice+ce",)
    baselines: tuple[str, ...] = ("all_background", "majority_class", "mean_shape", "otsu", "pixel_colour")
    protocol: tuple[Protocol, ...] = ("clean",)
    copies: Copies = "seed0"
    measures: tuple[Measures, ...] = ()
    seeds: int = 0
    folds: int = 1
    ratios: tuple[float, float, float] = (0.7, 0.15, 0.15)
    recipe: Recipe = field(default_factory=Recipe)
    tuning: Tuning = field(default_factory=Tuning)
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """One square of the matrix, by name; hashable, and enough to run it anywhere.

    `loss` is None for a baseline, which has nothing to train.
    """

    dataset: str
    architecture: str
    loss: str | None
    fold: int = 0
    seed: int = 0

    @property
    def key(self) -> str:
        """The name of the cell in logs and on the command line: `lisc/unet/dice+ce/f0-s0`."""
        return f"{self.dataset}/{self.architecture}/{self.loss or '-'}/f{self.fold}-s{self.seed}"


SCHEMA = 1
"""Version of the files below `results/`; another version is refused, never guessed at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things are on this machine; never part of a result."""

    results: Path
    data_home: Path
