"""What an earlier run left of a cell that is not finished, told without torch; and putting it aside to begin anew."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import locks, plan, watch
from bench.errors import StoreError
from bench.specs import Cell
from bench.store import Store, writing

EARLIER = "earlier"
"""The folder of a study into which cells are moved that begin anew."""
HEADER = 100_000_000
"""No header of a file of tensors is longer [bytes]; safetensors refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Work that the next run goes on from.

    Attributes:
        trials: How many have ended.
        trial: Which one has a checkpoint, from 0; None for the training of a fresh seed, or without a checkpoint.
        epoch: The last epoch in the checkpoint; None without one.
    """

    trials: int
    trial: int | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        parts = [f"{self.trials} {'trial has' if self.trials == 1 else 'trials have'} ended"] if self.trials else []
        if self.epoch is not None:
            which = "the last training" if self.trial is None else f"trial {self.trial + 1}"
            parts.append(f"{which} is kept up to epoch {self.epoch}")
        return ", ".join(parts)


def found(store: Store, cell: Cell, ingredients: dict[str, Any]) -> Unfinished | None:
    """What there is of the same ingredients; None when there is nothing to go on from."""
    key, folder = plan.tuning(ingredients), store.tuning(cell)
    journal = folder / "journal"
    trials = watch.tried(journal).trials if _journal_of(journal, key) else 0
    for path in (store.cell(cell), folder):
        about = header(path / "checkpoint.safetensors")
        named, _, rest = str(about.get("key", "")).partition("/")
        if named == key:
            number = rest.partition("/")[0]
            trial = int(number) if number.isdecimal() else None
            return Unfinished(trials=trials, trial=trial, epoch=len(about.get("history", ())))
    return Unfinished(trials=trials) if trials else None


def header(path: Path) -> dict[str, Any]:
    """What a file of tensors says about itself, see `bench.checkpoint`; empty where it is missing or not ours."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            about = json.loads(json.loads(file.read(min(length, HEADER)))["__metadata__"]["about"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return {}
    return about if isinstance(about, dict) else {}


def set_aside(store: Store, cell: Cell, stamp: str) -> Path | None:
    """Move a cell and its tuning to `earlier/<stamp>/` in the folder of the study; None where there is nothing of it.

    Raises:
        StoreError: If another run is at the cell, if other seeds share its tuning, or the folder cannot be written.
    """
    folders = [store.tuning(cell), store.cell(cell)]
    if not any(folder.is_dir() for folder in folders):
        return None
    shared = [path.name for path in _seeds(store, cell)]
    if shared:
        raise StoreError(
            f"{cell.key} shares its tuning with {', '.join(shared)} in {store.root}. Begin anew in a folder of "
            "its own: --name NAME."
        )
    target = store.root / EARLIER / stamp
    with locks.held(folders[0] / ".lock", timeout=0.5) as ours:
        if not ours:
            raise StoreError(f"Another run is at {cell.key} in {store.root}. Wait for it, or choose another --name.")
        with writing(target):
            for folder in folders:
                for path in folder.iterdir() if folder.is_dir() else ():
                    if path.name != ".lock":
                        to = target / path.relative_to(store.root)
                        to.parent.mkdir(parents=True, exist_ok=True)
                        path.rename(to)
    return target


def _seeds(store: Store, cell: Cell) -> list[Path]:
    """The stored cells of other seeds on the same fold."""
    own = store.cell(cell)
    return sorted(path.parent for path in own.parent.glob(f"f{cell.fold}-s*/record.json") if path.parent != own)


def _journal_of(journal: Path, key: str) -> bool:
    """Whether a journal of a tuning is of some key; it may be written to at this moment."""
    try:
        return f'"fingerprint": "{key}"' in journal.read_text(encoding="utf-8", errors="replace").replace('":"', '": "')
    except OSError:
        return False
