"""The smallest real study: generated pictures, three convolutions, a second per cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from bench import runner
from bench.engines import Local
from bench.forward import Forward
from bench.job import Event, Job
from bench.records import Execution, Record
from bench.specs import Budget, Place, Recipe, Study, Tuning
from bench.store import records

SMEAR = "smear[size=64,test=4,train=6,val=3]"


def study(**changes: object) -> Study:
    """A study of one data set, one network, one loss and one baseline; fields can be replaced."""
    base = Study(
        name="small",
        datasets=(SMEAR,),
        architectures=("tiny",),
        losses=("ce",),
        baselines=("all_background",),
        recipe=Recipe(size=(32, 32), batch=3, precision="fp32"),
        tuning=Tuning(lr_range=(1e-3, 1e-1), trials=2),
        budget=Budget(epochs=2),
    )
    return replace(base, **changes)


def place(folder: Path, data_home: Path) -> Place:
    """Results below a folder of the test's own."""
    return Place(results=folder / "results", data_home=data_home)


def execute(wanted: Study, where: Place, *, workers: int = 0, retry_failed: bool = False) -> list[Event]:
    """Run what is pending of a study, in this process unless workers are asked for; return what was told."""
    events: list[Event] = []
    todo = runner.pending(runner.survey(wanted, where), retry_failed=retry_failed)
    job: Job = runner.job(wanted, where, "cpu", max(workers, 1))
    job = replace(job, threads=1)
    runner.run_study(job, todo, engine=Local(workers) if workers else None, on_event=events.append)
    return events


def stored(wanted: Study, where: Place) -> dict[str, Record]:
    """All records of a study, by the key of their cell."""
    return {record.cell.key: record for record in records(where.results / wanted.name)}


def plain(network: nn.Module, at_once: int = 4, *, divisor: int = 1) -> Forward:
    """A network that is run in fp32, eagerly."""
    return Forward(network, divisor, Execution(precision="fp32", micro_batch=at_once))
