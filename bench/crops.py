"""Images that lie within another image of the data set, cut out at the same pixel scale, or overlap with it.

Points of the images that look alike vote for where one lies upon the other, in any of the eight positions; what some of
them agree on is confirmed by correlating all that the two share. Not covered: parts that were enlarged or reduced
before they were stored, turned by other angles than quarter turns or bent; parts that come to less than LEAST pixels of
the thumbnail of the whole; and parts that show fewer than VOTES points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.keypoints import Keypoints
from bench.resemblance import Box, Seen, correlated
from bench.sign_index import POSITIONS, Tables, placed, placed_points, turned

if TYPE_CHECKING:
    from PIL import Image

VOTES = 3
"""Points that must agree on a place at the least; of an image with many, SHARE of them."""
SHARE = 0.05
CORRELATED = 0.9
"""Correlation of the shared part from which one image lies in the other."""
SURE = 16
"""Points that agree so surely that a correlation of LIKELY is enough: parts without cells are mostly noise."""
LIKELY = 0.6
OVERLAP = 0.25
"""Share of the smaller image that must lie in the other."""
WHOLE = 0.95  # share of both images from which they are copies, not crops
HOPELESS = 0.4  # correlation below which a place is not looked at more closely
COMPARED = 128  # longest edge at which two images are compared [pixels]
LEAST = 24  # edge of the shared part at which two images are compared, at the least [pixels of the thumbnail]
SURROUNDINGS = 4.0  # standard deviation of the blur that stands for the surroundings [pixels of the comparison]
ASKED = 300  # points of a scale by which an image is looked for
BATCH = 32  # images that are looked up at a time, between looks at the clock
_AGREE = 3.0  # pixels of their scale within which votes are for one place
Progress = Callable[[int, int], None]


class Crop(NamedTuple):
    """An image within another, by their places in the sequence.

    Attributes:
        inner: The smaller image; of two of a size the earlier one.
        outer: The image in which it lies, or with which it overlaps.
        box: Where (left, top, right, bottom) [native pixels of the outer image], clipped to it; right to a few pixels.
        correlation: Of what the two share, 0 to 1.
        position: A key of `SYMMETRIES`: what was done to the inner image to give what the box shows.
    """

    inner: int
    outer: int
    box: Box
    correlation: float
    position: str


class Crops(NamedTuple):
    """What was found in the time that was allowed.

    Attributes:
        found: In order.
        compared: Pairs of images that were looked at.
        of: Pairs of images there are.
        complete: That all of them were.
    """

    found: list[Crop]
    compared: int
    of: int
    complete: bool


class _Vote(NamedTuple):
    """Where an asked image may lie: `offset` (row, column) of its placed corner [native pixels of the stored one]."""

    stored: int
    asked: int
    position: str
    offset: tuple[float, float]
    points: int  # that agree


class _OutOfTime(Exception):
    """The time that was allowed is over."""


def crops(seen: Sequence[Seen | None], seconds: float, progress: Progress = lambda done, of: None) -> Crops:
    """Every image that lies within another one, or overlaps with it by a quarter.

    Args:
        seen: What was kept of each image.
        seconds: How long it may take; when that is over, what was not yet looked up is left out.
        progress: Told how many images of how many were looked up.
    """
    end = monotonic() + seconds

    def tick() -> None:
        if monotonic() >= end:
            raise _OutOfTime

    # Large images are stored first, so that a part that is asked for finds the whole among the first of a table.
    order = [at for at, one in enumerate(seen) if one is not None]
    order.sort(key=lambda at: (-_area(seen[at]), at))
    indices, found, done = _Indices(seen, order, tick), dict[tuple[int, int], Crop](), 0
    try:
        for start in range(0, len(order), BATCH):
            batch = range(start, min(start + BATCH, len(order)))
            for vote in _votes(seen, order, batch, indices):
                tick()
                pair = vote.stored, vote.asked
                if pair not in found and (crop := _confirmed(seen, order, vote)) is not None:
                    found[pair] = crop
            done = batch.stop
            progress(done, len(order))
    except _OutOfTime:
        pass  # what the last batch found stands, but it is not counted as looked at
    compared, of = done * (done - 1) // 2, len(order) * (len(order) - 1) // 2
    return Crops(sorted(found.values()), compared, of, done == len(order))


class _Scale(NamedTuple):
    """The points of all images at one scale: whose they are (by place in the order), where, and their tables."""

    owners: np.ndarray
    places: np.ndarray
    signs: np.ndarray
    tables: Tables


class _Indices:
    """The points of all images, by their scales; made when they are first asked for."""

    def __init__(self, seen: Sequence[Seen | None], order: Sequence[int], tick: Callable[[], None]) -> None:
        self._tick = tick
        self._made: dict[int, _Scale] = {}
        self._points: dict[int, list[tuple[int, Keypoints]]] = defaultdict(list)
        for rank, at in enumerate(order):
            for points in () if (one := seen[at]) is None else one.points:
                self._points[points.scale].append((rank, points))

    def at(self, scale: int) -> _Scale:
        if scale not in self._made:
            group = self._points[scale]
            signs = np.concatenate([points.signs for _, points in group])
            self._made[scale] = _Scale(
                owners=np.concatenate([np.full(len(points.pixels), rank) for rank, points in group]),
                places=np.concatenate([points.places for _, points in group]),
                signs=signs,
                tables=Tables(signs, low=6, bits=20, tables=12, limit=8, tick=self._tick),
            )
        return self._made[scale]


def _votes(seen: Sequence[Seen | None], order: Sequence[int], batch: range, indices: _Indices) -> Iterator[_Vote]:
    """Places that enough points of one image of the batch and of an earlier image agree on."""
    by_scale: dict[int, list[tuple[int, Keypoints]]] = defaultdict(list)
    for rank in batch:
        for points in () if (one := seen[order[rank]]) is None else one.points:
            if points.asked and len(points.pixels):
                by_scale[points.scale].append((rank, points))
    sizes = np.array([(one.height, one.width) if (one := seen[order[at]]) else (0, 0) for at in batch])
    for scale, group in sorted(by_scale.items()):
        index = indices.at(scale)
        owners = np.concatenate([np.full(len(points.pixels[:ASKED]), rank) for rank, points in group])
        places = np.concatenate([points.places[:ASKED] for _, points in group])
        signs = np.concatenate([points.signs[:ASKED] for _, points in group])
        least = np.maximum(VOTES, SHARE * np.bincount(owners - batch.start, minlength=len(batch)))
        for position in POSITIONS:
            asked, stored, _ = index.tables.like(turned(signs, position))
            earlier = index.owners[stored] < owners[asked]
            asked, stored = asked[earlier], stored[earlier]
            there = placed_points(places[asked], sizes[owners[asked] - batch.start], position)
            offsets = index.places[stored] - there
            pairs = np.stack([index.owners[stored], owners[asked]], axis=1)
            for first, second, offset, votes in _agreed(pairs, offsets, stored, _AGREE * scale):
                if votes >= least[second - batch.start]:
                    yield _Vote(first, second, position, offset, votes)


def _agreed(
    pairs: np.ndarray, offsets: np.ndarray, points: np.ndarray, within: float
) -> Iterator[tuple[int, int, tuple[float, float], int]]:
    """Of each pair of images the offset that most points agree on, where these are enough.

    Args:
        pairs: Int64 (N, 2), the images of each vote.
        offsets: Float (N, 2), what it votes for [native pixels].
        points: Int64 (N,), which point it comes from: one point has one vote.
        within: How far agreeing votes may lie apart [native pixels].
    """
    if len(pairs) == 0:
        return
    _, which, hits = np.unique(pairs @ [pairs.max() + 1, 1], return_inverse=True, return_counts=True)
    some = hits[which] >= VOTES  # which leaves few
    pairs, offsets, points, which = pairs[some], offsets[some], points[some], which[some]
    if len(pairs) == 0:
        return
    best: dict[tuple[int, int], tuple[int, tuple[float, float]]] = {}
    for shift in np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * within:  # or a place on the edge of a bin would be lost
        bins = np.floor((offsets + shift) / (2 * within)).astype(np.int64)
        bins -= bins.min(axis=0)
        rows, columns = (bins.max(axis=0) + 1).tolist()
        bin_of = (which * rows + bins[:, 0]) * columns + bins[:, 1]
        _, one = np.unique(bin_of * (points.max() + 1) + points, return_index=True)
        _, first, place, counts = np.unique(bin_of[one], return_index=True, return_inverse=True, return_counts=True)
        means = np.stack([np.bincount(place, offsets[one, axis]) / counts for axis in (0, 1)], axis=1)
        enough = np.flatnonzero(counts >= VOTES)
        found = zip(pairs[one[first[enough]]].tolist(), counts[enough].tolist(), means[enough].tolist(), strict=True)
        for (stored, asked), votes, (row, column) in found:
            if votes > best.get((stored, asked), (0, (0.0, 0.0)))[0]:
                best[stored, asked] = votes, (row, column)
    for (stored, asked), (votes, offset) in best.items():
        yield stored, asked, offset, votes


def _confirmed(seen: Sequence[Seen | None], order: Sequence[int], vote: _Vote) -> Crop | None:
    """The asked image laid upon the stored one where the points say, if they are the same there."""
    outer, inner = seen[order[vote.stored]], seen[order[vote.asked]]
    if outer is None or inner is None:
        return None
    height, width = placed(np.empty((inner.height, inner.width), bool), vote.position).shape
    correlation, (row, column) = _aligned(outer, inner, vote, (height, width))
    box = (max(0, column), max(0, row), min(outer.width, column + width), min(outer.height, row + height))
    shared = max(0, box[2] - box[0]) * max(0, box[3] - box[1])
    least = LIKELY if vote.points >= SURE else CORRELATED
    if correlation < least or shared < OVERLAP * _area(inner) or shared > WHOLE * _area(outer):
        return None
    return Crop(order[vote.asked], order[vote.stored], box, correlation, vote.position)


def _aligned(outer: Seen, inner: Seen, vote: _Vote, size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """The best correlation near a place, and the place (row, column) [native pixels of the outer image]."""
    above = placed(inner.thumbnail, vote.position)
    scales = outer.width / outer.thumbnail.shape[1], size[1] / above.shape[1]
    step = max(*scales, max(size) / COMPARED)
    laid = _Laid(_detail(outer.thumbnail, step / scales[0]), _detail(above, step / scales[1]), scales, size, step)
    tried: dict[tuple[float, float], float] = {}
    best = vote.offset
    for stride in (step, step / 2, step / 4):
        for _ in range(4):
            around = [(best[0] + y * stride, best[1] + x * stride) for y in (-1, 0, 1) for x in (-1, 0, 1)]
            for place in around:
                if place not in tried:
                    tried[place] = laid.correlation((outer.height, outer.width), place)
            centre, best = best, max(around, key=tried.__getitem__)
            if best == centre:
                break
        if tried[best] < HOPELESS:
            break
    return tried[best], (round(best[0]), round(best[1]))


class _Laid(NamedTuple):
    """Two images to be laid upon each other: their details, native pixels per pixel of each, and of the comparison."""

    below: Image.Image
    above: Image.Image
    scales: tuple[float, float]
    size: tuple[int, int]
    step: float

    def correlation(self, outer: tuple[int, int], place: tuple[float, float]) -> float:
        """Of what the two share when the upper one's corner lies at (row, column); 0 where that is next to nothing."""
        top, left = max(0.0, place[0]), max(0.0, place[1])
        bottom, right = min(outer[0], place[0] + self.size[0]), min(outer[1], place[1] + self.size[1])
        shape = round((bottom - top) / self.step), round((right - left) / self.step)
        if min(shape) < LEAST:
            return 0.0
        shifted = left - place[1], top - place[0], right - place[1], bottom - place[0]
        one = _sampled(self.below, (left, top, right, bottom), self.scales[0], shape)
        return correlated(one, _sampled(self.above, shifted, self.scales[1], shape))


def _detail(thumbnail: np.ndarray, scale: float) -> Image.Image:
    """A thumbnail less its surroundings, as floats."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    grey = thumbnail.astype(np.float32)
    return Image.fromarray(grey - gaussian_filter(grey, SURROUNDINGS * scale))


def _sampled(
    picture: Image.Image, box: tuple[float, float, float, float], scale: float, shape: tuple[int, int]
) -> np.ndarray:
    """A part of an image (left, top, right, bottom) [native pixels] as float32 of a shape."""
    from PIL import Image

    width, height = picture.size
    left, top, right, bottom = (value / scale for value in box)
    part = max(0.0, left), max(0.0, top), min(width, right), min(height, bottom)
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR, box=part))


def _area(seen: Seen | None) -> int:
    return 0 if seen is None else seen.height * seen.width
