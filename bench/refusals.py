"""Architectures that cannot be built are named before a study runs; torch, and what it may do, stays in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench import workers
from bench.errors import NameUnknown

if TYPE_CHECKING:
    from bench.serve import Say

PATIENCE = 60.0
"""What building one network may take; one that takes longer is left to its cells [s]."""


def refuse(names: Sequence[str], *, isolated: bool) -> None:
    """Refuse architectures whose options do not go together.

    Args:
        names: Each once.
        isolated: Build them in a worker, so that one that hangs or dies there is left to its cells.
    Raises:
        NameUnknown: All of them, each with its reason.
    """
    reasons = list(found(names, isolated=isolated).values())
    if len(reasons) == 1:
        raise NameUnknown(f"{reasons[0]} Nothing was run.")
    if reasons:
        told = " ".join(f"({number}) {reason}" for number, reason in enumerate(reasons, 1))
        raise NameUnknown(f"{len(reasons)} architectures of the study cannot be built, so nothing was run. {told}")


def found(names: Sequence[str], *, isolated: bool) -> dict[str, str]:
    """The reasons of `bench.networks.check`, by name, in the order of the names."""
    reasons: dict[str, str] = {}
    if not isolated:
        from bench import networks

        return networks.check(names)
    with workers.Team(_check, size=1, limits=workers.Limits(seconds=PATIENCE)) as team:
        for number, name in enumerate(names):
            team.add(number, [name])
        for message in team:
            if isinstance(message, workers.Said) and isinstance(message.content, dict):
                reasons |= message.content
    return {name: reasons[name] for name in names if name in reasons}


def _check(names: Sequence[str], say: Say) -> None:
    from bench import networks

    say(networks.check(names))
