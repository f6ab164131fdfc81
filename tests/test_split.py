"""Splits by source: nothing leaks, nothing depends on order, and official splits stand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.specs import Sample, Split
from bench.split import assign

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def samples(
    count: int, *, copies: int = 1, labels: int = 1, split: Split | None = None, prefix: str = "s"
) -> list[Sample]:
    """Photographs with some copies each, their labels in turn."""
    return [
        Sample(
            id=f"{prefix}{number}-{copy}",
            image="",
            mask="",
            source=f"{prefix}{number}",
            split=split,
            label=f"label{number % labels}" if labels > 1 else None,
        )
        for number in range(count)
        for copy in range(copies)
    ]


def sizes(given: list[Sample], fold: int = 0, folds: int = 1) -> dict[str, int]:
    """How many samples each split has."""
    return dict(Counter(assign(given, fold, folds).values()))


MANY = st.builds(
    lambda sources, labels: [
        Sample(id=f"{at}", image="", mask="", source=source, label=label)
        for at, (source, label) in enumerate(zip(sources, labels, strict=False))
    ],
    st.lists(st.text(max_size=3), min_size=20, max_size=40),
    st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=40, max_size=40),
).filter(lambda found: len({sample.source for sample in found}) >= 5)
FOLDS = st.sampled_from([(0, 1), (1, 3), (2, 3), (3, 3), (5, 5)])


@given(MANY, FOLDS)
def test_samples_of_one_source_never_part(found: list[Sample], fold: tuple[int, int]) -> None:
    assigned = assign(found, *fold)
    together = {(sample.source, assigned[sample.id]) for sample in found}

    assert len({sample.source for sample in found}) == len(together)


@given(MANY, FOLDS, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_the_samples(
    found: list[Sample], fold: tuple[int, int], random
) -> None:
    shuffled = random.sample(found, len(found))

    assert assign(found, *fold) == assign(shuffled, *fold)


@given(MANY, st.integers(2, 5))
def test_folds_test_every_source_exactly_once(found: list[Sample], folds: int) -> None:
    tested: Counter[str] = Counter()
    for fold in range(1, folds + 1):
        assigned = assign(found, fold, folds)
        tested.update({sample.source for sample in found if assigned[sample.id] == "test"})

    assert dict.fromkeys({sample.source for sample in found}, 1) == dict(tested)


@given(MANY)
def test_every_sample_has_a_split_and_no_split_is_empty(found: list[Sample]) -> None:
    assigned = assign(found)

    assert {sample.id for sample in found} == assigned.keys()
    assert set(SPLITS) == set(assigned.values())


def test_official_splits_are_kept() -> None:
    given = [one for split in SPLITS for one in samples(4, split=split, prefix=split)]

    assert {one.id: one.split for one in given} == assign(given)


@pytest.mark.parametrize("count", [20, 100, 149])
def test_a_missing_validation_split_is_15_percent_of_the_training_sources(count: int) -> None:
    given = samples(count, copies=3, split="train") + samples(30, split="test", prefix="t")
    found = sizes(given)

    assert {"train": 3 * (count - round(0.15 * count)), "val": 3 * round(0.15 * count), "test": 30} == found


def test_a_missing_test_split_is_drawn_and_the_official_validation_is_kept() -> None:
    given = samples(40, split="train") + samples(20, split="val", prefix="v")
    assigned = assign(given)

    assert {f"v{at}-0" for at in range(20)} == {name for name, split in assigned.items() if split == "val"}
    assert {"train": 34, "val": 20, "test": 6} == dict(Counter(assigned.values()))


def test_samples_without_a_split_train_where_others_have_one() -> None:
    given = samples(10) + samples(3, split="test", prefix="t") + samples(3, split="val", prefix="v")

    assert {"train": 10, "val": 3, "test": 3} == sizes(given)


def test_without_a_split_it_is_70_15_15() -> None:
    found = sizes(samples(1000))

    assert (150, 128) == (found["test"], found["val"])  # 15% of the 850 that are left validate
    assert 0.70 == pytest.approx(found["train"] / 1000, abs=0.03)


@pytest.mark.parametrize("labels", [2, 5, 10, 25])
def test_every_label_gets_its_share(labels: int) -> None:
    given = samples(200, labels=labels)
    assigned = assign(given)
    tested = Counter(sample.label for sample in given if assigned[sample.id] == "test")

    assert 30 == sum(tested.values())
    assert all(abs(tested[f"label{number}"] - 30 / labels) <= 1 for number in range(labels))


def test_labels_with_few_sources_each_still_give_their_share_together() -> None:
    assert {"test": 4, "val": 4, "train": 22} == sizes(samples(30, labels=10))


def test_folds_are_of_equal_size_and_ignore_the_official_split() -> None:
    given = samples(20, split="train") + samples(5, split="test", prefix="t")

    assert [5] * 5 == [sizes(given, fold, 5)["test"] for fold in range(1, 6)]


def test_the_split_of_a_name_stays_what_it_was() -> None:
    assigned = assign(samples(20))

    assert ["s12-0", "s17-0", "s5-0"] == sorted(name for name, split in assigned.items() if split == "test")


def test_a_new_photograph_moves_few_others() -> None:
    before, after = assign(samples(100)), assign(samples(101))

    assert sum(before[name] != after[name] for name in before) <= 2


@pytest.mark.parametrize(("count", "fold", "folds"), [(0, 0, 1), (1, 0, 1), (2, 0, 1), (2, 1, 2), (4, 5, 5)])
def test_too_few_sources_are_an_error_that_says_how_many_are_needed(count: int, fold: int, folds: int) -> None:
    with pytest.raises(DataError, match=f"there are {count} sources. At least {max(3, folds)} are needed") as caught:
        assign(samples(count, copies=4), fold, folds)

    assert "\n" not in str(caught.value)


def test_a_source_in_two_official_splits_is_an_error_that_names_it() -> None:
    given = samples(5, split="train")
    given += [replace(given[0], id="copy", split="test")]

    with pytest.raises(DataError, match="'s0' stands in two splits, train and test"):
        assign(given)
