"""`bench show architecture`, and what `bench list architectures --details` adds to the plain list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli_options import complain, console, say, show
from bench.errors import StudyError

if TYPE_CHECKING:
    from torch import nn

WIDE = 110
"""Columns of a terminal in which every detail of an architecture has a column of its own."""

show_app = typer.Typer(no_args_is_help=True, help="Show what stands on an axis from the inside.")


@show_app.command("architecture")
def architecture(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in bench list architectures, options in brackets.")],
    size: Annotated[str, typer.Option(metavar="S|HxW", help="Height and width of the image, in pixels.")] = "256",
    classes: Annotated[int, typer.Option(metavar="N", min=1, max=255, help="How many it tells apart.")] = 2,
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, max=20, help="How many calls deep to look, in table and graph.")
    ] = 2,
    target: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Where the graph goes: .svg, .png, .pdf or .dot; default: NAME.svg."),
    ] = None,
) -> None:
    """Show a network: its facts, its layers with their shapes and costs, and their graph as a picture."""
    from bench import graph
    from bench import study as studies
    from bench.store import escape

    edges, (low, high) = studies.size(size), studies.BOUNDS["recipe.size"]
    if not all(low <= edge <= high for edge in edges):
        raise StudyError(f"--size {size}: must be {low} to {high} pixels.")
    path = target or Path(f"{escape(name)}.svg")
    graph.form(path)
    missing = graph.missing()
    if missing and target:
        raise StudyError(missing)

    from bench import networks, outline

    def look(network: nn.Module, divisor: int) -> tuple[list[outline.Layer], Any]:
        image = networks.blank(network, networks.padded(edges, divisor))
        layers = outline.layers(network, divisor, edges, depth)
        return layers, None if missing else graph.trace(network, image, depth, name)

    with outline.quiet():
        layers, drawing = networks.sketch(name, classes, look)
    show(outline.facts(name, layers, edges), title=name)
    show(outline.table(layers), title="layers")
    if missing:
        complain(f"No picture: {missing}")
        return
    written = graph.write(drawing, path)
    say(f"Graph: {written.resolve()}")
    if written != path:
        complain(
            "It is text, since the program dot is not installed: install Graphviz (apt install graphviz, brew install "
            f"graphviz, ..), then: dot -T{graph.form(path)} '{written}' -o '{path}'"
        )


def details() -> None:
    """Print every architecture with its costs and its origin; all of them are built, so it takes a while."""
    from bench import outline

    rows = outline.architectures()
    show(rows if console().width >= WIDE else [_narrow(row) for row in rows], title="architectures")
    height, width = outline.SIZE
    say(
        f"GFLOPs: for one colour image of {height} x {width} pixels and {outline.CLASSES} classes, options at their "
        "defaults; a multiply-add counts as two. Others: bench show architecture 'NAME[option=value]'."
    )


def _narrow(row: dict[str, object]) -> dict[str, object]:
    """The last three details one below another."""
    lines = [str(row[key]) for key in ("paper", "licence", "from") if row[key] is not None]
    kept = {key: value for key, value in row.items() if key not in ("paper", "licence", "from")}
    return kept | {"paper, licence, from": "\n".join(lines)}
