"""A connection that has an owner: who may use it, when it writes, how it is handed back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Literal, NoReturn, Self
from weakref import ref

from . import turn
from .borrower import Borrower, shorten
from .cursor import Cursor, ReturnedCursor, owned
from .errors import (
    DatabaseBusy,
    DatabaseClosed,
    NotYourConnection,
    ReadOnlyConnection,
    StatementInterrupted,
    StatementTimeout,
)
from .statements import Kind, kind_of
from .watch import Watch

LEGACY = getattr(sqlite3, "LEGACY_TRANSACTION_CONTROL", None)  # Python 3.12 has autocommit


@dataclass(slots=True)
class Home:
    """What a connection knows of the database it belongs to."""

    name: str
    turn: turn.Turn
    busy_timeout: float = 5.0
    statement_timeout: float | None = None
    row_factory: Any = None
    closing: bool = False
    give_back: Callable[[Connection, Borrower], None] = lambda *_: None


_NOWHERE = Home("unknown", turn.Turn())


class Connection(sqlite3.Connection):
    """A ``sqlite3.Connection`` that belongs to one borrower at a time.

    It differs from its base class in this: a transaction that writes begins IMMEDIATE and
    waits in the fair queue of its file; ``with connection:`` begins the transaction that it
    ends, and nested it is a savepoint; and whoever does not hold the connection, or no longer,
    gets :class:`NotYourConnection`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.home = _NOWHERE
        self.watch = Watch()
        self.read_only = False
        self.closed = False
        self.born = monotonic()
        self.borrower: Borrower | None = None
        self.thread = 0
        self.running: tuple[str, float] | None = None
        self.revoked = ""
        self._current: Any = None
        self._expected: Any = None
        self._blocks: list[str] = []
        self._children: set[ref[Any]] = set()
        self._cursor_class: type[Cursor] = Cursor
        super().__init__(*args, **kwargs)

    # -- who holds it -------------------------------------------------------------------

    def lend(self, borrower: Borrower) -> None:
        """Make ``borrower`` the owner."""
        self._current = borrower.current
        self._expected = borrower.expected
        self.thread = get_ident()
        self.borrower = borrower

    def take_back(self) -> bool:
        """End the loan: finish cursors, roll back, restore. Return whether anything was open.

        Afterwards the former borrower can do nothing with it. ``usable`` tells whether the
        next one can have it.
        """
        self.borrower, self.thread, self.running = None, 0, None
        try:
            if self.closed:
                return False
            self._finish_children()
            uncommitted = self.in_transaction
            if uncommitted:
                sqlite3.Connection.rollback(self)
            self._restore()
            return uncommitted
        finally:
            self._blocks.clear()
            self.home.turn.release(self)

    def revoke(self, why: str) -> None:
        """Refuse every further use, by the borrower too; what runs at this moment goes on."""
        self.revoked = why
        self.thread = 0

    @property
    def usable(self) -> bool:
        """Whether nothing has changed that the next borrower could notice."""
        return self.watch.altered is None and not self.closed

    def _check(self) -> None:
        if self.thread != get_ident() or self._current(None) is not self._expected():
            self._admit()

    def _admit(self) -> None:
        """Another thread, or another context: let in whoever runs for the borrower."""
        borrower = self.borrower
        if self.revoked:
            raise DatabaseClosed(self.revoked)
        if borrower is None:
            self._refuse(
                "it went back at the end of the request (or of the with block) that had it"
            )
        elif not borrower.may_use_it_here():
            self._refuse(
                "it is out to somebody else now, or you are not in the app context that has it"
            )
        elif self.running is not None and self.thread != get_ident():
            self._refuse("another thread of its request is using it at this moment")
        self.thread = get_ident()

    def _refuse(self, why: str) -> NoReturn:
        raise NotYourConnection(
            f"this connection to database {self.home.name!r} is not yours to use: {why};"
            " ask the container or the Database for a connection where you need it, and do not keep it"
        )

    def use_cursor(self, cursor_class: type[Cursor]) -> None:
        """The class of the cursors to come."""
        self._cursor_class = cursor_class

    # -- cursors and blobs --------------------------------------------------------------

    def cursor(self, factory: Any = None) -> Any:
        self._check()
        base = self._cursor_class
        made = super().cursor(base if factory is None else owned(factory, base))
        self._children.add(ref(made, self._children.discard))
        return made

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        return self.cursor().executemany(sql, parameters)

    def executescript(self, script: str, /) -> Any:
        return self.cursor().executescript(script)

    def blobopen(
        self, table: str, column: str, row: int, /, *, readonly: bool = False, name: str = "main"
    ) -> sqlite3.Blob:
        self._check()
        if not readonly and not self.read_only and not self._writing:
            self._take_turn("blobopen")
        blob = super().blobopen(table, column, row, readonly=readonly, name=name)
        self._children.add(ref(blob, self._children.discard))
        return blob

    def _finish_children(self) -> None:
        for child in [child() for child in list(self._children)]:
            if isinstance(child, sqlite3.Cursor):
                sqlite3.Cursor.close(child)
                _turn_into_returned(child)
            elif child is not None:
                child.close()
        self._children.clear()

    def has_open_blob(self) -> bool:
        """Whether a blob that was opened through it may still be read or written."""
        return any(isinstance(child(), sqlite3.Blob) for child in list(self._children))

    # -- statements ---------------------------------------------------------------------

    def _before(self, sql: str) -> None:
        self._check()
        if not self.read_only:
            kind = kind_of(sql)
            if kind is not Kind.READ and self.home.turn.holder is not self:
                self._prepare_to_write(kind, sql)
        self.running = (sql, monotonic())

    def _before_script(self, script: str) -> None:
        self._check()
        if not self.read_only and not self._writing:
            self._take_turn(script)
        self.running = (script, monotonic())

    def _started(self, sql: str) -> None:
        self._check()
        self.running = (sql, monotonic())

    def _after(self) -> None:
        self.running = None
        if self.home.turn.holder is self and not self.in_transaction:
            self._end_turn()

    @property
    def _writing(self) -> bool:
        return self.home.turn.holder is self

    def _prepare_to_write(self, kind: Kind, sql: str) -> None:
        began = self._take_turn(sql)
        implicit = kind is Kind.CHANGE and self.isolation_level is not None and self._legacy
        if implicit and not self.in_transaction:
            self._begin("BEGIN IMMEDIATE", began)

    @property
    def _legacy(self) -> bool:
        return LEGACY is None or self.autocommit == LEGACY

    def _take_turn(self, sql: str) -> float:
        began = monotonic()
        try:
            self.home.turn.acquire(self, self.home.busy_timeout)
        except (turn.TimedOut, turn.Deadlock) as error:
            raise self._busy(began, sql, deadlock=isinstance(error, turn.Deadlock)) from None
        return began

    def _end_turn(self) -> None:
        if not self.has_open_blob():  # a blob's write goes on until the blob is closed
            self.home.turn.release(self)

    def _begin(self, sql: str, began: float) -> None:
        """Begin a transaction that writes; the turn is held, so only processes compete."""
        try:
            raw(self, sql)
        except sqlite3.Error as error:
            self.home.turn.release(self)
            self._fail(error, sql, began)
        except BaseException:
            self.home.turn.release(self)
            raise

    # -- transactions -------------------------------------------------------------------

    def transaction(self) -> Self:
        """``with db.transaction():`` is ``with db:`` by name."""
        return self

    def __enter__(self) -> Self:
        self._check()
        if not self._blocks and self.in_transaction:
            self._blocks.append("")  # as in sqlite3: the pending transaction ends with the block
        elif not self.in_transaction:
            self._begin_block()
            self._blocks.append("")
        else:
            savepoint = f"block_{len(self._blocks)}"
            raw(self, f"SAVEPOINT {savepoint}")
            self._blocks.append(savepoint)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._check()
        savepoint = self._blocks.pop()
        if not self.in_transaction:
            return False
        if savepoint:
            self._end_savepoint(savepoint, failed=kind is not None)
        elif kind is not None:
            self.rollback()
        else:
            self._commit_or_roll_back()
        return False

    def _begin_block(self) -> None:
        if self.read_only:
            raw(self, "BEGIN")
        else:
            self._begin("BEGIN IMMEDIATE", self._take_turn("BEGIN IMMEDIATE"))

    def _end_savepoint(self, savepoint: str, *, failed: bool) -> None:
        if failed:
            raw(self, f"ROLLBACK TO {savepoint}")
        raw(self, f"RELEASE {savepoint}")

    def _commit_or_roll_back(self) -> None:
        try:
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def commit(self) -> None:
        self._check()
        try:
            super().commit()
        except sqlite3.Error as error:
            self._fail(error, "COMMIT")
        finally:
            self._after()

    def rollback(self) -> None:
        self._check()
        try:
            super().rollback()
        finally:
            self._after()

    def close(self) -> None:
        """Close it for good; its database opens another one in its place."""
        if self.borrower is not None:
            self._check()
        self.closed = True
        super().close()
        self.home.turn.release(self)

    # -- what a borrower changes ----------------------------------------------------------

    def _restore(self) -> None:
        if self.row_factory is not self.home.row_factory:
            self.row_factory = self.home.row_factory
        if self.text_factory is not str:
            self.text_factory = str
        if self.isolation_level != "IMMEDIATE":
            self.isolation_level = "IMMEDIATE"
        if not self._legacy:
            self.watch.altered = "autocommit"

    # -- errors -------------------------------------------------------------------------

    def _fail(self, error: sqlite3.Error, sql: str, began: float | None = None) -> NoReturn:
        """Raise ``error`` in the words of this package where they say more than SQLite's."""
        if began is None:
            began = self.running[1] if self.running else monotonic()
        better = self._explain(error, sql, began)
        if better is None:
            raise error
        for name in ("sqlite_errorcode", "sqlite_errorname"):
            setattr(better, name, getattr(error, name))
        raise better from error

    def _explain(self, error: sqlite3.Error, sql: str, began: float) -> sqlite3.Error | None:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY:
                return self._busy(began, sql, code=error.sqlite_errorcode)
            case sqlite3.SQLITE_INTERRUPT:
                return self._interrupted(began, sql)
            case sqlite3.SQLITE_READONLY if self.read_only:
                return ReadOnlyConnection(
                    f"database {self.home.name!r}: this connection only reads, and {shorten(sql)!r}"
                    " writes; inject '.connection' instead of '.reader', or open the database with"
                    " a mode that writes"
                )
        return None

    def _interrupted(self, began: float, sql: str) -> sqlite3.Error | None:
        limit = self.home.statement_timeout
        if self.home.closing:
            return StatementInterrupted(
                f"database {self.home.name!r} is closing and has interrupted {shorten(sql)!r}"
            )
        if limit is not None and monotonic() - began >= limit:
            return StatementTimeout(
                f"database {self.home.name!r}: {shorten(sql)!r} ran longer than statement_timeout,"
                f" {limit:g} s"
            )
        return None

    def _busy(
        self, began: float, sql: str, *, deadlock: bool = False, code: int = 0
    ) -> DatabaseBusy:
        where = f"database {self.home.name!r}: {shorten(sql)!r}"
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return DatabaseBusy(
                f"{where} came after a read in one transaction, and somebody else has written"
                " since; begin with 'with db:' what reads and then writes"
            )
        waited = monotonic() - began
        who = self._who_writes()
        if deadlock:
            return DatabaseBusy(
                f"{where} would wait for ever, because the turn to write has {who}, who waits for"
                " a turn held here; write to several databases in the same order everywhere"
            )
        return DatabaseBusy(f"{where} waited {waited:.2f} s for its turn to write, which has {who}")

    def _who_writes(self) -> str:
        writer = self.home.turn.holder
        if writer is None or writer is self:
            return "another process"
        borrower = getattr(writer, "borrower", None)
        return (
            "a connection that just went back"
            if borrower is None
            else f"thread {borrower.thread.name!r}"
        )


def raw(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """Execute without asking whose connection it is: for those who look after connections."""
    return sqlite3.Connection.cursor(connection, sqlite3.Cursor).execute(sql, parameters)


def _altering(name: str) -> Any:
    """A method of sqlite3's after which the connection is another than it was configured."""
    original = getattr(sqlite3.Connection, name)

    @wraps(original)
    def method(self: Connection, *args: Any, **kwargs: Any) -> Any:
        self._check()
        self.watch.altered = f"{name}()"
        return original(self, *args, **kwargs)

    return method


for _name in ["create_aggregate", "create_collation", "create_function", "create_window_function", "deserialize", "enable_load_extension", "load_extension", "set_authorizer", "set_progress_handler", "set_trace_callback", "setconfig", "setlimit"]:
    if hasattr(sqlite3.Connection, _name):  # some are missing in some builds and versions
        setattr(Connection, _name, _altering(_name))


def _turn_into_returned(cursor: sqlite3.Cursor) -> None:
    try:
        cursor.__class__ = ReturnedCursor
    except TypeError:
        pass  # a class of the user's with slots; sqlite3 says "closed cursor" then
