"""SQLite's errors in words that name the database, the statement and the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from ..errors import (
    DatabaseBusy,
    ReadOnlyConnection,
    SQLiteContainerError,
    StatementInterrupted,
    StatementTimeout,
    TransactionError,
    TransactionLost,
    WriteDeadlock,
)
from ..sqlite.raw import primary_code
from ..sqlite.statements import shorten

E = TypeVar("E", bound=DatabaseBusy)

UNFINISHED = (
    "another statement of this connection has rows to give yet: fetch all of them, or close its"
    " cursor, before"
)
_TRUST = (
    "trusted_schema is off by default, so that a file from elsewhere cannot call functions; if"
    " your own triggers or views need it, set 'pragmas: {trusted_schema: true}'"
)


class Situation(NamedTuple):
    """What was going on when a statement failed. It is gathered on failure only."""

    database: str
    sql: str
    seconds: float
    read_only: bool
    closing: bool
    limit: float | None
    """``statement_timeout``, if the statement has reached it."""
    holder: str | None
    """Who of this process has the write lock, in words, if it is somebody else."""
    other_writers: list[str]
    """Who of this process has a transaction open without it."""
    unfinished: bool
    """Whether a statement of this connection that writes has rows to give yet."""

    @property
    def statement(self) -> str:
        """The database and the statement, as a message begins with them."""
        return f"database {self.database!r}: {shorten(self.sql)!r}"


def translate(error: sqlite3.Error, situation: Situation) -> sqlite3.Error | None:
    """Make a better error, with SQLite's code and name on it, or None if there is none."""
    better = _better(error, situation)
    if better is not None:
        better.sqlite_errorcode = error.sqlite_errorcode
        better.sqlite_errorname = error.sqlite_errorname
    return better


def _better(error: sqlite3.Error, situation: Situation) -> sqlite3.Error | None:
    code = primary_code(error)
    if code == sqlite3.SQLITE_BUSY:
        return _who_is_in_the_way(error, situation)
    if code == sqlite3.SQLITE_INTERRUPT:
        return _interrupted(situation)
    if code == sqlite3.SQLITE_READONLY and situation.read_only:
        return read_only(situation.database, situation.sql)
    if code == sqlite3.SQLITE_LOCKED:
        return type(error)(f"{situation.statement}: {error}; {UNFINISHED}")
    if code == sqlite3.SQLITE_ERROR and str(error).startswith("unsafe use of"):
        return type(error)(f"{error}; {_TRUST}")
    return None


def _who_is_in_the_way(error: sqlite3.Error, situation: Situation) -> sqlite3.Error:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return _snapshot(situation)
    return unfinished(situation) if situation.unfinished else busy(situation)


def read_only(database: str, sql: str) -> ReadOnlyConnection:
    """Say that a reader was to write."""
    return ReadOnlyConnection(
        f"database {database!r}: this connection only reads, and {shorten(sql)!r} writes; inject"
        " '.connection' instead of '.reader', or open the database with a mode that writes"
    )


def busy(situation: Situation) -> DatabaseBusy:
    """Say that somebody else writes for too long, and who, as far as that is known."""
    return _busy(
        DatabaseBusy,
        f"{situation.statement} waited {situation.seconds:.2f} s to write (busy_timeout);"
        f" {_who_writes(situation)}",
    )


def _who_writes(situation: Situation) -> str:
    if situation.holder is not None:
        return f"the write lock has {situation.holder}"
    if situation.other_writers:
        writers = "; ".join(situation.other_writers)
        return f"SQLite's lock may have who has a transaction open in this process: {writers}"
    return "another process, or a connection that is none of this package's, has the file locked"


def deadlock(situation: Situation, *, thread: str, is_own: bool) -> WriteDeadlock:
    """Say that waiting would never end."""
    if is_own:
        return _busy(
            WriteDeadlock,
            f"{situation.statement} would wait for ever: this thread, {thread!r}, is writing to the"
            " same file already, through another connection; use that one, or let both write in"
            " 'with database.transaction() as db:', which joins the transaction that is open",
        )
    return _busy(
        WriteDeadlock,
        f"{situation.statement} would wait for ever: the write lock has {situation.holder}, who"
        " waits for a write lock that is held here; write to several databases in the same order"
        " everywhere",
    )


def lost(database: str) -> TransactionLost:
    """Say that SQLite has rolled back the transaction of a block."""
    return TransactionLost(
        f"database {database!r}: SQLite rolled back the transaction of this 'with db:' block when"
        " one of its statements failed or was interrupted, and that error was caught inside;"
        " nothing of the block is stored"
    )


def unfinished(situation: Situation) -> TransactionError:
    """Say that the connection's own statement stands in the way."""
    return TransactionError(
        f"{situation.statement}: rows of a statement of this connection that writes have not been"
        " fetched (or a blob that can be written is open), and SQLite waits for that: fetch all"
        " rows of the RETURNING, or close its cursor, before"
    )


def inside_a_block(database: str, sql: str) -> TransactionError:
    """Say that a block's transaction is not to be ended inside it."""
    return TransactionError(
        f"database {database!r}: {shorten(sql)!r} inside a 'with db:' block would break it in two:"
        " the block itself commits at its end, and rolls back if it raises; leave the call out, or"
        " use no block around it. Nothing was changed"
    )


def cut_short(error: object, lenders: Iterable[_Closable]) -> StatementInterrupted | None:
    """Return what an interrupted query means, if its database is closing.

    Of an error of sqlite3's that did not pass through a cursor of ours.
    """
    if isinstance(error, SQLiteContainerError) or primary_code(error) != sqlite3.SQLITE_INTERRUPT:
        return None
    for lender in lenders:
        if lender.closing:
            return StatementInterrupted(
                f"database {lender.name!r}: a query was interrupted while its rows were"
                " fetched, because the database is closing"
            )
    return None


class _Closable(Protocol):
    name: str
    closing: bool


def _snapshot(situation: Situation) -> DatabaseBusy:
    return _busy(
        DatabaseBusy,
        f"{situation.statement} came after a read in one transaction, and somebody else"
        " has written since; begin with 'with db:' what reads and then writes",
    )


def _busy(kind: type[E], message: str) -> E:
    error = kind(message)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    return error


def _interrupted(situation: Situation) -> sqlite3.Error | None:
    if situation.closing:
        return StatementInterrupted(
            f"{situation.statement} was interrupted, because the database is closing"
        )
    if situation.limit is not None:
        return StatementTimeout(
            f"{situation.statement} ran longer than statement_timeout, {situation.limit:g} s"
        )
    return None
