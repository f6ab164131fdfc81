"""Shared by readers of archives: find folders whatever their case, list and pair files, tell what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.errors import DataError

from ._files import SUFFIXES


def folders(root: Path, depth: int = 2) -> Iterator[Path]:
    """The root and the folders below it, nearest first, in order of name; hidden ones and __MACOSX are left out."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [path for folder in level for path in _subfolders(folder)]


def child(folder: Path, *wanted: str) -> Path | None:
    """The folder in `folder` with the first of these names that is there; case, space, - and _ make no difference."""
    found = {path.name: path for path in _subfolders(folder)}
    for name in wanted:
        alike = [path for path in found.values() if _plain(path.name) == _plain(name)]
        if alike:
            return found.get(name, alike[0])
    return None


def files(
    folder: Path, suffixes: Sequence[str] = SUFFIXES, key: Callable[[str], str] = lambda stem: stem
) -> dict[str, Path]:
    """The files of a folder by the key of their stem, in order of name; hidden files and other suffixes are left out.

    Raises:
        DataError: If the folder is missing or holds no such file, or a key stands twice.
    """
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. It must hold files of type {', '.join(suffixes)}.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        name = key(path.stem)
        if name in found:
            raise DataError(f"{found[name]} and {path} are both called {name!r}. Rename or remove one of them.")
        found[name] = path
    if not found:
        raise DataError(f"The folder {folder} holds no file of type {', '.join(suffixes)}. Unpack the archive again.")
    return found


def pairs(
    images: dict[str, Path], masks: dict[str, Path], *, skip_unpaired: bool = False, hint: str = ""
) -> list[tuple[str, Path, Path]]:
    """Images and masks of equal key, sorted by key: (key, image file, mask file).

    Args:
        images: What `files` gave for the images.
        masks: What it gave for the masks.
        skip_unpaired: Leave out what has no partner.
        hint: The name that leaves it out, told when something has no partner.
    Raises:
        DataError: If a file has no partner, or nothing has one.
    """
    for what, present, absent in (("mask", images, masks), ("image", masks, images)):
        alone = sorted(present.keys() - absent.keys())
        if alone and (not skip_unpaired or len(alone) == len(present)):
            way = f" or write {hint} to leave such files out," if hint and not skip_unpaired else ""
            raise DataError(
                f"{len(alone)} of {len(present)} files have no {what}, the first is {present[alone[0]]}. "
                f"Put its {what} into {next(iter(absent.values())).parent},{way} or remove the file."
            )
    return [(key, images[key], masks[key]) for key in sorted(images.keys() & masks.keys())]


def check_flag(dataset: str, key: str, value: object) -> None:
    """Refuse an option that is neither true nor false.

    Raises:
        DataError: Naming the option and its value.
    """
    if not isinstance(value, bool):
        raise DataError(
            f"{key}={value!r} of data set {dataset} is unknown. Write {dataset}[{key}=true], or leave it out."
        )


def check_choice(dataset: str, key: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse an option that is none of the allowed words.

    Raises:
        DataError: Naming the option, its value and what is allowed.
    """
    if value not in allowed:
        raise DataError(
            f"{key}={value!r} of data set {dataset} is unknown. Allowed: {', '.join(allowed)}. "
            f"Write {dataset}[{key}={allowed[0]}]."
        )


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
        return [path for path in entries if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
    except OSError:  # no folder, or one that may not be read: nothing of ours is in it
        return []


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")
