"""Run the benchmarks and write ``docs/benchmarks.md``.

``--only NAME`` runs one of them (and writes nothing), ``--quick`` all of them in about two
minutes, with figures that say little.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from harness.measure import FULL, QUICK, Effort
from harness.report import show, write
from harness.report_parts import Section

BENCHMARKS = {
    "request": "request_time",
    "writers": "write_threads",
    "processes": "write_processes",
    "server": "real_server",
    "growth": "growth",
    "imports": "import_time",
    "close": "close_time",
}
DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Parse the options, run, print, write."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--only", choices=BENCHMARKS, help="run one, and do not write the report")
    parser.add_argument("--quick", action="store_true", help="run everything in about two minutes")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    names = [options.only] if options.only else list(BENCHMARKS)
    began = time.monotonic()
    sections = [_run(name, effort) for name in names]
    took = time.monotonic() - began
    if not options.only:
        write(sections, DOCS, took=took, quick=options.quick)
        print(f"\nWritten: {DOCS.name}/benchmarks.md, after {took / 60:.1f} minutes")


def _run(name: str, effort: Effort) -> Section:
    print(f"{name} …", file=sys.stderr, flush=True)
    section: Section = importlib.import_module(f"sections.{BENCHMARKS[name]}").run(effort)
    print(show(section), flush=True)
    return section


if __name__ == "__main__":
    main()
