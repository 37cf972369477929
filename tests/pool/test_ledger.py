"""The pool's state, and the pool itself, driven through whatever order of events."""

import sqlite3
import tempfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from weakref import ref

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from sqlite_container import Connection, Database, PoolTimeout, TooManyRequests
from sqlite_container.connection.borrower import ThreadBorrower as Borrower
from sqlite_container.pool.ledger import Ledger


class Fake:
    """A connection, as far as the ledger is concerned."""

    def __init__(self, *, read_only: bool) -> None:
        self.read_only = read_only


class LedgerMachine(RuleBasedStateMachine):
    """Every order of borrowing, giving back, closing, giving up and expiring."""

    @initialize(max_size=st.integers(1, 4))
    def start(self, max_size: int) -> None:
        self.ledger: Ledger[Fake, int] = Ledger(max_size)
        self.max_size = max_size
        self.now = 0.0
        self.queue: deque[int] = deque()
        self.next_waiter = 0

    def grant_room(self) -> None:
        """The right to open a connection goes to who has waited longest."""
        if self.ledger.has_room and (waiter := self.next()) is not None:
            self.ledger.opening.add(waiter)

    def next(self) -> int | None:
        """Take who has waited longest out of the queue."""
        waiter = self.ledger.next_waiter()
        if waiter is None:
            assert not self.queue
            return None
        self.ledger.leave_queue(waiter)
        assert waiter == self.queue.popleft()
        return waiter

    @rule(read_only=st.booleans())
    def ask(self, read_only: bool) -> None:
        connection = None if self.ledger.waiters else self.ledger.take(read_only=read_only)
        self.next_waiter += 1
        if connection is not None:
            assert connection not in self.ledger.out
            self.ledger.out[connection] = self.next_waiter
        elif self.ledger.waiters or not self.ledger.reserve(self.next_waiter):
            self.ledger.waiters.append(self.next_waiter)
            self.queue.append(self.next_waiter)

    @precondition(lambda self: self.ledger.opening)
    @rule(read_only=st.booleans())
    def opened(self, read_only: bool) -> None:
        self.ledger.opened(Fake(read_only=read_only), min(self.ledger.opening))

    @precondition(lambda self: self.ledger.opening)
    @rule()
    def opening_failed(self) -> None:
        self.ledger.opening.remove(min(self.ledger.opening))
        self.grant_room()

    @precondition(lambda self: self.ledger.out)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(list(self.ledger.out)))
        del self.ledger.out[connection]
        self.now += 1
        waiter = self.next()
        if waiter is None:
            self.ledger.keep(connection, self.now)
        else:
            self.ledger.out[connection] = waiter

    @precondition(lambda self: self.ledger.out)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(list(self.ledger.out)))
        del self.ledger.out[connection]
        assert self.ledger.strays() == {connection}
        self.retire([connection])

    def retire(self, connections: list[Fake]) -> None:
        """They are closed now."""
        for connection in connections:
            self.ledger.known.remove(connection)
            self.grant_room()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def time_out(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(list(self.queue)))
        self.ledger.leave_queue(waiter)
        self.queue.remove(waiter)

    @rule(age=st.floats(0, 5))
    def expire(self, age: float) -> None:
        before = self.now - age
        old = [each for each, since in self.ledger.idle if since < before]
        expired = self.ledger.expire(before)
        assert expired == old
        self.retire(expired)
        assert all(since >= before for _, since in self.ledger.idle)

    @rule()
    def drain(self) -> None:
        idle = [each for each, _ in self.ledger.idle]
        drained = self.ledger.drain()
        assert drained == idle
        assert self.ledger.strays() == set(idle)
        self.retire(drained)
        assert not self.ledger.idle

    @invariant()
    def every_place_is_accounted_for(self) -> None:
        if hasattr(self, "ledger"):
            ledger = self.ledger
            idle = [each for each, _ in ledger.idle]
            assert ledger.size == len(idle) + len(ledger.out) + len(ledger.opening)
            assert not ledger.strays()
            assert 0 <= ledger.size <= self.max_size
            assert not set(idle) & set(ledger.out)
            assert len(set(idle)) == len(idle)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if hasattr(self, "ledger"):
            assert list(self.ledger.waiters) == list(self.queue)
            if self.queue:
                assert not self.ledger.idle
                assert self.ledger.size == self.max_size


class PoolMachine(RuleBasedStateMachine):
    """One thread drives a real pool over a real database, several borrowers at a time."""

    loans = Bundle("loans")

    @initialize(max_size=st.integers(1, 3), memory=st.booleans())
    def start(self, max_size: int, memory: bool) -> None:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.max_size = max_size
        self.path = ":memory:" if memory else str(Path(folder) / "notes.db")
        self.database = Database("notes")
        self.out: dict[Connection, Borrower] = {}
        self.rows = 0
        self.requests = self.errors = 0
        self.open()
        with self.database.transaction() as db:
            db.execute("CREATE TABLE note (title)")
        self.requests += 1

    def open(self) -> None:
        pool = {"max_size": self.max_size, "timeout": 0, "leak_threshold": None}
        self.database.open({"path": self.path, "pool": pool, "busy_timeout": 0})

    @rule(target=loans, read_only=st.booleans())
    def borrow(self, read_only: bool) -> Connection | None:
        self.requests += 1
        borrower = Borrower(self.database, ref(self))
        try:
            connection = self.database.lend(borrower, read_only=read_only)
        except (PoolTimeout, TooManyRequests):
            self.errors += 1
            assert len(self.out) == self.max_size
            return None
        assert len(self.out) < self.max_size
        assert connection not in self.out
        assert connection.row_factory is None
        assert not connection.in_transaction
        assert connection.execute("PRAGMA query_only").fetchone() == (int(read_only),)
        self.out[connection] = borrower
        return connection

    @rule(connection=consumes(loans))
    def give_back(self, connection: Connection | None) -> None:
        if connection is not None and connection in self.out:
            borrower = self.out.pop(connection)
            connection.lender.give_back(connection, borrower)
            connection.lender.give_back(connection, borrower)

    @rule(connection=loans)
    def alter(self, connection: Connection | None) -> None:
        if connection is not None and connection in self.out and not connection.closed:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA recursive_triggers = 1")

    @rule(connection=loans)
    def close_it(self, connection: Connection | None) -> None:
        if connection in self.out:
            assert connection is not None
            connection.close()
            del self.out[connection]

    @rule(connection=loans)
    def write(self, connection: Connection | None) -> None:
        if connection in self.out:
            assert connection is not None
            try:
                with connection:
                    connection.execute("INSERT INTO note VALUES ('x')")
                self.rows += 1
            except sqlite3.OperationalError:
                assert connection.read_only

    @invariant()
    def the_figures_are_right(self) -> None:
        if hasattr(self, "database"):
            figures = self.database.stats()
            assert figures["pool_size"] == figures["pool_available"] + len(self.out)
            assert figures["pool_size"] <= self.max_size
            assert figures["requests_waiting"] == 0
            assert figures["requests_num"] == self.requests
            assert figures["requests_errors"] == self.errors
            assert len(self.database.holders()) == len(self.out)

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.stack:
            for connection, borrower in self.out.items():
                connection.lender.give_back(connection, borrower)
            self.out.clear()
            with self.database.reader() as db:
                assert db.execute("SELECT count(*) FROM note").fetchone() == (self.rows,)
            self.database.close()
            if self.path != ":memory:":
                assert [each.name for each in Path(self.path).parent.iterdir()] == ["notes.db"]


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=80, deadline=None, derandomize=True, database=None)
TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
