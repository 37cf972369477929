"""From ``close()`` to closed, with 8 slow queries running."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from statistics import median
from time import perf_counter

from harness.measure import Effort, Files, temporary_files
from harness.report_parts import Section, Table, at_most
from sqlite_container import Database

QUERIES = 8
_SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
    " SELECT count(*) FROM n"
)
TEXT = (
    "Eight threads run a query that would take minutes. Measured is how long `Database.close()`"
    " takes, after which no connection is open and no `-wal` file is left."
)


def run(effort: Effort) -> Section:
    """Measure a few closes."""
    with temporary_files() as files:
        found = [_once(files) for _ in range(3 if effort.quick else 7)]
    times = [took for took, _ in found]
    left = sum(wal for _, wal in found)
    rows = [("median", round(median(times), 3)), ("longest", round(max(times), 3))]
    table = Table("close() with 8 slow queries", ("figure", "seconds"), rows)
    goals = [
        at_most("close with 8 slow queries running", median(times), 0.3, " s"),
        at_most("-wal files left", left, 0),
    ]
    return Section("Close", TEXT, [table], [], goals)


def _once(files: Files) -> tuple[float, bool]:
    path = files.fresh()
    database = Database("bench")
    database.open({"path": str(path)})
    threads = [threading.Thread(target=_query, args=(database,)) for _ in range(QUERIES)]
    for thread in threads:
        thread.start()
    _wait_until_all_run(database)
    began = perf_counter()
    database.close()
    took = perf_counter() - began
    for thread in threads:
        thread.join()
    return took, Path(f"{path}-wal").exists()


def _query(database: Database) -> None:
    try:
        with database.reader() as db:
            db.execute(_SLOW).fetchone()
    except sqlite3.Error:
        return  # interrupted, as it should be
    raise AssertionError("the slow query was not slow enough")


def _wait_until_all_run(database: Database) -> None:
    deadline = time.monotonic() + 30
    while sum(holder.statement is not None for holder in database.holders()) < QUERIES:
        if time.monotonic() > deadline:
            raise RuntimeError("the slow queries did not start")
        time.sleep(0.01)
    time.sleep(0.3)
