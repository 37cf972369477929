"""Count the CPU instructions of a request, a write transaction and a row, with callgrind.

``--only NAME`` counts the scenarios whose names begin with NAME, ``--json`` prints the figures
for a program. ``PYTHONPATH=../other/src`` counts another tree.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from harness.measure import Files, remove, temporary_files
from harness.report import show
from harness.report_parts import Section, Table
from instruction_scenarios import BASE, CAPTIONS, ROWS_READ, SCENARIOS

FEW, MANY = 50, 150
PARALLEL, TIMEOUT = 2, 600
CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
SCRIPT = Path(__file__).with_name("instruction_scenarios.py")
TEXT = (
    f"Counted by callgrind over {MANY - FEW} rounds after a warm-up, each scenario in processes of"
    " its own: the figures hardly depend on the machine and its load."
)


def main() -> None:
    """Parse the options, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        help="those whose names begin with it; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    names = [name for name in SCENARIOS if name.startswith(tuple(options.only or [""]))]
    if not names:
        parser.error(f"no such scenario; there are {', '.join(SCENARIOS)}")
    if not shutil.which("valgrind"):
        parser.exit(1, "valgrind is not installed; your system's package manager has it\n")
    found = _count_all(names)
    print(json.dumps(found, indent=2) if options.json else show(_section(found)))


def _count_all(names: list[str]) -> dict[str, int]:
    """The figures; those of requests are what is added to the one without a database."""
    if any(name.startswith("request") for name in names):
        names = list(dict.fromkeys([BASE, *names]))
    with temporary_files() as files, ThreadPoolExecutor(PARALLEL) as pool:
        found = dict(zip(names, pool.map(partial(_count, files), names), strict=True))
    for name in names:
        if name.startswith("request") and name != BASE:
            found[name] -= found[BASE]
    return {name: round(count) for name, count in found.items()}


def _count(files: Files, name: str) -> float:
    """What more rounds add, for one of them: the start of the process does not count."""
    _process(files, name, 0)  # leaves the byte code behind, so that both runs begin alike
    few, many = (_collected(files, name, rounds) for rounds in (FEW, MANY))
    print(f"{name} …", file=sys.stderr, flush=True)
    per_round = ROWS_READ if name.startswith("row") else 1
    return (many - few) / (MANY - FEW) / per_round


def _collected(files: Files, name: str, rounds: int) -> int:
    printed = _process(files, name, rounds, *CALLGRIND)
    found = re.search(r"Collected : (\d+)", printed)
    if not found:
        raise RuntimeError(f"{name}: callgrind counted nothing: {printed[-2000:]}")
    return int(found[1])


def _process(files: Files, name: str, rounds: int, *under: str) -> str:
    path = files.fresh()
    command = [*under, sys.executable, str(SCRIPT), name, str(rounds), str(path)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONHASHSEED"] = "0"
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    remove(path)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    return done.stderr


def _section(found: Mapping[str, int]) -> Section:
    tables = []
    for kind, caption in CAPTIONS.items():
        rows = [(n, SCENARIOS[n][0], count) for n, count in found.items() if n.startswith(kind)]
        tables.append(Table(caption, ("name", "what", "instructions"), rows))
    return Section("Instructions", TEXT, [table for table in tables if table.rows])


if __name__ == "__main__":
    main()
