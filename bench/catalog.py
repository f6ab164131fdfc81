"""Names to specifications: what can stand on an axis, and "did you mean" for what cannot.

Listing reads file names and docstrings only; a drop-in file is imported when its name is used.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from bench import names, protocols
from bench.errors import BenchError, DataError, NameUnknown
from bench.specs import ArchitectureSpec, DatasetSpec, Option

Kind = Literal["datasets", "architectures", "losses", "profiles"]
KINDS = get_args(Kind)
"""The folders that a catalogue may have: ours holds the first two, one of a user's any of them."""

SINGULAR: dict[Kind, str] = {
    "datasets": "data set",
    "architectures": "architecture",
    "losses": "loss",
    "profiles": "metric profile",
}
PACKAGES: dict[Kind, str] = {
    "datasets": "bench.datasets",
    "architectures": "bench.architectures",
    "losses": "bench.own_losses",
    "profiles": "bench.own_profiles",
}
"""What the files of a kind are imported from."""

Spec = TypeVar("Spec")

ALL = "all"
"""The name that stands for every entry of an axis."""

LONG = 2000
"""Letters of a list of names beyond which an error says how many there are."""
COMMON: dict[str, Option] = {"channels": 3}
"""Options of every architecture, which the engine provides: `channels=1` gives a network grey images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One drop-in file: its name on the axis, and where it lies."""

    name: str
    path: Path

    @property
    def summary(self) -> str:
        """The first line of its docstring, read without importing it."""
        try:
            docstring = ast.get_docstring(parsed(self.path))
        except (SyntaxError, ValueError) as error:
            return f"cannot be read: {error}"
        return (docstring or "no description").splitlines()[0]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A drop-in file as its syntax tree, read once; raises SyntaxError or ValueError."""
    return ast.parse(path.read_bytes())


def folders(kind: Kind) -> list[Path]:
    """The folders whose files are the catalogue: those of BENCH_PATH first, then ours.

    Ours lie beside `bench/` in a checkout and inside it, under `_builtin/`, in a wheel. A folder beside an
    installed `bench/` belongs to somebody else (Hugging Face's `datasets` for one), hence the look at pyproject.toml.
    """
    package = Path(__file__).resolve().parent
    checkout = (package.parent / "pyproject.toml").is_file()
    ours = package.parent if checkout else package / "_builtin"
    user = [Path(entry) for entry in os.environ.get("BENCH_PATH", "").split(os.pathsep) if entry]
    roots = dict.fromkeys(root.resolve() for root in (*user, ours))
    return [root / kind for root in roots if (root / kind).is_dir()]


def entries(kind: Kind) -> dict[str, Entry]:
    """All drop-in files of a kind, sorted by name, without importing any of them.

    Raises:
        NameUnknown: If two folders hold a file of the same name, or one is named like the whole axis.
    """
    found: dict[str, Entry] = {}
    for folder in folders(kind):
        for path in sorted(folder.glob("[a-z0-9_]*.py")):
            if path.stem in found:
                first = found[path.stem].path
                raise NameUnknown(f"Two files define {SINGULAR[kind]} {path.stem!r}: {first} and {path}. Rename one.")
            found[path.stem] = Entry(name=path.stem, path=path)
    if ALL in found:
        raise NameUnknown(f"{found[ALL].path} cannot be used: {ALL!r} stands for all {kind}. Rename the file.")
    return {name: found[name] for name in sorted(found) if not name.startswith("_")}


def dataset(name: str) -> DatasetSpec:
    """The specification behind a data-set name, options checked; a path to a folder is a data set too.

    Raises:
        NameUnknown: If there is no such data set, or it has no such option.
        DataError: If the name is a path and the folder is missing or malformed.
    """
    base, protocol = protocols.apart(name)
    if protocol.copied:
        spec, title = dataset(base), protocol.title
        return replace(spec, title=f"{spec.title}, {title}", objects=None, doubtful=None, pixel_size_um=None)
    if is_folder(base):
        return importlib.import_module("bench.datasets.folder").open_folder(Path(base))
    stem, options = names.parse(base)
    if stem not in entries("datasets") and ("/" in stem or os.sep in stem):
        raise DataError(
            f"The folder {name} does not exist. Give a folder with images/ and masks/, or a name of bench list."
        )
    spec = _load("datasets", stem)
    if not isinstance(spec, DatasetSpec):
        raise NameUnknown(f"{stem!r} cannot be used by its name: give the path of a folder instead.")
    _check_options(base, options, spec.options, typed=spec.configure is None)
    return spec if spec.configure is None else spec.configure(**{**spec.options, **options})


def architecture(name: str) -> tuple[ArchitectureSpec, dict[str, Option]]:
    """The specification behind an architecture name, and its options, those that the name sets in effect.

    Where the default is a word, so is the value, even one that reads like a number.

    Raises:
        NameUnknown: If there is no such architecture, or it has no such option.
    """
    stem, options = names.parse(name)
    spec = _load("architectures", stem)
    if not isinstance(spec, ArchitectureSpec):
        raise NameUnknown(
            f"{entries('architectures')[stem].path} defines no SPEC of type ArchitectureSpec. Add one; see "
            "architectures/README.md."
        )
    allowed = {**COMMON, **spec.options}
    _check_options(name, options, allowed)
    if options.get("channels", 3) not in (1, 3):
        raise NameUnknown(f"The option channels={options['channels']} of {name!r} must be 1 (grey) or 3 (colour).")
    words = {key: names.spell(value) for key, value in options.items() if isinstance(allowed[key], str)}
    return spec, {**allowed, **options, **words}


def initial(name: str) -> dict[str, str] | None:
    """The file of weights that an architecture starts from, as its `source` and `sha256`; None for random ones.

    Raises:
        NameUnknown: If there are no such weights.
        DataError: If the file is not here and cannot be downloaded, or cannot be read.
    """
    spec, options = architecture(name)
    found = None if spec.pretrained is None else spec.pretrained(**options)
    if found is None:
        return None
    with found.path.open("rb") as file:
        return {"source": found.source, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def canonical(kind: Kind, name: str) -> str:
    """The one spelling of a name: known options, sorted, without those that only say their default.

    Raises:
        NameUnknown: If there is no such entry, or it has no such option.
    """
    base, protocol = protocols.apart(name) if kind == "datasets" else (name, protocols.CLEAN)
    stem, options = names.parse(base)
    defaults = dataset(base).options if kind == "datasets" else {**COMMON, **architecture(name)[0].options}
    plain = names.show(stem, {key: value for key, value in options.items() if value != defaults[key]})
    return protocols.under(plain, protocol)


def code_hash(kind: Kind, name: str) -> str:
    """Hash of the drop-in file behind a name and of the shared helpers beside it."""
    base = protocols.apart(name)[0] if kind == "datasets" else name
    path = entries(kind)["folder" if kind == "datasets" and is_folder(base) else names.parse(base)[0]].path
    return hash_of(kind, [path])


def hash_of(kind: Kind, paths: Iterable[Path]) -> str:
    """Hash of drop-in files and of the shared helpers of their kind."""
    content = [file.read_bytes() for file in (*paths, *_helpers(kind))]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def own(kind: Kind, taken: Iterable[str]) -> dict[str, Entry]:
    """The user's files of a kind of which ours are not files: losses and metric profiles.

    Args:
        taken: The names of ours.
    Raises:
        NameUnknown: If a file is named like one of ours, or as no name can be written.
    """
    found, ours = entries(kind), set(taken)
    for name, entry in found.items():
        if name in ours:
            raise NameUnknown(
                f"{entry.path} cannot be used: {name!r} is a {SINGULAR[kind]} of the program. Rename the file."
            )
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise NameUnknown(
                f"{entry.path} cannot be used: the name of a {SINGULAR[kind]} has small letters, digits and _ only. "
                "Rename the file."
            )
    return found


def specification(kind: Kind, name: str, wanted: type[Spec]) -> Spec:
    """The `SPEC` of one of the user's files, which is of the type that is wanted.

    Raises:
        NameUnknown: If the file cannot be imported, or defines none.
    """
    spec = _load(kind, name)
    if not isinstance(spec, wanted):
        raise NameUnknown(
            f"{entries(kind)[name].path} defines no SPEC of type {wanted.__name__}. Add one; see docs/tutorial.md."
        )
    return spec


def place(error: BaseException, path: Path) -> str:
    """Where an error of a drop-in file arose, as `FILE, line N`: the last of its lines that had a part in it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def reason(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ": ".join(filter(None, [type(error).__name__, *text.splitlines()[:1]]))[:200].rstrip(".")


def is_folder(name: str) -> bool:
    """Whether a data-set name is the path of an existing folder, whatever its protocol, not a catalogue name."""
    name = protocols.apart(name)[0]
    looks_like_path = "/" in name or os.sep in name or name in (".", "..")
    try:
        exists = Path(name).is_dir()
    except OSError:  # too long to be a path, or in a folder that may not be read
        return False
    return exists and (looks_like_path or name.partition("[")[0] not in entries("datasets"))


def unknown(what: str, name: str, known: Iterable[str], where: str) -> NameUnknown:
    """The error for a name nobody knows: the nearest names, all names, and the command that lists them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    guess = f" Did you mean {' or '.join(close)}?" if close else ""
    if name == ALL:
        guess = " It stands for a whole axis of a study, alone: without options, weights or other terms."
    listed = ", ".join(known)
    there = f"There are: {listed}." if len(listed) <= LONG else f"There are {len(known)}."
    own = " A file of your own needs --catalog DIR." if not guess and where.startswith("bench list") else ""
    return NameUnknown(f"There is no {what} named {name!r}.{guess} {there} See {where}.{own}")


def _check_options(name: str, options: dict[str, Option], allowed: Mapping[str, Option], *, typed: bool = True) -> None:
    """Every option must be known and, if `typed`, like its default; a whole number will do for a fraction."""
    for key, value in options.items():
        if not allowed:
            raise NameUnknown(
                f"{names.parse(name)[0]!r} has no options, but {name!r} sets {key!r}. Leave the brackets out."
            )
        if key not in allowed:
            raise unknown(f"option of {name!r}", key, allowed, "bench list")
        wanted = type(allowed[key])
        if (
            typed
            and type(value) is not wanted
            and (wanted, type(value)) not in {(float, int), (str, int), (str, float)}
        ):
            kind = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(
                wanted.__name__, "a word"
            )
            raise NameUnknown(
                f"The option {key}={value} of {name!r} must be {kind}, as in {key}={names.spell(allowed[key])}."
            )


def _helpers(kind: Kind) -> list[Path]:
    return [file for folder in folders(kind) for file in sorted(folder.glob("_*.py"))]


_STATES: dict[str, list[tuple[Path, int, int]]] = {}
"""What each imported drop-in was imported from: the files, when they were changed [ns], and their sizes [bytes]."""


def _forget_what_changed(package: str, stem: str, files: Iterable[Path]) -> None:
    """Import a drop-in anew once it is another file, or was edited: what runs is what its hash is of."""
    name = f"{package}.{stem}"
    state = [(file, (found := file.stat()).st_mtime_ns, found.st_size) for file in files]
    if _STATES.setdefault(name, state) != state:
        importlib.invalidate_caches()
        for module in [one for one in sys.modules if one == name or one.startswith(f"{package}._")]:
            del sys.modules[module]
        _STATES[name] = state


def _load(kind: Kind, stem: str) -> object:
    found = entries(kind)
    if stem not in found:
        raise unknown(SINGULAR[kind], stem, found, f"bench list {kind}")
    try:
        package = importlib.import_module(PACKAGES[kind])
        package.__path__ = [str(folder) for folder in folders(kind)]  # BENCH_PATH may be another one by now
        _forget_what_changed(package.__name__, stem, [found[stem].path, *_helpers(kind)])
        module = importlib.import_module(f"{package.__name__}.{stem}")
    except BenchError:
        raise
    except Exception as error:
        path = found[stem].path
        raise NameUnknown(f"{path} cannot be imported: {reason(error)}. Mend {place(error, path)}.") from error
    return getattr(module, "SPEC", None)
