"""The contract of a loss: what it must give for logits and targets that are made up here."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench import losses
from bench.checks import Check
from bench.specs import IGNORE

CLASSES = range(2, 11)


def batch(
    seed: int = 0, ignored: float = 0.0, size: tuple[int, int, int] = (3, 5, 6), classes: int = 4
) -> tuple[Tensor, Tensor]:
    """Logits float64 (N, classes, H, W) and a target int64 (N, H, W) in which a share of the pixels is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size[0], classes, *size[1:], generator=generator, dtype=torch.float64)
    target = torch.randint(classes, size, generator=generator)
    return logits, target.masked_fill(torch.rand(size, generator=generator) < ignored, IGNORE)


def saturated(target: Tensor, classes: int = 4) -> Tensor:
    """Logits that are as sure of the target as logits can be."""
    truth = functional.one_hot(target.masked_fill(target == IGNORE, 0), classes).movedim(-1, 1).float()
    return 1e4 * (2 * truth - 1)


def slopes(loss: losses.Loss, logits: Tensor, target: Tensor) -> Tensor:
    """The derivative by the logits."""
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, target)
    if value.requires_grad:
        value.backward()
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def built(expression: str, classes: int) -> losses.Loss:
    """The loss of an expression; where it weighs classes, by pixels that are made up."""
    return losses.build(expression, np.arange(1, 2 * classes + 1).reshape(2, classes))


def filled(expression: str) -> Iterator[str]:
    """Terms that do not say what they are, and options that are not those of the function."""
    for term in losses.parse(expression):
        spec = losses.specification(term.name)
        yield from (f"{term.name}: `{name}` is empty" for name in ("title", "citation") if not getattr(spec, name))
        if spec.compute is None:
            continue
        taken = list(inspect.signature(spec.compute).parameters.values())[2:]
        accepted = {one.name: one.default for one in taken if one.name != "weight"}
        told = {key: value for key, value in spec.options.items() if key != "weight"}
        if accepted != told:
            yield f"{term.name}: the options are {told}, the arguments of `compute` behind logits and target {accepted}"


def finite(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where it is no finite scalar, or does not move every logit by a finite step."""
    for seed in range(3):
        logits, target = batch(seed, classes=classes)
        value = loss(logits, target)
        if not isinstance(value, Tensor) or value.shape != () or not value.isfinite():
            yield f"{classes} classes: it gives {value}, not one finite number"
            return
        found = slopes(loss, logits, target)
        if not found.isfinite().all() or found.abs().max() == 0:
            yield f"{classes} classes: its gradient is not finite, or 0 everywhere"


def extreme(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where logits that are sure of themselves, right or wrong, or absent classes, are too much for it."""
    for seed, present in enumerate(dict.fromkeys((classes, 2, 1))):
        _, target = batch(seed, ignored=0.2, classes=classes)
        target = torch.where(target == IGNORE, IGNORE, target.clamp(max=present - 1))
        for sign, said in ((1, "right"), (-1, "wrong")):
            logits = sign * saturated(target, classes)
            if not loss(logits, target).isfinite() or not slopes(loss, logits, target).isfinite().all():
                yield f"{present} of {classes} classes present: not finite for logits that are sure and {said}"


def ignored(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where a pixel that is ignored changes the value, or is moved."""
    logits, target = batch(ignored=0.4, classes=classes)
    valid = target != IGNORE
    strange = torch.full_like(logits, 77.0).index_fill(1, torch.tensor([0]), -50.0)
    other = torch.where(valid[:, None], logits, strange)
    one, two = loss(logits, target), loss(other, target)
    if not torch.allclose(one, two, rtol=1e-4, atol=1e-5):
        yield f"{classes} classes: {float(one):.5g}, with other logits where pixels are ignored {float(two):.5g}"
    found, again = slopes(loss, logits, target), slopes(loss, other, target)
    if not found.movedim(1, -1)[~valid].eq(0).all():
        yield f"{classes} classes: ignored pixels get a gradient"
    if not torch.allclose(found, again.masked_fill(~valid[:, None], 0), rtol=1e-3, atol=1e-6):
        yield f"{classes} classes: the gradient of other pixels depends on what is predicted for ignored ones"


def nothing(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where a batch without a pixel that counts is not finite, or moves something."""
    logits, target = batch(classes=classes)
    target = torch.full_like(target, IGNORE)
    value, found = loss(logits, target), slopes(loss, logits, target)
    if not value.isfinite() or not found.eq(0).all():
        yield f"{classes} classes: it gives {float(value):.5g} where every pixel is ignored, or moves something"


def minimum(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where a perfect prediction, as sure as suits the loss, costs no less than a random one."""
    for seed in range(5):
        logits, target = batch(seed, ignored=0.2, classes=classes)
        right = saturated(target, classes)
        best = min(float(loss(sure * right, target)) for sure in (1.0, 1e-3, 2e-4))
        random = float(loss(logits, target))
        if best >= random:
            yield f"{classes} classes: a perfect prediction costs {best:.5g}, a random one {random:.5g}"
            return


def half(loss: losses.Loss, classes: int) -> Iterator[str]:
    """Where bfloat16 gives anything but the value of the same logits in fp32."""
    logits, target = batch(ignored=0.1, classes=classes)
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(logits.bfloat16(), target)
    exact = loss(logits.bfloat16().float(), target)
    if cast.dtype != torch.float32 or not torch.allclose(cast, exact, rtol=1e-5, atol=1e-6):
        yield f"{classes} classes: {float(cast):.6g} as {cast.dtype} under autocast, {float(exact):.6g} in fp32"


def _every(find: Callable[[losses.Loss, int], Iterator[str]], expression: str) -> Iterator[str]:
    """The first thing that is wrong, whatever the number of classes."""
    wrong = (line for classes in CLASSES for line in find(built(expression, classes), classes))
    yield from itertools.islice(wrong, 1)


CHECKS: tuple[Check[str], ...] = (
    Check(
        title="the specification is filled, and its options are those of the function",
        find=filled,
        mend="Give SPEC a title, a citation, and each option of `compute` with its default.",
    ),
    Check(
        title="it gives one finite number and moves the logits, for 2 to 10 classes",
        find=partial(_every, finite),
        mend="Return a scalar that is computed from the logits by torch alone, for any number of classes.",
    ),
    Check(
        title="logits that are sure, and classes that are absent, are not too much for it",
        find=partial(_every, extreme),
        mend="Take log_softmax in place of log(softmax), and add a little to what is divided by or has a root taken.",
    ),
    Check(
        title="ignored pixels change neither value nor gradient",
        find=partial(_every, ignored),
        mend="Leave out the pixels where target is bench.specs.IGNORE, before anything is summed.",
    ),
    Check(
        title="a batch without a pixel that counts is finite and moves nothing",
        find=partial(_every, nothing),
        mend="Divide by the number of pixels that count, at least 1: .sum() / valid.sum().clamp(min=1).",
    ),
    Check(
        title="a perfect prediction is the best one",
        find=partial(_every, minimum),
        mend="Check the sign: training makes the loss small.",
    ),
    Check(
        title="bf16 logits give the number that fp32 would",
        find=partial(_every, half),
        mend="Make new tensors of the type of the logits, as in .to(logits), not of half precision.",
    ),
)
