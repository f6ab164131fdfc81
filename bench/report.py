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

from bench import (
    __version__,
    comparisons,
    diagrams,
    efficiency,
    figures,
    leaderboard,
    metrics,
    quantities,
    sections,
    tables,
)
from bench import study as studies
from bench.comparisons import Across, Missing
from bench.errors import StoreError
from bench.leaderboard import Board, Row
from bench.metrics import Profile
from bench.records import Record, Status
from bench.specs import Study
from bench.store import Store, write_bytes

TEMPLATES = Path(__file__).resolve().parent / "templates"
FAILED = (Status.FAILED, Status.OUT_OF_MEMORY, Status.TIMED_OUT, Status.INTERRUPTED, Status.DIVERGED)


class Content(NamedTuple):
    """What a folder holds, under one metric profile."""

    study: Study
    profile: Profile
    store: Store
    rows: list[Row]
    boards: list[Board]
    across: Across | None = None


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
        sections=[sections.section(board, profile, store) for board in boards],
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
        weights=gathered(_weights(record) for record in records),
        source=studies.dump(study),
        version=__version__,
    )


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
    functions = (*quantities.ALL, digest, sections.short_title)
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters |= {"drawing": Markup, "parts": _name_parts}
    return environment


def _name_parts(name: str) -> tuple[str, str]:
    """A name as its stem, which is read, and its options, which are looked up."""
    stem, _, options = name.partition("[")
    return stem, options.removesuffix("]").replace(",", ", ")


def _versions(record: Record) -> Mapping[str, str]:
    versions = record.ingredients.get("versions")
    return {str(key): str(value) for key, value in versions.items()} if isinstance(versions, Mapping) else {}


def _weights(record: Record) -> Mapping[str, str]:
    """The file that a network started from, by the name of the network."""
    found = record.ingredients.get("weights")
    return {record.cell.architecture: f"{found['source']}, sha256 {found['sha256']}"} if isinstance(found, dict) else {}


def _touched(folder: Path) -> float:
    """When a study was last added to."""
    return max(path.stat().st_mtime for path in (folder / "study.toml", *folder.glob("cells/*/*/*/*/record.json")))
