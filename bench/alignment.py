"""Does a mask lie on its image? Where its outlines fit the edges of the image best, as a whole and block by block.

The mask's outlines are compared with the edges of the image in the mixture of colours that tells inside from outside
best, at every shift within reach: the agreement at a shift is the mean, over the outline, of the inward normal times
the direction of the edge below it, 1 where every outline lies on a sharp edge of the right sign and 0 where it lies
anywhere. A mask that is off as a whole agrees better at a shift; one that was bent apart from its image agrees better
only where each block may have a shift of its own. Masks are rough, hence `judge` measures every one against the others
of its data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.findings import Finding, Kind
from bench.specs import IGNORE

LONGEST = 800  # edge to which larger images are shrunk, by whole factors [pixels]
REACH = 16  # farthest shift along an axis, in images of 224 pixels and more [pixels of the shrunk image]
SMOOTH = 1.5  # standard deviation of the Gaussian before gradients are taken [pixels of the shrunk image]
MOST, FEWEST = 4000, 48  # points of the outline that are looked at; fewer say nothing
BLOCKS, BLOCK = 16, 48  # blocks along the longer edge, and the smallest edge of one [pixels of the shrunk image]
IN_BLOCK = 24  # points that tell where a block fits
TETHER = 0.15  # agreement that a block must win to move by the reach: along a straight outline every shift fits
WIDER = 2  # offset of the outline, all around, that is allowed for: many masks are drawn too wide [pixels, likewise]
FLAT = 1.0  # grey levels of standard deviation below which an image shows nothing

SHIFT, BEND = 2.0, 2.0  # what is told at least: the shift of a mask, and the spread of its blocks [pixels]
GAIN, LOCAL = 0.03, 0.075  # agreement to be won at least, likewise
LOST, GOOD = 0.12, 0.3  # agreement below which a mask fits nowhere, where half the masks of the data set have GOOD
OUTLYING = 6.0  # robust standard deviations from the median of the data set
AGREED = 0.6  # share of the masks that must have a shift in common
FEW_BLOCKS = 3  # blocks at which twice the agreement has to be won locally: few blocks win some by chance
LISTED = 8  # ids that a finding on many images names
MANY = 20  # findings of one kind above which they become one

Plane = NDArray[np.floating]


class Alignment(NamedTuple):
    """How a mask lies on its image.

    Attributes:
        shift: (dx, dy) by which the mask has to be moved to fit best, right and down [pixels of the image].
        here: Agreement of outlines and edges where the mask is, in [-1, 1].
        fit: Agreement at that shift.
        spread: Root mean square distance between the best shifts of the blocks and their mean [pixels of the image].
        local: Agreement that the blocks win by shifts of their own.
        blocks: How many blocks have an outline to go by.
        step: Pixels of the image to one of those that were compared; shifts are precise to about half of it.
        reach: The farthest shift along an axis that was tried [pixels of the image].
        wider: How far outside the edges the outlines were drawn, all around, before they were compared; negative for
            inside [pixels of the image].
    """

    shift: tuple[float, float]
    here: float
    fit: float
    spread: float
    local: float
    blocks: int
    step: int
    reach: int
    wider: float = 0.0


class Misfit(NamedTuple):
    """Masks that are off their images.

    Attributes:
        how: All by one shift, or one by a shift, one bent, one that fits nowhere.
        images: Ids: those that share the shift, or the one.
        shift: As of `Alignment`; the median of the images that share it.
        size: How far off [pixels of the image]; 0 where a mask fits nowhere.
        gain: Agreement that is won there; of a mask that fits nowhere what it has at best.
        of: How many masks could be looked at.
        reach: The farthest shift along an axis that was tried, of all of them [pixels].
    """

    how: Literal["common", "shifted", "bent", "nowhere"]
    images: tuple[str, ...]
    shift: tuple[float, float]
    size: float
    gain: float
    of: int
    reach: int


class _Outline(NamedTuple):
    """Points on the outlines of a mask, sorted by block: rows, columns, inward normals, and the block of each."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    down: Plane
    right: Plane
    block: NDArray[np.int64]


def aligned(image: np.ndarray, mask: np.ndarray) -> Alignment | None:
    """Where a mask fits its image best.

    Args:
        image: uint8 (H, W, 3).
        mask: Classes uint8 (H, W), 0 the background; IGNORE has no outline.
    Returns:
        None where nothing can be said: an image of less than 56 pixels, no contrast, or no outline that is long enough
        and far enough from the frame.
    """
    from PIL import Image

    step = -(-max(mask.shape) // LONGEST)
    small = np.asarray(Image.fromarray(image).reduce(step), np.float32)
    soft, unknown = (
        np.asarray(Image.fromarray(part.view(np.uint8) * np.uint8(255)).reduce(step), np.float32) / 255
        for part in ((mask > 0) & (mask != IGNORE), mask == IGNORE)
    )
    reach = min(REACH, max(soft.shape) // 14)
    outline = _outline(soft, unknown, reach) if reach >= 2 * WIDER else None
    if outline is None or small.std(axis=(0, 1)).max() < FLAT:
        return None
    grey = _contrast(small, soft, unknown, reach)
    if grey is None:
        return None
    edges = _edges(grey)
    found = _compared(outline, edges, reach, step)
    wider = _wider(outline, edges, reach)
    if abs(wider) < WIDER:
        return found
    redrawn = _compared(_narrowed(outline, wider, soft.shape, reach), edges, reach, step)
    return redrawn._replace(wider=step * float(wider)) if redrawn.fit > found.fit else found


def judge(alignments: Mapping[str, Alignment | None]) -> list[Misfit]:
    """The masks that are off: what most of them share first, then single ones, the worst first.

    A single mask is off where it is beyond what is told at least, and far outside what the masks of the data set are
    like: hand-drawn masks are all a little off. Where most masks lie on no edge, no single one is told.

    Args:
        alignments: By id, of one data set; those that say nothing are left out.
    """
    known = {name: one for name, one in alignments.items() if one is not None}
    if not known:
        return []
    usual = float(np.median([one.fit for one in known.values()]))
    lost = sorted((name for name, one in known.items() if one.fit < LOST), key=lambda name: known[name].fit)
    of, reach = len(known), max(one.reach for one in known.values())
    if len(lost) > max(2, of / 2):
        return [Misfit("nowhere", tuple(lost), (0.0, 0.0), 0.0, usual, of, reach)]
    lost = lost if usual > GOOD else []
    fitting = {name: one for name, one in known.items() if name not in lost}
    common = _common(fitting, of, reach)
    shifted = _shifted(fitting, common[0].shift if common else (0.0, 0.0), of, reach)
    told = {one.images[0] for one in shifted}
    bent = [one for one in _bent(fitting, of, reach) if one.images[0] not in told]
    nowhere = [Misfit("nowhere", (name,), (0.0, 0.0), 0.0, known[name].fit, of, reach) for name in lost]
    return [*common, *shifted, *bent, *nowhere]


def misaligned(alignments: Mapping[str, Alignment | None]) -> list[Finding]:
    """What `judge` finds, as findings; more than MANY single masks of one kind are one, which names the worst."""
    misfits = judge(alignments)
    found: list[Finding] = []
    for how in NOTES:
        alike = [one for one in misfits if one.how == how]
        if len(alike) > MANY:
            names = tuple(one.images[0] for one in alike)
            gain = float(np.median([one.gain for one in alike]))
            alike = [alike[0]._replace(images=names, shift=(0.0, 0.0), gain=gain)]
        found += map(_finding, alike)
    return found


NOTES = {
    "common": ("", "{count} of {of} masks fit {toward}."),
    "shifted": ("This mask fits {toward}.", "{count} of {of} masks fit elsewhere, up to {size:.1f} px away."),
    "bent": (
        "This mask is bent against its image: its parts fit {size:.1f} px apart.",
        "{count} of {of} masks are bent against their images: their parts fit up to {size:.1f} px apart.",
    ),
    "nowhere": (
        "This mask fits its image nowhere, moved by up to {reach} px.",
        "{count} of {of} masks fit their images nowhere, moved by up to {reach} px.",
    ),
}


def _finding(one: Misfit) -> Finding:
    (right, down), count = one.shift, len(one.images)
    toward = _toward(one.shift)
    note = NOTES[one.how][count > 1].format(count=count, of=one.of, toward=toward, size=one.size, reach=one.reach)
    measures = {"masks": count, "of": one.of, "agreement": one.gain, "reach": one.reach}
    measures |= {} if one.how == "nowhere" else {"pixels": one.size}
    measures |= {"right": right, "down": down} if one.how in ("common", "shifted") and any(one.shift) else {}
    return Finding(kind=Kind.SHIFTED, images=one.images[:LISTED], note=note, measures=measures)


def _toward(shift: tuple[float, float]) -> str:
    """A shift in words; what rounds to nothing is left out."""
    parts = [
        f"{abs(pixels):.1f} px further {words[pixels < 0]}"
        for pixels, words in zip(shift, (("right", "left"), ("down", "up")), strict=True)
        if abs(pixels) >= 0.05
    ]
    return " and ".join(parts)


def _outline(soft: Plane, unknown: Plane, reach: int) -> _Outline | None:
    """The points of the outlines that stay in the picture at every shift, at most MOST; None where there are too few.

    Args:
        soft: How much of each pixel is foreground, float32 (h, w).
        unknown: How much of it is ignored, likewise.
        reach: Farthest shift [pixels].
    """
    from scipy import ndimage

    solid = soft > 0.5
    edge = ndimage.binary_dilation(solid) & ~ndimage.binary_erosion(solid, border_value=1)  # of both sides
    if unknown.any():
        edge &= ndimage.maximum_filter(unknown, 7) == 0
    smooth = ndimage.gaussian_filter(soft, SMOOTH)
    rows, columns = np.nonzero(edge[reach + 1 : -reach - 1, reach + 1 : -reach - 1])
    rows, columns = rows + reach + 1, columns + reach + 1
    down = (smooth[rows + 1, columns] - smooth[rows - 1, columns]) / 2
    right = (smooth[rows, columns + 1] - smooth[rows, columns - 1]) / 2
    length = np.hypot(down, right)
    keep = np.flatnonzero(length > 0.05)  # specks and gaps of a pixel have no direction
    if len(keep) < FEWEST:
        return None
    keep = keep[np.linspace(0, len(keep) - 1, min(len(keep), MOST)).astype(np.int64)]
    edge_of_block = max(BLOCK, math.ceil(max(soft.shape) / BLOCKS))
    block = rows[keep] // edge_of_block * (1 + soft.shape[1] // edge_of_block) + columns[keep] // edge_of_block
    keep, block = keep[order := np.argsort(block, kind="stable")], block[order]
    return _Outline(rows[keep], columns[keep], down[keep] / length[keep], right[keep] / length[keep], block)


def _contrast(small: Plane, soft: Plane, unknown: Plane, reach: int) -> Plane | None:
    """The mixture of the channels that is brighter within and tells best, float32 (h, w), near the outlines.

    Source: Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x, with a grey level of noise added to every channel.
    """
    from scipy import ndimage

    near = ndimage.uniform_filter(soft, 2 * reach + 1)
    band = (near > 0.02) & (near < 0.98) & (unknown == 0)
    sides = [small[band & (soft > 0.75)], small[band & (soft < 0.25)]]
    if min(map(len, sides)) < FEWEST:
        return None
    within, without = (side[:: 1 + len(side) // 20_000] for side in sides)
    spread = (np.cov(within.T) + np.cov(without.T)) / 2 + np.eye(3)
    mixture = np.linalg.solve(spread, within.mean(axis=0) - without.mean(axis=0))
    return small @ mixture.astype(np.float32)


def _edges(grey: Plane) -> tuple[Plane, Plane]:
    """Gradients down and right, each shortened to below 1 so that no strong edge outshouts the others."""
    from scipy import ndimage

    down, right = np.gradient(ndimage.gaussian_filter(grey, SMOOTH))
    length = np.hypot(down, right)
    length += np.quantile(length[::3, ::3], 0.8) + 1e-6
    return down / length, right / length


def _compared(outline: _Outline, edges: tuple[Plane, Plane], reach: int, step: int) -> Alignment:
    """The best shift of the whole outline, and of its blocks."""
    width = 2 * reach + 1
    sums, points = _agreements(outline, edges, reach)
    whole = (sums.sum(axis=0) / points.sum()).reshape(width, width)
    row, column = (int(at) for at in np.unravel_index(whole.argmax(), whole.shape))
    told = points >= IN_BLOCK
    spread, local = _apart(sums[told] / points[told, None], points[told], (row, column)) if told.any() else (0.0, 0.0)
    return Alignment(
        shift=(step * _peak(whole[row], column), step * _peak(whole[:, column], row)),
        here=float(whole[reach, reach]),
        fit=float(whole.max()),
        spread=step * spread,
        local=local,
        blocks=int(np.count_nonzero(told)),
        step=step,
        reach=step * reach,
    )


def _wider(outline: _Outline, edges: tuple[Plane, Plane], reach: int) -> int:
    """How far within the outline the edges lie on the whole [pixels], at most half the reach; negative for outside.

    A shift moves the edges in on one side and out on the other one, so that it changes little.
    """
    offsets = np.arange(-reach, reach + 1)
    rows = np.rint(outline.rows + offsets[:, None] * outline.down).astype(np.int64)
    columns = np.rint(outline.columns + offsets[:, None] * outline.right).astype(np.int64)
    agreement = (outline.down * edges[0][rows, columns] + outline.right * edges[1][rows, columns]).mean(axis=1)
    smooth = np.convolve(agreement, np.ones(2 * WIDER + 1), "same")[reach // 2 : -(reach // 2)]
    return int(smooth.argmax()) + reach // 2 - reach


def _narrowed(outline: _Outline, wider: int, shape: tuple[int, ...], reach: int) -> _Outline:
    """The outline moved inwards by so many pixels, as far as it stays in the picture at every shift."""
    rows, columns = (
        np.rint(places + wider * normals).astype(np.int64).clip(reach, size - reach - 1)
        for places, normals, size in zip(outline[:2], outline[2:4], shape, strict=True)
    )
    return outline._replace(rows=rows, columns=columns)


def _agreements(outline: _Outline, edges: tuple[Plane, Plane], reach: int) -> tuple[Plane, NDArray[np.int64]]:
    """Sums of agreement of every block at every shift, float32 (B, S), row by row; and points of each, int64 (B,)."""
    width = 2 * reach + 1
    starts = np.flatnonzero(np.diff(outline.block, prepend=-1))
    ends = [*starts[1:].tolist(), len(outline.block)]
    sums = np.zeros((len(starts), width * width), np.float32)
    for normals, plane in zip((outline.down, outline.right), edges, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(plane, (width, width))
        for at, part in enumerate(map(slice, starts.tolist(), ends)):
            below = windows[outline.rows[part] - reach, outline.columns[part] - reach]
            sums[at] += normals[part] @ below.reshape(-1, width * width)
    return sums, np.diff(starts, append=len(outline.block))


def _apart(agreement: Plane, points: NDArray[np.int64], common: tuple[int, int]) -> tuple[float, float]:
    """How far the best shifts of blocks spread [pixels], and what they win over the common one, weighted by points.

    Args:
        agreement: Of every block at every shift, float32 (B, S).
        points: Of every block, int64 (B,).
        common: Row and column of the shift where the whole outline fits best.
    """
    width = math.isqrt(agreement.shape[1])
    rows, columns = np.divmod(np.arange(width * width), width)
    away = (rows - common[0]) ** 2 + (columns - common[1]) ** 2
    best = (agreement - TETHER * away / (width // 2) ** 2).argmax(axis=1)
    far = sum(
        np.average((one - np.average(one, weights=points)) ** 2, weights=points) for one in (rows[best], columns[best])
    )
    won = agreement[np.arange(len(best)), best] - agreement[:, common[0] * width + common[1]]
    return math.sqrt(far), float(np.average(won, weights=points))


def _peak(line: Plane, at: int) -> float:
    """Where a line of agreements peaks, from its middle [pixels]: by a parabola through the top and its neighbours."""
    position = float(at - len(line) // 2)
    if 0 < at < len(line) - 1:
        before, top, behind = (float(value) for value in line[at - 1 : at + 2])
        if 2 * top > before + behind:
            position += (behind - before) / (2 * top - before - behind) / 2
    return position


def _common(fitting: Mapping[str, Alignment], of: int, reach: int) -> list[Misfit]:
    """The shift that most masks share, if there is one."""
    if len(fitting) < 3:
        return []
    shifts = np.array([one.shift for one in fitting.values()])
    right, down = (float(middle) for middle in np.median(shifts, axis=0))
    size, step = math.hypot(right, down), float(np.median([one.step for one in fitting.values()]))
    near = np.hypot(shifts[:, 0] - right, shifts[:, 1] - down) <= max(1.5 * step, size / 3)
    gain = float(np.median([one.fit - one.here for one in fitting.values()]))
    if size < SHIFT * max(1, 0.75 * step) or near.mean() < AGREED or gain <= 0:
        return []
    names = tuple(name for name, agrees in zip(fitting, near, strict=True) if agrees)
    return [Misfit("common", names, (right, down), size, gain, of, reach)]


def _shifted(fitting: Mapping[str, Alignment], usual: tuple[float, float], of: int, reach: int) -> list[Misfit]:
    """The single masks that fit better elsewhere, and elsewhere than is usual."""
    sizes = [math.dist(one.shift, usual) for one in fitting.values()]
    limit = _limit(sizes)
    found = [
        Misfit("shifted", (name,), one.shift, math.hypot(*one.shift), one.fit - one.here, of, reach)
        for (name, one), size in zip(fitting.items(), sizes, strict=True)
        if size > max(limit, SHIFT * one.step) and one.fit - one.here > GAIN
    ]
    return sorted(found, key=lambda one: -one.size)


def _bent(fitting: Mapping[str, Alignment], of: int, reach: int) -> list[Misfit]:
    """The single masks whose blocks fit each somewhere else."""
    won = max(LOCAL, _limit([one.local for one in fitting.values()]))
    found = [
        Misfit("bent", (name,), one.shift, one.spread, one.local, of, reach)
        for name, one in fitting.items()
        if one.spread > BEND * one.step and one.local > won * (1 + FEW_BLOCKS / max(1, one.blocks))
    ]
    return sorted(found, key=lambda one: -one.size)


def _limit(values: list[float]) -> float:
    """The value beyond which one of these is an outlier, by median and median absolute deviation; 0 of none."""
    if not values:
        return 0.0
    middle = np.median(values)
    return float(middle + OUTLYING * 1.4826 * np.median(np.abs(np.array(values) - middle)))
