"""Tables in shades: what stands in them, and that any shape can be drawn without a warning."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench import diagrams, figures, matrices, metrics, rates, standings, study, variance, views
from bench.diagrams import Bumps, Ranks, Rise, Shares
from bench.figures import Bar, Curve
from bench.matrices import Matrix
from bench.rates import Sweep, Tried
from bench.records import TrialStatus
from bench.standings import Board
from bench.store import Store
from bench.views import View
from tests import synthetic

PROFILE = metrics.profile("default")
LONG = "a_network_of_eighty_letters[" + "decoder=4," * 5 + "x]"
SHAPES = [(1, 1), (1, 16), (16, 1), (40, 17)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def board(folder: Path) -> Board:
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE)
    return standings.boards(table, PROFILE)[0]


def made(rows: int, columns: int, name: str) -> Matrix:
    values = tuple(tuple(None if (r + c) % 7 == 6 else 0.1 * (r % 9) for c in range(columns)) for r in range(rows))
    texts = tuple(tuple("failed" if value is None else f"{value:.3f}" for value in line) for line in values)
    return Matrix(tuple(f"{name}{r}" for r in range(rows)), tuple(f"{name}{c}" for c in range(columns)), values, texts)


def test_long_names_are_eighty_letters() -> None:
    assert len(LONG) == 80


@pytest.mark.parametrize("name", ["n", LONG], ids=["short", "long"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_matrix_of_any_shape_and_any_names_is_drawn_without_a_warning(shape: tuple[int, int], name: str) -> None:
    for shades in ("all", "columns", "shares"):
        drawing = matrices.draw_matrix(made(*shape, name), "t", shades=shades, across="a", down="b")
        if shape == (40, 17):
            break
        assert drawing.count("0.000") >= 1


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_what_the_rows_are_is_not_cut_off(rows: int) -> None:
    info = made(rows, 2, "n")
    figure = matrices.draw_matrix.__wrapped__(info, "t", across="predicted", down="true,\nshare of the pixels")
    figure.draw_without_rendering()
    label = figure.axes[0].yaxis.label.get_window_extent()

    assert figure.bbox.y0 <= label.y0 < label.y1 <= figure.bbox.y1
    assert figure.bbox.x0 <= label.x0


def test_no_two_marks_of_the_scale_say_the_same() -> None:
    values = ((0.743, 0.733, 0.757), (0.743, 0.743, 0.752), (0.741, 0.747, 0.735), (0.736, 0.746, 0.748))
    info = Matrix(tuple("abcd"), tuple("efg"), values, (("",) * 3,) * 4)
    said = re.findall(r">(0\.7\d*)</text>", matrices.draw_matrix(info, "t"))

    assert len(set(said)) == len(said) > 2


@pytest.mark.parametrize("count", [1, 16, 40])
def test_the_other_figures_take_long_names_without_a_warning(count: int) -> None:
    names = [f"{LONG}{at}" for at in range(count)]
    tried = (Tried(1e-3, 0.5, TrialStatus.COMPLETE), Tried(1e-2, 0.6, TrialStatus.COMPLETE))
    places = [Rise(f"{name}", (at + 1, count - at, None), (at == 0,) * 3) for at, name in enumerate(names[:12])]
    few = names[:16]

    figures.draw_forest([Bar(name, 1, False, False, 0.5, (0.4, 0.6)) for name in names], "t", "m")
    figures.draw_curves([Curve(name, LONG, 0, 0, (1, 2), (1.0, 0.5), (0.5, 0.6), 2) for name in few], "t")
    figures.draw_curves([Curve("n", name, 0, 0, (1, 2), (1.0, 0.5), (0.5, 0.6), 2) for name in few], "t")
    rates.draw_sweeps([Sweep(name, LONG, 0, tried, 1e-3, None) for name in few], "t")
    diagrams.draw_ranks(Ranks(tuple((name, at + 1.0) for at, name in enumerate(names)), 2.0, ()), "t")
    diagrams.draw_bumps(Bumps((LONG, "b", "c"), tuple(places), count), "t")
    diagrams.draw_shares([Shares(name, (("architecture", 0.4), ("image", 0.6))) for name in few[:5]], "t")


def test_rows_of_the_confusion_are_shares_of_the_true_pixels(board: Board) -> None:
    standing = board.standings[0]
    counts = np.zeros((4, 4), dtype=np.int64)
    for row in standing.rows:
        counts += row.counts.astype(np.int64).sum(axis=0)
    info = matrices.confusion(standing)

    assert info is not None
    assert ("background", synthetic.IMAGE, "monocyte", "never_there") == info.columns
    for at in range(3):
        assert (counts[at] / counts[at].sum()).tolist() == pytest.approx(info.values[at])
        assert f"{info.columns[at]}  {100 * counts[at].sum() / counts.sum():.1f}%" == info.rows[at]
    assert (None,) * 4 == info.values[3]
    assert ("no pixel",) * 4 == info.texts[3]
    assert {""} == {text for line, values in zip(info.texts, info.values, strict=True)
                    for text, value in zip(line, values, strict=True) if value is not None and value < 0.005}  # fmt: skip


def test_the_leader_is_the_first_network_with_counts(board: Board) -> None:
    leader = matrices.leader(board)

    assert leader is not None
    assert board.standings[0] is leader
    assert leader.loss is not None
    assert matrices.confusion(next(one for one in board.standings if not one.done)) is None


def test_scores_per_class_hold_every_scored_standing(board: Board) -> None:
    info = matrices.classes(board)

    scored = [one for one in board.standings if one.values]
    assert len(scored) == len(info.rows) == 4
    assert ("background", synthetic.IMAGE, "monocyte", "never_there") == info.columns
    assert scored[0].values["dice_d/monocyte"] == info.values[0][2]
    assert (None, "n/a") == (info.values[0][3], info.texts[0][3])


def test_the_joint_table_has_a_column_for_each_data_set_and_its_order(board: Board) -> None:
    other = Board(dataset="other", title="Other", standings=board.standings[1:])
    info = matrices.joint([board, other], PROFILE)
    turned = matrices.joint([board, other], PROFILE, [("fpn", "ce")])

    first = next(one for one in board.standings if one.loss is not None)
    assert (board.title, "Other") == info.columns
    assert len(info.rows) == sum(one.loss is not None for one in board.standings)
    line = info.rows.index(figures.labels(board)[first.architecture, first.loss])
    assert (first.values["mdice_d_fg"], None) == info.values[line]
    assert "n/a" == info.texts[line][1]
    assert "fpn · ce" == turned.rows[0]
    assert info.rows[:2] == matrices.first(info, 2).rows


def test_places_follow_the_values_of_every_definition_and_mark_the_first_rank(folder: Path, board: Board) -> None:
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE)
    shown = list(views.views(table, View(PROFILE, [board])))
    info = diagrams.bumps(shown, 0)

    assert info is not None
    assert "default" == info.profiles[0]
    assert 3 == info.of == len(info.networks)
    assert [1, 2, 3] == sorted(one.places[0] for one in info.networks)
    for at, view in enumerate(view for view in shown if view.profile.name in info.profiles):
        called = figures.labels(board)
        ranked = [one for one in view.boards[0].standings if one.loss is not None and one.rank is not None]
        expected = {called[one.architecture, one.loss]: (place, one.rank == 1) for place, one in enumerate(ranked, 1)}
        assert expected == {one.label: (one.places[at], one.first[at]) for one in info.networks}
    assert diagrams.bumps(shown[:1], 0) is None


def test_shares_of_variance_keep_name_and_share() -> None:
    generator = np.random.default_rng(0)
    found = variance.decompose({(a, b, s): generator.normal(size=9) for a in "ab" for b in "cd" for s in (1, 2)})

    assert found is not None
    info = diagrams.shares("A", found)
    assert tuple((one.name, one.share) for one in found.components) == info.parts
    drawing = diagrams.draw_shares([info, Shares("B", info.parts[:2])], "t")
    assert "architecture × image" in drawing
    assert "cannot be told" in drawing
