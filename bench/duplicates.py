"""Pictures that are copies of one another: the same bytes, or one scene re-encoded, turned, mirrored or brightened.

A fingerprint is the signs of the 16x16 lowest frequencies (discrete cosine transform) of the picture as 32x32 greys:
brightness and contrast do not change a sign, a mirrored picture changes the sign of every odd frequency along an axis,
and a picture turned about its diagonal has the frequencies of its axes swapped. So the eight positions of a picture
follow from one fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.connected import Connected
from bench.specs import Sample, Split

EDGE = 16  # frequencies along each axis
BANDS = 16  # of 16 signs each; pictures are compared when they share one
NEAR = 24
"""Signs of the 256 that may differ between copies; of forty blood smears no two differ in fewer than 100.

Copies that differ in up to 15 share a band for certain; of those that differ in 20, by chance, 1 in 170 share none.
"""
FLAT = 1.0  # grey levels of standard deviation below which a picture shows nothing that could be recognised


def fingerprint(image: np.ndarray) -> np.ndarray | None:
    """The signs of the low frequencies of an image uint8 (H, W, 3), bool (16, 16).

    None when it shows nothing, or is too small to have that many frequencies.
    """
    from PIL import Image
    from scipy.fft import dctn

    if min(image.shape[:2]) < 2 * EDGE:
        return None
    small = Image.fromarray(image).resize((2 * EDGE, 2 * EDGE), Image.Resampling.BOX).convert("L")
    grey = np.asarray(small, np.float64)
    if grey.std() < FLAT:
        return None
    signs = dctn(grey)[:EDGE, :EDGE] > 0
    signs[0, 0] = False  # the mean brightness
    return signs


def sourced(
    samples: Sequence[Sample], prints: Sequence[np.ndarray | None], exact: Sequence[str], say: Callable[[str], None]
) -> list[Sample]:
    """The samples with a source each: where the data set does not know it, the first of all copies of the picture.

    An official split stands: copies across it keep a source of their own in each split, and are told.

    Args:
        samples: Samples, some or all with an empty source.
        prints: Their fingerprints; of no use for samples whose source is known.
        exact: A hash of image and mask of each.
        say: Told about copies across an official split.
    """
    unknown = [at for at, sample in enumerate(samples) if not sample.source]
    if not unknown:
        return list(samples)
    names = [samples[at].id for at in unknown]
    found = dict(
        zip(unknown, groups(names, [prints[at] for at in unknown], [exact[at] for at in unknown]), strict=True)
    )
    first: dict[tuple[str, Split | None], str] = {}
    for at in sorted(unknown, key=lambda at: samples[at].id):
        first.setdefault((found[at], samples[at].split), samples[at].id)
    across = sorted(name for name, splits in Counter(name for name, _ in first).items() if splits > 1)
    if across:
        say(
            f"{len(across)} pictures have copies in more than one official split, the first is {across[0]}. The "
            "official split is kept; remove the copies for an honest score."
        )
    return [
        replace(sample, source=first[found[at], sample.split]) if at in found else sample
        for at, sample in enumerate(samples)
    ]


def groups(names: Sequence[str], prints: Sequence[np.ndarray | None], exact: Sequence[str]) -> list[str]:
    """Which pictures are copies: the first name of the group each belongs to; its own when it has no copy.

    Args:
        names: A name for each picture; the order in which they come does not matter.
        prints: Their fingerprints.
        exact: What only pictures share that are the same anyway: a hash of their bytes.
    """
    pictures, first = Connected[int](), dict[str, int]()
    for at, content in enumerate(exact):
        pictures.join(first.setdefault(content, at), at)
    for one, other in _near(prints):
        pictures.join(one, other)
    name: dict[int, str] = {}
    for at, text in enumerate(names):
        name[pictures.first(at)] = min(text, name.get(pictures.first(at), text))
    return [name[pictures.first(at)] for at in range(len(names))]


def _near(prints: Sequence[np.ndarray | None]) -> Iterator[tuple[int, int]]:
    """Pairs of pictures whose fingerprints differ in at most NEAR signs, in any of the eight positions.

    Only pictures that share a band are compared, which for pictures that are no copies is one in thousands.
    """
    known = [at for at, signs in enumerate(prints) if signs is not None]
    codes = np.stack([_words(signs) for signs in prints if signs is not None]) if known else np.zeros((0, BANDS))
    buckets: dict[tuple[int, int], list[int]] = {}
    for row, words in enumerate(codes.tolist()):
        for band, word in enumerate(words):
            buckets.setdefault((band, word), []).append(row)
    for row, at in enumerate(known):
        signs = prints[at]
        for turned in [] if signs is None else positions(signs):
            words = _words(turned)
            candidates = {
                other
                for band, word in enumerate(words.tolist())
                for other in buckets.get((band, word), ())
                if other > row
            }
            rows = np.fromiter(candidates, np.int64, len(candidates))
            differing = np.bitwise_count(codes[rows] ^ words).sum(axis=1)
            yield from ((at, known[other]) for other in rows[differing <= NEAR].tolist())


def positions(signs: np.ndarray) -> Iterator[np.ndarray]:
    """The fingerprints of a picture in its eight positions: mirrored along either axis, and transposed."""
    odd = np.arange(EDGE) % 2 == 1
    for picture in (signs, signs.T):
        for rows in (False, True):
            for columns in (False, True):
                turned = picture ^ (odd[:, None] & rows) ^ (odd[None, :] & columns)
                turned[0, 0] = False
                yield turned


def _words(signs: np.ndarray) -> np.ndarray:
    """A fingerprint as uint16 (16,), a word per band; each band has signs of low and of high frequencies."""
    mixed = signs.ravel()[np.arange(EDGE * EDGE).reshape(EDGE, BANDS).T.ravel() * 17 % (EDGE * EDGE)]
    return np.packbits(mixed).view(np.uint16)
