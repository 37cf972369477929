"""The end of a database that is in use."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from common.databases import (
    PATIENCE,
    SLOW,
    Open,
    add,
    count,
    elsewhere,
    files,
    held_by_a_thread,
    in_thread,
    wait_until,
)
from sqlite_container import (
    Database,
    DatabaseClosed,
    LeakWarning,
    StatementInterrupted,
    UncommittedWarning,
)

Fetch = Callable[[sqlite3.Cursor, threading.Event], None]


def in_sqlite(database: Database) -> bool:
    """Whether a statement is running on some connection."""
    return any(holder.statement for holder in database.holders())


def test_closing_leaves_one_file(database: Database, path: Path) -> None:
    """After close() there is the database, and neither -wal nor -shm."""
    for _ in range(3):
        add(database)
    with database.connection(), database.reader(), database.connection() as db:
        db.execute("SELECT * FROM note").fetchone()
    assert "notes.db-wal" in files(path.parent)
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_slow_query_is_interrupted(database: Database, path: Path) -> None:
    """close() ends a query without an end, whose owner gets StatementInterrupted."""
    add(database)

    def query() -> None:
        with database.connection() as db:
            db.execute(SLOW)

    future = in_thread(query)
    wait_until(lambda: in_sqlite(database))
    began = time.monotonic()
    database.close(timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    with pytest.raises(StatementInterrupted, match=r"'notes'.*RECURSIVE.*closing"):
        future.result(PATIENCE)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_eight_slow_queries_are_interrupted_together(open_database: Open, path: Path) -> None:
    """However many statements run, closing takes no longer than for one."""
    database = open_database(pool={"max_size": 8})
    start = threading.Barrier(9)

    def query() -> None:
        with database.reader() as db:
            start.wait(PATIENCE)
            db.execute(SLOW)

    futures = [in_thread(query) for _ in range(8)]
    start.wait(PATIENCE)
    database.close(timeout=PATIENCE)
    for future in futures:
        assert isinstance(future.exception(PATIENCE), StatementInterrupted)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_slow_write_is_interrupted_and_rolled_back(database: Database, path: Path) -> None:
    """A write that is interrupted leaves nothing of its transaction."""

    def write() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('before')")
            db.execute(f"INSERT INTO note (title) {SLOW}")

    future = in_thread(write)
    wait_until(lambda: in_sqlite(database))
    database.close(timeout=PATIENCE)
    assert isinstance(future.exception(PATIENCE), sqlite3.OperationalError)
    assert files(path.parent) == {"notes.db", "schemas"}
    with sqlite3.connect(path, isolation_level=None) as left:
        assert left.execute("SELECT count(*) FROM note").fetchone() == (0,)
    left.close()


def iterate(rows: sqlite3.Cursor, fetching: threading.Event) -> None:
    """Row by row, as most people do."""
    for _ in rows:
        fetching.set()


def fetch_one_by_one(rows: sqlite3.Cursor, fetching: threading.Event) -> None:
    """Row by row, by hand."""
    while rows.fetchone():
        fetching.set()


def fetch_many(rows: sqlite3.Cursor, fetching: threading.Event) -> None:
    """In portions."""
    while rows.fetchmany(100):
        fetching.set()


def fetch_all(rows: sqlite3.Cursor, fetching: threading.Event) -> None:
    """At once."""
    fetching.set()
    rows.fetchall()


@pytest.mark.parametrize("fetch", [iterate, fetch_one_by_one, fetch_many, fetch_all])
@pytest.mark.parametrize("statement_timeout", [None, PATIENCE])
def test_who_fetches_is_interrupted(
    open_database: Open, path: Path, fetch: Fetch, statement_timeout: float | None
) -> None:
    """Fetching ends as well, in whichever way it is done, and the error says why."""
    database = open_database(statement_timeout=statement_timeout)
    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000000)"
        " SELECT i FROM n WHERE i % 100000 = 1"
    )
    fetching = threading.Event()

    def read() -> None:
        with database.reader() as db:
            fetch(db.execute(rows), fetching)

    future = in_thread(read)
    assert fetching.wait(PATIENCE)
    database.close(timeout=PATIENCE)
    error = future.exception(PATIENCE)
    assert isinstance(error, StatementInterrupted)
    assert "notes" in str(error)
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_short_transaction_may_finish(database: Database, path: Path) -> None:
    """Closing waits for who is about to commit."""
    inside, closing = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('x')")
            inside.set()
            closing.wait(PATIENCE)
            db.execute("INSERT INTO note (title) VALUES ('y')")

    future = in_thread(write)
    assert inside.wait(PATIENCE)
    end = in_thread(lambda: database.close(timeout=PATIENCE))
    wait_until(lambda: _refuses(database))
    closing.set()
    end.result(PATIENCE)
    future.result(PATIENCE)
    database.open(str(path))
    assert count(database) == 2
    database.close()


def _refuses(database: Database) -> bool:
    try:
        database.check()
    except DatabaseClosed:
        return True
    return False


def test_a_connection_that_is_not_let_go_is_left_and_reported(
    database: Database, path: Path
) -> None:
    """It is never closed under its borrower, who can only give it back, which closes it."""
    out, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with database.connection() as db:
            out.set()
            go_on.wait(PATIENCE)
            with pytest.raises(DatabaseClosed, match="was closed while"):
                db.execute("SELECT 1")

    future = in_thread(hold, "stubborn")
    assert out.wait(PATIENCE)
    with pytest.warns(LeakWarning, match="'stubborn'") as caught:
        database.close(timeout=0.05)
    assert len(caught) == 1
    assert database.closed
    assert "notes.db-wal" in files(path.parent)
    go_on.set()
    future.result(PATIENCE)
    assert files(path.parent) == {"notes.db", "schemas"}


def _let_go(go_on: threading.Event, future: "Future[None]") -> None:
    go_on.set()
    future.exception(PATIENCE)


def test_a_block_that_is_not_let_go_is_rolled_back_in_the_end(
    database: Database, path: Path
) -> None:
    """A transaction that was open too long is refused its COMMIT, and leaves nothing."""
    out, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('x')")
            out.set()
            go_on.wait(PATIENCE)

    future = in_thread(hold)
    assert out.wait(PATIENCE)
    with pytest.warns(LeakWarning):
        database.close(timeout=0.05)
    with pytest.warns(UncommittedWarning):
        _let_go(go_on, future)
    assert isinstance(future.exception(PATIENCE), DatabaseClosed)
    assert files(path.parent) == {"notes.db", "schemas"}
    database.open(str(path))
    assert count(database) == 0


def test_connections_that_come_back_together_leave_one_file(
    open_database: Open, path: Path
) -> None:
    """The last connections, given back by several threads at one moment, leave no -wal file.

    SQLite itself leaves it there, now and then, where two connections are closed at once.
    """
    database = open_database(pool={"max_size": 4})
    add(database)

    def hold(out: threading.Barrier, closing: threading.Event) -> None:
        with database.connection() as db:
            db.execute("SELECT count(*) FROM note").fetchone()
            out.wait(PATIENCE)
            closing.wait(PATIENCE)
            out.wait(PATIENCE)

    for _ in range(60):
        database.open({"path": str(path), "pool": {"max_size": 4}})
        out, closing = threading.Barrier(5), threading.Event()
        threads = [in_thread(partial(hold, out, closing)) for _ in range(4)]
        out.wait(PATIENCE)
        end = in_thread(lambda: database.close(timeout=PATIENCE))
        wait_until(lambda: _refuses(database))
        closing.set()
        out.wait(PATIENCE)
        end.result(PATIENCE)
        assert [thread.exception(PATIENCE) for thread in threads] == [None] * 4
        assert files(path.parent) == {"notes.db", "schemas"}


def test_closing_twice_does_nothing(database: Database) -> None:
    """A second close(), and one of a database that was never opened, is no error."""
    database.close()
    database.close()
    Database().close()
    assert database.closed


def test_several_threads_may_close(database: Database, path: Path) -> None:
    """All of them return after it is closed, none of them with an error."""
    start = threading.Barrier(4)

    def query() -> None:
        with database.connection() as db:
            db.execute(SLOW)

    def close() -> bool:
        start.wait(PATIENCE)
        database.close(timeout=PATIENCE)
        return files(path.parent) == {"notes.db", "schemas"}

    slow = in_thread(query)
    wait_until(lambda: in_sqlite(database))
    futures = [in_thread(close) for _ in range(4)]
    assert [future.result(PATIENCE) for future in futures] == [True] * 4
    assert isinstance(slow.exception(PATIENCE), StatementInterrupted)


def test_those_who_wait_are_told(open_database: Open) -> None:
    """Whoever waits for a connection when the database closes gets DatabaseClosed at once."""
    database = open_database(pool={"max_size": 1})
    with held_by_a_thread(database) as done:
        future = in_thread(lambda: count(database))
        wait_until(lambda: database.stats()["requests_waiting"] == 1)
        end = in_thread(lambda: database.close(timeout=PATIENCE))
        assert isinstance(future.exception(PATIENCE / 2), DatabaseClosed)
        done.set()
    end.result(PATIENCE)


def test_new_loans_are_refused_while_it_closes(database: Database) -> None:
    """While close() waits for one borrower, nobody else gets a connection."""
    with held_by_a_thread(database) as done:
        end = in_thread(lambda: database.close(timeout=PATIENCE))
        wait_until(lambda: _refuses(database))
        with pytest.raises(DatabaseClosed):
            elsewhere(lambda: count(database))
        done.set()
    end.result(PATIENCE)


def test_those_who_wait_for_their_turn_do_not_hold_up_the_end(open_database: Open) -> None:
    """A writer that waits in the queue is told that the database closes."""
    database = open_database(busy_timeout=PATIENCE * 2)
    with held_by_a_thread(database, "BEGIN IMMEDIATE"):
        writer = in_thread(lambda: add(database))
        wait_until(lambda: len(database.holders()) == 2)
        with pytest.warns(LeakWarning):
            database.close(timeout=0.1)
        assert isinstance(writer.exception(3), sqlite3.Error)


def test_it_can_be_opened_again(database: Database, path: Path) -> None:
    """The same object opens again, also while a connection of its former life is still out."""
    add(database)
    with held_by_a_thread(database):
        with pytest.warns(LeakWarning):
            database.close(timeout=0.01)
        database.open(str(path))
        add(database)
        assert count(database) == 2
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}


def test_opening_while_open_does_nothing(database: Database, path: Path) -> None:
    """A second open() keeps the first one's settings and connections."""
    with database.connection() as db:
        database.open({"path": "/nowhere/else.db"})
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_thirty_two_threads_open_once(path: Path, schema: Path) -> None:
    """First use from many threads at once opens one database."""
    database, start = Database("notes"), threading.Barrier(32)

    def open_it() -> int:
        start.wait(PATIENCE)
        database.open({"path": str(path), "schema": str(schema), "pool": {"max_size": 32}})
        return count(database)

    futures = [in_thread(open_it) for _ in range(32)]
    assert [future.result(PATIENCE) for future in futures] == [0] * 32
    assert database.stats()["connections_errors"] == 0
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_forgotten_database_takes_its_connections_with_it(path: Path) -> None:
    """A Database that nobody refers to any more is closed."""
    database = Database("notes")
    database.open(str(path))
    with database.transaction() as db:
        db.execute("CREATE TABLE t (i)")
    del database, db
    assert files(path.parent) == {"notes.db"}


def test_closing_with_an_idle_connection_that_was_interrupted(
    database: Database, path: Path
) -> None:
    """An interrupt() that came too late does not leave the -wal file behind."""
    add(database)
    with database.connection() as db:
        db.interrupt()
    database.close()
    assert files(path.parent) == {"notes.db", "schemas"}


def test_a_row_factory_that_knows_its_own_rows_only(path: Path) -> None:
    """The library's own statements do not go through the user's row_factory."""

    def note(cursor: sqlite3.Cursor, row: tuple[int, str]) -> str:
        number, title = row
        return f"{number}: {title}"

    database = Database("notes")
    database.open({"path": str(path), "row_factory": note})
    try:
        with database.connection() as db:
            assert db.execute("SELECT 1, 'a'").fetchall() == ["1: a"]
        with database.reader() as db:
            assert db.execute("SELECT 2, 'b'").fetchall() == ["2: b"]
        database.check()
    finally:
        database.close()
    assert database.closed


def test_a_database_in_memory_ends_with_its_last_connection(open_database: Open) -> None:
    """:memory: is shared by the connections, and empty again when it is opened again."""
    database = open_database(path=":memory:")
    add(database)
    with database.connection() as one, database.reader() as two:
        for db in (one, two):
            assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)
    assert elsewhere(lambda: count(database)) == 1
    database.close()
    database.open(":memory:")
    with database.reader() as db:
        assert db.execute("SELECT * FROM sqlite_schema").fetchall() == []
    database.close()


def test_a_close_that_ends_late_leaves_what_was_opened_anew(
    open_database: Open, path: Path
) -> None:
    """Two close() at the same time, the second gave up first: the database is open again."""
    database = open_database()
    with held_by_a_thread(database) as done:
        late = in_thread(lambda: database.close(PATIENCE))
        wait_until(lambda: database._pool is not None and database._pool.closing)
        with pytest.warns(LeakWarning):
            database.close(0)
        database.open({"path": str(path)})
        done.set()
        late.result(PATIENCE)
    assert not database.closed
    assert count(database) == 0
