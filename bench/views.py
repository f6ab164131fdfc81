"""The numbers of every row under every metric profile, for the page's script to switch between; computed here alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench import catalog, names, ranking, standings
from bench.errors import BenchError
from bench.metrics import PROFILES, Metric, Profile, background_share
from bench.profiles import SHARE
from bench.ranking import Missing
from bench.rows import MANY, Row, score_all
from bench.specs import Option
from bench.standings import Board, Standing

CLASSES = {"dice": "dice_d", "iou": "iou_d"}
"""Views of the single classes: the name of each, and how its numbers begin."""


class View(NamedTuple):
    """A study's leaderboards under one profile; its networks ranked over the data sets, as (name, mean rank)."""

    profile: Profile
    boards: list[Board]


def views(table: Sequence[Row], chosen: View) -> Iterator[View]:
    """The chosen view, and that of every other profile under which some row has a value.

    Args:
        table: Rows as `rows.stored` gives them, with the measures of all profiles.
        chosen: What the page is made for.
    """
    yield chosen
    others = [one for one in PROFILES.values() if one.name != chosen.profile.name] if len(table) <= MANY else []
    for profile, rows in zip(others, score_all(table, others), strict=True):
        if any(row.values.get(profile.primary) is not None for row in rows):
            yield View(profile, standings.boards(rows, profile))


def data(shown: Iterable[View], missing: Missing) -> dict[str, Any]:
    """Everything the script needs, JSON-able: rows in the order of the chosen view, their numbers by view.

    Numbers have the six decimals that can be asked for; what is undefined is null.
    """
    everything = list(shown)
    order = [[(one.architecture, one.loss) for one in board.standings] for board in everything[0].boards]
    return {
        "chosen": everything[0].profile.name,
        "boards": [_board(board) for board in everything[0].boards],
        "views": [_view(view, order, missing) for view in everything],
    }


def axes(name: str) -> dict[str, str]:
    """What an architecture can be filtered by: its family and its encoder; empty where nobody knows."""
    name = names.apart(name)[0]
    try:
        spec, options = catalog.architecture(name)
    except BenchError:
        return {"family": "", "encoder": str(_options(name).get("encoder", ""))}
    return {"family": spec.family, "encoder": str(options.get("encoder", ""))}


def small_print(metric: Metric) -> tuple[str, str]:
    """The title of a metric as its name and what stands in brackets behind it."""
    name, _, rest = metric.title.partition(" (")
    return name, rest.removesuffix(")")


def _options(name: str) -> Mapping[str, Option]:
    try:
        return names.parse(name)[1]
    except BenchError:
        return {}


def _board(board: Board) -> dict[str, Any]:
    """The scores of the single classes, beside what tells a board from the others."""
    classes = _classes(board)
    return {
        "dataset": board.dataset,
        "title": board.title,
        "background": [short(_background(one)) for one in board.standings],
        "classes": classes,
        **{
            view: [[short(one.values.get(f"{begin}/{name}")) for name in classes] for one in board.standings]
            for view, begin in CLASSES.items()
        },
    }


def _background(standing: Standing) -> float | None:
    """What pixel accuracy has to be read against."""
    counts = next((row.counts for row in standing.rows if row.counts is not None), None)
    return None if counts is None or not counts.sum() else float(background_share(counts))


def _classes(board: Board) -> list[str]:
    row = next((row for one in board.standings for row in one.rows if row.record and row.record.data), None)
    named = [spec.name for spec in row.record.data.classes] if row and row.record and row.record.data else []
    return [name for name in named if any(f"dice_d/{name}" in one.values for one in board.standings)]


def _view(view: View, order: Sequence[Sequence[tuple[str, str | None]]], missing: Missing) -> dict[str, Any]:
    profile = view.profile
    means, critical = ranking.mean_ranks(view.boards, profile, missing)
    return {
        "name": profile.name,
        "id": profile.id,
        "title": profile.title,
        "users": profile.users,
        "primary": profile.primary,
        "metrics": [_metric(name, metric) for name, metric in profile.metrics.items()],
        "boards": [_scores(board, profile, rows) for board, rows in zip(view.boards, order, strict=True)],
        "across": {
            "ranks": [[architecture, loss, short(mean)] for (architecture, loss), mean in means],
            "critical": critical,
        },
    }


def _metric(name: str, metric: Metric) -> dict[str, Any]:
    """What a column says; `share` is whether its numbers lie in [0, 1]."""
    title, small = small_print(metric)
    return {
        "name": name,
        "title": title,
        "small": small,
        "definition": metric.definition,
        "better": None if metric is SHARE else metric.better,
        "share": metric.better == "higher",
    }


def _scores(board: Board, profile: Profile, rows: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Columns over the rows of the chosen view."""
    found = {(one.architecture, one.loss): one for one in board.standings}
    shown = [found[row] for row in rows]
    ranks = [one.rank for one in shown]
    return {
        "rank": [shown_rank(one, ranks) for one in shown],
        "place": ranks,
        "interval": [[short(end) for end in one.interval] if one.interval else None for one in shown],
        "spread": [short(one.spread) for one in shown],
        "values": [[short(one.values.get(name)) for name in profile.metrics] for one in shown],
    }


def shown_rank(standing: Standing, ranks: Sequence[int | None]) -> str:
    """`1`, or `1=` where another row has the same rank; a dash without one."""
    return "–" if standing.rank is None else f"{standing.rank}{'=' * (ranks.count(standing.rank) > 1)}"


def short(value: float | None) -> float | None:
    """The six decimals that can be asked for."""
    return None if value is None else round(value, 6)
