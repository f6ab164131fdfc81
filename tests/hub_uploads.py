"""A Hugging Face Hub on this machine that takes uploads: as much of its protocol as the client speaks, over real HTTP."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.listening import listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class Hub:
    """What was uploaded, and how requests are answered.

    Attributes:
        address: Where it listens.
        token: The only one that it accepts.
        owner: The only name that it may write to.
        repositories: `kind/owner/name` to whether it is private.
        files: Their content, by (`kind/owner/name`, path), once it was committed.
        large: Content that came by itself, by its sha256.
        asked: The requests so far.
        broken: A part of the addresses that fail with 500.
    """

    address: str = ""
    token: str = "hf_right"
    owner: str = "me"
    repositories: dict[str, bool] = field(default_factory=dict[str, bool])
    files: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    large: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[str] = field(default_factory=list[str])
    broken: str = "/nothing/"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else self.chunks()
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.broken in path:
            return self.answer(500, {"error": "out of order"})
        if path.startswith("/lfs/"):  # an address signed by the Hub: without a token
            self.hub.large[path.rpartition("/")[2]] = body
            return self.answer(200, {})
        if path != "/api/validate-yaml" and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        return self.answer(*self.said(path, body))

    def said(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """The answer to a request that is let in."""
        if path == "/api/validate-yaml":
            return (200, {"errors": [], "warnings": []}) if b"---" in body else (400, {"errors": [{"message": "no"}]})
        if path == "/api/repos/create":
            return self.created(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"objects": [self.action(one) for one in json.loads(body)["objects"]], "transfer": "basic"}
        _, _, kind, owner, name, verb, *_ = [*path.split("/"), ""]
        repository = f"{kind}/{owner}/{name}"
        if repository not in self.hub.repositories:
            return 404, {"error": "Repository not found"}
        if verb == "preupload":
            return 200, {"files": [self.mode(one) for one in json.loads(body)["files"]]}
        if verb == "commit":
            return self.committed(repository, body)
        return 200, {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": []}

    def created(self, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        owner, name, kind = wanted.get("organization") or self.hub.owner, wanted["name"], wanted.get("type", "model")
        if owner != self.hub.owner:
            return 403, {"error": f"You don't have the rights to create a {kind} under the namespace {owner!r}"}
        address = f"{self.hub.address}/{'datasets/' * (kind == 'dataset')}{owner}/{name}"
        if f"{kind}s/{owner}/{name}" in self.hub.repositories:
            return 409, {"error": "You already created this repo", "url": address}
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.repositories[f"{kind}s/{owner}/{name}"] = private
        return 200, {"url": address, "name": f"{owner}/{name}", "id": "1"}

    def mode(self, file: dict[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith((".safetensors", ".npz", ".parquet"))
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Where one large file is to be put."""
        upload = {"href": f"{self.hub.address}/lfs/{wanted['oid']}"}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": upload}}

    def committed(self, repository: str, body: bytes) -> tuple[int, dict[str, Any]]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[repository, value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.hub.large.get(value["oid"], b"")
                if (hashlib.sha256(content).hexdigest(), len(content)) != (value["oid"], value["size"]):
                    return 422, {"error": f"{value['path']} was not uploaded"}
                self.hub.files[repository, value["path"]] = content
        return 200, {"commitUrl": f"{self.hub.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT}

    def answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def chunks(self) -> bytes:
        """A body without a length."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def serving() -> Generator[Hub]:
    """A hub for as long as the block lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with listening(handler) as hub.address:
        yield hub
