"""Call the function that an app has for each new connection: the setting ``on_connect``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any
from weakref import ref

from ..connection.borrower import ThreadBorrower
from ..connection.connection import Connection
from ..errors import DatabaseOpenError

Hook = Callable[[Any], object]


def introduce(connection: Connection, hook: Hook) -> None:
    """Let the function use a connection that is being opened, as if it had been lent to it.

    What it sets stays for the life of the connection. Raises :class:`DatabaseOpenError` if it
    fails, or leaves what the next borrower must not find.
    """
    borrower = ThreadBorrower(hook, ref(connection))
    is_new = connection.borrower is None  # after a fork it may be out already
    altered, changed = connection.altered, ""
    if is_new:
        connection.begin_loan(borrower)
    try:
        _attempt(connection, hook)
        changed = connection.attribute_changed()
    finally:
        uncommitted = connection.reset()
        if is_new:
            connection.end_loan()
    connection.altered = altered
    if changed:
        raise _error(
            hook,
            f"has set {changed}, which every borrower gets as configured; 'row_factory' and"
            " 'text_factory' are settings of their own, the others stay as they are",
        )
    if uncommitted:
        raise _left_open(hook)


def introduce_plain(connection: sqlite3.Connection, hook: Hook | None) -> None:
    """Call the function with a connection that a schema is applied on, or read from.

    Raises :class:`DatabaseOpenError` if it fails.
    """
    if hook is not None:
        _attempt(connection, hook)
        if connection.in_transaction:
            raise _left_open(hook)


def _attempt(connection: sqlite3.Connection, hook: Hook) -> None:
    try:
        hook(connection)
    except Exception as error:
        raise _error(hook, f"raised {type(error).__name__}: {error}") from error


def _left_open(hook: Hook) -> DatabaseOpenError:
    return _error(hook, "has left a transaction open; commit it, or write elsewhere")


def _error(hook: Hook, problem: str) -> DatabaseOpenError:
    return DatabaseOpenError(f"on_connect: {getattr(hook, '__qualname__', hook)} {problem}")
