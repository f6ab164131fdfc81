"""Augmentations by name: what may happen to a training pair, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalog import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """What may happen to a training pair; each amount is drawn per sample, uniformly.

    Attributes:
        mirror: All eight flips and quarter turns (only the four flips when the picture is not square).
        turn: Largest rotation either way [degrees].
        zoom: Largest factor of enlargement or reduction.
        colour: Largest relative change of brightness, contrast and saturation.
    """

    mirror: bool = False
    turn: float = 0.0
    zoom: float = 1.0
    colour: float = 0.0


PRESETS: dict[str, Augment] = {
    "none": Augment(),
    "light": Augment(mirror=True),
    "standard": Augment(mirror=True, turn=20.0, zoom=1.25, colour=0.2),
}


def preset(name: str) -> Augment:
    """The augmentation of that name.

    Raises:
        NameUnknown: If there is none.
    """
    if name not in PRESETS:
        raise unknown("augmentation", name, PRESETS, "docs/study.schema.json")
    return PRESETS[name]
