"""The contract of an architecture: what every network of it must do, tried out on the CPU at a small size."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import catalog, losses, names, networks, train
from bench.check_learning import CLASSES, LEARNED, STEPS, Learned, learn, pictures, plain, trainer
from bench.checks import Check
from bench.data import Resident
from bench.specs import Option

SIZE = 64
RATES = (3e-3, 1e-2, 1e-3)
"""Tried one after the other until the pictures are learned."""
COUNTS = (1, 2, 10)
"""Numbers of classes that a network is built for."""


def variant(name: str, **options: Option) -> str:
    """A name with some of its options set."""
    stem, chosen = names.parse(name)
    return names.show(stem, {**chosen, **options})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An architecture under test.

    Attributes:
        name: As it stands on the axis, its options in brackets.
        data_home: Where the pictures that it learns are kept.
    """

    name: str
    data_home: Path

    @cached_property
    def pairs(self) -> Resident:
        """The pictures that it learns."""
        return pictures(SIZE, self.data_home)

    @cached_property
    def learned(self) -> Learned:
        """The network after it has learned the pictures, by the first rate that does it."""
        found = [learn(self.name, self.pairs, RATES[0])]
        for rate in RATES[1:]:
            if found[-1].dice() > LEARNED:
                break
            found.append(learn(self.name, self.pairs, rate))
        return max(found, key=Learned.dice)


def filled(name: str) -> Iterator[str]:
    """Fields that leave a reader without the source, and a first line that says nothing."""
    spec, _ = catalog.architecture(name)
    yield from (f"`{field}` is empty" for field in ("title", "family", "licence", "origin") if not getattr(spec, field))
    if not re.search(r"doi:10\.\d{4,9}/\S+|arXiv:\d{4}\.\d{4,5}\b", spec.citation):
        yield f"the citation {spec.citation!r} has no doi:10.. and no arXiv:.."
    summary = catalog.entries("architectures")[names.parse(name)[0]].summary
    if not re.fullmatch(r"[^:]+: \S.+\.", summary):
        yield f"its first line is {summary!r}, not 'Name: what it does.'"
    if not spec.build.__doc__:
        yield "`build` has no docstring"
    if spec.divisor < 1:
        yield f"the divisor is {spec.divisor}"
    if not all(prefix and reason for prefix, reason in spec.unused.items()):
        yield "something unused has no name or no reason"


def arguments(name: str) -> Iterator[str]:
    """Where options and arguments of `build` differ, or their defaults."""
    spec, _ = catalog.architecture(name)
    taken = inspect.signature(spec.build).parameters
    if {"channels", "classes", *spec.options} != set(taken):
        yield f"`build` takes {', '.join(taken)}; SPEC promises {', '.join(['channels', 'classes', *spec.options])}"
        return
    for option, default in spec.options.items():
        if taken[option].default != default:
            yield f"the default of {option} is {default!r}, that of `build` {taken[option].default!r}"


def counted(name: str) -> Iterator[str]:
    """What cannot be told without computing a number: parameters, operations, shapes."""
    spec, _ = catalog.architecture(name)
    with torch.device("meta"):
        network = networks.build(name, CLASSES)
    facts = networks.facts(network, spec.divisor, (256, 256))
    yield from (f"{label} is no tensor of meta" for label, one in network.named_parameters() if not one.is_meta)
    if facts.params == 0:
        yield "it has no parameters"
    if facts.flops <= 2 * 256 * 256 * CLASSES / 64:  # a head at an eighth of the resolution, at least
        yield f"{facts.flops} operations for an image of 256 x 256 pixels"
    for size in ((spec.divisor, spec.divisor), (2 * spec.divisor, 3 * spec.divisor)):
        yield from _shape(network(torch.empty(1, 3, *size, device="meta")), (1, CLASSES, *size))


def shapes(name: str, channels: int) -> Iterator[str]:
    """Where logits have not one channel per class, for a number of colours (1 or 3)."""
    name = variant(name, channels=channels)
    spec, _ = catalog.architecture(name)
    for classes in COUNTS:
        with torch.device("meta"):
            network = networks.build(name, classes).eval()
        image = torch.empty(1, 3, spec.divisor, 2 * spec.divisor, device="meta")
        yield from _shape(network(image), (1, classes, spec.divisor, 2 * spec.divisor))


def sizes(name: str, channels: int) -> Iterator[str]:
    """Where logits have another size than the image, or are not finite."""
    name = variant(name, channels=channels)
    spec, _ = catalog.architecture(name)
    forward = plain(networks.build(name, 6, seed=0).eval(), spec.divisor)
    with torch.inference_mode():
        for size in ((spec.divisor, spec.divisor), (50, 70), (33, 31)):
            found = forward(torch.rand(1, 3, *size))
            yield from _shape(found, (1, 6, *size))
            if not found.isfinite().all():
                yield f"logits of an image of {size[0]} x {size[1]} pixels are not finite"


def heads(name: str) -> Iterator[str]:
    """Where what a network gives in training, or with `deep`, is not logits of the size of the images."""
    spec, options = catalog.architecture(name)
    deep = {"deep": True} if "deep" in options else {}
    with torch.device("meta"):
        network = spec.build(classes=3, **(options | deep))
    images = torch.empty(2, 3, 2 * spec.divisor, 4 * spec.divisor, device="meta")
    trained, predicted = network.train()(images), network.eval()(images)
    told = [trained] if isinstance(trained, Tensor) else list(trained)
    if not isinstance(predicted, Tensor):
        yield f"it predicts a {type(predicted).__name__}, not logits"
        return
    if deep and len(told) == 1:
        yield "deep=true predicts at one depth alone"
    for logits in (*told, predicted):
        yield from _shape(logits, (2, 3, *images.shape[-2:]))


def frozen(name: str) -> Iterator[str]:
    """Where a network that may start from weights cannot keep those of its encoder's first stage, or keeps others."""
    spec, options = catalog.architecture(name)
    if "weights" not in options:
        yield from ["it has `frozen` without `weights`"] * ("frozen" in options)
        return
    if "frozen" not in options:
        yield "it has `weights`, but no `frozen`"
        return
    with torch.device("meta"):
        network = spec.build(classes=2, **(options | {"frozen": 1}))
    kept = [label for label, one in network.named_parameters() if not one.requires_grad]
    if not kept:
        yield "frozen=1 keeps nothing"
    yield from (f"frozen=1 keeps {label}, which is not in the encoder" for label in kept if "encoder." not in label)


def _shape(found: Tensor, wanted: tuple[int, ...]) -> Iterator[str]:
    if tuple(found.shape) != wanted:
        yield f"logits have the shape {tuple(found.shape)}, not {wanted}"


def unmoved(network: nn.Module, unused: Mapping[str, str], divisor: int = 1) -> list[str]:
    """What is wrong with the gradients that dice+ce gives in three steps of training, a line each.

    A gradient counts once it is not zero: a layer behind a weight that starts at zero gets its own a step later.
    """
    torch.manual_seed(1)
    edge = max(64, 2 * divisor)
    images, masks = torch.randn(2, 3, edge, edge), torch.randint(3, (2, edge, edge))
    forward, loss = plain(network.train(), divisor), losses.build("dice+ce")
    optimiser = torch.optim.SGD(network.parameters(), 1e-2)
    largest = {label: 0.0 for label, parameter in network.named_parameters() if parameter.requires_grad}
    for _ in range(3):
        optimiser.zero_grad(set_to_none=True)
        train.supervised(forward, loss, images, masks).backward()
        optimiser.step()
        for label, parameter in network.named_parameters():
            if parameter.grad is not None:
                largest[label] = max(largest[label], parameter.grad.abs().max().item())
    excused = {label: next((one for one in unused if label.startswith(one)), None) for label in largest}
    wrong = [f"{label} gets no gradient" for label, one in excused.items() if one is None and largest[label] == 0]
    wrong += [f"{label} is unused, but gets one" for label, one in excused.items() if one and largest[label] > 0]
    wrong += [f"no parameter begins with {one}" for one in unused if one not in excused.values()]
    return wrong if max(largest.values()) > 1e-5 else [*wrong, "all gradients are rounding errors"]


def gradients(name: str) -> list[str]:
    """What is wrong with the gradients, whichever seed the network starts from.

    A narrow layer may begin with a ReLU that is silent for any image: then the next seed is asked.
    """
    spec, options = catalog.architecture(name)
    wrong: list[str] = []
    for seed in range(4):
        torch.manual_seed(seed)
        found = unmoved(spec.build(classes=3, **options), spec.unused, spec.divisor)
        wrong = found if seed == 0 else [line for line in wrong if line in found]
        if not wrong:
            break
    return wrong


def repeats(name: str, pairs: Resident) -> Iterator[str]:
    """Where the same seed does not build and train the same network."""
    states: list[dict[str, Tensor]] = []
    told: list[list[float]] = []
    for _ in range(2):
        network = networks.build(name, CLASSES, seed=0)
        torch.manual_seed(1)
        step = trainer(network.train(), catalog.architecture(name)[0].divisor, pairs, 1e-3)
        told.append([step().item() for _ in range(2)])
        states.append(train.weights(network))
    if told[0] != told[1] or not math.isfinite(told[0][1]):
        yield f"two steps cost {told[0]}, and again from the same seed {told[1]}"
    yield from (f"{label} differs" for label in states[0] if not torch.equal(states[0][label], states[1][label]))


def remembered(learned: Learned) -> Iterator[str]:
    """Where a few pictures could not be learned by heart."""
    if learned.dice() <= LEARNED:
        yield f"mean Dice on four pictures is {learned.dice():.3f} after {STEPS} steps, not above {LEARNED}"


def stored(learned: Learned) -> Iterator[str]:
    """Where weights that were stored and read again give other logits."""
    import safetensors.torch

    content = safetensors.torch.save(train.weights(learned.network))
    again = networks.build(learned.name, CLASSES, seed=7).eval()
    again.load_state_dict(safetensors.torch.load(content))
    if not torch.equal(learned.logits(), Learned(learned.name, again, learned.divisor, learned.pairs).logits()):
        yield "the network gives other logits with the weights that it was stored with"


def layouts(learned: Learned) -> Iterator[str]:
    """Where the layout of memory changes the logits."""
    one, other = learned.logits(layout="contiguous"), learned.logits()
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3):
        yield f"logits differ by {(one - other).abs().max():.3g} between contiguous and channels_last"


def half(learned: Learned) -> Iterator[str]:
    """Where bfloat16 gives other logits or labels than fp32."""
    exact, fast = learned.logits(), learned.logits(precision="bf16")
    if fast.dtype != torch.float32 or (exact - fast).abs().max() >= 0.1 * exact.abs().max():
        yield f"logits of up to {exact.abs().max():.3g} are off by {(exact - fast).abs().max():.3g} in bf16"
    if (alike := (exact.argmax(dim=1) == fast.argmax(dim=1)).float().mean()) <= 0.97:
        yield f"{1 - alike:.1%} of the pixels have another label in bf16"


def _both(find: Callable[[str, int], Iterator[str]]) -> Callable[[Subject], Iterator[str]]:
    """A check for grey and for colour."""
    return lambda subject: (
        f"channels={channels}: {line}" for channels in (1, 3) for line in find(subject.name, channels)
    )


CHECKS: tuple[Check[Subject], ...] = (
    Check(
        title="the specification is filled",
        find=lambda one: filled(one.name),
        mend="See the table of fields in architectures/README.md.",
    ),
    Check(
        title="options are the arguments of build",
        find=lambda one: arguments(one.name),
        mend="`build(channels, classes, **options)`: give each option of SPEC an argument with the same default.",
    ),
    Check(
        title="it can be counted without computing a number",
        find=lambda one: counted(one.name),
        mend="Make every tensor in modules or as a parameter, and read no number from one in `build` or `forward`.",
    ),
    Check(
        title="one channel of logits per class, for 1 to 10 classes, grey and colour",
        find=_both(shapes),
        mend="Let the first layer take `channels`, and the last one give `classes`.",
    ),
    Check(
        title="logits have the size of the image, whatever that is",
        find=_both(sizes),
        mend="Set `divisor` to what height and width must be multiples of, and bring the logits to the input's size.",
    ),
    Check(
        title="what it gives in training are logits of the size of the image, the prediction first",
        find=lambda one: heads(one.name),
        mend="In training give logits, or a tuple of them, the prediction first; in evaluation the prediction alone.",
    ),
    Check(
        title="gradients reach every parameter",
        find=lambda one: gradients(one.name),
        mend="Feed forward what a layer gives, remove the layer, or name it in `unused` with the reason.",
    ),
    Check(
        title="the same seed gives the same network and training",
        find=lambda one: repeats(one.name, one.pairs),
        mend="Draw random numbers from torch alone, and none while a module is imported.",
    ),
    Check(
        title="four pictures are learned by heart",
        find=lambda one: remembered(one.learned),
        mend="Look for a softmax before the end, a stride that is not undone, or channels mixed up by a reshape.",
    ),
    Check(
        title="weights survive being stored as safetensors",
        find=lambda one: stored(one.learned),
        mend="Keep what the network learns in parameters and buffers, and share no tensor between two names.",
    ),
    Check(
        title="both layouts of memory give the same numbers",
        find=lambda one: layouts(one.learned),
        mend="Use reshape or flatten in place of view, and no as_strided.",
    ),
    Check(
        title="bf16 stays close to fp32",
        find=lambda one: half(one.learned),
        mend="Normalise before sums grow large, and make new tensors of the input's type.",
    ),
)
