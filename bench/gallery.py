"""Which pictures of a data set tell most: chosen by the counts of every image, found among the stored thumbnails.

Nothing is painted here. Images and masks are thumbnails: images uint8 (H, W, 3), masks uint8 (H, W).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import picks, thumbnails
from bench.errors import StoreError
from bench.metrics import Metric
from bench.records import Status
from bench.rows import DISPUTED, Row
from bench.specs import ClassSpec
from bench.standings import Board, Standing
from bench.store import read_arrays

Pixels = NDArray[np.uint8]
SHOWN = 16
"""Standings that are shown per data set, best first; the page says how many are left out."""
EXAMPLES = 4
HARD = 3
SUSPECTS = 3
CANDIDATES = 12
"""Images that are searched for doubtful regions: those in which, by the counts, the networks can agree most."""
AGREEING = 3
"""Networks that it takes for their agreement to say something."""
FILMS = 3


class Made(NamedTuple):
    """One image, and what was made of it; the score is None where it is undefined on this image."""

    id: str
    image: Pixels
    truth: Pixels
    predicted: Pixels
    score: float | None


class Strip(NamedTuple):
    """One standing's predictions, in the order of the images; None where there is none."""

    standing: Standing
    made: tuple[Made | None, ...]


class Extremes(NamedTuple):
    """The best, the median and the worst image of one standing, by these names."""

    standing: Standing
    made: Mapping[str, Made]


class Hard(NamedTuple):
    """An image on which even the best network scores low: the majority's prediction, and the best network's score."""

    made: Made
    best: Standing


class Suspect(NamedTuple):
    """An image in which all networks agree against the mask.

    Attributes:
        made: `predicted` is what they agree on, IGNORE where they do not; without a score.
        region: Where they agree on another class than the mask's, bool (H, W); no rims and specks.
        share: Of the image that it takes, in [0, 1].
        instead: The classes they agree on there.
    """

    made: Made
    region: NDArray[np.bool_]
    share: float
    instead: tuple[str, ...]


class Film(NamedTuple):
    """How the predictions of one standing grew: for each image its class maps after the epochs, at training size."""

    standing: Standing
    epochs: tuple[int, ...]
    best_epoch: int
    made: tuple[tuple[Made, tuple[Pixels, ...]], ...]


class Gallery(NamedTuple):
    """The pictures of one data set, of one fold.

    Attributes:
        classes: What the masks say.
        fold: Which one; `folds` are those with a score.
        shown: Up to four images that all are shown on.
        kept, of: How many test images have pictures, of how many.
        networks: How many the last three look at.
        further: The extremes of standings that the page has no room for.
        left_out: How many standings are not shown.
    """

    classes: tuple[ClassSpec, ...]
    fold: int
    folds: int
    shown: tuple[Made, ...]
    kept: int
    of: int
    networks: int
    strips: tuple[Strip, ...]
    extremes: tuple[Extremes, ...]
    further: tuple[Extremes, ...]
    left_out: int
    hard: tuple[Hard, ...]
    suspects: tuple[Suspect, ...]
    films: tuple[Film, ...]


class _Shelf(NamedTuple):
    """The stored images and truths of a fold, as far as they were asked for, and where each has its place."""

    places: Mapping[str, int]
    arrays: Mapping[str, NDArray]

    def made(self, name: str, predicted: Pixels | None, score: float | None = None) -> Made | None:
        """An image with a prediction; None where one is missing, or they are not of one shape."""
        at = self.places[name]
        image, truth = self.arrays.get(f"image{at}"), self.arrays.get(f"truth{at}")
        if image is None or truth is None or predicted is None or predicted.shape != truth.shape:
            return None
        return Made(name, thumbnails.decoded(image), truth, predicted, score)

    def shown(self, names: Iterable[str]) -> tuple[Made, ...]:
        """Images with their truth in the place of a prediction."""
        found = (self.made(name, self.arrays.get(f"truth{self.places[name]}")) for name in names)
        return tuple(one for one in found if one is not None)


class _Choice(NamedTuple):
    """The images that are wanted, by their ids; standings by their places on the board."""

    across: tuple[str, ...]
    ends: Mapping[int, Mapping[str, str]]
    hard: tuple[tuple[str, int, float], ...]
    doubtful: tuple[str, ...]
    peers: tuple[int, ...]

    def of(self, place: int) -> list[str]:
        """Those that the prediction of one standing is wanted of."""
        own = [*self.across, *self.ends[place].values()] if place in self.ends else []
        return [*own, *self.doubtful, *(one[0] for one in self.hard)] if place in self.peers else own


def gallery(board: Board, metric: Metric, most: int = SHOWN, further: int = 0) -> Gallery | None:
    """The pictures of the first fold that has some; None when there are none.

    Args:
        board: The leaderboard of a data set.
        metric: What images are ranked by, each on its own.
        most: Standings that are shown.
        further: Standings beyond them whose extremes are wanted.
    Raises:
        StoreError: If pictures are damaged.
    """
    scored = sorted((row for one in board.standings for row in one.rows if _seen(row)), key=lambda row: row.cell.fold)
    stored = next((row for row in scored if _examples(row).is_file()), None)
    if stored is None:
        return None
    path, fold, one = _examples(stored), stored.cell.fold, board.standings
    about = read_arrays(path, "ids", "data")
    places = {str(name): number for number, name in enumerate(about.get("ids", ()))}
    rows = _rows(board, fold, str(about["data"]) if "data" in about else None)
    points = {
        at: {name: value for name, value in picks.scores(row, metric).items() if name in places}
        for at, row in rows.items()
    }
    choice = _chosen(board, rows, points, places, metric, most + further)
    wanted = dict.fromkeys(name for at in rows for name in choice.of(at))
    names = [f"{kind}{places[name]}" for name in wanted for kind in ("image", "truth")]
    shelf = _Shelf(places, read_arrays(path, *names) if names else {})
    masks = {at: _masks(row, choice.of(at)) for at, row in rows.items()}
    first, ends = list(rows)[:most], _extremes(board, choice, shelf, points, masks)
    return Gallery(
        classes=_classes(rows),
        fold=fold,
        folds=len({row.cell.fold for row in scored}),
        shown=shelf.shown(choice.across),
        kept=len(places),
        of=max((len(row.ids) for row in rows.values()), default=0),
        networks=len(choice.peers),
        strips=tuple(
            Strip(one[at], tuple(shelf.made(name, masks[at].get(name), points[at].get(name)) for name in choice.across))
            for at in first
        ),
        extremes=tuple(end for at, end in ends.items() if at in first),
        further=tuple(end for at, end in ends.items() if at not in first),
        left_out=len(rows) - len(first),
        hard=tuple(_hard(board, choice, shelf, masks)),
        suspects=tuple(_suspects(choice, shelf, [masks[at] for at in choice.peers], _classes(rows))),
        films=tuple(_films(board, rows)),
    )


def _rows(board: Board, fold: int, data: str | None) -> dict[int, Row]:
    """The scored row of each standing in a fold with the lowest seed, made from the data that the examples show."""
    found: dict[int, Row] = {}
    for place, standing in enumerate(board.standings):
        rows = [
            row
            for row in standing.rows
            if row.cell.fold == fold
            and _seen(row)
            and row.record is not None
            and data in (None, row.record.ingredients.get("data"))
        ]
        if rows:
            found[place] = min(rows, key=lambda row: row.cell.seed)
    return found


def _seen(row: Row) -> bool:
    """Whether a row's predictions are worth a look."""
    return row.status in (Status.OK, DISPUTED) and row.counts is not None


def _examples(row: Row) -> Path:
    """The file with the images that the cell of a row was shown on; each folder has its own."""
    assert row.store is not None
    return row.store.examples(row.cell.dataset, row.cell.fold)


def _file(row: Row, name: str) -> Path:
    assert row.store is not None
    return row.store.cell(row.cell) / name


def _classes(rows: Mapping[int, Row]) -> tuple[ClassSpec, ...]:
    return next((row.record.data.classes for row in rows.values() if row.record and row.record.data), ())


def _chosen(
    board: Board,
    rows: Mapping[int, Row],
    points: Mapping[int, Mapping[str, float]],
    places: Mapping[str, int],
    metric: Metric,
    count: int,
) -> _Choice:
    peers = [at for at in rows if board.standings[at].loss is not None]
    peers = [at for at in peers if rows[at].ids == rows[peers[0]].ids]
    best = {at: _best(board.standings[at], rows[at], places, metric) for at in peers}
    return _Choice(
        across=tuple(places)[:EXAMPLES],
        ends={at: picks.extremes(points[at], metric) for at in list(rows)[:count]},
        hard=tuple(picks.hardest(best, metric)[:HARD]) if len(peers) > 1 else (),
        doubtful=_doubtful([rows[at] for at in peers], places) if len(peers) >= AGREEING else (),
        peers=tuple(peers),
    )


def _best(standing: Standing, like: Row, places: Mapping[str, int], metric: Metric) -> dict[str, float]:
    """The best score of any seed on each image that has a picture."""
    runs = (row for row in standing.rows if _seen(row) and row.ids == like.ids)
    found = picks.hardest({at: picks.scores(row, metric) for at, row in enumerate(runs)}, metric)
    return {name: value for name, _, value in found if name in places}


def _doubtful(rows: Sequence[Row], places: Mapping[str, int]) -> tuple[str, ...]:
    """The images with pictures in which all networks can agree most against the mask."""
    shares = picks.doubtful([row.counts for row in rows if row.counts is not None])
    likely = sorted(zip(shares.tolist(), rows[0].ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return tuple(name for share, name in likely if share >= picks.LEAST and name in places)[:CANDIDATES]


def _masks(row: Row, names: Sequence[str]) -> dict[str, Pixels]:
    """Predicted masks of some images, as far as they were kept; old results name no images, but number them alike."""
    path = _file(row, "predictions.npz")
    if not names or not path.is_file():
        return {}
    ids = read_arrays(path, "ids").get("ids")
    ids = read_arrays(_examples(row), "ids").get("ids", ()) if ids is None else ids
    places = {str(name): number for number, name in enumerate(ids)}
    numbers = {f"predicted{places[name]}": name for name in names if name in places}
    arrays = read_arrays(path, *numbers)
    return {name: arrays[key] for key, name in numbers.items() if key in arrays and arrays[key].ndim == 2}


def _extremes(
    board: Board,
    choice: _Choice,
    shelf: _Shelf,
    points: Mapping[int, Mapping[str, float]],
    masks: Mapping[int, Mapping[str, Pixels]],
) -> dict[int, Extremes]:
    found: dict[int, Extremes] = {}
    for at, ends in choice.ends.items():
        made = {kind: shelf.made(name, masks[at].get(name), points[at][name]) for kind, name in ends.items()}
        there = {kind: one for kind, one in made.items() if one is not None}
        if there:
            found[at] = Extremes(board.standings[at], there)
    return found


def _hard(board: Board, choice: _Choice, shelf: _Shelf, masks: Mapping[int, Mapping[str, Pixels]]) -> Iterable[Hard]:
    for name, at, value in choice.hard:
        found = _alike([masks[peer][name] for peer in choice.peers if name in masks[peer]])
        made = shelf.made(name, picks.majority(found), value) if found else None
        if made is not None:
            yield Hard(made, board.standings[at])


def _suspects(
    choice: _Choice, shelf: _Shelf, masks: Sequence[Mapping[str, Pixels]], classes: Sequence[ClassSpec]
) -> list[Suspect]:
    """The images with the largest regions, where every network's prediction was kept."""
    found: list[Suspect] = []
    for name in choice.doubtful:
        own = _alike([one[name] for one in masks if name in one])
        made = shelf.made(name, picks.agreement(own)) if len(own) == len(masks) else None
        if made is None:
            continue
        region = picks.suspicious(made.truth, made.predicted)
        if region.any():
            labels = [int(label) for label in np.unique(made.predicted[region])]
            instead = tuple(classes[label].name if label < len(classes) else str(label) for label in labels)
            found.append(Suspect(made, region, float(region.mean()), instead))
    return sorted(found, key=lambda one: (-one.share, one.made.id))[:SUSPECTS]


def _alike(masks: Sequence[Pixels]) -> list[Pixels]:
    """Those of the first one's shape."""
    return [mask for mask in masks if mask.shape == masks[0].shape]


def _films(board: Board, rows: Mapping[int, Row]) -> Iterable[Film]:
    """How the best networks' predictions grew, where the epochs of the training that was scored are there."""
    count = 0
    for at, row in rows.items():
        path = _file(row, "epochs.npz")
        if count == FILMS or row.record is None or not path.is_file():
            continue
        arrays = read_arrays(path)
        if not {"ids", "epochs", "best_epoch"} <= arrays.keys() or int(arrays["best_epoch"]) != row.record.best_epoch:
            continue  # of another training
        made = tuple(_frames(arrays, number, str(name)) for number, name in enumerate(arrays["ids"]))
        epochs = tuple(int(epoch) for epoch in arrays["epochs"])
        count += 1
        yield Film(board.standings[at], epochs, row.record.best_epoch or 0, made)


def _frames(arrays: Mapping[str, NDArray], number: int, name: str) -> tuple[Made, tuple[Pixels, ...]]:
    try:
        frames = arrays[f"predicted{number}"]
        image, truth = thumbnails.decoded(arrays[f"image{number}"]), arrays[f"truth{number}"]
    except KeyError as error:
        raise StoreError(
            f"The picture {error} is missing from epochs.npz. Run the study again to write it anew."
        ) from error
    return Made(name, image, truth, frames[-1], None), tuple(frames)
