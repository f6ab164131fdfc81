"""Images of one scene: the same pixels, or re-encoded, resized, turned, mirrored, brighter, bent, shrunk in a frame.

What is kept of an image is small (`Seen`). Candidates come from an index of the signs of low frequencies; each is then
confirmed: the second image is laid upon the first, a smooth field of shifts follows what was bent, and what is left is
correlated. That makes a loose index safe.

Measured on the forty photographs of Blood-Cell at 512 pixels, and on images of `smear`, with the copies that published
projects made of theirs: of the 255 signs, five barrels one upon the other change up to 36, five pincushions up to 50,
wide elastic fields up to 30, a turn by 3 degrees up to 47, JPEG of quality 50 up to 3; unrelated images differ in at
least 94 (Blood-Cell) or 82 (smear) in the most similar of eight positions. Correlation after the shifts: a copy with
its source 0.92 and above; unrelated photographs at most 0.40, smears 0.51; of four million pairs of textures of a few
dozen blobs, which a field of shifts turns into one another most easily, 0.82. Two copies that are both bent, five
barrels and five pincushions, come to 0.83 to 0.92: both are told with their source, but not always with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from bench import keypoints
from bench.connected import Connected
from bench.duplicates import EDGE, FLAT
from bench.sign_index import INVERSE, POSITIONS, Tables, placed, turned

THUMBNAIL = 192  # longest edge [pixels]
NEAR = 64
"""Signs of the 255 in which candidates may differ."""
CORRELATED = 0.88
"""Correlation from which two images are of one scene: above unrelated pairs, below a copy and its source."""
STILL = 0.97  # correlation of two images as they are from which nothing needs to be bent
GROUP = 10
"""Images of one scene up to which every pair of them is told; of more, pairs that hang them together."""
TRIES = 60
"""Images of other scenes upon which one is laid at most: what bounds the work where everything looks alike."""
FRAME = 10  # grey levels by which the content of a plain frame differs from it
_COMPARED = 64  # longest edge at which images are correlated [pixels]
Progress = Callable[[int, int], None]
Box = tuple[int, int, int, int]


class Seen(NamedTuple):
    """What is kept of an image for all later comparing; about 50 kB for a photograph.

    Attributes:
        height: Native height [pixels].
        width: Native width [pixels].
        thumbnail: Greys uint8, the longest edge THUMBNAIL or less.
        boxes: What the fingerprints are of (left, top, right, bottom) [pixels of the thumbnail]: the whole, and what is
            within a plain frame where there is one.
        signs: Their fingerprints, bool (P, 16, 16); see `bench.duplicates`.
        points: Where the image can be recognised locally, by scale.
    """

    height: int
    width: int
    thumbnail: np.ndarray
    boxes: tuple[Box, ...]
    signs: np.ndarray
    points: tuple[keypoints.Keypoints, ...]


class Pair(NamedTuple):
    """Two images of one scene, by their places in the sequence, `first` < `second`.

    Attributes:
        exact: The same pixels.
        correlation: Of the two once laid upon each other, 0 to 1.
        position: A key of `SYMMETRIES`: what was done to the first to give the second.
        displacement: How far the second is bent at most, after position and size are undone: the 99th percentile over
            the textured part [native pixels of the first].
        brightness: Mean grey of the second less that of the first [0-255].
    """

    first: int
    second: int
    exact: bool
    correlation: float
    position: str
    displacement: float
    brightness: float


class _Candidate(NamedTuple):
    first: int
    second: int
    position: str
    boxes: tuple[int, int]  # which of each image's `boxes`


def seen(image: np.ndarray) -> Seen | None:
    """What is kept of an image uint8 (H, W, 3); None when it shows nothing, or is smaller than 32 pixels."""
    from PIL import Image

    height, width = image.shape[:2]
    if min(height, width) < 2 * EDGE:
        return None
    grey = Image.fromarray(image).convert("L")
    thumbnail = _fitted(grey, THUMBNAIL)
    if thumbnail.std() < FLAT:
        return None
    whole = (0, 0, thumbnail.shape[1], thumbnail.shape[0])
    boxes = (whole, *(box for box in [_content(thumbnail)] if box != whole))
    signs = np.stack([_signs(thumbnail, box) for box in boxes])
    return Seen(height, width, thumbnail, boxes, signs, keypoints.describe(grey))


class Copies(NamedTuple):
    """What was found.

    Attributes:
        found: Pairs in order.
        left: Pairs that look alike from afar and were not compared, since one of the two was laid upon TRIES images of
            other scenes before.
    """

    found: list[Pair]
    left: int


def copies(seen: Sequence[Seen | None], exact: Sequence[str], progress: Progress = lambda done, of: None) -> Copies:
    """Pairs of images of one scene: all of them; of a group of more than GROUP images as many as connect it.

    Args:
        seen: What was kept of each image; None shows nothing and is compared by `exact` alone.
        exact: A hash of the pixels of each.
        progress: Told how many candidates of how many are confirmed or dismissed.
    """
    members: dict[str, list[int]] = {}
    for at, content in enumerate(exact):
        members.setdefault(content, []).append(at)
    found = [
        Pair(one, other, True, 1.0, "none", 0.0, 0.0)
        for group in members.values()
        for one, other in _pairs(group)
    ]  # fmt: skip
    pairs, left = _confirmed(seen, _candidates(seen, [group[0] for group in members.values()]), progress)
    for pair in pairs:
        for one in members[exact[pair.first]][:GROUP]:
            for other in members[exact[pair.second]][:GROUP]:
                found.append(pair._replace(first=one, second=other) if one < other else _swapped(pair, other, one))
    return Copies(sorted(found), left)


def repeated(pairs: Sequence[Pair]) -> set[int]:
    """All images of each scene but the first: what is in them is in that one too."""
    scenes = Connected[int]()
    for pair in pairs:
        scenes.join(pair.first, pair.second)
    return {at for pair in pairs for at in pair[:2] if scenes.first(at) != at}


def _pairs(group: Sequence[int]) -> Iterator[tuple[int, int]]:
    if len(group) <= GROUP:
        return combinations(group, 2)
    return ((group[0], other) for other in group[1:])


def _swapped(pair: Pair, first: int, second: int) -> Pair:
    position = INVERSE[pair.position]
    return pair._replace(first=first, second=second, position=position, brightness=-pair.brightness)


def _candidates(seen: Sequence[Seen | None], which: Sequence[int]) -> list[_Candidate]:
    """Pairs among some images whose fingerprints nearly agree, the most alike first, in their best position."""
    kept = [(at, one) for at in which if (one := seen[at]) is not None]
    if not kept:
        return []
    owners = np.array([(at, box) for at, one in kept for box in range(len(one.boxes))])
    signs = np.concatenate([one.signs for _, one in kept])
    tables = Tables(signs, low=9, bits=16, tables=64, limit=NEAR)
    rows: list[np.ndarray] = []
    for number, position in enumerate(POSITIONS):
        asked, stored, differing = tables.like(turned(signs, position))
        later = owners[asked, 0] > owners[stored, 0]
        columns = [owners[stored, 0], owners[asked, 0], differing, np.full_like(asked, number)]
        rows.append(np.stack([*columns, owners[stored, 1], owners[asked, 1]], axis=1)[later])
    table = np.concatenate(rows)
    table = table[np.lexsort(table.T[::-1])]
    _, best = np.unique(table[:, :2], axis=0, return_index=True)
    best = best[np.argsort(table[best, 2], kind="stable")]
    return [
        _Candidate(first, second, INVERSE[POSITIONS[position]], (one, other))
        for first, second, _, position, one, other in table[best].tolist()
    ]


def _confirmed(
    seen: Sequence[Seen | None], candidates: Sequence[_Candidate], progress: Progress
) -> tuple[list[Pair], int]:
    """The candidates that are of one scene, and how many were left out.

    The most alike come first; those of a scene that is connected already wait: in a large group they are not needed.
    """
    scenes, failed, found = Connected[int](), Counter[int](), list[Pair]()
    waiting, dismissed = list[_Candidate](), list[_Candidate]()
    for done, one in enumerate(candidates, 1):
        if scenes.first(one.first) == scenes.first(one.second):
            waiting.append(one)
        elif max(failed[one.first], failed[one.second]) >= TRIES:
            dismissed.append(one)
        elif (pair := _registered(one, seen)).correlation >= CORRELATED:
            found.append(pair)
            scenes.join(one.first, one.second)
        else:
            failed.update((one.first, one.second))
        progress(done, len(candidates))
    small = (_registered(one, seen) for one in waiting if scenes.size(one.first) <= GROUP)
    found += [pair for pair in small if pair.correlation >= CORRELATED]
    return found, sum(scenes.first(one.first) != scenes.first(one.second) for one in dismissed)


def _registered(one: _Candidate, seen: Sequence[Seen | None]) -> Pair:
    """How alike two images are once the second lies upon the first."""
    from scipy.ndimage import map_coordinates
    from skimage.registration import optical_flow_ilk

    first, second = (image for at in one[:2] if (image := seen[at]) is not None)
    left, top, right, bottom = first.boxes[one.boxes[0]]
    below = _fitted(_cut(first.thumbnail, (left, top, right, bottom)), _COMPARED)
    undone = placed(_cut(second.thumbnail, second.boxes[one.boxes[1]]), INVERSE[one.position])
    above = _fitted(undone, _COMPARED, below.shape)
    a, b = _flattened(below), _flattened(above)
    correlation, displacement = correlated(a, b), 0.0
    if correlation < STILL:
        rows, columns = optical_flow_ilk(a, b, radius=5, num_warp=4, dtype=np.float32)
        y, x = np.mgrid[: a.shape[0], : a.shape[1]]
        shown = (y + rows >= 0) & (y + rows < a.shape[0]) & (x + columns >= 0) & (x + columns < a.shape[1])
        moved = map_coordinates(b, [y + rows, x + columns], order=1, mode="nearest")
        correlation = correlated(a[shown], moved[shown])
        textured = shown & (np.abs(a) > 0.5)
        scale = (right - left) / a.shape[1] * first.width / first.thumbnail.shape[1]
        displacement = scale * float(np.percentile(np.hypot(rows, columns)[textured], 99)) if textured.any() else 0.0
    brightness = float(above.mean()) - float(below.mean())
    return Pair(one.first, one.second, False, max(correlation, 0.0), one.position, displacement, brightness)


def correlated(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two arrays of one shape, -1 to 1; 0 where either is constant."""
    one, other = one - one.mean(), other - other.mean()
    power = float((one * one).sum()) * float((other * other).sum())
    return float((one * other).sum()) / power**0.5 if power > 0 else 0.0


def _flattened(grey: np.ndarray) -> np.ndarray:
    """Greys (H, W) less their surroundings, by the local contrast: what a lamp, a stain or a lens shades is gone."""
    from scipy.ndimage import gaussian_filter

    grey = grey.astype(np.float32)
    detail = grey - gaussian_filter(grey, _COMPARED / 16)
    return detail / np.sqrt(gaussian_filter(detail * detail, _COMPARED / 8) + 9)  # 3 levels of noise count for nothing


def _content(grey: np.ndarray) -> Box:
    """The box (left, top, right, bottom) of what differs from the colour of the corner; the whole if there is little.

    A picture shrunk or padded into a plain frame is then compared by what is in the frame.
    """
    height, width = grey.shape
    differs = np.abs(grey.astype(np.int16) - int(np.median(grey[:3, :3]))) > FRAME
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if len(rows) == 0:
        return 0, 0, width, height
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    small = box[2] - box[0] < max(2 * EDGE, width // 3) or box[3] - box[1] < max(2 * EDGE, height // 3)
    return (0, 0, width, height) if small else box


def _signs(grey: np.ndarray, box: Box) -> np.ndarray:
    """The fingerprint of a part of a thumbnail, bool (16, 16)."""
    from scipy.fft import dctn

    small = _fitted(_cut(grey, box), 2 * EDGE, (2 * EDGE, 2 * EDGE))
    signs = dctn(small.astype(np.float64))[:EDGE, :EDGE] > 0
    signs[0, 0] = False
    return signs


def _cut(grey: np.ndarray, box: Box) -> np.ndarray:
    return grey[box[1] : box[3], box[0] : box[2]]


def _fitted(grey: object, edge: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Greys brought to a shape, or else to a longest edge unless they are smaller; averaged, uint8."""
    from PIL import Image

    picture = grey if isinstance(grey, Image.Image) else Image.fromarray(np.ascontiguousarray(grey))
    scale = min(1.0, edge / max(picture.size))
    width, height = shape[::-1] if shape else (max(1, round(side * scale)) for side in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))
