"""A web server on this machine that gives files as a good one does, and misbehaves once for every turn it is told."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from tests.listening import listening


@dataclass(slots=True, kw_only=True)
class Turn:
    """How one request is answered.

    Attributes:
        status: What it says instead of what a good server would.
        headers: More of them; they win over its own.
        body: What it sends instead of the file.
        cut: How many bytes of the body are sent before the connection ends; None for all.
        ranges: False ignores a Range.
        stubborn: True follows a Range, whatever If-Range says.
        tag: False tells no ETag.
        length: False tells no Content-Length.
        silent: True never answers.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    cut: int | None = None
    ranges: bool = True
    stubborn: bool = False
    tag: bool = True
    length: bool = True
    silent: bool = False


@dataclass(slots=True)
class Site:
    """What is served, and what was asked.

    Attributes:
        address: Where it listens, without a slash at the end.
        files: Their bytes, by path without the slash at its beginning.
        turns: How the next requests are answered; when there are none left, as a good server does.
        asked: The requests so far: path, and headers by name in lower case.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    turns: list[Turn] = field(default_factory=list[Turn])
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])

    @property
    def ranges(self) -> list[str | None]:
        """What each request wanted to have of its file."""
        return [headers.get("range") for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        path = unquote(self.path.lstrip("/"))
        self.site.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
        turn = self.site.turns.pop(0) if self.site.turns else Turn()
        if turn.silent:
            self.rfile.read(1)  # until who asks has gone
            return
        body = self.site.files.get(path.partition("?")[0]) if turn.body is None else turn.body
        status = 404 if body is None else 200
        body = body or b""
        headers = {"Content-Type": "application/zip"}
        if turn.tag:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start = self.wanted(turn, headers.get("ETag"))
        if status == 200 and start >= len(body) > 0 and start:
            status, body = 416, b""
        elif status == 200 and start:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        if turn.length:
            headers["Content-Length"] = str(len(body))
        self.send_response(turn.status or status)
        for name, value in (headers | turn.headers).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asks has seen enough
            self.wfile.write(body if turn.cut is None else body[: turn.cut])
        self.close_connection = True

    def wanted(self, turn: Turn, tag: str | None) -> int:
        """Where the part begins that this request wants and gets."""
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted is None or not turn.ranges or (condition != tag and not turn.stubborn):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def serving() -> Generator[Site]:
    """A server for as long as the block lasts."""
    site = Site()

    with listening(type("Handler", (Handler,), {"site": site})) as site.address:
        yield site
