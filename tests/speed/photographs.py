"""Full-size photographs for measurements: the forty real pairs of Blood-Cell where they are, else pictures like them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bench.datasets import blood_cell
from tests.lookalike import save

HEIGHT, WIDTH = 1200, 1600
REAL = Path(os.environ.get("BENCH_TEST_BLOOD_CELL", Path(__file__).resolve().parents[3] / "shared/data/blood_cell"))


def archive(root: Path, pairs: int) -> Path:
    """A Blood-Cell archive of full-size pictures with the smooth shades and the noise of a photograph."""
    from scipy.ndimage import zoom

    inner = root / "BCCD Dataset with mask"
    for at in range(pairs):
        generator = np.random.default_rng(at)
        small = generator.integers(60, 230, (HEIGHT // 50, WIDTH // 50, 3)).astype(np.float32)
        shade = zoom(small, (50, 50, 1), order=1)
        image = (shade + generator.integers(-3, 4, shade.shape)).clip(0, 255).astype(np.uint8)
        mask = (shade[..., 0] > 140).astype(np.uint8) * 255
        split = "test" if at % 8 == 0 else "train"
        save(inner / split / "original" / f"{at:04d}.png", image)
        save(inner / split / "mask" / f"{at:04d}.png", mask)
    return root


def files(made: Path, count: int) -> list[tuple[Path, Path]]:
    """Image and mask of so many real pairs; where there are none, of pictures like them that are made now."""
    root = REAL if REAL.is_dir() else archive(made, count)
    return [(Path(sample.image), Path(sample.mask)) for sample in blood_cell.read(root)][:count]
