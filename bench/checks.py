"""What a drop-in file or a data set must do, as checks; the contract tests and `bench check` share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bench import catalog
from bench.errors import BenchError

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[Subject]):
    """One thing that must hold.

    Attributes:
        title: What holds where nothing is wrong.
        find: What is wrong with a subject, a line each; nothing where nothing is.
        mend: What to do about it.
    """

    title: str
    find: Callable[[Subject], Iterable[str]]
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a check: nothing is `wrong` where it holds."""

    title: str
    wrong: tuple[str, ...] = ()
    mend: str = ""


def outcomes(checks: Iterable[Check[Subject]], subject: Subject, path: Path) -> Iterator[Outcome]:
    """Each check's outcome as soon as it is known; an error of the code under test is one of the things that are wrong.

    Args:
        path: The file under test, in which the line of an error is looked for.
    """
    for check in checks:
        try:
            wrong = tuple(check.find(subject))
        except BenchError as error:
            wrong = (str(error),)
        except Exception as error:  # the file is anybody's
            wrong = (f"{catalog.reason(error)}, at {catalog.place(error, path)}",)
        yield Outcome(title=check.title, wrong=wrong, mend=check.mend if wrong else "")
