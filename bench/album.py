"""The chosen pictures, painted: small ones for the page, each of them once, and large ones for a folder beside it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import gallery, pictures
from bench.gallery import Extremes, Gallery, Made, Suspect
from bench.metrics import Metric
from bench.specs import ClassSpec
from bench.standings import Board, Standing, label
from bench.store import writing

FOLDER = "pictures"
"""Beside the page."""
EDGE = 128
"""Longer edge of a picture on the page [pixels]."""
FILM = 96
"""The same in a strip of epochs [pixels]."""
PAGE = 48
"""Standings whose pictures the page holds, over all data sets; every data set shows one at least."""
BYTES = 2_000_000
"""What the pictures of the page may take; the standings of a data set end where its share is used up."""
FURTHER = 150
"""Standings beyond them whose best, median and worst image are in the folder alone, over all data sets."""
VERSION = "1"
"""Of how pictures are painted; part of the name of every file, so that an old one is not taken for a new one."""
LEFT = 3600
"""Nobody is writing a picture for so long [s]."""
_NAME = re.compile(r"[0-9a-f]{20}\.(?:png|jpg)")
_PART = re.compile(rf"\.{_NAME.pattern}\.\d+\.part")


@dataclass(slots=True)
class Picture:
    """A picture on the page: its data, the name of its class, and how often it is shown."""

    uri: str
    name: str
    times: int = 0


class Tile(NamedTuple):
    """A picture in its place, told in words."""

    picture: Picture
    alt: str


class Panel(NamedTuple):
    """One image with what was made of it.

    Attributes:
        kind: `best`, `median` or `worst` where it is one of them.
        tiles: Image, truth, prediction and error map, as far as they are shown.
        photo, sheet: The files in the folder: the image; truth, prediction and error map side by side; empty where
            nothing links to them.
    """

    kind: str
    id: str
    score: float | None
    tiles: tuple[Tile, ...]
    photo: str
    sheet: str


class Line(NamedTuple):
    """What is shown of one standing."""

    standing: Standing
    panels: tuple[Panel | None, ...]


class Doubt(NamedTuple):
    """An annotation suspect: the image with the region, the truth, and what the networks agree on."""

    panel: Panel
    share: float
    instead: tuple[str, ...]


class Strip(NamedTuple):
    """One image after one epoch after another, of one training; `best` is the place of the best one."""

    standing: Standing
    id: str
    image: Tile
    truth: Tile
    frames: tuple[tuple[int, Tile], ...]
    best_epoch: int


class Chapter(NamedTuple):
    """The pictures of one data set, as the page shows them; `left_out` standings are not shown."""

    gallery: Gallery
    left_out: int
    across: tuple[Panel, ...]
    lines: tuple[Line, ...]
    extremes: tuple[Line, ...]
    further: tuple[Line, ...]
    hard: tuple[tuple[Panel, Standing], ...]
    suspects: tuple[Doubt, ...]
    strips: tuple[Strip, ...]


@dataclass(slots=True)
class Album:
    """All pictures of a page.

    Attributes:
        chapters: By data set; without those that have no pictures.
        shown: The pictures on the page, by their data; `size` is what they take [bytes].
        files: The pictures for the folder, by the names of their files; painted when they are written.
    """

    chapters: dict[str, Chapter] = field(default_factory=dict[str, Chapter])
    shown: dict[str, Picture] = field(default_factory=dict[str, Picture])
    files: dict[str, Callable[[], bytes]] = field(default_factory=dict[str, Callable[[], bytes]])
    size: int = 0

    @property
    def shared(self) -> list[Picture]:
        """The pictures that are shown more than once."""
        return [one for one in self.shown.values() if one.times > 1]

    def tile(self, data: bytes, alt: str) -> Tile:
        """Show a picture, which is held once however often it is shown."""
        uri = pictures.uri(data)
        if uri not in self.shown:
            self.shown[uri] = Picture(uri, f"p{len(self.shown)}")
            self.size += len(uri)
        picture = self.shown[uri]
        picture.times += 1
        return Tile(picture, alt)

    def file(self, suffix: str, arrays: Sequence[np.ndarray], about: object, paint: Callable[[], bytes]) -> str:
        """Name the file of a picture by what it is painted from."""
        hashed = hashlib.sha256(repr((VERSION, suffix, about)).encode())
        for array in arrays:
            hashed.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        name = f"{hashed.hexdigest()[:20]}.{suffix}"
        self.files.setdefault(name, paint)
        return name


def album(boards: Sequence[Board], metric: Metric) -> Album:
    """The pictures of all data sets; raises what `gallery` raises."""
    found, count = Album(), max(1, len(boards))
    most = max(1, min(gallery.SHOWN, PAGE // count))
    for number, board in enumerate(boards, start=1):
        chosen = gallery.gallery(board, metric, most, FURTHER // count)
        if chosen is not None and chosen.shown:
            found.chapters[board.dataset] = _chapter(found, chosen, BYTES * number // count)
    return found


def write(folder: Path, files: Mapping[str, Callable[[], bytes]]) -> None:
    """Write the files that are not there yet.

    Raises:
        DiskFull: If there is no room.
        StoreError: If the folder cannot be written.
    """
    with writing(folder):
        if files:
            folder.mkdir(parents=True, exist_ok=True)
        for name, paint in files.items():
            path = folder / name
            if not path.is_file() or not path.stat().st_size:
                part = folder / f".{name}.{os.getpid()}.part"
                try:
                    part.write_bytes(paint())  # not synced: a picture that a power cut takes is painted again
                    part.replace(path)
                finally:
                    part.unlink(missing_ok=True)


def tidy(folder: Path, files: Collection[str]) -> None:
    """Remove the pictures of earlier pages, once no page links to them, and what kills left of some an hour ago.

    Younger parts may be those of another report, which is writing them.

    Raises:
        StoreError: If the folder cannot be written.
    """
    with writing(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if (_NAME.fullmatch(path.name) and path.name not in files) or _left(path):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where nothing is left in it


def _left(path: Path) -> bool:
    """Whether a file is one that was being written long ago."""
    with contextlib.suppress(FileNotFoundError):
        return bool(_PART.fullmatch(path.name)) and time.time() - path.stat().st_mtime > LEFT
    return False


def linked(page: str) -> list[str]:
    """The names of the files in the folder that a page links to."""
    return re.findall(rf'href="{FOLDER}/({_NAME.pattern})"', page)


def _chapter(found: Album, chosen: Gallery, room: int) -> Chapter:
    """The pictures of a data set; those of single standings, best first, while the page has so much room [bytes]."""
    classes = chosen.classes
    across = tuple(_panel(found, one, classes, "the truth", show="it") for one in chosen.shown)
    hard = tuple((_panel(found, one.made, classes, "the majority", show="itpe"), one.best) for one in chosen.hard)
    suspects = tuple(_doubt(found, one, classes) for one in chosen.suspects)
    strips, lines, ends = tuple(_strips(found, chosen)), list[Line](), list[Line]()
    extremes = {label(one.standing): one for one in (*chosen.extremes, *chosen.further)}
    for strip in chosen.strips:
        if lines and found.size > room:
            break
        name, own = label(strip.standing), extremes.pop(label(strip.standing), None)
        panels = tuple(one and _panel(found, one, classes, name, show="pe") for one in strip.made)
        lines.append(Line(strip.standing, panels))
        ends += [_ends(found, own, classes, "itpe")] if own else []
    return Chapter(
        gallery=chosen,
        left_out=chosen.left_out + len(chosen.strips) - len(lines),
        across=across,
        lines=tuple(lines),
        extremes=tuple(ends),
        further=tuple(_ends(found, one, classes, "") for one in extremes.values()),
        hard=hard,
        suspects=suspects,
        strips=strips,
    )


def _ends(found: Album, one: Extremes, classes: Sequence[ClassSpec], show: str) -> Line:
    name = label(one.standing)
    return Line(
        one.standing,
        tuple(_panel(found, made, classes, name, show=show, kind=kind) for kind, made in one.made.items()),
    )


def _panel(found: Album, made: Made, classes: Sequence[ClassSpec], whose: str, *, show: str, kind: str = "") -> Panel:
    """Paint what is to be shown: `i` the image, `t` the truth, `p` the prediction, `e` the error map."""
    paint = {
        "i": lambda: (pictures.photograph(made.image, EDGE), f"Image {made.id}"),
        "t": lambda: (pictures.painted(made.truth, classes, EDGE), f"True classes of {made.id}"),
        "p": lambda: (pictures.painted(made.predicted, classes, EDGE), f"Prediction of {whose} for {made.id}"),
        "e": lambda: (pictures.error_map(made.truth, made.predicted, EDGE), _told(made, whose)),
    }
    photo, sheet, look = "", "", [spec.colour for spec in classes]
    if "i" in show:
        large = functools.partial(pictures.photograph, made.image, quality=90)
        photo = found.file("jpg", [made.image], "photograph", large)
    if made.predicted is not made.truth:
        large = functools.partial(pictures.sheet, made.truth, made.predicted, classes)
        sheet = found.file("png", [made.truth, made.predicted], look, large)
    return Panel(kind, made.id, made.score, tuple(found.tile(*paint[part]()) for part in show), photo, sheet)


def _told(made: Made, whose: str) -> str:
    """An error map in words."""
    shares = pictures.error_shares(made.truth, made.predicted)
    return f"Errors of {whose} on {made.id}: " + ", ".join(f"{share:.1%} {name}" for name, share in shares.items())


def _doubt(found: Album, one: Suspect, classes: Sequence[ClassSpec]) -> Doubt:
    panel = _panel(found, one.made, classes, "all networks together, grey where they differ", show="tp")
    around = found.tile(
        pictures.outlined(one.made.image, one.region, EDGE), f"Image {one.made.id} with the region outlined"
    )
    photo = found.file(
        "jpg",
        [one.made.image, one.region],
        "outlined",
        functools.partial(pictures.outlined, one.made.image, one.region),
    )
    return Doubt(panel._replace(tiles=(around, *panel.tiles), photo=photo), one.share, one.instead)


def _strips(found: Album, chosen: Gallery) -> list[Strip]:
    result = []
    for film in chosen.films:
        for made, frames in film.made:
            tiles = [
                found.tile(
                    pictures.painted(frame, chosen.classes, FILM),
                    f"Prediction of {label(film.standing)} for {made.id} after epoch {epoch}",
                )
                for epoch, frame in zip(film.epochs, frames, strict=True)
            ]
            image = found.tile(pictures.photograph(made.image, FILM), f"Validation image {made.id}")
            truth = found.tile(pictures.painted(made.truth, chosen.classes, FILM), f"True classes of {made.id}")
            strip = tuple(zip(film.epochs, tiles, strict=True))
            result.append(Strip(film.standing, made.id, image, truth, strip, film.best_epoch))
    return result
