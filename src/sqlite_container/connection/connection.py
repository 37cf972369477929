"""A ``sqlite3.Connection`` for one borrower at a time: its statements and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self

from ..errors import DatabaseClosed
from ..sqlite.statements import Kind, kind_of
from ..writing import write_lock as turn
from ..writing.begin import begin, raw
from .cursor import Cursor, owned
from .error_translation import busy, deadlock, explain, lost
from .guards import guard
from .owner import Owned


class Connection(Owned):
    """A ``sqlite3.Connection`` that belongs to one borrower at a time.

    It differs from its base class in this: a transaction that writes begins IMMEDIATE and
    waits in the fair queue of its file; ``with connection:`` begins the transaction that it
    ends, and nested it is a savepoint; and whoever does not hold the connection, or no longer,
    gets :class:`NotYourConnection`.
    """

    __slots__ = ()

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
        if isinstance(cursor, Cursor):
            cursor.began = None
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
            self.children.add_blob(blob)
            return blob
        except sqlite3.Error as error:
            self._fail(error, sql)
            raise
        finally:
            self._after()

    # -- statements ---------------------------------------------------------------------

    def _before(self, sql: str) -> None:
        """What comes before a statement: the owner, the turn, an implicit transaction."""
        kind = kind_of(sql)  # first: it refuses what cannot be a statement
        self._enter(sql)
        if kind is not Kind.READ:
            self._prepare(kind, sql)

    def _before_script(self, script: str) -> None:
        self._enter(script)
        self._prepare(Kind.SCHEMA, script)

    def _after(self) -> None:
        """What comes after it: the turn is given up unless a transaction is open."""
        if self.home.turn.holder is self and not self._writes():
            self.home.turn.release(self)
        if self._watched:
            self.stop_watching()
        self.running, self._began_at, self._in_block = None, None, False

    def _prepare(self, kind: Kind, sql: str) -> None:
        try:
            if kind is Kind.SETTING or kind is Kind.SCHEMA:
                self.start_watching()
            if kind is Kind.SETTING or self.read_only:
                return
            if self.home.turn.holder is not self:
                self._take_turn(sql)
                self.running = (sql, monotonic())  # statement_timeout does not count the wait
            if kind is Kind.CHANGE and not self.in_transaction and self._begins_implicitly:
                self._begin()
                self._began_at = self.total_changes
                self.running = (sql, monotonic())
        except BaseException:
            self._after()
            raise

    @property
    def _begins_implicitly(self) -> bool:
        return self._autocommit is None and self.isolation_level is not None

    def _take_turn(self, sql: str) -> None:
        """Wait in the queue of the file; nothing to do if it is held, or only read."""
        home = self.home
        if self.read_only or home.turn.holder is self:
            return
        began = monotonic()
        try:
            home.turn.acquire(self, home.busy_timeout)
        except turn.TimedOut:
            raise busy(self, sql, began) from None
        except turn.Deadlock:
            raise deadlock(self, sql) from None
        except turn.Withdrawn:
            raise DatabaseClosed(self.revoked) from None

    def _begin(self) -> None:
        """Begin a transaction; the turn is held, so only other processes compete for it."""
        try:
            if self.read_only:
                raw(self, "BEGIN")
            else:
                begin(self)
        except sqlite3.Error as error:
            self._fail(error, "BEGIN" if self.read_only else "BEGIN IMMEDIATE")
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
            if self._autocommit and self.in_transaction and not explicitly:
                raw(self, sql)
            elif sql == "COMMIT":
                super().commit()
            else:
                super().rollback()
            if self._autocommit is False:  # the next transaction is there, but only reads yet
                self.home.turn.release(self)
        except sqlite3.Error as error:
            self._fail(error, sql)
            raise
        finally:
            self._after()

    def _roll_back_what_is_left(self) -> None:
        """Let a borrower clean up on a connection that refuses everything else."""
        if self.borrower is not None and self.borrower.may_use_it_here():
            sqlite3.Connection.rollback(self)
            self._after()

    def interrupt(self) -> None:
        """Interrupt what its borrower runs, from any thread. Refused when nobody has it."""
        if self.borrower is None:
            self._check()
        super().interrupt()

    def close(self) -> None:
        """Close it for good; its database opens another one in its place."""
        self._check()
        self.children.finish()  # a statement that is not finished keeps the file open
        self.closed = True
        super().close()
        self.home.turn.release(self)


guard(Connection)
