"""A ``sqlite3.Connection`` for one borrower at a time."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from operator import lt
from threading import current_thread, get_ident
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from ..errors import DatabaseClosed, NotYourConnection, SQLiteContainerError, TransactionLost
from ..sqlite import raw, statements
from ..sqlite.statements import Kind
from ..writing import write_lock
from ..writing.begin import begin_immediate
from . import error_translation, parking
from .blob import Blob
from .blocks import Block, Blocks
from .borrower import Borrower
from .cursor import Cursor, owned
from .inside import Mark, entrances, is_stale
from .lender import Lender
from .open_cursors import OpenCursors
from .session_state import note_changes
from .statement_exit import ExitOfStatement, next_block

ROW_FACTORY: Any = sqlite3.Connection.row_factory
TEXT_FACTORY: Any = sqlite3.Connection.text_factory
ISOLATION_LEVEL: Any = sqlite3.Connection.isolation_level
AUTOCOMMIT: Any = getattr(sqlite3.Connection, "autocommit", None)  # since Python 3.12
_DAMAGED = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
)
"""Errors after which a connection that writes is not lent again."""

_BEGINS = (Kind.BEGIN, Kind.CONTROL, Kind.SAVEPOINT)
"""The statements that may begin a transaction by themselves."""
_NO_LOCK = (Kind.CONTROL, Kind.SAVEPOINT, Kind.SETTING)
"""The statements that need no write lock."""


class Connection(sqlite3.Connection):
    """A ``sqlite3.Connection`` that belongs to one borrower at a time.

    It differs from its base class in this: a transaction that writes begins IMMEDIATE and
    waits in the fair queue of its file; ``with connection:`` begins the transaction that it
    ends, and nested it is a savepoint; ``close()`` gives it back; and whoever does not hold the
    connection, or no longer, gets :class:`NotYourConnection`.
    """

    # With slots, because attributes of a subclass of sqlite3's are slow without (24 ns, not 5),
    # and flat: each statement needs several of those that say who may use it.
    __slots__ = (
        "__weakref__",
        "_autocommit",  # of Python 3.12; None is the one mode before that
        "_current",
        "_deadline",  # the moment that the progress handler compares with
        "_expected",
        "_outside",  # when the transaction began that is open, if one is
        "altered",  # what the borrower has changed that cannot be set back; None if nothing
        "blocks",
        "born",
        "borrower",
        "closed",
        "cursors",
        "foreign",  # whether it was inherited from the process that forked this one
        "left_behind",  # whether the loan is over, and who is inside has to end it
        "lender",
        "next_block",  # of the ``with`` statement that is about to begin
        "parked",  # the handle was closed for a fork; the next use opens another one
        "read_only",
        "reported",  # whether it was reported that it is out for long
        "revoked",  # why it refuses every use, if it does
        "running",  # who is inside SQLite; see ``enter()``
        "since",  # when it was lent
        "thread",  # the one that may use it without further questions
        "timed",
        "touched",  # an attribute of sqlite3's may be another than configured
    )

    def __init__(self, lender: Lender, **arguments: Any) -> None:
        self.lender = lender
        self.cursors = OpenCursors()
        self.blocks = Blocks()
        self.born = monotonic()
        self.borrower: Borrower | None = None
        self.since = 0.0
        self.thread = 0
        self.running: Mark | None = None
        self.altered: str | None = None
        self.revoked = ""
        self.reported = self.read_only = self.closed = self.parked = self.foreign = False
        self.left_behind = False
        self.touched = True
        self.timed = lender.statement_timeout is not None
        self._deadline = [inf]
        self._autocommit: bool | None = None
        self._outside = 0.0
        self.next_block: Block | None = None
        self._current: Callable[[None], object] | None = None  # see Borrower
        self._expected: Callable[[], object] = object
        super().__init__(**arguments)

    def __repr__(self) -> str:
        kind = "reader" if self.read_only else "connection"
        borrower = self.borrower
        state = "closed" if self.closed else "idle"
        if borrower is not None:
            state = f"held by {borrower.thread.name}"
        return f"<{kind} of database {self.lender.name!r}, {state}>"

    # -- cursors, statements, blobs -----------------------------------------------------

    def cursor(self, factory: Any = None) -> Any:  # of the factory's class, if one is given
        self.check()
        return self._new_cursor(Cursor if factory is None else owned(factory, Cursor))

    def _new_cursor(self, factory: Any) -> Any:
        cursor = self._plain_cursor(factory)
        if isinstance(cursor, Cursor):
            cursor.prepare()
            cursor.kept = True
        self.cursors.add(cursor)
        return cursor

    def _plain_cursor(self, factory: Any) -> Any:
        try:
            return super().cursor(factory)
        except sqlite3.ProgrammingError:
            self.check()  # who does not hold it is told so, whether or not it is closed by now
            if not self.parked:
                raise
            self.lender.reopen(self)
            return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: Cursor
        try:
            cursor = super().cursor(Cursor)
        except sqlite3.ProgrammingError:
            cursor = self._plain_cursor(Cursor)
        return cursor.execute_first(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        cursor: Cursor = self._plain_cursor(Cursor)
        cursor.prepare()
        return cursor.executemany(sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        cursor: Cursor = self._plain_cursor(Cursor)
        cursor.prepare()
        return cursor.executescript(script)

    def blobopen(  # type: ignore[override]
        self, table: str, column: str, row: int, /, *, readonly: bool = False, name: str = "main"
    ) -> Blob:
        def open_it() -> Blob:
            if not readonly:
                self.check_block()
                self._take_write_lock(what)
            handle = open_handle(table, column, row, readonly=readonly, name=name)
            blob = Blob(self, handle, writes=not readonly)
            self.cursors.add_blob(blob)
            return blob

        open_handle, what = super().blobopen, f"blobopen {name}.{table}.{column}"
        opened: Blob = self._run(what, open_it)
        return opened

    # -- transactions -------------------------------------------------------------------

    def transaction(self, *, read_only: bool = False) -> _Transaction:
        """Begin a transaction in a ``with`` block, and commit at its end.

        The same as ``with db:``; with ``read_only`` it reads from one snapshot of the database,
        and waits for nobody.
        """
        return _Transaction(self, read_only=read_only)

    def __enter__(self) -> Self:
        block = self.next_block
        if block is None or block.statement() is None:
            block = next_block(self)
        else:
            self.next_block = None
        if self.read_only:
            self.begin_block(block)
        else:
            self._run_step("BEGIN IMMEDIATE", self.blocks.begin, block, self._begin_writing)
        return self

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> Literal[False]: ...
    else:
        __exit__ = ExitOfStatement()

    def begin_block(self, block: Block, *, read_only: bool = False) -> None:
        """Begin a transaction, or a savepoint inside a block that has begun one."""
        if read_only or self.read_only:
            self._run_step("BEGIN", self.blocks.begin, block, self._begin_snapshot)
        else:
            self._run_step("BEGIN IMMEDIATE", self.blocks.begin, block, self._begin_writing)

    def end_block(
        self,
        block: Block,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Commit, or roll back if the block raised; an inner block ends its savepoint only."""
        if kind is None:
            self._run_step("COMMIT", self.blocks.end, block, None)
        elif not self.foreign and not self._is_cleaned_up():
            self._run_step("ROLLBACK", self.blocks.end, block, kind)
        return False

    def commit(self) -> None:
        self._refuse_in_block("commit()")
        self._run("COMMIT", super().commit)
        self._next_transaction_only_reads()

    def rollback(self) -> None:
        if self._is_cleaned_up():
            return
        self._refuse_in_block("rollback()")
        self._run("ROLLBACK", super().rollback)
        self._next_transaction_only_reads()

    def _begin_snapshot(self) -> None:
        raw.execute(self, "BEGIN")
        self._note_beginning()

    def _begin_writing(self) -> None:
        lock, timeout = self.lender.write_lock, self.lender.busy_timeout
        running = self.running
        now = monotonic() if running is None else running[1]
        if lock.holder is not self:
            try:
                now = lock.acquire(self, timeout, now)
            except write_lock.Failed as failure:
                raise self._told(failure, "BEGIN IMMEDIATE", now) from None
        begin_immediate(self, lock.contention, timeout, now)
        self._outside = now

    def _note_beginning(self) -> None:
        """Note since when a transaction is open, that is since what runs now began."""
        running = self.running
        if running is not None:
            self._outside = running[1]

    def commit_now(self) -> None:
        """Commit, for a block that is inside already."""
        if self._autocommit is None:
            super().commit()
            return
        if self._autocommit and self.in_transaction:
            raw.execute(self, "COMMIT")
        else:
            super().commit()
        self._next_transaction_only_reads()

    def roll_back_now(self) -> None:
        """Roll back, for a block that is inside already."""
        if self._autocommit and self.in_transaction:
            raw.execute(self, "ROLLBACK")
        else:
            super().rollback()
        self._next_transaction_only_reads()

    def _next_transaction_only_reads(self) -> None:
        """Release the write lock with ``autocommit=False``: there the next one is open already."""
        if self._autocommit is False:
            self.lender.write_lock.release(self)
            self._note_beginning()

    def _refuse_in_block(self, sql: str) -> None:
        if self.blocks.stack:
            self.check()
            self.blocks.undo_what_is_over(self)
            if self.blocks.stack:
                raise error_translation.inside_a_block(self.lender.name, sql)

    def _refuse_script_in_block(self, script: str) -> None:
        """Refuse a script before anything of it runs, or waits for the write lock."""
        for _, statement in statements.split(script):
            if statements.kind_of(statement) in (Kind.CONTROL, Kind.BEGIN):
                self._refuse_in_block(statement)

    def _is_cleaned_up(self) -> bool:
        """Roll back for a borrower whose connection refuses all else; tell whether it does."""
        borrower = self.borrower
        if not self.revoked or borrower is None:
            return False
        if borrower.may_use_it_here() and self.running is None:
            sqlite3.Connection.rollback(self)
            self.lender.write_lock.release(self)
        return True

    def lost(self) -> TransactionLost:
        """Make the error that says that a block's transaction is lost."""
        return error_translation.lost(self.lender.name)

    def unfinished(self, what: str) -> Exception:
        """Make the error that says that a statement stands in the way of ``what``."""
        return error_translation.unfinished(self._situation((what, monotonic(), 0, None)))

    def still_writes_rows(self) -> bool:
        """Tell whether a statement that writes has rows to give yet, or such a blob is open."""
        return self.cursors.still_write()

    def end_writing(self) -> None:
        """Finish statements that write and have rows to give yet."""
        self.cursors.end_writing()

    # -- before and after a statement ---------------------------------------------------

    def prepare(self, kind: Kind | None, mark: Mark, parameters: Any = ()) -> int | None:
        """Do what a statement needs: take the write lock, begin an implicit transaction.

        ``kind`` is None for a script. Returns ``total_changes`` if a transaction was begun for
        the statement, so that it can end if nothing happens in it.
        """
        sql = mark[0]
        if kind is None or kind in _BEGINS:
            self._prepare_control(kind, sql)
        if kind is None or kind is Kind.SETTING or kind is Kind.SCHEMA:
            note_changes(self, kind, sql, parameters)
        if self.read_only or kind in _NO_LOCK:
            return None
        if self.lender.write_lock.holder is not self:
            self._take_write_lock(sql)
            self._restart_clock()
        if kind is not Kind.CHANGE or self.in_transaction or not self._begins_implicitly:
            return None
        self._begin_writing()
        self._restart_clock()
        return self.total_changes

    def _prepare_control(self, kind: Kind | None, sql: str) -> None:
        """Refuse what would end a block; note since when a transaction is open."""
        if kind is None and self.blocks.stack:
            self._refuse_script_in_block(sql)
        elif kind is Kind.CONTROL or kind is Kind.BEGIN:
            self._refuse_in_block(sql)
        if not self.in_transaction:
            self._note_beginning()

    def _restart_clock(self) -> None:
        """Do not count the wait for the write lock as part of the statement."""
        if self.timed:
            self._deadline[0] = monotonic() + (self.lender.statement_timeout or inf)

    @property
    def _begins_implicitly(self) -> bool:
        return self._autocommit is None and self.isolation_level is not None

    def check_block(self) -> None:
        """Raise :class:`TransactionLost` in a block whose transaction is lost."""
        if self.blocks.stack:
            self.blocks.check(self)

    def in_a_block(self) -> bool:
        """Tell whether a ``with db:`` block goes on."""
        return bool(self.blocks.stack)

    def run_in_block(self, cursor: Any, script: str) -> None:
        """Run a script within the transaction of a block: sqlite3's own would commit it before."""
        for _, statement in statements.split(script):
            sqlite3.Cursor.execute(cursor, statement)
            self.blocks.check(self)

    def checked(self, parameters: Iterable[Any]) -> Iterable[Any]:
        """Watch over a block's transaction between two rows of ``executemany()``.

        The code that makes the rows may use this connection, and SQLite may roll back; without a
        transaction every further row would be stored by itself.
        """
        if not self.blocks.stack or isinstance(parameters, list | tuple):
            return parameters
        return self._checked(parameters)

    def _checked(self, parameters: Iterable[Any]) -> Iterator[Any]:
        for each in parameters:
            self.blocks.check(self)
            yield each

    def failed(self, error: BaseException, mark: Mark, began_at: int | None = None) -> None:
        """Raise ``error`` in the words of this package, where they say more than SQLite's.

        A transaction that was begun for the statement, and in which nothing happened, ends. If
        the transaction of a block is lost in a statement inside another one, that one ends, too.
        """
        self._end_empty_transaction(began_at)
        if not isinstance(error, sqlite3.Error) or isinstance(error, SQLiteContainerError):
            return
        if self.blocks.stack and mark[3] is not None and not self.in_transaction:
            sqlite3.Connection.interrupt(self)
        if not self.read_only and raw.primary_code(error) in _DAMAGED:
            self.altered = getattr(error, "sqlite_errorname", "an error of the file")
        better = error_translation.translate(error, self._situation(mark))
        if better is not None:
            try:
                raise better from error
            finally:
                del better, error  # in a circle with this frame they would keep the cursor alive

    def _end_empty_transaction(self, began_at: int | None) -> None:
        if began_at is not None and self.in_transaction and began_at == self.total_changes:
            raw.execute(self, "ROLLBACK")

    def _situation(self, mark: Mark) -> error_translation.Situation:
        lender = self.lender
        return error_translation.Situation(
            database=lender.name,
            sql=mark[0],
            seconds=monotonic() - mark[1],
            read_only=self.read_only,
            closing=lender.closing,
            limit=lender.statement_timeout if monotonic() >= self._deadline[0] else None,
            holder=self._holder(),
            other_writers=lender.other_writers(self),
            unfinished=self.cursors.still_write(),
        )

    def _holder(self) -> str | None:
        """Return who else has the write lock."""
        holder = self.lender.write_lock.holder
        if holder is None or holder is self:
            return None
        borrower = getattr(holder, "borrower", None)
        return (
            f"thread {borrower.thread.name!r}" if borrower else "a connection that just went back"
        )

    # -- who is inside ------------------------------------------------------------------

    def check(self) -> None:
        """Raise :class:`NotYourConnection` for whoever does not hold the connection."""
        current = self._current
        is_elsewhere = current is not None and current(None) is not self._expected()
        if is_elsewhere or self.thread != get_ident():
            self._admit()

    def mark(self, what: str) -> Mark:
        """Make a mark for this thread, to be inside with."""
        return what, monotonic(), get_ident(), self.around()

    def mark_again(self, mark: Mark) -> Mark:
        """Make another mark for the rows of a statement, in this thread."""
        return mark[0], mark[1], get_ident(), self.around()

    def around(self) -> Mark | None:
        """Return the mark of what is running already; one that was left behind is taken back.

        That happens where an exception came at the wrong moment.
        """
        mark = self.running
        if mark is None or not is_stale(mark) or self.running is not mark:
            return self.running
        self.running = None
        if not is_stale(mark) and self.running is None:
            self.running = mark  # its thread has come back in meanwhile, with the same mark
        return self.running

    def enter(self, mark: Mark) -> None:
        """Say that this thread is inside SQLite now, through this connection.

        Until ``running`` is set back, nothing of the connection is finished, closed or lent on.
        Raises :class:`NotYourConnection` for who does not hold it, and while another thread is
        inside.
        """
        current = self._current
        if current is not None and current(None) is not self._expected():
            self._admit()
        # No call between such a test and the store: no other thread can come between them.
        if self.thread == mark[2] and self.running is mark[3]:
            self.running = mark
        else:
            self._admit()
            if self.thread == mark[2] and self.running is mark[3]:
                self.running = mark
            else:
                self._refuse("another thread of its request is using it at this moment")
        if self.parked:
            parking.unpark(self, mark)
        if self.timed:
            self._restart_clock()

    def leave(self) -> None:
        """Tidy up when this thread is outside again: ``running`` has been set back.

        The callers do that in line, and first: an exception can come at the beginning of any
        call, and a mark that stays would keep the connection from everybody.
        """
        outer = self.running
        if outer is not None:
            if self.timed:
                self._deadline[0] = outer[1] + (self.lender.statement_timeout or inf)
            return
        lock = self.lender.write_lock
        cursors = self.cursors
        if (
            lock.holder is self
            and not self.in_transaction
            and not (cursors.may_write and cursors.still_write())
        ):
            lock.release(self)
        if self.left_behind:
            self.left_behind = False
            self.lender.finish_return(self)

    def _run(self, what: str, call: Callable[..., Any], *args: Any) -> Any:
        """Call what goes into SQLite's code, and say meanwhile who is inside."""
        outer = self.running
        mark = what, monotonic(), get_ident(), outer if outer is None else self.around()
        try:
            self.enter(mark)
            return call(*args)
        except BaseException as error:
            self.failed(error, mark)
            raise
        finally:
            if self.running is mark:
                self.running = mark[3]
            self.leave()

    def _run_step(
        self, what: str, step: Callable[..., Any], block: Block, more: Callable[..., Any] | None
    ) -> None:
        """Begin or end a block. The same as ``_run()``, where its ``*args`` would cost too much."""
        outer = self.running
        mark = what, monotonic(), get_ident(), outer if outer is None else self.around()
        try:
            self.enter(mark)
            step(self, block, more)
        except BaseException as error:
            self.failed(error, mark)
            raise
        finally:
            if self.running is mark:
                self.running = mark[3]
            self.leave()

    def _admit(self) -> None:
        """Let in who runs for the borrower: another thread, or another context of its thread."""
        borrower = self.borrower
        if self.revoked:
            raise (DatabaseClosed if self.lender.closing else NotYourConnection)(self.revoked)
        if borrower is None:
            self._refuse(
                "it went back at the end of the request, or of the with block, that had it"
            )
        elif not borrower.may_use_it_here():
            self._refuse("it is out to another thread or another app context")
        elif self.running is not None and self.running[2] != get_ident():
            self._refuse("another thread of its request is using it at this moment")
        self.thread = get_ident()

    def _refuse(self, why: str) -> NoReturn:
        raise NotYourConnection(
            f"this connection to database {self.lender.name!r} is not yours to use: {why}; ask for"
            " a connection where you need one, and do not keep it"
        )

    def _take_write_lock(self, sql: str) -> None:
        """Wait in the write queue of the file; nothing to do if it is held, or only read."""
        lock, began = self.lender.write_lock, monotonic()
        if self.read_only or lock.holder is self:
            return
        try:
            lock.acquire(self, self.lender.busy_timeout, began)
        except write_lock.Failed as failure:
            raise self._told(failure, sql, began) from None

    def _told(self, failure: write_lock.Failed, sql: str, began: float) -> Exception:
        """Make the error for who did not get the write lock."""
        if isinstance(failure, write_lock.Withdrawn):
            return DatabaseClosed(self.revoked)
        situation = self._situation((sql, began, 0, None))
        if isinstance(failure, write_lock.TimedOut):
            return error_translation.busy(situation)
        thread, is_own = current_thread().name, self.lender.write_lock.is_held_here()
        return error_translation.deadlock(situation, thread=thread, is_own=is_own)

    # -- lent and given back ------------------------------------------------------------

    def close(self) -> None:
        """Give it back to its database, before the end of the request or of the block.

        Does nothing for who does not have it, or no longer: it is safe to call twice.
        """
        borrower = self.borrower
        if borrower is not None and borrower.may_use_it_here():
            self.lender.give_back(self, borrower)

    def begin_loan(self, borrower: Borrower) -> None:
        """Make ``borrower`` the owner."""
        self._current = borrower.current
        self._expected = borrower.expected
        self.borrower = borrower
        self.since = self._outside = monotonic()
        self.reported = False
        self.thread = get_ident()

    def end_loan(self) -> bool:
        """Let nobody in any more; tell whether nobody is inside."""
        self.borrower, self.thread = None, 0
        return self.running is None or self.is_empty()

    def is_empty(self) -> bool:
        """Tell whether nobody is inside; otherwise who is inside ends the loan on leaving."""
        if self.around() is None:
            return True
        self.left_behind = True
        return self._nobody_took_it()

    def _nobody_took_it(self) -> bool:
        """Tell whether who was inside has left meanwhile, without a look at ``left_behind``.

        No call between the test and the store, and likewise in leave(): one of the two does it.
        """
        if self.running is None and self.left_behind:
            self.left_behind = False
            return True
        return False

    def reset(self) -> bool:
        """Finish cursors, roll back, restore: for the next borrower.

        The caller has set ``running``: nobody else is inside. Tells whether a transaction was
        open. Afterwards it can be lent again, unless it is ``altered``, closed or parked.
        """
        uncommitted = False
        try:
            if not self.closed and not self.parked:
                self.cursors.finish()
                uncommitted = self.in_transaction
                if uncommitted:
                    sqlite3.Connection.rollback(self)
                if self.touched:
                    self.restore()
            return uncommitted
        finally:
            if self.blocks.stack:
                self.blocks.stack.clear()
            if self.lender.write_lock.holder is self:
                self.lender.write_lock.release(self)

    def restore(self) -> None:
        """Set back the attributes of sqlite3's to what is configured."""
        ROW_FACTORY.__set__(self, self.lender.row_factory)
        TEXT_FACTORY.__set__(self, self.lender.text_factory)
        ISOLATION_LEVEL.__set__(self, "IMMEDIATE")
        self.touched = False
        if AUTOCOMMIT is not None and isinstance(AUTOCOMMIT.__get__(self), bool):
            self.altered = "autocommit"

    def attribute_changed(self) -> str:
        """Name an attribute of sqlite3's that is not as configured; "" if all of them are."""
        if AUTOCOMMIT is not None and isinstance(AUTOCOMMIT.__get__(self), bool):
            return "autocommit"
        lender = self.lender
        for descriptor, value in (
            (ROW_FACTORY, lender.row_factory),
            (TEXT_FACTORY, lender.text_factory),
            (ISOLATION_LEVEL, "IMMEDIATE"),
        ):
            if descriptor.__get__(self) != value:
                return str(descriptor.__name__)
        return ""

    def revoke(self, why: str) -> None:
        """Refuse every further use, by the borrower too; what runs at this moment goes on."""
        self.revoked = why
        self.thread = 0

    # -- what other threads may ask -----------------------------------------------------

    def reading_since(self) -> float | None:
        """Tell since when it has read from one state of the database, if it does."""
        began = self.cursors.reading_since()
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            if self.in_transaction:
                began.append(self._outside)
        if (running := self.running) is not None:
            began.append(running[1])
        return min(began, default=None)

    def _writes(self) -> bool:
        cursors = self.cursors
        return self.in_transaction or (cursors.may_write and cursors.still_write())

    def may_write_now(self) -> bool:
        """Tell whether it has a transaction open in which it can write."""
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            return not self.read_only and self._writes()
        return False

    def still_writes(self) -> bool:
        """Tell whether the write lock is held for something. Asked by those who wait for it."""
        borrower = self.borrower
        if borrower is not None and borrower.gone():
            self.lender.look_after()
        try:
            return self.running is not None or self._writes()
        except sqlite3.ProgrammingError:
            return False  # closed

    def gave_up(self) -> bool:
        """Tell whether waiting for the write lock has become pointless. Asked while it waits."""
        return bool(self.revoked)

    def progress_handler(self) -> Callable[[], bool]:
        """Return what tells SQLite whether the statement has run for too long.

        It is made of parts in C, with no frame of Python: a signal handler that ran in one could
        raise, and sqlite3 drops what a progress handler raises.
        """
        never = object()
        deadlines = iter(partial(self._deadline.__getitem__, 0), never)
        return map(lt, deadlines, iter(monotonic, never)).__next__

    # -- what sqlite3 does not check itself ---------------------------------------------

    def interrupt(self) -> None:
        """Interrupt what its borrower runs, from any thread. Refused when nobody has it."""
        if self.borrower is None:
            self.check()
        super().interrupt()

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        self._run("backup()", partial(super().backup, target, **options))

    def iterdump(self, **options: Any) -> Iterator[str]:  # type: ignore[override]
        self.check()
        return super().iterdump(**options)

    def serialize(self, **options: Any) -> bytes:
        data: bytes = self._run("serialize()", partial(super().serialize, **options))
        return data

    def deserialize(self, data: Any, /, **options: Any) -> None:
        self._alter("deserialize()", super().deserialize, data, **options)

    def create_function(self, *args: Any, **options: Any) -> None:
        self._alter("create_function()", super().create_function, *args, **options)

    def create_aggregate(self, *args: Any, **options: Any) -> None:
        self._alter("create_aggregate()", super().create_aggregate, *args, **options)

    def create_window_function(self, *args: Any, **options: Any) -> None:
        self._alter("create_window_function()", super().create_window_function, *args, **options)

    def create_collation(self, *args: Any, **options: Any) -> None:
        self._alter("create_collation()", super().create_collation, *args, **options)

    def set_authorizer(self, *args: Any, **options: Any) -> None:
        self._alter("set_authorizer()", super().set_authorizer, *args, **options)

    def set_progress_handler(self, *args: Any, **options: Any) -> None:
        self._alter("set_progress_handler()", super().set_progress_handler, *args, **options)

    def set_trace_callback(self, *args: Any, **options: Any) -> None:
        self._alter("set_trace_callback()", super().set_trace_callback, *args, **options)

    def setlimit(self, *args: Any) -> int:
        before: int = self._alter("setlimit()", super().setlimit, *args)
        return before

    if hasattr(sqlite3.Connection, "enable_load_extension"):

        def enable_load_extension(self, *args: Any) -> None:
            self._alter("enable_load_extension()", super().enable_load_extension, *args)

        def load_extension(self, *args: Any, **options: Any) -> None:
            self._alter("load_extension()", super().load_extension, *args, **options)

    if sys.version_info >= (3, 12):

        def setconfig(self, *args: Any) -> None:
            self._alter("setconfig()", super().setconfig, *args)

        @property
        def autocommit(self) -> Any:
            return AUTOCOMMIT.__get__(self)

        @autocommit.setter
        def autocommit(self, value: Any) -> None:
            self._set(AUTOCOMMIT, value)
            self._autocommit = value if isinstance(value, bool) else None

    @property
    def row_factory(self) -> Any:
        return ROW_FACTORY.__get__(self)

    @row_factory.setter
    def row_factory(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._set(ROW_FACTORY, value)

    @property
    def text_factory(self) -> Any:
        return TEXT_FACTORY.__get__(self)

    @text_factory.setter
    def text_factory(self, value: Any) -> None:
        self._set(TEXT_FACTORY, value)

    @property
    def isolation_level(self) -> Any:
        return ISOLATION_LEVEL.__get__(self)

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.blocks.stack and value is None:
            self._refuse_in_block("isolation_level = None")  # sqlite3 commits
        self._set(ISOLATION_LEVEL, value)

    def _set(self, descriptor: Any, value: Any) -> None:
        """Set an attribute of sqlite3's, which is set back when the connection goes back."""
        self.touched = True
        self._run(f"{descriptor.__name__} = {value!r}", descriptor.__set__, self, value)

    def _alter(self, what: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call what leaves a connection that is replaced when it goes back."""
        self.check()
        self.altered = what
        return self._run(what, partial(call, *args, **options))


entrances |= {Connection._run.__code__, Connection._run_step.__code__}


class _Transaction:
    """``with db.transaction():``, which may also be one that only reads."""

    __slots__ = ("_connection", "_read_only", "next_block")

    def __init__(self, connection: Connection, *, read_only: bool) -> None:
        self._connection = connection
        self._read_only = read_only
        self.next_block: Block | None = None

    def __repr__(self) -> str:
        return f"<transaction on {self._connection!r}, for a with block>"

    def __enter__(self) -> Connection:
        self._connection.begin_block(next_block(self), read_only=self._read_only)
        return self._connection

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> Literal[False]: ...
    else:
        __exit__ = ExitOfStatement()

    def end_block(
        self,
        block: Block,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Commit, or roll back if the block raised."""
        return self._connection.end_block(block, kind, error, trace)
