"""Every figure of a report by its kind: on the page as far as it stays readable there, in files whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench import diagrams, efficiency, figures, fronts, matrices, rates
from bench.metrics import Profile
from bench.ranking import Across
from bench.standings import Board
from bench.variance import Decomposition
from bench.views import View

LEADING = 16
"""Networks of a figure on the page that would not be readable with more; the files hold all."""


class Drawing(NamedTuple):
    """Plain data and the function that draws them, on the page or into a file.

    Attributes:
        kind: What it shows, as it is called in names.
        dataset: Of which leaderboard; empty for a figure of all.
        draw: From the data, a title and `named` to an <svg>; undecorated, to a figure.
        title: Read out for the figure.
        of: One network, where there is a figure for each.
    """

    kind: str
    dataset: str
    draw: Callable[..., str]
    info: Any
    title: str
    named: Mapping[str, Any] = {}
    of: str = ""

    def svg(self) -> str:
        """The figure as an <svg> for the middle of a page."""
        return self.draw(self.info, self.title, **self.named)


def of_board(
    board: Board, profile: Profile, shown: Sequence[View] = (), at: int = 0, *, whole: bool = False
) -> Iterator[Drawing]:
    """The figures of one data set that there is something to draw for.

    Args:
        shown: The leaderboards under every profile; in each, this is the board `at`.
        whole: For files: every network, and the figures that the page has a table for.
    """
    metric = profile.metrics[profile.primary].title

    def drawing(kind: str, draw: Callable[..., str], info: Any, says: str, **named: Any) -> Drawing:
        return Drawing(kind, board.dataset, draw, info, f"{says}: {board.title}", named)

    yield drawing("forest", figures.draw_forest, figures.forest(board, profile), "How sure", metric=metric)
    if (heat := matrices.heatmap(board, profile)).columns:
        yield drawing("heatmap", matrices.draw_matrix, heat, "Architecture by loss")
    sweeps, curves = rates.sweeps(board), figures.curves(board)
    if not whole:
        networks = list(dict.fromkeys((curve.architecture, curve.loss) for curve in curves))[:LEADING]
        sweeps = rates.leading(board, sweeps, LEADING)
        curves = [curve for curve in curves if (curve.architecture, curve.loss) in networks]
    if sweeps:
        yield drawing("sweeps", rates.draw_sweeps, sweeps, "Learning rate against score")
    if curves:
        yield drawing("curves", figures.draw_curves, curves, "Training curves")
    if (found := fronts.fronts(board, profile, efficiency.prices(board))).panels:
        yield drawing("fronts", fronts.draw_fronts, found, "Quality against cost", metric=metric.partition(" (")[0])
    if shown and (bumps := diagrams.bumps(shown, at)) is not None:
        yield drawing("profiles", diagrams.draw_bumps, bumps, "Places by definition")
    yield from _by_class(board, whole=whole)


def of_all(
    boards: Sequence[Board],
    profile: Profile,
    across: Across | None,
    variances: Mapping[str, Decomposition | None],
    *,
    whole: bool = False,
) -> Iterator[Drawing]:
    """The figures of several data sets side by side.

    Args:
        variances: Where the variance comes from, by the title of a board.
    """
    found = [diagrams.shares(title, one) for title, one in variances.items() if one is not None]
    if found:
        yield Drawing("variance", "", diagrams.draw_shares, found, "Where the variance of a score comes from")
    if len(boards) > 1:
        order = () if across is None else across.methods
        info = matrices.joint(boards, profile, order)
        if info.rows:
            shown = info if whole else matrices.first(info, LEADING)
            named = {"shades": "columns"}
            yield Drawing("heatmap", "", matrices.draw_matrix, shown, "Networks by data sets", named)
    if across is not None:
        yield Drawing("ranks", "", diagrams.draw_ranks, diagrams.ranks(across), "Mean ranks across data sets")


def _by_class(board: Board, *, whole: bool) -> Iterator[Drawing]:
    """Confusion of the leading network, or of every one, and the scores per class."""
    axes = {"across": "predicted", "down": "true,\nshare of the pixels", "shades": "shares"}
    called = figures.labels(board)
    leader = matrices.leader(board)
    for one in board.standings if whole else [leader] if leader else []:
        info = matrices.confusion(one)
        if info is not None:
            name = called[one.architecture, one.loss]
            title = f"Confusion of classes by {name}: {board.title}"
            full = one.architecture if one.loss is None else f"{one.architecture} {one.loss}"
            yield Drawing("confusion", board.dataset, matrices.draw_matrix, info, title, axes, full)
    if whole and (info := matrices.classes(board)).rows:
        yield Drawing("classes", board.dataset, matrices.draw_matrix, info, f"Dice per class: {board.title}")
