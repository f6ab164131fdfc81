"""Loss expressions: `ce`, `dice+ce`, `0.7*focal[gamma=2]+0.3*tversky` become one scalar from logits.

Every loss takes logits float (N, C, H, W) and targets int64 (N, H, W) with IGNORE where a pixel does not count, works
in fp32 whatever the network computed in, and gives a scalar that is finite and differentiable even when no pixel
counts. What is computed is in `bench.criteria`, imported when a loss is built: listing and checking names needs no
torch. Beside ours stand those of a user's own folder, `DIR/losses/name.py`, which are imported when they are used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench import catalog, names
from bench.catalog import unknown
from bench.errors import NameUnknown
from bench.specs import LossSpec, Option

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]

BETA = 1 - 1e-6
"""Of `effective`: a class teaches no more than a million pixels could, some two hundred cells of 5,000 pixels."""
WEIGHTS = ("none", "inverse", "effective", "median")
ANY = (0.0, 1e6)
"""The least and the greatest value of a number that has no other limits."""


@dataclass(frozen=True, slots=True)
class Term:
    """One weighted summand of an expression."""

    weight: float
    name: str
    options: tuple[tuple[str, Option], ...]  # those that differ from the defaults

    def __str__(self) -> str:
        factor = "" if self.weight == 1.0 else f"{_short(self.weight)}*"
        return factor + names.show(self.name, {key: _short(value) for key, value in self.options})


def parse(expression: str) -> tuple[Term, ...]:
    """Read a sum of weighted losses.

    Raises:
        NameUnknown: If a term, an option or a weight cannot be understood.
    """
    parts = names.split(expression, "+")
    terms = tuple(_term(part, expression) for part in parts)
    if not terms or "+".join(parts).count("+") != expression.count("+"):
        raise NameUnknown(f"The loss {expression!r} has an empty term. Write one as dice+ce; see bench list losses.")
    return terms


def canonical(expression: str) -> str:
    """The one spelling of an expression; order of terms is kept."""
    return "+".join(str(term) for term in parse(expression))


def build(expression: str, pixels: np.ndarray | None = None) -> Loss:
    """The loss of an expression, as a function of logits and targets.

    Logits of one channel (N, 1, H, W) are those of the foreground; those of the background are 0 then, so that `ce` is
    binary cross-entropy. Whatever autocast it is called under, it computes in fp32.

    Args:
        pixels: How many pixels of each class each training image has, int64 (images, C): what class weights are
            computed from; needed only where the expression has some.
    Raises:
        NameUnknown: If the expression cannot be understood.
        ValueError: If a term has class weights, and no pixels are given.
    """
    import torch

    summands = [(term.weight, _bound(term, pixels)) for term in parse(expression)]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if logits.shape[1] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            return sum((factor * term(logits, target) for factor, term in summands), start=logits.new_zeros(()))

    return loss


def class_weights(scheme: str, pixels: np.ndarray) -> np.ndarray:
    """What each class weighs in a loss; 0 for a class that does not occur.

    Args:
        scheme: `inverse`: pixels of all classes / pixels of the class. `effective`: (1 - BETA) / (1 - BETA^pixels),
            times what makes the mean 1 over the classes that occur (Cui et al. 2019, doi:10.1109/CVPR.2019.00949).
            `median`: the median frequency / the frequency of the class, its share of the pixels of the images in which
            it occurs (Eigen and Fergus 2015, doi:10.1109/ICCV.2015.304).
        pixels: Those of each class in each training image, int64 (images, C).
    Returns:
        float64 (C,).
    """
    total = pixels.sum(axis=0).astype(float)
    occurs = total > 0
    rarity = np.zeros(len(total))
    if scheme == "inverse":
        rarity[occurs] = total.sum() / total[occurs]
    elif scheme == "effective":
        rarity[occurs] = (1 - BETA) / -np.expm1(total[occurs] * np.log(BETA))
        rarity[occurs] /= rarity[occurs].mean() if occurs.any() else 1
    else:
        around = ((pixels > 0) * pixels.sum(axis=1, keepdims=True)).sum(axis=0)
        frequency = total[occurs] / around[occurs]
        rarity[occurs] = np.median(frequency) / frequency if occurs.any() else 0
    return rarity


_WEIGHT: dict[str, Option] = {"weight": "none"}
_CHOICES = {"weight": WEIGHTS}
_SIDES: dict[str, Option] = {"alpha": 0.3, "beta": 0.7}

LOSSES: dict[str, LossSpec] = {
    "ce": LossSpec(
        title="Cross-entropy, mean over pixels; for two classes binary cross-entropy",
        citation="Good 1952; smoothing: Szegedy et al. 2016, doi:10.1109/CVPR.2016.308",
        options={"smoothing": 0.0, **_WEIGHT},
        choices=_CHOICES,
        limits={"smoothing": (0.0, 1.0)},
    ),
    "dice": LossSpec(
        title="Soft Dice, mean over the classes in the batch",
        citation="Milletari et al. 2016, doi:10.1109/3DV.2016.79",
        options=_WEIGHT,
        choices=_CHOICES,
    ),
    "jaccard": LossSpec(
        title="Soft IoU, mean over the classes in the batch",
        citation="Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22",
        options=_WEIGHT,
        choices=_CHOICES,
    ),
    "focal": LossSpec(
        title="Cross-entropy that looks away from easy pixels",
        citation="Lin et al. 2017, doi:10.1109/ICCV.2017.324",
        options={"gamma": 2.0, **_WEIGHT},
        choices=_CHOICES,
    ),
    "tversky": LossSpec(
        title="Soft Tversky index: alpha weighs false positives, beta false negatives",
        citation="Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44",
        options={**_SIDES, **_WEIGHT},
        choices=_CHOICES,
    ),
    "focal_tversky": LossSpec(
        title="What each class lacks to a soft Tversky index of 1, to the power 1 / gamma",
        citation="Abraham and Khan 2019, doi:10.1109/ISBI.2019.8759329",
        options={**_SIDES, "gamma": 4 / 3},
        limits={"gamma": (0.1, 10.0)},
    ),
    "lovasz": LossSpec(
        title="Lovász-softmax, a convex surrogate of IoU, mean over the classes in the batch",
        citation="Berman et al. 2018, doi:10.1109/CVPR.2018.00464",
        options={"per_image": False},
    ),
    "mcc": LossSpec(
        title="Matthews' correlation of each class with the rest, mean over the classes in the batch",
        citation="Abhishek and Hamarneh 2021, doi:10.1109/ISBI48211.2021.9433782",
    ),
    "topk": LossSpec(
        title="Cross-entropy, mean over the hardest percent of the pixels of a batch",
        citation="Wu et al. 2016, arXiv:1605.06885",
        options={"percent": 10.0, **_WEIGHT},
        choices=_CHOICES,
        limits={"percent": (0.001, 100.0)},
    ),
    "boundary": LossSpec(
        title="Probability times signed distance to the outline; a term beside another",
        citation="Kervadec et al. 2019, doi:10.1016/j.media.2020.101851",
    ),
    "hausdorff_dt": LossSpec(
        title="Squared error times the distances to both outlines to a power",
        citation="Karimi and Salcudean 2019, doi:10.1109/TMI.2019.2930068",
        options={"power": 2.0},
        limits={"power": (0.1, 10.0)},
    ),
    "ssim": LossSpec(
        title="Structural similarity of foreground probabilities and truth",
        citation="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    ),
    "bce_dice": LossSpec(
        title="Seed 4: (cross-entropy + 1 - Dice of the batch's foreground, smoothed by 1) / 2",
        citation="sarah-antillia, Clustered-Cervical-Cell",
    ),
    "bce_iou": LossSpec(
        title="Seed 0: (cross-entropy + 1 - IoU of the batch's foreground) / 2",
        citation="sarah-antillia, Image-Segmentation-Blood-Cell",
    ),
    "basnet_hybrid": LossSpec(
        title="Seeds 0, 2, 4: (cross-entropy + ssim + 1 - IoU of the batch's foreground) / 3",
        citation="sarah-antillia; after Qin et al. 2019, doi:10.1109/CVPR.2019.00766",
    ),
    "weighted_ce": LossSpec(
        title="Seed 3: weighted cross-entropy, mean over the pixels of weight, weights not divided out",
        citation="abhanjac, blood_cell_image_segmentation",
        options={"weight": "inverse"},
        choices={"weight": WEIGHTS[1:]},
    ),
}


def available() -> dict[str, LossSpec | None]:
    """Every name that an expression may use, ours first; None for a file of the user's, which is not imported.

    Raises:
        NameUnknown: If such a file is named like one of ours.
    """
    return LOSSES | dict.fromkeys(catalog.own("losses", LOSSES))


def specification(name: str) -> LossSpec:
    """What is known of one name.

    Raises:
        NameUnknown: If there is none, or the user's file is no loss.
    """
    known = available()
    if name not in known:
        raise unknown("loss", name, known, "bench list losses")
    return known[name] or _own(name)


def code_hash(expression: str) -> str:
    """Hash of the user's files that an expression uses, and of the helpers beside them; empty where it uses none."""
    found = catalog.own("losses", LOSSES)
    used = sorted({found[term.name].path for term in parse(expression) if term.name in found})
    return catalog.hash_of("losses", used) if used else ""


def _own(name: str) -> LossSpec:
    """The specification of a user's file, if every option is one that an expression can set."""
    spec, path = catalog.specification("losses", name, LossSpec), catalog.entries("losses")[name].path
    if spec.compute is None:
        raise NameUnknown(f"{path}: its SPEC has no `compute`. Name the function of logits and target there.")
    for key, value in spec.options.items():
        if isinstance(value, str) and spec.choices.get(key, ("",))[0] != value:
            raise NameUnknown(f"{path}: the option {key} is a word. Add choices={{'{key}': ('{value}', ..)}} to SPEC.")
    return spec


def _short(value: Option) -> Option:
    """A whole number without its .0, so that 2 and 2.0 are spelled alike; anything else as it is."""
    return int(value) if isinstance(value, float) and value == int(value) and value < 1e15 else value


def _bound(term: Term, pixels: np.ndarray | None) -> Loss:
    """A term without its factor: the function of its name, with its options and class weights."""
    import torch

    from bench import criteria

    spec = specification(term.name)
    options = {**spec.options, **dict(term.options)}
    scheme = options.pop("weight", "none")
    compute = functools.partial(spec.compute or getattr(criteria, term.name), **options)
    if scheme == "none":
        return compute
    if pixels is None:
        raise ValueError(f"The loss {term} weighs classes: it needs the pixels of each class in the training images.")
    weight = torch.from_numpy(class_weights(str(scheme), pixels)).float()
    on = functools.cache(weight.to)  # copied to a device once: copying at every step would wait for it
    return lambda logits, target: compute(logits, target, weight=on(logits.device))


def _term(text: str, expression: str) -> Term:
    factor, star, rest = text.rpartition("*")
    try:
        weight = float(factor) if star else 1.0
    except ValueError:
        raise NameUnknown(f"Cannot read the weight {factor!r} in the loss {expression!r}. Write 0.5*dice+ce.") from None
    if not 0 < weight < 1e6:
        raise NameUnknown(
            f"The weight {factor} in the loss {expression!r} must be positive, and below a million. Write 0.5*dice+ce."
        )
    stem, options = names.parse(rest)
    spec = specification(stem)
    for key, value in options.items():
        if key not in spec.options:
            raise unknown(f"option of the loss {stem!r}", key, spec.options or ["(none)"], "bench list losses")
        allowed = _allowed(spec, key, value)
        if allowed:
            raise NameUnknown(f"The option {key}={names.spell(value)} of the loss {expression!r} must be {allowed}.")
    chosen = {key: float(value) if type(value) is int else value for key, value in options.items()}
    return Term(
        weight, stem, tuple(sorted((key, value) for key, value in chosen.items() if value != spec.options[key]))
    )


def _allowed(spec: LossSpec, key: str, value: Option) -> str:
    """What an option must be, where its value is not; empty where it is."""
    if key in spec.choices:
        return "" if value in spec.choices[key] else f"one of {', '.join(spec.choices[key])}"
    if isinstance(spec.options[key], bool):
        return "" if isinstance(value, bool) else "true or false"
    least, greatest = spec.limits.get(key, ANY)
    if isinstance(value, (str, bool)) or not least <= value <= greatest:
        return f"a number of at least {least:g} and at most {greatest:g}"
    return ""
