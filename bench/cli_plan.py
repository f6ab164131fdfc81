"""`bench plan`: how long a study would take on any number of workers, from what cells took before."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import Results, complain, say, show, study_folder
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.makespan import Forecast, Row, Time

DAY = 86400.0
"""The longest start that makes sense [s]."""


class Form(StrEnum):
    """What `bench plan` can print."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def plan(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", help="A study file (.toml) or a built-in study to come; default: cells like the recorded."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="RESULTS|FILE.csv",
            help="Recorded times; repeatable; default: those of the newest results.",
        ),
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N,N,..", help="Numbers of workers; default: 1, 2, 4, .. 512, 1000.")
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Without a study: so many, drawn from the recorded; default: as many."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Fresh seeds after each tuning; default: as the study has.")
    ] = None,
    startup: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Until a worker can begin, data brought to it too; default: 2."),
    ] = None,
    group: Annotated[
        float,
        typer.Option("--per-group", metavar="SECONDS", help="Before each further group: its start where it is a job."),
    ] = 0.0,
    losses: Annotated[
        float, typer.Option("--lost-workers", metavar="N", help="How many are lost, per worker and hour.")
    ] = 0.0,
    form: Annotated[Form, typer.Option("--format", help="What to print.")] = Form.TABLE,
    target: Annotated[Path | None, typer.Option("--to", metavar="FILE.svg|png|pdf", help="Also draw it.")] = None,
    results: Results = Path("results"),
) -> None:
    """Tell how long a study would take on 1, 2, 4, .. 1000 workers, and what keeps it from being faster."""
    from bench import makespan

    if target is not None and target.suffix not in (".svg", ".png", ".pdf"):
        raise StudyError(f"--to {target} is no figure that can be drawn. Use FILE.svg, FILE.png or FILE.pdf.")
    if study is not None and cells is not None:
        raise StudyError(f"--cells {cells} is for no study in particular; {study} has its own. Leave one out.")
    for option, value, most in (
        ("startup", startup or 0.0, DAY),
        ("per-group", group, DAY),
        ("lost-workers", losses, 60.0),
    ):
        if not 0 <= value <= most:  # nan too; with more losses than checkpoints no cell would ever end
            raise StudyError(f"--{option} is {value:g}. Give a number from 0 to {most:g}.")
    counts = _counts(workers)
    recorded = [group for one in source or [None] for group in makespan.load(_source(one, results))]
    overheads = makespan.Overheads(losses=losses, group=group)
    if startup is not None:
        overheads = dataclasses.replace(overheads, startup=startup)
    groups, told = _groups(study, recorded, cells, seeds)
    found = makespan.forecast(groups, counts, overheads, study or "")
    if target is not None:
        _draw(found, target)
    _print(found, [*_recorded(recorded), *told], form, target)


def _source(name: str | None, results: Path) -> Path:
    if name is not None and Path(name).suffix == ".csv":
        if not Path(name).is_file():
            raise StudyError(f"There is no file {name}. Give --from a results folder, or a CSV of recorded times.")
        return Path(name)
    return study_folder(name, results)


def _counts(given: str | None) -> tuple[int, ...]:
    from bench.makespan import USUAL

    if given is None:
        return USUAL
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 100_000 for part in parts):
        raise StudyError(f"--workers is {given!r}. Give whole numbers from 1 to 100000, as --workers 1,4,16.")
    return tuple(sorted({int(part) for part in parts}))


def _groups(
    name: str | None, recorded: list[list[Time]], cells: int | None, seeds: int | None
) -> tuple[list[list[float]], list[str]]:
    """The cells of a study [s], or cells like the recorded ones; and what was made of the recorded times."""
    from bench import makespan, runner
    from bench import study as studies

    if name is None:
        if cells is None and seeds is None:
            return [[one.total for one in group] for group in recorded], []
        wanted = cells or sum(1 + (seeds or 0) * (group[0].cell.loss is not None) for group in recorded)
        return makespan.resampled(recorded, wanted, seeds), ["Groups are drawn from the recorded ones."]
    changes: dict[str, object] = {} if seeds is None else {"seeds": seeds}
    groups, counted = makespan.predicted(runner.resolve(studies.override(studies.load(name), changes)), recorded)
    told = ", ".join(f"{count} from {kind}" for kind, count in counted.items())
    return groups, [f"Times of its cells: {told}; for as many images of the same size, and all epochs."]


def _recorded(groups: list[list[Time]]) -> list[str]:
    from bench import makespan

    found = makespan.machines(groups)
    told = "; ".join(f"{name}: {count} cells" for name, count in found.items())
    note = " Not all were recorded on the same." if len(found) > 1 else ""
    return [f"Recorded on {told}.{note}"]


def _draw(found: Forecast, target: Path) -> None:
    from bench import paper, scaling
    from bench.store import write_bytes

    form = target.suffix.removeprefix(".")
    write_bytes(target, paper.files(scaling.drawing([found]), [form])[form])


def _print(found: Forecast, told: list[str], form: Form, target: Path | None) -> None:
    """A table with what to know of it, or the rows alone; in CSV and JSON seconds, and what is said goes to stderr."""
    from bench import makespan
    from bench.quantities import duration

    stops = (
        f"{found.cells:,} cells in {found.groups:,} groups, {duration(found.work)} of work; the longest group takes "
        f"{duration(found.longest)}, which no number of workers can change; about "
        f"{found.useful:,} workers are enough for it."
    )
    lines = [stops, *told, *([f"Figure: {target.resolve()}"] if target else [])]
    if form is Form.TABLE:
        show([_shown(row) for row in found.rows], title=found.label or "cells as recorded")
        for line in lines:
            say(line)
        return
    if form is Form.JSON:
        content = {**found._asdict(), "rows": [row._asdict() for row in found.rows], "notes": told}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(makespan.Row._fields)
        writer.writerows(found.rows)
    for line in lines:
        complain(line)


def _shown(row: Row) -> dict[str, object]:
    from bench import makespan
    from bench.quantities import duration

    return {
        "workers": f"{row.workers:,}",
        "makespan": duration(row.seconds),
        "speed-up": f"{row.speedup:.1f}",
        "efficiency": f"{row.efficiency:.0%}",
        "not below": duration(row.bound),
        "because of": makespan.NAMES[row.limit],
        "longest first": duration(row.longest_first),
    }
