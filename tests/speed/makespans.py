"""The figure and the numbers of docs/clusters.md on how long 10,000 cells take, and a real study beside its simulation.

python -m tests.speed.makespans figure            # docs/makespan.svg, and the table on standard output
python -m tests.speed.makespans check FOLDER      # a small study on one worker and on two, minutes
python -m tests.speed.makespans record FILE RESULTS..  # recorded times as CSV
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import makespan, paper, plan, runner, scaling
from bench.engines import Local
from bench.job import Event
from bench.makespan import Forecast, Overheads
from bench.quantities import duration
from bench.specs import Budget, Recipe, Study, Tuning
from tests import small

ROOT = Path(__file__).resolve().parents[2]
TIMES = ROOT / "results" / "reference" / "times.csv"
FIGURE = ROOT / "docs" / "makespan.svg"
CELLS = 10_000
CASES = {"a tuning each": 0, "a tuning and nine seeds": 9}
"""What is simulated, and the fresh seeds after each tuning."""


@functools.cache
def forecasts() -> list[Forecast]:
    """The two ways to come to 10,000 cells, from the recorded times in this repository."""
    recorded = makespan.load(TIMES)
    return [
        makespan.forecast(makespan.resampled(recorded, CELLS, seeds), label=f"{CELLS:,} cells, {label}")
        for label, seeds in CASES.items()
    ]


def table(found: Sequence[Forecast]) -> Iterator[str]:
    """The lines of the table in docs/clusters.md."""
    yield f"| workers | {' | '.join(f'{name} | efficiency | longest first' for name in CASES)} |"
    yield f"| ---: |{' ---: |' * 3 * len(found)}"
    for rows in zip(*(one.rows for one in found), strict=True):
        told = (f"{duration(row.seconds)} | {row.efficiency:.0%} | {duration(row.longest_first)}" for row in rows)
        yield f"| {rows[0].workers:,} | {' | '.join(told)} |"


def figure() -> None:
    """Draw the figure, and print the table."""
    found = forecasts()
    FIGURE.write_bytes(paper.files(scaling.drawing(found), ["svg"])["svg"])
    for line in table(found):
        print(line)


def check(folder: Path) -> None:
    """Run a small study on one worker and on two; print what it took, and what the times of the first run foretell.

    The start is that of the run itself: until the first cell begins.
    """
    wanted = replace(
        small.study(
            datasets=("smear[size=64,test=4,train=24,val=4]",),
            architectures=tuple(f"plain_unet[levels=3,width={width}]" for width in (4, 8, 16)),
            losses=("ce", "dice", "dice+ce"),
            recipe=Recipe(size=(48, 48), batch=8, precision="fp32"),
            tuning=Tuning(lr_range=(1e-3, 1e-1), trials=3, stop=False),
            budget=Budget(epochs=12),
        ),
        seeds=1,
    )
    wall: dict[int, tuple[float, float]] = {}
    for count in (1, 2):
        where, told = small.place(folder / str(count), folder / "data"), list[float]()
        todo = runner.survey(wanted, where)
        job = replace(runner.job(wanted, where, "cpu", count), threads=1)

        def tell(event: Event, told: list[float] = told) -> None:
            told.append(time.perf_counter())

        began = time.perf_counter()
        runner.run_study(job, todo, engine=Local(count), on_event=tell)
        wall[count] = (told[0] - began, told[-1] - began)
    for count, (startup, taken) in wall.items():
        foretold = [
            makespan.simulate(_groups(folder / str(source), wanted), count, Overheads(startup=startup, survey=0.0))
            for source in (count, 1)
        ]
        print(
            f"{count} workers: {taken:.1f} s, the first cell after {startup:.1f} s; simulated {foretold[0]:.1f} s from "
            f"the times of this run, {foretold[1]:.1f} s from those of one worker"
        )


def _groups(folder: Path, wanted: Study) -> list[list[float]]:
    """What the cells of a run took [s], in the order in which their groups were handed out."""
    stored = {group[0].cell: group for group in makespan.load(folder / "results" / wanted.name)}
    order = [group[0] for group in plan.groups(plan.cells(wanted))]
    return [[one.total for one in stored[first]] for first in order]


def main() -> None:
    """One of the three."""
    match sys.argv[1:]:
        case ["figure"]:
            figure()
        case ["check", folder]:
            check(Path(folder))
        case ["record", file, *results]:
            Path(file).write_text(makespan.as_csv(group for one in results for group in makespan.load(Path(one))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
