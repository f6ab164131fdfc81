"""`bench check`: a drop-in file, a name or a folder of images against its contract, before anything is trained."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bench import catalog, losses, metrics, names
from bench.catalog import Kind
from bench.cli_options import DataHome, home, say
from bench.errors import DataError, NotPrepared, StudyError

if TYPE_CHECKING:
    from bench.checks import Outcome

Source = Annotated[
    Path | None, typer.Option("--from", metavar="PATH", help="The raw files of a data set that needs some.")
]


OURS = Path(__file__).parent
"""Where losses and profiles of the program are."""


class Target(NamedTuple):
    """What is checked: its kind, its name on the axis, and the file that defines it."""

    kind: Kind
    name: str
    path: Path


def check(
    things: Annotated[
        list[str],
        typer.Argument(metavar="FILE|NAME|FOLDER", help="A file of DIR/architectures/ and so on, a name, or a folder."),
    ],
    source: Source = None,
    data_home: DataHome = None,
) -> None:
    """Check data sets, architectures, losses and metric profiles of your own against what each must do.

    It runs on the CPU at a small size, and says of each requirement whether it holds, and how to mend what does not.
    Exit code 1 if one does not hold.
    """
    wanted = [one for thing in things for one in targets(thing)]
    failed = 0
    for one in wanted:
        say(f"{one.name}, {catalog.SINGULAR[one.kind]} ({one.path})")
        with tempfile.TemporaryDirectory() as scratch:
            found = _told(_outcomes(one, source, home(data_home), Path(scratch)))
        failed += found
        say(_next(one) if not found else f"{found} of the checks failed.")
    if failed:
        raise typer.Exit(1)


def targets(thing: str) -> list[Target]:
    """What a word of the command line means; several things, where several have the name.

    Raises:
        StudyError: If it is a file outside the folders of a catalogue.
        DataError: If it is the path of nothing.
        NameUnknown: If it is a name that nothing has.
    """
    if thing.endswith(".py"):
        return [_file(Path(thing).resolve())]
    if catalog.is_folder(thing):
        return [Target("datasets", thing, Path(thing).resolve())]
    if "*" in thing or "+" in thing:
        losses.parse(thing)
        return [Target("losses", thing, OURS)]
    stem = names.parse(thing)[0]
    if os.sep in stem:
        raise DataError(f"{thing} does not exist. Give a file, a name of bench list, or a folder of images and masks.")
    files = {kind: catalog.entries(kind).get(stem) for kind in catalog.KINDS}
    found = [Target(kind, thing, _path(files[kind])) for kind in catalog.KINDS if stem in _known(kind)]
    if not found:
        every = {name for kind in catalog.KINDS for name in _known(kind)}
        raise catalog.unknown("data set, architecture, loss or metric profile", thing, every, "bench list")
    return found


def _file(path: Path) -> Target:
    """A file by its place; the folder above is taken for a catalogue, as if it had been named by --catalog."""
    if not path.is_file():
        raise StudyError(f"The file {path} does not exist. Give a file of DIR/architectures/, DIR/losses/ or the like.")
    folder = path.parent
    kind = next((one for one in catalog.KINDS if one == folder.name), None)
    if kind is None or path.stem.startswith("_"):
        raise StudyError(
            f"{path} cannot be checked: a file lies in {', '.join(f'{one}/' for one in catalog.KINDS)} of a folder of "
            "yours, by what it is, and begins with no underscore. Put it there, and give bench check its new path."
        )
    if folder not in catalog.folders(kind):
        os.environ["BENCH_PATH"] = os.pathsep.join(filter(None, [str(folder.parent), os.environ.get("BENCH_PATH")]))
    _known(kind)  # refuses a name that is taken
    return Target(kind, path.stem, path)


def _path(entry: catalog.Entry | None) -> Path:
    """The file of an entry; losses and profiles of ours have none of their own."""
    return OURS if entry is None else entry.path


def _known(kind: Kind) -> Iterable[str]:
    """The names of a kind."""
    if kind == "losses":
        return losses.available()
    if kind == "profiles":
        return [*metrics.PROFILES, *metrics.own()]
    return set(catalog.entries(kind)) - {"folder"}


def _outcomes(one: Target, source: Path | None, data_home: Path, scratch: Path) -> Iterator[Outcome]:
    """The checks of a kind, one after another; what cannot be looked at for want of files is not among them."""
    from bench import checks

    if one.kind == "datasets":
        yield from _of_data(one, source, data_home)
    elif one.kind == "profiles":
        from bench import check_profiles

        yield from checks.outcomes(check_profiles.CHECKS, metrics.profile(one.name), one.path)
    elif one.kind == "losses":
        from bench import check_losses

        yield from checks.outcomes(check_losses.CHECKS, losses.canonical(one.name), one.path)
    else:
        from bench import check_networks

        catalog.architecture(one.name)
        subject = check_networks.Subject(name=one.name, data_home=scratch)
        yield from checks.outcomes(check_networks.CHECKS, subject, one.path)


def _of_data(one: Target, source: Path | None, data_home: Path) -> Iterator[Outcome]:
    """The checks of a data set: those of its files only where these are here."""
    from bench import archive, check_datasets, checks

    spec = catalog.dataset(one.name)
    told = check_datasets.Subject(name=one.name, spec=spec, root=None)
    yield from checks.outcomes(check_datasets.TOLD, told, one.path)
    root = spec.raw or source or (one.path if one.path.is_dir() else _recorded(one.name, data_home))
    if root is None and not spec.generated:
        say("  ..  not looked at: its pictures, which are not here. Give --from PATH.")
        return
    with contextlib.nullcontext(Path()) if root is None else archive.opened(root, data_home) as opened:
        read = check_datasets.Subject(name=one.name, spec=spec, root=opened)
        yield from checks.outcomes(check_datasets.READ, read, one.path)


def _recorded(name: str, data_home: Path) -> Path | None:
    """Where the files were that a data set was prepared from, if they still are."""
    from bench import prepare

    if catalog.dataset(name).generated:
        return None
    with contextlib.suppress(NotPrepared):
        written = prepare.open_prepared(name, data_home).index.source
        return Path(written) if written and Path(written).exists() else None
    return None


def _told(found: Iterable[Outcome]) -> int:
    """Print outcomes as they come; how many were wrong."""
    failed = 0
    for one in found:
        if not one.wrong:
            say(f"  ok  {one.title}")
            continue
        failed += 1
        more = f" (and {len(one.wrong) - 1} more)" if len(one.wrong) > 1 else ""
        say(f"  --  {one.title}: {one.wrong[0].rstrip('.')}{more}. {one.mend}")
    return failed


def _next(one: Target) -> str:
    """What to do with what passed; a file of the user's is found by the catalogue that it lies in."""
    own = (
        one.path.is_file()
        and one.path.parent.name == one.kind
        and one.path.parents[1] not in (OURS.parent, OURS / "_builtin")
    )
    bench = f"bench --catalog {shlex.quote(os.path.relpath(one.path.parents[1]))}" if own else "bench"
    return {
        "datasets": f"All checks passed. Next, its copies and masks: {bench} data audit {one.name}",
        "architectures": f"All checks passed. Next: {bench} run matrix --architecture '{one.name}'",
        "losses": f"All checks passed. Next: {bench} run matrix --loss '{one.name}'",
        "profiles": f"All checks passed. Next: {bench} explain {one.name}, and {bench} report --profile {one.name}",
    }[one.kind]
