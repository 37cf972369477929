"""Cursors of a connection that has an owner."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ..errors import NotYourConnection

if TYPE_CHECKING:
    from .connection import Connection


_SLOTS = ("_sql", "began")


class Cursor(sqlite3.Cursor):
    """A ``sqlite3.Cursor`` whose statements go through its connection's owner and turn.

    The connection's own ``execute()`` and its kin open a cursor and call it, so these three
    methods see every statement. Iteration is left to sqlite3: a Python call for each row would
    cost half of the row again.
    """

    __slots__ = _SLOTS

    if TYPE_CHECKING:
        connection: Connection  # pyright: ignore[reportIncompatibleMethodOverride]
        began: float | None
        """When it began to give rows; None, or not set, if it has no more to give."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        connection = self.connection
        connection._before(sql)
        try:
            super().execute(sql, parameters)
            self._executed()
            return self
        except BaseException as error:
            connection._fail(error, sql)
            raise
        finally:
            connection._after()

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        connection = self.connection
        connection._before(sql)
        try:
            super().executemany(sql, parameters)
            self._executed()
            return self
        except BaseException as error:
            connection._fail(error, sql)
            raise
        finally:
            connection._after()

    def executescript(self, script: str, /) -> Self:
        connection = self.connection
        connection._before_script(script)
        try:
            super().executescript(script)
            self._executed()
            return self
        except BaseException as error:
            connection._fail(error, script)
            raise
        finally:
            connection._after()

    def _executed(self) -> None:
        """Note since when it gives rows, if it does."""
        if not hasattr(self, "began"):  # made by its class: Connection.cursor() sets it
            self.connection.children.add(self)
        self.began = monotonic() if self.description else None

    def fetchone(self) -> Any:
        try:
            row = super().fetchone()
        except sqlite3.Error as error:
            self.connection._fail(error, "fetching rows")
            raise
        if row is None:
            self.began = None
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        size = self.arraysize if size is None else size
        try:
            rows: list[Any] = super().fetchmany(size)
        except sqlite3.Error as error:
            self.connection._fail(error, "fetching rows")
            raise
        if len(rows) < size:
            self.began = None
        return rows

    def fetchall(self) -> list[Any]:
        try:
            rows: list[Any] = super().fetchall()
        except sqlite3.Error as error:
            self.connection._fail(error, "fetching rows")
            raise
        self.began = None
        return rows


class TimedCursor(Cursor):
    """A cursor that is also watched while it fetches, for ``statement_timeout``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _sql: str

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        self._sql = sql
        return super().execute(sql, parameters)

    def fetchone(self) -> Any:
        return self._timed(super().fetchone)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        rows: list[Any] = self._timed(super().fetchmany, size)
        return rows

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._timed(super().fetchall)
        return rows

    def __next__(self) -> Any:
        return self._timed(super().__next__)

    def _timed(self, fetch: Any, *args: Any) -> Any:
        connection, sql = self.connection, getattr(self, "_sql", "fetching rows")
        connection._enter(sql)
        connection.fetching = True
        try:
            return fetch(*args)
        except BaseException as error:
            connection._fail(error, sql)
            raise
        finally:
            connection.fetching = False
            connection._after()


class ReturnedCursor(sqlite3.Cursor):
    """What a cursor becomes when its connection goes back: closed, and able to say why."""

    __slots__ = _SLOTS  # as in the class that it takes the place of, or Python would refuse

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise NotYourConnection(
            "this cursor belongs to a connection that went back to its database at the end of"
            " the request (or of the with block) that had it; fetch the rows before, or ask"
            " for a connection of your own"
        )

    execute = executemany = executescript = _refuse
    fetchone = fetchmany = fetchall = __next__ = _refuse


class _ReturnedWithDict(ReturnedCursor):
    """The same for a class of the user's."""


@cache
def owned(factory: Any, base: type[Cursor]) -> Any:
    """The user's own cursor class, with the checks of ours in front of it."""
    if not isinstance(factory, type) or issubclass(factory, base):
        return factory
    if factory in (sqlite3.Cursor, Cursor):
        return base
    return type(factory.__name__, (base, factory), {})


def turn_into_returned(child: Any) -> None:
    """Let a cursor that somebody kept say why it gives no rows any more."""
    if isinstance(child, sqlite3.Cursor):
        with suppress(TypeError):  # a class of the user's with slots of its own
            child.__class__ = _ReturnedWithDict if hasattr(child, "__dict__") else ReturnedCursor
