"""Beginning a transaction while other processes may be writing, too."""

from __future__ import annotations

import sqlite3
from random import uniform
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ..errors import primary_code

if TYPE_CHECKING:
    from ..connection.connection import Connection

_BEGIN = "BEGIN IMMEDIATE"
_SLEPT = 0.0009
"""Seconds after which a BEGIN may have waited: SQLite's first pause is a millisecond."""
_SHORTEST, _LONGEST = 0.00004, 0.001
"""Seconds between two tries, on average: at first, and after a wait of 25 ms."""


def raw(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """Execute without asking whose connection it is: for those who look after connections."""
    cursor = sqlite3.Cursor(connection)  # without the connection's row_factory
    try:
        return cursor.execute(sql, parameters)
    except BaseException:
        cursor.close()  # the traceback keeps it, and it would keep the file open
        raise


def begin(connection: Connection) -> None:
    """BEGIN IMMEDIATE; the turn is held, so that only other processes stand in the way."""
    rivals, began = connection.home.turn.rivals, monotonic()
    if rivals.expected(began):
        _compete(connection, began)
        return
    _run(connection, _BEGIN)
    now = monotonic()
    if now - began > _SLEPT:
        rivals.suspect(now)


def _compete(connection: Connection, began: float) -> None:
    """Try again and again, for as long as ``busy_timeout``.

    SQLite's own waiting is a table of ever longer pauses, which leaves some behind for long.
    Here each pause is random, and short as long as the wait was short: most others write for
    less than a millisecond. Its waiting is off meanwhile, and set back after it; where that
    fails, the connection counts as altered, and is replaced.
    """
    deadline = began + connection.home.busy_timeout
    off = "PRAGMA busy_timeout = 0"
    on = f"PRAGMA busy_timeout = {round(connection.home.busy_timeout * 1000)}"
    altered, connection.watch.altered = connection.watch.altered, "PRAGMA busy_timeout"
    script = f"{off}; {_BEGIN}; {on}"
    try:
        while not _begins(connection, script, deadline):
            script = f"{_BEGIN}; {on}"
            now = monotonic()
            connection.home.turn.rivals.met(now)
            pause = min(max((now - began) / 25, _SHORTEST), _LONGEST)
            sleep(uniform(0.5, 1.5) * pause)
    except sqlite3.Error:
        raw(connection, on)
        connection.watch.altered = altered
        raise
    connection.watch.altered = altered


def _begins(connection: Connection, script: str, deadline: float) -> bool:
    try:
        _run(connection, script)
    except sqlite3.OperationalError as error:
        passes = primary_code(error) == sqlite3.SQLITE_BUSY
        passes = passes and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT
        if not passes or monotonic() >= deadline or connection.revoked:
            raise
        return False
    return True


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run statements that return nothing, and wait once for the interpreter's lock after each.

    After ``execute`` it is twice, when a statement has run and when it is reset. Among busy
    threads that is long, for whoever waits for the turn as well.
    """
    sqlite3.Cursor(connection).executescript(script)
