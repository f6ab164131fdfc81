"""Shared by released copies: which photograph a file stems from, and whether an official split keeps it together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bench.specs import Sample, Split

SPLITS: dict[str, Split] = {"train": "train", "valid": "val", "val": "val", "test": "test"}
"""Names of folders that are official splits."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_OPERATIONS = (
    "mirrored",
    "[hv]?flipped",
    rf"rotated_{_NUMBER}",
    r"shrinked_\d+_\d+",  # the point of the factor is written as an underscore
    rf"deformed(?:_alpha)?_{_NUMBER}(?:_sigmoid)?_{_NUMBER}",
    rf"distorted_{_NUMBER}_rsigma{_NUMBER}_sigma{_NUMBER}",
    rf"(?:barr|pinc)distorted_\d+_{_NUMBER}_{_NUMBER}",
)
_COPY = re.compile(rf"(?:(?:{'|'.join(_OPERATIONS)})_)+(?=.)")


def source_of(stem: str) -> str:
    """The stem without the names of augmentations before it: `rotated_90_10005` and `10005` are one photograph."""
    match = _COPY.match(stem)
    return stem[match.end() :] if match else stem


def keep_honest(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with their official split if no source stands in two of them, else all of them without a split."""
    split: dict[str, Split | None] = {}
    if all(split.setdefault(sample.source, sample.split) == sample.split for sample in samples):
        return list(samples)
    return [replace(sample, split=None) for sample in samples]
