"""Packages that are used only when they are asked for, each behind an extra of its own."""

from __future__ import annotations

import importlib
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
        package = str(error.name).split(".")[0]
        raise StudyError(
            f"{wanted_by} needs the package {package}, which is not installed. "
            f"Install it: pip install 'cytobench[{extra}]'"
        ) from error
