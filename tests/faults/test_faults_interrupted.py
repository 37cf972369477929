"""An exception between any two lines of giving back or closing: nobody is forgotten, nothing leaks.

A tripwire raises before the line of the package that is reached as number n, for every n, each in
a database of its own. Those who wait meanwhile do so side by side, so that all of it takes no
longer than one of them may wait.
"""

import fcntl
import gc
import linecache
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from time import sleep
from types import FrameType
from typing import Any, NamedTuple

import pytest

from common.databases import PATIENCE, add, files, held_by_a_thread, in_thread, wait_until
from faults.shim import PACKAGE, descriptors, new
from sqlite_container import Database, DatabaseClosed

WAIT = 5.0
"""Seconds for which anybody waits for a connection, or for the turn to write."""
MOST = 2000
"""More lines than any of the calls has."""
AT_ONCE = 60
"""Databases that are tried at the same time."""

pytestmark = [
    pytest.mark.timeout(600),  # many databases, one after the other
    pytest.mark.filterwarnings("ignore::sqlite_container.LeakWarning"),
    pytest.mark.filterwarnings("ignore::sqlite_container.UncommittedWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of a handle that never got its name
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Interrupt(BaseException):
    """Like a Ctrl-C."""


def is_with(frame: FrameType) -> bool:
    """Whether a block begins or ends here: no signal comes between its end and ``__exit__()``."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


class Tripwire:
    """Raises :class:`Interrupt` before the line of the package that is reached as number n."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.where = ""  # the line, when it was reached

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(str(PACKAGE)):
            return None
        if event == "line" and not self.where and not is_with(frame):
            self.left -= 1
            if self.left <= 0:
                self.where = f"{Path(file).name}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Interrupt
        return self


def interrupted(call: Callable[[], object], wire: Tripwire) -> None:
    """Make a call under the tripwire, and forget what it raises with all that it refers to."""
    before = sys.gettrace()
    sys.settrace(wire)
    try:
        with suppress(Interrupt, sqlite3.Error):
            call()
    finally:
        sys.settrace(before)


class Try(NamedTuple):
    """One interrupt, and those who must not be forgotten over it."""

    wire: Tripwire
    database: Database
    waiters: "list[Future[None]]"


def forgotten(folder: Path, attempt: Callable[[Path, Tripwire], Try]) -> list[str]:
    """Attempt it with every line, many at the same time: where somebody was forgotten, and how."""
    found = []
    for first in range(1, MOST, AT_ONCE):
        tries = []
        for number in range(first, first + AT_ONCE):
            tries.append(attempt(made(folder / str(number)), Tripwire(number)))
            if not tries[-1].wire.where:
                break
        wait([waiter for each in tries for waiter in each.waiters], WAIT + 1)
        found += [f"{each.wire.where}: {how}" for each in tries for how in fates(each)]
        for each in tries:
            each.database.close(0.1)
        if not tries[-1].wire.where:
            return found
    raise AssertionError("there are more lines than were tried")


def fates(attempt: Try) -> Iterator[str]:
    """What happened to those who did not get what they waited for."""
    for waiter in attempt.waiters:
        if not waiter.done():
            yield "still waits"
        elif (error := waiter.exception()) is not None:
            yield repr(error)


def made(folder: Path) -> Path:
    """A folder, once it is there."""
    folder.mkdir()
    return folder


# -- who waits for a connection ------------------------------------------------------------


def is_waiting(database: Database) -> bool:
    """Whether somebody waits for a connection."""
    return database.stats()["requests_waiting"] == 1


def as_it_was(db: sqlite3.Connection) -> object:
    """Leave the connection as it was lent."""
    return None


def changed(db: sqlite3.Connection) -> object:
    """Leave a connection that has to be replaced."""
    return db.execute("PRAGMA foreign_keys = OFF")


def in_a_transaction(db: sqlite3.Connection) -> object:
    """Leave a transaction that has to be rolled back."""
    return db.execute("INSERT INTO note (title) VALUES ('left')")


def with_rows(db: sqlite3.Connection) -> object:
    """Leave a cursor that has rows to give, and that somebody keeps."""
    return db.execute("SELECT 1 UNION ALL SELECT 2")


@pytest.mark.parametrize("leave", [as_it_was, changed, in_a_transaction, with_rows])
def test_who_waits_is_told_wherever_a_give_back_is_interrupted(
    tmp_path: Path, leave: Callable[[sqlite3.Connection], object]
) -> None:
    """In a pool of one, the waiter gets that connection, or another one in its place."""

    def attempt(folder: Path, wire: Tripwire) -> Try:
        database = new(folder, pool={"max_size": 1, "timeout": WAIT}, busy_timeout=WAIT)
        loan = database.connection()
        kept = leave(loan.__enter__())
        waiter = in_thread(partial(add, database))
        wait_until(partial(is_waiting, database))
        interrupted(partial(loan.__exit__, None, None, None), wire)
        del loan, kept
        return Try(wire, database, [waiter])

    assert forgotten(tmp_path, attempt) == []


def test_who_waits_is_told_wherever_closing_is_interrupted(tmp_path: Path) -> None:
    """It gets the connection when that comes back, or learns that the database is closed."""

    def attempt(folder: Path, wire: Tripwire) -> Try:
        database = new(folder, pool={"max_size": 1, "timeout": 4 * WAIT}, busy_timeout=WAIT)
        with held_by_a_thread(database):
            waiter = in_thread(partial(add_unless_closed, database))
            wait_until(partial(is_waiting, database))
            interrupted(partial(database.close, 0.01), wire)
        return Try(wire, database, [waiter])

    assert forgotten(tmp_path, attempt) == []


def add_unless_closed(database: Database) -> None:
    """Write, or be told that the database is closed."""
    with suppress(DatabaseClosed):
        add(database)


# -- who waits for the turn to write -------------------------------------------------------


def is_in_the_queue(database: Database) -> bool:
    """Whether the thread of the waiter is about to begin a transaction."""
    holders = database.holders()
    return any(each.thread == "waiter" and each.statement is not None for each in holders)


def test_the_next_writer_has_its_turn_wherever_a_transaction_is_interrupted_at_its_end(
    tmp_path: Path,
) -> None:
    """And so has a later one: the turn is neither lost nor given to two of them."""

    def attempt(folder: Path, wire: Tripwire) -> Try:
        database = new(folder, pool={"max_size": 3, "timeout": WAIT}, busy_timeout=WAIT)
        loan = database.transaction()
        loan.__enter__()
        waiter = in_thread(partial(add, database), "waiter")
        wait_until(partial(is_in_the_queue, database))
        sleep(0.002)  # from the look at the queue to the place in it
        interrupted(partial(loan.__exit__, None, None, None), wire)
        del loan
        return Try(wire, database, [waiter, in_thread(partial(add, database))])

    assert forgotten(tmp_path, attempt) == []


def test_the_others_have_their_turns_wherever_a_waiting_writer_is_interrupted(
    tmp_path: Path,
) -> None:
    """Who stood behind it in the queue, and who comes later."""

    def attempt(folder: Path, wire: Tripwire) -> Try:
        database = new(folder, pool={"max_size": 4, "timeout": WAIT}, busy_timeout=WAIT)
        ready = Event()
        holder = in_thread(partial(write_slowly, database, ready))
        ready.wait(PATIENCE)
        behind = in_thread(partial(add_later, database))
        interrupted(partial(add, database), wire)
        return Try(wire, database, [holder, behind, in_thread(partial(add, database))])

    assert forgotten(tmp_path, attempt) == []


def write_slowly(database: Database, ready: Event) -> None:
    """Keep the turn while others come to wait for it."""
    with database.transaction():
        ready.set()
        sleep(0.012)


def add_later(database: Database) -> None:
    """Come to the queue a little after the one that is interrupted."""
    sleep(0.004)
    add(database)


# -- what is open and locked afterwards ----------------------------------------------------


def is_free(folder: Path) -> bool:
    """Whether another process could lock the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def replace_a_connection(database: Database) -> None:
    """Give back a connection that has to be closed."""
    with database.connection() as db:
        db.execute("PRAGMA foreign_keys = OFF")


def close(database: Database) -> None:
    """Close the database."""
    database.close(0.5)


@pytest.mark.parametrize("use", [replace_a_connection, close])
def test_nothing_stays_open_or_locked_wherever_closing_is_interrupted(
    tmp_path: Path, use: Callable[[Database], None]
) -> None:
    """When the database was closed once more, no descriptor, no lock and no log file is left."""
    found = []
    for number in range(1, MOST):
        folder, wire, before = made(tmp_path / str(number)), Tripwire(number), descriptors()
        database = new(folder, pool={"max_size": 2})
        add(database)
        interrupted(partial(use, database), wire)
        locked = not is_free(folder / "data")
        database.close(0.5)
        gc.collect()
        left = sorted(descriptors() - before)
        if locked or left or files(folder / "data") != {"notes.db"} or not database.closed:
            found.append(f"{wire.where}: locked {locked}, left {left}")
        if not wire.where:
            assert found == []
            return
    raise AssertionError("there are more lines than were tried")
