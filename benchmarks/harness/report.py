"""The report: Markdown for the documentation, and the same on the terminal."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.report_parts import Cell, Goal, Section, Table

PACKAGES = (
    "Flask",
    "Werkzeug",
    "dependency-injector",
    "pydantic",
    "SQLAlchemy",
    "Flask-SQLAlchemy",
    "Flask-SQLAlchemy-Lite",
    "peewee",
    "gunicorn",
)
_INTRO = """# Benchmarks

Written by `make bench`; `benchmarks/README.md` describes what each section runs. All figures of a
table come from one run, in which the candidates take turns (A B C A B C …). Each figure is the
median of all rounds, and a ratio is the median of the ratios within each round. Absolute figures
depend on the machine as much as on the candidates: compare within a table, not between machines.
Every candidate has WAL, `synchronous=NORMAL`, a busy timeout of 5 seconds, and a fresh copy of the
same file.
"""


def write(sections: Sequence[Section], docs: Path, *, took: float, quick: bool) -> None:
    """Write ``benchmarks.md`` and its pictures."""
    pictures = docs / "_static" / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [_INTRO, _versions(took, quick=quick), _goals(sections)]
    for section in sections:
        for plot in section.plots:
            plot.draw(pictures / f"{plot.name}.svg")
        parts.append(_section(section))
    (docs / "benchmarks.md").write_text("\n".join(parts))


def show(section: Section) -> str:
    """A section for the terminal."""
    tables = [f"{table.caption}\n{_aligned(table)}" for table in section.tables]
    goals = [_aligned(_goal_table(section.goals))] if section.goals else []
    return "\n\n".join(["", f"== {section.title}", *tables, *goals])


def _versions(took: float, *, quick: bool) -> str:
    lines = [
        f"- {platform.python_implementation()} {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, {platform.system()}, {os.cpu_count()} cores,"
        f" {took / 60:.0f} minutes" + (" (a quick run: the figures say little)" if quick else ""),
        "- " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
    ]
    return "\n".join(lines) + "\n"


def _goals(sections: Iterable[Section]) -> str:
    goals = [goal for section in sections for goal in section.goals]
    return "## Goals\n\n" + _markdown(_goal_table(goals))


def _goal_table(goals: Iterable[Goal]) -> Table:
    rows = [
        (goal.figure, goal.wanted, goal.found, "reached" if goal.reached else "not reached")
        for goal in goals
    ]
    return Table("Goals", ("figure", "goal", "found", ""), rows)


def _section(section: Section) -> str:
    parts = [f"## {section.title}\n\n{section.text}\n"]
    parts.extend(f"![{plot.alt}](_static/benchmarks/{plot.name}.svg)\n" for plot in section.plots)
    parts.extend(f"**{table.caption}**\n\n{_markdown(table)}" for table in section.tables)
    return "\n".join(parts)


def _markdown(table: Table) -> str:
    lines = [
        "| " + " | ".join(table.columns) + " |",
        "|" + "|".join(_rule(table, column) for column in range(len(table.columns))) + "|",
        *("| " + " | ".join(map(_text, row)) + " |" for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def _rule(table: Table, column: int) -> str:
    return "---" if any(isinstance(row[column], str) for row in table.rows) else "--:"


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell:,}"


def _aligned(table: Table) -> str:
    rows = [list(table.columns), *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [_rule(table, column) == "---" for column in range(len(widths))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if first else cell.rjust(width)
            for cell, width, first in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    )
