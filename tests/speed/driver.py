"""What the driver of a study of 10,000 cells does before, beside and after the training: seconds, and memory.

Nothing is trained: real names, real (tiny) data, records that say they are results. To measure it again:

    python -m tests.speed.driver FOLDER [--cells 10000]
"""

from __future__ import annotations

import argparse
import functools
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import cli_status, plan, report, runner, study
from bench.attempts import Ledger, Task
from bench.job import Event
from bench.metrics import Counts
from bench.progress import Account
from bench.records import Epoch, Record
from bench.runner import Planned
from bench.serve import Done, Said, Say
from bench.specs import Place, Recipe, Study
from bench.store import Store, write_bytes
from bench.workers import Team
from tests import large, synthetic

LOSSES = ("ce", "dice", "dice+ce", "focal", "focal_tversky", "jaccard", "lovasz", "mcc", "topk", "tversky")
TOLD = 100
"""Epochs that each cell of the measured team tells of."""


def wanted(cells: int) -> Study:
    """A study of 10 data sets x 10 networks x 10 losses, with as many seeds as make so many cells; no baselines."""
    return Study(
        name="large",
        datasets=tuple(f"smear[seed={number},size=64,test=4,train=6,val=3]" for number in range(10)),
        architectures=tuple(f"plain_unet[width={8 * number}]" for number in range(1, 11)),
        losses=LOSSES,
        baselines=(),
        seeds=cells // 1000 - 1,
        recipe=Recipe(size=(32, 32), batch=3),
    )


def record(one: Planned, store: Store | None = None) -> Record:
    """What a trained cell leaves behind, counts included where there is a store."""
    generator = np.random.default_rng(abs(hash(one.cell.key)) % 2**32)
    counts: Counts = generator.integers(0, 4096, (4, 4, 4)).astype(np.uint32)
    found = replace(synthetic.record(one.cell), ingredients=one.ingredients, fingerprint=plan.digest(one.ingredients))
    digest = store.write_counts(one.cell, [f"{at}" for at in range(4)], counts) if store else None
    return replace(found, study="large", counts_hash=digest, **large.trained())


def fill(planned: Sequence[Planned], store: Store) -> None:
    """Store every cell as done."""
    for one in planned:
        store.write(record(one, store))


def work(told: Record, task: Task, say: Say) -> None:
    """What a worker says of a group, without the training."""
    for cell, _ in task.cells:
        say(Event(kind="started", cell=cell))
        for number in range(1, TOLD + 1):
            epoch = Epoch(epoch=number, loss=0.1, value=0.5, seconds=float(number))
            say(Event(kind="epoch", cell=cell, trial=0, lr=1e-3, epoch=epoch, images_s=10.0))
        say(Event(kind="finished", cell=cell, record=replace(told, cell=cell)))


def listen(job: runner.Job, planned: Sequence[Planned], size: int = 1) -> tuple[float, int, int]:
    """Seconds of this process's processor for a team that trains nothing; and the messages and cells it heard of."""
    account = Account(job.study, [one.cell for one in planned])
    ledger = Ledger(job, {one.cell: one.ingredients for one in planned}, lambda event: account.take(event, 0.0))
    heard = 0
    with Team(functools.partial(work, record(planned[0])), size=size) as team:
        for number in ledger.left:
            team.add(number, ledger.task(number))
        began = time.process_time()
        for message in team:
            heard += 1
            if isinstance(message, Said):
                ledger.heard(message.job, message.content)
            assert not isinstance(message, Done) or not ledger.left[message.job]
        return time.process_time() - began, heard, len(planned)


def memory() -> float:
    """The most this process ever held [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(what: str, call: Callable[[], object]) -> object:
    """Call, and print how long it took and the memory afterwards."""
    began = time.perf_counter()
    result = call()
    print(f"{what:58} {time.perf_counter() - began:8.2f} s   {memory():6.0f} MiB", flush=True)
    return result


def main() -> None:
    """Print a line for each thing that the driver does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=10_000)
    given = parser.parse_args()
    large_study = runner.resolve(wanted(given.cells))
    place = Place(results=given.folder / "results", data_home=given.folder / "data")
    store = Store(place.results / large_study.name)
    write_bytes(store.root / "study.toml", study.dump(large_study).encode())
    survey = functools.partial(runner.survey, large_study, place)
    timed("data prepared, first survey", survey)
    planned = timed(f"survey of {given.cells} cells, none stored", survey)
    job = replace(runner.job(large_study, place, "cpu", 1), threads=1)
    timed("groups and ledger", lambda: Ledger(job, {one.cell: one.ingredients for one in planned}, print))
    timed("splits written", lambda: runner.write_splits(job, planned))
    seconds, heard, cells = timed("a team hears of 500 cells", lambda: listen(job, planned[:500]))
    print(
        f"{1e6 * seconds / heard:.0f} us of the driver per message, {1e3 * seconds / cells:.1f} ms per cell of {TOLD} epochs"
    )
    if not (store.root / "cells").exists():
        timed(f"{given.cells} records written", lambda: fill(planned, store))
    stored = timed(f"survey of {given.cells} cells, all stored", survey)
    assert {runner.Standing.DONE} == {one.standing for one in stored}
    timed("bench status", lambda: cli_status.rows(stored, store, 5))
    timed("bench report", lambda: report.write(store.root))


if __name__ == "__main__":
    main()
