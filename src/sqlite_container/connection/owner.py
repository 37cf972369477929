"""A connection that has an owner: who may use it, and how it goes from one to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from time import monotonic
from typing import Any, NoReturn

from ..errors import DatabaseClosed, NotYourConnection
from ..sqlite.fork_safety import keep_for_ever
from ..writing.write_lock import Turn
from .borrower import Borrower
from .cursor import Cursor
from .guards import AUTOCOMMIT, ISOLATION_LEVEL, ROW_FACTORY, TEXT_FACTORY
from .home import Home
from .open_cursors import Children
from .session_state import Watch


class Owned(sqlite3.Connection):
    """Belongs to one borrower at a time; whoever else uses it gets :class:`NotYourConnection`.

    ``thread`` is the thread that may use it without further questions. It has slots, because
    attributes of a subclass of sqlite3's are slow without, and every statement needs several.
    """

    __slots__ = (
        "__weakref__",
        "_autocommit",
        "_began_at",
        "_block_is_lost",
        "_blocks",
        "_current",
        "_cursor_class",
        "_expected",
        "_in_block",
        "_outside",
        "_watched",
        "born",
        "borrower",
        "children",
        "closed",
        "fetching",
        "foreign",
        "home",
        "parked",
        "read_only",
        "revoked",
        "running",
        "since",
        "thread",
        "told",
        "touched",
        "watch",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.home = Home("unknown", Turn())
        self.watch = Watch()
        self.children = Children()
        self.born = monotonic()
        self.borrower: Borrower | None = None
        self.since = 0.0  # when it was lent
        self.told = False  # whether it was reported that it is out for long
        self.thread = 0
        self.running: tuple[str, float] | None = None  # the statement, and since when
        self.fetching = False  # whether it runs only to give its next rows, as far as is known
        self.read_only = False
        self.closed = False
        self.parked = False  # the handle was closed for a fork; the next use opens another one
        self.foreign = False  # whether it was inherited from the process that forked this one
        self.touched = True  # an attribute of sqlite3's may be another than configured
        self.revoked = ""  # why it refuses every use, if it does
        self._autocommit: bool | None = None  # of Python 3.12; None is the one mode before that
        self._began_at: int | None = None  # total_changes when one statement began a transaction
        self._outside = 0.0  # when the last statement began outside of a transaction
        self._in_block = False  # whether the statement that runs is in a block's transaction
        self._block_is_lost = False
        self._watched = False  # whether SQLite asks the watch at this moment
        self._blocks: list[str] = []  # the savepoint of each 'with db:'; "" for the outermost
        self._current: Callable[[None], object] = lambda _: None
        self._expected: Callable[[], object] = lambda: None
        self._cursor_class: type[Cursor] = Cursor
        super().__init__(*args, **kwargs)

    def open_again(self, **arguments: Any) -> None:
        """Open another handle in the place of a closed one; sqlite3 forgets all attributes."""
        names = [name for name in Owned.__slots__ if name != "__weakref__"]
        state = {name: getattr(self, name) for name in names}
        try:
            sqlite3.Connection.__init__(self, **arguments)
        finally:
            for name, value in state.items():
                setattr(self, name, value)

    # -- lent and given back --------------------------------------------------------------

    def lend(self, borrower: Borrower) -> None:
        """Make ``borrower`` the owner."""
        self._current = borrower.current
        self._expected = borrower.expected
        self.borrower = borrower
        self.since = monotonic()
        self.told = False
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
                if self.touched:
                    self.restore()
            return uncommitted
        finally:
            if self._blocks:
                self._blocks.clear()
            self._block_is_lost = False
            if self.home.turn.holder is self:
                self.home.turn.release(self)

    def restore(self) -> None:
        """Set back what can be set back cheaply; ``watch`` knows of the rest."""
        ROW_FACTORY.__set__(self, self.home.row_factory)
        TEXT_FACTORY.__set__(self, str)
        ISOLATION_LEVEL.__set__(self, "IMMEDIATE")
        self.touched = False
        if AUTOCOMMIT is not None and isinstance(AUTOCOMMIT.__get__(self), bool):
            self.watch.altered = "autocommit"

    def start_watching(self) -> None:
        """Have SQLite tell the watch what the next statement does, until ``stop_watching()``.

        Not for every statement: asked amid compiling, SQLite waits for the interpreter's lock,
        and the others can change nothing that counts. What is compiled already is compiled anew.
        """
        self._watched = True
        sqlite3.Connection.set_authorizer(self, self.watch)

    def stop_watching(self) -> None:
        """Leave SQLite the authorizer of the borrower, if it has one."""
        self._watched = False
        with suppress(sqlite3.ProgrammingError):  # closed
            sqlite3.Connection.set_authorizer(self, self.watch.theirs)

    @property
    def usable(self) -> bool:
        """Whether nothing has changed that the next borrower could notice."""
        return self.watch.altered is None and not self.closed and not self.parked

    def revoke(self, why: str) -> None:
        """Refuse every further use, by the borrower too; what runs at this moment goes on."""
        self.revoked = why
        self.thread = 0

    # -- who uses it ----------------------------------------------------------------------

    def _check(self) -> None:
        if self.thread != get_ident() or self._current(None) is not self._expected():
            self._admit()

    def _enter(self, sql: str) -> None:
        """Begin to use the handle; ``_after`` ends it."""
        if self.thread != get_ident() or self._current(None) is not self._expected():
            self._admit()
        began = monotonic()
        self.running = (sql, began)
        if self.parked:
            self._unpark()
        try:
            if not self.in_transaction:
                self._outside = began
            elif self._blocks:
                self._in_block = True
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

    # -- what other threads may ask ---------------------------------------------------------

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

    # -- around a fork --------------------------------------------------------------------

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

    def _unpark(self) -> None:
        """Have another handle opened; what runs is nothing to wait for until it is there."""
        began = self.running
        while self.parked:
            self.running = None
            self.home.reopen(self)
            self.running = began

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
