"""Confusion matrices to numbers: the ratios a metric is made of and the rules that sum them up; numpy only.

Counts are integers of shape (images, C, C), true class by predicted class, class 0 the background. Undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
Values = NDArray[np.float64]
Aggregate = Literal["dataset", "image", "class", "pair"]
Average = Literal["macro", "micro", "weighted"]
Empty = Literal["skip", "zero", "one"]
Classes = Literal["union", "truth"]
Pooling = Literal["means", "strict", "pool"]
FILL = {"skip": np.nan, "zero": 0.0, "one": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One definition.

    Attributes:
        title: How the column is headed.
        definition: The sentence a reader needs to reproduce the number.
        compute: What the metric is computed from, (..., images, C, C) counts or (..., images, ..) of its measure, to
            values (...), NaN where undefined; leading axes are independent.
        summed: True when only the sum of the counts over the images matters.
        parts: Where it is a mean over images, the numbers (images, K) of each image, NaN where undefined: with them
            resampling is a product of matrices.
        pooling: How these become the metric: the mean over images, then over K (`means`); the same, undefined where one
            of the K is (`strict`); or the mean of all at once (`pool`).
        measure: The measure of `bench.measures` it is computed from; None for the counts.
        better: Which values are better; None where a number describes rather than judges.
        of: The ratio it is made of, a key of RATIOS; empty where it is none of them.
    """

    title: str
    definition: str
    compute: Callable[[NDArray], Values]
    summed: bool = True
    parts: Callable[[NDArray], Values] | None = None
    pooling: Pooling = "means"
    measure: str | None = None
    better: Literal["higher", "lower"] | None = "higher"
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A family of definitions that are published together.

    Attributes:
        name: How it is chosen: a name of `bench list metrics`, or `custom[..]`; that of its file for a user's own.
        library: What defines it, with the version it was compared with; empty for our own.
        source: Where the definition stands.
        users: Who publishes numbers of it.
    """

    title: str
    primary: str
    metrics: dict[str, Metric]
    library: str = ""
    source: str = ""
    users: str = ""
    name: str = ""

    @property
    def id(self) -> str:
        """What files store: `tm_meaniou@torchmetrics-1.9.0`; the name alone for our own definitions."""
        return f"{self.name}@{self.library}" if self.library else self.name


@dataclass(frozen=True, slots=True)
class Margins:
    """Pixels per class, float64 (..., C): right ones, true ones, predicted ones, and all that count."""

    hit: Values
    true: Values
    predicted: Values
    total: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What is computed per class, or from all classes pooled."""

    title: str
    formula: str
    undefined: str
    compute: Callable[[Margins], Values]


def _ubench(of: Margins) -> Values:
    """Right pixels of the mask; where the truth is empty its maximum is 0, so the code takes every pixel for a cell."""
    return np.where(of.true > 0, _one_against_rest(of), divide(of.predicted, of.total))


def _one_against_rest(of: Margins) -> Values:
    return divide(of.total - of.true - of.predicted + 2 * of.hit, of.total)


def _f_score(of: Margins) -> Values:
    precision, recall = divide(of.hit, of.predicted), divide(of.hit, of.true)
    return divide(2 * precision * recall, precision + recall)


RATIOS: dict[str, Ratio] = {
    "iou": Ratio(
        title="IoU",
        formula="hit / (true + predicted - hit)",
        undefined="the class is neither in the truth nor predicted",
        compute=lambda of: divide(of.hit, of.true + of.predicted - of.hit),
    ),
    "dice": Ratio(
        title="Dice",
        formula="2 hit / (true + predicted)",
        undefined="the class is neither in the truth nor predicted",
        compute=lambda of: divide(2 * of.hit, of.true + of.predicted),
    ),
    "fscore": Ratio(
        title="F-score",
        formula="2 precision recall / (precision + recall)",
        undefined="no pixel of the class is right: a class that is missed altogether drops out of the mean",
        compute=_f_score,
    ),
    "recall": Ratio(
        title="recall",
        formula="hit / true",
        undefined="the class is not in the truth",
        compute=lambda of: divide(of.hit, of.true),
    ),
    "precision": Ratio(
        title="precision",
        formula="hit / predicted",
        undefined="the class is not predicted",
        compute=lambda of: divide(of.hit, of.predicted),
    ),
    "specificity": Ratio(
        title="specificity",
        formula="(all - true - predicted + hit) / (all - true)",
        undefined="every pixel is of the class",
        compute=lambda of: divide(of.total - of.true - of.predicted + of.hit, of.total - of.true),
    ),
    "ovr": Ratio(
        title="one-against-rest accuracy",
        formula="(all - true - predicted + 2 hit) / all",
        undefined="there are no pixels",
        compute=_one_against_rest,
    ),
    "ubench": Ratio(
        title="one-against-rest accuracy",
        formula="(all - true - predicted + 2 hit) / all; predicted / all where the truth is empty",
        undefined="there are no pixels",
        compute=_ubench,
    ),
    "smoothed": Ratio(
        title="recall with one pixel added",
        formula="(hit + 1) / (true + 1)",
        undefined="never",
        compute=lambda of: (of.hit + 1) / (of.true + 1),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a ratio becomes one number; called with counts (..., images, C, C), it gives values (...).

    Attributes:
        of: A key of RATIOS.
        aggregate: `dataset` sums the counts of all images first; `image` takes the mean over classes, then over
            images; `class` over images per class, then over classes; `pair` over all images and classes at once.
        background: Whether class 0 is counted.
        empty: What stands where the ratio is undefined: nothing (it is left out of the mean), 0 or 1.
        average: `macro` counts classes alike, `weighted` by their true pixels, `micro` pools the pixels of all.
        classes: `truth` leaves out a class that is only predicted; `union` counts it.
        worst: The share of the images that is kept, the worst of them; at least one.
        merged: All foreground classes as one.
        strict: A class without any value leaves the whole undefined.
    Source: NaN rules as those of the profiles; worst share: Wang et al. 2023, arXiv:2310.19252.
    """

    of: str
    aggregate: Aggregate = "dataset"
    background: bool = True
    empty: Empty = "skip"
    average: Average = "macro"
    classes: Classes = "union"
    worst: float = 1.0
    merged: bool = False
    strict: bool = False

    def __call__(self, counts: Counts) -> Values:
        """The number, NaN where it is undefined; an image of which no pixel counts is left out."""
        counts = binary(counts) if self.merged else counts
        values, true = self.per_class(counts)
        weights = true if self.average == "weighted" else None
        if self.aggregate == "class":
            return mean(lowest(values.swapaxes(-1, -2), self.worst), strict=self.strict)
        if self.aggregate == "pair":
            return mean(values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1]))
        return lowest(mean(values, weights), self.worst)

    def parts(self, counts: Counts) -> Values:
        """The numbers (images, K) of each image, whose mean is the number, where it is a mean over all images."""
        values, true = self.per_class(binary(counts) if self.merged else counts)
        weights = true if self.average == "weighted" else None
        return mean(values, weights)[..., None] if self.aggregate == "image" else values

    @property
    def pooling(self) -> Pooling | None:
        """How its parts become one; None where it is no mean over images, or over the worst of them only."""
        if self.aggregate == "dataset" or self.worst < 1:
            return None
        return "pool" if self.aggregate == "pair" else "strict" if self.strict else "means"

    def per_class(self, counts: Counts) -> tuple[Values, Values]:
        """The ratio and the true pixels, (..., images, classes); one image for `dataset`, one class for `micro`."""
        if self.aggregate == "dataset":
            counts = counts.sum(axis=-3, keepdims=True)
        found = margins(counts)
        parts = (found.hit, found.true, found.predicted, np.broadcast_to(found.total, found.hit.shape))
        if not self.background:
            parts = tuple(part[..., 1:] for part in parts)
        if self.average == "micro":
            parts = tuple(part.sum(axis=-1, keepdims=True) for part in parts)
        pixels = Margins(*parts)
        values = RATIOS[self.of].compute(pixels)
        values = np.where(np.isnan(values), FILL[self.empty], values)
        counted = pixels.true > 0 if self.classes == "truth" else pixels.total > 0
        return np.where(counted, values, np.nan), pixels.true

    @property
    def sentence(self) -> str:
        """The definition in words, made from the rule itself."""
        ratio, steps = RATIOS[self.of], ["All foreground classes as one"] * self.merged
        whole = self.aggregate == "dataset"
        steps += ["pixels summed over all test images"] * whole
        which = {True: "", False: " of the foreground"}[self.background]
        if self.average == "micro":
            over = f"{ratio.title}{which} from the pixels of all classes pooled"
        elif self.merged:
            over = f"{ratio.title} of the {'foreground and of the background' if self.background else 'foreground'}"
        else:
            over = f"{ratio.title} per {'' if self.background else 'foreground '}class"
        steps.append(over + ("" if whole else " in every image"))
        steps += ["only where the class is in the truth"] * (self.classes == "truth" and self.average != "micro")
        if self.empty != "skip":
            steps.append(f"{FILL[self.empty]:.0f} where {ratio.undefined}")
        steps += self._means()
        text = "; ".join(steps)
        return f"{text[0].upper()}{text[1:]}."

    def _means(self) -> list[str]:
        worst = "" if self.worst == 1 else f" the worst {100 * self.worst:g}% of"
        one = self.average == "micro" or (self.merged and not self.background)
        classes = {"macro": "mean over classes", "weighted": "mean over classes, weighted by their true pixels"}
        if self.aggregate == "dataset":
            return [] if one else [classes[self.average]]
        if self.aggregate == "pair":
            return ["mean over all images and classes at once"]
        images = f"mean over{worst} images" if worst else "mean over images"
        if one:
            return [images]
        if self.aggregate == "image":
            return [f"{classes[self.average]}, then {images}"]
        return [f"{images} per class, then over classes" + ", undefined when one of them has no value" * self.strict]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByClasses:
    """One rule for data of two classes and another for more, as some code has it."""

    two: Rule
    more: Rule

    def __call__(self, counts: Counts) -> Values:
        """The number by whichever rule holds."""
        return (self.two if counts.shape[-1] == 2 else self.more)(counts)

    def parts(self, counts: Counts) -> Values:
        """Those of whichever rule holds."""
        return (self.two if counts.shape[-1] == 2 else self.more).parts(counts)

    @property
    def pooling(self) -> Pooling | None:
        """That of both rules, if it is the same."""
        return self.more.pooling if self.more.pooling == self.two.pooling else None

    @property
    def of(self) -> str:
        """The ratio of both."""
        return self.more.of

    @property
    def sentence(self) -> str:
        """Both definitions in words."""
        return f"{self.more.sentence} With two classes: {self.two.sentence}"


def metric(title: str, rule: Rule | ByClasses, note: str = "") -> Metric:
    """A rule as a metric; its definition is what the rule says of itself, and a note behind it."""
    rules = (rule,) if isinstance(rule, Rule) else (rule.two, rule.more)
    summed = all(one.aggregate == "dataset" for one in rules)
    definition = f"{rule.sentence} {note}".rstrip()
    parts = None if rule.pooling is None else rule.parts
    return Metric(
        title=title,
        definition=definition,
        compute=rule,
        summed=summed,
        of=rule.of,
        parts=parts,
        pooling=rule.pooling or "means",
    )


def iou(counts: Counts) -> Values:
    """Intersection over union per class.

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where a class is neither in the truth nor predicted.
    Source: Jaccard 1912; NaN rule as mmseg IoUMetric.
    """
    return RATIOS["iou"].compute(margins(counts))


def dice(counts: Counts) -> Values:
    """Dice overlap per class.

    Args:
        counts: Integers (..., C, C), true by predicted [pixels].
    Returns:
        float64 (..., C) in [0, 1]; NaN where a class is neither in the truth nor predicted.
    Source: Dice 1945, doi:10.2307/1932409.
    """
    return RATIOS["dice"].compute(margins(counts))


def background_share(counts: Counts) -> Values:
    """Pixel accuracy that a predictor of background everywhere would reach on the same images."""
    total = counts.sum(axis=-3)
    return divide(total[..., 0, :].sum(axis=-1), total.sum(axis=(-2, -1)))


def binary(counts: Counts) -> Counts:
    """Merge all foreground classes into one: (..., C, C) to (..., 2, 2)."""
    rows = np.stack([counts[..., 0, :], counts[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def constant(counts: Counts, label: int) -> Counts:
    """The counts of a predictor that calls every pixel the same class, on the same images: (..., C, C)."""
    result = np.zeros(counts.shape, np.int64)
    result[..., label] = counts.sum(axis=-1)
    return result


def margins(counts: Counts) -> Margins:
    """Pixels per class of counts (..., C, C); the total is (..., 1)."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    true, predicted = counts.sum(axis=-1, dtype=np.float64), counts.sum(axis=-2, dtype=np.float64)
    return Margins(hit, true, predicted, true.sum(axis=-1, keepdims=True))


def divide(numerator: NDArray, denominator: NDArray) -> Values:
    """The quotient; NaN where the denominator is 0 or undefined."""
    result = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)


def mean(values: Values, weights: Values | None = None, *, strict: bool = False) -> Values:
    """The mean of what is defined over the last axis; NaN where nothing is, or, if `strict`, where something is not."""
    defined = ~np.isnan(values)
    share = defined if weights is None else np.where(defined, weights, 0.0)
    result = divide((np.where(defined, values, 0.0) * share).sum(axis=-1), share.sum(axis=-1))
    return np.where(defined.all(axis=-1), result, np.nan) if strict else result


def lowest(values: Values, share: float = 1.0) -> Values:
    """The mean over the lowest share of what is defined on the last axis, rounded down, of at least one value."""
    if share == 1:
        return mean(values)
    kept = np.maximum(1, np.floor((~np.isnan(values)).sum(axis=-1, keepdims=True) * share + 1e-9))
    ordered = np.sort(values, axis=-1)  # NaN comes last
    return mean(np.where(np.arange(values.shape[-1]) < kept, ordered, np.nan))


def source(metric: Metric, counts: Counts, measures: Mapping[str, Values]) -> NDArray | None:
    """What a metric is computed from: the counts, or the measure it names; None when that was not stored."""
    return counts if metric.measure is None else measures.get(metric.measure)
