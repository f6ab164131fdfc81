"""What `import bench` gives beside `bench.load`: run a study, and read a leaderboard, from Python."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import conduct, places, runner
from bench import study as studies
from bench.errors import StudyError
from bench.job import Event
from bench.progress import Account
from bench.records import FINAL, Record
from bench.specs import Place, Study
from bench.workers import Limits

if TYPE_CHECKING:
    import pandas as pd

OnEvent = Callable[[Event], None]
LEVELS = 5
"""Calls between who calls `bench.run` and a warning."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What `bench.run` left behind; stands for its folder wherever a path is wanted.

    Attributes:
        folder: Of the study, below `results`.
        page: The page, which opens from disk; the leaderboard as CSV, Markdown, LaTeX and JSON lies beside it.
        study: As it ran: every name in its one spelling, without the data sets that were left out.
        records: What is stored of each cell, in the order of the study, baselines among them.
    """

    folder: Path
    page: Path
    study: Study = dataclasses.field(repr=False)
    records: tuple[Record, ...] = dataclasses.field(repr=False)

    @property
    def failed(self) -> tuple[Record, ...]:
        """The cells without a result; `error` of each says why, and `log.txt` in its folder has the traceback."""
        return tuple(record for record in self.records if record.status not in FINAL)

    def leaderboard(self, *, profile: str = "default", dataset: str | None = None) -> pd.DataFrame:
        """The leaderboard: see `bench.leaderboard`."""
        return leaderboard(self, profile=profile, dataset=dataset)

    def __fspath__(self) -> str:
        return str(self.folder)


def load_study(study: str | os.PathLike[str]) -> Study:
    """A study from a TOML file, or a built-in one.

        study = bench.load_study("quick")
        longer = dataclasses.replace(study, name="longer", budget=bench.Budget(epochs=50))

    Args:
        study: The path of a file, or a name of `bench list studies`.
    Raises:
        StudyError: If the file is missing, is not TOML, or says something that is not allowed.
        NameUnknown: If there is no built-in study of that name.
    """
    return studies.load(os.fspath(study))


def run(
    study: Study | str | os.PathLike[str],
    *,
    results: str | os.PathLike[str] = "results",
    data_home: str | os.PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    threads: int | None = None,
    time_limit_s: float | None = None,
    silence_limit_s: float = 3600.0,
    checkpoint_s: float = 60.0,
    retry_failed: bool = False,
    skip_missing: bool = False,
    allow_leak: bool = False,
    engine: str = "local",
    address: str | None = None,
    engine_options: Mapping[str, object] | None = None,
    progress: bool = False,
    on_event: OnEvent | None = None,
) -> Results:
    """Run what is missing of a study, as `bench run matrix` does, and write its page.

    What is stored and made of the same ingredients does not run again, so that calling it twice is calling it once.
    Ctrl-C raises KeyboardInterrupt: finished cells are kept, and the same call goes on from there. A cell that fails
    is in `Results.failed`, and raises nothing. What a user has to know, as of a leak that was allowed, is a warning.

    Args:
        study: What to run, or the path of a study file, or the name of a built-in study.
        results: The folder of all studies; this one gets `results/<study.name>`.
        data_home: Where prepared data live; None for $BENCH_DATA, or the user's cache folder.
        device: auto, cpu, cuda or cuda:i.
        workers: Cells at once, each in a process of its own; None for as many as the machine carries, 0 runs them in
            this process, where nothing is isolated.
        threads: Of the processor, for each worker; None divides the cores.
        time_limit_s: A cell that takes longer is ended; None for no limit [s].
        silence_limit_s: A worker without a sign of life for so long is ended [s].
        checkpoint_s: A training that goes on longer leaves a checkpoint every so often [s].
        retry_failed: Whether cells that failed before run again.
        skip_missing: Whether data sets that are not prepared are left out, with a warning.
        allow_leak: Whether it runs although test images have copies in training, under the stamp LEAK.
        engine: local, ray or slurm.
        address: Where the cluster is; None for where its own tools find it.
        engine_options: What is asked of the cluster per cell, as `{"gpus": 0.5}`.
        progress: Whether the screen shows what the command shows; else nothing is printed.
        on_event: Called in this process with what cells tell about themselves while they run. What it raises ends the
            run, and is raised here.
    Raises:
        StudyError: If a value of the study or an argument is not allowed.
        NameUnknown: If a data set, network, loss or baseline does not exist, or a network cannot be built.
        DataError: If a data set is missing, malformed, not prepared here, or leaks.
        StoreError: If the results folder cannot be read or written.
        DiskFull: If the disk filled in mid-run; finished cells are kept.
    """
    from bench import report

    _check(
        workers=(workers, 0), threads=(threads, 1), checkpoint_s=(checkpoint_s, 0),
        time_limit_s=(time_limit_s, None), silence_limit_s=(silence_limit_s, None),
    )  # fmt: skip
    if engine_options is not None and not isinstance(engine_options, Mapping):
        raise StudyError(f"engine_options is {engine_options!r:.100}. Give a mapping, as {{'gpus': 0.5}}.")
    how = conduct.How(
        device=device, workers=workers, threads=threads, checkpoint_s=checkpoint_s,
        limits=Limits(seconds=time_limit_s, silence=silence_limit_s),
        retry_failed=retry_failed, skip_missing=skip_missing, allow_leak=allow_leak,
        engine=engine, address=address,
        engine_options=tuple(f"{key}={value}" for key, value in (engine_options or {}).items()),
    )  # fmt: skip
    place = Place(results=Path(results), data_home=places.home(None if data_home is None else Path(data_home)))
    ran = conduct.run(_resolved(study), place, how, _listener(on_event, progress=progress))
    content = report.collect(place.results / ran.name)
    page = report.publish(content).resolve()
    records = tuple(row.record for row in content.rows if row.record is not None)
    return Results(folder=page.parent, page=page, study=ran, records=records)


def leaderboard(
    results: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    profile: str = "default",
    dataset: str | None = None,
) -> pd.DataFrame:
    """The leaderboard of a study, or of several results folders merged as `bench report A B` merges them.

    One row per data set, architecture and loss, best first, in the order and with the numbers of the page. What is
    undefined or not there is missing (`isna()`): NaN in columns of floats, <NA> in those of whole numbers. `attrs` of
    the frame hold the id of the `profile`, and the `primary` metric, which ranks. The columns are

    - dataset, architecture, loss: names; no loss for a baseline. What stands once per folder ends in ` @ folder`.
    - rank: from 1, shared by rows that cannot be told apart; missing without a value, or while cells are missing.
    - every metric of the profile, as mdice_d_fg: its value over all test images, the mean over seeds.
    - seeds, folds: how many are behind the values. done, cells: cells with a score, and all that the study has.
    - lr: the rate it was trained with; missing where its cells have several. params: trainable numbers of the network.
    - stamps: what to beware of, parted by `; `: LEAK, excludes seed noise, rate at the edge, and how cells ended that
      are not ok.
    - rank_low, rank_high: the ranks it takes in 95% of the resamples. tie_group: a number for each shared rank.
    - every metric with _low and _high: its 95% interval, over images, and over seeds where there are several; and
      under `default` each class, as dice_d/background, with its interval.

    Args:
        results: What `bench.run` returned, a study's results folder or an export of it, the name of a study below
            `results/`, or several of these.
        profile: A metric profile of `bench list metrics`.
        dataset: Only the rows of this data set.
    Raises:
        StudyError: If there is no study in a folder, or folders cannot be merged.
        StoreError: If a record or an array is damaged.
        NameUnknown: If there is no such profile or data set.
    """
    from bench import frames, unpacking

    if not isinstance(results, str | os.PathLike | Iterable):
        raise StudyError(f"{results!r:.100} is no results folder. Give what bench.run returned, or a path.")
    several = [results] if isinstance(results, str | os.PathLike) else list(results)
    if not several:
        raise StudyError("bench.leaderboard was given no results folder. Name one, as results/quick.")
    with contextlib.ExitStack() as stack:
        folders = [
            stack.enter_context(unpacking.unpacked(Path(one)))
            if unpacking.is_archive(Path(one))
            else places.study_folder(os.fspath(one), Path("results"))
            for one in several
        ]
        return frames.leaderboard(folders, profile, dataset)


class _Quiet(conduct.Listener):
    """Warns, and passes events on to a function."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self.on_event = on_event

    def warn(self, line: str) -> None:
        warnings.warn(line, UserWarning, stacklevel=LEVELS)

    def follow(self, account: Account) -> AbstractContextManager[OnEvent]:
        return contextlib.nullcontext(self.on_event or (lambda event: None))


def _listener(on_event: OnEvent | None, *, progress: bool) -> conduct.Listener:
    if not progress:
        return _Quiet(on_event)
    from bench import cli_study

    return cli_study.Terminal(more=[] if on_event is None else [_View(on_event)])


class _View:
    """A function as a view of a running study."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event

    def __enter__(self) -> None: ...

    def __exit__(self, *reason: object) -> None: ...

    def tell(self, event: Event) -> None:
        self.on_event(event)


def _resolved(study: Study | str | os.PathLike[str]) -> Study:
    """A study whose values are what a study file may say, under the same errors; lists become tuples."""
    if isinstance(study, Study):
        try:
            values = dataclasses.asdict(study)
        except TypeError as error:
            raise StudyError(f"The study {study.name!r} holds what is no plain value: {error}.") from error
        study = studies.parse(values, where=f"The study {study.name!r}")
    elif isinstance(study, str | os.PathLike):
        study = load_study(study)
    else:
        raise StudyError(
            f"{study!r:.100} is no study. Give a bench.Study, the path of a study file, "
            "or the name of a built-in study."
        )
    return runner.resolve(dataclasses.replace(study, name=studies.folder_name(study.name)))


def _check(**given: tuple[object, int | None]) -> None:
    """Refuse arguments that are no number, or below their least; without one they must be above 0.

    Raises:
        StudyError: The first of them.
    """
    for name, (value, least) in given.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (value > 0 if least is None else value >= least):
            allowed = "more than 0" if least is None else f"{least} or more"
            raise StudyError(f"{name} is {value!r}. Give a number, {allowed}.")
