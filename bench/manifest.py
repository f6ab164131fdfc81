"""What an export holds: every file with its size and hash, which cells, whose data, what was left out.

NAME/manifest.json    this
NAME/SHA256SUMS       the same hashes, as `sha256sum -c` reads them
NAME/..               a results folder as `bench.store` describes it
NAME/catalog/..       the user's own files that its cells were made with
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bench.errors import StoreError

FILE, SUMS, CODE = "manifest.json", "SHA256SUMS", "catalog"
VERSION = 1
FORMAT = "cytobench export"
REWRITTEN = ("leaderboard.", "statistics.json", "index.html", "pictures/", "figures/")
"""What `bench report` writes anew, by the beginning of its path."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of an export.

    Attributes:
        path: Below the folder of the export, with slashes.
        size: In bytes.
        sha256: In hexadecimal.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CellEntry:
    """One cell of an export.

    Attributes:
        cell: Its key, as `smear/unet/ce/f0-s0`.
        fingerprint: Hash of all that can change its result.
        status: How it ended.
        weights: Whether its weights are in the export.
    """

    cell: str
    fingerprint: str
    status: str
    weights: bool


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """A data set that cells were scored on; its images and masks are not in the export.

    Attributes:
        hash: Of classes, samples and pixels: data prepared elsewhere are the same where this is.
        pictures: Whether small pictures of some test images are in the export.
    """

    name: str
    title: str
    hash: str
    licence: str
    citation: str
    pictures: bool


@dataclass(frozen=True, kw_only=True)
class CodeEntry:
    """One of the user's own files that cells were made with; `path` is where it lies in the export."""

    kind: Literal["datasets", "architectures", "losses", "profiles"]
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an export holds: manifest.json.

    Attributes:
        schema: Version of the format.
        format: What this is.
        bench: Version of the program that made it.
        study: Name of the study.
        finished: When the last of its cells was finished, ISO 8601, UTC; empty where that is not known.
        cells: In the order of their keys.
        data: Whose pixels they were scored on.
        code: The user's own files.
        shortened: Records in which an absolute path was replaced by its last part, and the seal renewed.
        left_out: Files that the results folder has, and the export has not.
        files: All others, but for this one and SHA256SUMS.
    """

    schema: Literal[1]
    format: Literal["cytobench export"]
    bench: str
    study: str
    finished: str
    cells: list[CellEntry]
    data: list[DataEntry]
    code: list[CodeEntry]
    shortened: list[str]
    left_out: list[str]
    files: list[FileEntry]


def as_json(found: Manifest) -> bytes:
    """The bytes of manifest.json."""
    return (json.dumps(asdict(found), indent=1, ensure_ascii=False) + "\n").encode()


def sums(files: list[FileEntry], hashed: str) -> bytes:
    """The bytes of SHA256SUMS; `hashed` is the sha256 of manifest.json."""
    lines = [f"{one.sha256}  {one.path}\n" for one in files] + [f"{hashed}  {FILE}\n"]
    return "".join(lines).encode()


def parse(text: bytes, where: str) -> Manifest:
    """A manifest, checked; `where` is named in the errors.

    Raises:
        StoreError: If it is none, or of another version.
    """
    import pydantic

    try:
        values: Any = json.loads(text)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise StoreError(f"{where} is not an export of bench: its {FILE} is of something else.")
        if values.get("schema") != VERSION:
            raise StoreError(
                f"{where} has a manifest of version {values.get('schema')}; this version of bench reads {VERSION}. Use "
                "the version that wrote it."
            )
        return _adapter().validate_json(text, strict=True)
    except (ValueError, RecursionError, pydantic.ValidationError) as error:
        raise StoreError(f"{where}: its {FILE} cannot be read: {str(error).splitlines()[0]}. Get it again.") from error


def left_out(folder: Path) -> frozenset[Path]:
    """The files that a folder, unpacked from an export, does not have on purpose; none for any other folder.

    Raises:
        StoreError: If its manifest is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return frozenset()
    return frozenset(folder / PurePosixPath(name) for name in parse(path.read_bytes(), str(folder)).left_out)


@functools.cache
def _adapter() -> Any:
    import pydantic

    return pydantic.TypeAdapter(Manifest)
