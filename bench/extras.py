"""Packages that are used only when they are asked for, each behind an extra of its own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from bench.errors import StudyError


def load(module: str, *, extra: str, wanted_by: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        StudyError: If the package is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(str(error.name).split(".")[0], extra, wanted_by) from error


def check(module: str, *, extra: str, wanted_by: str) -> None:
    """Refuse early what `load` would refuse later; imports nothing.

    Raises:
        StudyError: If the package is not installed, with the command that installs it.
    """
    if (sys.modules[module] if module in sys.modules else importlib.util.find_spec(module)) is None:
        raise _missing(module, extra, wanted_by)


def _missing(package: str, extra: str, wanted_by: str) -> StudyError:
    return StudyError(
        f"{wanted_by} needs the package {package}, which is not installed. Install it: pip install 'cytobench[{extra}]'"
    )
