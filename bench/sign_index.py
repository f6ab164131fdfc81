"""Patterns of signs that nearly agree, found through tables instead of by comparing all with all.

The signs of the low frequencies (discrete cosine transform) of a picture do not change with brightness and contrast,
and follow exact rules when it is turned or mirrored; see `bench.duplicates`, whose fingerprints they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bench.presets import SYMMETRIES

MOST = 64
"""Patterns per entry of a table that are looked at, the first stored first: what keeps the work near linear."""
CHUNK = 1 << 20  # pairs that are compared at a time

POSITIONS: tuple[str, ...] = tuple(SYMMETRIES)
INVERSE: dict[str, str] = {name: name for name in SYMMETRIES} | {"left_turn": "right_turn", "right_turn": "left_turn"}
"""What undoes a position."""


def placed(image: np.ndarray, position: str) -> np.ndarray:
    """An image (H, W, ...) in one of the eight positions of `SYMMETRIES`, a view."""
    rows, columns, transposed = SYMMETRIES[position]
    image = image.swapaxes(0, 1) if transposed else image
    return image[:: -1 if rows else 1, :: -1 if columns else 1]


def placed_points(points: np.ndarray, sizes: np.ndarray, position: str) -> np.ndarray:
    """Where points (N, 2) (row, column) of images of sizes (N, 2) (height, width) lie in a position [pixels]."""
    rows, columns, transposed = SYMMETRIES[position]
    found, edges = (points[:, ::-1], sizes[:, ::-1]) if transposed else (points, sizes)
    return np.where([rows, columns], edges - found, found)


def turned(signs: np.ndarray, position: str) -> np.ndarray:
    """Signs bool (N, E, E) of N pictures when these are in a position: odd frequencies change sign along an axis."""
    rows, columns, transposed = SYMMETRIES[position]
    odd = np.arange(signs.shape[1]) % 2 == 1
    found = signs.swapaxes(1, 2) if transposed else signs
    found = found ^ (odd[:, None] & rows) ^ (odd[None, :] & columns)
    found[:, 0, 0] = False
    return found


class Tables:
    """Stored patterns, to be asked for those that nearly agree with others."""

    def __init__(
        self,
        signs: np.ndarray,
        *,
        low: int,
        bits: int,
        tables: int,
        limit: int,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Store patterns.

        Args:
            signs: Bool (N, E, E), the signs of E x E frequencies.
            low: Tables are drawn from the `low` x `low` lowest frequencies, which a bend of the picture changes least.
            bits: Signs per table, at most 32; patterns are compared when they agree in all of one table.
            tables: How many.
            limit: Signs of the E x E in which two patterns may differ.
            tick: Called between any two tables; may raise to end it all.
        """
        edge = signs.shape[1]
        frequencies = (np.arange(low)[:, None] * edge + np.arange(low)).ravel()[1:]  # without the mean brightness
        random = np.random.default_rng(0)
        self._drawn = [random.choice(frequencies, bits, replace=False) for _ in range(tables)]
        self._limit, self._tick = limit, tick
        self._words = _words(signs)
        self._tables: list[tuple[np.ndarray, np.ndarray]] = []
        for drawn in self._drawn:
            tick()
            self._tables.append(_sorted(signs, drawn))

    def like(self, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of patterns, asked bool (M, E, E) and stored, that nearly agree.

        Returns:
            Rows of the asked and of the stored int64 (K,), in order, each pair once, and in how many signs they differ.
        """
        words, count = _words(signs), max(len(self._words), 1)
        found = [np.zeros(0, np.int64)]
        for drawn, table in zip(self._drawn, self._tables, strict=True):
            self._tick()
            for asked, stored in _agreeing(_keys(signs, drawn), *table):
                near = np.bitwise_count(words[asked] ^ self._words[stored]).sum(axis=1) <= self._limit
                found.append(asked[near] * count + stored[near])
        asked, stored = np.divmod(_distinct(np.concatenate(found)), count)
        return asked, stored, np.bitwise_count(words[asked] ^ self._words[stored]).sum(axis=1, dtype=np.int64)


def _words(signs: np.ndarray) -> np.ndarray:
    """Patterns as uint64 (N, words), so that differing signs are counted at once."""
    packed = np.packbits(signs.reshape(len(signs), signs[:1].size or 64), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64)


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """Numbers in order, each once; sorting does it several times faster than the hashing of `numpy.unique`."""
    numbers = np.sort(numbers)
    return numbers[np.append(numbers[1:] != numbers[:-1], np.ones(len(numbers[:1]), bool))]


def _keys(signs: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Chosen signs of each pattern as one number, uint32 (N,)."""
    chosen = np.zeros((len(signs), 32), bool)
    chosen[:, : len(drawn)] = signs.reshape(len(signs), -1)[:, drawn]
    return np.packbits(chosen, axis=1).view(np.uint32).ravel()


def _sorted(signs: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys of patterns in order, and whose they are; among equal keys in the order of the patterns."""
    keys = _keys(signs, drawn)
    order = np.argsort(keys, kind="stable")
    return keys[order], order.astype(np.uint32)


def _agreeing(keys: np.ndarray, table: np.ndarray, owners: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of asked keys and of stored patterns with the same key, some at a time."""
    first = np.searchsorted(table, keys, "left")
    counts = np.minimum(np.searchsorted(table, keys, "right") - first, MOST)
    for start in range(0, len(keys), CHUNK // MOST):
        some = counts[start : start + CHUNK // MOST]
        asked = np.repeat(np.arange(start, start + len(some)), some)
        within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
        yield asked, owners[first[asked] + within].astype(np.int64)
