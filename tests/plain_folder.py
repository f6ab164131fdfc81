"""A plain folder of generated pictures with official splits, and what can be wrong with one, planted on purpose."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from bench.datasets import smear

SPLITS = {"train": 18, "val": 6, "test": 7}
SIZE = 160
Pair = tuple[np.ndarray, np.ndarray]


def pairs(count: int, size: int = SIZE, seed: int = 5) -> list[Pair]:
    """Pictures uint8 (S, S, 3), each with white and red cells, and masks of background 0, white 1 and red 2."""
    samples = smear.read(train=2 * count, val=1, test=1, size=size, seed=seed)
    drawn = map(smear.load, samples)
    told = ((image, np.where(mask >= 8, 2, mask > 0).astype(np.uint8)) for image, mask in drawn)
    return list(itertools.islice((pair for pair in told if np.unique(pair[1]).size == 3), count))


def write(root: Path, splits: dict[str, int] | None = None, size: int = SIZE) -> Path:
    """The folder, without anything wrong: images/ and masks/ below each split, named by numbers; return it."""
    splits = splits or SPLITS
    drawn = iter(pairs(sum(splits.values()), size))
    for split, count in splits.items():
        for at in range(count):
            put(root, split, f"{split[0]}{at:02d}", next(drawn))
    return root


def put(root: Path, split: str, stem: str, pair: Pair, *, suffix: str = "png", **how: object) -> None:
    """One more pair; the image may be a JPEG."""
    for kind, pixels, ending in zip(("images", "masks"), pair, (suffix, "png"), strict=True):
        target = root / split / kind / f"{stem}.{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels)).save(target, **(how if kind == "images" else {}))


def take(root: Path, split: str, stem: str) -> Pair:
    """A pair of the folder."""
    return tuple(  # ty: ignore[invalid-return-type]
        np.asarray(Image.open(root / split / kind / f"{stem}.png")) for kind in ("images", "masks")
    )


def moved(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    """A mask (H, W) moved by pixels, background behind it."""
    grown = np.pad(mask, ((abs(down),) * 2, (abs(right),) * 2))
    rows, columns = abs(down) - down, abs(right) - right
    return grown[rows : rows + mask.shape[0], columns : columns + mask.shape[1]]
