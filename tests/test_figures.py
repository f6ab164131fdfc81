"""Figures are data first: these tests look at the tuples, and at the SVG only for what a page relies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import figures, matrices, metrics, rates, standings, study
from bench.figures import Bar, Curve
from bench.matrices import Matrix
from bench.rates import Sweep, Tried
from bench.records import TrialStatus
from bench.standings import Board
from bench.store import Store
from tests import synthetic

PROFILE = metrics.profile("default")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def board(folder: Path) -> Board:
    table = standings.rows(study.load(str(folder / "study.toml")), Store(folder), PROFILE)
    return standings.boards(table, PROFILE)[0]


def test_short_names_keep_only_the_options_that_differ() -> None:
    full = ["fpn[decoder=32]", "unet[decoder=64,encoder=a]", "unet[decoder=64,encoder=b]", "unet[", "unet"]

    expected = ["fpn", "unet[decoder=64,encoder=a]", "unet[decoder=64,encoder=b]", "unet[", "unet"]
    assert dict(zip(full, expected, strict=True)) == figures.short(full)
    assert figures.short(["u[a=1,b=1]", "u[a=1,b=2]"]) == {"u[a=1,b=1]": "u[b=1]", "u[a=1,b=2]": "u[b=2]"}


def test_paths_in_a_name_are_shown_from_where_they_part():
    full = ["u[w=/far/away/a/start.pth]", "u[w=/far/away/b/start.pth]", "u[w=/far/away/other.pth]", "u[w=none]"]

    assert ["u[w=a/start.pth]", "u[w=b/start.pth]", "u[w=other.pth]", "u[w=none]"] == list(figures.short(full).values())


def test_heatmap_says_why_a_cell_has_no_value(board: Board) -> None:
    info = matrices.heatmap(board, PROFILE)

    best = board.standings[0].values["mdice_d_fg"]
    weak = next(one for one in board.standings if one.architecture == synthetic.WEAK and one.loss == "ce")
    value = weak.values["mdice_d_fg"]
    expected = Matrix(
        rows=("fpn", "unet[encoder=resnet18]", "unet[encoder=resnet50]"),
        columns=("ce", "dice+ce"),
        values=((None, None), (best, best), (value, None)),
        texts=(("diverged", "pending"), (f"{best:.3f}", f"{best:.3f}"), (f"{value:.3f}", "failed")),
    )
    assert expected == info


def test_curves_hold_every_epoch_of_every_trained_run(board: Board) -> None:
    found = figures.curves(board)

    expected = Curve(
        architecture="unet[encoder=resnet50]",
        loss="ce",
        seed=0,
        fold=0,
        epochs=(1, 2, 3),
        losses=(1.5, None, 0.5),
        values=(0.3, 0.4, 0.5),
        best_epoch=3,
    )
    assert len(found) == 3
    assert expected == found[-1]


def test_sweeps_hold_every_trial_with_the_chosen_and_the_smoothed_rate(board: Board) -> None:
    found = rates.sweeps(board)

    tried = (
        Tried(3e-3, 0.8, TrialStatus.COMPLETE),
        Tried(1e-3, 0.4, TrialStatus.STOPPED),
        Tried(1e-2, 0.0, TrialStatus.DIVERGED),
    )
    diverged = tuple(Tried(trial.lr, 0.0, TrialStatus.DIVERGED) for trial in tried)
    assert Sweep("unet[encoder=resnet18]", "ce", 0, tried, 3e-3, 2e-3) == found[0]
    assert Sweep("fpn", "ce", 0, diverged, None, None) == found[-1]


def test_forest_marks_ties_baselines_and_what_has_no_score(board: Board) -> None:
    bars = figures.forest(board, PROFILE)

    assert [bar.rank for bar in bars] == [1, 1, 3, 4, None, None, None]
    assert [bar.shared for bar in bars] == [True, True, False, False, False, False, False]
    assert [bar.label for bar in bars if bar.baseline] == ["otsu"]
    assert Bar("fpn · dice+ce", None, False, False, None, None, "pending") in bars


def test_drawings_are_bytes_for_bytes_the_same_and_in_the_ink_of_the_page(board: Board) -> None:
    info = figures.forest(board, PROFILE)

    first, second = (figures.draw_forest(info, "A <title>", "mDice") for _ in range(2))

    assert first == second
    assert "currentColor" in first
    assert "<text" in first
    assert 'aria-label="A &lt;title&gt;"' in first
    assert all(part not in first for part in (figures.INK, "<style", "font-family", "<metadata"))


def test_text_with_markup_or_formulas_is_drawn_as_it_is() -> None:
    drawing = figures.draw_forest([Bar("a$b$ <i>&", 1, False, False, 0.5, (0.4, 0.6))], "t", "m")

    assert "a$b$ &lt;i&gt;&amp;" in drawing


def test_every_figure_of_one_standing_or_of_many_can_be_drawn(board: Board) -> None:
    curves, sweeps = figures.curves(board), rates.sweeps(board)
    many = [sweep._replace(loss=f"loss{number}") for number in range(30) for sweep in sweeps[:1]]

    nothing = Matrix(("unet",), ("ce",), ((None,),), (("pending",),))
    drawings = [
        matrices.draw_matrix(matrices.heatmap(board, PROFILE), "heatmap"),
        matrices.draw_matrix(nothing, "heatmap of nothing"),
        figures.draw_curves(curves, "curves"),
        figures.draw_curves(curves[:1], "one curve"),
        rates.draw_sweeps(sweeps, "sweeps"),
        rates.draw_sweeps(many, "many sweeps"),
    ]

    assert all(drawing.startswith("<svg") and drawing.endswith("</svg>") for drawing in drawings)
