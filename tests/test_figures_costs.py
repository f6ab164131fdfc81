"""Quality against cost: the front against its definition, and the panels that are drawn of it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import efficiency, fronts, metrics, standings, study
from bench.efficiency import Price
from bench.fronts import Fronts, Panel, Point
from bench.standings import Board
from bench.store import Store
from tests import synthetic

PROFILE = metrics.profile("default")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = synthetic.write(tmp_path_factory.mktemp("results"))
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE)
    return standings.boards(table, PROFILE)[0]


def priced(board: Board, **costs: tuple[float | None, ...]) -> list[Price]:
    """The prices of a board with other costs, one for each network that was trained."""
    known = [price for price in efficiency.prices(board) if price.standing.values]
    return [price._replace(**{name: own[at] for name, own in costs.items()}) for at, price in enumerate(known)]


def beaten(points: list[tuple[float, float]], at: int) -> bool:
    """Whether another point is no worse in both and better in one, by the definition, pair by pair."""
    cost, quality = points[at]
    return any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in points)


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_point_dominates(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = [(float(c), float(q)) for c, q in generator.integers(1, 9, (25, 2))]  # few values, many ties

    assert {at for at in range(25) if not beaten(points, at)} == fronts.front(points)


def test_equal_points_stand_on_the_front_together() -> None:
    assert {0, 1} == fronts.front([(1.0, 0.5), (1.0, 0.5), (2.0, 0.5)])
    assert set() == fronts.front([])


def test_a_panel_is_there_for_every_cost_that_is_known_and_differs(board: Board) -> None:
    prices = priced(
        board, params=(3e6, 2e6, 1e6), flops=(1e9, 1e9, 1e9), energy_j=(None, 5.0, 7.0), memory=(0, 2, None)
    )
    info = fronts.fronts(board, PROFILE, prices)

    assert ["params", "energy_j"] == [panel.cost for panel in info.panels]
    best, same, weak = (one.standing.values["mdice_d_fg"] for one in prices)
    cheapest, middle, dearest = info.panels[0].points
    assert (weak, same, best) == (cheapest.value, middle.value, dearest.value)
    assert (True, True, False) == (cheapest.front, middle.front, dearest.front)  # as good, but dearer
    assert prices[2].standing.interval == cheapest.interval
    assert [5.0, 7.0] == [point.cost for point in info.panels[1].points]


def test_where_lower_is_better_the_front_goes_down(board: Board) -> None:
    metric = replace(PROFILE.metrics[PROFILE.primary], better="lower")
    profile = replace(PROFILE, metrics=dict(PROFILE.metrics) | {PROFILE.primary: metric})
    info = fronts.fronts(board, profile, priced(board, params=(3e6, 2e6, 1e6)))

    [panel] = [panel for panel in info.panels if panel.cost == "params"]
    assert [True, False, False] == [point.front for point in panel.points]  # the worst by Dice is the cheapest


def test_networks_that_cost_the_same_make_no_panel(board: Board) -> None:
    assert Fronts((), (), lower=False) == fronts.fronts(board, PROFILE, efficiency.prices(board))


def made(count: int, spread: float, name: str = "net") -> Fronts:
    """A figure of many networks, every tenth of them on the front."""
    points = tuple(
        Point(f"{name}{at}", 1e6 * (1 + spread * at), 0.5 + 0.001 * at, (0.4, 0.7), front=at % 10 == 0)
        for at in range(count)
    )
    panels = tuple(Panel(cost.of, points) for cost in fronts.COSTS)
    return Fronts(panels, tuple(point.label for point in points if point.front)[:12], lower=False)


@pytest.mark.parametrize(("count", "spread"), [(2, 1e-7), (2, 1e6), (30, 0.5), (100, 10.0)])
def test_panels_of_any_range_are_drawn_with_numbers_and_their_key(count: int, spread: float) -> None:
    drawing = fronts.draw_fronts(made(count, spread), "t", "mDice")

    for number, name in enumerate(made(count, spread).numbered, start=1):
        assert re.search(f">{number} +{name}<", drawing)
        assert drawing.count(f">{number}</text>") == 6
    assert drawing.count(">parameters<") == 1


def test_a_hundred_networks_stay_small_and_long_names_are_whole() -> None:
    name = "a_name_of_eighty_letters[" + "x" * 53 + "]"

    assert 60_000 > len(fronts.draw_fronts(made(100, 0.5)._replace(panels=made(100, 0.5).panels[:4]), "t", "m"))
    assert "a_name_of_eighty" in fronts.draw_fronts(made(20, 0.5, name), "t", "m")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.03, "0.03 s"), (30, "30 s"), (60, "1 min"), (600, "10 min"), (10 * 3600, "10 h")]
)
def test_times_on_an_axis_are_short(seconds: float, shown: str) -> None:
    cost = next(cost for cost in fronts.COSTS if cost.of == "seconds_to_best")

    assert shown == cost.show(seconds)


def test_every_cost_of_a_figure_is_one_of_a_price() -> None:
    assert {cost.of for cost in fronts.COSTS} <= set(Price._fields)
    assert all(a < b for cost in fronts.COSTS for a, b in itertools.pairwise(cost.ticks))


def test_the_page_has_the_front_beside_the_table(tmp_path: Path) -> None:
    from bench import report

    root = synthetic.write(tmp_path)
    store = Store(root)
    weak = store.read(synthetic.cell(synthetic.WEAK, "ce"))
    assert weak is not None
    store.write(replace(weak, params=1_000_000))
    page = report.write(root).read_text()

    assert 'aria-label="Quality against cost: Smear &lt;script&gt;alert(1)&lt;/script&gt;"' in page
    assert "another costs no more and is no worse" in page
