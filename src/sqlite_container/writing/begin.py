"""BEGIN IMMEDIATE, while other processes may be writing, too."""

from __future__ import annotations

import sqlite3
from random import uniform
from time import monotonic, sleep
from typing import Any, Protocol

from ..sqlite.raw import execute, primary_code, run
from .contention import Contention
from .write_lock import Writer

_BEGIN = "BEGIN IMMEDIATE"
_SLEPT = 0.0009
"""Seconds after which a BEGIN may have waited: SQLite's first pause is a millisecond."""
_SHORTEST, _LONGEST = 0.00004, 0.001
"""Seconds between two tries, on average: at first, and after a wait of 25 ms."""


class Competitor(Writer, Protocol):
    """A connection that begins to write."""

    altered: str | None  # why it cannot be lent again, if it cannot


def begin_immediate(connection: Any, contention: Contention, timeout: float, began: float) -> None:
    """Begin a transaction that writes; only other processes can stand in the way.

    The caller holds the write lock of the file, and calls at the moment ``began``. Blocks for at
    most about ``timeout`` seconds, or until the connection has given up; then raises sqlite3's
    error.
    """
    if (contention.probes or began < contention.expected_until) and contention.is_expected(began):
        _compete(connection, contention, began + timeout)
        return
    sqlite3.Cursor(connection).executescript(_BEGIN)  # as run() does, which see
    now = monotonic()
    if now - began > _SLEPT:
        contention.suspect(now)


def _compete(connection: Any, contention: Contention, deadline: float) -> None:
    """Try again and again, until the deadline.

    SQLite's own waiting is a table of ever longer pauses, which leaves some writers behind for
    long (https://www.sqlite.org/c3ref/busy_timeout.html). Here each pause is random, and short as
    long as the wait was short: most others write for less than a millisecond. SQLite's waiting is
    switched off meanwhile. An exception of a signal handler may leave it so: then the connection
    cannot be lent again.
    """
    competitor: Competitor = connection
    altered, competitor.altered = competitor.altered, "PRAGMA busy_timeout"
    try:
        _try_again(connection, contention, deadline)
    except sqlite3.Error:
        competitor.altered = altered
        raise
    competitor.altered = altered


def _try_again(connection: Any, contention: Contention, deadline: float) -> None:
    began = monotonic()
    on = f"PRAGMA busy_timeout = {round((deadline - began) * 1000)}"
    script = f"PRAGMA busy_timeout = 0; {_BEGIN}; {on}"
    try:
        while not _begins(connection, script, deadline):
            script = f"{_BEGIN}; {on}"
            now = monotonic()
            contention.met(now)
            pause = min(max((now - began) / 25, _SHORTEST), _LONGEST)
            sleep(uniform(0.5, 1.5) * pause)
    except sqlite3.Error:
        execute(connection, on)
        raise


def _begins(connection: Any, script: str, deadline: float) -> bool:
    try:
        run(connection, script)
    except sqlite3.OperationalError as error:
        passes = primary_code(error) == sqlite3.SQLITE_BUSY
        passes = passes and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT
        if not passes or monotonic() >= deadline or connection.gave_up():
            raise
        return False
    return True
