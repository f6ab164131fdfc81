"""The audit of a prepared data set: every pair looked at once, on all cores; then copies, crops and masks compared.

What does not depend on a split is kept beside the prepared data, in audit.json, until they or this code change.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import alignment, auditfile, catalog, contents, lineage, maskfiles, pool, protocols, resemblance
from bench import crops as cuttings
from bench.alignment import Alignment
from bench.decode import Entry
from bench.errors import StoreError
from bench.findings import Audit, Finding, Kind, leaks
from bench.maskfiles import MaskFile
from bench.prepare import Prepared, Progress, open_prepared
from bench.resemblance import Seen
from bench.specs import Split
from bench.store import write_bytes

VERSION = 1
"""Raised whenever the same data would be judged in another way; older audits are then made anew."""
CROPS_S = 60.0
"""How long crops are searched for, unless a user says otherwise [s]."""
DEFECTS = frozenset({Kind.SHIFTED, Kind.PALETTE})
"""Kinds of findings that are wrong whatever the split; the others may be meant, or be dealt with by the reader."""
Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows the progress of what it is called with."""
Read = Callable[[Entry], tuple[np.ndarray, np.ndarray]]


class Look(NamedTuple):
    """What is kept of one pair for all later comparing.

    Attributes:
        content: sha256 of the pixels of the image; empty where it is of one colour: empty fields are no copies.
        largest: Pixels of the largest piece of foreground.
        file: The mask file as it is stored; None where there is none to look at.
    """

    content: str
    seen: Seen | None
    lies: Alignment | None
    largest: int
    file: MaskFile | None


def audit(
    name: str,
    data_home: Path,
    bar: Bar,
    *,
    crops_s: float = CROPS_S,
    again: bool = False,
    unkept: Callable[[StoreError], None] | None = None,
) -> Audit:
    """What is wrong with the images and masks of a data set, whatever its split; what was found before still stands.

    Of two searches for crops the more patient one is kept: a hasty one neither stands for it nor takes its place.

    Args:
        name: As on an axis; the data set is prepared already, or prepares itself.
        data_home: Where prepared data live.
        bar: Shows progress.
        crops_s: How long crops are searched for [s].
        again: Look again, even if that was done before.
        unkept: Told why the audit cannot be kept; without it that is an error.
    Raises:
        DataError: If it is not prepared, or its raw files are needed and gone.
        StoreError: If the audit cannot be kept beside the prepared data.
    """
    prepared = open_prepared(name, data_home)
    stored = prepared.audit()
    patience = _patience(stored) if stored is not None and stored.version == VERSION else -1.0
    if stored is not None and patience >= crops_s and not again:
        return replace(stored, dataset=name)
    found = _made(name, prepared, bar, crops_s)
    if _patience(found) >= patience:
        try:
            write_bytes(prepared.folder / auditfile.FILE, auditfile.dump(found, {}).encode())
        except StoreError as error:
            if unkept is None:
                raise
            unkept(error)
    return found


def in_split(found: Audit, prepared: Prepared, split: Mapping[str, Split]) -> Audit:
    """The audit with what depends on a split: files of one photograph on both sides, classes that a split lacks.

    Args:
        split: Of every id, in one fold.
    """
    pixels = {entry.sample.id: entry.pixels for entry in prepared.index.entries}
    sided = lineage.shared(prepared.samples, split) + contents.absent(pixels, split, prepared.classes)
    return replace(found, findings=(*found.findings, *sided))


def intended(name: str) -> bool:
    """Whether a data set leaks on purpose: that is what its protocol is there to show."""
    return protocols.apart(name)[1].leaks


def across(found: Audit, split: Mapping[str, Split], fold: int = 0) -> str:
    """The leaks of a data set in one sentence, without its full stop; empty where there is none.

    Args:
        split: Of every id, in one fold.
        fold: Which one; 0 is the official split, which goes without saying.
    """
    pairs = leaks(found.findings, split)
    if not pairs:
        return ""
    one, *others = pairs[0].images
    other = next(image for image in others if split[image] != split[one])
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    where = f" in fold {fold}" if fold else ""
    return f"{found.dataset} leaks{where}: {one} ({split[one]}) and {other} ({split[other]}), {pairs[0].kind}{more}"


def unfinished(found: Audit) -> list[str]:
    """What was not compared, a sentence each."""
    return [one.note for one in found.findings if one.kind is Kind.UNFINISHED]


def serious(found: Audit, split: Mapping[str, Split]) -> bool:
    """Whether scores suffer: a leak across the splits, a mask off its image, values that stand for no class."""
    return bool(leaks(found.findings, split)) or any(one.kind in DEFECTS for one in found.findings)


def _made(name: str, prepared: Prepared, bar: Bar, crops_s: float) -> Audit:
    entries, ids = prepared.index.entries, [entry.sample.id for entry in prepared.index.entries]
    seconds: dict[str, float] = {}
    with _timed(seconds, "reading"), bar(f"Auditing {name}") as progress:
        looks: list[Look] = []
        for one in pool.each(functools.partial(look, prepared.reader()), entries):
            looks.append(one)
            progress(len(looks), len(entries))
    with _timed(seconds, "copies"), bar("Comparing images") as progress:
        exact = [one.content or ids[at] for at, one in enumerate(looks)]
        pairs, left = resemblance.copies([one.seen for one in looks], exact, progress)
    copied = resemblance.repeated(pairs)
    with _timed(seconds, "crops"), bar("Looking for crops") as progress:
        cut = cuttings.crops([None if at in copied else one.seen for at, one in enumerate(looks)], crops_s, progress)
    with _timed(seconds, "masks"):
        masks = _masks(prepared, dict(zip(ids, looks, strict=True)))
    return Audit(
        dataset=name,
        title=prepared.index.title,
        hash=prepared.index.hash,
        version=VERSION,
        images=len(entries),
        findings=(
            *(_copy(pair, ids) for pair in pairs),
            *(_crop(one, ids) for one in cut.found),
            *_uncompared(left),
            *_unfinished(cut, crops_s),
            *masks,
        ),
        seconds=seconds,
        unread=0 if _generated(name) else sum(one.file is None for one in looks),
    )


def look(read: Read, entry: Entry) -> Look:
    """Look at one pair; runs wherever."""
    image, mask = read(entry)
    image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
    return Look(
        content="" if (image == image[0, 0]).all() else hashlib.sha256(image.data).hexdigest(),
        seen=resemblance.seen(image),
        lies=alignment.aligned(image, mask),
        largest=contents.largest(mask),
        file=maskfiles.inspected(Path(entry.sample.mask)),
    )


def _masks(prepared: Prepared, looks: Mapping[str, Look]) -> list[Finding]:
    entries = prepared.index.entries
    sizes = {entry.sample.id: (entry.height, entry.width) for entry in entries}
    pixels = {entry.sample.id: entry.pixels for entry in entries}
    return [
        *alignment.misaligned({name: one.lies for name, one in looks.items()}),
        *maskfiles.filed(
            {name: one.file for name, one in looks.items()}, sizes, classes=len(prepared.classes), pixels=pixels
        ),
        *contents.nearly_empty(pixels, {name: one.largest for name, one in looks.items()}),
    ]


def _copy(pair: resemblance.Pair, ids: Sequence[str]) -> Finding:
    """A pair of copies; of an exact one there is nothing to measure."""
    images = (ids[pair.first], ids[pair.second])
    if pair.exact:
        return Finding(kind=Kind.EXACT, images=images, note="The pixels are the same.")
    how = [f"bent by up to {pair.displacement:.0f} px"] if pair.displacement >= 1 else []
    how += [f"{abs(pair.brightness):.0f} grey levels {'brighter' if pair.brightness > 0 else 'darker'}"] * (
        abs(pair.brightness) >= 1
    )
    return Finding(
        kind=Kind.NEAR,
        images=images,
        note=f"One scene: correlation {pair.correlation:.3f}{', the second ' if how else ''}{', '.join(how)}.",
        measures={
            "correlation": pair.correlation,
            "displacement": pair.displacement,
            "brightness": pair.brightness,
        },
        position=pair.position,
    )


def _crop(one: cuttings.Crop, ids: Sequence[str]) -> Finding:
    left, top, right, bottom = one.box
    return Finding(
        kind=Kind.CROP,
        images=(ids[one.inner], ids[one.outer]),
        note=f"The first lies in the second at {left}, {top}, {right - left} x {bottom - top} px.",
        measures={"correlation": one.correlation},
        box=one.box,
        position=one.position,
    )


def _patience(found: Audit) -> float:
    """How long crops were searched for [s]; infinite where the search came to its end."""
    cut = [one for one in found.findings if one.kind is Kind.UNFINISHED and "compared" in one.measures]
    return min((one.measures.get("seconds", 0.0) for one in cut), default=math.inf)


def _uncompared(left: int) -> list[Finding]:
    """What is told where images look alike from afar in too many pairs to compare them all."""
    if not left:
        return []
    note = f"Copies: {left:,} pairs of images that look alike from afar were not compared; each of them has too many."
    return [Finding(kind=Kind.UNFINISHED, images=(), note=note, measures={"left": float(left)})]


def _unfinished(cut: cuttings.Crops, crops_s: float) -> list[Finding]:
    """What is told where the time for crops ran out."""
    if cut.complete:
        return []
    note = (
        f"Crops: {cut.compared:,} of {cut.of:,} pairs of images were looked at in {crops_s:g} s; --crops allows more."
    )
    measures = {"compared": float(cut.compared), "of": float(cut.of), "seconds": crops_s}
    return [Finding(kind=Kind.UNFINISHED, images=(), note=note, measures=measures)]


def _generated(name: str) -> bool:
    """Whether there are no mask files: they are made by code, or copies of prepared ones."""
    return protocols.apart(name)[1].copied or (not catalog.is_folder(name) and catalog.dataset(name).generated)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Generator[None]:
    began = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - began
