"""`bench run matrix`: a study from its options to its leaderboard."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import PRESETS, DataHome, Results, home
from bench.errors import StudyError

if TYPE_CHECKING:
    from bench.specs import Study
    from bench.workers import Limits

run_app = typer.Typer(no_args_is_help=True, help="Train and score cells of the matrix.")

StudyName = Annotated[
    str | None, typer.Argument(metavar="STUDY", help="A study file (.toml) or a built-in study; default: quick.")
]
Many = list[str] | None
RUNNING = "How it is run"
SHOWING = "What is shown"
CLUSTER = "Where it is run"


@run_app.command("matrix")
def matrix(
    study: StudyName = None,
    dataset: Annotated[
        Many, typer.Option(help="A data set, or the path of a folder; repeat or separate by commas.")
    ] = None,
    architecture: Annotated[Many, typer.Option(help="An architecture, as unet or 'unet\\[encoder=resnet50]'.")] = None,
    loss: Annotated[Many, typer.Option(help="A loss expression, as dice+ce.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Retrain the tuned rate under N fresh seeds.")] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="K", help="Cross-validate by source; 1 keeps the official split.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs of one training.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Learning rates tried per cell.")] = None,
    size: Annotated[str | None, typer.Option(metavar="S|HxW", help="Training size; scores are at native size.")] = None,
    fit: Annotated[
        str | None, typer.Option(help="resize, letterbox (keeps the shape) or tile (keeps the scale).")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images per step.")] = None,
    lr_range: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Rates to search, as 1e-5:1e-1.")] = None,
    augment: Annotated[str | None, typer.Option(help=PRESETS)] = None,
    measures: Annotated[
        Many, typer.Option(help="Computed beside the counts: boundary, objects; no training depends on it.")
    ] = None,
    protocol: Annotated[
        Many, typer.Option(help="clean, as-published (a leak: copies are made, then files are split) or split-first.")
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option("--deterministic", help="Run so that it repeats to the last bit; nothing is chosen by timing."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the results folder; default: the study's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.", rich_help_panel=RUNNING)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            rich_help_panel=RUNNING,
            help="Cells at once; default: one per core or GPU (a few for small batches); 0: in this process.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=RUNNING, help="Per worker; default: the cores divided."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", rich_help_panel=RUNNING, help="A cell that takes longer is ended; default: none."
        ),
    ] = None,
    silence_limit: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", rich_help_panel=RUNNING, help="A worker without a sign of life for so long is ended."
        ),
    ] = 60.0,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, rich_help_panel=RUNNING, help="A longer training can be taken up at an epoch."
        ),
    ] = 60.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=RUNNING, help="List the cells with parameters and cost; train nothing."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", rich_help_panel=RUNNING, help="Run failed cells again.")
    ] = False,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", rich_help_panel=RUNNING, help="Leave out data sets that are not prepared."),
    ] = False,
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak", rich_help_panel=RUNNING, help="Run although test images have copies in training; stamped."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel=SHOWING,
            help="For scripts: events as lines of JSON on stdout, all else on stderr.",
        ),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=SHOWING, help="Write training curves there; needs cytobench\\[tensorboard]."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(rich_help_panel=CLUSTER, help="local, ray or slurm; see docs/clusters.md.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(rich_help_panel=CLUSTER, help="Where the cluster is; default: where its own tools find it."),
    ] = None,
    engine_option: Annotated[
        Many,
        typer.Option(metavar="KEY=VALUE", rich_help_panel=CLUSTER, help="Asked of the cluster per cell, as gpus=0.5."),
    ] = None,
    results: Results = Path("results"),
    data_home: DataHome = None,
) -> None:
    """Run a study: every data set x architecture x loss, each with a tuned learning rate; then the leaderboard."""
    from bench import cli_study, events
    from bench.specs import Place

    changes: dict[str, object] = {
        "datasets": dataset, "architectures": architecture, "losses": loss, "seeds": seeds, "folds": folds,
        "epochs": epochs, "trials": trials, "size": size, "fit": fit, "batch": batch, "lr_range": lr_range,
        "augment": augment, "deterministic": deterministic, "measures": measures, "protocol": protocol,
    }  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with events.script() if as_json else contextlib.nullcontext() as script, cli_study.interruptible(script):
        how = cli_study.How(
            device=device, workers=workers, threads=threads, limits=_limits(time_limit, silence_limit),
            dry_run=dry_run, checkpoint_s=checkpoint_every, retry_failed=retry_failed, skip_missing=skip_missing,
            allow_leak=allow_leak,
            tensorboard=tensorboard, engine=engine, address=address, engine_options=tuple(engine_option or ()),
        )  # fmt: skip
        chosen = _study(study, changes, name)
        cli_study.run(chosen, Place(results=results, data_home=home(data_home)), how, script)


def _study(argument: str | None, changes: dict[str, object], name: str | None) -> Study:
    from bench import runner
    from bench import study as studies

    base = studies.load(argument or "quick")
    changed = studies.override(base, changes)
    if name is None and argument is None and changed != base:
        name = "custom"
    return runner.resolve(dataclasses.replace(changed, name=studies.folder_name(name or base.name)))


def _limits(time_limit: float | None, silence_limit: float) -> Limits:
    """What a worker may use; minutes on the command line, seconds inside."""
    from bench.workers import Limits

    for option, minutes in (("--time-limit", time_limit), ("--silence-limit", silence_limit)):
        if minutes is not None and not minutes > 0:  # nan too
            raise StudyError(f"{option} is {minutes:g}. Give minutes, more than 0, as {option} 90 or {option} 0.5.")
    return Limits(seconds=None if time_limit is None else 60 * time_limit, silence=60 * silence_limit)
