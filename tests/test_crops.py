"""What was cut out of an image is found in it, where it lay, and nothing is found in images of other scenes."""

from __future__ import annotations

import numpy as np
import pytest

from bench.crops import Crops, crops
from bench.presets import SYMMETRIES
from bench.resemblance import Seen, seen
from tests.distorted import encoded
from tests.test_resemblance import flags

LONG = 600.0
UNDONE = {name: {"left_turn": "right_turn", "right_turn": "left_turn"}.get(name, name) for name in SYMMETRIES}


def pairs(result: Crops) -> list[tuple[int, int]]:
    return [(one.inner, one.outer) for one in result.found]


@pytest.mark.parametrize("position", SYMMETRIES)
def test_half_of_a_smear_is_found_where_it_lay(
    position: str,
    smears: list[np.ndarray],
    seen_smears: list[Seen | None],
) -> None:
    part = flags(smears[4][60:172, 31:160], UNDONE[position])
    result = crops([*seen_smears[:20], seen(np.ascontiguousarray(part))], LONG)
    [one] = result.found

    assert (20, 4, position) == (one.inner, one.outer, one.position)
    assert [31, 60, 160, 172] == pytest.approx(list(one.box), abs=3)
    assert one.correlation > 0.9
    assert (True, 210, 210) == (result.complete, result.compared, result.of)


def test_parts_of_photographs_are_found_where_they_lay(photographs: list[np.ndarray]) -> None:
    random = np.random.default_rng(5)
    boxes = []
    for share in (0.25, 0.4, 0.5):
        height, width = int(1200 * share), int(1600 * share)
        for _ in range(2):
            top, left = int(random.integers(1200 - height)), int(random.integers(1600 - width))
            boxes.append((left, top, left + width, top + height))
    parts = [encoded(photographs[at][box[1] : box[3], box[0] : box[2]], 80) for at, box in enumerate(boxes)]
    result = crops([*map(seen, photographs[:8]), *map(seen, parts)], LONG)

    assert [(8 + at, at) for at in range(6)] == pairs(result)
    for one, box in zip(result.found, boxes, strict=True):
        assert list(box) == pytest.approx(list(one.box), abs=6)


def test_windows_that_overlap_by_a_quarter_or_more_are_found(photographs: list[np.ndarray]) -> None:
    windows = [photographs[0][:800, left : left + 800] for left in (0, 300, 790)]
    result = crops([seen(window) for window in windows], LONG)

    assert [(1, 0), (2, 1)] == pairs(result)  # by 500 and by 310 of 800; (2, 0) by 10
    assert [300, 0, 800, 800] == pytest.approx(list(result.found[0].box), abs=6)


def test_nothing_lies_in_another_smear(seen_smears: list[Seen | None]) -> None:
    assert [] == crops(seen_smears, LONG).found


def test_no_real_photograph_lies_in_another(photographs: list[np.ndarray]) -> None:
    assert Crops([], 190, 190, True) == crops([seen(image) for image in photographs[:20]], LONG)


def test_out_of_time_says_what_was_looked_at(seen_smears: list[Seen | None]) -> None:
    assert Crops([], 0, 120 * 119 // 2, False) == crops(seen_smears, 0.0)


def test_images_that_show_nothing_are_passed_by() -> None:
    assert Crops([], 0, 0, True) == crops([None, None], LONG)
