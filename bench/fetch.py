"""A file over HTTP: resumed where it broke off, checked, and in its place as a whole or not at all.

<path>              the file, once all of it is here and is what was expected
<path>.part         as much of it as came so far
<path>.part.json    which version of the file that is of: its address, validator and size

What comes is never trusted: it is bytes of a size and a hash, and `bench.archive` looks into it before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from time import sleep
from typing import IO, Any

from bench import headers
from bench.archive import LARGEST
from bench.errors import DataError, Unfinished
from bench.store import ROOM, check_room, write_bytes, writing

CHUNK = 2**18
TIMEOUT = 60.0
"""How long a server may be silent [s]."""
TRIES = 5
"""How often in a row a server is asked without a single byte coming."""
LONGEST = 120.0
"""The longest pause that a server may ask for and is granted [s]."""
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
ELSEWHERE = "Give another address of it with --mirror URL, or get it in a browser and give it with --from PATH."

Progress = Callable[[int, int | None], None]
"""Told how many bytes are here, and of how many; None when the server does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is fetched, and what is known of it.

    Attributes:
        url: Its address, http or https.
        size: None when unknown [bytes].
        sha256: None when unknown.
        headers: Sent to the server of `url`, and to no other one that it points to.
        refused: What to do when the server wants to know who asks.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    refused: str = f"It may want a log-in. {ELSEWHERE}"


class Broken(Exception):
    """A transfer that ended early, or could not begin; worth another try after `wait` seconds (None: as you like)."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(slots=True)
class Part:
    """What is here of a file: bytes, their hash, and the version of the file that they are of."""

    path: Path
    url: str
    have: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    validator: str = ""
    total: int | None = None

    @property
    def note(self) -> Path:
        """The file that says which version it is of."""
        return self.path.with_name(f"{self.path.name}.json")

    def recall(self) -> None:
        """Take up what an earlier run left, where it is known which version that is of."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self.note.read_bytes())
            if note["url"] == self.url and note["validator"]:
                with self.path.open("rb") as file:
                    self.digest = hashlib.file_digest(file, "sha256")
                    self.have = file.tell()
                self.validator, self.total = str(note["validator"]), note["total"]

    def restart(self, validator: str = "", total: int | None = None) -> None:
        """Forget what is here; what comes now is of this version."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")
        note = {"url": self.url, "validator": validator, "total": total}
        write_bytes(self.note, json.dumps(note).encode())
        self.have, self.digest, self.validator, self.total = 0, hashlib.sha256(), validator, total

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.have, self.digest, self.validator = 0, hashlib.sha256(), ""

    def take(self, chunk: bytes, sink: IO[bytes]) -> None:
        """Put more to it."""
        with writing(self.path):
            sink.write(chunk)
        self.digest.update(chunk)
        self.have += len(chunk)


def fetch(order: Order, path: Path, progress: Progress, say: Callable[[str], None] = lambda line: None) -> str:
    """Bring a file here, going on with what an earlier run left of it.

    Args:
        order: What to fetch.
        path: Where to; replaced when it is there.
        progress: Told after every piece.
        say: Told why it asks again.
    Returns:
        The sha256 of the file.
    Raises:
        DataError: If the server does not have it or will not give it, or it is not what was expected.
        StoreError: If the disk has no room for it.
        Unfinished: If the server stopped answering; what came is kept.
    """
    _check_address(order.url)
    part = Part(path.with_name(f"{path.name}.part"), order.url)
    part.recall()
    try:
        if part.total is None or part.have != part.total:
            _persist(order, part, progress, say)
        _check_whole(order, part)
    except DataError:
        part.discard()
        raise
    with writing(path):
        part.path.replace(path)
    part.note.unlink(missing_ok=True)
    return part.digest.hexdigest()


def check_kind(head: bytes, name: str, kind: str, url: str) -> None:
    """Refuse a web page in place of a zip.

    Args:
        head: The first bytes.
        name: What the file should be called.
        kind: The media type that the server gives it; empty when unknown.
        url: Where it is from.
    Raises:
        DataError: Saying what came instead.
    """
    start = head.lstrip()[:15].lower()
    if kind == "text/html" or start.startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"{url} gave a web page in place of {name}: it wants a log-in or a click, or has moved. {ELSEWHERE}"
        )
    if name.endswith(".zip") and head[:2] != b"PK":
        raise DataError(f"{url} gave something that is no zip, beginning with {head[:8]!r}. {ELSEWHERE}")


def check_hash(found: str, wanted: str | None, url: str) -> None:
    """Refuse a file of another content than the known one.

    Raises:
        DataError: Naming both hashes.
    """
    if wanted is not None and found != wanted.lower():
        raise DataError(
            f"{url} has the sha256 {found}, not {wanted.lower()}: it is damaged, or another version. It was removed; "
            f"try again. {ELSEWHERE}"
        )


def _check_address(url: str) -> None:
    """Refuse what no server can be asked for, before any is; and a password, which would be kept beside the file."""
    try:
        parts = urllib.parse.urlsplit(url)
        whole = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:  # brackets without an end, a port that is no number
        whole = False
    if not whole or any(not "!" <= letter <= "~" for letter in url):
        raise DataError(
            f"{url.rpartition('@')[2]!r} is no address to download from. Give one like https://HOST/PATH, or http://, "
            "without a user name and password, with blanks and accents as a browser writes them (%20)."
        )


def _persist(order: Order, part: Part, progress: Progress, say: Callable[[str], None]) -> None:
    """Ask until all of it is here."""
    failures = 0
    while True:
        before = part.have
        try:
            return _receive(order, part, progress)
        except Broken as broken:
            failures = 1 if part.have > before else failures + 1
            if failures == TRIES:
                kept = f" {part.have} bytes are kept: run the same command to go on from there." if part.have else ""
                raise Unfinished(
                    f"{order.url} cannot be downloaded: {broken}, {TRIES} times in a row.{kept} Check the network, or "
                    f"a proxy (HTTPS_PROXY). {ELSEWHERE}"
                ) from broken
            wait = 2.0 ** (failures - 1) if broken.wait is None else broken.wait
            say(f"{broken}; asking again in {wait:.0f} s.")
            sleep(wait)


def _receive(order: Order, part: Part, progress: Progress) -> None:
    """Ask once for what is missing, and take what comes."""
    ranged = {"Range": f"bytes={part.have}-", "If-Range": part.validator} if part.have and part.validator else {}
    request = urllib.request.Request(
        order.url, headers={"User-Agent": "cytobench", "Accept-Encoding": "identity", **ranged}
    )
    for name, value in order.headers.items():
        request.add_unredirected_header(name, value)
    with _answer(order, request, part) as response:
        _begin(order, part, response)
        progress(part.have, part.total)
        with part.path.open("ab") as sink:
            head = _read(response.read, 512)
            if part.have == 0 and head:
                name = part.path.name.removesuffix(".part")
                check_kind(head, name, response.headers.get_content_type(), order.url)
            chunk = head
            while chunk:
                part.take(chunk, sink)
                if part.have > (order.size or LARGEST):
                    raise DataError(f"{order.url} is larger than {order.size or LARGEST} bytes. {ELSEWHERE}")
                progress(part.have, part.total)
                chunk = _read(response.read1, CHUNK)
    if part.total is not None and part.have < part.total:
        raise Broken(f"The connection ended after {part.have} of {part.total} bytes")


def _answer(order: Order, request: urllib.request.Request, part: Part) -> Any:
    """The answer to a request, when it is one with a body that is wanted."""
    try:
        return _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise _told(order, error, part) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"{order.url} does not prove who it is: {reason.verify_message}. Install the certificates of your "
                f"network (SSL_CERT_FILE). {ELSEWHERE}"
            ) from error
        said = getattr(reason, "strerror", None) or reason or type(error).__name__
        raise Broken(f"No answer ({said})") from error


def _told(order: Order, error: urllib.error.HTTPError, part: Part) -> Exception:
    """What to do about a status that is no success."""
    status = " ".join(f"HTTP {error.code} {error.reason}".split())
    if error.code == 416:  # what is here is not the beginning of what is there
        part.discard()
        return Broken("The file changed on the server", wait=0.0)
    if error.code in TRANSIENT:
        wait = headers.pause(error.headers)
        if wait is not None and wait > LONGEST:
            return Unfinished(
                f"{order.url} wants a pause of {wait:.0f} s ({status}). Run the same command then: it goes on where it "
                f"stopped. {ELSEWHERE}"
            )
        return Broken(f"The server says {status}", wait)
    if error.code in (401, 403, 407):
        return DataError(f"{order.url} is refused ({status}). {order.refused}")
    if error.code in (404, 410):
        return DataError(f"{order.url} does not exist ({status}): it has moved, or was never there. {ELSEWHERE}")
    return DataError(f"{order.url} cannot be downloaded ({status}). {ELSEWHERE}")


def _begin(order: Order, part: Part, response: Any) -> None:
    """Compare what is about to come with what is expected, and with what is here."""
    told, length = response.headers, headers.number(response.headers.get("Content-Length"))
    validator = headers.validator(told)
    if told.get("Content-Encoding", "identity") != "identity":
        raise DataError(f"{order.url} comes packed ({told['Content-Encoding']}), which was not asked for. {ELSEWHERE}")
    start, total = headers.span(told.get("Content-Range")) if response.status == 206 else (0, length)
    same = (
        response.status == 206
        and 0 < part.have == start
        and validator in ("", part.validator)
        and (total is None or part.total in (None, total))
    )
    if response.status == 206 and not same:
        part.discard()
        raise Broken("The file changed on the server", wait=0.0)
    if order.size is not None and total is not None and total != order.size:
        raise DataError(f"{order.url} has {total} bytes, not {order.size}: it is another version. {ELSEWHERE}")
    check_room(part.path.parent, max((total or order.size or 0) - (part.have if same else 0), 0) + ROOM)
    if same:
        part.total = total if total is not None else part.total
    else:
        part.restart(validator, total)


def _check_whole(order: Order, part: Part) -> None:
    if order.size is not None and part.have != order.size:
        raise DataError(f"{order.url} has {part.have} bytes, not {order.size}: it is another version. {ELSEWHERE}")
    if not part.have:
        raise DataError(f"{order.url} is empty. {ELSEWHERE}")
    check_hash(part.digest.hexdigest(), order.sha256, order.url)


def _read(read: Callable[[int], bytes], count: int) -> bytes:
    try:
        return read(count)
    except http.client.IncompleteRead as error:
        if not error.partial:  # no more comes, though the server never said that this is all
            raise Broken("The connection ended before the file did") from error
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"The connection broke ({error or type(error).__name__})") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address on the web, never out of an encrypted connection."""

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage):
        """See the class it is of, which does not expect an address that is none."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:
            fp.close()
            raise DataError(f"{req.full_url} points to an address that is none ({error}). {ELSEWHERE}") from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """See the class it is of."""
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            fp.close()
            raise DataError(f"{req.full_url} points to {newurl}, which is not followed. {ELSEWHERE}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.unredirected_hdrs.update(req.unredirected_hdrs)  # who asks is told to the same server only
        return request


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
