r"""The leaderboard as LaTeX: one booktabs table per data set, to be read into a paper by \input."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from bench import leaking, tables, views
from bench.metrics import Profile
from bench.standings import Board, Standing

DIGITS = 3
HEAD = r"""% Needs \usepackage{booktabs} and \usepackage{graphicx}.
% Names in other scripts than Latin need XeLaTeX or LuaLaTeX."""
TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "–": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}
"""What TeX would take for something else, and signs that its plain fonts lack."""


def as_latex(boards: Sequence[Board], profile: Profile, study: str = "leaderboard") -> str:
    """A floating table per data set, as wide as the text at most, with a caption that tells the definition."""
    labels = _labels([board.dataset for board in boards], study)
    parts = [line for board, label in zip(boards, labels, strict=True) for line in _table(board, profile, label)]
    return "\n".join([HEAD, *parts]) + "\n"


def escape(text: str) -> str:
    """A text as LaTeX prints it letter by letter; what cannot be seen is left out."""
    seen = (one for one in " ".join(text.split()) if unicodedata.category(one)[0] != "C")
    return "".join(TEX.get(one, one) for one in seen)


def _table(board: Board, profile: Profile, label: str) -> Iterator[str]:
    names = [_head(*views.small_print(metric)) for metric in profile.metrics.values()]
    names.insert(1 + list(profile.metrics).index(profile.primary), r"95\% interval")
    yield ""
    yield r"\begin{table}"
    yield r"\centering\small\setlength{\tabcolsep}{4pt}"
    yield rf"\caption{{{_caption(board, profile)}}}"
    yield rf"\label{{{label}}}"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{rll{'r' * len(names)}r}}"
    yield r"\toprule"
    yield _line(["Rank", "Architecture", "Loss", *names, "Cells"])
    yield r"\midrule"
    best, ranks = tables.best(board, profile, DIGITS), [one.rank for one in board.standings]
    for one in board.standings:
        rank = escape(views.shown_rank(one, ranks))
        numbers = [text for name in profile.metrics for text in _numbers(one, name, profile, best)]
        names_of = [escape(one.architecture), escape(one.loss or "baseline")]
        yield _line([rank, *names_of, *numbers, escape(tables.coverage(one))])
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\end{table}"


def _head(name: str, small: str) -> str:
    """The head of a column: a word in each line, then the small print."""
    lines = [*map(escape, name.split()), *(rf"\scriptsize {escape(part)}" for part in small.split(", ") if part)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[r]{{{stacked}}}"


def _caption(board: Board, profile: Profile) -> str:
    """What was scored, by which definition, and how to read ranks, bold numbers and intervals."""
    primary = profile.metrics[profile.primary]
    spread = " $\\pm$: standard deviation over seeds." if any(one.spread is not None for one in board.standings) else ""
    images = max((one.images for row in board.standings for one in row.samples.values()), default=0)
    on = f" ({images} test images)" if images else ""
    definition = f"{escape(profile.primary)} of the profile {escape(profile.id)}. {escape(primary.definition)}"
    found = leaking.leak(board, profile)
    stamp = "" if found is None else rf"\textbf{{{escape(leaking.sentence(found))}}} "
    return (
        f"{stamp}{escape(board.title)}{on}: ranked by {escape(primary.title)}, {definition} Rows of one rank (=) "
        f"cannot be told apart; bold: no network is better at {DIGITS} decimals; 95\\% intervals over test images, and "
        f"over seeds where there are several.{spread}"
    )


def _numbers(one: Standing, name: str, profile: Profile, best: Mapping[str, float]) -> Iterator[str]:
    """A number, bold where no network is better; that of the primary metric with its spread and its interval."""
    value = one.values.get(name)
    text = "n/a" if value is None else f"{value:.{DIGITS}f}"
    if value is not None and one.loss is not None and best.get(name) == round(value, DIGITS):
        text = rf"\textbf{{{text}}}"
    if name != profile.primary:
        yield text
        return
    yield text if one.spread is None else rf"{text} $\pm$ {one.spread:.{DIGITS}f}"
    yield "n/a" if one.interval is None else f"{one.interval[0]:.{DIGITS}f}--{one.interval[1]:.{DIGITS}f}"


def _labels(names: Sequence[str], study: str) -> list[str]:
    """A label for each table, of letters, digits and dashes; no two are alike."""
    plain = [re.sub(r"[^a-z0-9]+", "-", f"{study}-{name}".lower()).strip("-") for name in names]
    if len(set(plain)) < len(plain):
        plain = [f"{one}-{at}" for at, one in enumerate(plain, start=1)]
    return [f"tab:{one}" for one in plain]


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
