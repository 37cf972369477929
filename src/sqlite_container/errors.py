"""What can go wrong, in the caller's words.

Every error has one base, :class:`SQLiteContainerError`, and is also the builtin or ``sqlite3``
error that code written for the standard library already catches.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


class SQLiteContainerError(Exception):
    """Base of everything that this package raises."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong setting: where it stands, and what is wrong with it."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class ConfigurationError(SQLiteContainerError, ValueError):
    """Settings that cannot be used; :attr:`mistakes` lists every one of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in self.mistakes[:_MOST]]
        if len(self.mistakes) > _MOST:
            lines.append(f"and {len(self.mistakes) - _MOST} more")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[tuple[Mistake, ...]]]:
        return type(self), (self.mistakes,)


class UnknownDatabase(SQLiteContainerError, KeyError):
    """There is no database of that name. The message names no other: a client may see it."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would print the repr of the message


class DatabaseOpenError(SQLiteContainerError, sqlite3.OperationalError):
    """The database could not be opened as configured."""


class SchemaError(DatabaseOpenError):
    """The schema file failed; nothing of it is in the database."""


class DatabaseClosed(SQLiteContainerError, sqlite3.ProgrammingError):
    """The database is closed, is closing, or was never opened."""


class StatementInterrupted(SQLiteContainerError, sqlite3.OperationalError):
    """A statement was still running when its database had to close."""


class StatementTimeout(SQLiteContainerError, sqlite3.OperationalError, TimeoutError):
    """A statement ran longer than ``statement_timeout``."""


class PoolTimeout(SQLiteContainerError, sqlite3.OperationalError, TimeoutError):
    """No connection came free within ``pool.timeout``."""


class TooManyRequests(SQLiteContainerError, sqlite3.OperationalError):
    """``pool.max_waiting`` are waiting already, or ``pool.max_streaming`` stream already."""


class DatabaseBusy(SQLiteContainerError, sqlite3.OperationalError):
    """Somebody else was writing for longer than ``busy_timeout``."""


class WriteDeadlock(DatabaseBusy):
    """Waiting for the write lock would never end: a mistake in the program, never a busy moment."""


class DatabaseReplaced(SQLiteContainerError, sqlite3.OperationalError):
    """The file was deleted, moved or replaced while its database was open; nothing is written."""


class TransactionError(SQLiteContainerError, sqlite3.ProgrammingError):
    """A transaction is to begin or to end where that would break a ``with db:`` block."""


class TransactionLost(SQLiteContainerError, sqlite3.OperationalError):
    """SQLite has rolled back the transaction of a ``with db:`` block; nothing of it is stored."""


class ReadOnlyConnection(SQLiteContainerError, sqlite3.OperationalError):
    """A write through a connection that only reads."""


class NotYourConnection(SQLiteContainerError, sqlite3.ProgrammingError):
    """A connection is used by somebody who does not, or no longer, hold it."""


class OutsideAppContext(SQLiteContainerError, RuntimeError):
    """A connection was asked for where no app context could ever give it back."""


class WiringError(SQLiteContainerError, TypeError):
    """A view would receive a marker, or another object than it asked for."""


class UncommittedWarning(RuntimeWarning):
    """A transaction was still open when its connection went back: it was rolled back."""


class LeakWarning(RuntimeWarning):
    """A connection is out for longer than it should be, or its borrower is gone."""


UNAVAILABLE = (PoolTimeout, TooManyRequests, DatabaseBusy, DatabaseClosed, StatementInterrupted)
"""Errors that pass by themselves: a web application answers them with 503 and ``Retry-After``."""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known word, or a list of them if few."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5) if len(known) < 200 else ()
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known are: {', '.join(sorted(known))}" if 0 < len(known) <= _MOST else ""


_MOST = 30
"""More lines, or names, than that tell nobody anything."""


def found(value: object) -> str:
    """Return ``found …`` with what stands in the place of something else, cut where it is long."""
    text = repr(value)
    return f"found {text}" if len(text) <= _LONG else f"found {text[:_LONG]}…"


_LONG = 100
