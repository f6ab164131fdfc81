"""What of a data set can be downloaded, on which terms, and the files themselves.

<data-home>/downloads/<name>/<release>/<file>     as it came; nothing else lies there
<data-home>/downloads/<name>/<release>.json       its address, size and sha256, and the licence that was accepted
<data-home>/downloads/<name>/.<release>/          what is still on its way
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import archive, catalog, fetch, hosts, locks, names, quantities
from bench.errors import DataError, NameUnknown
from bench.specs import DatasetSpec, Release, RemoteFile
from bench.store import sha256 as hash_of
from bench.store import write_bytes, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file that was downloaded; what the release's JSON says of it, so that others can compare."""

    file: str
    url: str
    size: int
    sha256: str
    fetched: str


def how(name: str, spec: DatasetSpec) -> str:
    """How to come by a data set that is not prepared, in commands."""
    by_hand = f"bench data prepare {name} --from PATH (a folder or zip)"
    if spec.releases:
        return f"run: bench data prepare {name} --download, or get it from {spec.homepage} and run: {by_hand}"
    return f"get it from {spec.homepage}, then run: {by_hand}"


def sort(name: str, spec: DatasetSpec) -> str:
    """How a data set is obtained, in a few words."""
    if catalog.is_folder(name) or spec.raw is not None:
        return "yours"
    if spec.generated:
        return "generated"
    if spec.releases:
        return f"bench data prepare {name} --download [--release {' | '.join(one.name for one in spec.releases)}]"
    return f"not to be downloaded by a program: {spec.unreleased or 'no public address is known'}"


def chosen(name: str, release: str | None = None, mirror: str | None = None, sha256: str | None = None) -> Release:
    """A release of a data set, with its files as the user wants them.

    Args:
        name: The data set.
        release: Its release; None for the usual one.
        mirror: Where the files are instead; an address that ends in a slash stands before their names.
        sha256: Of its only file, where nobody has published it.
    Raises:
        DataError: If there is nothing to download, saying what to do instead, or the files are not to be had so.
        NameUnknown: If there is no such data set or release.
    """
    if catalog.is_folder(name):
        raise DataError(f"{name} is a folder on this machine: there is nothing to download. Leave --download out.")
    spec = catalog.dataset(name)
    if spec.generated or spec.raw is not None:
        raise DataError(f"{name} is made on this machine: there is nothing to download. Run: bench data prepare {name}")
    if not spec.releases:
        reason = spec.unreleased or "no public address is known"
        raise DataError(f"{name} cannot be downloaded by a program: {reason}. To use it, {how(name, spec)}.")
    found = {one.name: one for one in spec.releases}
    if release is not None and release not in found:
        raise NameUnknown(f"{name} has no release {release!r}. There are: {', '.join(found)}.")
    one = found[release] if release else spec.releases[0]
    return replace(one, files=tuple(_instead(remote, one, mirror, sha256) for remote in one.files))


def terms(name: str, release: Release) -> dict[str, str]:
    """What a user should know before anything is asked of anybody's server."""
    spec = catalog.dataset(name)
    lines = {"licence": spec.licence, "citation": spec.citation, "homepage": spec.homepage, "release": release.title}
    for remote in release.files:
        size = "size unknown" if remote.size is None else quantities.size(remote.size)
        known = "no published hash" if remote.sha256 is None else f"sha256 {remote.sha256}"
        lines[remote.name] = f"{size}, {known}, from {hosts.page(remote)}"
    return lines


def there(name: str, release: Release, data_home: Path) -> Path | None:
    """The files of a release that are here whole and unchanged, as `bench.prepare` takes them; else None."""
    folder = _folder(name, data_home) / release.name
    kept = {one.file: one for one in _kept(folder)}
    if any(not _unchanged(folder / remote.name, kept, remote.sha256) for remote in release.files):
        return None
    return folder / release.files[0].name if len(release.files) == 1 else folder


def download(
    name: str,
    release: Release,
    data_home: Path,
    bar: Callable[[str], fetch.Progress] = lambda name: lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Bring the files of a release here, those that are not here yet.

    Args:
        name: The data set.
        release: One that `chosen` gave, whose terms were accepted.
        data_home: Where prepared data live.
        bar: Gives what is told the bytes of a file.
        say: Told what is skipped, what is tried again, and the hash of what came.
    Returns:
        The zip, or the folder of zips, that `bench.prepare` takes.
    Raises:
        DataError: If a file cannot be had, is not what it should be, or somebody else is downloading it.
        Unfinished: If a server stopped answering; what came is kept.
        StoreError: If the disk has no room.
    """
    folder = _folder(name, data_home) / release.name
    arriving = folder.with_name(f".{release.name}")
    with locks.held(arriving / "lock") as ours:
        if not ours:
            raise DataError(f"Another process is downloading {name} into {folder}. Wait for it, then run this again.")
        kept = {one.file: one for one in _kept(folder)}
        for remote in release.files:
            if _unchanged(folder / remote.name, kept, remote.sha256):
                say(f"{remote.name} is here already, with the sha256 {kept[remote.name].sha256}.")
                continue
            kept[remote.name] = one = _bring(remote, arriving, folder, bar(remote.name), say)
            _note(folder, name, [kept[file] for file in sorted(kept)])
            known = "as published" if remote.sha256 else "which nobody has published: compare it with a colleague's"
            say(f"{remote.name}: {one.size} bytes, sha256 {one.sha256} ({known}).")
    return folder / release.files[0].name if len(release.files) == 1 else folder


def _bring(
    remote: RemoteFile, arriving: Path, folder: Path, progress: fetch.Progress, say: Callable[[str], None]
) -> Kept:
    """One file, from where it is to where it is kept; checked in between."""
    path = arriving / remote.name
    if remote.how == "drive":
        url, found = hosts.page(remote), _from_drive(remote, path, progress)
    else:
        order = hosts.order(remote)
        url, found = order.url, fetch.fetch(order, path, progress, say)
    try:
        archive.check(path, contents=remote.sha256 is None)
    except DataError as error:
        path.unlink()
        raise DataError(f"{error} It came from {url} and was removed.") from error
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / remote.name)
    size = (folder / remote.name).stat().st_size
    return Kept(file=remote.name, url=url, size=size, sha256=found, fetched=datetime.now(UTC).isoformat("T", "seconds"))


def _from_drive(remote: RemoteFile, path: Path, progress: fetch.Progress) -> str:
    if not path.is_file():  # a run that was killed may have left it whole
        hosts.drive(remote, path, progress)
    try:
        with path.open("rb") as file:
            fetch.check_kind(file.read(512), remote.name, "", hosts.page(remote))
        found = hash_of(path)
        fetch.check_hash(found, remote.sha256, hosts.page(remote))
    except DataError:
        path.unlink()
        raise
    return found


def _instead(remote: RemoteFile, release: Release, mirror: str | None, sha256: str | None) -> RemoteFile:
    """A file as the user wants it: from another address, with a hash that he knows."""
    if len(release.files) > 1 and (sha256 or (mirror and not mirror.endswith("/"))):
        raise DataError(
            f"The release {release.name} has {len(release.files)} files: --sha256 is for one, and --mirror must end in "
            "a slash, to stand before their names."
        )
    if sha256 and remote.sha256 and sha256.lower() != remote.sha256:
        raise DataError(f"--sha256 {sha256} contradicts the published one of {remote.name}, {remote.sha256}.")
    known = sha256.lower() if sha256 else remote.sha256
    if mirror is None:
        return replace(remote, sha256=known)
    address = f"{mirror}{remote.name.replace(' ', '%20')}" if mirror.endswith("/") else mirror
    return replace(remote, how="direct", address=address, sha256=known)


def _unchanged(path: Path, kept: dict[str, Kept], sha256: str | None) -> bool:
    """Whether a file is here, and is still what came."""
    one = kept.get(path.name)
    if one is None or not path.is_file() or path.stat().st_size != one.size:
        return False
    return sha256 in (None, one.sha256) and hash_of(path) == one.sha256


def _kept(folder: Path) -> list[Kept]:
    """What is known of the files of a release; nothing when the note is missing or not one of ours."""
    try:
        return [Kept(**one) for one in json.loads(folder.with_name(f"{folder.name}.json").read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _note(folder: Path, name: str, kept: list[Kept]) -> None:
    note = {"licence": catalog.dataset(name).licence, "files": [asdict(one) for one in kept]}
    write_bytes(folder.with_name(f"{folder.name}.json"), json.dumps(note, indent=1).encode())


def _folder(name: str, data_home: Path) -> Path:
    """Where the downloads of a data set are; its options make no difference."""
    return data_home / "downloads" / names.parse(name)[0]
