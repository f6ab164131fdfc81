"""One self-contained page per study, from its files alone: no network, no torch, nothing that trains.

Every text that comes from data is escaped by the template; figures and pictures stand in the page itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import (
    __version__,
    comparisons,
    diagrams,
    doubts,
    efficiency,
    figures,
    leaderboard,
    metrics,
    pictures,
    published,
    quantities,
    tables,
)
from bench import study as studies
from bench.comparisons import Across, Missing, Precision
from bench.efficiency import Price
from bench.errors import StoreError
from bench.leaderboard import Board, Row, Standing
from bench.metrics import Profile
from bench.pictures import Gallery
from bench.published import Beside
from bench.specs import ClassSpec, DataCard, Record, Status, Study
from bench.store import Store, write_bytes

TEMPLATES = Path(__file__).resolve().parent / "templates"
FAILED = (Status.FAILED, Status.OUT_OF_MEMORY, Status.TIMED_OUT, Status.INTERRUPTED, Status.DIVERGED)
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Content(NamedTuple):
    """What a folder holds, under one metric profile."""

    study: Study
    profile: Profile
    store: Store
    rows: list[Row]
    boards: list[Board]
    across: Across | None = None


class Line(NamedTuple):
    """One standing as a row of the leaderboard.

    Attributes:
        rank: `1`, or `1=` when shared; a dash without a value.
        shared: Whether another standing has the same rank; `follows` when that of the line above is the same.
        best: The metrics in which no network is better, at the precision shown.
        background_share: What pixel accuracy has to be read against, under every profile.
        rates: The learning rates of the runs behind the value.
        seconds: Wall time of all cells, tuning included [s]; memory is the largest of them [MiB].
        troubles: The rows that are not ok.
    """

    standing: Standing
    rank: str
    shared: bool
    follows: bool
    baseline: bool
    best: frozenset[str]
    background_share: float | None
    rates: tuple[float, ...]
    edge: bool
    params: int | None
    seconds: float | None
    memory: float | None
    troubles: tuple[Row, ...]


class ClassTable(NamedTuple):
    """Dice and IoU per class for every standing with a value, and the share of the test pixels each class has."""

    classes: tuple[ClassSpec, ...]
    share: tuple[float | None, ...]
    rows: tuple[tuple[Standing, tuple[tuple[float | None, float | None], ...]], ...]


class Section(NamedTuple):
    """All that the page shows of one data set.

    Attributes:
        easy: Metrics that a constant predictor satisfies, with the reason.
        disagreement: Which profiles put another network first; empty where all agree.
    """

    board: Board
    answer: str
    lines: tuple[Line, ...]
    classes: ClassTable | None
    data: DataCard | None
    prices: tuple[Price, ...]
    precision: Precision | None
    drawings: Mapping[str, str]
    gallery: Gallery | None
    easy: Mapping[str, str]
    disagreement: str
    published: tuple[Beside, ...]


def write(store_root: Path, profile_name: str = "default", missing: Missing = Missing.COMMON) -> Path:
    """Write index.html, leaderboard.{csv,md,json} and statistics.json into a study's folder; return the page's path.

    Raises:
        StudyError: If there is no readable study.toml in the folder.
        StoreError: If a record or an array is damaged, or the folder cannot be written.
        NameUnknown: If there is no such metric profile.
    """
    return publish(collect(store_root, profile_name, missing))


def collect(store_root: Path, profile_name: str = "default", missing: Missing = Missing.COMMON) -> Content:
    """Read a study's folder and rank what is in it; raises what `write` raises."""
    profile, store = metrics.profile(profile_name), Store(store_root)
    study = studies.load(str(store_root / "study.toml"))
    rows = leaderboard.rows(study, store, profile)
    boards = leaderboard.boards(rows, profile)
    return Content(study, profile, store, rows, boards, comparisons.across(boards, profile, missing))


def publish(content: Content) -> Path:
    """Write the page and the tables of what was collected; return the path of the page."""
    for name, text in files(content).items():
        write_bytes(content.store.root / name, text.encode())
    return content.store.root / "index.html"


def files(content: Content) -> dict[str, str]:
    """The page and the tables by the names of their files; the same content gives the same text."""
    return texts(content) | {"index.html": index(content)}


def texts(content: Content) -> dict[str, str]:
    """The leaderboard as text, by the names of its files."""
    _, profile, _, rows, boards, across = content
    return {
        "leaderboard.csv": tables.as_csv(rows, boards),
        "leaderboard.md": tables.as_markdown(boards, profile),
        "leaderboard.json": tables.as_json(rows, boards, profile),
        "statistics.json": json.dumps(comparisons.as_dict(boards, profile, across), indent=1, allow_nan=False) + "\n",
    }


def index(content: Content) -> str:
    """The page of what was collected."""
    study, profile, store, rows, boards, across = content
    return page(study, boards, rows, profile, store, across)


def newest(results: Path) -> Path:
    """The study folder in which something was stored last.

    Raises:
        StoreError: If there is none.
    """
    folders = [path.parent for path in results.glob("*/study.toml")]
    if not folders:
        raise StoreError(f"There is no study in {results}. Run one with bench run matrix, or name another --results.")
    return max(folders, key=lambda folder: (_touched(folder), folder.name))


def page(
    study: Study,
    boards: Sequence[Board],
    table: Sequence[Row],
    profile: Profile,
    store: Store,
    across: Across | None = None,
) -> str:
    """The whole page as HTML."""
    records = [row.record for row in table if row.record is not None]
    template = _environment().get_template("report.html")
    return template.render(
        study=study,
        profile=profile,
        primary=profile.metrics[profile.primary],
        sections=[section(board, profile, store) for board in boards],
        across=across,
        few=comparisons.FEW,
        ranks="" if across is None else diagrams.draw_ranks(diagrams.ranks(across), "Mean ranks across data sets"),
        short=figures.short(row.cell.architecture for row in table),
        table=table,
        tally=tally(table),
        failures=[row for row in table if row.status in FAILED or row.status == "stale"],
        finished=sorted(record.finished for record in records if record.finished),
        repeats=efficiency.repeats(study, records),
        environment=gathered(record.environment for record in records),
        versions=gathered(_versions(record) for record in records),
        source=studies.dump(study),
        version=__version__,
    )


def section(board: Board, profile: Profile, store: Store) -> Section:
    """Everything of one data set, computed and drawn."""
    title = profile.metrics[profile.primary].title
    drawings = {"forest": figures.draw_forest(figures.forest(board, profile), f"How sure: {board.title}", title)}
    heat, curves, sweeps = figures.heatmap(board, profile), figures.curves(board), figures.sweeps(board)
    if heat.losses:
        drawings["heatmap"] = figures.draw_heatmap(heat, f"Architecture by loss: {board.title}")
    if sweeps:
        drawings["sweeps"] = figures.draw_sweeps(sweeps, f"Learning rate against score: {board.title}")
    if curves:
        drawings["curves"] = figures.draw_curves(curves, f"Training curves: {board.title}")
    return Section(
        board=board,
        answer=answer(board, profile),
        lines=tuple(lines(board, profile)),
        classes=class_table(board),
        data=_data(board),
        prices=efficiency.prices(board),
        precision=comparisons.precision(board, profile),
        drawings=drawings,
        gallery=pictures.gallery(board, store, profile.metrics[profile.primary]),
        easy=doubts.easy_sentences(board, profile),
        disagreement=doubts.disagreement(board, profile),
        published=tuple(published.beside(board, profile, published.load())),
    )


def answer(board: Board, profile: Profile) -> str:
    """What a reader came for, in one sentence: who leads, what cannot be told from it, and whether networks help."""
    called = figures.labels(board)
    scored = [one for one in board.standings if one.rank is not None]
    networks = [one for one in scored if one.loss is not None]
    baseline = next((one for one in scored if one.loss is None), None)
    silent = sum(one.loss is not None for one in board.standings) - len(networks)

    def show(one: Standing, metric: str = "") -> str:
        return f"{called[one.architecture, one.loss]} ({metric}{one.values[profile.primary]:.3f})"

    metric = short_title(profile.metrics[profile.primary].title) + " "
    parts = []
    if not networks:
        parts = ["no network has a score yet"] + (
            [f"the best baseline is {show(baseline, metric)}"] if baseline else []
        )
        return f"On {board.title}, {'; '.join(parts)}."
    leader = networks[0]
    if baseline is not None and leader.rank >= baseline.rank:  # ty: ignore[unsupported-operator]
        parts = [f"no network beats the baseline {show(baseline, metric)}", f"the best network is {show(leader)}"]
        parts += ["the two cannot be told apart"] * (leader.rank == baseline.rank)
    else:
        parts = [
            f"{show(leader, metric)} leads",
            _ties(sum(one.rank == leader.rank for one in networks[1:]), len(networks)),
        ]
        parts += [_against(networks, baseline, called[baseline.architecture, None], silent > 0)] if baseline else []
    if silent:
        parts.append(f"{_word(silent)} network{'s have' if silent > 1 else ' has'} no score")
    return f"On {board.title}, {'; '.join(part for part in parts if part)}."


def lines(board: Board, profile: Profile) -> list[Line]:
    """The standings of a data set as rows of its leaderboard."""
    networks = [one for one in board.standings if one.loss is not None]
    choose = {"higher": max, "lower": min}
    best = {
        name: choose[metric.better](
            (shown for one in networks if (shown := _shown(one, name)) is not None), default=None
        )
        for name, metric in profile.metrics.items()
        if metric.better is not None
    }
    ranks = [one.rank for one in board.standings]
    result: list[Line] = []
    for one in board.standings:
        shared = one.rank is not None and ranks.count(one.rank) > 1
        records = [row.record for row in one.rows if row.record is not None]
        counted = [row.record for row in one.rows if row.record and (one.selected or row.cell.seed > 0)]
        leads = (name for name, top in best.items() if top is not None and top == _shown(one, name))
        result.append(
            Line(
                standing=one,
                rank="–" if one.rank is None else f"{one.rank}{'=' * shared}",
                shared=shared,
                follows=bool(result) and shared and result[-1].standing.rank == one.rank,
                baseline=one.loss is None,
                best=frozenset(leads) - {"background_share"} if one.loss is not None else frozenset(),
                background_share=_background_share(one),
                rates=tuple(sorted({record.lr for record in counted if record.lr is not None})),
                edge=any(record.edge for record in records),
                params=next((record.params for record in records if record.params is not None), None),
                seconds=sum(sum(record.seconds.values()) for record in records) if records else None,
                memory=max(
                    (record.peak_memory_mb for record in records if record.peak_memory_mb is not None), default=None
                ),
                troubles=tuple(row for row in one.rows if row.status != Status.OK),
            )
        )
    return result


def class_table(board: Board) -> ClassTable | None:
    """Scores per class; None when the profile has none, or nothing is scored."""
    data = _data(board)
    if data is None or not any(f"dice_d/{spec.name}" in one.values for one in board.standings for spec in data.classes):
        return None
    scored = [one for one in board.standings if one.values]
    rows = (
        (
            one,
            tuple(
                (one.values.get(f"dice_d/{spec.name}"), one.values.get(f"iou_d/{spec.name}")) for spec in data.classes
            ),
        )
        for one in scored
    )
    counts = next(row.counts for one in scored for row in one.rows if row.counts is not None)
    pixels = counts.sum(axis=(0, 2), dtype=np.int64)
    total = int(pixels.sum())
    return ClassTable(data.classes, tuple(int(own) / total if total else None for own in pixels), tuple(rows))


def tally(table: Iterable[Row]) -> dict[str, int]:
    """How many cells ended how, ok first."""
    found = Counter(row.status for row in table)
    order = [*map(str, Status), "stale", "pending"]
    return {status: found[status] for status in order if found[status]}


def gathered(tables: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Every key with all the values it has, so that a study made on two machines shows both."""
    found: dict[str, dict[str, None]] = {}
    for table in tables:
        for key, value in table.items():
            found.setdefault(key, {})[str(value)] = None
    return {key: tuple(values) for key, values in found.items()}


def short_title(title: str) -> str:
    """`mDice (data set, foreground)` without its brackets."""
    return title.partition(" (")[0]


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy allows one script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> Any:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (*quantities.ALL, digest, short_title)
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters |= {"drawing": Markup, "parts": _name_parts}
    return environment


def _name_parts(name: str) -> tuple[str, str]:
    """A name as its stem, which is read, and its options, which are looked up."""
    stem, _, options = name.partition("[")
    return stem, options.removesuffix("]").replace(",", ", ")


def _ties(count: int, networks: int) -> str:
    if networks == 1:
        return ""
    return (
        f"{_word(count)} other{'s' * (count != 1)} cannot be told apart from it"
        if count
        else "every other network can be told apart from it"
    )


def _against(networks: Sequence[Standing], baseline: Standing, name: str, partly: bool) -> str:
    """How many networks stand in a group above the best baseline's."""
    better = sum(one.rank < baseline.rank for one in networks)  # ty: ignore[unsupported-operator]
    if better == len(networks):
        return f"every {'scored ' * partly}network beats every baseline" if better > 1 else "it beats every baseline"
    return f"{_word(better)} of {_word(len(networks))} networks beat{'s' * (better == 1)} the best baseline, {name}"


def _word(count: int) -> str:
    return _WORDS[count] if count < len(_WORDS) else str(count)


def _shown(standing: Standing, name: str) -> float | None:
    value = standing.values.get(name)
    return None if value is None else round(value, 3)


def _background_share(standing: Standing) -> float | None:
    counts = next((row.counts for row in standing.rows if row.counts is not None), None)
    if counts is None or not counts.sum():
        return None
    return float(metrics.background_share(counts))


def _data(board: Board) -> DataCard | None:
    return next(
        (row.record.data for one in board.standings for row in one.rows if row.record and row.record.data), None
    )


def _versions(record: Record) -> Mapping[str, str]:
    versions = record.ingredients.get("versions")
    return {str(key): str(value) for key, value in versions.items()} if isinstance(versions, Mapping) else {}


def _touched(folder: Path) -> float:
    """When a study was last added to."""
    return max(path.stat().st_mtime for path in (folder / "study.toml", *folder.glob("cells/*/*/*/*/record.json")))
