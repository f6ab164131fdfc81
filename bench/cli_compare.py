"""`bench compare` and `bench verify`: what changed between two results, and whether a result is what it says."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import RESULTS, DataHome, Results, Stored, complain, console, home, packed, say, unpacked
from bench.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from bench.compare import Comparison, Difference, Pair
    from bench.verify import Report

STYLES = {"regression": "bold red", "worse": "yellow", "better": "green", "not comparable": "dim"}
COSTS = ("params", "flops", "train_seconds", "train_images_s", "infer_images_s", "peak_memory_mb")


class Form(StrEnum):
    """What `bench compare` can print."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "md"


class Listing(StrEnum):
    """What `bench verify` can print."""

    TEXT = "text"
    JSON = "json"


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"{RESULTS}; a cell as RESULTS:KEY, its folder, or its key.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What is judged against A; likewise.")],
    gate: Annotated[bool, typer.Option("--gate", help="Exit code 1 on a supported regression of B.")] = False,
    margin: Annotated[float, typer.Option(metavar="M", help="How much worse is too much, in the metric.")] = 0.01,
    profile: Annotated[str, typer.Option(help="The metric profile; see bench list metrics.")] = "default",
    form: Annotated[Form, typer.Option("--format", help="What to print.")] = Form.TABLE,
    results: Results = Path("results"),
) -> None:
    """Compare two studies, or two cells, paired on the same test images.

    A cell is dataset/architecture/loss/f0-s0; without its end, all its seeds and folds. With --gate the exit code is 1
    when the whole 95% interval of a difference lies below minus the margin.
    """
    from bench import compare as comparing
    from bench import metrics, selection

    chosen = metrics.profile(profile)
    sides = [replace(selection.side(*_found(text, results), chosen), name=text) for text in (a, b)]
    found = comparing.compare(*sides, chosen, profile, margin)
    if form is Form.JSON:
        sys.stdout.write(comparing.as_json(found))
    elif form is Form.MARKDOWN:
        sys.stdout.write(_markdown(found))
    else:
        for part in _shown(found):
            console().print(part, soft_wrap=isinstance(part, str), markup=not isinstance(part, str))
    if gate:
        _judge(found)


def verify(
    study: Stored = None,
    profile: Annotated[
        str | None, typer.Option(help="The profile the leaderboard was written under; default: found out.")
    ] = None,
    form: Annotated[Listing, typer.Option("--format", help="What to print.")] = Listing.TEXT,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Recompute every published number from the stored matrices and check every hash; exit code 1 if one is off."""
    from bench import verify as verifying

    archive = None if study is None else packed(study, results)
    if archive is None:
        found = verifying.verify(verifying.find(study, results), home(data_home), profile)
    else:
        found = _verified(archive, home(data_home), profile)
    if form is Listing.JSON:
        sys.stdout.write(verifying.as_json(found))
    else:
        _list(found)
    if found.findings:
        raise typer.Exit(1)


def _found(text: str, results: Path) -> tuple[Path, str | None]:
    """The study's folder behind A or B, and the cell of it that is meant; EXPORT or EXPORT:CELL are unpacked."""
    from bench import selection

    for at in (at for at, letter in enumerate(f"{text}:") if letter == ":"):
        if (archive := packed(text[:at], results)) is not None:
            return unpacked(archive), text[at + 1 :] or None
    return selection.find(text, results)


def _verified(archive: Path, data_home: Path, profile: str | None) -> Report:
    """What is found in an export: first by its checksums, and only where they are right in what it holds."""
    from bench import unpacking, verify

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch) / unpacking.stem(archive)
        broken = unpacking.extract(archive, folder)
        if broken:
            found = verify.Report(folder=str(archive))
            found.findings += [
                verify.Finding(path=one.path, what=one.what, fix="Get the export again.") for one in broken
            ]
            found.checked["checksums"] = sum(path.is_file() for path in folder.rglob("*")) + len(broken)
            return found
        found = verify.verify(folder, data_home, profile)
        checksums = sum(path.is_file() for path in folder.rglob("*"))
    found.folder, counted = str(archive), dict(found.checked)
    found.checked.clear()
    found.checked.update({"checksums": checksums, **counted})
    return found


def _judge(found: Comparison) -> None:
    """End the program if the gate is closed, or if there was nothing it could judge by."""
    if all(pair.reason is not None for pair in found.pairs):
        raise StudyError(
            f"The gate cannot judge: no row of {found.a} and {found.b} is comparable; the reasons are above."
        )
    if lost := [pair for pair in found.pairs if pair.reason and pair.reason.startswith("no score in B")]:
        complain(f"{len(lost)} rows have no score in B, which no gate judges: {lost[0].b}")
    if found.regressions:
        complain(f"{len(found.regressions)} supported regressions beyond {found.margin:g}: {found.regressions[0].b}")
        raise typer.Exit(1)


def _list(found: Report) -> None:
    for one in found.findings:
        say(f"{one.path}: {one.what} {one.fix}")
    for note in found.notes:
        say(f"Note: {note}")
    counted = ", ".join(f"{number} {name}" for name, number in found.checked.items())
    many = len(found.findings)
    ending = f"{many} finding{'s' * (many != 1)}" if many else "All is well"
    say(f"{ending}: {counted} checked in {found.folder}.")


def _shown(found: Comparison) -> Iterator[RenderableType]:
    from rich.markup import escape
    from rich.table import Table

    from bench import compare as comparing

    table = Table(
        title=escape(f"B {found.b} against A {found.a}: {found.metric} (profile {found.profile})"),
        caption=f"B - A with its 95% bootstrap interval, paired on the same test images. Margin {found.margin:g}.",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("row", "A", "B", "B - A", "95% interval", "verdict"):
        table.add_column(name, justify="right" if name in ("A", "B", "B - A") else "left", overflow="fold")
    for pair in found.pairs:
        fields = [escape(text) for text in _texts(pair)]
        table.add_row(*fields, style=STYLES.get(str(pair.verdict)))
    yield table
    yield _costs(found.pairs)
    if len(found.pairs) == 1:
        yield _classes(found.pairs[0])
    elif (moved := _moved(found.pairs)) is not None:
        yield moved
    yield "\n".join(
        [", ".join(f"{count} {name}" for name, count in found.tally.items()) + ".", *comparing.remarks(found)]
    )


def _costs(pairs: tuple[Pair, ...]) -> RenderableType:
    """What B costs against A, as a ratio; the numbers themselves where there is one pair alone."""
    from bench import cli_rows, quantities

    def told(pair: Pair, name: str) -> str | None:
        change = pair.costs.get(name)
        if change is None:
            return None
        ratio = "" if change.ratio is None else f"x{change.ratio:.2f}"
        if len(pairs) > 1:
            return ratio or None
        return f"{quantities.amount(change.a)} -> {quantities.amount(change.b)} {ratio}".rstrip()

    rows: list[dict[str, object]] = [
        {"": pair.b, **{name: told(pair, name) for name in COSTS}}
        for pair in pairs
        if any(change.ratio is not None for change in pair.costs.values())
    ]
    return cli_rows.table(rows, "cost of B against A")


def _classes(pair: Pair) -> RenderableType:
    from bench import cli_rows

    names = ("A", "B", "B - A", "95% interval")
    rows: list[dict[str, object]] = [
        {"class": name, **dict(zip(names, _values(one), strict=True))} for name, one in pair.classes.items()
    ]
    return cli_rows.table(rows, "Dice of each class (data set)")


def _moved(pairs: tuple[Pair, ...]) -> RenderableType | None:
    """The classes whose difference is supported, over all pairs; the JSON has every class."""
    from bench import cli_rows
    from bench import compare as comparing

    rows: list[dict[str, object]] = []
    for pair in pairs:
        for name, one in pair.classes.items():
            if comparing.verdict(one.interval, 0.0) is not comparing.Verdict.UNTOLD:
                a, b, difference, interval = _values(one)
                rows.append({"": pair.b, "class": name, "A": a, "B": b, "B - A": difference, "95% interval": interval})
    return cli_rows.table(rows, "Dice of classes that differ (data set)") if rows else None


def _markdown(found: Comparison) -> str:
    """A table of the pairs, and below it what differs in the protocol and what only one side has."""
    from bench import compare as comparing

    lines = [f"B {found.b} against A {found.a}: `{found.metric}` of profile `{found.profile}`. {found.definition}", ""]
    head = ("row", "A", "B", "B - A", "95% interval", "verdict")
    lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in _texts(pair))} |" for pair in found.pairs]
    lines += ["", *(f"- {line}" for line in comparing.remarks(found))]
    return "\n".join(lines) + "\n"


def _texts(pair: Pair) -> list[str]:
    """The fields of a pair as a reader sees them: name, A, B, difference, interval, verdict."""
    name = pair.a if pair.a == pair.b else f"{pair.a} : {pair.b}"
    said = f"{pair.verdict}: {pair.reason}" if pair.reason else str(pair.verdict)
    return [name, *_values(pair.primary), said]


def _values(found: Difference | None) -> list[str]:
    """A, B, their difference and its interval as texts."""
    if found is None:
        return ["n/a"] * 4
    difference = "n/a" if found.difference is None else f"{found.difference:+.4f}"
    interval = "n/a" if found.interval is None else f"{found.interval[0]:+.4f} to {found.interval[1]:+.4f}"
    a, b = ("n/a" if value is None else f"{value:.4f}" for value in (found.a, found.b))
    return [a, b, difference, interval]
