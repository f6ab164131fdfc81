"""`bench run cell`: one cell, trained with everything on screen and its course in files; the record of a matrix."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shlex
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import PRESETS, DataHome, Results, complain, console, home, say
from bench.cli_run import RUNNING, SHOWING, Many, run_app
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.events import Script
    from bench.job import Job
    from bench.logbook import Logbook
    from bench.onecell import Chosen
    from bench.records import Record
    from bench.report import Content
    from bench.runner import Planned
    from bench.specs import Place

STOPPING = "When it stops"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a cell is run, as the options say; nothing of it changes what the cell is.

    Attributes:
        workers: 1, or 0 for this process.
        watch: Validation images in the film.
        stop: The file whose appearance ends training after the epoch it is at.
        resume: Whether there must be something to go on from.
        again: Whether what there is of the cell is put aside.
    """

    device: str
    workers: int
    threads: int | None
    checkpoint_s: float
    allow_leak: bool
    watch: int
    pictures: bool
    stop: Path | None
    resume: bool
    again: bool
    tensorboard: Path | None


@run_app.command("cell")
def cell(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET ARCHITECTURE LOSS|KEY", help="Names as in bench list; or the key of a cell of --study."
        ),
    ],
    study: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY|RESULTS", help="Whose recipe; a cell of it is trained in its folder. Default: quick's."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs of one training.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Learning rates tried.")] = None,
    lr_range: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Rates to search, as 1e-5:1e-1.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="This rate alone, untuned.")] = None,
    size: Annotated[str | None, typer.Option(metavar="S|HxW", help="Training size; scores are at native size.")] = None,
    fit: Annotated[
        str | None, typer.Option(help="resize, letterbox (keeps the shape) or tile (keeps the scale).")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images per step.")] = None,
    augment: Annotated[str | None, typer.Option(help=PRESETS)] = None,
    measures: Annotated[Many, typer.Option(help="Computed beside the counts: boundary, objects.")] = None,
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic", help="Run so that it repeats to the last bit.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="0: the tuned run itself; else a fresh seed.")] = 0,
    folds: Annotated[int | None, typer.Option(metavar="K", help="Cross-validate by source.")] = None,
    fold: Annotated[int | None, typer.Option(metavar="F", help="Which of the folds.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the results folder; default: the cell's or study's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.", rich_help_panel=RUNNING)] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, max=1, rich_help_panel=RUNNING, help="0: in this process, not isolated.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, rich_help_panel=RUNNING, help="Of the processor; default: all.")
    ] = None,
    allow_leak: Annotated[
        bool,
        typer.Option("--allow-leak", rich_help_panel=RUNNING, help="Run although test images have copies in training."),
    ] = False,
    stop_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=STOPPING,
            help="When this file appears, stop after the epoch; exit code 130.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=STOPPING, help="Go on from an earlier run, or refuse to begin anew."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", rich_help_panel=STOPPING, help="Begin anew; what there is moves to earlier/."),
    ] = False,
    checkpoint_every: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.0, rich_help_panel=STOPPING, help="How often to keep what was done."),
    ] = 10.0,
    film: Annotated[
        int, typer.Option(metavar="N", min=0, max=32, rich_help_panel=SHOWING, help="Validation images in the film.")
    ] = 4,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", rich_help_panel=SHOWING, help="Show them in the terminal.")
    ] = True,
    as_json: Annotated[
        bool,
        typer.Option("--json", rich_help_panel=SHOWING, help="Events as lines of JSON on stdout, all else on stderr."),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=SHOWING, help="Write curves there; needs cytobench\\[tensorboard]."
        ),
    ] = None,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Train one cell with everything on screen: live curves, and what becomes of some images, epoch by epoch.

    The record is that of a matrix: bench run matrix of the same study finds the cell done, and the other way round.
    """
    from bench import cli_study, events, onecell
    from bench.specs import Place

    changes: dict[str, object] = {
        "epochs": epochs, "trials": trials, "size": size, "fit": fit, "batch": batch, "lr_range": lr_range,
        "augment": augment, "deterministic": deterministic, "measures": measures, "folds": folds,
    }  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with events.script() if as_json else contextlib.nullcontext() as script, cli_study.interruptible(script):
        how = How(
            device=device, workers=workers, threads=threads, checkpoint_s=checkpoint_every, allow_leak=allow_leak,
            watch=film, pictures=pictures, stop=_checked(stop_file), resume=resume, again=again,
            tensorboard=tensorboard,
        )  # fmt: skip
        if resume and again:
            raise StudyError("--resume goes on from what there is, --again begins anew. Give one of them.")
        chosen = onecell.choose(
            names, study=study, changes=_fixed(changes, lr), name=name, seed=seed, fold=fold, results=results
        )
        run(chosen, Place(results=chosen.results, data_home=home(data_home)), how, script)


def run(chosen: Chosen, place: Place, how: How, script: Script | None) -> None:
    """Train the cell unless it is done, and show what came of it; exit code 1 when it failed, 130 when stopped."""
    from bench import cli_audit, cli_screen, plan, prepare, problems, runner
    from bench.logbook import Logbook

    runner.check_device(how.device)
    if place.results.exists() and not place.results.is_dir():
        raise StudyError(f"{place.results} is a file, not a folder for results. Choose another --results.")
    study, one = chosen.alone, chosen.cell
    _tell_where(chosen)
    with problems.logged(one.dataset, place.data_home), cli_screen.bar(console(), f"Preparing {one.dataset}") as steps:
        prepare.prepare(one.dataset, place.data_home, progress=steps, recipe=study.recipe, say=say)
    cli_audit.before(study, place, allow_leak=how.allow_leak)
    planned = next(found for found in runner.survey(study, place, say) if found.cell == one)
    job = dataclasses.replace(
        runner.job(chosen.study, place, how.device, 1), checkpoint_s=how.checkpoint_s, watch=how.watch, stop=how.stop
    )
    job = dataclasses.replace(job, threads=how.threads) if how.threads else job
    planned = _begun(planned, job, how)
    classes = prepare.open_prepared(one.dataset, place.data_home).index.classes
    logbook = Logbook(one, job.store.cell(one), plan.digest(planned.ingredients), classes)
    if planned.standing is not runner.Standing.DONE:
        _train(job, planned, logbook, how, script)
    elif planned.record is not None:
        say(f"Nothing to run: {one.key} is stored and up to date; --again begins anew.")
        runner.write_splits(job, [planned])
        logbook.from_record(planned.record)
    _finish(job, logbook, script)


def _train(job: Job, planned: Planned, logbook: Logbook, how: How, script: Script | None) -> None:
    from bench import cli_screen, cli_study, cli_training, engines, runner
    from bench.progress import Account
    from bench.scalars import Scalars

    engine = engines.Local(1) if how.workers else None
    runner.refuse([planned], isolated=engine is not None)
    with cli_screen.bar(console(), "Fitting images to the training size") as progress:
        runner.derive(job, [planned], progress)
    account = Account(job.study, [planned.cell], workers=1, began=time.monotonic())
    if script:
        script.study(account, job.store.root)
    view = cli_training.view(console(), account, logbook, pictures=how.pictures)
    extra = [*([script] if script else []), *([Scalars(how.tensorboard)] if how.tensorboard else [])]
    with _interruptible(job, planned, script), cli_study.shown(account, [logbook, view, *extra]) as tell:
        runner.run_study(job, [planned], engine=engine, on_event=tell)


@contextlib.contextmanager
def _interruptible(job: Job, planned: Planned, script: Script | None) -> Generator[None]:
    """Ctrl-C and SIGTERM end the program, and it says what is kept."""
    from bench import unfinished

    try:
        yield
    except KeyboardInterrupt:
        if script:
            script.say("interrupted")
        left = unfinished.found(job.store, planned.cell, planned.ingredients)
        kept = "No epoch is kept yet." if left is None else f"Kept: {left}. The same command goes on from there."
        complain(f"Interrupted. {kept}")
        raise typer.Exit(130) from None


def _begun(planned: Planned, job: Job, how: How) -> Planned:
    """Say what is gone on from, or put it aside."""
    from bench import runner, unfinished

    if how.again:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        if moved := unfinished.set_aside(job.store, planned.cell, stamp):
            say(f"What there was is in {moved} now.")
        return dataclasses.replace(planned, standing=runner.Standing.PENDING, record=None)
    if planned.standing is runner.Standing.DONE:
        return planned
    left = unfinished.found(job.store, planned.cell, planned.ingredients)
    if left is None and how.resume:
        reason = "; ".join(runner.why(planned)[:3])
        raise StudyError(
            f"There is nothing to go on from for {planned.cell.key} in {job.store.root} ({reason}). Leave out --resume "
            "to begin anew."
        )
    if left is not None:
        say(f"Going on: {left}.")
    elif planned.record is not None:
        say(f"Beginning anew: {'; '.join(runner.why(planned)[:3])}")
    return planned


def _tell_where(chosen: Chosen) -> None:
    tuning, epochs = chosen.study.tuning, chosen.study.budget.epochs
    low, high = tuning.lr_range
    how = f"{tuning.trials} learning rates between {low:g} and {high:g}" if tuning.trials > 1 else "one learning rate"
    if tuning.trials == 1:
        how = f"the rate {low:g}, not tuned" if low == high else f"the middle of {low:g} and {high:g}, not tuned"
    say(f"{chosen.cell.key}: {how}, {epochs} epochs each.")
    whose = f"of the study {chosen.study.name}, as one of its cells" if chosen.within else "of its own"
    say(f"Results: {chosen.folder}, a folder {whose}.")


def _finish(job: Job, logbook: Logbook, script: Script | None) -> None:
    """What came of the cell in lines, its page, and the exit code."""
    from bench.records import FINAL, Status

    record = job.store.read(logbook.cell)
    if record is None or record.status not in FINAL:
        _not_finished(job, logbook, record, script)
        code = 130 if record is not None and record.status is Status.INTERRUPTED else 1
        raise typer.Exit(code)
    from bench import report

    content = report.collect(job.store.root, "default")
    page = report.publish(content)
    for line in (_scored(record), *_tested(record, content)):
        say(line)
    say(f"Files: {logbook.folder.resolve()} ({', '.join(path.name for path in logbook.files)})")
    say(f"Page: {page.resolve()}")
    if script:
        script.report(page, cells=len(content.rows), failed=0)


def _scored(record: Record) -> str:
    """How it was trained, in a line."""
    from bench.cli_screen import duration
    from bench.progress import reached

    value, told = reached(record), [str(record.status)]
    if record.lr is not None:
        tuned = "not tuned" if len(record.trials) == 1 else f"the best of {len(record.trials)}"
        told.append(f"lr {record.lr:.3g} ({tuned})")
    if record.edge:
        told.append("at the edge of --lr-range")
    if value is not None:
        told.append(f"val mDice {value:.4f} after epoch {record.best_epoch}")
    told.append(duration(sum(record.seconds.values())))
    if record.error is not None:
        told.append(f"{record.error.kind}: {' '.join(record.error.message.split())[:160]}")
    return ", ".join(told)


def _tested(record: Record, content: Content) -> Generator[str]:
    """What the cell itself scored on the test images, and where its row, with all seeds, stands in its study."""
    from bench import tables

    cell, profile = record.cell, content.profile
    for row in content.rows:
        if row.cell == cell and row.values:
            sure = row.intervals.get(profile.primary)
            between = "" if sure is None else f" (95%: {sure[0]:.3f} to {sure[1]:.3f})"
            values = [
                f"{name} {tables.number(row.values.get(name))}{between if name == profile.primary else ''}"
                for name in profile.metrics
                if name != "background_share"
            ]
            yield f"Test images: {', '.join(values)}"
    for board in content.boards:
        ranked = sum(one.rank is not None for one in board.standings)
        for one in board.standings if ranked > 1 else ():
            same = (one.dataset, one.architecture, one.loss) == (cell.dataset, cell.architecture, cell.loss)
            if same and one.rank is not None:
                yield f"Rank {one.rank} of {ranked} rows that have run, baselines among them."


def _not_finished(job: Job, logbook: Logbook, record: Record | None, script: Script | None) -> None:
    from bench import unfinished
    from bench.records import Status

    error = record.error if record is not None else None
    message = "It left no record." if error is None else " ".join(error.message.split())[:400]
    if record is None or record.status is not Status.INTERRUPTED:
        log = logbook.above / "log.txt"
        told = "" if error is None or record is None else f"{record.status} in {error.phase}: {error.kind}: "
        where = f" See {log}." if log.is_file() else ""
        complain(f"{logbook.cell.key} {told}{message.removesuffix('.')}.{where} The same command tries again.")
        return
    left = unfinished.found(job.store, logbook.cell, dict(record.ingredients))
    if script:
        script.say("interrupted")
    kept = "" if left is None else f" Kept: {left}."
    complain(f"Stopped: {message}{kept} Remove {job.stop}; the same command then goes on from there.")


def _checked(stop: Path | None) -> Path | None:
    """The stop file, absolute: one that is there before the start would end every run after its first epoch.

    Raises:
        StudyError: If it is there, or cannot appear since its folder is not.
    """
    if stop is None:
        return None
    if stop.is_dir():
        raise StudyError(f"The stop file {stop} is a folder. Give the path of a file in it, as {stop / 'stop'}.")
    if stop.exists() or stop.is_symlink():
        raise StudyError(
            f"The stop file {stop} is there already, maybe of an earlier run. Remove it: rm {shlex.quote(str(stop))}"
        )
    if not stop.absolute().parent.is_dir():
        raise StudyError(f"The folder of the stop file {stop} does not exist. Make it, or choose another --stop-file.")
    return stop.absolute()


def _fixed(changes: dict[str, object], lr: float | None) -> dict[str, object]:
    """A given rate is a range of one value with a single trial, as everywhere else where a rate is not searched."""
    from bench import study

    if lr is None:
        return changes
    if changes["trials"] is not None or changes["lr_range"] is not None:
        raise StudyError(f"--lr {lr:g} is one rate, which is not searched. Leave out --trials and --lr-range.")
    low, high = study.BOUNDS["tuning.lr_range"]
    if not low <= lr <= high:  # nan too
        raise StudyError(f"--lr is {lr:g}, it must lie between {low:g} and {high:g}.")
    return {**changes, "lr_range": f"{lr!r}:{lr!r}", "trials": 1}
