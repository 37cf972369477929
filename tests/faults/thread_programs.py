"""Programs with threads that die with a connection, or that only seem to; without pytest."""

import _thread
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any

from dependency_injector import containers
from flask import Flask

from common.databases import PATIENCE, in_thread, wait_until
from faults.helpers import NUMBERS, Reports, Storm, fill_numbers, opened, settings_in
from sqlite_container import Database, SQLite, shutdown
from sqlite_container.flask import init_app

LONG = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)"
    " SELECT max(i) FROM n"
)
"""A query that takes some hundredths of a second."""
ALONE = {"pool": {"max_size": 1, "timeout": 15}}

Start = Callable[[Callable[[], None]], object]


def start_raw(call: Callable[[], None]) -> None:
    """Start a thread that the module threading does not know."""
    _thread.start_new_thread(call, ())


def start_known(call: Callable[[], None]) -> None:
    """Start an ordinary thread."""
    Thread(target=call, daemon=True).start()


STARTS: list[Start] = [start_raw, start_known]


# -- threads that die ----------------------------------------------------------------------


def die(start: Start, use: Callable[[], object]) -> None:
    """Have a thread of its own do something, and wait until it has ended."""
    done = Event()
    before = _thread._count()

    def run() -> None:
        use()
        done.set()

    start(run)
    assert done.wait(PATIENCE)
    wait_until(lambda: _thread._count() <= before)


def find_the_dead(folder: str, name: str) -> None:
    """A thread dies with the only connection, which somebody keeps: the next one gets another."""
    with opened(Path(folder), **ALONE) as database:
        kept: list[Any] = []

        def borrow() -> None:
            loan = database.connection()
            kept.extend([loan, loan.__enter__()])

        check_next(database, globals()[name], borrow)


def find_the_dead_that_wrote(folder: str, name: str) -> None:
    """It dies in the middle of a transaction."""
    with opened(Path(folder), **ALONE) as database:
        kept: list[Any] = []

        def borrow() -> None:
            loan = database.transaction()
            db = loan.__enter__()
            kept.extend([loan, db])
            db.execute("INSERT INTO note (title) VALUES ('of the dead')")

        check_next(database, globals()[name], borrow)


def find_the_dead_of_an_app(folder: str, name: str) -> None:
    """It dies in an app context that was pushed and never popped, and that nobody keeps."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(settings_in(Path(folder), **ALONE))

    app, container, kept = Flask(__name__), Container(), list[Any]()
    init_app(app, container)

    def borrow() -> None:
        app.app_context().push()
        kept.append(container.notes.connection())

    try:
        check_next(container.notes.database(), globals()[name], borrow)
    finally:
        shutdown(container)


def check_next(database: Database, start: Start, borrow: Callable[[], object]) -> None:
    """Check that the only connection is found again, and that it is told, three times."""
    reports = Reports()
    for number in range(3):
        reports.texts.clear()
        die(start, borrow)
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES ('next')")
        with database.reader() as db:
            rows = db.execute("SELECT title FROM note").fetchall()
        assert rows == [("next",)] * (number + 1), rows
        assert any("never given back" in text for text in reports.texts), reports.texts
        assert database.holders() == []


def same_ident(folder: str) -> None:
    """The thread that comes after a dead one often gets its number, and is not taken for it."""
    with opened(Path(folder), **ALONE) as database:
        kept: list[Any] = []
        idents: list[int] = []

        def borrow() -> None:
            idents.append(get_ident())
            loan = database.connection()
            kept.extend([loan, loan.__enter__()])

        for _ in range(4):
            die(start_raw, borrow)
        assert len(set(idents)) < len(idents), "no number was given twice"
        with database.reader() as db:
            db.execute("SELECT 1")
        refused = []
        for db in kept[1::2]:
            try:
                db.execute("SELECT 1")
            except sqlite3.ProgrammingError:
                refused.append(db)
        assert len(refused) == 4


# -- threads that live ---------------------------------------------------------------------


def keep_the_living(folder: str, name: str) -> None:
    """A thread works while another one looks at the figures amid a storm of signals."""
    start: Start = globals()[name]
    failures: list[BaseException] = []
    over, done, rounds = Event(), Event(), count()

    def work() -> None:
        try:
            with database.connection() as db:
                while not over.is_set():
                    db.execute(LONG).fetchone()
                    assert len(db.execute("SELECT n FROM number").fetchall()) == NUMBERS
                    next(rounds)
        except BaseException as error:
            failures.append(error)
        done.set()

    with opened(Path(folder), pool={"max_size": 2}) as database:
        fill_numbers(database)
        start(work)
        wait_until(lambda: database.holders() or failures)
        storm = Storm()
        storm.blow(partial(look, storm, database), 2.5)
        for _ in range(5):
            database.stats()
        held = len(database.holders())
        over.set()
        assert done.wait(PATIENCE)
        assert not failures, failures
        assert storm.raised
        assert held == 1
        assert next(rounds) > 0


def look(storm: Storm, database: Database) -> None:
    """Look at the figures and the holders until a signal comes."""
    while storm.armed:
        database.stats()
        database.holders()


def keep_a_living_raw_thread(folder: str) -> None:
    """A thread that threading does not know keeps its connection for as long as it lives."""
    inside, over = Event(), Event()

    def work() -> None:
        with database.connection() as db:
            inside.set()
            over.wait(PATIENCE)
            db.execute("SELECT 1")
            results.append("worked")

    results: list[str] = []
    with opened(Path(folder), **ALONE) as database:
        start_raw(work)
        assert inside.wait(PATIENCE)
        waiting = in_thread(lambda: read_one(database))
        for _ in range(20):
            assert len(database.holders()) == 1
            assert database.stats()["connections_lost"] == 0
        assert not waiting.done()
        over.set()
        assert waiting.result(PATIENCE) == (1,)
        wait_until(lambda: results)


def read_one(database: Database) -> Any:
    with database.reader() as db:
        return db.execute("SELECT 1").fetchone()
