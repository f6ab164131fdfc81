"""One self-contained page per study, from its files alone: no network, no torch, nothing that trains.

Every text that comes from data is escaped by the template; figures and pictures stand in the page itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import (
    __version__,
    album,
    comparisons,
    diagrams,
    drawings,
    efficiency,
    figures,
    latex,
    leaking,
    markdown,
    merging,
    metrics,
    names,
    overview,
    paper,
    parquet,
    pictures,
    provenance,
    quantities,
    ranking,
    rates,
    sections,
    standings,
    tables,
    views,
    worth,
)
from bench import study as studies
from bench.album import Album
from bench.drawings import Drawing
from bench.errors import StoreError, StudyError
from bench.merging import Source
from bench.metrics import Profile
from bench.ranking import Across, Missing
from bench.records import Record, Status
from bench.rows import DISPUTED, Row, score
from bench.specs import Study
from bench.standings import Board
from bench.store import Store, write_bytes, writing
from bench.views import View
from bench.worth import Table as Worth

MERGED = "merged"
"""The folder, beside the results, that the page of several of them goes to."""
TEMPLATES = Path(__file__).resolve().parent / "templates"
FAILED = (Status.FAILED, Status.OUT_OF_MEMORY, Status.TIMED_OUT, Status.INTERRUPTED, Status.DIVERGED)


class Content(NamedTuple):
    """What some folders hold, under one metric profile.

    Attributes:
        store: Where the page goes: the folder itself where there is one.
        worth: What a leak is worth, where data sets stand under several protocols.
        sources: Where there are several, what became of each; `notes` what to know of their data.
    """

    study: Study
    profile: Profile
    store: Store
    rows: list[Row]
    boards: list[Board]
    across: Across | None = None
    missing: Missing = Missing.COMMON
    views: tuple[View, ...] = ()
    worth: tuple[Worth, ...] = ()
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()


def write(store_root: Path, profile_name: str = "default", missing: Missing = Missing.COMMON) -> Path:
    """Write the page and the leaderboard in other forms into a study's folder; return the path of index.html.

    Raises:
        StudyError: If there is no readable study.toml in the folder.
        StoreError: If a record or an array is damaged, or the folder cannot be written.
        NameUnknown: If there is no such metric profile.
    """
    return publish(collect(store_root, profile_name, missing))


def collect(
    folders: Path | Sequence[Path],
    profile_name: str = "default",
    missing: Missing = Missing.COMMON,
    target: Path | None = None,
) -> Content:
    """Read a study's folder, or several, and rank what is in them; raises what `write` and `merging.merge` raise.

    Args:
        target: Where the page is to go; by default the folder itself, or `merged` beside the first of several.
    """
    roots = [folders] if isinstance(folders, Path) else list(folders)
    profile = metrics.profile(profile_name)
    found = merging.merge(roots, [profile, *metrics.PROFILES.values()])
    store = Store(target or (roots[0] if len(roots) == 1 else roots[0].parent / MERGED))
    _check_target(store.root, roots)
    rows = score(found.rows, profile)
    boards = standings.boards(rows, profile)
    return Content(
        study=found.study,
        profile=profile,
        store=store,
        rows=rows,
        boards=boards,
        across=ranking.across(boards, profile, missing),
        missing=missing,
        views=tuple(views.views(found.rows, View(profile, boards))),
        worth=tuple(worth.tables(boards, profile)),
        sources=found.sources if len(roots) > 1 else (),
        notes=found.notes,
    )


def publish(content: Content, refresh: int | None = None) -> Path:
    """Write the page, the tables and the large pictures of what was collected; return the path of the page.

    Args:
        refresh: How often the page shall look for a newer one by itself; None for never [s].
    """
    root, shown = content.store.root, pictured(content)
    album.write(root / album.FOLDER, shown.files)
    files = {name: text.encode() for name, text in texts(content).items()}
    files["index.html"] = index(content, refresh, shown).encode()
    if parquet.possible():
        files[parquet.FILE] = parquet.as_parquet(content.rows, content.boards, content.profile)
    for name, data in files.items():
        path = root / name
        if not path.is_file() or path.read_bytes() != data:
            write_bytes(path, data)
    if parquet.FILE not in files:
        with writing(root / parquet.FILE):
            (root / parquet.FILE).unlink(missing_ok=True)  # of earlier numbers, where pyarrow was installed
    album.tidy(root / album.FOLDER, shown.files)
    return root / "index.html"


def figures_of(content: Content) -> Iterator[Drawing]:
    """Every figure of the page, and those that only files have room for, whole."""
    profile, boards = content.profile, content.boards
    variances = {board.title: comparisons.decomposition(board, profile) for board in boards}
    yield from drawings.of_all(boards, profile, content.across, variances, whole=True)
    for at, board in enumerate(boards):
        yield from drawings.of_board(board, profile, content.views, at, whole=True)


def write_figures(content: Content, formats: Sequence[str] = paper.USUAL) -> list[Path]:
    """Write every figure as files into the folder `figures` beside the page; raises what `paper.write` raises."""
    return paper.write(content.store.root / paper.FOLDER, figures_of(content), formats)


def pictured(content: Content) -> Album:
    """The pictures of the page, and those beside it."""
    return album.album(content.boards, content.profile.metrics[content.profile.primary])


def texts(content: Content) -> dict[str, str]:
    """The leaderboard as text, by the names of its files."""
    profile, rows, boards = content.profile, content.rows, content.boards
    told = comparisons.as_dict(boards, profile, content.across) | {"protocols": worth.as_dicts(content.worth)}
    return {
        "leaderboard.csv": tables.as_csv(rows, boards),
        "leaderboard.md": markdown.as_markdown(boards, profile, title(content)),
        "leaderboard.tex": latex.as_latex(boards, profile, content.study.name),
        "leaderboard.json": tables.as_json(rows, boards, profile),
        "statistics.json": json.dumps(told, indent=1, allow_nan=False) + "\n",
    }


def title(content: Content) -> str:
    """What the page is headed with."""
    return content.study.title or content.study.name


def index(content: Content, refresh: int | None = None, shown: Album | None = None) -> str:
    """The page of what was collected, with its pictures; the same content gives the same text."""
    template = environment().get_template("report.html")
    return template.render(**_context(content), refresh=refresh, album=shown or pictured(content))


def state(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """When the files that a page is made from were written [ns], and their sizes [bytes]."""
    found = {}
    for path in (path for folder in folders for path in _written(folder)):
        with contextlib.suppress(OSError):  # gone since it was listed
            found[path] = (path.stat().st_mtime_ns, path.stat().st_size)
    return found


def newest(results: Path) -> Path:
    """The study folder in which something was stored last.

    Raises:
        StoreError: If there is none.
    """
    folders = [path.parent for path in results.glob("*/study.toml")]
    if not folders:
        raise StoreError(f"There is no study in {results}. Run one with bench run matrix, or name another --results.")
    return max(folders, key=lambda folder: (_touched(folder), folder.name))


def _context(content: Content) -> dict[str, Any]:
    """What the template is filled with."""
    study, profile, table = content.study, content.profile, content.rows
    records = [row.record for row in table if row.record is not None]
    across = content.across
    parts = [sections.section(board, profile, content.views, at) for at, board in enumerate(content.boards)]
    variances = {part.board.title: part.precision.variance for part in parts if part.precision}
    return {
        "study": study,
        "profile": profile,
        "primary": profile.metrics[profile.primary],
        "sections": parts,
        "across": across,
        "worth": content.worth,
        "protocol_headings": worth.HEADINGS,
        "compared": overview.compared(study, content.boards),
        "overall": None if across is None else overview.answer(across, profile),
        "methods": overview.methods(content.boards, across, profile),
        "cautions": overview.cautions(parts, table, tally(table)),
        "top": overview.SHOWN,
        "few": ranking.FEW,
        "kinds": pictures.KINDS,
        "folder": album.FOLDER,
        "drawn": {one.kind: one.svg() for one in drawings.of_all(content.boards, profile, across, variances)},
        "most": drawings.LEADING,
        "few_networks": diagrams.SHOWN,
        "usual_rate": rates.DEFAULT,
        "short": figures.short(row.architecture for row in table),
        "sources": content.sources,
        "notes": content.notes,
        "anew": provenance.anew(table, content.store),
        "again": provenance.AGAIN,
        "apart": provenance.apart(table),
        "works": provenance.works(row.cell.architecture for row in table if row.cell.loss is not None),
        "facts": provenance.facts(study, table),
        "table": table,
        "tally": tally(table),
        "failures": [row for row in table if row.status in FAILED or row.status == "stale"],
        "finished": sorted(record.finished for record in records if record.finished),
        "repeats": efficiency.repeats(study, records),
        "environment": gathered(record.environment for record in records),
        "versions": gathered(_versions(record) for record in records),
        "weights": gathered(_weights(record) for record in records),
        "source": studies.dump(study),
        "version": __version__,
        "data": island(views.data(content.views, content.missing)),
    }


def island(value: object) -> str:
    """JSON for the middle of a page: no text in it can end the element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def tally(table: Iterable[Row]) -> dict[str, int]:
    """How many cells ended how, ok first."""
    found = Counter(row.status for row in table)
    order = [*map(str, Status), DISPUTED, "stale", "pending"]
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


def environment() -> Any:
    """What fills templates: every text that comes from data is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (*quantities.ALL, digest, sections.short_title, views.small_print, pictures.css)
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters |= {
        "drawing": Markup,
        "leak_sentence": leaking.sentence,
        "parts": _name_parts,
        "quoted": shlex.quote,
        "sources": lambda names: Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)),
    }
    return environment


def _name_parts(name: str) -> tuple[str, str]:
    """A name as its stem, which is read, and its options, which are looked up, with the folder it is from."""
    plain, folder = names.apart(name)
    stem, _, options = plain.partition("[")
    return stem, names.marked(options.removesuffix("]").replace(",", ", "), folder).strip()


def _check_target(target: Path, roots: Sequence[Path]) -> None:
    """Keep a page of several folders from being taken for that of one of them.

    Raises:
        StudyError: If it would be written into a study's folder.
    """
    places = [root.resolve() for root in roots]
    into_its_own = len(roots) == 1 and target.resolve() == places[0]
    if not into_its_own and ((target / "study.toml").is_file() or set(places) & set(target.resolve().parents)):
        raise StudyError(f"The page cannot be written to {target}: a study's results are there. Choose another --to.")


def _versions(record: Record) -> Mapping[str, str]:
    versions = record.ingredients.get("versions")
    return {str(key): str(value) for key, value in versions.items()} if isinstance(versions, Mapping) else {}


def _weights(record: Record) -> Mapping[str, str]:
    """The file that a network started from, by the name of the network."""
    found = record.ingredients.get("weights")
    return {record.cell.architecture: f"{found['source']}, sha256 {found['sha256']}"} if isinstance(found, dict) else {}


def _touched(folder: Path) -> float:
    """When a study was last added to."""
    return max(path.stat().st_mtime for path in _written(folder))


def _written(folder: Path) -> tuple[Path, ...]:
    """The files that are written last when something is stored."""
    return (folder / "study.toml", *folder.glob("cells/*/*/*/*/record.json"))
