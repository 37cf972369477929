"""Run a statement on a handle, whoever owns the connection."""

from __future__ import annotations

import sqlite3
from typing import Any


def execute(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """Execute without asking who owns the connection, and without its ``row_factory``."""
    cursor = sqlite3.Cursor(connection)
    try:
        return cursor.execute(sql, parameters)
    except BaseException:
        cursor.close()  # the traceback keeps it, and it would keep the file open
        raise


def run(connection: sqlite3.Connection, script: str) -> None:
    """Run statements that return no rows, and wait only once for the interpreter's lock after each.

    After ``execute()`` a thread waits for it twice: when the statement has run, and when it is
    reset. Among busy threads that is long, for everybody in the write queue as well.
    """
    sqlite3.Cursor(connection).executescript(script)


def primary_code(error: object) -> int:
    """Return SQLite's primary result code, such as ``SQLITE_BUSY``; 0 if it is not SQLite's error.

    https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended_result_codes
    """
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
