"""Several processes at one folder: each waits its turn, and nothing is done twice."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import locks, prepare
from tests import small


def test_who_waits_for_another_that_prepares_the_same_takes_what_that_one_made(tmp_path: Path):
    home, waits = tmp_path / "home", threading.Event()
    folder = prepare.prepare(small.SMEAR, tmp_path / "elsewhere").folder

    def say(line: str) -> None:
        if "another process" in line:
            waits.set()

    with ThreadPoolExecutor() as pool:
        with locks.held(home / f".{folder.name}.lock"):
            waiting = pool.submit(prepare.prepare, small.SMEAR, home, say=say)
            assert waits.wait(60)
            made = shutil.copytree(folder, home / folder.name).stat().st_ino
        taken = waiting.result(60)

    assert made == taken.folder.stat().st_ino
    assert ["index.json", "pixels.bin"] == sorted(path.name for path in taken.folder.iterdir())


def test_a_turn_comes_to_everybody_once_the_other_is_done(tmp_path: Path):
    counter, path = tmp_path / "counter", tmp_path / "turn.lock"
    counter.write_text("0")

    def count(_: int) -> None:
        with locks.turn(path, lambda: None):
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))

    assert "40" == counter.read_text()
