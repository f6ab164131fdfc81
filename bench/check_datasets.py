"""The contract of a data set: what its specification says, and what it reads."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench import catalog, decode, names
from bench.checks import Check
from bench.errors import DataError
from bench.specs import DatasetSpec, Sample

MOST = 200
"""Pairs that are decoded, spread over the data set; `bench data prepare` decodes all."""
SMALLEST = 16
"""The least edge of a picture that a network could learn something from [pixels]."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A data set, and where its files are; None where they are not here."""

    name: str
    spec: DatasetSpec
    root: Path | None

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """All it lists; raises what its `read` raises."""
        if self.root is None:
            raise DataError(f"The files of {self.name} are not here. Give --from PATH.")
        named = {} if catalog.is_folder(self.name) else names.parse(self.name)[1]
        return self.spec.read(self.root, **{**self.spec.options, **named})

    @cached_property
    def entries(self) -> list[decode.Entry | DataError]:
        """Up to MOST of them decoded, or what is wrong with them."""
        chosen = self.samples[:: -(-len(self.samples) // MOST) or 1]
        found = (decode.attempt(self.spec.load, None, len(self.spec.classes), None, sample) for sample in chosen)
        return [one if isinstance(one, DataError) else one[0] for one in found]

    @property
    def decoded(self) -> list[decode.Entry]:
        """Those that could be decoded."""
        return [one for one in self.entries if not isinstance(one, DataError)]


def filled(subject: Subject) -> Iterator[str]:
    """Fields that leave a reader without the licence or the source."""
    for name, empty in (("title", ""), ("licence", "unknown"), ("citation", "none given")):
        value = getattr(subject.spec, name)
        if value in ("", empty):
            yield f"`{name}` is {value!r}"


def classes(subject: Subject) -> Iterator[str]:
    """Classes that cannot be told apart, or are not what a page can name."""
    told = subject.spec.classes
    if len(told) < 2:
        yield f"it has {len(told)} classes, and needs the background and one more"
    if told and told[0].name != "background":
        yield f"class 0 is {told[0].name!r}, not 'background'"
    for what, values in (("name", [one.name for one in told]), ("colour", [one.colour for one in told])):
        yield from (f"{count} classes have the {what} {value}" for value, count in Counter(values).items() if count > 1)
    yield from (
        f"the name {one.name!r} is not of a-z, 0-9, _" for one in told if not re.fullmatch("[a-z0-9_]+", one.name)
    )
    wrong = [one.colour for one in told if not all(0 <= channel <= 255 for channel in one.colour)]
    yield from (f"the colour {colour} is not of 0 to 255" for colour in wrong)


def travels(subject: Subject) -> Iterator[str]:
    """A `load` that other processes cannot be handed."""
    try:
        pickle.loads(pickle.dumps(subject.spec.load))
    except Exception as error:
        yield f"`load` cannot be pickled: {catalog.reason(error)}"


def listed(subject: Subject) -> Iterator[str]:
    """Samples that are not there, or not to be told apart."""
    if not subject.samples:
        yield "`read` lists no sample"
    several = [name for name, count in Counter(one.id for one in subject.samples).items() if count > 1]
    if several:
        yield f"{len(several)} ids stand more than once, as {several[0]!r}"


def splits(subject: Subject) -> Iterator[str]:
    """Official splits that are not whole, or part what is of one source."""
    count = Counter(one.split for one in subject.samples)
    if None in count and len(count) > 1:
        yield f"{count[None]} of {len(subject.samples)} samples have no split, the others have"
    if None not in count:
        yield from (f"no sample is of the split {name}" for name in ("train", "val", "test") if not count[name])
    homes: dict[str, set[str | None]] = {}
    for one in subject.samples:
        homes.setdefault(one.source or one.id, set()).add(one.split)
    parted = [source for source, where in homes.items() if len(where) > 1]
    if parted:
        yield f"{len(parted)} sources stand in several splits, as {parted[0]!r}"


def loads(subject: Subject) -> Iterator[str]:
    """Pairs that are not uint8 RGB with a mask of known classes and equal size; the first is told."""
    wrong = [one for one in subject.entries if isinstance(one, DataError)]
    if wrong:
        more = f" {len(wrong)} of {len(subject.entries)} pairs are wrong." if len(wrong) > 1 else ""
        yield f"{wrong[0]}{more}"


def large(subject: Subject) -> Iterator[str]:
    """Pictures that are too small for any network."""
    small = [one for one in subject.decoded if min(one.height, one.width) < SMALLEST]
    if small:
        yield f"{small[0].sample.id} has {small[0].height} x {small[0].width} pixels, less than {SMALLEST} on an edge"


def present(subject: Subject) -> Iterator[str]:
    """Classes that no mask holds."""
    held = np.sum([one.pixels for one in subject.decoded], axis=0) if subject.decoded else np.zeros(0)
    missing = [spec.name for spec, pixels in zip(subject.spec.classes, held, strict=False) if pixels == 0]
    if missing and len(subject.entries) == len(subject.samples):
        yield f"no pixel of {', '.join(missing)} in the {len(subject.decoded)} masks that were read"


def repeats(subject: Subject) -> Iterator[str]:
    """A sample that is another one when it is loaded again."""
    if subject.samples:
        one, other = (subject.spec.load(subject.samples[0]) for _ in range(2))
        if not all(np.array_equal(*pair) for pair in zip(one, other, strict=True)):
            yield f"{subject.samples[0].id} is another picture when it is loaded again"


TOLD: tuple[Check[Subject], ...] = (
    Check(title="title, licence and citation are filled", find=filled, mend="Say them in SPEC, or in dataset.toml."),
    Check(
        title="classes begin with the background and differ in name and colour",
        find=classes,
        mend="Mend `classes` of SPEC, or of dataset.toml.",
    ),
    Check(
        title="loading travels to other processes",
        find=travels,
        mend="Make `load` a function of the module, or functools.partial of one; no lambda.",
    ),
)
"""What can be checked without the files."""

READ: tuple[Check[Subject], ...] = (
    Check(title="samples are listed, with unique ids", find=listed, mend="Mend `read`, or name the files apart."),
    Check(
        title="splits are whole, and no source is parted",
        find=splits,
        mend="Give each sample train, val or test, or none to all of them: then bench splits by source.",
    ),
    Check(
        title="pictures are RGB bytes, masks hold known classes",
        find=loads,
        mend="Mend the file, its entry in dataset.toml, or `load`.",
    ),
    Check(title="loading again gives the same picture", find=repeats, mend="Draw nothing at random in `load`."),
    Check(title="pictures are large enough", find=large, mend="Leave such pictures out."),
    Check(title="every class is in some mask", find=present, mend="Leave the class out, or mend how it is read."),
)
"""What needs the files."""
