"""The map of `bench/` in docs/adr/0001-layout.md: whole, and in the direction that data take."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECTION = (
    (ROOT / "docs/adr/0001-layout.md").read_text(encoding="utf-8").split("## Map of `bench/`")[1].split("\n## ")[0]
)
GROUPS = [re.findall(r"`(\w+)`", item) for item in re.findall(r"^- \*\*.*(?:\n  .*)*", SECTION, re.MULTILINE)]
LEVEL = {module: level for level, group in enumerate(GROUPS) for module in group}


def imported(path: Path) -> set[str]:
    """The modules of the engine that a file imports, anywhere but for a type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing and (node.module or "").startswith("bench"):
            found |= {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
    return found & set(LEVEL)


def test_every_module_is_on_the_map_exactly_once_and_none_that_is_gone():
    modules = {path.stem for path in (ROOT / "bench").glob("*.py")} - {"__init__"}

    assert Counter(modules) == Counter(module for group in GROUPS for module in group)


def test_a_group_of_the_map_imports_from_the_groups_above_it_only():
    downward = {
        f"{module} imports {other}"
        for module in LEVEL
        for other in imported(ROOT / "bench" / f"{module}.py")
        if LEVEL[other] > LEVEL[module]
    }

    assert set() == downward
