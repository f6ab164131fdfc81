"""What it takes to look for copies: little per image, and hardly more per image among many."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import pytest
from PIL import Image

from bench.resemblance import copies, seen
from tests.speed.photographs import files

PLANTED = 40


def blobs(seed: int, edge: int = 64, count: int = 14) -> np.ndarray:
    """Dark blobs on a bright, sloping ground with some noise, uint8 (64, 64, 3); every seed gives others."""
    random = np.random.default_rng(seed)
    down, right = np.mgrid[:edge, :edge].astype(np.float32) / edge
    grey = random.uniform(150, 230) + (right - 0.5) * random.uniform(-30, 30) + (down - 0.5) * random.uniform(-30, 30)
    for _ in range(count):
        row, column, radius, depth = random.uniform((0, 0, 0.03, -110), (1, 1, 0.14, 20))
        stretch = random.uniform(0.6, 1.6)
        beyond = np.hypot((down - row) * stretch, (right - column) / stretch) - radius
        grey = grey + depth / (1 + np.exp(np.clip(beyond * edge * 0.8, -30, 30)))
    grey = grey + random.normal(0, 2, grey.shape)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.speed
def test_1328_photographs_are_taken_in_within_three_minutes_on_two_cores(tmp_path: Path) -> None:
    """Against the decoding of their files, in the same seconds: that has to be done in any case."""
    looking: list[float] = []
    decoding: list[float] = []
    for path, _ in files(tmp_path, 12):
        start = process_time()
        image = np.asarray(Image.open(path).convert("RGB"))
        between = process_time()
        seen(image)
        looking.append(process_time() - between)
        decoding.append(between - start)
    each = median(looking)
    print(f"\n{1000 * each:.0f} ms a photograph, {each / median(decoding):.1f} x its decoding")
    print(f"1,328 of them on 2 cores: {each * 1328 / 2:.0f} s")
    assert each < 6 * median(decoding)


@pytest.mark.speed
def test_the_time_per_image_hardly_grows_with_the_number_of_images() -> None:
    each = {}
    kept = [seen(blobs(at)) for at in range(16000)]
    for count in (1000, 4000, 16000):
        turned = [seen(np.rot90(blobs(at)).copy()) for at in range(PLANTED)]
        start = process_time()
        pairs = copies([*kept[:count], *turned], [str(at) for at in range(count + PLANTED)]).found
        each[count] = (process_time() - start) / count
        found = {(one.first, one.second) for one in pairs}
        print(f"\n{count}: {1000 * each[count]:.3f} ms an image, {len(pairs)} pairs")
        assert {(at, count + at) for at in range(PLANTED)} == found
    assert each[16000] <= 3 * each[1000]
