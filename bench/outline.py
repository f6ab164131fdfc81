"""What an architecture is made of: the facts of each, and the layers of one, each with its shape and its costs."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench import catalog, names, networks
from bench.errors import BenchError
from bench.quantities import amount

SIZE, CLASSES = (256, 256), 2
"""What architectures are compared at: the height and width of an image [pixels], and how many classes there are."""

Rows = list[dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A module as it was called, or what a module does itself beside the modules that it calls.

    Attributes:
        name: As in the state dict, `encoder.layer1`; empty for the network, and for a module made anew at each call.
        kind: Its class, or OWN.
        depth: How many calls deep it lies; 1 is called by the network itself.
        calls: How often it is called in one pass.
        shape: Of what it gives at the last call, without the axis of images; empty unless that is one tensor.
        params: Trainable numbers, those of the modules it calls included.
        flops: Floating point operations for one image, likewise; a multiply-add counts as two.
        parts: Whether rows of the modules it calls follow: their numbers sum to those of this one.
    """

    name: str
    kind: str
    depth: int
    calls: int
    shape: tuple[int, ...]
    params: int
    flops: int
    parts: bool = False


OWN = "(itself)"
"""The kind of what a module does itself."""


def architectures() -> Rows:
    """Every architecture at its default options, one row each; one that cannot be built says why instead."""
    return [_architecture(name) for name in catalog.entries("architectures")]


def facts(name: str, layers: Sequence[Layer], size: tuple[int, int]) -> Rows:
    """What is known of one architecture, one row each.

    Args:
        name: As it stands on the axis, options in brackets.
        layers: What `layers` told of it at a size.
        size: That height and width [pixels].
    Raises:
        NameUnknown: If there is no such architecture, or it has no such option.
    """
    spec, options = catalog.architecture(name)
    (params, flops), (height, width) = total(layers), networks.padded(size, spec.divisor)
    texts = {
        "what": f"{spec.title}, {spec.family}",
        "paper": spec.citation,
        "code": f"{spec.origin or 'of unknown origin'}, licence {spec.licence or 'unknown'}",
        "options": ", ".join(f"{key}={names.spell(value)}" for key, value in options.items()),
        "divisor": f"{spec.divisor} pixels",
        "parameters": f"{params:,}",
        "GFLOPs": f"{flops / 1e9:.3g} for one image of {height} x {width} pixels; a multiply-add counts as two",
    }
    return [{"fact": key, "value": text} for key, text in texts.items()]


def total(layers: Sequence[Layer]) -> tuple[int, int]:
    """Parameters and floating point operations of a network, as its layers sum to."""
    top = [one for one in layers if one.depth == 1]
    return sum(one.params for one in top), sum(one.flops for one in top)


def table(layers: Sequence[Layer]) -> Rows:
    """Layers as rows to print, each below the one that calls it; the last row is the network."""
    rows: Rows = []
    above = [""]
    for one in layers:
        above[one.depth :] = [one.name]
        name = one.name.removeprefix(f"{above[one.depth - 1]}.") if one.kind != OWN else ""
        rows.append(
            {
                "layer": "  " * (one.depth - 1) + (name or "-"),
                "kind": one.kind if one.calls == 1 else f"{one.kind} x {one.calls}",
                "output": " x ".join(map(str, one.shape)) or None,
                "parameters": f"{one.params:,}",
                "multiply-adds": amount(one.flops // 2),
            }
        )
    params, flops = total(layers)
    last = {
        "layer": "total",
        "kind": "",
        "output": "",
        "parameters": f"{params:,}",
        "multiply-adds": amount(flops // 2),
    }
    rows.append(dict(last))
    for key in ("parameters", "multiply-adds"):
        width = max(len(str(row[key])) for row in rows)
        for row in rows:
            row[key] = str(row[key]).rjust(width)
    return rows


@torch.no_grad()
def layers(network: nn.Module, divisor: int, size: tuple[int, int], depth: int) -> list[Layer]:
    """The modules that a network calls, in the order of their first call, down to a depth.

    The rows of depth 1 sum to the network, and so do all rows without `parts`: what a module computes or holds itself,
    beside the modules it calls, has a row of the kind OWN. Parameters that two modules share count in both.

    Args:
        network: From colour images float (1, 3, H, W); it is run once, on whatever device it is.
        divisor: What its input is padded to a multiple of [pixels].
        size: Height and width of the image [pixels].
        depth: How many calls deep to look, at least 1.
    """
    from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
    from torch.utils.flop_counter import FlopCounterMode

    stack = [_Call(network)]

    def enter(module: nn.Module, _: Any) -> None:
        call = stack[-1].below.setdefault(id(module), _Call(module))
        call.began = counter.get_total_flops()
        call.calls += 1
        stack.append(call)

    def leave(module: nn.Module, _: Any, output: Any) -> None:
        call = stack.pop()
        call.flops += counter.get_total_flops() - call.began
        call.shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()

    network.eval()
    image = networks.blank(network, networks.padded(size, divisor))
    with (
        FlopCounterMode(display=False) as counter,
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave),
    ):
        network(image)
    [whole] = stack[0].below.values()
    known = {module: name for name, module in network.named_modules()}
    return list(_rows(whole, known, 1, depth))


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Nothing that a library or a drop-in file prints, warns or logs while it builds a network reaches the terminal."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@dataclass(slots=True)
class _Call:
    """A module at one place of the tree of calls, with what its calls amount to so far."""

    module: nn.Module
    below: dict[int, _Call] = field(default_factory=dict)
    calls: int = 0
    began: int = 0
    flops: int = 0
    shape: tuple[int, ...] = ()

    @property
    def weights(self) -> dict[int, int]:
        """How many numbers each trainable parameter has."""
        return {id(one): one.numel() for one in self.module.parameters() if one.requires_grad}


def _rows(call: _Call, known: dict[nn.Module, str], depth: int, last: int) -> Iterator[Layer]:
    held = call.weights
    for part in call.below.values():
        expand = bool(part.below) and depth < last
        yield Layer(
            name=known.get(part.module, ""),
            kind=type(part.module).__name__,
            depth=depth,
            calls=part.calls,
            shape=part.shape,
            params=sum(part.weights.values()),
            flops=part.flops,
            parts=expand,
        )
        if expand:
            yield from _rows(part, known, depth + 1, last)
        held = {key: count for key, count in held.items() if key not in part.weights}
    flops = call.flops - sum(part.flops for part in call.below.values())
    if held or flops or not call.below:
        yield Layer(
            name=known.get(call.module, ""),
            kind=OWN,
            depth=depth,
            calls=1,
            shape=(),
            params=sum(held.values()),
            flops=flops,
        )


def _architecture(name: str) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(("name", "parameters", "GFLOPs", "divisor", "paper", "licence", "from"))
    try:
        with quiet():
            spec, _ = catalog.architecture(name)
            costs = networks.sketch(name, CLASSES, lambda network, divisor: networks.facts(network, divisor, SIZE))
    except BenchError as error:
        return row | {"name": name, "paper": str(error)}
    return row | {
        "name": name,
        "parameters": amount(costs.params),
        "GFLOPs": costs.flops / 1e9,
        "divisor": spec.divisor,
        "paper": spec.citation,
        "licence": spec.licence or None,
        "from": spec.origin or None,
    }
