"""What travels to a machine that shares no disk with this one: the program and its catalogues, and files as bytes.

A staged folder is laid out as a wheel is, with the user's own catalogues beside it:

    <folder>/bench/..., <folder>/bench/_builtin/{datasets,architectures,reference}
    <folder>/own/0/{datasets,architectures,losses,profiles}, <folder>/own/1/...     in the order of BENCH_PATH
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench import catalog
from bench.errors import StoreError, StudyError
from bench.fit import tag
from bench.prepare import Prepared
from bench.specs import Cell, Recipe
from bench.store import Store, escape, write_bytes

LARGEST = 200 * 2**20
"""What the user's catalogues may weigh together: they are code, and go to every machine [bytes]."""
PIECE = 64 * 2**20
"""Data travel in pieces of this size, so that none has to fit into memory whole [bytes]."""
OWN = "own"
KEPT = ("checkpoint.safetensors", "fit.safetensors")
"""Files beside a cell from which a training is taken up."""
STAYS = ("trial-*.safetensors", *KEPT, ".*")
"""Files that do not travel back: they can be made again, and weigh more than that is worth."""


def stage(folder: Path) -> None:
    """Lay out the program with all catalogues, as it is now, in an empty folder.

    Raises:
        StudyError: If the user's catalogues hold more than code.
    """
    package = Path(__file__).resolve().parent
    _copy(package, folder / "bench")
    if (package.parent / "pyproject.toml").is_file():
        for kind in ("datasets", "architectures"):
            _copy(package.parent / kind, folder / "bench" / "_builtin" / kind)
        _copy(package.parent / "results" / "reference", folder / "bench" / "_builtin" / "reference")
    for number, root in enumerate(_own()):
        for kind in catalog.KINDS:
            if (root / kind).is_dir():
                _copy(root / kind, folder / OWN / str(number) / kind)
    weight = sum(path.stat().st_size for path in (folder / OWN).rglob("*") if path.is_file())
    if weight > LARGEST:
        raise StudyError(
            f"The catalogues {', '.join(map(str, _own()))} hold {weight / 2**20:.0f} MiB, and travel to every machine; "
            f"at most {LARGEST / 2**20:.0f} MiB are allowed. Move weights and data out of them."
        )


def arrive() -> None:
    """On the machine it was brought to: let the program find the user's catalogues, and none of that machine's."""
    folder = Path(__file__).resolve().parents[1] / OWN
    found = sorted(folder.iterdir(), key=lambda path: int(path.name)) if folder.is_dir() else []
    os.environ["BENCH_PATH"] = os.pathsep.join(map(str, found))


def pack(store: Store, cells: Iterable[Cell]) -> dict[str, bytes]:
    """What is there already of cells that share a tuning, by path below the study: journal, checkpoints, executions."""
    found: list[Path] = []
    for cell in cells:
        found += [*store.tuning(cell).glob("[!.]*"), *store.executions(cell.architecture).glob("[!.]*")]
        found += [store.cell(cell) / name for name in KEPT]
        found.append(store.examples(cell.dataset, cell.fold))
    whole = (path for path in dict.fromkeys(found) if path.is_file() and ".lock" not in path.name)
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in whole}


def unpack(root: Path, files: Mapping[str, bytes], *, over: bool) -> None:
    """Write files below a folder, records last; what is there stays unless `over`, but a longer journal is newer.

    Raises:
        StoreError: If one would lie outside of the folder, or cannot be written.
    """
    for name in sorted(files, key=lambda name: name.endswith("/record.json")):
        path = root / name
        if ".." in Path(name).parts or not path.is_relative_to(root):
            raise StoreError(
                f"A machine sent the file {name!r}, which would lie outside of {root}. Look at that machine."
            )
        longer = path.name == "journal" and path.is_file() and path.stat().st_size < len(files[name])
        if over or longer or not path.is_file():
            write_bytes(path, files[name])


def states(root: Path) -> dict[str, tuple[int, int]]:
    """The files below a folder that travel: size [bytes] and time of the last change [ns], by path."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and ".lock" not in path.name and not any(path.match(pattern) for pattern in STAYS):
            state = path.stat()
            found[path.relative_to(root).as_posix()] = (state.st_size, state.st_mtime_ns)
    return found


def data_files(data: Prepared, recipe: Recipe) -> list[Path]:
    """The files of a prepared data set that cells read: not those of other training sizes."""
    mine = {f"{what}-{tag(recipe)}.npy" for what in ("images", "masks")}
    every = sorted(path for path in data.folder.iterdir() if path.is_file() and path.suffix != ".part")
    return [path for path in every if path.suffix != ".npy" or path.name in mine]


def data_key(data: Prepared, recipe: Recipe) -> str:
    """The name of the folder that a copy of these files lies in: other content has another name."""
    sizes = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in data_files(data, recipe)]
    return f"{escape(data.folder.name)[:60]}-{hashlib.sha256(repr((data.index.hash, sizes)).encode()).hexdigest()[:12]}"


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file in pieces, each with where it begins [bytes]; one that is empty is one empty piece."""
    with path.open("rb") as file:
        at = 0
        while (piece := file.read(PIECE)) or not at:
            yield at, piece
            at += max(len(piece), 1)


def _own() -> list[Path]:
    """The user's catalogue folders, in their order."""
    package = Path(__file__).resolve().parent
    given = [Path(entry).resolve() for entry in os.environ.get("BENCH_PATH", "").split(os.pathsep) if entry]
    return [root for root in dict.fromkeys(given) if root not in (package.parent, package / "_builtin")]


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
