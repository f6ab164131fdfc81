"""Splits by source: nothing leaks, nothing depends on order, and official splits stand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.specs import Sample, Split
from bench.split import assign, strata

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

    assert {"train": 700, "val": 150, "test": 150} == found


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [((0.8, 0.1, 0.1), (80, 10, 10)), ((0.5, 0.25, 0.25), (50, 25, 25)), ((0.2, 0.3, 0.5), (20, 30, 50))],
)
def test_the_ratios_are_an_option(ratios: tuple[float, float, float], expected: tuple[int, int, int]) -> None:
    found = Counter(assign(samples(100), ratios=ratios).values())

    assert expected == (found["train"], found["val"], found["test"])


def test_the_ratios_do_not_touch_an_official_split() -> None:
    given = samples(100, split="train") + samples(30, split="test", prefix="t")

    assert assign(given) == assign(given, ratios=(0.2, 0.4, 0.4))


def test_without_labels_every_class_gets_its_share_the_rarest_first() -> None:
    given = samples(200)
    present = {one.id: [1] + [2] * (at % 2 == 0) + [3] * (at % 10 == 0) for at, one in enumerate(given)}
    for fold, folds in ((0, 1), (1, 5), (4, 5)):
        assigned = assign(given, fold, folds, present=present)
        tested = Counter(label for one in given if assigned[one.id] == "test" for label in present[one.id])
        share = 0.15 if fold == 0 else 0.2

        assert [share * count for count in (200, 100, 20)] == pytest.approx([tested[at] for at in (1, 2, 3)], abs=1)


def test_a_source_is_of_the_kind_of_its_rarest_class_and_labels_go_before_classes() -> None:
    given = samples(3, copies=2)
    present = {"s0-0": [1], "s0-1": [2], "s1-0": [1], "s1-1": [1], "s2-0": [], "s2-1": []}

    assert {"s0": "002", "s1": "001", "s2": "000"} == strata(given, present)
    assert {"s0": "", "s1": "x", "s2": ""} == strata(
        [replace(one, label="x" if one.source == "s1" else None) for one in given], present
    )


@pytest.mark.parametrize("labels", [2, 5, 10, 25])
def test_every_label_gets_its_share(labels: int) -> None:
    given = samples(200, labels=labels)
    assigned = assign(given)
    tested = Counter(sample.label for sample in given if assigned[sample.id] == "test")

    assert 30 == sum(tested.values())
    assert all(abs(tested[f"label{number}"] - 30 / labels) <= 1 for number in range(labels))


def test_labels_with_few_sources_each_still_give_their_share_together() -> None:
    assert {"test": 4, "val": 5, "train": 21} == sizes(samples(30, labels=10))


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
