"""What people and scripts are shown while a study runs; the account itself is tested in test_progress.py."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from bench import cli_screen, events
from bench.cli_live import Lines, Screen, View, view
from bench.job import Event
from bench.progress import Account
from bench.records import Epoch, Failure, Record, Status, Trial, TrialStatus
from bench.specs import Cell, Study, Tuning

ONE = Cell(dataset="smear", architecture="unet[depth=3]", loss="ce")
TWO = Cell(dataset="smear", architecture="fpn", loss="dice")
STUDY = Study(name="mine", tuning=Tuning(trials=6))
TRIAL = Trial(number=0, lr=1e-3, value=0.5, status=TrialStatus.COMPLETE, epochs=2, seconds=8.0)


def record(cell: Cell, status: Status = Status.OK, **changes: object) -> Record:
    history = tuple(Epoch(epoch=at, loss=1.0, value=0.25 * at, seconds=4.0 * at) for at in (1, 2))
    base = Record(
        study="mine", cell=cell, fingerprint="f", ingredients={}, status=status, lr=1e-3, best_epoch=2, history=history,
        trials=(TRIAL,), seconds={"tune": 8.0},
    )  # fmt: skip
    return replace(base, **changes)


TOLD = [
    Event(kind="started", cell=ONE),
    Event(kind="phase", cell=ONE, phase="tune"),
    Event(kind="epoch", cell=ONE, trial=1, epoch=Epoch(epoch=12, loss=0.3, value=0.7125, seconds=24.0), images_s=410.2),
    Event(kind="started", cell=TWO),
    Event(kind="phase", cell=TWO, phase="prepare"),
    Event(kind="finished", cell=TWO, record=record(TWO)),
]


def show(cells: tuple[Cell, ...], told: list[Event], *, terminal: bool, every: float = 1.0) -> tuple[str, View]:
    """What is printed when an event comes every so many seconds; the view is left as it is after the last."""
    out, now = io.StringIO(), [0.0]
    account = Account(STUDY, cells, stored=3, workers=2)
    console = Console(file=out, force_terminal=terminal, width=110, highlight=False, legacy_windows=False, _environ={})
    shown = view(console, account, lambda: now[0])
    with shown:
        for event in told:
            now[0] += every
            account.take(event, now[0])
            shown.tell(event)
    return out.getvalue(), shown


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_log_gets_a_line_per_finished_cell_and_no_control_characters():
    text, shown = show((ONE, TWO), TOLD, terminal=False)

    assert isinstance(shown, Lines)
    assert not isinstance(shown, Screen)
    assert [
        "Study mine: 2 cells to run, 3 stored already.",
        "       ok  smear/fpn/dice/f0-s0  lr 0.001, val mdice_d_fg 0.500, 8 s",
        "4/5 cells, 0 failed, 6 s",
    ] == text.splitlines()
    assert [] == [letter for letter in text if not letter.isprintable() and letter != "\n"]


def test_a_log_gets_the_state_of_the_whole_at_most_every_thirty_seconds():
    epochs = [replace(TOLD[2], epoch=replace(TOLD[2].epoch, epoch=at, seconds=2.0 * at)) for at in range(1, 13)]
    text, _ = show((ONE, TWO), [*TOLD[:2], *epochs], terminal=False, every=5.0)
    lines = [line for line in text.splitlines() if "running" in line]

    # 14 events, five seconds apart: at 30 and at 60 seconds
    assert 2 == len(lines)
    assert "3/5 cells, 0 failed, 1 running, 410 images/s, about 4 min left" == lines[0]


def test_a_failure_says_in_its_line_what_went_wrong_and_markup_in_it_is_text():
    failure = Failure(phase="tune", kind="ValueError", message="[red]boom[/red]\nmore")
    event = Event(kind="finished", cell=ONE, record=record(ONE, Status.FAILED, lr=None, error=failure))
    text, _ = show((ONE, TWO), [event], terminal=False)

    assert "   failed  smear/unet[depth=3]/ce/f0-s0  tune: ValueError: [red]boom[/red]" in text.splitlines()
    assert "4/5 cells, 1 failed, 1 s" in text.splitlines()


def test_a_terminal_shows_the_whole_and_each_running_cell_and_keeps_finished_ones():
    text, shown = show((ONE, TWO), TOLD, terminal=True)

    assert isinstance(shown, Screen)
    assert "\x1b[" in text
    assert "       ok  smear/fpn/dice/f0-s0  lr 0.001, val mdice_d_fg 0.500, 8 s" in plain(text).splitlines()
    out = io.StringIO()
    Console(file=out, width=110).print(shown.picture())
    head, *rows = [" ".join(line.split()) for line in out.getvalue().splitlines()]

    # 20 - 12 epochs of this trial, 4 whole trials, 2 seconds each; the next epoch has been going on for 2 seconds or more
    assert head.endswith("4/5 cells 0 failed 410 images/s 6 s about 3 min left")
    assert ["smear/unet[depth=3]/ce/f0-s0 trial 2/6 epoch 12/20 val 0.713 410 images/s"] == rows


def test_no_line_of_the_live_view_is_ever_wrapped():
    long = replace(ONE, dataset="a" * 200)
    _, shown = show((long, TWO), [replace(event, cell=long) for event in TOLD[:3]], terminal=True)
    out = io.StringIO()
    Console(file=out, width=60).print(shown.picture())

    assert 2 == len(out.getvalue().splitlines())


def test_a_bar_is_one_line_in_a_log_and_nothing_where_nothing_is_done():
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=80)
    with cli_screen.bar(console, "Preparing smear[size=64]") as tell:
        for done in range(4):
            tell(done, 3)
    with cli_screen.bar(console, "Nothing"):
        pass

    assert "Preparing smear[size=64]: 3 to do.\n" == out.getvalue()


class Pipe(io.RawIOBase):
    """Takes a few bytes at a time, as a pipe may."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: bytes, /) -> int:
        self.taken += bytes(data[:7])
        return min(len(data), 7)


def test_a_script_is_told_each_event_with_time_left_and_no_number_json_has_no_word_for():
    pipe, account = Pipe(), Account(STUDY, (ONE, TWO), stored=3, workers=2)
    script = events.Script(pipe, lambda: 0.0)
    with script:
        for event in [*TOLD, replace(TOLD[2], images_s=float("inf"))]:
            account.take(event, 0.0)
            script.account = account
            script.tell(event)
    lines = [json.loads(line) for line in pipe.taken.decode().splitlines()]

    assert ["started", "phase", "epoch", "started", "phase", "finished", "epoch"] == [line["event"] for line in lines]
    assert {
        "event": "epoch", "cell": ONE.key, "dataset": "smear", "architecture": "unet[depth=3]", "loss": "ce", "fold": 0,
        "seed": 0, "trial": 1, "lr": None, "epoch": 12, "train_loss": 0.3, "value": 0.7125, "images_s": 410.2, "done": 3, "failed": 0,
        "seconds_left": 120 * 2.0,  # the longer of two cells on two workers
    } == lines[2]  # fmt: skip
    assert ("ok", 1e-3, 0.5, 2, {"tune": 8.0}) == tuple(
        lines[5][name] for name in ("status", "lr", "value", "best_epoch", "seconds")
    )
    assert None is lines[6]["images_s"]


def test_a_reader_that_went_away_ends_the_program():
    class Closed(io.RawIOBase):
        def write(self, data: bytes, /) -> int:
            raise BrokenPipeError

    with pytest.raises(SystemExit, match="1"):
        events.Script(Closed()).say("study")


def test_what_a_script_is_told_of_a_record_holds_nothing_of_the_test_images():
    fields = set(Record.__dataclass_fields__)

    assert set(events.RECORDED) <= fields
    assert not {"counts_hash", "data", "history", "trials"} & set(events.RECORDED)


def test_a_script_of_a_large_study_is_told_the_time_left_once_a_second_and_of_a_small_one_always():
    class Counting(Account):
        asked = 0

        def seconds_left(self, now: float) -> float | None:
            self.asked += 1
            return super().seconds_left(now)

    def asked(cells: int) -> int:
        now = [0.0]
        account = Counting(STUDY, [replace(ONE, seed=seed) for seed in range(cells)])
        script = events.Script(io.BytesIO(), lambda: now[0])
        script.account = account
        for _ in range(30):
            now[0] += 0.1
            account.take(TOLD[2], now[0])
            script.tell(TOLD[2])
        return account.asked

    assert 30 == asked(10)
    assert 3 == asked(2000)
