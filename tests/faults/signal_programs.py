"""Programs that are told to end while a statement runs, and go on after every error of SQLite's."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dependency_injector import containers
from flask import Flask

import sqlite_container
from faults.helpers import Storm, fill_numbers, opened, settings_in
from sqlite_container import Connection, Database, SQLite
from sqlite_container.flask import init_app

LONG = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    " SELECT max(i) FROM n"
)
"""A query that takes the better part of a second."""
SHORT = LONG.replace("3000000", "20000")
"""A query that asks the progress handler a few times."""

Work = Callable[[Connection], object]


def read_for_long(db: Connection) -> None:
    """Run a long query."""
    db.execute(LONG).fetchone()


def read(db: Connection) -> None:
    """Run a short query."""
    db.execute(SHORT).fetchone()


def fetch(db: Connection) -> None:
    """Fetch rows, each of which takes a while."""
    for _ in db.execute(f"SELECT ({SHORT}) FROM number LIMIT 3"):
        pass


def set_pragma(db: Connection) -> None:
    """Set a pragma."""
    db.execute("PRAGMA cache_size = 100")


def make_temporary(db: Connection) -> None:
    """Make a temporary table, and drop it."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS passing (x)")
    db.execute("DROP TABLE IF EXISTS temp.passing")


def make_table(db: Connection) -> None:
    """Make a table, and drop it, in a block."""
    with db:
        db.execute("CREATE TABLE passing (x)")
        db.execute("DROP TABLE passing")


def run_script(db: Connection) -> None:
    """Run a script."""
    db.executescript("CREATE TABLE IF NOT EXISTS made (x); DELETE FROM made;")


def write(db: Connection) -> None:
    """Write in a block."""
    with db:
        db.execute("INSERT INTO note (title) VALUES ('x')")


WORKS: list[Work] = [
    read,
    fetch,
    set_pragma,
    make_temporary,
    make_table,
    run_script,
    write,
]


# -- the programs --------------------------------------------------------------------------


def work_until_the_end(folder: str, name: str) -> None:
    """Work for ever, whatever error SQLite answers."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(settings_in(Path(folder), statement_timeout=20))

    signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may have ignored it
    container = Container()
    sqlite_container.shutdown_at_exit(container)
    database: Database = container.notes.database()
    print("ready", flush=True)
    while True:
        try:
            with database.connection() as db:
                globals()[name](db)
        except sqlite3.Error as error:
            print(error)


def count_what_is_swallowed(folder: str, name: str) -> None:
    """Work amid a storm of signals, and fail if an exception of their handler is not seen."""
    storm, work = Storm(), globals()[name]
    settings: dict[str, Any] = {"statement_timeout": 20, "synchronous": "off"}
    with opened(Path(folder), **settings) as database:
        fill_numbers(database)
        with database.connection() as db:
            storm.blow(partial(work_on, storm, work, db), 1.5)
    print(f"{storm.raised} raised, {storm.swallowed} swallowed, {storm.dropped} dropped by Python")
    assert storm.raised
    assert storm.swallowed <= storm.dropped


def work_on(storm: Storm, work: Work, db: Connection) -> None:
    """Work until a signal comes, whatever error SQLite answers."""
    while storm.armed:
        try:
            work(db)
        except sqlite3.Error as error:
            if "interrupted" in str(error) and storm.armed:
                raise AssertionError(error) from error


# -- an app --------------------------------------------------------------------------------


def create_app() -> Flask:
    """Make an app with a view that runs queries, whatever error SQLite answers."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(settings_in(Path(os.environ["FOLDER"]), statement_timeout=20))

    app, container = Flask(__name__), Container()

    @app.get("/")
    def view() -> str:
        print("inside", file=sys.stderr, flush=True)
        for _ in range(100):
            try:
                container.notes.connection().execute(LONG).fetchone()
            except sqlite3.Error as error:
                print(error, file=sys.stderr)
        return "done"

    init_app(app, container)
    return app
