"""Loss expressions: `ce`, `dice+ce`, `0.7*focal[gamma=2]+0.3*tversky` become one scalar from logits.

Every loss takes logits float (N, C, H, W) and targets int64 (N, H, W) with IGNORE where a pixel does not count, works
in fp32 whatever the network computed in, and gives a scalar that is finite and differentiable even when no pixel
counts. torch is imported when a loss is evaluated, so that listing and checking names stays light.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import names
from bench.catalog import unknown
from bench.errors import NameUnknown
from bench.specs import IGNORE, Option

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """One term an expression may use."""

    title: str
    compute: Callable[..., Tensor]
    options: Mapping[str, float]
    citation: str


@dataclass(frozen=True, slots=True)
class Term:
    """One weighted summand of an expression."""

    weight: float
    name: str
    options: tuple[tuple[str, float], ...]  # those that differ from the defaults

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


def build(expression: str) -> Loss:
    """The loss of an expression, as a function of logits and targets.

    Raises:
        NameUnknown: If the expression cannot be understood.
    """
    summands = [(t.weight, functools.partial(LOSSES[t.name].compute, **dict(t.options))) for t in parse(expression)]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        logits = logits.float()
        return sum((weight * term(logits, target) for weight, term in summands), start=logits.new_zeros(()))

    return loss


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels that count; 0 when none does."""
    return _cross_entropy_map(logits, target).sum() / (target != IGNORE).sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy weighted by (1 - p)^gamma, mean over the pixels that count; gamma 0 is `ce`."""
    entropy = _cross_entropy_map(logits, target)
    missing = (-(-entropy).expm1()).clamp(min=1e-6)  # 1 - p; a power below 1 has no gradient at 0
    return (missing**gamma * entropy).sum() / (target != IGNORE).sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice per class over the batch, mean over the classes that occur in the batch."""
    return tversky(logits, target, alpha=0.5, beta=0.5)


def jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft IoU per class over the batch, mean over the classes that occur in the batch."""
    return tversky(logits, target, alpha=1.0, beta=1.0)


def tversky(logits: Tensor, target: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - TP / (TP + alpha FP + beta FN), soft, per class over the batch, mean over the classes that occur in it."""
    from torch.nn import functional

    valid = target != IGNORE
    truth = functional.one_hot(target.masked_fill(~valid, 0), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    valid = valid[:, None]
    probability = logits.softmax(dim=1) * valid
    truth = truth * valid
    axes = (0, 2, 3)
    hit = (probability * truth).sum(axes)
    false_positive = probability.sum(axes) - hit
    false_negative = truth.sum(axes) - hit
    overlap = hit / (hit + alpha * false_positive + beta * false_negative).clamp(min=1e-7)
    present = (truth.sum(axes) > 0).to(logits.dtype)
    return ((1 - overlap) * present).sum() / present.sum().clamp(min=1)


LOSSES: dict[str, LossSpec] = {
    "ce": LossSpec(
        title="Cross-entropy, mean over pixels",
        compute=cross_entropy,
        options={},
        citation="Good 1952",
    ),
    "dice": LossSpec(
        title="Soft Dice, mean over the classes in the batch",
        compute=dice,
        options={},
        citation="Milletari et al. 2016, doi:10.1109/3DV.2016.79",
    ),
    "jaccard": LossSpec(
        title="Soft IoU, mean over the classes in the batch",
        compute=jaccard,
        options={},
        citation="Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22",
    ),
    "focal": LossSpec(
        title="Cross-entropy that looks away from easy pixels",
        compute=focal,
        options={"gamma": 2.0},
        citation="Lin et al. 2017, doi:10.1109/ICCV.2017.324",
    ),
    "tversky": LossSpec(
        title="Soft Tversky index: alpha weighs false positives, beta false negatives",
        compute=tversky,
        options={"alpha": 0.3, "beta": 0.7},
        citation="Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44",
    ),
}


def _short(value: float) -> Option:
    """A whole number without its .0, so that 2 and 2.0 are spelled alike; any other number in full."""
    return int(value) if value == int(value) and value < 1e15 else value


def _cross_entropy_map(logits: Tensor, target: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")


def _term(text: str, expression: str) -> Term:
    factor, star, rest = text.rpartition("*")
    try:
        weight = float(factor) if star else 1.0
    except ValueError:
        raise NameUnknown(f"Cannot read the weight {factor!r} in the loss {expression!r}. Write 0.5*dice+ce.") from None
    if not 0 < weight < 1e6:
        raise NameUnknown(f"The weight {factor} in the loss {expression!r} must be positive. Write 0.5*dice+ce.")
    stem, options = names.parse(rest)
    if stem not in LOSSES:
        raise unknown("loss", stem, LOSSES, "bench list losses")
    for key, value in options.items():
        if key not in LOSSES[stem].options:
            raise unknown(f"option of the loss {stem!r}", key, LOSSES[stem].options or ["(none)"], "bench list losses")
        if isinstance(value, (str, bool)) or not 0 <= value < math.inf:
            raise NameUnknown(f"The option {key}={value} of the loss {expression!r} must be a number of at least 0.")
    chosen = {key: float(value) for key, value in options.items() if value != LOSSES[stem].options[key]}
    return Term(weight, stem, tuple(sorted(chosen.items())))
