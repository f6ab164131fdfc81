"""The page of an audit: what it says, what it draws, and what it leaves out."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import auditpage
from bench.findings import Finding, Kind
from bench.prepare import Prepared
from bench.specs import Split
from tests import audited
from tests.audited import EVIL, SMEAR, audit, everything, near, of

Opened = tuple[Prepared, dict[str, Split]]


@pytest.fixture(scope="module")
def opened(data_home: Path) -> Opened:
    return audited.opened(data_home)


@pytest.fixture(scope="module")
def page(opened: Opened) -> auditpage.Page:
    return auditpage.page(audit(everything(opened[1])), *opened)


@pytest.fixture(scope="module")
def text(page: auditpage.Page) -> str:
    return auditpage.html(page)


def shown(text: str) -> str:
    """The text of a page without its tags and styles."""
    body = re.sub(r"(?s)<style>.*?</style>", "", text)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def section(page: auditpage.Page, kind: Kind) -> auditpage.Section:
    [found] = [one for one in page.sections if one.tally.kind is kind]
    return found


def test_the_first_screen_says_the_verdict_the_splits_and_every_kind_leaks_first(page: auditpage.Page, text: str):
    says = shown(text)

    assert "Leak. 2 of 4 test images have copies or files of the same photograph in the training and validation" in says
    assert "15: 8 training, 3 validation, 4 test" in says
    assert "11, of them 3 across splits" in says
    assert [Kind.NEAR, Kind.CROP, Kind.SOURCE, Kind.EXACT] == [one.tally.kind for one in page.sections][:4]
    links = re.findall(r'<th scope="row"><a href="#([\w-]+)">', text)
    assert [one.anchor for one in page.sections] == links
    assert all(f'<h2 id="{anchor}">' in text for anchor in links)


def test_names_are_shown_and_never_obeyed(text: str):
    assert EVIL not in text
    assert "<script" not in text
    assert EVIL in shown(text)
    assert re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text) == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    assert [] == re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_every_kind_that_concerns_pixels_has_its_pictures(page: auditpage.Page):
    counts = {one.tally.kind: [len(block.card.pictures) for block in one.blocks] for one in page.sections}

    assert {
        Kind.NEAR: [5],
        Kind.EXACT: [4],
        Kind.CROP: [4],
        Kind.SOURCE: [0],
        Kind.SHIFTED: [3],
        Kind.PALETTE: [2],  # the pictures are generated: there is no mask file, so the mask as it was read
        Kind.GREYS: [2],
        Kind.BINARY: [2],
        Kind.EMPTY: [3],
        Kind.ABSENT: [0],
        Kind.UNFINISHED: [0],
    } == counts
    assert 3 == len(section(page, Kind.SOURCE).blocks[0].crowd)


def test_a_leak_is_told_in_words_beside_its_colour(opened: Opened, text: str):
    test = of(opened[1], "test")[0]

    assert f"Leak: training and test {EVIL} training {test} test" in shown(text)
    assert "Leak: training, validation and test 3 images" in shown(text)
    assert "turned left by 90°" in shown(text)


def test_many_copies_of_one_photograph_are_one_block_with_all_their_pictures(opened: Opened):
    prepared, split = opened
    names = sorted(split)
    couples = [(a, b) for a in names for b in names if a < b]
    pairs = [near(a, b, 0.9 + at / 1000 - (split[a] == split[b]) / 2) for at, (a, b) in enumerate(couples)]
    lonely = near("gone", "too")
    found = section(auditpage.page(audit([lonely, *pairs]), prepared, split), Kind.NEAR)

    assert (2, 2) == (found.of, len(found.blocks))
    assert (15, 105, ("train", "val", "test")) == (found.blocks[0].size, found.blocks[0].pairs, found.blocks[0].leak)
    assert set(names) == {member.id for member, _ in found.blocks[0].crowd}
    crossing = [one for one in pairs if len({split[image] for image in one.images}) > 1]
    assert crossing[0].images == tuple(member.id for member in found.blocks[0].card.members)


def test_a_finding_on_many_masks_shows_the_first_and_names_the_others(opened: Opened):
    prepared, split = opened
    names = tuple(sorted(split))
    one = Finding(kind=Kind.SHIFTED, images=names, note="All by 4.", measures={"right": 4.0, "down": 4.0})
    made = auditpage.page(audit([one]), prepared, split)
    [block] = section(made, Kind.SHIFTED).blocks

    assert (15, 14, 0, 3) == (block.size, len(block.others), len(block.crowd), len(block.card.pictures))
    assert names[:1] == tuple(member.id for member in block.card.members)
    assert f"15 images 14 further images {names[1]}" in shown(auditpage.html(made))


def test_what_there_is_no_room_for_is_listed_and_the_page_stays_small(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    prepared, split = opened
    train = of(split, "train")
    findings = [
        Finding(kind=kind, images=(train[at % len(train)],), note=f"Number {at}.")
        for kind in (Kind.EMPTY, Kind.SHIFTED)
        for at in range(1000)
    ]
    monkeypatch.setattr(auditpage, "BYTES", 200_000)
    made = auditpage.page(audit(findings), prepared, split)
    pictured = sum(len(one.uri) for part in made.sections for block in part.blocks for one in block.card.pictures)

    for part in made.sections:
        assert 2 <= len(part.blocks) <= auditpage.BLOCKS
        assert 1000 == len(part.blocks) + len(part.listed) + part.beyond
        assert auditpage.LISTED == len(part.listed)
    assert pictured < 1.5 * 200_000
    command = f"bench data audit '{SMEAR}' --format json"
    assert f"more, which {command} prints" in shown(auditpage.html(made))
    assert f"{command} prints the same findings" in shown(auditpage.html(made))


def test_copies_that_leak_are_pictured_before_copies_that_do_not(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    prepared, split = opened
    train, test = of(split, "train"), of(split, "test")
    monkeypatch.setattr(auditpage, "BLOCKS", 1)
    within = [near(train[0], train[1]), near(train[1], train[2])]
    made = auditpage.page(audit([*within, near(train[3], test[0])]), prepared, split)
    part = section(made, Kind.NEAR)

    assert (("train", "test"), ()) == (part.blocks[0].leak, part.listed[0].leak)


def test_an_absent_class_is_told_with_the_pixels_of_all_classes(opened: Opened):
    prepared, split = opened
    one = Finding(kind=Kind.ABSENT, images=(), note="No such class.")
    made = auditpage.page(audit([one]), prepared, split)
    shares = section(made, Kind.ABSENT).shares
    expected: Mapping[str, int] = {
        part: sum(entry.pixels[3] for entry in prepared.index.entries if split[entry.sample.id] == part)
        for part in ("train", "val", "test")
    }

    assert (prepared.classes[3], tuple(expected.values())) == (shares[3].name, shares[3].pixels)
    assert any(0 in share.pixels for share in shares) == (
        "absent" in shown(auditpage.html(made)).split("pixels, images")[-1]
    )


def test_data_whose_pixels_are_gone_still_get_a_page_that_says_so(opened: Opened):
    prepared, split = opened
    gone = Prepared(prepared.folder, replace(prepared.index, native=False, stamp="another", source="/nowhere"))
    made = auditpage.page(audit(everything(split)), gone, split)

    assert "are gone or changed" in made.missing
    assert made.missing in shown(auditpage.html(made))
    assert {0} == {len(block.card.pictures) for part in made.sections for block in part.blocks}


def test_a_clean_data_set_says_what_was_searched(opened: Opened):
    says = shown(auditpage.html(auditpage.page(audit([]), *opened)))

    assert "No leak found: none of the 4 test and 3 validation images has a copy in another split." in says
    assert "Searched: copies (1.2 s), crops (1 min 0 s)." in says
    assert "Nothing was found of: exact copy, near copy, crop" in says


def test_the_same_audit_gives_the_same_file(opened: Opened, page: auditpage.Page, text: str, tmp_path: Path):
    path = auditpage.publish(audit(everything(opened[1])), *opened, tmp_path / "deep" / "audit.html")

    assert text == path.read_text(encoding="utf-8")
    assert [path] == list(path.parent.iterdir())


def test_numbers_of_numpy_and_odd_ones_can_be_shown(opened: Opened):
    train = of(opened[1], "train")
    measures = {"a": np.float32(0.25), "b": float("nan"), "c": float("inf"), "d": -1234567.0}
    one = Finding(kind=Kind.EMPTY, images=(train[0],), note="", measures=measures)
    says = shown(auditpage.html(auditpage.page(audit([one]), *opened)))

    assert "a 0.2500 b nan c inf d -1,234,567" in says


def test_a_finding_that_names_some_of_many_masks_says_how_many_there_are(opened: Opened):
    prepared, split = opened
    names = of(split, "train")[:3]
    one = Finding(kind=Kind.GREYS, images=tuple(names), note="Many.", measures={"masks": 120, "of": 400})
    says = shown(auditpage.html(auditpage.page(audit([one]), prepared, split)))

    assert f"120 images 119 further images {names[1]} training {names[2]} training And 117 more." in says
