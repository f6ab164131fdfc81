"""The fault campaign: a study that is killed again and again must end like one that was left alone.

    python -m tests.campaign --kills 50

Runs a small study once undisturbed, then again and again with a fault at a random moment: workers, the parent or the
whole process group killed; an interrupt; death in the middle of writing a record, counts, a checkpoint, weights or a
journal; a disk that is full; a folder that cannot be written. After every fault each record is whole and none that was
final has changed; when the study is done its records and leaderboard are those of the undisturbed one, times excepted.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from bench.records import Record, Status
from bench.store import read_record

ROOT = Path(__file__).resolve().parents[1]
STUDY = """
datasets = ["smear[size=64,test=4,train=6,val=3]"]
architectures = ["tiny", "tiny[width=12]", "faulty[how=diverge]"]
losses = ["ce", "dice+ce"]
baselines = ["all_background", "otsu"]
seeds = 1
[recipe]
size = 32
batch = 3
deterministic = true
augment = "standard"
[tuning]
lr_range = [1e-3, 1e-1]
trials = 3
[budget]
epochs = 8
"""
WRITTEN = ("record.json", "counts.npz", "checkpoint.safetensors", "trial-", "weights.safetensors", "journal")
TIMED = {"seconds", "finished", "peak_memory_mb", "efficiency"}


class Broken(AssertionError):
    """What was promised was not kept."""


class Campaign:
    """One results folder after another, each disturbed until its study is done."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.faults = collections.Counter[str]()
        (folder / "study.toml").write_text(STUDY)
        self.calm = self.run_calm(folder / "calm")

    def command(self, results: Path) -> list[str]:
        options = ["--results", str(results), "--data-home", str(self.folder / "data"), "--device", "cpu"]
        script = [sys.executable, str(ROOT / "tests" / "faults.py"), "--catalog", str(ROOT / "tests" / "catalog")]
        study = ["run", "matrix", str(self.folder / "study.toml"), "--workers", "2", "--threads", "1", "--retry-failed"]
        return [*script, *study, "--checkpoint-every", "0", *options]

    def start(self, results: Path, fault: str = "", limit: int = 0) -> subprocess.Popen[bytes]:
        """Start the study as a user would, in a process group of its own."""

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        environment = os.environ | {"PYTHONPATH": str(ROOT), "FAULT": fault}
        log = (self.folder / "log.txt").open("ab")
        return subprocess.Popen(
            self.command(results), cwd=self.folder, env=environment, start_new_session=True, stdout=log, stderr=log,
            preexec_fn=limited if limit else None,
        )  # fmt: skip

    def run_calm(self, results: Path) -> Path:
        began = time.monotonic()
        code = self.start(results).wait(timeout=600)
        self.seconds = time.monotonic() - began
        if code != 0:
            raise Broken(f"The undisturbed run ended with {code}; see {self.folder / 'log.txt'}.")
        return results / "study"

    def disturb(self, results: Path) -> str:
        """One run with one fault at a random moment; says which, or nothing when the run was done before it struck."""
        kind = self.random.choice(
            [
                "worker",
                "worker",
                "parent",
                "group",
                "group",
                "interrupt",
                "terminate",
                "write",
                "write",
                "write",
                "full",
                "closed",
            ]
        )
        return {"write": self.write, "full": self.full, "closed": self.closed}.get(kind, self.signal(kind))(results)

    def signal(self, kind: str) -> Callable[[Path], str]:
        def strike(results: Path) -> str:
            process = self.start(results)
            deadline = time.monotonic() + self.random.uniform(0.1, 0.9) * self.seconds
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            if process.poll() is not None:
                return ""
            struck = self.strike(process, kind)
            process.wait(timeout=600)
            return kind if struck else ""

        return strike

    def strike(self, process: subprocess.Popen[bytes], kind: str) -> bool:
        if kind == "worker":
            workers = list(children(process.pid))
            if not workers:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(workers), signal.SIGKILL)
            return True
        if kind == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            number = {"parent": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[kind]
            os.kill(process.pid, number)
        return True

    def write(self, results: Path) -> str:
        """Death in the middle of a write, or between a write and its name."""
        kind = self.random.choice(["tear", "tear", "rename"])
        name = self.random.choice(WRITTEN)
        if name == "journal":
            kind = "tear"  # it is appended to, and never renamed
        code = self.start(results, f"{kind}:{name}:{self.random.randrange(4)}").wait(timeout=600)
        return f"{kind} {name}" if code != 0 else ""

    def full(self, results: Path) -> str:
        """A disk on which no file can grow beyond a size."""
        code = self.start(results, limit=self.random.choice([300, 1500, 6000, 20_000])).wait(timeout=600)
        return "full disk" if code != 0 else ""

    def closed(self, results: Path) -> str:
        """A results folder that cannot be written to."""
        study = results / "study"
        if os.geteuid() == 0 or not study.is_dir():
            return ""
        study.chmod(0o500)
        try:
            code = self.start(results).wait(timeout=600)
        finally:
            study.chmod(0o700)
        return "read-only folder" if code != 0 else ""

    def until(self, kills: int) -> None:
        """Disturb until so many faults have struck, in as many results folders as that takes."""
        number = 0
        while sum(self.faults.values()) < kills:
            results, kept = self.folder / f"disturbed-{number}", dict[Path, bytes]()
            self.one(results, kills, kept)
            number += 1

    def one(self, results: Path, kills: int, kept: dict[Path, bytes]) -> None:
        done = len(list((self.calm / "cells").rglob("record.json")))
        while len(kept) < done and sum(self.faults.values()) < kills:
            if fault := self.disturb(results):
                self.faults[fault] += 1
                print(f"{sum(self.faults.values()):3} {fault:28} {len(kept):2}/{done} cells kept", flush=True)
            kept |= self.check(results / "study", kept)
        quiet(results)
        code = self.start(results).wait(timeout=600)
        if code != 0:
            raise Broken(f"The last run of {results} ended with {code}; see {self.folder / 'log.txt'}.")
        self.compare(results / "study")
        print(f"    {results.name}: records and leaderboard are those of the undisturbed run", flush=True)

    def check(self, study: Path, kept: dict[Path, bytes]) -> dict[Path, bytes]:
        """Every record is whole, and what was final has not changed; gives what is final now."""
        quiet(study.parent)
        found = {path: path.read_bytes() for path in (study / "cells").rglob("record.json")}
        records = {path: read_record(path) for path in found}
        for path, content in kept.items():
            if found.get(path) != content:
                raise Broken(f"{path} was final and has changed.")
        keys = [record.cell.key for record in records.values()]
        if len(keys) != len(set(keys)):
            raise Broken(f"A cell is counted twice below {study}.")
        return {p: found[p] for p, record in records.items() if record.status in (Status.OK, Status.DIVERGED)}

    def compare(self, study: Path) -> None:
        """The same records, counts and leaderboard as the undisturbed run's."""
        one, other = (
            {p.relative_to(s): read_record(p) for p in (s / "cells").rglob("record.json")} for s in (self.calm, study)
        )
        if one.keys() != other.keys():
            raise Broken(f"{study} has other cells: {one.keys() ^ other.keys()}.")
        for path in one:
            if untimed(one[path]) != untimed(other[path]):
                raise Broken(f"{study / path} differs from {self.calm / path}.")
        boards = [
            [untimed_row(row) for row in json.loads((s / "leaderboard.json").read_text())] for s in (self.calm, study)
        ]
        if boards[0] != boards[1]:
            raise Broken(f"The leaderboard of {study} differs.")


def untimed(record: Record) -> dict[str, object]:
    """A record without what a clock or a meter says."""
    values = {name: value for name, value in asdict(record).items() if name not in TIMED}
    for name in ("history", "trials"):
        values[name] = [{key: value for key, value in one.items() if key != "seconds"} for one in values[name]]
    return values


def untimed_row(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in TIMED}


def children(pid: int) -> Iterator[int]:
    """The workers of a run: its child processes that were spawned for jobs."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield int(child)


def quiet(results: Path) -> None:
    """Wait until no worker of a killed run is left: one notices within a moment that its parent is gone."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _belongs(p, results)]
        if not left:
            return
        time.sleep(0.1)
    raise Broken(f"Processes of a killed run are still there after two minutes: {left}.")


def _belongs(cmdline: Path, results: Path) -> bool:
    """Whether a process is a worker whose parent is gone, with a file of these results open or as its folder."""
    with contextlib.suppress(OSError):
        if b"spawn_main" not in cmdline.read_bytes():
            return False
        return (cmdline.parent / "cwd").readlink() == results.parent
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the folder with all results")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        campaign = Campaign(folder, chosen.seed)
        campaign.until(chosen.kills)
    except BaseException:
        print(f"Everything is kept in {folder}.")
        raise
    for fault, count in campaign.faults.most_common():
        print(f"{count:4} {fault}")
    print(f"{sum(campaign.faults.values())} faults: no record lost, torn or counted twice.")
    if not chosen.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
