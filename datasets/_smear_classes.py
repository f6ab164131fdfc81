"""Classes of the blood smear, and the names that A. Banerjee's blood cell data set gives them."""

from __future__ import annotations

from bench.errors import DataError
from bench.specs import ClassSpec

CLASSES = (
    ClassSpec(name="background", colour=(0, 0, 0)),
    ClassSpec(name="eosinophil", colour=(0, 255, 255)),
    ClassSpec(name="basophil", colour=(0, 128, 128)),
    ClassSpec(name="neutrophil", colour=(250, 190, 190)),
    ClassSpec(name="lymphocyte", colour=(128, 128, 0)),
    ClassSpec(name="monocyte", colour=(0, 0, 128)),
    ClassSpec(name="thrombocyte", colour=(255, 225, 0)),
    ClassSpec(name="platelet_clump", colour=(255, 0, 255)),
    ClassSpec(name="infected_rbc", colour=(255, 0, 0)),
    ClassSpec(name="healthy_rbc", colour=(0, 255, 0)),
)
PARTIAL = ClassSpec(name="partial_wbc", colour=(0, 0, 255))
"""The eleventh class, where it is asked for: a white cell that the border cuts so that its type cannot be told."""

WHITE = range(1, 6)
INFECTED, HEALTHY, PARTIAL_INDEX = 8, 9, 10
PUBLISHED: dict[str, int] = {
    "Eosinophil": 1,
    "Basophil": 2,
    "Neutrophil": 3,
    "Lymphocytes": 4,
    "Monocytes": 5,
    "Thrombocytes": 6,
    "Clumps": 7,
    "Infected": INFECTED,
    "_": HEALTHY,
    "partialWBC": PARTIAL_INDEX,
}
"""The published names of the classes, as folders and in label files, and our indices."""

_INDICES = {
    **{name.lower(): index for name, index in PUBLISHED.items()},
    **{spec.name: index for index, spec in enumerate((*CLASSES, PARTIAL)) if index},
    "healthy": HEALTHY,
}


def index_of(name: str) -> int | None:
    """The class index behind a published name or one of ours, in any case; None when it is neither."""
    return _INDICES.get(name.lower())


def check_partial(partial: object, allowed: tuple[str, ...], dataset: str) -> None:
    """Refuses an option `partial` that is not one of the allowed words.

    Raises:
        DataError: Naming the value and the words.
    """
    if partial not in allowed:
        raise DataError(
            f"partial={partial!r} of data set {dataset} is not one of {', '.join(allowed)}. "
            f"Write {dataset}[partial={allowed[-1]}], or leave it out."
        )
