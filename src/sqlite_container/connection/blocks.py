"""The ``with db:`` blocks of a connection: what each of them began, and what it ends.

What a block is follows from SQLite's own state, never only from a list: an exception (of a
signal handler, say) may come between any two lines, and leave the list behind.

- A block that found no transaction began one. A block inside another one made a savepoint with a
  name of its own, and ends only that.
- A block whose ``with`` statement is over, although it was never ended, is undone before anything
  else happens.
- A block without a transaction has lost it: SQLite has rolled it back.
"""

from __future__ import annotations

import gc
import sqlite3
from contextlib import suppress
from itertools import count
from typing import Any, Protocol
from weakref import ref

from ..errors import TransactionError
from ..sqlite.raw import execute, primary_code

_names = count(1)


class Transactional(Protocol):
    """What blocks need of their connection."""

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite has a transaction open."""
        ...

    def begin_transaction(self, *, read_only: bool) -> None:
        """Begin one, and wait for the write lock before, unless it only reads."""
        ...

    def commit_now(self) -> None:
        """Commit, whatever Python's transaction control is set to."""
        ...

    def roll_back_now(self) -> None:
        """Roll back what is open, if anything is."""
        ...

    def end_writing(self) -> None:
        """Finish statements that write and have rows to give yet."""
        ...

    def still_writes_rows(self) -> bool:
        """Tell whether a statement that writes has rows to give yet."""
        ...

    def lost(self) -> Exception:
        """Make the error that says that the transaction is lost."""
        ...

    def unfinished(self, what: str) -> Exception:
        """Make the error that says that a statement of the block has rows to give yet."""
        ...


class Block:
    """What one ``with`` statement has begun.

    ``_statement`` refers to what only that statement holds, until it is left in whichever way;
    None if nobody can tell: see ``statement_exit.py``.
    """

    __slots__ = ("_statement", "ended", "entered", "in_stack", "savepoint")

    def __init__(self) -> None:
        self._statement: ref[Any] | None = None
        self.entered = False
        self.ended = False
        self.in_stack = False  # of an ExitStack, which leaves circles of references behind
        self.savepoint = ""

    def belongs_to(self, statement: Any) -> None:
        """Say which callable the interpreter holds for it."""
        self._statement = ref(statement)

    @property
    def statement(self) -> Any:
        """What only its ``with`` statement holds; None if nobody can tell."""
        return None if self._statement is None else self._statement()

    @property
    def is_over(self) -> bool:
        """Whether its ``with`` statement is left, or just about to be."""
        return self.ended or (self._statement is not None and self._statement() is None)


class Blocks:
    """The blocks of one connection, the innermost last. Only its owner's thread uses them."""

    __slots__ = ("stack",)

    def __init__(self) -> None:
        self.stack: list[Block] = []

    @property
    def is_open(self) -> bool:
        """Whether a block goes on, as far as anybody can tell."""
        return bool(self.stack) and not any(each.is_over for each in self.stack)

    def check(self, db: Transactional) -> None:
        """Undo what an interrupted block has left; raise if the transaction was lost."""
        if self.stack and self.stack[-1].is_over:
            self.undo_what_is_over(db)
        if self.stack and not db.in_transaction:
            raise db.lost()

    def undo_what_is_over(self, db: Transactional) -> None:
        """Roll back the outermost block that is over, with all that it has inside."""
        position = next((i for i, each in enumerate(self.stack) if each.is_over), None)
        if position is not None:
            self._undo(db, position)

    def begin(self, db: Transactional, block: Block, *, read_only: bool = False) -> None:
        """Begin a transaction, or a savepoint inside a block that has begun one.

        A transaction that is pending without a block is taken over, as in sqlite3.
        """
        if any(each.in_stack for each in self.stack):
            gc.collect()  # or a block that is over may not look so
        self.undo_what_is_over(db)
        self.check(db)
        was_open = db.in_transaction
        try:
            if not was_open:
                db.begin_transaction(read_only=read_only)
            elif self.stack:
                block.savepoint = f"sqlite_container_{next(_names)}"
                execute(db, f"SAVEPOINT {block.savepoint}")  # type: ignore[arg-type]
            block.entered = True
            self.stack.append(block)
        except BaseException:
            self._take_back(db, block, was_open=was_open)
            raise

    def end(self, db: Transactional, block: Block, *, failed: bool) -> None:
        """Commit, or roll back if the block failed; an inner block ends its savepoint only.

        Raises :class:`TransactionLost`, and :class:`TransactionError` for a block that ends
        before one that was begun inside it.
        """
        if not block.entered and self.stack:
            block = self.stack[-1]  # __exit__() was called by hand
        if block not in self.stack:
            if failed:
                return
            raise db.lost() if not block.entered else _out_of_order()
        block.ended = True  # from here an exception has it undone, by who comes next
        position = self.stack.index(block)
        in_order = position == len(self.stack) - 1
        if failed or not in_order:
            self._undo(db, position)
        else:
            self._keep(db, position)
        if not failed and not in_order:
            raise _out_of_order()

    def _keep(self, db: Transactional, position: int) -> None:
        if not db.in_transaction:
            db.end_writing()  # or what is open keeps an interrupt in force
            del self.stack[position:]
            raise db.lost()
        try:
            self._release(db, self.stack[position].savepoint)
        except BaseException:
            self._undo(db, position)
            raise
        del self.stack[position:]

    def _release(self, db: Transactional, savepoint: str) -> None:
        try:
            if savepoint:
                execute(db, f"RELEASE {savepoint}")  # type: ignore[arg-type]
            else:
                db.commit_now()
        except sqlite3.OperationalError as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY and db.still_writes_rows():
                raise db.unfinished("COMMIT") from error  # before they are finished below
            if _is_missing(error):
                raise _savepoint_is_gone() from error
            raise

    def _undo(self, db: Transactional, position: int) -> None:
        """Undo a block, and those inside it; the ones around it go on."""
        savepoint = self.stack[position].savepoint
        if not savepoint:
            db.end_writing()
            db.roll_back_now()
        elif db.in_transaction:
            self._roll_back_to(db, savepoint)
        del self.stack[position:]

    def _roll_back_to(self, db: Transactional, savepoint: str) -> None:
        try:
            execute(db, f"ROLLBACK TO {savepoint}")  # type: ignore[arg-type]
        except sqlite3.OperationalError as error:
            if not _is_missing(error):
                raise
            db.roll_back_now()  # nobody can tell what is the block's and what is not
            return
        db.end_writing()
        execute(db, f"RELEASE {savepoint}")  # type: ignore[arg-type]

    def _take_back(self, db: Transactional, block: Block, *, was_open: bool) -> None:
        """Undo ``begin()``, wherever it was interrupted."""
        if block in self.stack:
            self.stack.remove(block)
        if not was_open:
            db.roll_back_now()
        elif block.savepoint:
            with suppress(sqlite3.OperationalError):  # it was not made yet
                execute(db, f"ROLLBACK TO {block.savepoint}")  # type: ignore[arg-type]
                execute(db, f"RELEASE {block.savepoint}")  # type: ignore[arg-type]


def _is_missing(error: sqlite3.OperationalError) -> bool:
    return "no such savepoint" in str(error)


def _savepoint_is_gone() -> TransactionError:
    return TransactionError(
        "a savepoint that a 'with db:' block had made was released inside it; end only savepoints"
        " that you have begun in the same block"
    )


def _out_of_order() -> TransactionError:
    return TransactionError(
        "two 'with db:' blocks of one connection did not end in the reverse of the order in which"
        " they began, so neither is stored; let tasks and threads that run at the same time each"
        " have a connection of their own: with database.connection() as db:"
    )
