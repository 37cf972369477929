"""Each promise of the documentation is held by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text("utf-8")
PROMISES = re.findall(r"^\| (?!promise |---)(.*?) \| (.*?) \|$", PAGE, re.MULTILINE)


def functions_in(file: Path) -> set[str]:
    """Return the names of the functions in a file."""
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_tests_that_exist() -> None:
    """Whoever doubts a promise can run what holds it."""
    existing = set().union(*map(functions_in, (ROOT / "tests").rglob("test_*.py")))
    assert len(PROMISES) > 30
    for promise, cell in PROMISES:
        named = re.findall(r"`(test_\w+)`", cell)
        assert named, promise
        assert set(named) <= existing, promise
