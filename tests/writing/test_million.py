"""A counter that several processes and threads increment at the same time, up to a million."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from common.databases import files, in_thread, plain
from sqlite_container import Database

PROCESSES = 3
INCREMENTS = int(os.environ.get("INCREMENTS", "100_000"))
"""How many in total; INCREMENTS=1000000 makes it a million."""
UPDATE = "UPDATE counter SET n = n + 1"
LONG = 600.0
"""Seconds that nobody ever waits, so that every error is one."""


def with_loans(database: Database, times: int) -> None:
    """A connection for each increment."""
    for _ in range(times):
        with database.transaction() as db:
            db.execute(UPDATE)


def with_blocks(database: Database, times: int) -> None:
    """One connection, and a block for each increment."""
    with database.connection() as db:
        for _ in range(times):
            with db:
                db.execute(UPDATE)


def with_commits(database: Database, times: int) -> None:
    """One connection, and what has never heard of blocks."""
    with database.connection() as db:
        for _ in range(times):
            db.execute(UPDATE)
            db.commit()


WAYS: list[Callable[[Database, int], None]] = [with_loans, with_blocks, with_commits]


def increment(file: str, times: int) -> list[str]:
    """In a process of its own: one thread for each way. Returns what was raised."""
    database = Database("counter")
    pool = {"max_size": len(WAYS), "timeout": LONG, "leak_threshold": None}
    database.open({"path": file, "pool": pool, "busy_timeout": LONG, "synchronous": "off"})
    futures = [in_thread(partial(way, database, times), way.__name__) for way in WAYS]
    errors = [future.exception(LONG) for future in futures]
    database.close()
    return [repr(error) for error in errors if error is not None]


@pytest.mark.slow
@pytest.mark.timeout(120 + INCREMENTS / 1000)
def test_a_million_increments_end_in_the_right_sum(tmp_path: Path) -> None:
    """However threads and processes compete, no increment is lost, and none is an error."""
    file = tmp_path / "counter.db"
    with plain(file) as connection:
        connection.execute("CREATE TABLE counter (n)")
        connection.execute("INSERT INTO counter VALUES (0)")
    times = INCREMENTS // (PROCESSES * len(WAYS))
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as processes:
        errors = list(processes.map(increment, [str(file)] * PROCESSES, [times] * PROCESSES))
    with plain(file) as connection:
        (total,) = connection.execute("SELECT n FROM counter").fetchone()
    assert errors == [[]] * PROCESSES
    assert total == times * PROCESSES * len(WAYS)
    assert files(tmp_path) == {"counter.db"}
