"""What an address means on Kaggle and on Google Drive, and whom they let in.

Kaggle gives the whole archive of a data set at one address, many of them without asking who wants it; that it comes as
one zip which can be resumed, hashed, kept and looked into is why its own library, which unpacks what it gets by
itself, is not used. Google Drive has no such address: a large file stands behind a page, which gdown gets past.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from bench import extras
from bench.errors import DataError, Unfinished
from bench.fetch import ELSEWHERE, TIMEOUT, TRIES, Order, Progress
from bench.specs import RemoteFile
from bench.store import check_room, raise_if_full

KAGGLE = "https://www.kaggle.com/api/v1/datasets/download"
DRIVE = "https://drive.google.com"
TOKEN_PAGE = "https://www.kaggle.com/settings"


def order(remote: RemoteFile) -> Order:
    """How a file is asked for over HTTP.

    Raises:
        DataError: If there are credentials for Kaggle that are incomplete or damaged.
    """
    if remote.how == "direct":
        return Order(url=remote.address, size=remote.size, sha256=remote.sha256)
    version = "" if remote.version is None else f"?datasetVersionNumber={remote.version}"
    headers, where = credentials()
    if where:
        refused = (
            f"Kaggle does not accept the credentials in {where}, or wants its terms accepted on the page of the data "
            f"set. Make new ones on {TOKEN_PAGE} (Create New Token)."
        )
    else:
        refused = (
            f"Kaggle wants to know who asks, and there are no credentials here. Make a token on {TOKEN_PAGE} (Create "
            "New Token), then set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or put its kaggle.json into "
            f"{_folder()}."
        )
    return Order(
        url=f"{KAGGLE}/{remote.address}{version}",
        size=remote.size,
        sha256=remote.sha256,
        headers=headers,
        refused=f"{refused} Or get it in a browser and give it with --from PATH.",
    )


def page(remote: RemoteFile) -> str:
    """Where a person finds a file."""
    if remote.how == "kaggle":
        return f"https://www.kaggle.com/datasets/{remote.address}"
    return remote.address if remote.how == "direct" else f"{DRIVE}/file/d/{remote.address}/view"


def credentials() -> tuple[dict[str, str], str]:
    """What tells Kaggle who asks, as headers, and where it was found; both empty where there is nothing.

    They are looked for where Kaggle's own programs do, in their order.

    Raises:
        DataError: If they are incomplete or damaged.
    """
    token = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    if token:
        return _bearer(
            token if len(token) > 255 or not Path(token).is_file() else _text(Path(token))
        ), "KAGGLE_API_TOKEN"
    for path in (_folder() / "access_token", _folder() / "access_token.txt"):
        if path.is_file() and (token := _text(path)):
            return _bearer(token), str(path)
    user, key = (os.environ.get(name, "").strip() for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"))
    if bool(user) != bool(key):
        there, missing = ("KAGGLE_USERNAME", "KAGGLE_KEY") if user else ("KAGGLE_KEY", "KAGGLE_USERNAME")
        raise DataError(f"{there} is set but {missing} is not. Set both as {TOKEN_PAGE} gives them, or neither.")
    path = _folder() / "kaggle.json"
    if user:
        return _basic(user, key), "KAGGLE_USERNAME and KAGGLE_KEY"
    if not path.is_file():
        return {}, ""
    try:
        values = json.loads(_text(path))
        return _basic(str(values["username"]), str(values["key"])), str(path)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no username and key of Kaggle. Make it anew on {TOKEN_PAGE} (Create New Token), or remove "
            "it."
        ) from error


def drive(remote: RemoteFile, path: Path, progress: Progress) -> None:
    """Bring a file from Google Drive, going on with what an earlier run left of it.

    Raises:
        StudyError: If gdown is not installed.
        DataError: If it is not there, or not for everybody.
        Unfinished: If the transfer broke off; what came is kept.
        StoreError: If the disk is full.
    """
    gdown = extras.load("gdown", extra="drive", wanted_by="Downloading from Google Drive")
    check_room(path.parent, remote.size or 0)
    url = f"{DRIVE}/uc?id={remote.address}"
    try:
        gdown.download(
            url,
            str(path),
            quiet=True,
            use_cookies=False,
            resume=True,
            progress=progress,
            timeout=TIMEOUT,
            retries=TRIES,
        )
    except Exception as error:  # of gdown, of the library that it asks the network with, of the disk
        raise_if_full(error, path)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", 500)
        if isinstance(error, gdown.exceptions.FileURLRetrievalError) or status < 500:
            raise DataError(f"{page(remote)} is not to be had: {reason} {ELSEWHERE}") from error
        raise Unfinished(
            f"{page(remote)} broke off: {reason} What came is kept: run the same command to go on from there. "
            f"{ELSEWHERE}"
        ) from error


def _folder() -> Path:
    return Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}, with credentials of Kaggle, cannot be read: {error}. Make it anew.") from error


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _basic(user: str, key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}
