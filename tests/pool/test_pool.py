"""Who gets a connection, who waits, and what is said about those that are out."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest

from common.databases import (
    PATIENCE,
    Open,
    add,
    count,
    elsewhere,
    held_by_a_thread,
    in_thread,
    wait_until,
)
from sqlite_container import (
    Connection,
    Database,
    LeakWarning,
    PoolTimeout,
    TooManyRequests,
    UncommittedWarning,
)
from sqlite_container.connection.lender import Lender
from sqlite_container.threads.bell import Bell

STATISTICS = {
    "pool_min", "pool_max", "pool_size", "pool_available", "requests_waiting", "usage_ms",
    "requests_num", "requests_queued", "requests_wait_ms", "requests_errors", "returns_bad",
    "connections_num", "connections_ms", "connections_errors", "connections_lost",
    "wal_bytes", "wal_reader_ms",
}  # fmt: skip


def queue_up(database: Database, call: Callable[[], None], position: int) -> threading.Event:
    """Start a thread that waits for a connection as number ``position`` of the queue."""
    done = threading.Event()
    in_thread(call).add_done_callback(lambda _: done.set())
    wait_until(lambda: database.stats()["requests_waiting"] == position)
    return done


def test_the_statistics_have_the_names_of_psycopg_pool(database: Database) -> None:
    """stats() has the figures that monitoring knows from psycopg_pool, and two of WAL."""
    assert set(database.stats()) == STATISTICS
    assert all(isinstance(value, int | float) for value in database.stats().values())


def test_connections_are_opened_when_needed_and_kept(open_database: Open) -> None:
    """One after the other, borrowers share one connection; together they have one each."""
    database = open_database(pool={"max_size": 3})
    for _ in range(5):
        add(database)
    assert database.stats()["pool_size"] == 1
    with database.connection() as one, database.connection() as two, database.reader() as three:
        assert len({id(each) for each in (one, two, three)}) == 3
        assert database.stats()["pool_size"] == 3
        assert database.stats()["pool_available"] == 0
    figures = database.stats()
    assert (figures["pool_size"], figures["pool_available"]) == (3, 3)
    assert figures["requests_num"] == 8
    assert figures["requests_errors"] == figures["returns_bad"] == 0


def test_a_connection_goes_to_those_who_wait_in_their_order(open_database: Open) -> None:
    """A connection that comes back goes to who has waited longest, never to a later one."""
    database = open_database(pool={"max_size": 1})
    order: list[int] = []

    def borrow(number: int) -> None:
        with database.connection():
            order.append(number)

    with database.connection():
        threads = [queue_up(database, partial(borrow, number), number + 1) for number in range(5)]
    for done in threads:
        assert done.wait(PATIENCE)
    assert order == list(range(5))
    assert database.stats()["requests_queued"] == 5


def test_who_comes_later_cannot_overtake(open_database: Open) -> None:
    """The thread that gives back and asks again at once goes to the end of the queue."""
    database = open_database(pool={"max_size": 1})
    order: list[str] = []

    def borrow() -> None:
        with database.connection():
            order.append("waiter")

    with database.connection():
        done = queue_up(database, borrow, 1)
    with database.connection():
        order.append("again")
    assert done.wait(PATIENCE)
    assert order == ["waiter", "again"]


def test_a_time_out_says_how_long_and_who(open_database: Open) -> None:
    """PoolTimeout names the database, the settings, and each holder's thread, time and line."""
    database = open_database(pool={"max_size": 1, "timeout": 0.05})
    with held_by_a_thread(database, name="hoarder"), pytest.raises(PoolTimeout) as caught:
        count(database)
    message = str(caught.value)
    for part in ("'notes'", "0.0", "pool.timeout", "pool.max_size", "'hoarder'", "databases.py"):
        assert part in message
    assert isinstance(caught.value, sqlite3.OperationalError)
    assert isinstance(caught.value, TimeoutError)
    assert database.stats()["requests_errors"] == 1
    assert database.stats()["requests_waiting"] == 0
    assert count(database) == 0


def test_too_many_waiters_are_refused_at_once(open_database: Open) -> None:
    """With max_waiting, one more than that is refused without waiting."""
    database = open_database(pool={"max_size": 1, "max_waiting": 1})
    with database.connection():
        done = queue_up(database, lambda: add(database), 1)
        with pytest.raises(TooManyRequests, match="max_waiting"):
            elsewhere(lambda: count(database))
        assert database.stats()["requests_errors"] == 1
    assert done.wait(PATIENCE)
    assert count(database) == 1


def test_a_wait_that_ends_as_the_connection_comes_loses_nothing(open_database: Open) -> None:
    """Time-outs at the moment of the hand-off leave every connection to somebody."""
    database = open_database(pool={"max_size": 2, "timeout": 0.001, "leak_threshold": None})
    start = threading.Barrier(6)

    def borrow() -> int:
        start.wait(PATIENCE)
        had = 0
        for _ in range(150):
            try:
                with database.reader() as db:
                    db.execute("SELECT 1").fetchone()
                    time.sleep(0.0005)
                had += 1
            except PoolTimeout:
                pass
        return had

    futures = [in_thread(borrow) for _ in range(6)]
    had = sum(future.result(PATIENCE) for future in futures)
    figures = database.stats()
    assert figures["requests_num"] == 900
    assert figures["requests_errors"] == 900 - had
    assert figures["pool_size"] == figures["pool_available"] <= 2
    assert figures["requests_waiting"] == 0
    assert database.holders() == []


def test_a_waiter_keeps_what_it_is_given_while_it_times_out(open_database: Open) -> None:
    """A connection that is handed over at the moment of the time-out is accepted, not lost."""
    database = open_database(pool={"max_size": 1, "timeout": 0.05})
    pool = database._pool
    assert pool is not None
    with ExitStack() as stack:
        db = stack.enter_context(database.connection())
        future = in_thread(lambda: count(database))
        wait_until(lambda: len(pool._ledger.waiters) == 1)
        waiter = pool._ledger.waiters[0]
        ring = waiter.bell
        # A bell that nobody hears: the wait ends by its time alone, after the connection came.
        waiter.bell = Bell()
        borrower = db.borrower
        assert borrower is not None
        pool.give_back(db, borrower)
        assert waiter.granted
        assert future.result(PATIENCE) == 0
        assert not ring.wait(0)
    assert database.stats()["pool_available"] == 1


def test_one_owner_at_a_time(open_database: Open) -> None:
    """However many threads ask, a connection is never in two hands."""
    database = open_database(pool={"max_size": 3})
    hands: dict[int, int] = {}
    guard, start = threading.Lock(), threading.Barrier(8)

    def borrow(number: int) -> None:
        start.wait(PATIENCE)
        for turn in range(60):
            with database.reader() if (turn + number) % 2 else database.connection() as db:
                with guard:
                    assert hands.setdefault(id(db), number) == number
                    assert len(hands) <= 3
                rows = db.execute("SELECT ? UNION ALL SELECT ?", (number, turn)).fetchall()
                assert rows == [(number,), (turn,)]
                with guard:
                    del hands[id(db)]

    futures = [in_thread(partial(borrow, number)) for number in range(8)]
    for future in futures:
        future.result(PATIENCE)
    assert database.stats()["pool_size"] <= 3


def test_a_connection_that_is_too_old_is_replaced(open_database: Open) -> None:
    """After max_lifetime a connection is closed when it comes back."""
    database = open_database(pool={"max_size": 1, "max_lifetime": 0.01})
    with database.connection() as first:
        wait_until(lambda: time.monotonic() - first.born > 0.02)
    assert database.stats()["pool_size"] == 0
    with database.connection() as second:
        assert second is not first
    assert database.stats()["returns_bad"] == 0


def test_those_who_wait_get_a_new_connection_for_an_old_one(open_database: Open) -> None:
    """A connection that is closed on its return leaves its place to who waits."""
    database = open_database(pool={"max_size": 1})
    with database.connection() as db:
        done = queue_up(database, lambda: add(database), 1)
        db.close()
    assert done.wait(PATIENCE)
    assert count(database) == 1


def test_connections_that_nobody_needs_are_closed(open_database: Open) -> None:
    """What was idle for max_idle seconds is closed, and what is in use stays."""
    database = open_database(pool={"max_size": 4, "max_idle": 0.02})
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(database.connection())
    assert database.stats()["pool_size"] == 4
    past = time.monotonic() + 0.03
    wait_until(lambda: time.monotonic() > past)
    count(database)
    assert database.stats()["pool_size"] <= 2


def test_a_connection_out_for_too_long_is_reported_once(open_database: Open) -> None:
    """A loan longer than leak_threshold is reported with the holder's record, one time."""
    database = open_database(pool={"leak_threshold": 0.01})
    with held_by_a_thread(database, name="slowpoke"):
        wait_until(lambda: database._pool and database.holders()[0].seconds > 0.02)
        with pytest.warns(LeakWarning, match=r"'slowpoke'.*databases\.py") as caught:
            database.stats()
        assert len(caught) == 1
        database.stats()


def test_a_long_loan_is_reported_when_it_ends_at_the_latest(open_database: Open) -> None:
    """If nobody looked before, the give-back reports it."""
    database = open_database(pool={"leak_threshold": 0.01})
    with pytest.warns(LeakWarning, match="was out"), database.connection() as db:
        wait_until(lambda: time.monotonic() - db.born > 0.05)
    with database.connection():
        pass


def test_no_threshold_reports_nothing(open_database: Open) -> None:
    """leak_threshold: null switches the report off."""
    database = open_database(pool={"leak_threshold": None})
    with database.connection() as db:
        wait_until(lambda: time.monotonic() - db.born > 0.05)
        database.stats()


def test_a_borrower_that_died_is_found(open_database: Open) -> None:
    """A thread that ended with a connection is reported, and who waits gets the place."""
    database = open_database(pool={"max_size": 1, "timeout": 10})

    def die() -> None:
        database.connection().__enter__().execute("INSERT INTO note (title) VALUES ('x')")

    thread = threading.Thread(target=die, name="dead-borrower")
    thread.start()
    thread.join(PATIENCE)
    with pytest.warns(LeakWarning, match="gone.*'dead-borrower'"):
        assert count(database) == 0
    figures = database.stats()
    assert (figures["pool_size"], figures["pool_available"]) == (1, 1)
    assert figures["returns_bad"] == 1


def test_holders_say_who_since_when_and_what(open_database: Open) -> None:
    """holders() has a record for each connection that is out, the oldest first."""
    database = open_database()
    with (
        held_by_a_thread(database, name="first"),
        held_by_a_thread(database, name="second", read_only=True),
    ):
        first, second = database.holders()
        assert (first.thread, second.thread) == ("first", "second")
        assert (first.read_only, second.read_only) == (False, True)
        assert first.database == "notes"
        assert first.request is None
        assert first.where is not None
        assert "databases.py" in first.where
        assert "in hold" in first.where
        assert first.since <= second.since
        assert first.since.tzinfo is not None
        assert first.statement is None
    assert database.holders() == []


def test_a_holder_is_known_by_its_line_also_through_an_exit_stack(database: Database) -> None:
    """Who enters the loan through contextlib is named by its own line, too."""
    with ExitStack() as stack:
        stack.enter_context(database.connection())
        (holder,) = database.holders()
        assert holder.where is not None
        assert __file__ in holder.where


def test_a_connection_that_cannot_be_opened_leaves_its_place(open_database: Open) -> None:
    """If opening another connection fails, the error comes through and the pool stays whole."""
    database = open_database(pool={"max_size": 2})
    pool = database._pool
    assert pool is not None
    connect, fail = pool.engine.connect, [True]

    def failing(lender: Lender, *, read_only: bool) -> Connection:
        if fail:
            raise sqlite3.OperationalError("no more descriptors")
        return connect(lender, read_only=read_only)

    pool.engine.connect = failing  # type: ignore[method-assign]
    with database.connection():
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError, match="descriptors"):
                count(database)
        assert database.stats()["pool_size"] == 1
        assert database.stats()["connections_errors"] == 3
        fail.clear()
        assert count(database) == 0
        assert database.stats()["pool_size"] == 2


def test_an_interrupted_wait_leaves_the_queue(open_database: Open) -> None:
    """Who stops waiting for another reason, such as Ctrl-C, is given nothing afterwards."""
    database = open_database(pool={"max_size": 1})
    pool = database._pool
    assert pool is not None

    def interrupted() -> None:
        raise KeyboardInterrupt

    with database.connection():
        original, pool.look_after = pool.look_after, interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            elsewhere(lambda: count(database))
        pool.look_after = original  # type: ignore[method-assign]
        assert database.stats()["requests_waiting"] == 0
    assert count(database) == 0


def test_the_uncommitted_is_told_after_the_connection_is_free(open_database: Open) -> None:
    """Where warnings are errors, too, the give-back is complete and raises nothing."""
    database = open_database(pool={"max_size": 1})
    with pytest.warns(UncommittedWarning), database.connection() as db:
        db.execute("INSERT INTO note (title) VALUES ('x')")
    figures = database.stats()
    assert (figures["pool_size"], figures["pool_available"]) == (1, 1)


def test_a_loan_is_entered_once_at_a_time(open_database: Open) -> None:
    """Entering the same loan twice is refused or gives two loans; it loses no connection."""
    database = open_database(pool={"max_size": 2})
    loan = database.connection()
    try:
        with loan, loan:
            pass
    except (RuntimeError, sqlite3.Error):
        pass
    figures = database.stats()
    assert figures["pool_available"] == figures["pool_size"]
    assert database.holders() == []


def test_looking_at_a_database_changes_nothing(database: Database) -> None:
    """repr() tells the state and asks for nothing."""
    assert repr(database) == "<Database 'notes', 0 of 10 connections out>"
    with database.connection():
        assert repr(database) == "<Database 'notes', 1 of 10 connections out>"
    database.close()
    assert repr(database) == "<Database 'notes', closed>"


def test_two_threads_do_not_take_back_one_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one takes back what a dead thread has left, others that pass by leave it alone."""
    reset = Connection.reset
    kept = []

    def leave() -> None:
        kept.append(database.connection())
        kept[0].__enter__().execute("INSERT INTO note (title) VALUES ('x')")

    def slowly(connection: Connection) -> bool:
        elsewhere(database.stats)
        assert not connection.closed
        return reset(connection)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    monkeypatch.setattr(Connection, "reset", slowly)
    with pytest.warns(LeakWarning) as told:
        assert database.stats()["connections_lost"] == 1
    assert len(told) == 1
    monkeypatch.undo()
    assert count(database) == 0
