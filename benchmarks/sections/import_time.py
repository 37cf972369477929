"""How long the import takes, over that of Flask and dependency-injector."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from statistics import median

from harness.measure import Effort, interleave, ratio
from harness.report_parts import Section, Table, at_most

_BASE = "import flask; from dependency_injector import containers, providers, wiring"
_CASES = {
    "Flask + dependency-injector": _BASE,
    "and this library": f"{_BASE}; import sqlite_container.flask",
    "and pydantic": f"{_BASE}; import pydantic",
    "and Flask-SQLAlchemy": f"{_BASE}; import flask_sqlalchemy",
    "and peewee's pool": f"{_BASE}; import playhouse.pool",
}
TEXT = (
    "Each import runs in a new interpreter, whose own start is not counted. pydantic, which"
    " checks the settings, is shown apart."
)


def run(effort: Effort) -> Section:
    """Measure all imports."""
    cases = {name: partial(_once, code) for name, code in _CASES.items()}
    found = interleave(3 if effort.quick else 9, cases)
    base = next(iter(found.values()))
    rows = [
        (name, round(median(times) * 1e3, 1), round(ratio(times, base), 2))
        for name, times in found.items()
    ]
    table = Table("Imports", ("imported", "median ms", "ratio"), rows)
    goal = at_most("import, over Flask + dependency-injector", rows[1][2], 1.10)
    return Section("Import", TEXT, [table], [], [goal])


def _once(code: str) -> float:
    script = f"from time import perf_counter as t; b = t(); {code}; print(t() - b)"
    command = [sys.executable, "-c", script]
    # An installed package is compiled once; where nothing may be written, ours would be each time.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found = subprocess.run(command, env=environment, capture_output=True, check=True)
    return float(found.stdout)
