"""What a data set is, in figures: sizes, balance of the classes, and which of its pictures show it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import get_args

from bench import catalog, download
from bench.prepare import Entry, Prepared
from bench.specs import ClassSpec, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of a class a split holds.

    Attributes:
        pixels: Share of all labelled pixels of the split, 0 to 1; None where it has none.
        images: How many images contain the class.
    """

    pixels: float | None
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The figures of a data set.

    Attributes:
        images: Per split, of fold 0.
        sources: Photographs, slides or patients the images stem from.
        heights: Smallest, median and largest [pixels].
        widths: Likewise.
        balance: Per class, in the order of the classes, and per split.
        pixel_size_um: Edge of a pixel in micrometres; None when unknown.
        obtained: How to come by the files.
    """

    title: str
    licence: str
    citation: str
    homepage: str
    obtained: str
    pixel_size_um: float | None
    classes: tuple[ClassSpec, ...]
    images: dict[Split, int]
    sources: int
    heights: tuple[float, float, float]
    widths: tuple[float, float, float]
    balance: tuple[dict[Split, Share], ...]


def card(name: str, prepared: Prepared) -> Card:
    """The figures of a prepared data set; its pixels are not read, the index has counted them.

    Args:
        name: A catalogue name with options, or the path of a folder.
        prepared: What that name was prepared to.
    """
    spec, index = catalog.dataset(name), prepared.index
    groups = {split: [index.entries[position] for position in prepared.split(0, 1)[split]] for split in get_args(Split)}
    return Card(
        title=index.title,
        licence=index.licence,
        citation=index.citation,
        homepage=spec.homepage,
        obtained=download.sort(name, spec),
        pixel_size_um=spec.pixel_size_um,
        classes=index.classes,
        images={split: len(entries) for split, entries in groups.items()},
        sources=len({entry.sample.source for entry in index.entries}),
        heights=_spread([entry.height for entry in index.entries]),
        widths=_spread([entry.width for entry in index.entries]),
        balance=tuple(
            {split: _share(entries, label) for split, entries in groups.items()} for label in range(len(index.classes))
        ),
    )


def balance(card: Card) -> list[dict[str, object]]:
    """One row per class: its share of the pixels of every split, and how many images contain it."""
    return [
        {"class": spec.name}
        | {
            f"{split} ({card.images[split]})": "-"
            if share.pixels is None
            else f"{100 * share.pixels:.2f}% of pixels, {share.images} images"
            for split, share in shares.items()
        }
        for spec, shares in zip(card.classes, card.balance, strict=True)
    ]


def facts(card: Card) -> list[dict[str, object]]:
    """Sizes and provenance, one row each."""
    (low_height, height, high_height), (low_width, width, high_width) = card.heights, card.widths
    size = f"{width:g} x {height:g}"
    if (low_height, low_width) != (high_height, high_width):
        size = f"median {size}; height {low_height:g} to {high_height:g}, width {low_width:g} to {high_width:g}"
    pixel = "unknown" if card.pixel_size_um is None else f"{card.pixel_size_um:g} µm"
    texts = {
        "images": f"{sum(card.images.values())} from {card.sources} sources",
        "size": f"{size} pixels",
        "pixel": pixel,
        "licence": card.licence,
        "citation": card.citation,
        "homepage": card.homepage,
        "files": card.obtained,
    }
    return [{"fact": key, "value": text} for key, text in texts.items()]


def choose(entries: Sequence[Entry], count: int) -> list[int]:
    """Positions of some samples that together show every class, as far as the count allows, in their order.

    One after another the sample is taken whose classes were shown least; of equal ones, one far from those before it.
    """
    count = min(count, len(entries))
    golden = (5**0.5 - 1) / 2
    left = sorted(range(len(entries)), key=lambda position: (position + 1) * golden % 1)
    shown = [0] * max((len(entry.pixels) for entry in entries), default=0)
    taken: list[int] = []
    while len(taken) < count:
        best = max(left, key=lambda position: _news(entries[position], shown))
        left.remove(best)
        taken.append(best)
        for label, pixels in enumerate(entries[best].pixels):
            shown[label] += pixels > 0
    return sorted(taken)


def _news(entry: Entry, shown: Sequence[int]) -> float:
    """How much a sample adds: a class counts less each time it was shown."""
    return sum(2.0 ** -shown[label] for label, pixels in enumerate(entry.pixels) if pixels > 0)


def _share(entries: Sequence[Entry], label: int) -> Share:
    total = sum(sum(entry.pixels) for entry in entries)
    own = sum(entry.pixels[label] for entry in entries)
    return Share(pixels=own / total if total else None, images=sum(entry.pixels[label] > 0 for entry in entries))


def _spread(lengths: Sequence[int]) -> tuple[float, float, float]:
    return min(lengths), median(lengths), max(lengths)
