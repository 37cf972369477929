"""What keeps the write-ahead log from starting anew, and who that is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.databases import PATIENCE, add, in_thread, plain
from sqlite_container import Connection, Database, Holder

ROWS = 20


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with some rows."""
    for _ in range(ROWS):
        add(database)
    return database


def is_truncated(path: Path) -> bool:
    """Whether a checkpoint can empty the log, which no reader may be using then."""
    with plain(path) as other:
        other.execute("PRAGMA busy_timeout = 0")
        return bool(other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


@contextmanager
def reader(database: Database, read: Callable[[Connection], object]) -> Iterator[None]:
    """Somebody in a thread called "reader", who has read and keeps the connection."""
    has_read, done = threading.Event(), threading.Event()

    def run() -> None:
        with database.reader() as db:
            kept = read(db)
            has_read.set()
            done.wait(PATIENCE)
            del kept
            db.rollback()

    future = in_thread(run, "reader")
    try:
        assert has_read.wait(PATIENCE)
        yield
    finally:
        done.set()
        future.result(PATIENCE)


def of_reader(database: Database) -> Holder:
    """What is told of that thread."""
    (found,) = [holder for holder in database.holders() if holder.thread == "reader"]
    return found


def half_a_result(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    rows.fetchone()
    return rows


def half_a_page(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    rows.fetchmany(ROWS // 2)
    return rows


def half_a_loop(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    next(rows)
    return rows


def a_transaction(db: Connection) -> None:
    db.execute("BEGIN")
    db.execute("SELECT * FROM note").fetchall()


@pytest.mark.parametrize("read", [half_a_result, half_a_page, half_a_loop, a_transaction])
def test_who_keeps_the_log_is_named(
    filled: Database, path: Path, read: Callable[[Connection], object]
) -> None:
    """A reader that is not at its end is in the way, and in the figures, with its time."""
    with reader(filled, read):
        add(filled)
        assert not is_truncated(path)
        told = of_reader(filled)
        assert told.reading is not None
        assert 0 <= told.reading <= told.seconds
        assert "reading for 0." in str(told)
    assert filled.stats()["wal_reader_ms"] == 0
    assert is_truncated(path)


def all_of_it(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    rows.fetchall()
    return rows


def one_by_one(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    while rows.fetchone():
        pass
    return rows


def page_by_page(db: Connection) -> object:
    rows = db.execute("SELECT * FROM note")
    while rows.fetchmany(ROWS - 1):
        pass
    return rows


def and_let_go(db: Connection) -> None:
    db.execute("SELECT * FROM note").fetchone()


def and_commit(db: Connection) -> None:
    a_transaction(db)
    db.commit()


@pytest.mark.parametrize("read", [all_of_it, one_by_one, page_by_page, and_let_go, and_commit])
def test_who_has_read_to_the_end_is_not_named(
    filled: Database, path: Path, read: Callable[[Connection], object]
) -> None:
    """A connection that is out, but reads nothing, is not in the way."""
    with reader(filled, read):
        assert is_truncated(path)
        assert of_reader(filled).reading is None
        assert "reading" not in str(of_reader(filled))
        assert filled.stats()["wal_reader_ms"] == 0


def test_the_longest_reader_counts(filled: Database) -> None:
    """wal_reader_ms is the time of the one that has been reading the longest."""
    pause = threading.Event()
    with reader(filled, half_a_result):
        pause.wait(0.05)
        with filled.connection() as db:
            db.execute("SELECT * FROM note").fetchone()
            assert filled.stats()["wal_reader_ms"] >= 50


def test_a_statement_after_the_first_does_not_set_the_time_back(filled: Database) -> None:
    """A transaction is as old as the statement that began it."""
    with filled.reader() as db:
        db.execute("BEGIN")
        threading.Event().wait(0.05)
        db.execute("SELECT * FROM note").fetchall()
        assert filled.stats()["wal_reader_ms"] >= 50
        db.rollback()


def test_the_size_of_the_log(filled: Database, path: Path) -> None:
    """wal_bytes is the size of the -wal file."""
    assert filled.stats()["wal_bytes"] == Path(f"{path}-wal").stat().st_size > 0


def test_other_journals_have_no_such_log(tmp_path: Path) -> None:
    """In a rollback journal, and in memory, the figure is 0."""
    for settings in ({"path": tmp_path / "j.db", "journal_mode": "delete"}, ":memory:"):
        database = Database("other")
        database.open(settings)
        with database.transaction() as db:
            db.execute("CREATE TABLE note (title)")
        assert database.stats()["wal_bytes"] == 0
        database.close()
