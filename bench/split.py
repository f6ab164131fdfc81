"""Which images train, validate and test: by source, never by file, and the same on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from bench.errors import DataError
from bench.specs import Sample, Split

SPLIT_VERSION = 2
"""Raised whenever the same samples would be split in another way; part of every fingerprint."""
VALIDATION = 0.15  # of the training sources, where a data set says what is tested but not what validates
RATIOS = (0.7, 0.15, 0.15)


def assign(
    samples: Sequence[Sample],
    fold: int = 0,
    folds: int = 1,
    ratios: tuple[float, float, float] = RATIOS,
    present: Mapping[str, Collection[int]] | None = None,
) -> dict[str, Split]:
    """The split of every sample.

    Fold 0 keeps the official split; what is missing is drawn from the training sources (all sources, where there is no
    split at all): first the test split, then the validation split. Folds 1..K ignore the official split and take every
    source into the test split once. The draw orders the sources of each stratum by a hash of their
    name, so it depends on nothing but names, strata and fold.

    Args:
        samples: Samples of one data set; those of one source stay together.
        fold: 0, or 1 to `folds`.
        folds: K of the cross-validation; unused by fold 0.
        ratios: Shares of the sources that train, validate and test, where there is no official test split.
        present: Foreground classes in the mask of each sample, by id; see `strata`.
    Returns:
        Sample id to split.
    Raises:
        DataError: If a source stands in two official splits, or a split would be empty.
    """
    official = _official(samples) if fold == 0 else {}
    labels = strata(samples, present or {})
    split: dict[str, Split] = dict.fromkeys(labels, "train")
    split |= official
    validation = VALIDATION
    if fold > 0:
        split |= dict.fromkeys(_folded(labels, fold, folds), "test")
    elif "test" not in official.values():
        split |= dict.fromkeys(_drawn(_training(labels, split), ratios[2], "test"), "test")
        validation = ratios[1] / (ratios[0] + ratios[1])
    if "val" not in official.values():
        split |= dict.fromkeys(_drawn(_training(labels, split), validation, f"val{fold}"), "val")
    for name in ("train", "val", "test"):
        if name not in split.values():
            raise DataError(
                f"The {name} split of fold {fold} would be empty: there are {len(labels)} sources. "
                f"At least {max(3, folds)} are needed, and one in the training split to spare for validation."
            )
    return {sample.id: split[sample.source] for sample in samples}


def strata(samples: Sequence[Sample], present: Mapping[str, Collection[int]]) -> dict[str, str]:
    """What kind each source is of: each kind gets its share of every split.

    That is the label of its samples. Where no sample has one, it is the class in its masks that the fewest sources
    hold, so that rare classes are spread first.

    Args:
        samples: Samples of one data set.
        present: Foreground classes in the mask of each sample, by id.
    Returns:
        Source to kind, in the order of the ids.
    """
    ordered = sorted(samples, key=lambda one: one.id)
    if any(sample.label is not None for sample in samples) or not present:
        return {sample.source: sample.label or "" for sample in ordered}
    held: dict[str, set[int]] = {}
    for sample in ordered:
        held.setdefault(sample.source, set()).update(present[sample.id])
    spread = Counter(label for classes in held.values() for label in classes)
    rarest = {source: min(classes, key=lambda one: (spread[one], one), default=0) for source, classes in held.items()}
    return {source: f"{label:03d}" for source, label in rarest.items()}


def _official(samples: Sequence[Sample]) -> dict[str, Split]:
    split: dict[str, Split] = {}
    for sample in samples:
        if sample.split is None:
            continue
        if split.setdefault(sample.source, sample.split) != sample.split:
            raise DataError(
                f"The source {sample.source!r} stands in two splits, {split[sample.source]} and {sample.split}. "
                "All copies of one photograph must be in one split."
            )
    return split


def _training(labels: dict[str, str], split: dict[str, Split]) -> dict[str, str]:
    return {source: label for source, label in labels.items() if split[source] == "train"}


def _drawn(labels: dict[str, str], share: float, salt: str) -> list[str]:
    """About `share` of all sources and of those of every label; at least one in all."""
    drawn: list[str] = []
    seen = 0
    for group in _ordered(labels, salt):
        seen += len(group)
        drawn += group[: max(0, round(share * seen) - len(drawn))]
    return drawn or [group[0] for group in _ordered(labels, salt)][: 1 if len(labels) > 1 else 0]


def _folded(labels: dict[str, str], fold: int, folds: int) -> list[str]:
    """Every K-th source, counted through the labels, so that folds are of equal size and alike."""
    ordered = [source for group in _ordered(labels, "fold") for source in group]
    return ordered[fold - 1 :: folds]


def _ordered(labels: dict[str, str], salt: str) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for source in sorted(labels, key=lambda source: hashlib.sha256(f"{salt}:{source}".encode()).digest()):
        groups.setdefault(labels[source], []).append(source)
    return [groups[label] for label in sorted(groups)]
