"""Open what a user downloaded: a folder as it is, a zip unpacked with every name and size checked."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path, PurePosixPath

from bench.errors import DataError
from bench.store import check_room, writing

LARGEST = 64 * 2**30  # unpacked bytes of one archive
EXPANSION = 200  # unpacked bytes per packed byte of one member; pictures stay below 10
LONGEST = 255  # bytes of a name, as file systems have it
SPARSE = ".npy"  # but masks as arrays of 64 bits reach hundreds: only the disk and LARGEST limit these


@contextlib.contextmanager
def opened(path: Path, scratch: Path) -> Generator[Path]:
    """The folder behind a folder, a zip or a folder of zips; what was unpacked below `scratch` is removed at the end.

    Raises:
        DataError: If the path is neither, or the zip is damaged or not safe to unpack.
    """
    packed = zips(path)
    if path.is_dir() and not packed:
        yield path
        return
    if not path.exists():
        raise DataError(f"{path} does not exist. Give the folder or the zip you downloaded.")
    for file in packed or [path]:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{file} is neither a folder nor a zip. Give the folder or the zip you downloaded.")
    scratch.mkdir(parents=True, exist_ok=True)
    check_room(scratch, sum(_size(file) for file in packed))
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpack-") as folder:
        for file in packed:
            _unpack(file, Path(folder, file.stem) if len(packed) > 1 else Path(folder))
        try:
            yield Path(folder)
        except DataError as error:  # the user knows the zip, not where it was unpacked for a moment
            raise DataError(str(error).replace(folder, str(path))) from error


def zips(path: Path) -> list[Path]:
    """The zips that a path stands for: a file is one, a folder is those in it when there is nothing else."""
    if not path.is_dir():
        return [path]
    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    return inside if all(entry.is_file() and entry.suffix.lower() == ".zip" for entry in inside) else []


def check(path: Path, *, contents: bool) -> None:
    """Refuse a zip that `opened` would refuse, without unpacking it.

    Args:
        path: The zip.
        contents: Also read all of it, and compare its checksums.
    Raises:
        DataError: If it is damaged or not safe to unpack.
    """
    with _zip(path) as (archive, members):
        for member in members if contents else []:
            with archive.open(member) as source:
                while source.read(2**20):
                    pass


def _size(path: Path) -> int:
    """What a zip unpacks to [bytes]."""
    with _zip(path) as (_, members):
        return sum(member.file_size for member in members)


def _unpack(path: Path, target: Path) -> None:
    with _zip(path) as (archive, members):
        for member in members:
            out = target / PurePosixPath(member.filename)
            with writing(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, out.open("wb") as sink:
                    shutil.copyfileobj(source, sink)


@contextlib.contextmanager
def _zip(path: Path) -> Generator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """An open zip with its files, whose names and sizes are safe; whatever is wrong inside is told of the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            for member in members:
                _check(member, path)
            check_places([PurePosixPath(member.filename) for member in members], path)
            total = sum(member.file_size for member in members)
            if total > LARGEST:
                raise DataError(
                    f"{path} would unpack to {total / 2**30:.0f} GiB; at most {LARGEST >> 30} GiB are allowed."
                )
            yield archive, members
    except RuntimeError as error:  # a password, or a way of packing that Python does not know
        raise DataError(
            f"{path} cannot be unpacked here: {error}. Unpack it with another program and give the folder with --from."
        ) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is a damaged zip: {error}. Download it again.") from error


def check_places(files: list[PurePosixPath], path: Path) -> None:
    """Refuse names that no folder can hold, so that a zip is never found out half unpacked."""
    folders = {folder for file in files for folder in file.parents}
    for file in files:
        if not file.parts or file in folders or any(len(part.encode()) > LONGEST for part in file.parts):
            raise DataError(
                f"{path} holds the name {str(file)[:80]!r}, which is empty, that of a folder as well, or longer than "
                f"{LONGEST} bytes. It is not unpacked."
            )


def check_name(name: str, path: Path) -> None:
    """Refuse a name that would leave the folder it is unpacked to; `path` is the archive.

    Raises:
        DataError: Naming both.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name or "\0" in name:
        raise DataError(f"{path} holds the name {name!r}, which points outside the archive. It is not unpacked.")


def _check(member: zipfile.ZipInfo, path: Path) -> None:
    check_name(member.filename, path)
    name = PurePosixPath(member.filename)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{path} holds the link {member.filename!r}; links are not allowed. It is not unpacked.")
    if name.suffix != SPARSE and member.file_size > EXPANSION * max(member.compress_size, 1) + 2**20:
        raise DataError(
            f"{path} holds {member.filename!r}, which unpacks to {member.file_size} bytes from "
            f"{member.compress_size}: a zip bomb. It is not unpacked."
        )
