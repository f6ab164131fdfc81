"""A folder to a repository on the Hugging Face Hub, by its own client; what goes wrong on the way is told in a line."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Literal

from bench.errors import StudyError, Unfinished

Kind = Literal["model", "dataset"]
TOKENS = "https://huggingface.co/settings/tokens"


def check_name(repository: str) -> None:
    """Refuse what no repository can be called, before anything is written.

    Raises:
        StudyError: Saying what it must look like.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise StudyError(f"{repository!r} is no name of a repository: {_said(error)}. Give OWNER/NAME.") from error
    if repository.count("/") != 1:
        raise StudyError(f"{repository!r} is no name of a repository. Give OWNER/NAME, with your name on the Hub.")


def upload(folder: Path, repository: str, kind: Kind, *, private: bool) -> str:
    """Upload a folder, into a repository that is made where there is none; return the address to look at.

    Args:
        folder: All of it goes.
        repository: `owner/name`.
        kind: Of the repository.
        private: Whether a new repository is for its owner alone; one that is there stays as it is.
    Raises:
        StudyError: If there is no token, or the Hub refuses it or what is asked.
        Unfinished: If the Hub cannot be reached, or the transfer broke off.
    """
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        raise StudyError(
            f"There is no token for the Hub. Make one that may write ({TOKENS}), then hf auth login, or set HF_TOKEN."
        )
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    api = huggingface_hub.HfApi(library_name="cytobench")
    with _told(repository):
        made = api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, repo_type=kind, folder_path=folder, commit_message="Results of cytobench")
    return str(made)


@contextlib.contextmanager
def _told(repository: str) -> Generator[None]:
    """Turn what the client raises into one line that says what to do."""
    from huggingface_hub import constants, errors

    transport = next(kind for kind in errors.HfHubHTTPError.__mro__[1:] if issubclass(kind, Exception))
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise Unfinished("HF_HUB_OFFLINE is set, so that nothing can be uploaded. Unset it.") from error
    except (transport, OSError, RuntimeError, ValueError) as error:
        cause = error.__cause__ or error  # a large file's error is wrapped into another one
        response = getattr(cause, "response", None)
        status = None if response is None else response.status_code
        said = str(getattr(cause, "server_message", None) or "") or _said(cause)
        if status == 401:
            raise StudyError(f"The Hub does not accept the token: {said}. Make a new one: {TOKENS}") from error
        if status in (402, 403, 404):
            raise StudyError(
                f"The Hub refuses {repository}: {said}. OWNER must be your name or an organisation that you may write "
                f"to, and the token one that may write: {TOKENS}"
            ) from error
        if 400 <= (status or 0) < 500 or isinstance(error, ValueError):
            raise StudyError(f"The Hub does not take {repository}: {said}.") from error
        raise Unfinished(
            f"{constants.ENDPOINT} did not take {repository}: {said}. Check the network, or HF_ENDPOINT; the same "
            "command goes on."
        ) from error


def _said(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(error)).partition(" For more information")[0].strip()[:300].rstrip(".")
    return text or type(error).__name__
