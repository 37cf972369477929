"""A connection that has an owner: who may use it, when it writes, how it is handed back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from . import turn
from .begin import begin, raw
from .borrower import Borrower
from .children import Children
from .cursor import Cursor, owned
from .errors import DatabaseClosed, NotYourConnection
from .explain import busy, deadlock, explain, lost
from .guards import ISOLATION_LEVEL, ROW_FACTORY, TEXT_FACTORY, guard
from .home import Home
from .inherit import keep_for_ever
from .statements import Kind, kind_of
from .watch import Watch


class Connection(sqlite3.Connection):
    """A ``sqlite3.Connection`` that belongs to one borrower at a time.

    It differs from its base class in this: a transaction that writes begins IMMEDIATE and
    waits in the fair queue of its file; ``with connection:`` begins the transaction that it
    ends, and nested it is a savepoint; and whoever does not hold the connection, or no longer,
    gets :class:`NotYourConnection`.

    ``thread`` is the thread that may use it without further questions.
    """

    borrower: Borrower | None = None
    running: tuple[str, float] | None = None
    """The statement that runs now, and since when; None between statements."""
    fetching = False
    """Whether it runs only to give its next rows, as far as that is known."""
    read_only = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.home = Home("unknown", turn.Turn())
        self.watch = Watch()
        self.born = monotonic()
        self.borrower = None
        self.thread = 0
        self.running = None
        self.fetching = False
        self.read_only = False
        self.closed = False
        self.parked = False  # the handle was closed for a fork; the next use opens another one
        self.foreign = False  # whether it was inherited from the process that forked this one
        self.touched = True  # an attribute of sqlite3's may be another than configured
        self.revoked = ""  # why it refuses every use, if it does
        self._began_at: int | None = None  # total_changes when one statement began a transaction
        self._outside = 0.0  # when the last statement began outside of a transaction
        self._in_block = False  # whether the statement that runs is in a block's transaction
        self._block_is_lost = False
        self._current: Callable[[None], object] = lambda _: None
        self._expected: Callable[[], object] = lambda: None
        self._blocks: list[str] = []
        self.children = Children()
        self._cursor_class: type[Cursor] = Cursor
        self._attributes = len(vars(self)) + 1
        super().__init__(*args, **kwargs)

    # -- who holds it -------------------------------------------------------------------

    def lend(self, borrower: Borrower) -> None:
        """Make ``borrower`` the owner."""
        self._current = borrower.current
        self._expected = borrower.expected
        self.borrower = borrower
        self.thread = get_ident()

    def take_back(self) -> bool:
        """End the loan: finish cursors, roll back, restore. Tell whether a transaction was open.

        Afterwards the former borrower can do nothing with it. ``usable`` tells whether the
        next one can have it.
        """
        self.borrower, self.thread, self.running = None, 0, None
        uncommitted = False
        try:
            if not self.closed and not self.parked:
                self.children.finish()
                uncommitted = self.in_transaction
                if uncommitted:
                    sqlite3.Connection.rollback(self)
                self.restore()
            return uncommitted
        finally:
            self._blocks.clear()
            self._block_is_lost = False
            if self.home.turn.holder is self:
                self.home.turn.release(self)

    @property
    def usable(self) -> bool:
        """Whether nothing has changed that the next borrower could notice."""
        return self.watch.altered is None and not self.closed and not self.parked

    def revoke(self, why: str) -> None:
        """Refuse every further use, by the borrower too; what runs at this moment goes on."""
        self.revoked = why
        self.thread = 0

    def park(self) -> bool:
        """Give up the handle before a fork, if nothing is open on it. Tell whether it is gone.

        Called by the thread that forks. Whoever uses the connection says so first and looks at
        ``parked`` then; here it is the other way round. So one of the two always sees the other.
        """
        if not self.closed and not self.parked:
            self.parked = True
            if self.running or self.in_transaction or self.children.living():
                self.parked = False
            else:
                with self.home.turn.closing:
                    sqlite3.Connection.close(self)
        return self.closed or self.parked

    def inherited(self) -> None:
        """In a forked child: refuse every use, and never be closed, rolled back or finalized."""
        self.revoke(
            f"this connection to database {self.home.name!r} was opened before this process was"
            " forked; only the parent may use it, ask for a connection of your own"
        )
        self.borrower = None
        self.foreign = True
        keep_for_ever(self)
        self.children.inherited()

    def _check(self) -> None:
        if self.thread != get_ident() or self._current(None) is not self._expected():
            self._admit()

    def _enter(self, sql: str) -> None:
        """Begin to use the handle; ``_after`` ends it."""
        if self.thread != get_ident() or self._current(None) is not self._expected():
            self._admit()
        self.running = began = (sql, monotonic())
        while self.parked:
            self.running = None
            self.home.reopen(self)
            self.running = began
        if not self._in_transaction():
            self._outside = began[1]
        elif self._blocks:
            self._in_block = True

    def _in_transaction(self) -> bool:
        try:
            return self.in_transaction
        except sqlite3.ProgrammingError:  # closed
            self.running = None
            raise

    def _admit(self) -> None:
        """Another thread, or another context: let in whoever runs for the borrower."""
        borrower = self.borrower
        if self.revoked:
            raise (DatabaseClosed if self.home.closing else NotYourConnection)(self.revoked)
        if borrower is None:
            self._refuse(
                "it went back at the end of the request, or of the with block, that had it"
            )
        elif not borrower.may_use_it_here():
            self._refuse("it is out to another thread or another app context")
        elif self.running is not None:
            self._refuse("another thread of its request is using it at this moment")
        self.thread = get_ident()

    def _refuse(self, why: str) -> NoReturn:
        raise NotYourConnection(
            f"this connection to database {self.home.name!r} is not yours to use: {why}; ask for a"
            " connection where you need one, and do not keep it"
        )

    # -- cursors and blobs --------------------------------------------------------------

    def use_cursor(self, cursor_class: type[Cursor]) -> None:
        """The class of the cursors to come."""
        self._cursor_class = cursor_class

    def cursor(self, factory: Any = None) -> Any:  # of the factory's class, if one is given
        self._check()
        base = self._cursor_class
        return self._new_cursor(base if factory is None else owned(factory, base))

    def _new_cursor(self, factory: Any) -> Any:
        try:
            cursor = super().cursor(factory)
        except sqlite3.ProgrammingError:
            if not self.parked:
                raise
            self._check()
            self.home.reopen(self)
            cursor = super().cursor(factory)
        if not isinstance(cursor, Cursor):
            self.children.add(cursor)
        return cursor

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: Cursor = self._new_cursor(self._cursor_class)
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        cursor: Cursor = self._new_cursor(self._cursor_class)
        return cursor.executemany(sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        cursor: Cursor = self._new_cursor(self._cursor_class)
        return cursor.executescript(script)

    def blobopen(
        self, table: str, column: str, row: int, /, *, readonly: bool = False, name: str = "main"
    ) -> sqlite3.Blob:
        sql = f"blobopen {name}.{table}.{column}"
        self._enter(sql)
        try:
            if not readonly:
                self._take_turn(sql)
            blob = super().blobopen(table, column, row, readonly=readonly, name=name)
            self.children.add(blob)
            return blob
        except sqlite3.Error as error:
            self._fail(error, sql)
            raise
        finally:
            self._after()

    # -- statements ---------------------------------------------------------------------

    def _before(self, sql: str) -> None:
        """What comes before a statement: the owner, the turn, an implicit transaction."""
        self._enter(sql)
        if not self.read_only and (kind := kind_of(sql)) is not Kind.READ:
            self._prepare_to_write(kind, sql)

    def _before_script(self, script: str) -> None:
        self._enter(script)
        self._prepare_to_write(Kind.WRITE, script)

    def _after(self) -> None:
        """What comes after it: the turn is given up unless a transaction is open."""
        if self.home.turn.holder is self and not self._writes():
            self.home.turn.release(self)
        self.running, self._began_at, self._in_block = None, None, False

    def reading_since(self) -> float | None:
        """Since when it has read from one state of the database, if it does, as far as is known.

        Asked by other threads. It is not told from the others when a plain ``for row in cursor``
        has come to its end, and the cursor is still there.
        """
        began = self.children.giving_rows_since()
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            if self.in_transaction:
                began.append(self._outside)
        if (running := self.running) is not None:
            began.append(running[1])
        return min(began, default=None)

    def _writes(self) -> bool:
        return self.in_transaction or self.children.has_open_blob()

    def still_writes(self) -> bool:
        """Whether the turn is held for something. Asked by those who wait for it."""
        borrower = self.borrower
        if borrower is not None and borrower.gone():
            self.home.look_after()
        try:
            return self.running is not None or self._writes()
        except sqlite3.ProgrammingError:
            return False  # closed

    def gave_up(self) -> bool:
        """Whether waiting for the turn has become pointless. Asked while it waits."""
        return bool(self.revoked)

    def _prepare_to_write(self, kind: Kind, sql: str) -> None:
        try:
            self._take_turn(sql)
            if kind is Kind.CHANGE and not self.in_transaction and self._begins_implicitly:
                self._begin()
                self._began_at = self.total_changes
        except BaseException:
            self._after()
            raise

    @property
    def _begins_implicitly(self) -> bool:
        return self.isolation_level is not None and self._autocommit is None

    @property
    def _autocommit(self) -> bool | None:
        """The attribute of Python 3.12; None in the mode that was the only one before."""
        value = getattr(self, "autocommit", None)
        return value if isinstance(value, bool) else None

    def _take_turn(self, sql: str) -> None:
        """Wait in the queue of the file; nothing to do if it is held, or only read."""
        if self.read_only or self.home.turn.holder is self:
            return
        began = monotonic()
        try:
            self.home.turn.acquire(self, self.home.busy_timeout)
        except turn.TimedOut:
            raise busy(self, sql, began) from None
        except turn.Deadlock:
            raise deadlock(self, sql) from None
        except turn.Withdrawn:
            raise DatabaseClosed(self.revoked) from None

    def _begin(self) -> None:
        """Begin a transaction; the turn is held, so only other processes compete for it."""
        sql = "BEGIN" if self.read_only else "BEGIN IMMEDIATE"
        try:
            begin(self, sql)
        except sqlite3.Error as error:
            self._fail(error, sql)
            raise

    def _fail(self, error: BaseException, sql: str) -> None:
        """Raise ``error`` in the words of this package, where they say more than SQLite's.

        A transaction that was begun for the statement, and in which nothing happened, ends.
        """
        if self.in_transaction and self._began_at == self.total_changes:
            raw(self, "ROLLBACK")
        if self._in_block and not self.in_transaction:
            self._block_is_lost = True
        if not isinstance(error, sqlite3.Error):
            return
        began = self.running[1] if self.running else monotonic()
        better = explain(self, error, sql, began)
        if better is not None:
            try:
                raise better from error
            finally:
                del better, error  # in a circle with this frame they would keep the cursor alive

    # -- transactions -------------------------------------------------------------------

    def transaction(self) -> Self:
        """``with db.transaction():`` is ``with db:`` by name."""
        return self

    def __enter__(self) -> Self:
        """Begin a transaction, or a savepoint inside a block that has begun one.

        A transaction that is pending without a block is taken over, as in sqlite3.
        """
        self._enter("BEGIN IMMEDIATE")
        try:
            savepoint = ""
            if not self.in_transaction:
                self._take_turn("BEGIN IMMEDIATE")
                self._begin()
            elif self._blocks:
                savepoint = f"block_{len(self._blocks)}"
                raw(self, f"SAVEPOINT {savepoint}")
            self._blocks.append(savepoint)
        finally:
            self._after()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Commit, or roll back if the block raised; an inner block ends its savepoint only."""
        if kind is not None and self.foreign:
            return False  # the block goes on in the parent
        if kind is None or not self.revoked:
            self._check()
        savepoint = self._blocks.pop() if self._blocks else ""
        try:
            if savepoint and self.in_transaction:
                self._end_savepoint(savepoint, failed=kind is not None)
            elif kind is not None:
                self._end_transaction("ROLLBACK")
            else:
                self._commit_or_roll_back()
        finally:
            if not self._blocks:
                self._block_is_lost = False
        return False

    def _end_savepoint(self, savepoint: str, *, failed: bool) -> None:
        try:
            if failed:
                raw(self, f"ROLLBACK TO {savepoint}")
            raw(self, f"RELEASE {savepoint}")
        except sqlite3.OperationalError:  # gone: the transaction was ended inside the block
            if failed:
                self._end_transaction("ROLLBACK")

    def _commit_or_roll_back(self) -> None:
        try:
            if self._block_is_lost:
                raise lost(self)
            self._end_transaction("COMMIT")
        except BaseException:
            self._end_transaction("ROLLBACK")
            raise

    def commit(self) -> None:
        self._end_transaction("COMMIT", explicitly=True)

    def rollback(self) -> None:
        self._end_transaction("ROLLBACK", explicitly=True)

    def _end_transaction(self, sql: str, *, explicitly: bool = False) -> None:
        """Commit or roll back as sqlite3 does; with ``autocommit=True`` only blocks do so."""
        if self.revoked and sql == "ROLLBACK" and self.borrower is not None:
            self._roll_back_what_is_left()
            return
        self._enter(sql)
        try:
            if not explicitly and self.in_transaction and self._autocommit is True:
                raw(self, sql)
            elif sql == "COMMIT":
                super().commit()
            else:
                super().rollback()
        except sqlite3.Error as error:
            self._fail(error, sql)
            raise
        finally:
            self._after()
            if self._autocommit is False:  # the next transaction is there, but only reads yet
                self.home.turn.release(self)

    def _roll_back_what_is_left(self) -> None:
        """Let a borrower clean up on a connection that refuses everything else."""
        if self.borrower is not None and self.borrower.may_use_it_here():
            sqlite3.Connection.rollback(self)
            self._after()

    def close(self) -> None:
        """Close it for good; its database opens another one in its place."""
        self._check()
        self.children.finish()  # a statement that is not finished keeps the file open
        self.closed = True
        super().close()
        self.home.turn.release(self)

    def restore(self) -> None:
        """Set back what can be set back cheaply; ``watch`` knows of the rest."""
        if self.touched:
            ROW_FACTORY.__set__(self, self.home.row_factory)
            TEXT_FACTORY.__set__(self, str)
            ISOLATION_LEVEL.__set__(self, "IMMEDIATE")
            self.touched = False
        if self._autocommit is not None:
            self.watch.altered = "autocommit"
        if len(vars(self)) != self._attributes:
            self.watch.altered = "an attribute"


guard(Connection)
