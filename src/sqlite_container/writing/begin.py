"""BEGIN IMMEDIATE, while other processes may be writing, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from random import uniform
from time import monotonic, sleep

from ..sqlite.raw import execute, primary_code, run
from .contention import Contention

_BEGIN = "BEGIN IMMEDIATE"
_SLEPT = 0.0009
"""Seconds after which a BEGIN may have waited: SQLite's first pause is a millisecond."""
_SHORTEST, _LONGEST = 0.00004, 0.001
"""Seconds between two tries, on average: at first, and after a wait of 25 ms."""


def begin_immediate(
    connection: sqlite3.Connection,
    contention: Contention,
    timeout: float,
    gave_up: Callable[[], bool],
) -> None:
    """Begin a transaction that writes; only other processes can stand in the way.

    The caller holds the write lock of the file. Blocks for at most about ``timeout`` seconds, or
    until ``gave_up()``; then raises sqlite3's error. Any other exception, such as a signal
    handler's, may leave SQLite's own waiting switched off: the connection cannot be lent again.
    """
    began = monotonic()
    if contention.is_expected(began):
        _compete(connection, contention, began + timeout, gave_up)
        return
    run(connection, _BEGIN)
    now = monotonic()
    if now - began > _SLEPT:
        contention.suspect(now)


def _compete(
    connection: sqlite3.Connection,
    contention: Contention,
    deadline: float,
    gave_up: Callable[[], bool],
) -> None:
    """Try again and again, until the deadline.

    SQLite's own waiting is a table of ever longer pauses, which leaves some writers behind for
    long (https://www.sqlite.org/c3ref/busy_timeout.html). Here each pause is random, and short as
    long as the wait was short: most others write for less than a millisecond. SQLite's waiting is
    switched off meanwhile.
    """
    began = monotonic()
    on = f"PRAGMA busy_timeout = {round((deadline - began) * 1000)}"
    script = f"PRAGMA busy_timeout = 0; {_BEGIN}; {on}"
    try:
        while not _begins(connection, script, deadline, gave_up):
            script = f"{_BEGIN}; {on}"
            now = monotonic()
            contention.met(now)
            pause = min(max((now - began) / 25, _SHORTEST), _LONGEST)
            sleep(uniform(0.5, 1.5) * pause)
    except sqlite3.Error:
        execute(connection, on)
        raise


def _begins(
    connection: sqlite3.Connection, script: str, deadline: float, gave_up: Callable[[], bool]
) -> bool:
    try:
        run(connection, script)
    except sqlite3.OperationalError as error:
        passes = primary_code(error) == sqlite3.SQLITE_BUSY
        passes = passes and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT
        if not passes or monotonic() >= deadline or gave_up():
            raise
        return False
    return True
