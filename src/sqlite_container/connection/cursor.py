"""Cursors of a connection that has an owner."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from ..errors import NotYourConnection, SQLiteContainerError
from ..sqlite.statements import Kind, kinds
from .blob import Entrance
from .blocks import Blocks, Transactional
from .inside import Mark, entrances
from .lender import Lender


class StatementRunner(Entrance, Transactional, Protocol):
    """What a cursor needs of its connection: that, and what comes before and after a statement."""

    running: Mark | None
    thread: int
    timed: bool
    left_behind: bool
    lender: Lender
    blocks: Blocks
    cursors: Any

    def mark_again(self, mark: Mark) -> Mark:
        """Make another mark for the rows of a statement, in this thread."""
        ...

    def around(self) -> Mark | None:
        """Return the mark of what is running already; one that was left behind is taken back."""
        ...

    def prepare(self, kind: Kind | None, mark: Mark, parameters: Any = ()) -> int | None:
        """Take the write lock, begin a transaction: whatever the statement needs."""
        ...

    def failed(self, error: BaseException, mark: Mark, began_at: int | None = None) -> None:
        """Raise what says more than ``error``; put in order what it leaves."""
        ...

    def checked(self, parameters: Iterable[Any]) -> Iterable[Any]:
        """Watch over a transaction between two rows of ``executemany()``."""
        ...

    def in_a_block(self) -> bool:
        """Tell whether a ``with db:`` block goes on."""
        ...

    def run_in_block(self, cursor: Any, script: str) -> None:
        """Run a script statement by statement, within the transaction of the block."""
        ...


_SLOTS = ("_mark", "began", "kept", "writes")
_UNKNOWN: Mark = ("fetching rows", 0.0, 0, None)


class Cursor(sqlite3.Cursor):
    """A ``sqlite3.Cursor`` that says who is inside SQLite, and asks its connection before.

    The connection's own ``execute()`` and its kin open a cursor and call it, so these methods
    see every statement and every row. ``began`` is when it began to give rows, None if it has no
    more to give; ``writes`` whether its statement writes; ``kept`` whether the connection knows it,
    which it has to as soon as there are rows, or somebody has asked for the cursor itself.
    """

    __slots__ = _SLOTS

    if TYPE_CHECKING:
        connection: StatementRunner  # type: ignore[assignment]
        began: float | None
        kept: bool
        writes: bool
        _mark: Mark

    def prepare(self) -> None:
        """Set what a new cursor needs. Not in ``__init__()``: sqlite3 would call that slowly."""
        self._mark, self.began, self.writes, self.kept = _UNKNOWN, None, False, False

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        if not hasattr(self, "_mark"):
            self._prepare_late()
        return self._run(super().execute, kinds[sql], sql, parameters)

    def execute_first(self, sql: str, given: Any) -> Self:
        """Prepare and execute, for the connection's own ``execute()``."""
        self._mark, self.began, self.writes, self.kept = _UNKNOWN, None, False, False
        return self._run(super().execute, kinds[sql], sql, given)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        if not hasattr(self, "_mark"):
            self._prepare_late()
        kind = kinds[sql]
        return self._run(super().executemany, kind, sql, self.connection.checked(parameters))

    def executescript(self, script: str, /) -> Self:
        if not hasattr(self, "_mark"):
            self._prepare_late()
        connection, run_by_itself = self.connection, super().executescript

        def run(text: str, _: Any) -> None:
            if connection.in_a_block():  # asked here, when a block that is over has been undone
                connection.run_in_block(self, text)
            else:
                run_by_itself(text)

        return self._run(run, None, script, ())

    def _run(  # noqa: C901  (in one, for it was measured what the calls cost)
        self, call: Callable[..., object], kind: Kind | None, sql: str, given: Any
    ) -> Self:
        """Run a statement with the parameters that are given; ``kind`` is None for a script."""
        connection = self.connection
        outer = connection.running
        mark = sql, monotonic(), get_ident(), outer if outer is None else connection.around()
        stack = connection.blocks.stack
        goes_on = False  # a block, and with it the transaction
        began_at = None
        try:
            connection.enter(mark)
            if stack:
                if stack[-1].statement() is None or not connection.in_transaction:
                    connection.blocks.check(connection)
                goes_on = bool(stack)
            holder: object = connection.lender.write_lock.holder
            if kind is not Kind.READ and not (
                kind is Kind.CHANGE and stack and holder is connection
            ):
                began_at = connection.prepare(kind, mark, given)
            call(sql, given)
            self._mark = mark
            if self.description:
                if not self.kept:
                    self._be_known()
                self.began = mark[1]
                self.writes = kind is Kind.CHANGE or kind is Kind.WRITE
                if self.writes:
                    connection.cursors.add_writing(self)
            else:
                self.began, self.writes = None, False
            return self
        except BaseException as error:
            goes_on = False
            if not self.kept:
                self._be_known()
            connection.failed(error, mark, began_at)
            raise
        finally:
            if connection.running is mark:
                connection.running = mark[3]
            if not goes_on or connection.left_behind or mark[3] is not None:
                connection.leave()

    def _prepare_late(self) -> None:
        """Do what the connection does for others: it was made by its class."""
        self.prepare()
        self._be_known()

    def _be_known(self) -> None:
        self.connection.cursors.add(self)
        self.kept = True

    def fetchone(self) -> Any:
        row = self._fetch(super().fetchone)
        if row is None:
            self._has_ended()
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        size = self.arraysize if size is None else size
        rows: list[Any] = self._fetch(super().fetchmany, size)
        if len(rows) < size:
            self._has_ended()
        return rows

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._fetch(super().fetchall)
        self._has_ended()
        return rows

    def __next__(self) -> Any:
        try:
            return self._fetch(super().__next__)
        except StopIteration:
            self._has_ended()
            raise

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the rows; for each of them, say who is inside.

        A generator costs a row much less than a call of ``__next__()`` does, and what it does
        between two rows it does in line, for the same reason: see ``_fetch()``.
        """
        connection, next_row = self.connection, super().__next__
        timed = connection.timed
        while True:
            mark = self._mark
            if mark[2] != get_ident() or connection.running is not None:
                mark = connection.mark_again(mark)
            try:
                if connection.running is None and connection.thread == mark[2] and not timed:
                    connection.running = mark
                else:
                    connection.enter(mark)
                row = next_row()
            except StopIteration:
                self.began = None
                return
            except BaseException as error:
                self._failed(error, mark)
                raise
            finally:
                if connection.running is mark:
                    connection.running = mark[3]
                if connection.left_behind or self.writes:
                    connection.leave()
            yield row

    def _fetch(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call sqlite3, and say meanwhile who is inside.

        The mark of the statement serves as that of its rows, where the same thread fetches them.
        """
        connection, mark = self.connection, getattr(self, "_mark", _UNKNOWN)
        timed = connection.timed
        if mark[2] != get_ident() or connection.running is not None:
            mark = connection.mark_again(mark)
        try:
            # No call between this test and the store: no other thread can come between them.
            if connection.running is None and connection.thread == mark[2] and not timed:
                connection.running = mark
            else:
                connection.enter(mark)
            return call(*args)
        except StopIteration:
            raise
        except BaseException as error:
            self._failed(error, mark)
            raise
        finally:
            if connection.running is mark:
                connection.running = mark[3]  # type: ignore[index]
            if connection.left_behind or self.writes:
                connection.leave()

    def _failed(self, error: BaseException, mark: Mark) -> None:
        """Tell the connection; after an error of SQLite's own there are no more rows."""
        if isinstance(error, sqlite3.Error) and not isinstance(error, SQLiteContainerError):
            self.began = None
        self.connection.failed(error, mark)

    def close(self) -> None:
        self._fetch(super().close)
        self._has_ended()

    def _has_ended(self) -> None:
        """Note that there are no more rows; with them, the write lock may be free."""
        self.began = None
        if self.writes:
            self.connection.leave()


entrances |= {Cursor._run.__code__, Cursor._fetch.__code__, Cursor.__iter__.__code__}


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
    _run = _fetch = _refuse  # for a thread that had come into one of them before

    def close(self) -> None:
        """Do nothing: it is closed."""

    def _has_ended(self, *_: object) -> None:
        """Do nothing: the loan has ended while this cursor was fetching its last row."""

    _failed = _has_ended


class _ReturnedWithDict(ReturnedCursor):
    """The same for a class of the user's."""


@cache
def owned(factory: Any, base: type[Cursor]) -> Any:
    """Return the user's own cursor class, with the checks of ours in front of it."""
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
