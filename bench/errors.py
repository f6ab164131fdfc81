"""Every error a user can cause, and the exit code each ends the program with.

    BenchError            2
    ├── NameUnknown       2   a name on an axis that does not exist
    ├── StudyError        2   a study file or an option that makes no sense
    ├── DataError         2   a data set that is missing or malformed
    │   └── NotPrepared   2   a data set that is not prepared here
    ├── Unfinished        2   a download that broke off, and goes on where it stopped
    ├── StoreError        2   a results folder that cannot be read or written
    └── DiskFull          1   the disk filled in mid-run; finished cells are kept

A message is one line: what (with the value), where, what is allowed, how to fix it.
"""

from __future__ import annotations

from collections.abc import Iterable


class BenchError(Exception):
    """The root of all errors that are shown as one line, without a traceback."""

    exit_code = 2


class NameUnknown(BenchError):
    """A data set, architecture, loss, metric or study that no catalogue has."""


class StudyError(BenchError):
    """A value in a study file or on the command line that is out of its range."""


class DataError(BenchError):
    """A data set that is missing, malformed, or not yet prepared.

    Attributes:
        files: Every file that is to blame, where the message can name the first one only.
    """

    def __init__(self, message: str, files: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.files = tuple(files)


class NotPrepared(DataError):
    """A data set of the catalogue whose raw files nobody has prepared on this machine."""


class NotFetched(DataError):
    """A file of the network that is not on this machine yet, and cannot or shall not be downloaded now."""


class Unfinished(BenchError):
    """A download that broke off; what came is kept, and the same command goes on from there."""


class StoreError(BenchError):
    """A results folder of another schema, or one that cannot be read or written."""


class DiskFull(BenchError):
    """No room is left on the disk; the study stops and keeps every finished cell."""

    exit_code = 1
