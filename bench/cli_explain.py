"""`bench explain`: a metric or a profile in plain words, with an example; or all profiles on the same predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli_options import console, show

NOTE = (
    "A and B are two predictions of the same 60 images, made by rule: A strews specks of classes that are not there, B "
    "never finds a rare class. first: which of them a leaderboard of that profile puts first. all background: what a "
    "prediction without any cell scores."
)


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A metric (miou_d_fg), a family (miou), a profile (mmseg), custom, or definitions."
        ),
    ],
) -> None:
    """Explain a metric or a profile; `definitions` shows how the winner depends on the definition."""
    from bench import explain as explanations

    if name == "definitions":
        show(explanations.definitions(), title="One pair of predictions, every definition")
        console().print(f"\n{NOTE}", markup=False, soft_wrap=True)
        return
    console().print("\n".join(explanations.lines(name)), markup=False, highlight=False, soft_wrap=True)
