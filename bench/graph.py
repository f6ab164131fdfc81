"""The graph of a network as a picture: torchview follows one image through it, Graphviz draws."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench import extras
from bench.errors import StudyError
from bench.store import write_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMATS = ("svg", "png", "pdf", "dot")
"""How a graph can be written; dot is text that Graphviz draws."""

WANTED = "The graph of a network"
COLOURS = {"ModuleNode": "#dcebdd", "FunctionNode": "#eef2f7", "TensorNode": "#fdf3d0"}
"""Modules, functions, and the tensors that go in and come out."""


_NODE = re.compile(r"^(\s*)(\d+) \[label=<.*\]", re.DOTALL)
"""A node as torchview writes it; each is replaced by one of ours in its place, which keeps it in its box."""


def form(path: Path) -> str:
    """How a file is to be written, from the end of its name.

    Raises:
        StudyError: If it is none of FORMATS, or the path is a folder.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS or path.is_dir():
        allowed = ", ".join(f".{name}" for name in FORMATS)
        raise StudyError(f"The graph cannot be written to {path}. Give the name of a file that ends in {allowed}.")
    return ending


def missing() -> str:
    """What is to be installed before a network can be followed, in a sentence; empty if nothing is."""
    try:
        _torchview()
    except StudyError as error:
        return str(error)
    return ""


def trace(network: nn.Module, image: Tensor, depth: int, title: str) -> Any:
    """The graph of a network as a `graphviz.Digraph`: modules down to a depth, and the functions between them.

    Each module says its name in the state dict, its class, the shape of what it gives, and its parameters, so that a
    row of `bench.outline.layers` is found again.

    Args:
        network: In evaluation mode, on whatever device it is; the meta device will do.
        image: Float (1, 3, H, W) on that device.
        depth: How many calls deep to look; what is called deeper is one box.
        title: Of the picture.
    Raises:
        StudyError: If torchview is not installed.
    """
    found = _torchview().draw_graph(
        network, input_data=image, device=image.device, depth=depth, expand_nested=True, graph_name=title
    )
    drawing = found.visual_graph
    drawing.graph_attr.pop("size", None)  # as large as its text needs
    drawing.graph_attr |= {
        "label": _lines(title), "labelloc": "t", "bgcolor": "white", "fontname": "Helvetica", "ranksep": "0.25",
    }  # fmt: skip
    drawing.node_attr = {"shape": "box", "style": "filled", "fontname": "Helvetica", "fontsize": "10"}
    modules = {id(module): (name, module) for name, module in network.named_modules()}
    labels = {
        str(found.id_dict[node.node_id]): f'label="{_label(node, modules)}" fillcolor="{COLOURS[type(node).__name__]}"'
        for node in _nodes([found.node_hierarchy])
        if node.node_id in found.id_dict and not getattr(node, "is_aux", False)
    }
    drawing.body[:] = [_NODE.sub(lambda at: f"{at[1]}{at[2]} [{labels[at[2]]}]", line) for line in drawing.body]
    return drawing


def write(drawing: Any, path: Path) -> Path:
    """Write a graph in the format that its name ends in, or, where Graphviz is not installed, as .dot beside it.

    Returns:
        The file that was written.
    Raises:
        StudyError: If the name ends otherwise, or Graphviz cannot draw it.
        StoreError: If the file cannot be written.
        DiskFull: If no room is left.
    """
    graphviz = extras.load("graphviz", extra="inspect", wanted_by=WANTED)
    ending = form(path)
    try:
        picture = drawing.source.encode() if ending == "dot" else drawing.pipe(format=ending, quiet=True)
    except graphviz.ExecutableNotFound:
        return write(drawing, path.with_suffix(".dot"))
    except graphviz.CalledProcessError as error:
        reason = (error.stderr or b"").decode(errors="replace").strip().splitlines() or [f"exit {error.returncode}"]
        raise StudyError(
            f"Graphviz cannot draw {path}: {reason[-1]}. Give a smaller --depth, or a .dot file."
        ) from error
    write_bytes(path, picture)
    return path


def _torchview() -> ModuleType:
    return extras.load("torchview", extra="inspect", wanted_by=WANTED)


def _nodes(tree: Any) -> Iterator[Any]:
    """The nodes of torchview's tree, which is a list of nodes and of dicts from a node to the tree below it."""
    for one in tree:
        if not isinstance(one, dict):
            yield one
            continue
        for node, below in one.items():
            yield node
            yield from _nodes(below)


def _label(node: Any, modules: dict[int, tuple[str, nn.Module]]) -> str:
    kind = type(node).__name__
    if kind == "TensorNode":
        return _lines("image" if node.is_root() else "logits", _shapes([node.tensor_shape]))
    if kind == "FunctionNode":
        return _lines(node.name, _shapes(node.output_shape))
    name, module = modules.get(node.compute_unit_id, ("", None))
    params = 0 if module is None else sum(one.numel() for one in module.parameters() if one.requires_grad)
    return _lines(name, node.name, _shapes(node.output_shape), f"{params:,} parameters" if params else "")


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    """Shapes without the axis of images."""
    return ", ".join(" x ".join(map(str, shape[1:])) for shape in shapes)


def _lines(*lines: str) -> str:
    return "\\n".join(map(_safe, filter(None, lines)))


def _safe(text: str) -> str:
    """Text that Graphviz shows as it stands."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
