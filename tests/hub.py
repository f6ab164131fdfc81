"""A Hugging Face Hub on this machine: as much of its protocol as a download needs, over real HTTP."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.listening import listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class Hub:
    """What is served, by `repository/resolve/file`; and how.

    Attributes:
        address: Where it listens.
        files: Their bytes, by (repository, name); any revision gives them, one that is no commit as `COMMIT`.
        asked: The requests so far, as `HEAD repository/name@revision`.
        cut: How many bytes of a body are sent before the connection ends; None for all.
    """

    address: str = ""
    files: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    asked: list[str] = field(default_factory=list[str])
    cut: int | None = None


@contextlib.contextmanager
def serving() -> Generator[Hub]:
    """A hub for as long as the block lasts."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            owner, name, _, revision, file = [*self.path.lstrip("/").split("/", 4), "", "", "", ""][:5]
            hub.asked.append(f"{self.command} {owner}/{name}/{file}@{revision}")
            content = hub.files.get((f"{owner}/{name}", file))
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", revision if len(revision) == 40 else COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content if hub.cut is None else content[: hub.cut])
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Handler) as hub.address:
        yield hub


def ask(address: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """From now on this process asks that hub, and keeps what it gets in that folder."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setenv("NO_PROXY", "127.0.0.1")
