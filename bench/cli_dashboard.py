"""`bench dashboard`: the tunings of a study in optuna-dashboard, from copies in memory; needs the extra `dashboard`."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import Results, Stored, say, study_folder
from bench.errors import StudyError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer


def dashboard(
    study: Stored = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The port to serve at; 0: any that is free.")
    ] = 8080,
    results: Results = Path("results"),
) -> None:
    """Look at the tunings of a study in a browser, with optuna-dashboard (the extra `dashboard`)."""
    folder = study_folder(study, results)
    with server(folder, port) as serving, contextlib.suppress(KeyboardInterrupt):
        say(f"The tunings of {folder.name}, as they are now: http://localhost:{serving.server_port}/ (Ctrl-C ends it)")
        serving.serve_forever()


def server(folder: Path, port: int) -> WSGIServer:
    """The dashboard of a study, bound to a port of this machine; 0 takes any that is free.

    Raises:
        StudyError: If optuna-dashboard is missing, no cell has been tuned yet, or the port is taken.
    """
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from bench import extras

    package = extras.load("optuna_dashboard", extra="dashboard", wanted_by="bench dashboard")
    from bench import tune

    found = journals(folder)
    storage, unread = tune.gather(found)
    for path in unread:
        say(f"Left out: {path} is not a journal of optuna.")
    if len(found) == len(unread):
        raise StudyError(f"No cell of {folder} has been tuned yet. Run the study, or name another one.")

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it overrides
            """A request is not worth a line."""

    try:
        return make_server("localhost", port, package.wsgi(storage), handler_class=Quiet)
    except OSError as error:
        raise StudyError(f"The port {port} cannot be used: {error}. Choose another --port.") from error


def journals(folder: Path) -> dict[str, Path]:
    """The journals of a study's cells, by the key of the cell whose tuning it is: that of seed 0."""
    from bench import plan
    from bench import study as studies
    from bench.store import Store

    study = dataclasses.replace(studies.load(str(folder / "study.toml")), name=folder.name)
    store = Store(folder)
    paths = {cell.key: store.tuning(cell) / "journal" for cell in plan.cells(study) if cell.seed == 0 and cell.loss}
    return {key: path for key, path in paths.items() if path.is_file()}
