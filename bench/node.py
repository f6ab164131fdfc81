"""What a machine of a cluster does with tasks: it looks what it sees of the driver's disks, and runs cells.

Where it sees the results folder, cells write there, with locks, journals and checkpoints as on one machine. Where it
does not, they write below a scratch folder, and what they wrote travels with what they tell. Data that it does not see
are brought there once, under a lock. Knows nothing of the engine that brought it here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from bench import alike, catalog, machine, shipping
from bench.attempts import Task, run_group
from bench.errors import BenchError, StudyError
from bench.job import Event, Job
from bench.prepare import reopen
from bench.specs import Place
from bench.store import check_room, writing
from bench.workers import TAIL

PATIENCE = 3600.0
"""How long a task waits for another one of its machine to unpack the data of both [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What every machine is told about a run.

    Attributes:
        job: With absolute paths, as they are on the driver's machine.
        run: A word that no other run has.
        probe: A file in the results folder that holds that word.
        scratch: A folder of each machine in which data and results are then kept in any case.
        cpus: What a task has of the processor, which may be less than a core.
        gpus: What a task has of a GPU, 0 to 1.
        data: The hash of each data set.
        versions: Of Python and the packages that matter.
        folder: Where the driver was started, which relative names of data sets are to be seen from.
        folders: The data sets that are folders of the user's.
    """

    job: Job
    run: str
    probe: Path
    scratch: Path | None
    cpus: float
    gpus: float
    data: Mapping[str, str]
    versions: Mapping[str, str]
    folder: Path
    folders: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A prepared data set on its way; of each piece the file, where it begins there [bytes], and what gets it."""

    key: str
    folder: str
    size: int
    pieces: tuple[tuple[str, int, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Luggage:
    """What a task brings along to a machine that may not see the driver's disks; None is not packed."""

    number: int
    files: Mapping[str, bytes] | None = None
    parcel: Parcel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacks:
    """What a machine does not see and was not brought; both False: nothing."""

    data: bool = False
    results: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a task says: an event, the files it tells of, and the end of what was printed where it failed."""

    event: Event
    files: Mapping[str, bytes]
    output: str = ""


Fetch = Callable[[Any], bytes]


def look(orders: Orders) -> tuple[str | None, Lacks]:
    """Why this machine cannot run these tasks, as a sentence, or what has to be brought here."""
    _enter(orders)
    unseen = [name for name in orders.data if not _sees(orders, name)]
    return _unfit(orders, unseen), Lacks(data=bool(unseen), results=not _shared(orders))


def work(orders: Orders, task: Task, luggage: Luggage, fetch: Fetch, say: Callable[[Mail], None]) -> Lacks:
    """Run the cells of a task here, unless something is lacking; runs in a process of the cluster.

    Args:
        fetch: Gets a piece of a parcel.
        say: Told what the cells tell; comes back when that has arrived, where files go with it.
    Raises:
        StudyError: If this machine cannot run them.
    """
    _enter(orders)
    name = task.cells[0][0].dataset
    lacks = Lacks(data=not _sees(orders, name), results=not _shared(orders))
    wrong = _unfit(orders, [name] if lacks.data else []) or alike.other_code(task)
    if wrong:
        raise StudyError(wrong)
    if (lacks.data and luggage.parcel is None) or (lacks.results and luggage.files is None):
        return lacks
    place, store = orders.job.place, _base(orders) / "results" / f"{orders.run}-{luggage.number}"
    if lacks.data and luggage.parcel is not None:
        place = replace(place, data_home=_unpacked(orders, luggage.parcel, fetch))
    if lacks.results:
        place = replace(place, results=store)
    job = _fitted(orders, place)
    brought = luggage.files if lacks.results else None
    if brought is not None:
        shipping.unpack(job.store.root, brought, over=False)
    run_group(job, task, _Courier(job, say, brought, output(orders.run, luggage.number)))
    shutil.rmtree(store, ignore_errors=True)
    return Lacks()


def leave(orders: Orders) -> None:
    """Remove what tasks of a run left here that did not come to their end; data that were brought stay."""
    for path in (
        *(_base(orders) / "results").glob(f"{orders.run}-*"),
        *output(orders.run, 0).parent.glob(f"{orders.run}-*"),
    ):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def printed(path: Path) -> Generator[None]:
    """Whatever this process prints within the block goes to a file, by C code and children too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for number in (1, 2):
                    os.dup2(file.fileno(), number)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a full disk, which whoever stores results tells of
                stream.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def output(run: str, number: int) -> Path:
    """The file with what a task prints, on the machine that runs it."""
    return _home() / "output" / f"{run}-{number}.txt"


def tail(path: Path) -> str:
    """The end of such a file; empty where there is none."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read().decode("utf-8", "replace")
    return ""


class _Courier:
    """Passes on what cells tell, with the files that go with it where the driver does not see them.

    Args:
        brought: The files that the driver has already; None: it sees all of them.
        output: The file with what is printed.
    """

    def __init__(
        self, job: Job, say: Callable[[Mail], None], brought: Mapping[str, bytes] | None, output: Path
    ) -> None:
        self.root, self.say, self.away, self.output = job.store.root, say, brought is not None, output
        sizes = {name: len(content) for name, content in (brought or {}).items()}
        self.sent = {name: state for name, state in self._states().items() if sizes.get(name) == state[0]}
        self.trial: int | None = None

    def __call__(self, event: Event) -> None:
        with writing(self.output):
            sys.stdout.flush()
        failed = event.record is not None and event.record.error is not None
        self.say(Mail(event=event, files=self._files(event), output=tail(self.output) if failed else ""))

    def _states(self) -> dict[str, tuple[int, int]]:
        return shipping.states(self.root) if self.away else {}

    def _files(self, event: Event) -> dict[str, bytes]:
        """All that is new when a cell is finished; the journal alone when a trial is."""
        before, self.trial = self.trial, event.trial
        whole = event.kind == "finished"
        if not self.away or not (whole or (before is not None and before != self.trial)):
            return {}
        found = {name: state for name, state in self._states().items() if self.sent.get(name) != state}
        found = {name: state for name, state in found.items() if whole or name.endswith("/journal")}
        self.sent |= found
        return {name: (self.root / name).read_bytes() for name in found}


def _fitted(orders: Orders, place: Place) -> Job:
    """The job as this machine runs it: where its files are, and how many share what."""
    job, gpus = orders.job, orders.gpus
    sharing = int(1 / gpus) if gpus else min(job.workers, int(machine.cores() / orders.cpus))
    device = "cpu" if not gpus and job.device == "auto" else job.device
    if 0 < gpus < 1:
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():  # a share of a GPU is bookkeeping to a cluster: here it is kept to
            torch.cuda.set_per_process_memory_fraction(gpus)
    return replace(job, place=place, device=device, workers=max(1, sharing))


def _enter(orders: Orders) -> None:
    """Find the catalogues that were brought; go where the driver is, so that names of folders mean the same."""
    shipping.arrive()
    with contextlib.suppress(OSError):  # where there is no such place, they mean none
        os.chdir(orders.folder)


def _sees(orders: Orders, name: str) -> bool:
    """Whether the driver's data home is here, with the same data, and pixels that can be read."""
    if orders.scratch is not None:
        return False
    try:
        data = reopen(name, orders.job.place.data_home)
        data.reader()
    except (BenchError, OSError):
        return False
    return data.index.hash == orders.data[name]


def _shared(orders: Orders) -> bool:
    """Whether the driver's results folder is here, and can be written to."""
    if orders.scratch is not None:
        return False
    with contextlib.suppress(OSError):
        return orders.probe.read_text() == orders.run and os.access(orders.probe.parent, os.W_OK)
    return False


def _unfit(orders: Orders, unseen: Sequence[str]) -> str | None:
    """Why this machine cannot be used at all, as a sentence; `unseen` are the data sets that must be brought."""
    there = [name for name in unseen if name in orders.folders and not catalog.is_folder(name)]
    if there:
        return (
            f"The node {alike.name()} does not see the folder {there[0]}. Put it on a disk that all nodes see under "
            "one path, or make it a data set of a catalogue (docs/tutorial.md), which travels."
        )
    return alike.differing(alike.versions(orders.versions), orders.versions)


def _unpacked(orders: Orders, parcel: Parcel, fetch: Fetch) -> Path:
    """The data home on this machine that holds a data set, which the first task that needs it unpacks."""
    home = _base(orders) / "data" / parcel.key
    target = home / parcel.folder
    check_room(home)
    with filelock.FileLock(home / ".lock", timeout=PATIENCE):
        if not target.is_dir():
            check_room(home, parcel.size)
            part = Path(tempfile.mkdtemp(dir=home, prefix=".part-"))
            try:
                with writing(target):
                    for name, at, piece in parcel.pieces:
                        with (part / name).open("r+b" if at else "wb") as file:
                            file.seek(at)
                            file.write(fetch(piece))
                    part.rename(target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return home


def _base(orders: Orders) -> Path:
    return _home() if orders.scratch is None else orders.scratch


def _home() -> Path:
    """A folder on a disk of this machine, of this user's own."""
    return Path(tempfile.gettempdir()) / f"cytobench-{os.getuid()}"
