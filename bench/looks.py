"""What a training makes of a few validation images, epoch by epoch: taken out of the validation that happens anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bench import film, thumbnails

STEPS = 8
"""About how many epochs are looked at, the best one besides."""
WATCHED = 3
"""How many validation images are looked at."""


def epochs(last: int) -> frozenset[int]:
    """The epochs to look at, of 1 to `last`: each so many times the one before, since most changes happen early."""
    return frozenset(round(last ** (step / (STEPS - 1))) for step in range(STEPS))


@dataclass(slots=True)
class Looks:
    """The class maps that one validation gave some images; they stay on the device until somebody wants them.

    Attributes:
        watched: Which images, by their places among the validation pairs.
        epochs: After which epochs they are wanted; after the best one in any case.
    """

    watched: Sequence[int]
    epochs: frozenset[int]
    latest: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def see(self, first: int, predicted: Tensor) -> None:
        """Take the watched ones out of a batch of class maps (n, H, W), the first of which has that place."""
        for place in self.watched:
            if first <= place < first + len(predicted):
                self.latest[place] = predicted[place - first].to(torch.uint8)

    def maps(self) -> Tensor:
        """The class maps of the last validation as thumbnails, uint8 (watched, h, w), on the CPU."""
        maps = torch.stack([self.latest[place] for place in self.watched]).cpu()
        height, width = thumbnails.size(*maps.shape[1:])
        rows, columns = (
            torch.from_numpy(thumbnails.places(length, small))
            for length, small in zip(maps.shape[1:], (height, width), strict=True)
        )
        return maps[:, rows][:, :, columns].contiguous()

    def onto(self, kept: dict[int, Tensor], epoch: int, best_before: int, *, better: bool) -> None:
        """Add an epoch to those that are kept, where it is wanted; a best one that is no longer best is dropped."""
        if not self.watched or not (better or epoch in self.epochs):
            return
        if better and best_before not in self.epochs:
            kept.pop(best_before, None)
        kept[epoch] = self.maps()


@dataclass(slots=True)
class Film:
    """What becomes of some images after every epoch, in files that grow while somebody looks at them.

    Attributes:
        folder: Of the film, see `bench.film`.
        key: What the film is of.
        watched: Which images, by their places among the validation pairs.
    """

    folder: Path
    key: str
    watched: Sequence[int]
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        self.looks = Looks(self.watched, frozenset())

    def keep(self, trial: int | None, epoch: int) -> None:
        """Write what the last validation gave."""
        if self.watched:
            film.write(self.folder, self.key, trial, epoch, self.looks.maps().numpy())
