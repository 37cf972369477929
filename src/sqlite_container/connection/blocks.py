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
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Protocol, TypeAlias

from ..errors import TransactionError
from ..sqlite.raw import execute, primary_code

Begin: TypeAlias = Callable[[], None]
"""What begins a transaction."""
nobody_can_tell: Callable[[], object] = int
"""Instead of what returns None when a ``with`` statement is over. It returns 0."""
_names = count(1)


class Transactional(Protocol):
    """What blocks need of their connection."""

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite has a transaction open."""
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

    ``statement()`` returns what only that statement holds, and None when it is over: left in
    whichever way, or just about to be. It returns 0 if nobody can tell: see
    ``statement_exit.py``.
    """

    statement: Callable[[], object] = nobody_can_tell
    entered = False
    in_stack = False  # of an ExitStack, which leaves circles of references behind
    savepoint = ""

    @property
    def is_over(self) -> bool:
        """Whether its ``with`` statement is left, or just about to be."""
        return self.statement() is None


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
        stack = self.stack
        if stack and stack[-1].statement() is None:
            self.undo_what_is_over(db)
        if stack and not db.in_transaction:
            raise db.lost()

    def undo_what_is_over(self, db: Transactional) -> None:
        """Roll back the outermost block that is over, with all that it has inside."""
        position = next((i for i, each in enumerate(self.stack) if each.is_over), None)
        if position is not None:
            self._undo(db, position)

    def begin(self, db: Transactional, block: Block, begin_transaction: Begin) -> None:
        """Begin a transaction, or a savepoint inside a block that has begun one.

        A transaction that is pending without a block is taken over, as in sqlite3.
        """
        if self.stack:
            self._look_around(db)
        was_open = db.in_transaction
        try:
            if not was_open:
                begin_transaction()
            elif self.stack:
                block.savepoint = f"sqlite_container_{next(_names)}"
                execute(db, f"SAVEPOINT {block.savepoint}")  # type: ignore[arg-type]
            block.entered = True
            self.stack.append(block)
        except BaseException:
            self._take_back(db, block, was_open=was_open)
            raise

    def _look_around(self, db: Transactional) -> None:
        """Undo what is over; raise if the transaction was lost."""
        if any(each.in_stack for each in self.stack):
            gc.collect()  # or a block that is over may not look so
        self.undo_what_is_over(db)
        self.check(db)

    def end(self, db: Transactional, block: Block, kind: type[BaseException] | None) -> None:
        """Commit, or roll back for an exception of ``kind``; an inner block ends its savepoint.

        Raises :class:`TransactionLost`, and :class:`TransactionError` for a block that ends
        before one that was begun inside it.
        """
        stack, failed = self.stack, kind is not None
        if stack and not block.entered:
            block = stack[-1]  # __exit__() was called by hand
        in_order = bool(stack) and stack[-1] is block
        if not in_order and block not in stack:
            if failed:
                return
            raise db.lost() if not block.entered else _out_of_order()
        block.statement = type(None)  # from here an exception has it undone, by who comes next
        if in_order and not failed:
            self._keep(db, block)
            return
        self._undo(db, stack.index(block))
        if not failed:
            raise _out_of_order()

    def _keep(self, db: Transactional, block: Block) -> None:
        """End the innermost block, and keep what it has done."""
        if not db.in_transaction:
            db.end_writing()  # or what is open keeps an interrupt in force
            self.stack.pop()
            raise db.lost()
        try:
            if block.savepoint:
                execute(db, f"RELEASE {block.savepoint}")  # type: ignore[arg-type]
            else:
                db.commit_now()
        except BaseException as error:
            better = self._in_words(db, error)
            self._undo(db, len(self.stack) - 1)
            if better is not None:
                raise better from error
            raise
        self.stack.pop()

    def _in_words(self, db: Transactional, error: BaseException) -> Exception | None:
        """Return what says more than the error of a block that could not end, if anything does."""
        if not isinstance(error, sqlite3.OperationalError):
            return None
        if primary_code(error) == sqlite3.SQLITE_BUSY and db.still_writes_rows():
            return db.unfinished("COMMIT")
        return _savepoint_is_gone() if _is_missing(error) else None

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
