"""Where things are on this machine unless somebody says otherwise; loads nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import StudyError


def home(data_home: Path | None) -> Path:
    """The folder of prepared data: the one that was given, or $BENCH_DATA, or the user's cache folder."""
    if data_home is not None:
        return data_home
    if named := os.environ.get("BENCH_DATA"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cytobench"))


def study_folder(study: str | None, results: Path) -> Path:
    """The results folder of a study: a path, a name below --results, or the newest one.

    Raises:
        StudyError: If there is no such folder.
        StoreError: If the newest is wanted and there is none.
    """
    from bench import report

    if study is None:
        return report.newest(results)
    for candidate in (Path(study), results / study):
        if (candidate / "study.toml").is_file():
            return candidate
    raise StudyError(
        f"Neither {study} nor {results / study} is the results folder of a study. Run bench run matrix first."
    )
