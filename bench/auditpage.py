"""One self-contained page of what an audit found, the offending pairs side by side: no network, no script.

Every text that comes from data is escaped by the template; the pictures stand in the page itself.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import __version__, evidence, pictures, report, verdict
from bench.errors import DataError
from bench.evidence import Shot
from bench.findings import BETWEEN, Audit, Finding, Kind, groups, leaks
from bench.prepare import Entry, Prepared
from bench.specs import Split
from bench.store import write_bytes
from bench.verdict import SPLITS, Meaning, Tally, Verdict

FILE = "audit.html"
BYTES = 5_400_000
"""Of all pictures together; a third more as text, so that the page stays below 8 MB."""
BLOCKS = 24
"""Findings of one kind that are shown with pictures, whatever room there is."""
CROWD = 24
"""Pictures of one group of copies."""
LISTED = 300
"""Findings of one kind that are listed without pictures; the JSON has all of them."""
FEW = 3
"""Images that are named of such a finding."""
POSITIONS = {
    "none": "as it is",
    "mirror": "mirrored left to right",
    "flip": "mirrored top to bottom",
    "half_turn": "turned by 180°",
    "transpose": "mirrored along the diagonal",
    "left_turn": "turned left by 90°",
    "right_turn": "turned right by 90°",
    "antitranspose": "mirrored along the other diagonal",
}


class Member(NamedTuple):
    """An image by its id, and its split; None where it is in none."""

    id: str
    split: Split | None


class Picture(NamedTuple):
    """A picture as a data URI."""

    uri: str
    alt: str
    caption: str
    crisp: bool


class Card(NamedTuple):
    """One finding: its images, what was measured, and its pictures, none where they are gone.

    Attributes:
        leak: The splits of a pair that stands in two of them; else empty.
        facts: Names and values.
    """

    members: tuple[Member, ...]
    leak: tuple[Split, ...]
    facts: tuple[tuple[str, str], ...]
    note: str
    pictures: tuple[Picture, ...]


class Block(NamedTuple):
    """Findings that belong together: one alone, or all pairs of a group of copies.

    Attributes:
        size: How many images it is about; a finding on many may name but some of them.
        leak: The splits they stand in, where these are several and it matters; else empty.
        pairs: How many findings it stands for.
        crowd: The first images of a group, with small pictures; none of a pair or a single image.
        others: Further images, which are only named; `beyond` are not even that.
        card: The finding; of a group the pair that is least alike, across splits where there is one. Of a finding on
            many masks its images are the first one alone.
    """

    size: int
    leak: tuple[Split, ...]
    pairs: int
    crowd: tuple[tuple[Member, Picture], ...]
    others: tuple[Member, ...]
    beyond: int
    card: Card


class Line(NamedTuple):
    """Findings that the page has no pictures of; `members` are the first few of their images."""

    members: tuple[Member, ...]
    size: int
    leak: tuple[Split, ...]
    note: str


class Share(NamedTuple):
    """A class: its pixels in each split, and the images it is in; by SPLITS."""

    name: str
    pixels: tuple[int, ...]
    images: tuple[int, ...]


class Section(NamedTuple):
    """All findings of one kind.

    Attributes:
        of: Groups and single findings that there are.
        shares: Where classes are absent, all of them.
        beyond: Lines that are not even listed.
    """

    tally: Tally
    anchor: str
    meaning: Meaning
    of: int
    blocks: tuple[Block, ...]
    listed: tuple[Line, ...]
    beyond: int
    shares: tuple[Share, ...]


class Page(NamedTuple):
    """What the template is filled with.

    Attributes:
        sizes: How many images each split has.
        pairs: How many leaks there are.
        nothing: Kinds of which nothing was found.
        missing: Why there are pictures missing; empty where there are not.
    """

    audit: Audit
    verdict: Verdict
    sizes: Mapping[Split, int]
    pairs: int
    sections: tuple[Section, ...]
    nothing: tuple[Kind, ...]
    missing: str


class _Desk:
    """The pixels that findings are drawn from, and the room that is left for pictures [bytes]."""

    def __init__(self, prepared: Prepared, split: Mapping[str, Split]) -> None:
        """Nothing is read yet."""
        self.split, self.classes = split, prepared.index.classes
        self.entries = {entry.sample.id: entry for entry in prepared.index.entries}
        self.room, self.missing = 0, ""
        try:
            self.read = prepared.reader()
        except DataError as error:
            self.entries, self.missing = {}, str(error)

    def member(self, name: str) -> Member:
        return Member(name, self.split.get(name))

    def known(self, names: Iterable[str]) -> list[Entry]:
        return [self.entries[name] for name in names if name in self.entries]

    def hung(self, shots: Iterable[Shot], of: str) -> tuple[Picture, ...]:
        """Pictures for the page, whose room is taken."""
        made = []
        for shot in shots:
            self.room -= len(shot.data)
            text = f"{of}: {shot.caption}" if shot.caption else of
            made.append(Picture(pictures.uri(shot.data), text, shot.caption, shot.crisp))
        return tuple(made)

    def shots(self, finding: Finding) -> list[Shot]:
        """The pictures of a finding; none where its pixels are gone, which is remembered."""
        try:
            return self._drawn(finding)
        except DataError as error:
            self.missing = str(error)
            return []

    def small(self, name: str) -> Picture | None:
        """A small picture of an image; None where its pixels are gone."""
        try:
            found = [evidence.small(self.read(entry)[0]) for entry in self.known([name])]
        except DataError as error:
            self.missing = str(error)
            return None
        return next(iter(self.hung(found, name)), None)

    def _drawn(self, finding: Finding) -> list[Shot]:
        entries = self.known(finding.images[: 2 if finding.kind in BETWEEN else 1])
        if finding.kind is Kind.SOURCE or not entries:
            return []
        if finding.kind in BETWEEN:
            images = [self.read(entry)[0] for entry in entries]
            if len(images) < 2:
                return []
            if finding.kind is Kind.CROP:
                return evidence.crop(images[0], images[1], finding.box, finding.position)
            return evidence.pair(images[0], images[1], finding.position)
        (image, mask), measures = self.read(entries[0]), finding.measures
        if finding.kind is Kind.EMPTY:
            return evidence.sparse(image, mask, self.classes)
        if finding.kind in (Kind.PALETTE, Kind.GREYS, Kind.BINARY):
            drawn = evidence.raw(Path(entries[0].sample.mask), image, mask)
            return drawn or evidence.misplaced(image, mask, self.classes, None)
        shift = (measures["right"], measures["down"]) if {"right", "down"} <= measures.keys() else None
        return evidence.misplaced(image, mask, self.classes, shift)


def publish(audit: Audit, prepared: Prepared, split: Mapping[str, Split], target: Path) -> Path:
    """Write the page of an audit; return its path.

    Args:
        audit: What was found.
        prepared: The data set it was found in.
        split: Id to split, in one fold.
        target: The file to write.
    Raises:
        StoreError: If it cannot be written.
    """
    write_bytes(target, html(page(audit, prepared, split)).encode())
    return target


def html(content: Page) -> str:
    """The page as text; the same content gives the same text."""
    return (
        report.environment()
        .get_template("audit.html")
        .render(
            page=content,
            splits=SPLITS,
            names=verdict.NAMES,
            searched=verdict.searched(content.audit),
            json=f"bench data audit {shlex.quote(content.audit.dataset)} --format json",
            version=__version__,
        )
    )


def page(audit: Audit, prepared: Prepared, split: Mapping[str, Split]) -> Page:
    """All that the page shows, its pictures drawn; every kind gets an equal share of the room for them."""
    desk, found = _Desk(prepared, split), verdict.tallies(audit, split)
    shares = _shares(prepared, split)
    sections = []
    for tally in found:
        desk.room = max(0, desk.room) + BYTES // len(found)  # what one kind leaves, the next may have
        sections.append(_section(tally, desk, shares))
    return Page(
        audit=audit,
        verdict=verdict.verdict(audit, split),
        sizes={name: sum(one == name for one in split.values()) for name in SPLITS},
        pairs=len(leaks(audit.findings, split)),
        sections=tuple(sections),
        nothing=tuple(kind for kind in Kind if kind not in {one.kind for one in found} | {Kind.UNFINISHED}),
        missing=desk.missing,
    )


def _section(tally: Tally, desk: _Desk, shares: tuple[Share, ...]) -> Section:
    together = tally.kind in (Kind.EXACT, Kind.NEAR)
    gathered = groups(tally.findings) if together else [[one] for one in tally.findings]
    gathered = _crossing_first(gathered, desk.split, apart=tally.apart)
    blocks: list[Block] = []
    while len(blocks) < min(BLOCKS, len(gathered)) and desk.room > 0:
        blocks.append(_block(gathered[len(blocks)], desk, tally.apart))
    rest = gathered[len(blocks) :]
    return Section(
        tally=tally,
        anchor=tally.kind.replace(" ", "-"),
        meaning=verdict.MEANINGS[tally.kind],
        of=len(gathered),
        blocks=tuple(blocks),
        listed=tuple(_line(one, desk, tally.apart) for one in rest[:LISTED]),
        beyond=len(rest[LISTED:]),
        shares=shares if tally.kind is Kind.ABSENT else (),
    )


def _crossing_first(gathered: list[list[Finding]], split: Mapping[str, Split], *, apart: bool) -> list[list[Finding]]:
    """Groups across splits first, larger ones before smaller ones; else in the order they were found."""
    return sorted(gathered, key=lambda group: (not _crossed(_names(group), split, apart), -len(group)))


def _block(group: Sequence[Finding], desk: _Desk, apart: bool) -> Block:
    names = _names(group)
    alone = len(names) <= 2 and group[0].kind is not Kind.SOURCE
    small = [(desk.member(name), desk.small(name)) for name in ([] if alone or not apart else names[:CROWD])]
    crowd = tuple((member, picture) for member, picture in small if picture is not None)
    card = _card(_weakest(group, desk.split), desk, apart)
    shown = {member.id for member, _ in crowd} | ({member.id for member in card.members} if not crowd else set())
    others = [name for name in names if name not in shown]
    size = max(len(names), *(int(one.measures.get(key, 0)) for one in group for key in ("masks", "images")))
    return Block(
        size=size,
        leak=_crossed(names, desk.split, apart),
        pairs=len(group),
        crowd=crowd,
        others=tuple(map(desk.member, others[:LISTED])),
        beyond=len(others[LISTED:]) + size - len(names),
        card=card,
    )


def _card(one: Finding, desk: _Desk, apart: bool) -> Card:
    facts = [(name.replace("_", " "), _number(value)) for name, value in one.measures.items()]
    if one.position != "none":
        facts.append(("the second is", POSITIONS[one.position]))
    shown = one.images[: 2 if apart else 1]
    return Card(
        members=tuple(map(desk.member, shown)),
        leak=_crossed(shown, desk.split, apart),
        facts=tuple(facts),
        note=one.note,
        pictures=desk.hung(desk.shots(one), " and ".join(shown)),
    )


def _weakest(group: Sequence[Finding], split: Mapping[str, Split]) -> Finding:
    """The pair of a group that is least alike: what holds the group together; across splits where there is one."""
    crossing = [one for one in group if len(verdict.splits_of(one, split)) > 1] or group
    return min(crossing, key=lambda one: one.measures.get("correlation", 0.0))


def _line(group: Sequence[Finding], desk: _Desk, apart: bool) -> Line:
    names = _names(group)
    note = group[0].note if len(group) == 1 else f"{len(names)} images, {len(group)} pairs."
    return Line(tuple(map(desk.member, names[:FEW])), len(names), _crossed(names, desk.split, apart), note)


def _names(group: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(name for one in group for name in one.images))


def _crossed(names: Iterable[str], split: Mapping[str, Split], apart: bool) -> tuple[Split, ...]:
    """The splits that images stand in, where these are several and that matters."""
    there = {split[name] for name in names if name in split}
    return tuple(name for name in SPLITS if name in there) if apart and len(there) > 1 else ()


def _shares(prepared: Prepared, split: Mapping[str, Split]) -> tuple[Share, ...]:
    """Pixels and images of every class by split."""
    pixels, images = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for entry in prepared.index.entries:
        for label, count in enumerate(entry.pixels):
            key = label, split.get(entry.sample.id, "")
            pixels[key] += count
            images[key] += count > 0
    return tuple(
        Share(spec.name, tuple(pixels[label, name] for name in SPLITS), tuple(images[label, name] for name in SPLITS))
        for label, spec in enumerate(prepared.index.classes)
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"
