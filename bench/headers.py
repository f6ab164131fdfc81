"""What a server says about a file before it sends it: its version, its size, which part, and when to ask again."""

from __future__ import annotations

import contextlib
import email.utils
import math
from datetime import UTC, datetime
from email.message import Message


def validator(headers: Message) -> str:
    """What tells this version of a file from others; empty when the server does not say."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def span(text: str | None) -> tuple[int, int | None]:
    """Where a part begins, and how long the whole is; -1 when that cannot be understood."""
    unit, _, rest = (text or "").partition(" ")
    both, _, total = rest.partition("/")
    start = number(both.partition("-")[0])
    return (-1 if unit != "bytes" or start is None else start), number(total)


def number(text: str | None) -> int | None:
    """A whole number, at least 0; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def pause(headers: Message) -> float | None:
    """How long a server asks to wait [s]; None when it does not say."""
    text = headers.get("Retry-After", "")
    if (seconds := number(text)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, TypeError):
        when = email.utils.parsedate_to_datetime(text)
        return float(max(math.ceil((when - datetime.now(UTC)).total_seconds()), 0))
    return None
