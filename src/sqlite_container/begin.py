"""Beginning a transaction while other processes may be writing, too."""

from __future__ import annotations

import sqlite3
from random import uniform
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Connection

_SLEPT = 0.0009
"""Seconds after which a BEGIN has probably waited: SQLite's first pause is a millisecond."""
_SHORTEST, _LONGEST = 0.00004, 0.001
"""Seconds between two tries, on average: at first, and after a wait of 25 ms."""
_RIVALRY = 5.0
"""Seconds for which another process that was met is expected to go on writing."""


def raw(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """Execute without asking whose connection it is: for those who look after connections."""
    cursor = sqlite3.Cursor(connection)  # without the connection's row_factory
    try:
        return cursor.execute(sql, parameters)
    except BaseException:
        cursor.close()  # the traceback keeps it, and it would keep the file open
        raise


def begin(connection: Connection, sql: str) -> None:
    """Begin a transaction; the turn is held, so that only other processes stand in the way."""
    turn, began = connection.home.turn, monotonic()
    if turn.rivals > began:
        _compete(connection, sql, began)
    else:
        raw(connection, sql)
    now = monotonic()
    if now - began > _SLEPT:
        turn.rivals = now + _RIVALRY


def _compete(connection: Connection, sql: str, began: float) -> None:
    """Try again and again, for as long as ``busy_timeout``.

    SQLite's own waiting is a table of ever longer pauses, which leaves some behind for long.
    Here each pause is random, and short as long as the wait was short: most others write for
    less than a millisecond. Its waiting is off meanwhile, and set back after it.
    """
    deadline = began + connection.home.busy_timeout
    altered = connection.watch.altered
    raw(connection, "PRAGMA busy_timeout = 0")
    try:
        while not _begins(connection, sql, deadline):
            pause = (monotonic() - began) / 25
            sleep(uniform(0.5, 1.5) * min(max(pause, _SHORTEST), _LONGEST))
    finally:
        raw(connection, f"PRAGMA busy_timeout = {round(connection.home.busy_timeout * 1000)}")
        connection.watch.altered = altered


def _begins(connection: Connection, sql: str, deadline: float) -> bool:
    try:
        raw(connection, sql)
    except sqlite3.OperationalError as error:
        passes = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        passes = passes and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT
        if not passes or monotonic() >= deadline or connection.revoked:
            raise
        return False
    return True
