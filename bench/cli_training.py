"""One cell while it is trained: curves, pictures and numbers in a terminal, a plain line per epoch in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from rich import live
from rich.color import Color
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from bench import filmstrip, glyphs, pictures
from bench.cli_screen import duration
from bench.diary import Course, Line
from bench.logbook import Logbook
from bench.progress import Account

if TYPE_CHECKING:
    from bench.job import Event

Clock = Callable[[], float]
BUSY = "busy"
PHASES = {
    BUSY: "Another run is at this cell; waiting for it.",
    "prepare": "reading the images",
    "measure": "measuring how it runs fastest",
    "tune": "tuning the learning rate",
    "train": "training",
    "evaluate": "scoring the test images",
}
VALUE, LOSS, PAST = "cyan", "yellow", "dim"
"""Styles of the terminal's own theme: for the two curves, and for those of earlier trials."""
PARTS = 4
"""Pictures of each image: itself, the truth, what is made of it, and the errors."""
COARSE = 4
"""Pixels of a picture that one of the terminal's may stand for, before a part of the picture is shown in its place."""
ASIDE = 60
"""From so many letters on, the two curves stand side by side."""
ROOMY = 30
"""From so many lines on, there is an empty one above."""
COLOURFUL = ("256", "truecolor")
"""What a terminal must be able to, as rich calls it, for pictures to be shown."""
LEAST = (34, 13)
"""Letters and lines that curves need; below, there are numbers alone."""


class Lines:
    """For a log: a line when a phase begins, and one for each epoch."""

    def __init__(self, console: Console, account: Account, logbook: Logbook, clock: Clock = time.monotonic) -> None:
        self.console, self.account, self.logbook, self.clock = console, account, logbook, clock
        self.phase: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        """What came of it is said by whoever began it."""

    def tell(self, event: Event) -> None:
        """Print a line; epochs of before a checkpoint are not told again."""
        if event.kind == "phase" and event.phase is not None and event.phase != self.phase:
            self.phase = event.phase
            self._print(f"{event.phase}: {PHASES.get(event.phase, '')}")
        if event.kind == "busy":
            self._print(PHASES[BUSY])
        course = self.logbook.diary.latest
        if event.epoch is not None and event.images_s is not None and course is not None:
            self._print("  ".join(self._told(course, course.lines[-1])))

    def _told(self, course: Course, line: Line) -> Iterator[str]:
        study, best = self.account.study, course.best
        yield _where(course, study.tuning.trials)
        yield f"epoch {line.epoch:>{len(str(study.budget.epochs))}}/{study.budget.epochs}"
        yield f"loss {'not a number' if line.loss is None else f'{line.loss:.4f}'}"
        yield f"val {'-' if line.value is None else f'{line.value:.4f}'}{' best' if best is line else ''}"
        yield from _costs(line)
        left = self.account.seconds_left(self.clock())
        if left and left >= 1:
            yield f"about {duration(left)} left"

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


class Screen(Lines):
    """For a terminal: everything in place, in no more lines than there are; what has ended stays as a line above."""

    def __init__(
        self,
        console: Console,
        account: Account,
        logbook: Logbook,
        clock: Clock = time.monotonic,
        *,
        pictures: bool = True,
    ) -> None:
        super().__init__(console, account, logbook, clock)
        self.pictures = pictures and not console.no_color and console.color_system in COLOURFUL
        self.live = _Steady(console=console, get_renderable=self.picture, refresh_per_second=2, transient=True)
        self.told: set[int] = set()  # trials whose line stays
        self._painted: tuple[object, list[Text]] = (None, [])

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.live.stop()

    def tell(self, event: Event) -> None:
        """Note the phase; a trial that is over gets a line that stays."""
        diary = self.logbook.diary
        if event.kind == "busy" or (event.kind == "phase" and event.phase is not None):
            self.phase = event.phase or BUSY
        if event.kind in ("epoch", "phase", "finished"):
            over = [one for one in diary.courses if one is not diary.latest or event.kind != "epoch"]
            for course in over if self.phase != "tune" or event.kind == "epoch" else []:
                self._over(course)

    def picture(self) -> RenderableType:
        """The whole; lines are never wrapped, and never more than the terminal has."""
        width, height = self.console.size
        course = self.logbook.diary.latest
        head, foot = self._head(course), self._foot(course)
        head = [Text(), *head] if height >= ROOMY else head
        if course is None or not course.lines or (width, height) < LEAST:
            return Group(*head, *foot)
        if height < LEAST[1]:
            return Group(*head, *foot)
        room = height - len(head) - len(foot) - 3
        pictures = self._pictures(course, width - 1, min(16, room - 9)) if self.pictures and room >= 15 else []
        tall = max(5, min(9, room - len(pictures)))
        return Group(*head, Text(), self._curves(course, width - 1, tall), *pictures, Text(), *foot)

    def _over(self, course: Course) -> None:
        if course.trial is None or course.trial in self.told or course.best is None or course.lr is None:
            return
        self.told.add(course.trial)
        best, of = course.best, self.account.study.tuning.trials
        line = Text(f"trial {course.trial + 1}/{of}", "bold", no_wrap=True)
        line.append(f"  lr {course.lr:.2e}  val {best.value:.4f} after epoch {best.epoch}", "not bold")
        self.console.print(line)

    def _head(self, course: Course | None) -> list[RenderableType]:
        """What is trained, where it is, and how much of everything is behind."""
        account, study = self.account, self.account.study
        cell = self.logbook.cell
        name = Text(f"{cell.dataset} · {cell.architecture} · {cell.loss}", "bold", no_wrap=True, overflow="ellipsis")
        row = Table.grid(padding=(0, 2), expand=True)
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_column(no_wrap=True, ratio=1)
        row.add_column(no_wrap=True, justify="right")
        where = PHASES.get(self.phase or "", "starting")
        if course is not None and course.lines and self.phase in ("tune", "train"):
            epoch = course.lines[-1].epoch
            rate = self.console.width >= ASIDE
            where = f"{_where(course, study.tuning.trials, rate=rate)}  epoch {epoch}/{study.budget.epochs}"
        bar = ProgressBar(total=1.0, completed=account.share, complete_style=VALUE, finished_style=VALUE, style=PAST)
        row.add_row(Text(where), bar, Text(f"{account.share:.0%}"))
        return [name, row]

    def _foot(self, course: Course | None) -> list[RenderableType]:
        """The best so far, then speed, memory and time."""
        now, leading = self.clock(), self.logbook.diary.leading()
        lines = []
        if leading is not None and leading.best is not None:
            text = Text("best so far  ", "dim", no_wrap=True, overflow="ellipsis")
            text.append(f"{leading.best.value:.4f}", "bold")
            rate = "" if leading.lr is None else f" at lr {leading.lr:.2e}"
            text.append(f"  {leading.name}{rate}, epoch {leading.best.epoch}", "not dim")
            lines.append(text)
        told = [*_costs(course.lines[-1])] if course is not None and course.lines else []
        left = self.account.seconds_left(now)
        told.append(f"{duration(self.account.elapsed(now))} so far")
        told += [f"about {duration(left)} left"] if left and left >= 1 else []
        return [*lines, Text("  ·  ".join(told), "dim", no_wrap=True, overflow="ellipsis")]

    def _curves(self, course: Course, width: int, tall: int) -> RenderableType:
        """Validation value and training loss, with earlier trials behind; only the first where there is no room."""
        last, aside = self.account.study.budget.epochs, width >= ASIDE
        each = (width - 3) // 2 if aside else width
        others = [one for one in self.logbook.diary.courses if one is not course]
        now, grid = course.lines[-1], Table.grid(padding=(0, 3))
        values = [*(glyphs.Layer(_points(one, "value"), PAST) for one in others)]
        losses = [*(glyphs.Layer(_points(one, "loss"), PAST) for one in others)]
        values.append(glyphs.Layer(_points(course, "value"), VALUE))
        losses.append(glyphs.Layer(_points(course, "loss"), LOSS))
        value = "-" if now.value is None else f"{now.value:.4f}"
        best = "" if course.best is None else f"  best {course.best.value:.4f}"
        left = [_heading("val mDice", value, best, VALUE)]
        mark = None if course.best is None else (course.best.epoch, course.best.value or 0.0)
        left += glyphs.plotted(values, glyphs.Plot(each, tall - 1, last, unit=(0.0, 1.0)), mark)
        loss = "not a number" if now.loss is None else f"{now.loss:.4f}"
        right = [_heading("training loss", loss, "", LOSS)]
        right += glyphs.plotted(losses, glyphs.Plot(each, tall - 1, last, logarithmic=_wide(losses)))
        grid.add_row(*([Group(*left), Group(*right)] if aside else [Group(*left)]))
        return grid

    def _pictures(self, course: Course, width: int, tall: int) -> list[RenderableType]:
        """Image, truth and what the last epoch made of it, of as many images as there is room for."""
        book, epoch = self.logbook, course.lines[-1].epoch
        maps = book.frame(course, epoch)
        if book.watched is None or maps is None or not len(maps):
            return []
        key = (course.trial, epoch, len(course.lines), width, tall)
        if self._painted[0] == key:
            return list(self._painted[1])
        high, wide = book.watched.truths[0].shape
        rows, columns = tall, max(4, round(2 * tall * wide / high))  # letters, twice as high as they are wide
        if PARTS * columns + 2 * (PARTS - 1) > width:
            columns = (width - 2 * (PARTS - 1)) // PARTS
            rows = max(2, round(columns * high / wide / 2))
        shown = max(1, min(len(book.watched.ids), (width + 4) // (PARTS * columns + 2 * (PARTS - 1) + 4)))
        best = course.best is not None and course.best.epoch == epoch
        lines = _tiles(book, maps, range(shown), (rows, columns), f"epoch {epoch}{' best' if best else ''}")
        self._painted = (key, [Text(), *lines])
        return [Text(), *lines]


class _Code:
    """A control sequence, written as it is."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self.code, None, [(ControlType.CARRIAGE_RETURN,)])


class _Steady(live.Live):
    """A live display that a terminal shows whole: what lies between is one update (DEC private mode 2026)."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Between begin and end; a terminal that does not know them passes them over."""
        return [_Code("\x1b[?2026h"), *super().process_renderables(renderables), _Code("\x1b[?2026l")]


def view(console: Console, account: Account, logbook: Logbook, *, pictures: bool = True) -> Lines:
    """The view that suits where the words go; where letters are not those of Unicode, curves cannot be drawn."""
    if console.is_interactive and not console.options.ascii_only:
        return Screen(console, account, logbook, pictures=pictures)
    return Lines(console, account, logbook)


def _tiles(book: Logbook, maps: np.ndarray, shown: Sequence[int], size: tuple[int, int], caption: str) -> list[Text]:
    """Pictures side by side, in so many lines and letters each (height, width), under what they are."""
    assert book.watched is not None
    columns: list[list[Text]] = []
    errors = np.array([kind.colour for kind in pictures.KINDS], np.uint8)
    for number in shown:
        part = _part(book.watched.truths[number], 2 * size[0])
        image, truth, made = book.watched.images[number][part], book.watched.truths[number][part], maps[number][part]
        parts = (
            ("image" if len(truth) == len(maps[number]) else "image, a part", image),
            ("truth", filmstrip.coloured(truth, book.classes)),
            (caption, filmstrip.coloured(made, book.classes)),
            ("errors", errors[pictures.errors(truth, made)]),
        )
        for name, pixels in parts:
            title = _key(size[1]) if name == "errors" else Text(f"{name[: size[1]]:<{size[1]}}", "dim", no_wrap=True)
            columns.append([title, *glyphs.blocks(filmstrip.photograph(pixels, (2 * size[0], 2 * size[1])))])
    lines = []
    for row in zip(*columns, strict=True):
        line = Text(no_wrap=True)
        for place, part in enumerate(row):
            line.append("" if not place else "    " if place % PARTS == 0 else "  ")
            line.append_text(part)
        lines.append(line)
    return lines


def _key(width: int) -> Text:
    """What the colours of the errors mean, in just so many letters; where there is no room, what is shown."""
    text = Text(no_wrap=True)
    for kind in pictures.KINDS[2:5]:
        text.append(" " if text else "").append("■", Style(color=Color.from_rgb(*kind.colour)))
        text.append(kind.name, "dim")
    text = text if len(text) <= width else Text("errors"[:width], "dim", no_wrap=True)
    return text.append(" " * (width - len(text)))


def _part(truth: np.ndarray, rows: int) -> tuple[slice, slice]:
    """All of a picture, or the quarter that shows most where so few rows of pixels would show nothing of the whole."""
    height, width = (length // 2 for length in truth.shape)
    if len(truth) <= COARSE * rows:
        return slice(None), slice(None)
    corners = [(top, left) for top in (0, height // 2, height) for left in (0, width // 2, width)]
    shown = {at: np.count_nonzero(truth[at[0] : at[0] + height, at[1] : at[1] + width] % 255) for at in corners}
    top, left = max(corners, key=lambda at: shown[at])
    return slice(top, top + height), slice(left, left + width)


def _heading(name: str, value: str, rest: str, style: str) -> Text:
    text = Text(f"{' ' * glyphs.LABEL}{name} ", no_wrap=True, overflow="ellipsis")
    text.append(value, f"bold {style}")
    return text.append(rest, "dim")


def _where(course: Course, trials: int, *, rate: bool = True) -> str:
    told = f"  lr {course.lr:.2e}" if rate and course.lr is not None else ""
    return f"{course.name if course.trial is None else f'trial {course.trial + 1}/{trials}'}{told}"


def _costs(line: Line) -> Iterator[str]:
    if line.images_s is not None:
        yield f"{line.images_s:.3g} images/s" if line.images_s < 100 else f"{line.images_s:.0f} images/s"
    if line.memory_mb is not None:
        yield f"{line.memory_mb:.0f} MiB" if line.memory_mb < 10_000 else f"{line.memory_mb / 1024:.1f} GiB"


def _points(course: Course, name: str) -> list[tuple[int, float]]:
    found = ((line.epoch, getattr(line, name)) for line in course.lines)
    return [(epoch, value) for epoch, value in found if value is not None]


def _wide(layers: Sequence[glyphs.Layer]) -> bool:
    """Whether heights are better told apart on a logarithmic scale."""
    heights = [height for layer in layers for _, height in layer.points]
    return bool(heights) and min(heights) > 0 and max(heights) > 5 * min(heights)
