from __future__ import annotations

from bench.findings import Finding, Kind, groups, leaked, leaks
from bench.specs import Split


def pair(one: str, other: str, kind: Kind = Kind.NEAR) -> Finding:
    return Finding(kind=kind, images=(one, other), note="")


def test_groups_are_those_of_a_chain_of_pairs():
    pairs = [pair("a", "b"), pair("c", "d"), pair("b", "c"), pair("x", "y")]

    assert [pairs[:3], pairs[3:]] == groups(pairs)


def test_a_leak_is_what_stands_in_two_splits_whatever_kind_of_copy_it_is():
    split: dict[str, Split] = {"a": "train", "b": "train", "c": "val", "d": "test"}
    within, between, crop = pair("a", "b"), pair("a", "c", Kind.EXACT), pair("d", "b", Kind.CROP)
    off = Finding(kind=Kind.SHIFTED, images=("a", "d"), note="")

    assert [between, crop] == leaks([within, between, crop, off], split)


def test_images_leak_by_way_of_other_copies_and_training_images_are_not_named():
    split: dict[str, Split] = {"a": "train", "b": "test", "c": "test", "d": "test", "e": "val", "f": "val"}
    chain = [pair("a", "b"), pair("b", "c"), pair("e", "f")]

    assert {"val": [], "test": ["b", "c"]} == leaked(chain, split)
    assert {"val": ["e", "f"], "test": ["d"]} == leaked([pair("e", "f"), pair("d", "e", Kind.CROP)], split)


def test_a_defect_of_many_masks_and_an_image_without_a_split_are_no_leak():
    split: dict[str, Split] = {"a": "train", "b": "test"}
    off = Finding(kind=Kind.SHIFTED, images=("a", "b"), note="")

    assert {"val": [], "test": []} == leaked([off, pair("b", "unknown")], split)
    assert [] == leaks([off, pair("b", "unknown")], split)
