"""Example images beside the truth and what each standing predicted, as data URIs that a page can hold."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.leaderboard import DISPUTED, Board, Row, Standing
from bench.metrics import Metric, source
from bench.records import Status
from bench.specs import IGNORE, ClassSpec
from bench.store import read_arrays

if TYPE_CHECKING:
    from PIL import Image

EXAMPLES = 4
SHOWN = 16
"""Standings that are shown per data set, best first; the page says how many are left out."""
GREY = (128, 128, 128)


class Picture(NamedTuple):
    """A predicted mask, and the metric on this image alone; None where it is undefined."""

    uri: str
    score: float | None


class Strip(NamedTuple):
    """One standing's predictions, in the order of the images; None where there is none."""

    standing: Standing
    pictures: tuple[Picture | None, ...]


class Gallery(NamedTuple):
    """The example pictures of one data set."""

    classes: tuple[ClassSpec, ...]
    ids: tuple[str, ...]
    images: tuple[str, ...]
    truths: tuple[str, ...]
    strips: tuple[Strip, ...]
    left_out: int


def gallery(board: Board, metric: Metric) -> Gallery | None:
    """The examples of the first fold that has some; None when there are none."""
    scored = [row for standing in board.standings for row in standing.rows if _seen(row)]
    classes = next((row.record.data.classes for row in scored if row.record and row.record.data), ())
    stored = sorted((row for row in scored if _examples(row).is_file()), key=lambda row: row.cell.fold)
    if not stored:
        return None
    fold, shown = stored[0].cell.fold, read_arrays(_examples(stored[0]))
    ids = tuple(str(name) for name in shown["ids"][:EXAMPLES])
    drawn = [(standing, row) for standing in board.standings if (row := _first(standing, fold)) is not None]
    numbers = {path: _numbered(path) for path in {_examples(row) for _, row in drawn[:SHOWN]}}
    return Gallery(
        classes=classes,
        ids=ids,
        images=tuple(photograph(shown[f"image{number}"]) for number in range(len(ids))),
        truths=tuple(painted(shown[f"truth{number}"], classes) for number in range(len(ids))),
        strips=tuple(
            Strip(one, _pictures(row, ids, numbers[_examples(row)], classes, metric)) for one, row in drawn[:SHOWN]
        ),
        left_out=max(0, len(drawn) - SHOWN),
    )


def photograph(image: np.ndarray) -> str:
    """An image uint8 (H, W, 3) as a JPEG data URI: a tenth of the size of its PNG."""
    from PIL import Image

    return _uri(Image.fromarray(image), "jpeg", quality=88)


def painted(mask: np.ndarray, classes: Sequence[ClassSpec]) -> str:
    """A mask uint8 (H, W) as a PNG data URI in the colours of its classes; IGNORE, and what is no class, is grey."""
    from PIL import Image

    palette = [GREY] * (IGNORE + 1)
    palette[: len(classes)] = [spec.colour for spec in classes]
    image = Image.fromarray(mask)
    image.putpalette(bytes(value for colour in palette for value in colour))
    return _uri(image, "png", compress_level=6)


def _seen(row: Row) -> bool:
    """Whether a row's predictions are worth a look."""
    return row.status in (Status.OK, DISPUTED) and row.counts is not None


def _examples(row: Row) -> Path:
    """The file with the images that the cell of a row was shown on; each folder has its own."""
    assert row.store is not None
    return row.store.examples(row.cell.dataset, row.cell.fold)


def _numbered(path: Path) -> tuple[str, ...]:
    """The ids of the images in a file of examples, by which the predictions of its folder are numbered."""
    return tuple(map(str, read_arrays(path)["ids"])) if path.is_file() else ()


def _first(standing: Standing, fold: int) -> Row | None:
    """The scored row of a fold with the lowest seed: seed 0 where there is one."""
    rows = [row for row in standing.rows if row.cell.fold == fold and _seen(row)]
    return min(rows, key=lambda row: row.cell.seed, default=None)


def _pictures(
    row: Row, ids: Sequence[str], numbers: Sequence[str], classes: Sequence[ClassSpec], metric: Metric
) -> tuple[Picture | None, ...]:
    """The predictions for some images, found by the number each has in the folder of the row."""
    assert row.store is not None
    path = row.store.cell(row.cell) / "predictions.npz"
    masks = read_arrays(path) if path.is_file() else {}
    own = {name: masks.get(f"predicted{number}") for number, name in enumerate(numbers)}
    return tuple(
        None if (mask := own.get(name)) is None else Picture(painted(mask, classes), _score(row, name, metric))
        for name in ids
    )


def _score(row: Row, name: str, metric: Metric) -> float | None:
    if row.counts is None or name not in row.ids:
        return None
    found = source(metric, row.counts, row.measures)
    if found is None:
        return None
    value = float(metric.compute(found[[row.ids.index(name)]]))
    return None if math.isnan(value) else value


def _uri(image: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
