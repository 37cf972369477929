"""An exception between any two lines of lending and giving back loses no connection."""

import linecache
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import sqlite_container
from common.databases import Open, add, count, elsewhere, files
from sqlite_container import Database

PACKAGE = str(Path(sqlite_container.__file__).parent)
MOST = 600
"""More lines than any of the calls has."""


class Interrupt(BaseException):
    """Like a Ctrl-C."""


def is_with(frame: FrameType) -> bool:
    """Whether a block begins or ends here: no signal comes between its end and ``__exit__()``."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


class Tripwire:
    """Raises :class:`Interrupt` before the line of this package that is reached as number n."""

    def __init__(self, number: int) -> None:
        self.left = number

    @property
    def tripped(self) -> bool:
        return self.left <= 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE) or file.endswith("closing.py"):
            return None  # that lock is waited for a second at most, and then done without
        if event == "line" and not self.tripped and not is_with(frame):
            self.left -= 1
            if self.tripped:
                raise Interrupt
        return self


def read(database: Database) -> None:
    """Borrow, and give back."""
    with database.reader() as db:
        db.execute("SELECT 1").fetchall()


def write(database: Database) -> None:
    """A transaction."""
    with database.transaction() as db:
        db.execute("INSERT INTO note (title) VALUES ('y')")


def alter(database: Database) -> None:
    """What leaves a connection that has to be replaced."""
    with database.connection() as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("SELECT 1").fetchone()


@pytest.mark.filterwarnings("ignore::sqlite_container.LeakWarning")
@pytest.mark.filterwarnings("ignore::sqlite_container.UncommittedWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a handle that never got its name
@pytest.mark.parametrize("use", [read, write, alter], ids=lambda use: use.__name__)
def test_an_exception_anywhere_leaves_the_pool_whole(
    open_database: Open,
    path: Path,
    use: Callable[[Database], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it comes, the next borrower has a connection, and closing leaves no file."""
    monkeypatch.setattr("sqlite_container.pool.housekeeper.LOOK", 0.01)
    for number in range(1, MOST):
        database = open_database(pool={"max_size": 1, "timeout": 3}, shutdown_timeout=2)
        wire = Tripwire(number)
        interrupted(use, database, wire)
        elsewhere(partial(add, database))
        assert count(database) == 1 or use is write
        figures = database.stats()
        assert figures["pool_size"] == figures["pool_available"] == 1
        database.close(2)
        assert files(path.parent) == {"notes.db", "schemas"}
        path.unlink()
        if not wire.tripped:
            return
    raise AssertionError("there are more lines than were tried")


def interrupted(use: Callable[[Database], None], database: Database, wire: Tripwire) -> None:
    """Call ``use``, and forget what it raises with all that it refers to."""
    before = sys.gettrace()
    sys.settrace(wire)
    try:
        with suppress(Interrupt, sqlite3.DatabaseError):  # "not authorized", in the authorizer
            use(database)
    finally:
        sys.settrace(before)
