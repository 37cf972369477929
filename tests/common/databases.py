"""What the tests of the core share."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from sqlite_container import Database

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which a test believes that something hangs."""

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
"""A query without an end that gives no row before it."""


class Open(Protocol):
    """Opens a database that the test need not close."""

    def __call__(self, **settings: object) -> Database: ...


def in_thread(call: Callable[[], T], name: str = "worker") -> "Future[T]":
    """Run it in a thread of its own; the future has the result or what was raised."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def elsewhere(call: Callable[[], T], name: str = "worker") -> T:
    """The result of a call in another thread."""
    return in_thread(call, name).result(PATIENCE)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells of."""
    pause, left = threading.Event(), PATIENCE
    while not condition():
        assert left > 0, "waited too long"
        pause.wait(0.002)
        left -= 0.002


def count(database: Database, table: str = "note") -> int:
    """How many rows a new reader sees."""
    with database.reader() as db:
        number: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return number


def add(database: Database, title: str = "x") -> None:
    """Write one row, in a transaction of its own."""
    with database.transaction() as db:
        db.execute("INSERT INTO note (title) VALUES (?)", (title,))


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the standard library, closed at the end of the block."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def files(folder: Path) -> set[str]:
    """The names of what is in a folder."""
    return {file.name for file in folder.iterdir()}


@contextmanager
def held_by_a_thread(
    database: Database, sql: str = "", name: str = "holder", *, read_only: bool = False
) -> Iterator[threading.Event]:
    """Another thread holds a connection (after executing ``sql``) until the block ends."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with database.reader() if read_only else database.connection() as db:
            if sql:
                db.execute(sql)
            ready.set()
            done.wait(PATIENCE)
            if db.in_transaction:
                db.rollback()

    future = in_thread(hold, name)
    future.add_done_callback(lambda _: ready.set())
    ready.wait(PATIENCE)
    if future.done():
        future.result()
    try:
        yield done
    finally:
        done.set()
        future.exception(PATIENCE)


def assign(thing: object, name: str, value: object) -> None:
    """Set an attribute that type checkers do not know in every version of Python."""
    setattr(thing, name, value)


def run_and_fail(db: sqlite3.Connection, *statements: str) -> None:
    """Execute the statements, then raise KeyError."""
    for sql in statements:
        db.execute(sql)
    raise KeyError("mine")


def pending(db: sqlite3.Connection) -> bool:
    """Whether a transaction is open; asked anew, whatever was asserted before."""
    return db.in_transaction
