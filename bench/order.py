"""In which order cells are handed out to several workers: what takes longest first, so that nobody waits for it last.

No result depends on it. The makespan is then at most 4/3 of the shortest (R. L. Graham, SIAM J. Appl. Math. 17, 1969).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from bench import makespan, plan
from bench.prepare import reopen
from bench.records import FINAL, Record
from bench.specs import Cell, Place, Study

if TYPE_CHECKING:
    from bench.runner import Planned


def longest_first(todo: Sequence[Planned], planned: Sequence[Planned], study: Study, place: Place) -> list[Planned]:
    """The cells to run with those of the longest groups in front; groups that are expected to be equal stay in order.

    A group is expected to take its epochs, times the images of each, times what an image takes its architecture, where
    a cell of that is stored in the study, made of the same or not; else as long as the median of those that are.

    Args:
        planned: All cells of the study.
    Raises:
        DataError: If a data set of a cell to run is gone.
    """
    known: dict[str, list[float]] = {}
    for one in planned:
        if one.record is not None and (pace := _pace(one.record)):
            known.setdefault(one.cell.architecture, []).append(pace)
    paces = {architecture: median(found) for architecture, found in known.items()}
    usual = median(paces.values()) if paces else 1.0
    by_cell = {one.cell: one for one in todo}
    data = {name: reopen(name, place.data_home) for name in dict.fromkeys(cell.dataset for cell in by_cell)}
    images = {
        (name, fold): len(data[name].split(fold, study.folds, study.ratios)["train"])
        for name, fold in dict.fromkeys((cell.dataset, cell.fold) for cell in by_cell)
    }

    def expected(group: Sequence[Cell]) -> float:
        first, epochs = group[0], sum(plan.work(cell, study) for cell in group if cell.loss is not None)
        return epochs * images[first.dataset, first.fold] * paces.get(first.architecture, usual)

    groups = sorted(plan.groups(list(by_cell)), key=expected, reverse=True)
    return [by_cell[cell] for group in groups for cell in group]


def _pace(record: Record) -> float | None:
    """Seconds of training per image and epoch; None where that was not recorded."""
    time = makespan.time_of(record)
    images = 0 if record.data is None else record.data.train
    return time.training / (time.epochs * images) if record.status in FINAL and time.epochs and images else None
