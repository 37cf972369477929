"""One connection, and whatever may happen to it, beside plain sqlite3 that does what was meant.

The model is a second database. Each step of the library has its counterpart there, written in
statements: BEGIN IMMEDIATE, SAVEPOINT, COMMIT. A step that the library refuses has none. So
after each step both files have to hold the same rows, as other connections see them.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.databases import elsewhere
from faults.helpers import SCHEMA, opened, public
from sqlite_container import Connection, NotYourConnection, TransactionLost

TransactionError = public("TransactionError")
INSERT = "INSERT INTO note (title) VALUES (?)"
THREE = "INSERT INTO note (title) VALUES (:t || 'a'), (:t || 'b'), (:t || 'c') RETURNING id"
STOPPED = (
    "INSERT INTO note (title) WITH RECURSIVE n(i) AS"
    " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT stop(?) FROM n"
)
"""Is interrupted while it writes."""
DEPTH = 3

pytestmark = pytest.mark.filterwarnings("ignore::sqlite_container.UncommittedWarning")


class Fault(Exception):
    """Why a block fails."""


def block(db: Connection) -> Generator[None]:
    """Open a block, until it is asked for more or told to fail."""
    with db:
        yield


def outcome(call: Callable[[], object]) -> BaseException | None:
    """Return what it raises."""
    try:
        call()
    except (Fault, sqlite3.Error) as error:
        return error
    return None


class ConnectionMachine(RuleBasedStateMachine):
    """A connection of the library, and the model of what has to be stored."""

    @initialize()
    def start(self) -> None:
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.database = self.stack.enter_context(
            opened(folder, synchronous="off", functions={"stop": self.stop_library})
        )
        self.model = self.connect(folder / "model.db")
        self.model.executescript(f"PRAGMA journal_mode = wal; PRAGMA synchronous = off; {SCHEMA}")
        self.model.create_function("stop", 1, self.stop_model)
        self.seen = self.connect(folder / "data" / "notes.db")
        self.expected = self.connect(folder / "model.db")
        self.numbers = count(2)
        self.borrow()
        self.both("INSERT INTO number VALUES (1)")
        self.end_by_hand("commit()")

    def connect(self, file: Path) -> sqlite3.Connection:
        """Open a connection of sqlite3 that begins nothing by itself."""
        connection = sqlite3.connect(file, isolation_level=None)
        return self.stack.enter_context(closing(connection))

    def stop_library(self, text: str) -> str:
        self.db.interrupt()
        return text

    def stop_model(self, text: str) -> str:
        self.model.interrupt()
        return text

    def borrow(self) -> None:
        self.loan = self.database.connection()
        self.db = self.loan.__enter__()
        self.blocks: list[Generator[None]] = []
        self.cursors: list[sqlite3.Cursor] = []  # that have rows to give
        self.unread = False  # whether one of them may be that of a statement that writes
        self.lost = False  # whether SQLite has rolled back the transaction of the blocks

    # -- the same step on both sides ------------------------------------------------------

    def both(self, sql: str, *parameters: object) -> None:
        """Execute a statement on both sides: it ends in the same way."""
        error = outcome(lambda: self.db.execute(sql, parameters).fetchall())
        self.compare(error, lambda: self.model.execute(sql, parameters).fetchall())

    def compare(self, error: BaseException | None, call: Callable[[], object]) -> None:
        """Take the step in the model, unless the block is lost: then it must be refused."""
        if self.lost:
            assert isinstance(error, TransactionLost), error
            return
        expected = outcome(lambda: self.in_transaction(call))
        assert isinstance(error, type(expected)), (error, expected)
        self.lost = bool(self.blocks) and not self.model.in_transaction

    def in_transaction(self, call: Callable[[], object]) -> None:
        """Begin one if there is none, as for any statement that changes rows."""
        begins, before = not self.model.in_transaction, self.model.total_changes
        if begins:
            self.model.execute("BEGIN IMMEDIATE")
        try:
            call()
        finally:
            if begins and self.model.in_transaction and self.model.total_changes == before:
                self.model.execute("ROLLBACK")

    def title(self) -> str:
        return f"note {next(self.numbers)}"

    # -- blocks -----------------------------------------------------------------------------

    @rule()
    def begin_block(self) -> None:
        """A block begins; inside of another one it is a savepoint."""
        if len(self.blocks) == DEPTH:
            return
        new = block(self.db)
        error = outcome(lambda: next(new))
        if self.lost:
            assert isinstance(error, TransactionLost), error
            return
        if error is not None:
            assert isinstance(error, TransactionError), error
            assert self.unread
            return
        if self.blocks:
            self.model.execute(f"SAVEPOINT level_{len(self.blocks)}")
        elif not self.model.in_transaction:
            self.model.execute("BEGIN IMMEDIATE")
        self.blocks.append(new)

    @rule(fails=st.booleans())
    def end_block(self, fails: bool) -> None:
        """The innermost block ends, well or not: what it says is what is stored."""
        if not self.blocks:
            return
        ending = self.blocks.pop()
        if fails:
            error = outcome(lambda: ending.throw(Fault))
            assert isinstance(error, Fault), error
        else:
            error = outcome(lambda: next(ending, None))
            assert isinstance(error, TransactionLost) is self.lost, error
            assert error is None or self.lost or self.unread, error
        self.end_in_model(stored=error is None)

    def end_in_model(self, *, stored: bool) -> None:
        level = len(self.blocks)
        if not self.lost and level:
            if not stored:
                self.model.execute(f"ROLLBACK TO level_{level}")
            self.model.execute(f"RELEASE level_{level}")
        elif not self.lost:
            self.model.execute("COMMIT" if stored else "ROLLBACK")
        if not level:
            self.lost = self.unread = False

    @rule(how=st.sampled_from(["commit()", "rollback()", "COMMIT", "ROLLBACK"]))
    def end_by_hand(self, how: str) -> None:
        """The transaction is ended by hand, which is refused in a block."""
        call = {"commit()": self.db.commit, "rollback()": self.db.rollback}.get(how)
        if call is None and not self.blocks and not self.db.in_transaction:
            return
        error = outcome(call or (lambda: self.db.execute(how)))
        if self.blocks:
            assert isinstance(error, TransactionError | TransactionLost), error
        elif error is None:
            if self.model.in_transaction:
                self.model.execute(how.removesuffix("()").upper())
            self.unread = False
        else:
            assert self.unread, error

    # -- statements -------------------------------------------------------------------------

    @rule()
    def write(self) -> None:
        """A row is written."""
        self.both(INSERT, self.title())

    @rule(how=st.sampled_from(["ROLLBACK", "FAIL", "ABORT"]))
    def conflict(self, how: str) -> None:
        """A statement fails, and takes with it what SQLite says that it does."""
        self.both(f"INSERT OR {how} INTO number VALUES (?), (1)", next(self.numbers))

    @rule(how=st.sampled_from(["ROLLBACK", "FAIL", "ABORT"]))
    def conflict_in_many(self, how: str) -> None:
        """So does one of many, whose rows are made by code that reads meanwhile."""
        sql, new = f"INSERT OR {how} INTO number VALUES (?)", next(self.numbers)

        def rows() -> Generator[tuple[int]]:
            for number in (new, 1, -new):
                self.db.execute("SELECT count(*) FROM number").fetchone()
                yield (number,)

        error = outcome(lambda: self.db.executemany(sql, rows()))
        self.compare(error, lambda: self.model.executemany(sql, [(new,), (1,), (-new,)]))

    @rule()
    def script(self) -> None:
        """A script in a block belongs to its transaction."""
        title = self.title()
        sql = f"INSERT INTO note (title) VALUES ('{title}'); SELECT 1;"
        if self.blocks:
            error = outcome(lambda: self.db.executescript(sql))
            self.compare(error, lambda: self.model.execute(INSERT, (title,)))

    @rule()
    def interrupt_a_write(self) -> None:
        """A statement that writes is interrupted, which costs the whole transaction."""
        self.finish_cursors()
        self.both(STOPPED, self.title())

    @rule(writes=st.booleans())
    def read_half(self, writes: bool) -> None:
        """A cursor is left with rows to give, of a statement that reads or writes."""
        title, cursor = self.title(), self.db.cursor()
        if not writes:
            error = outcome(lambda: cursor.execute("SELECT n FROM number").fetchone())
            assert isinstance(error, TransactionLost) is self.lost, error
        else:
            error = outcome(lambda: cursor.execute(THREE, {"t": title}).fetchone())
            self.compare(error, lambda: self.model.execute(THREE, {"t": title}).fetchall())
            self.unread |= error is None
        self.cursors.append(cursor)

    @rule(interrupts=st.booleans())
    def finish_cursors(self, interrupts: bool = False) -> None:
        """What is left in the cursors is fetched, and may be interrupted meanwhile."""
        if interrupts:
            self.db.interrupt()
        for cursor in self.cursors:
            outcome(cursor.fetchall)
        self.cursors.clear()
        if interrupts and self.model.in_transaction and not self.db.in_transaction:
            self.model.execute("ROLLBACK")
            self.lost = bool(self.blocks)
        self.unread = self.unread and interrupts

    # -- others -----------------------------------------------------------------------------

    @rule(how=st.sampled_from(["fetch", "execute", "commit", "block"]))
    def intrude(self, how: str) -> None:
        """Another thread tries to use what is not its own."""
        cursor = self.cursors[-1] if self.cursors else self.db.cursor()
        calls: dict[str, Callable[[], Any]] = {
            "fetch": cursor.fetchone,
            "execute": lambda: cursor.execute("SELECT 1"),
            "commit": self.db.commit,
            "block": lambda: next(block(self.db)),
        }
        error = elsewhere(lambda: outcome(calls[how]))
        assert isinstance(error, NotYourConnection), error

    @rule()
    def give_back(self) -> None:
        """The connection goes back, whatever is open; what is not stored is rolled back."""
        self.loan.__exit__(None, None, None)
        while self.blocks:
            error = outcome(partial(self.blocks.pop().throw, Fault))
            assert isinstance(error, Fault | NotYourConnection), error
        for cursor in self.cursors:
            assert isinstance(outcome(cursor.fetchone), NotYourConnection)
        if self.model.in_transaction:
            self.model.execute("ROLLBACK")
        self.borrow()

    @invariant()
    def the_same_is_stored(self) -> None:
        """Both files have the same rows, and both connections a transaction, or neither."""
        assert self.db.in_transaction == self.model.in_transaction
        for sql in ("SELECT title FROM note ORDER BY title", "SELECT n FROM number ORDER BY n"):
            assert self.seen.execute(sql).fetchall() == self.expected.execute(sql).fetchall()

    def teardown(self) -> None:
        if hasattr(self, "loan"):
            self.give_back()
            self.loan.__exit__(None, None, None)
        self.stack.close()


ConnectionMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestConnection = ConnectionMachine.TestCase
