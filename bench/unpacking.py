"""Read an export: every name, size and checksum looked at before anything is believed; nothing in it is executed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from bench import archive, manifest
from bench.errors import DataError, StoreError
from bench.manifest import FILE, REWRITTEN, SUMS, Manifest
from bench.store import check_room, writing

ENDINGS = (".zip", ".tar.gz", ".tgz")
MANY = 250_000
"""Files of one export; ten thousand cells have less than half of it."""
LISTED = 2**26
"""Bytes of a manifest of so many files; as JSON it takes twenty times its length in memory, if made to."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)
"""What the libraries raise in the middle of a damaged archive."""


class Broken(NamedTuple):
    """A file of an export that is not what its manifest says."""

    path: str
    what: str


class _Damaged(Exception):
    """A file that cannot even be begun."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(_said(error))
        self.name = name


class _Member(NamedTuple):
    """One file of an archive, as it says; `source` is read while it is at hand."""

    name: str
    size: int
    source: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether a path is that of an export that is packed."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def stem(path: Path) -> str:
    """The name of an archive without its ending."""
    ending = next((one for one in ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)] or "export"


@contextlib.contextmanager
def unpacked(path: Path) -> Generator[Path]:
    """The folder that an archive holds, checked, for a while.

    Raises:
        StoreError: If it is not an export, damaged, or not safe to unpack; it names the file.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch) / stem(path)
        refuse(path, extract(path, folder))
        yield folder


def beside(path: Path, target: Path | None = None) -> Path:
    """Unpack an archive to stay, checked; what an earlier call unpacked is taken if it is still the same.

    Args:
        path: The archive.
        target: Where to; by default a folder beside it, of its name.
    Raises:
        StoreError: As `unpacked`, and if the folder holds something else.
    """
    folder = target or path.with_name(stem(path))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        with unpacked(path) as fresh:
            same = (folder / FILE).is_file() and (folder / FILE).read_bytes() == (fresh / FILE).read_bytes()
            found = manifest.parse((fresh / FILE).read_bytes(), str(path))
        if not same:
            raise StoreError(f"{path} is not unpacked to {folder}, which holds something else. Choose another --to.")
        refuse(folder, [one for one in changed(folder, found) if not one.path.startswith(REWRITTEN)])
        return folder
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        refuse(path, extract(path, part / folder.name))
        with writing(folder):
            (part / folder.name).replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def refuse(path: Path, broken: list[Broken]) -> None:
    """Raise if anything is broken.

    Raises:
        StoreError: Naming the first file, and how many there are.
    """
    if broken:
        more = f" {len(broken) - 1} more files are not right either." if len(broken) > 1 else ""
        raise StoreError(f"{path}: {broken[0].path} {broken[0].what}{more} Get the export again.")


def changed(folder: Path, found: Manifest) -> list[Broken]:
    """The files of a folder that are not what a manifest says."""
    broken = []
    for one in found.files:
        path = folder / PurePosixPath(one.path)
        if not path.is_file():
            broken.append(Broken(one.path, "is missing."))
            continue
        with path.open("rb") as file:
            hashed = hashlib.file_digest(file, "sha256").hexdigest()
        if hashed != one.sha256:
            broken.append(_other(one.path, hashed, one.sha256))
    return broken


def extract(path: Path, target: Path) -> list[Broken]:
    """Unpack an archive as far as it is what its manifest says; return what is not.

    Raises:
        StoreError: If it is no export, or not safe to unpack; nothing of it is then left.
    """
    broken: list[Broken] = []
    state = _Unpacking(path, target)
    try:
        for member in _members(path):
            broken += state.take(member)
    except (DataError, StoreError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise (StoreError(str(error)) if isinstance(error, DataError) else error) from error
    except _Damaged as error:
        return [*broken, Broken(error.name.partition("/")[2], f"is damaged: {error}.")]
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None and target.exists():
            raise StoreError(f"{path} cannot be unpacked to {target}: {error.strerror}. Check the disk.") from error
        if state.found is None:
            raise StoreError(f"{path} is not an export of bench, or damaged: {_said(error)}. Get it again.") from error
        return [*broken, Broken(state.at, f"is damaged: {_said(error)}.")]
    if state.found is None:
        raise StoreError(f"{path} is not an export of bench: it has no {FILE}. bench export makes one.")
    return [*broken, *(Broken(name, "is missing.") for name in sorted(state.wanted.keys() - state.seen))]


class _Unpacking:
    """An archive that is being unpacked: `found` is its manifest, once it came; `at` is the file it is at."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        self.found: Manifest | None = None
        self.root, self.at = "", FILE
        self.wanted: dict[str, tuple[int, str]] = {}
        self.seen: set[str] = set()

    def take(self, member: _Member) -> list[Broken]:
        """Write one file if it is what the manifest says; else say what is wrong with it."""
        _check_name(member.name, self.path)
        root, _, self.at = member.name.partition("/")
        if self.found is None:
            self._begin(root, member)
            return []
        if root != self.root or self.at not in self.wanted or self.at in self.seen:
            return [Broken(member.name, "is not a file of its manifest, or stands there twice.")]
        self.seen.add(self.at)
        size, wanted = self.wanted[self.at]
        if member.size != size:
            return [Broken(self.at, f"has {member.size} bytes, its manifest says {size}.")]
        out, digest = self.target / PurePosixPath(self.at), hashlib.sha256()
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        try:
            sink = out.open("xb")
        except FileExistsError:  # where upper and lower case are the same
            return [Broken(self.at, "stands there twice, as this file system takes names.")]
        with sink:
            for chunk in _chunks(member.source):
                digest.update(chunk)
                sink.write(chunk)
        hashed = digest.hexdigest()
        return [] if hashed == wanted else [_other(self.at, hashed, wanted)]

    def _begin(self, root: str, member: _Member) -> None:
        """Read the manifest, which comes first, and check that what it promises can be unpacked."""
        if self.at != FILE or member.size > LISTED:
            raise StoreError(f"{self.path} is not an export of bench: it does not begin with its {FILE}.")
        text = b"".join(_chunks(member.source))
        found = manifest.parse(text, str(self.path))
        files = found.files
        for one in files:
            _check_name(one.path, self.path)
        if len({FILE, SUMS, *(one.path for one in files)}) != len(files) + 2:
            raise StoreError(f"{self.path} has a {FILE} that names a file twice, or itself. It is not unpacked.")
        archive.check_places([PurePosixPath(one.path) for one in files], self.path)
        total, packed = sum(max(one.size, 0) for one in files), self.path.stat().st_size
        if len(files) > MANY or total > archive.LARGEST or total > archive.EXPANSION * packed + 2**20:
            raise StoreError(
                f"{self.path} would unpack to {len(files)} files of {total} bytes from {packed}: a bomb. It is not "
                "unpacked."
            )
        check_room(self.target, total)
        lines = manifest.sums(files, hashlib.sha256(text).hexdigest())
        self.found, self.root = found, root
        self.wanted = {one.path: (one.size, one.sha256) for one in files}
        self.wanted[SUMS] = (len(lines), hashlib.sha256(lines).hexdigest())
        (self.target / FILE).write_bytes(text)


def _members(path: Path) -> Generator[_Member]:
    """The files of an archive, the manifest first; links and whatever else is no file are refused."""
    if path.name.lower().endswith(".zip"):
        yield from _of_zip(path)
    else:
        yield from _of_tar(path)


def _of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as opened:
        infos = [info for info in opened.infolist() if not info.is_dir()]
        infos.sort(key=lambda info: PurePosixPath(info.filename).parts[1:] != (FILE,))
        if len(infos) > MANY:
            raise StoreError(f"{path} holds {len(infos)} files; at most {MANY} are allowed. It is not unpacked.")
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _link(path, info.filename)
            try:
                source = opened.open(info)
            except DAMAGE as error:
                raise _Damaged(info.filename, error) from error
            with source:
                yield _Member(info.filename, info.file_size, source)


def _of_tar(path: Path) -> Iterator[_Member]:
    with _Careful(path, "rb") as source, tarfile.open(fileobj=source, mode="r:") as opened:
        for number, info in enumerate(opened):
            if number > MANY or info.size > archive.LARGEST:
                raise StoreError(f"{path} holds more than {MANY} files, or one that is too large. It is not unpacked.")
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise _link(path, info.name)
            content = opened.extractfile(info)
            assert content is not None  # it is a file
            yield _Member(info.name, info.size, content)


class _Careful(gzip.GzipFile):
    """A packed stream that is never read in one piece: the head of a tar may ask for any length of a name."""

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; a length beyond what a name can have is damage."""
        if size is None or not 0 <= size <= 2**24:
            raise ValueError(f"a piece of {size} bytes was asked for")
        return super().read(size)


def _check_name(name: str, path: Path) -> None:
    """Refuse a name that leads outside, has another spelling, or cannot be printed.

    Raises:
        DataError, StoreError: Naming both.
    """
    archive.check_name(name, path)
    if not name.isprintable() or PurePosixPath(name).as_posix() != name:
        raise StoreError(f"{path} holds the name {name!r}, which bench does not write. It is not unpacked.")


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: source.read(2**20), b"")


def _link(path: Path, name: str) -> StoreError:
    return StoreError(f"{path} holds {name!r}, which is a link or a device, not a file. It is not unpacked.")


def _other(path: str, hashed: str, wanted: str) -> Broken:
    return Broken(path, f"has sha256 {hashed[:16]}.., its manifest says {wanted[:16]}...")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
