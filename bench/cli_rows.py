"""Rows of plain values as a table for the terminal; loads nothing heavy."""

from __future__ import annotations

import json

from rich.console import Group
from rich.markup import escape
from rich.table import Table


def table(rows: list[dict[str, object]], title: str) -> Group:
    """A title, whole however narrow its table, and rows that share their keys; None is a dash."""
    result = Table(box=None, pad_edge=False, header_style="dim")
    for column in rows[0] if rows else ["(none)"]:
        result.add_column(column, overflow="fold")
    for row in rows:
        result.add_row(*(_text(value) for value in row.values()))
    return Group(f"[bold]{_safe(title)}[/bold]", result)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    return _safe(value if isinstance(value, str) else json.dumps(value))


def _safe(text: str) -> str:
    """Text that is shown as it stands: no markup, and no codes that a terminal would obey."""
    return escape("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text))
