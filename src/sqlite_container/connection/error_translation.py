"""SQLite's errors in words that name the database, the statement and the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from threading import current_thread
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import (
    DatabaseBusy,
    ReadOnlyConnection,
    SQLiteContainerError,
    StatementInterrupted,
    StatementTimeout,
    TransactionLost,
    primary_code,
)
from .borrower import shorten

UNFINISHED = (
    "another statement of this connection has rows to give yet: fetch all of them, or close its"
    " cursor, before"
)
TRUST = (
    "trusted_schema is off by default, so that a file from elsewhere cannot call functions; if"
    " your own triggers or views need it, set 'pragmas: {trusted_schema: true}'"
)

if TYPE_CHECKING:
    from .connection import Connection


def explain(
    connection: Connection, error: sqlite3.Error, sql: str, began: float
) -> sqlite3.Error | None:
    """A better error, with SQLite's code and name on it, or None if there is none."""
    better = _better(connection, error, sql, began)
    if better is not None:
        better.sqlite_errorcode = error.sqlite_errorcode
        better.sqlite_errorname = error.sqlite_errorname
    return better


def _better(
    connection: Connection, error: sqlite3.Error, sql: str, began: float
) -> sqlite3.Error | None:
    match primary_code(error):
        case sqlite3.SQLITE_BUSY if error.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return _snapshot(connection, sql)
        case sqlite3.SQLITE_BUSY:
            return busy(connection, sql, began)
        case sqlite3.SQLITE_LOCKED:
            better = f"{_statement(connection, sql)}: {error}; {UNFINISHED}"
        case sqlite3.SQLITE_INTERRUPT:
            return _interrupted(connection, sql, began)
        case sqlite3.SQLITE_READONLY if connection.read_only:
            return ReadOnlyConnection(
                f"database {connection.home.name!r}: this connection only reads, and"
                f" {shorten(sql)!r} writes; inject '.connection' instead of '.reader', or open"
                " the database with a mode that writes"
            )
        case sqlite3.SQLITE_ERROR if str(error).startswith("unsafe use of"):
            better = f"{error}; {TRUST}"
        case _:
            return None
    return type(error)(better)


def cut_short(error: object, connections: Iterable[Connection]) -> StatementInterrupted | None:
    """What an error means that a plain ``for row in cursor`` raised, if closing was the cause.

    Fetching one row after the other is left to sqlite3, which only says "interrupted". So its
    error is put into words where it passes next.
    """
    if isinstance(error, SQLiteContainerError) or primary_code(error) != sqlite3.SQLITE_INTERRUPT:
        return None
    for connection in connections:
        if connection.home.closing:
            return StatementInterrupted(
                f"database {connection.home.name!r}: a query was interrupted while its rows were"
                " fetched, because the database is closing"
            )
    return None


def busy(connection: Connection, sql: str, began: float) -> DatabaseBusy:
    """Somebody else writes for too long."""
    waited = monotonic() - began
    return _busy(
        f"{_statement(connection, sql)} waited {waited:.2f} s for its turn to write (busy_timeout),"
        f" which has {_writer(connection)}"
    )


def deadlock(connection: Connection, sql: str) -> DatabaseBusy:
    """Waiting would never end."""
    if connection.home.turn.is_held_here():
        return _busy(
            f"{_statement(connection, sql)} would wait for ever: this thread,"
            f" {current_thread().name!r}, is writing to the same file already, through another"
            " connection; use that one"
        )
    return _busy(
        f"{_statement(connection, sql)} would wait for ever: the turn to write has"
        f" {_writer(connection)}, who waits for a turn that is held here; write to several"
        " databases in the same order everywhere"
    )


def lost(connection: Connection) -> TransactionLost:
    """A block reached its end, but not its transaction."""
    return TransactionLost(
        f"database {connection.home.name!r}: SQLite rolled back the transaction of this 'with db:'"
        " block when one of its statements failed, and that error was caught inside; nothing of"
        " the block is stored"
    )


def _snapshot(connection: Connection, sql: str) -> DatabaseBusy:
    return _busy(
        f"{_statement(connection, sql)} came after a read in one transaction, and somebody else"
        " has written since; begin with 'with db:' what reads and then writes"
    )


def _busy(message: str) -> DatabaseBusy:
    error = DatabaseBusy(message)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    return error


def _interrupted(connection: Connection, sql: str, began: float) -> sqlite3.Error | None:
    limit = connection.home.statement_timeout
    if connection.home.closing:
        return StatementInterrupted(
            f"{_statement(connection, sql)} was interrupted, because the database is closing"
        )
    if limit is not None and monotonic() - began >= limit:
        return StatementTimeout(
            f"{_statement(connection, sql)} ran longer than statement_timeout, {limit:g} s"
        )
    return None


def _statement(connection: Connection, sql: str) -> str:
    return f"database {connection.home.name!r}: {shorten(sql)!r}"


def _writer(connection: Connection) -> str:
    writer = connection.home.turn.holder
    if writer is None or writer is connection:
        return "another process"
    borrower = getattr(writer, "borrower", None)
    return f"thread {borrower.thread.name!r}" if borrower else "a connection that just went back"
