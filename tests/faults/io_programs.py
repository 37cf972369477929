"""What the tests of I/O faults run in processes of their own; pytest is not needed there."""

import gc
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from common.databases import add, count, elsewhere, held_by_a_thread
from faults.shim import Fault, descriptors, failing, new, opened, rows
from sqlite_container import Connection, Database, DatabaseOpenError

T = TypeVar("T", bound=Exception)

ROUNDS = 5
PAGE = 4096


def meet_faults(folder: str) -> None:
    """Meet one fault after the other with plain sqlite3."""
    file = Path(folder, "notes.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("CREATE TABLE note (title)")
        for fault in (
            Fault("write", "-journal", "ENOSPC"),
            Fault("sync", "notes.db", "EIO"),
            Fault("open", "-journal", "EACCES", nth=1, times=1),
            Fault("open", "-journal", "EMFILE"),
        ):
            with failing(fault):
                try:
                    db.execute("INSERT INTO note VALUES ('x')")
                except sqlite3.OperationalError as error:
                    print(error.sqlite_errorname.removeprefix("SQLITE_"))
            db.execute("INSERT INTO note VALUES ('x')")
            print("ok")


def open_in_vain(folder: str, suffix: str, error: str) -> None:
    """Open more connections while that fails, then use more than there were."""
    with opened(Path(folder), pool={"max_size": 4}) as database:
        written = 0
        with held_by_a_thread(database), failing(Fault("open", suffix, error)):
            for _ in range(ROUNDS):
                written += works_or_is_refused(database)
        use_all(database, 4)
        assert count(database) == written + 4
        assert database.stats()["pool_available"] == database.stats()["pool_size"]


def works_or_is_refused(database: Database) -> bool:
    """Whether a row could be written; the only other end is that it could not be opened."""
    try:
        with database.connection() as db, db:
            db.execute("INSERT INTO note (title) VALUES ('x')")
    except DatabaseOpenError:
        return False
    return True


def use_all(database: Database, size: int) -> None:
    """Have every connection of the pool out at the same time, and write with the last one."""
    if size == 1:
        add(database)
        return
    with database.connection() as db:
        elsewhere(lambda: use_all(database, size - 1))
        with db:
            db.execute("INSERT INTO note (title) VALUES ('x')")


def read_then_write(folder: str, error: str) -> None:
    """Open a reader while nothing can be opened for writing, then lend its place to a writer."""
    fault = Fault("open", "notes.db", error)
    with opened(Path(folder), pool={"max_size": 2}) as database:
        with held_by_a_thread(database), failing(fault), suppress(DatabaseOpenError):
            count(database)
        use_all(database, 2)
        use_all(database, 2)
        assert count(database) == 4


def open_at_a_bad_moment(folder: str, error: str) -> None:
    """Close the database, open it at a bad moment, and then again."""
    new(Path(folder)).close()
    settings = Path(folder, "data", "notes.db")
    database = Database("notes")
    with failing(Fault("open", "notes.db", error)):
        error_of(lambda: database.open(settings), DatabaseOpenError)
    assert database.closed
    assert not [each for each in descriptors() if each.endswith("notes.db")]
    database.open(settings)
    add(database)
    database.close()


def error_of(call: Callable[[], object], kind: type[T]) -> T:
    """What it raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"there was no {kind.__name__}")


WRONG = {
    "IOERR, a write": ("wal", Fault("write", "-wal", "EIO"), sqlite3.SQLITE_IOERR),
    "IOERR, a sync": ("delete", Fault("sync", "-journal", "EIO"), sqlite3.SQLITE_IOERR),
    "CANTOPEN": ("delete", Fault("open", "-journal", "EMFILE"), sqlite3.SQLITE_CANTOPEN),
    "READONLY": ("delete", Fault("open", "-journal", "EACCES"), sqlite3.SQLITE_READONLY),
}


def fail_once(folder: str, what: str, caught: str) -> None:
    """Meet the fault in one loan; look at the next one."""
    journal_mode, fault, code = WRONG[what]
    settings: dict[str, object] = {"pool": {"max_size": 1}, "synchronous": "full"}
    with opened(Path(folder), journal_mode=journal_mode, **settings) as database:
        add(database)
        broken = meet(database, fault, code, caught)
        expect_another(database, broken)
        assert count(database) == 2


def meet(database: Database, fault: Fault, code: int, caught: str) -> Connection:
    """Borrow, meet the fault, and give back; the connection."""
    borrowed: list[Connection] = []

    def borrow() -> None:
        with database.connection() as db, failing(fault):
            borrowed.append(db)
            error = error_of(lambda: insert(db), sqlite3.Error)
            assert error.sqlite_errorcode & 0xFF == code, error.sqlite_errorname
            if caught == "raised":
                raise error

    if caught == "raised":
        error_of(borrow, sqlite3.Error)
    else:
        borrow()
    return borrowed[0]


def insert(db: Connection) -> None:
    """Write a row of several pages."""
    with db:
        db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(10000))")


def expect_another(database: Database, broken: Connection) -> None:
    """The broken connection was counted and is gone; the next one writes."""
    assert database.stats()["returns_bad"] == 1, "it was taken for a good one"
    with database.connection() as db:
        assert db is not broken
        with db:
            db.execute("INSERT INTO note (title) VALUES ('y')")
    assert database.stats()["returns_bad"] == 1


def read_nonsense(folder: str, page: str, code: str, use: str) -> None:
    """Scribble on the file, use it, and mend it."""
    new(Path(folder)).close()
    with opened(Path(folder), pool={"max_size": 1}) as database:
        # Never closed before the end: that would end SQLite's own locks.
        file = os.open(Path(folder, "data", "notes.db"), os.O_RDWR)
        good = os.pread(file, PAGE, int(page) * PAGE)
        os.pwrite(file, b"\xa5" * PAGE, int(page) * PAGE)
        with database.connection() as db:
            broken = db
            db.execute("PRAGMA shrink_memory")  # forgets the pages that it has read
            error = error_of(lambda: db.execute(use).fetchall(), sqlite3.DatabaseError)
            assert error.sqlite_errorcode & 0xFF == int(code), error.sqlite_errorname
        os.pwrite(file, good, int(page) * PAGE)
        expect_another(database, broken)
        assert count(database) == 1


TRIES = 24
SIZE = 3
"""Rows in one block."""


def fail_at_each(folder: str, call: str, error: str, journal_mode: str) -> None:
    """Fail once at the first call, then at the second, and so on, each in a new database."""
    for nth in range(1, TRIES):
        here = Path(folder, str(nth))
        here.mkdir()
        database = new(here, journal_mode=journal_mode, synchronous="full", pool={"max_size": 2})
        with failing(Fault(call, "*/data/", error, nth=nth, times=1)):
            acknowledged = [block for block in range(6) if write_block(database, block)]
        print("all" if len(acknowledged) == 6 else "met")
        use_all(database, 2)
        database.close(1)
        gc.collect()
        expect_whole_blocks(rows(here / "data" / "notes.db"), acknowledged)


def write_block(database: Database, number: int) -> bool:
    """Whether a block of several large rows was acknowledged."""
    try:
        with database.transaction() as db:
            for _ in range(SIZE):
                sql = "INSERT INTO note (title, body) VALUES (?, zeroblob(5000))"
                db.execute(sql, (f"block {number}",))
    except sqlite3.Error:
        return False
    return True


def expect_whole_blocks(titles: list[str], acknowledged: list[int]) -> None:
    """What is stored are whole blocks, and those that were acknowledged are among them."""
    blocks = {title for title in titles if title != "x"}
    assert all(titles.count(block) == SIZE for block in blocks), titles
    assert blocks >= {f"block {number}" for number in acknowledged}, (titles, acknowledged)
