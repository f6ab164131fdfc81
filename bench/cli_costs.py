"""What a dry run prints: each cell of a small study, a row per data set and architecture of a large one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from rich.markup import escape
from rich.table import Table

from bench.cli_screen import duration

if TYPE_CHECKING:
    from rich.console import Console

    from bench.estimate import Cost
    from bench.specs import Cell

Columns = tuple[tuple[str, Literal["left", "right"]], ...]
"""Names of columns, and at which side of them their cells stand."""
FEW = 60
"""Up to so many cells each has a row of its own."""
NOT_PREPARED = "not prepared"
SMALL: Columns = (("cell", "left"),)
LARGE: Columns = (("data set", "left"), ("architecture", "left"), ("cells", "right"))
COLUMNS: Columns = (("parameters", "right"), ("step", "right"), ("at most", "right"), ("", "left"))


def show(
    console: Console, prices: Sequence[Cost], todo: Collection[Cell], missing: Mapping[str, str], workers: int
) -> None:
    """The cells with parameters, the time of a step and the longest time they may take; then what all would take.

    Args:
        prices: Of every cell, in their order.
        todo: The cells that a run would run.
        missing: Why a data set is not prepared, by its name.
        workers: Cells at once.
    """
    one_by_one = len(prices) <= FEW
    groups = [[price] for price in prices] if one_by_one else _groups(prices)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (*(SMALL if one_by_one else LARGE), *COLUMNS):
        table.add_column(name, justify=justify, overflow="fold")
    for group in groups:
        first = group[0].cell
        names = [escape(first.key)] if one_by_one else [escape(first.dataset), _what(group), str(len(group))]
        table.add_row(*names, *_figures(group, todo))
    console.print(table)
    if not one_by_one:
        expressions = dict.fromkeys(price.cell.loss for price in prices if price.cell.loss is not None)
        console.print(f"Losses of each network ({len(expressions)}): {', '.join(expressions)}.", markup=False)
    for line in _totals(prices, todo, missing, workers):
        console.print(line, markup=False, soft_wrap=True)


def _groups(prices: Sequence[Cost]) -> list[list[Cost]]:
    """The cells of one data set and architecture together, and all baselines of a data set."""
    found: dict[tuple[str, str | None], list[Cost]] = {}
    for price in prices:
        architecture = price.cell.architecture if price.cell.loss is not None else None
        found.setdefault((price.cell.dataset, architecture), []).append(price)
    return list(found.values())


def _what(group: Sequence[Cost]) -> str:
    return "(baselines)" if group[0].cell.loss is None else escape(group[0].cell.architecture)


def _figures(group: Sequence[Cost], todo: Collection[Cell]) -> Iterator[str]:
    """Parameters, time of a step, time of all cells, and what else is to be said of them."""
    params = {price.params for price in group if price.params}
    yield f"{max(params):,}" if params else "-"
    steps = sorted(price.step for price in group if price.step is not None)
    yield " to ".join(dict.fromkeys(_short(step) for step in (*steps[:1], *steps[-1:]))) or "-"
    known = [price.seconds for price in group if price.seconds is not None and not price.error]
    yield duration(sum(known)) if known else "-"
    notes = dict.fromkeys(price.error for price in group if price.error)
    if any(price.seconds is None for price in group):
        notes[NOT_PREPARED] = None
    stored = sum(price.cell not in todo for price in group)
    if stored:
        notes["stored" if stored == len(group) else f"{stored} stored"] = None
    yield escape("; ".join(notes))


def _short(step: float) -> str:
    return f"{1000 * step:.0f} ms" if step < 1 else f"{step:.1f} s"


def _totals(prices: Sequence[Cost], todo: Collection[Cell], missing: Mapping[str, str], workers: int) -> Iterator[str]:
    wanted = [price for price in prices if price.cell in todo]
    total, workers = sum(price.seconds or 0.0 for price in wanted), max(workers, 1)
    yield (
        f"{len(wanted)} of {len(prices)} cells to run: at most {duration(total)} of training, about "
        f"{duration(total / workers)} on {workers} workers (one step of each network and loss, timed here)."
    )
    wrong = sum(bool(price.error) for price in wanted)
    if wrong:
        yield f"Not in it: {wrong} cells that cannot be trained, as said in their rows."
    if missing:
        unknown = sum(price.seconds is None and not price.error for price in wanted)
        yield f"Not in it: {unknown} cells whose data sets are not prepared, so that nobody knows how long they take:"
        yield from (f"  {reason}" for reason in missing.values())
