"""The list of every file behind an error, kept beside the prepared data when there are more than its line can name."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from bench import prepare
from bench.errors import DataError
from bench.store import write_bytes, writing


@contextlib.contextmanager
def logged(name: str, data_home: Path) -> Generator[None]:
    """Write the files of a DataError to `<data-home>/<name>.problems.log`, which its message then names.

    The log of an earlier try is removed.

    Raises:
        DataError: The one that was raised inside.
    """
    folder = prepare.location(name, data_home)
    log = folder.with_name(f"{folder.name}.problems.log")
    if log.exists():  # to remove nothing fails where nothing may be written
        with writing(log):
            log.unlink(missing_ok=True)
    try:
        yield
    except DataError as error:
        if len(error.files) < 2:
            raise
        write_bytes(log, "".join(f"{file}\n" for file in error.files).encode(errors="backslashreplace"))
        raise DataError(f"{error} All {len(error.files)} files are listed in {log}.", error.files) from error
