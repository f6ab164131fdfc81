"""What an audit comes to, in words."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench import cli_rows, verdict
from bench.findings import Finding, Kind
from bench.specs import Split
from tests.audited import EVIL, audit, near

SPLIT: dict[str, Split] = {
    **dict.fromkeys(("a", "b", "c"), "train"),
    **dict.fromkeys(("v", "w"), "val"),
    **dict.fromkeys(("x", "y", "z", "u"), "test"),
}


def crop(inner: str, outer: str) -> Finding:
    return Finding(kind=Kind.CROP, images=(inner, outer), note="Within.", box=(0, 0, 1, 1))


@pytest.mark.parametrize(
    ("findings", "bad", "main"),
    [
        (
            [near("a", "x"), near("b", "x"), near("c", "y")],
            True,
            ["2 of 4 test images have copies in the training split: scores on them measure memory as well."],
        ),
        (
            [crop("x", "a")],
            True,
            ["1 of 4 test images has overlapping images in the training split: scores on them measure memory as well."],
        ),
        (
            [crop("x", "a"), near("v", "y")],
            True,
            [
                "2 of 4 test images have copies or overlapping images in the training and validation splits: scores on "
                "them measure memory as well.",
                "1 of 2 validation images has copies in the test split: the splits are not independent of each other.",
            ],
        ),
        (
            [near("a", "w")],
            True,
            [
                "1 of 2 validation images has copies in the training split: learning rates and epochs are chosen on "
                "what was trained on."
            ],
        ),
        (
            [near("a", "b"), near("x", "y")],
            False,
            ["No leak found: none of the 4 test and 2 validation images has a copy in another split."],
        ),
        (
            [Finding(kind=Kind.SOURCE, images=("a", "b", "x"), note="One stem."), near("c", "x")],
            True,
            [
                "1 of 4 test images has copies or files of the same photograph in the training split: scores on them "
                "measure memory as well."
            ],
        ),
    ],
    ids=["copies", "crop", "both", "validation", "within", "stems"],
)
def test_the_verdict_counts_the_images_that_leak(findings: list[Finding], bad: bool, main: list[str]):
    found = verdict.verdict(audit(findings), SPLIT)

    assert (bad, main) == (found.bad, list(found.main))


def test_the_verdict_says_what_was_searched_what_was_cut_short_and_what_could_not_be_read():
    cut = Finding(kind=Kind.UNFINISHED, images=(), note="Crops: 3 of 9 images.")

    assert (
        "1 pair of copies or crops lies within one split: no leak, but fewer scenes.",
        "Searched: copies (1.2 s), crops (1 min 0 s).",
        "Crops: 3 of 9 images.",
        "2 mask files could not be looked at: gone, or no picture.",
    ) == verdict.verdict(audit([near("a", "b"), cut], unread=2), SPLIT).rests


def test_kinds_with_leaks_come_first_and_their_leaks_before_the_rest():
    empty = Finding(kind=Kind.EMPTY, images=("a",), note="2 pixels.")
    inside, exact = near("a", "b"), Finding(kind=Kind.EXACT, images=("a", "c"), note="Equal.")
    found = verdict.tallies(audit([empty, exact, inside, near("a", "x"), crop("v", "x")]), SPLIT)

    assert [(Kind.NEAR, 2, 1), (Kind.CROP, 1, 1), (Kind.EXACT, 1, 0), (Kind.EMPTY, 1, 0)] == [
        (one.kind, len(one.findings), one.across) for one in found
    ]
    assert [near("a", "x"), inside] == list(found[0].findings)


def test_a_terminal_gets_a_row_per_kind_however_many_findings_and_shows_names_as_they_are():
    many = [near("a" * 60, EVIL, 0.9 + at / 10_000) for at in range(500)]
    split = SPLIT | {"a" * 60: "train", EVIL: "test"}
    rows = verdict.rows(audit([*many, Finding(kind=Kind.EMPTY, images=("a",), note="2 pixels.")]), split)
    console = Console(file=io.StringIO(), width=200)
    console.print(cli_rows.table(rows, "Audit"))
    text = " ".join(console.file.getvalue().split())

    assert [("near copy", 500, 500), ("nearly empty mask", 1, None)] == [
        (row["found"], row["count"], row["across splits"]) for row in rows
    ]
    assert f"{'a' * 13}…{'a' * 12} (train)" in rows[0]["for example"]
    assert "[red]" in text
    assert len(console.file.getvalue().splitlines()) < 20


def test_every_kind_has_a_meaning_and_an_advice():
    assert list(Kind) == list(verdict.MEANINGS)
    assert all(one.means.endswith(".") and one.advice.endswith(".") for one in verdict.MEANINGS.values())


def test_the_example_of_a_pair_is_of_two_splits_and_that_of_many_masks_names_one_and_counts_the_others():
    source = Finding(kind=Kind.SOURCE, images=("a", "b", "x"), note="One photograph.")
    masks = Finding(kind=Kind.SHIFTED, images=("a", "b"), note="All by 4.", measures={"masks": 1200.0})
    alone = Finding(kind=Kind.EMPTY, images=("y",), note="Empty.", measures={"masks": 1.0})
    examples = {str(row["found"]): row["for example"] for row in verdict.rows(audit([source, masks, alone]), SPLIT)}

    assert {
        "shared source": "a (train) ~ x (test)",
        "mask off its image": "a (train) and 1,199 more",
        "nearly empty mask": "y (test)",
    } == examples


def test_a_search_that_was_cut_short_names_the_option_that_gives_it_more_time():
    assert "For crops, run the audit again with more time: --crops SECONDS" in verdict.MEANINGS[Kind.UNFINISHED].advice
