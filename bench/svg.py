"""Matplotlib figures as <svg> elements for the middle of a page, and the look they share.

Text stays text, and ink takes the colour of the page around it, so that a figure reads on light and on dark.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

INK = "#010203"
"""Drawn in this colour means drawn in the colour of the page's text."""
Info = TypeVar("Info")
Rest = ParamSpec("Rest")
LETTER = 0.072
"""How wide a letter of the labels is, about [inches]."""
WIDE = 40
"""Letters of a label before it goes on in a second line."""
_USUAL = "font-size: 8.5px"
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_NOT_TURNED, _SPACES = re.compile(r"rotate\(-?0 [^)]*\)"), re.compile(r"\s+")
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def drawn(draw: Callable[Concatenate[Info, str, Rest], Figure]) -> Callable[Concatenate[Info, str, Rest], str]:
    """Turn a function that gives a figure into one that gives its <svg>; its second argument is the title."""

    @functools.wraps(draw)
    def wrapped(info: Info, title: str, *rest: Rest.args, **named: Rest.kwargs) -> str:
        import matplotlib as mpl

        with mpl.rc_context(look(title)):
            return element(draw(info, title, *rest, **named), title)

    return wrapped


def look(salt: str) -> Any:
    """Settings under which the same data gives the same bytes, without pyplot's global ones."""
    ink = (
        "text.color",
        "axes.edgecolor",
        "axes.labelcolor",
        "axes.titlecolor",
        "xtick.color",
        "ytick.color",
        "grid.color",
    )
    return dict.fromkeys(ink, INK) | {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.12,
        "legend.frameon": False,
        "legend.borderaxespad": 0.0,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "hatch.linewidth": 0.7,
    }


def blank(width: float, height: float) -> Figure:
    """An empty figure [inches] whose parts keep out of each other's way."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """A log scale with plain numbers at 1 and 3 of every decade, or at 1 alone where there are many decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def key(label: str, **look: Any) -> Line2D:
    """One entry of a legend: a line or a mark."""
    from matplotlib.lines import Line2D

    settings: dict[str, Any] = {"ms": 5, **look}
    return Line2D([], [], label=label, **settings)


def fold(text: str, width: int = WIDE) -> str:
    """A long name over several lines, broken behind what separates its parts where it can be; no letter is lost."""
    lines = []
    while len(text) > width:
        at = max(text.rfind(mark, width // 2, width) for mark in " ,·/[=_-") + 1 or width
        lines.append(text[:at])
        text = text[at:]
    return "\n".join([*lines, text])


def room(labels: Iterable[str]) -> float:
    """How wide the widest line of some labels is [inches]."""
    return LETTER * max((len(line) for label in labels for line in label.split("\n")), default=0)


def height(labels: Iterable[str]) -> float:
    """How high the highest of some labels is [inches]."""
    return 0.15 * max((label.count("\n") + 1 for label in labels), default=0)


def legend(
    figure: Figure,
    keys: list[Line2D],
    place: Literal["outside upper left", "outside lower left"] = "outside upper left",
) -> None:
    """A legend above everything else, or elsewhere, in as many lines as it needs."""
    called = [str(one.get_label()) for one in keys]
    width = (room(called) + 0.5) * len(keys)
    columns = max(1, min(len(keys), int(len(keys) * figure.get_figwidth() / max(width, 0.1))))
    lines = math.ceil(len(keys) / columns)
    figure.set_figheight(figure.get_figheight() + (lines - 1) * height(called))
    figure.legend(handles=keys, loc=place, ncols=math.ceil(len(keys) / lines), handlelength=1.6, columnspacing=1.4)


def element(figure: Figure, title: str) -> str:
    """The figure as an <svg> for the middle of a page: titled, in the page's ink, without ids nobody refers to."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for key in ("d", "points", "transform", "x", "y"):
            if value := parent.get(key):
                parent.set(key, _SPACES.sub(" ", _NOT_TURNED.sub("", _DECIMALS.sub(_round, value))).strip())
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):  # a style element would reach the whole page
                parent.remove(child)
        if not parent.tag.endswith(("clipPath", "pattern", "path")):
            parent.attrib.pop("id", None)
        if style := parent.get("style"):
            parent.set("style", _page_style(style))
    _slim(root)
    width, height = (round(float(size) * 4 / 3) for size in root.attrib["viewBox"].split()[2:])
    root.attrib |= {"width": str(width), "height": str(height), "role": "img", "aria-label": title}
    root.set("style", f"stroke-linejoin: round; stroke-linecap: butt; {_USUAL}")
    return ET.tostring(root, encoding="unicode")


def _slim(root: ET.Element) -> None:
    """Take out what changes nothing: groups that say nothing, white space between elements, looks said again."""
    for parent in list(root.iter()):
        children = list(parent)
        while any(_idle(child) for child in children):
            children = [inner for child in children for inner in (child if _idle(child) else [child])]
        parent[:] = children
        looks = {child.get("style") if child.tag == f"{{{_SVG}}}use" else None for child in children}
        if len(children) > 1 and len(looks) == 1 and None not in looks and "style" not in parent.attrib:
            parent.set("style", str(looks.pop()))  # once for all marks of a line
            for child in children:
                del child.attrib["style"]
        if parent.tag != f"{{{_SVG}}}text":
            parent.text = None
        parent.tail = None
        for key in ("transform", "style"):
            if parent.get(key) == "":
                del parent.attrib[key]


def _idle(element: ET.Element) -> bool:
    return element.tag == f"{{{_SVG}}}g" and not element.attrib


def _round(found: re.Match[str]) -> str:
    """A coordinate to a hundredth of a point: six decimals are most of a figure's bytes."""
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _page_style(style: str) -> str:
    """Ink becomes the page's text colour, and the font the page's font: of it only size, weight and slant stay."""
    parts = [part.strip() for part in style.replace(INK, "currentColor").split(";")]
    idle = ("font-family", _USUAL, "text-anchor: start")
    return "; ".join(part for part in parts if part and not part.startswith(idle))
