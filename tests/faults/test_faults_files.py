"""The file of an open database is deleted, replaced, emptied or moved: no write goes astray."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from dependency_injector import containers
from flask import Flask

from common.databases import add, count, elsewhere, files, held_by_a_thread, plain
from faults.shim import SCHEMA, new, public, rows
from sqlite_container import Database, SQLite, SQLiteContainerError, shutdown
from sqlite_container.flask import init_app

DatabaseReplaced = public("DatabaseReplaced")
LATEST = 1.1
"""Seconds after which it has to be noticed."""
WRITES = 200
"""At a hundred in a second, so many that it has to be noticed amid them."""
BEFORE, AFTER = "written before", "written after"


# -- what may happen to a file -------------------------------------------------------------


def another(file: Path, title: str) -> None:
    """Make a database of the same kind."""
    with plain(file) as db:
        db.executescript(SCHEMA)
        db.execute("INSERT INTO note (title) VALUES (?)", (title,))


def delete(file: Path) -> None:
    """Unlink the file, as a cleaning job does."""
    file.unlink()


def delete_all(file: Path) -> None:
    """Unlink what belongs to it too."""
    for each in file.parent.iterdir():
        each.unlink()


def replace(file: Path) -> None:
    """Put another database in its place, as one restores a backup."""
    backup = file.with_name("backup.db")
    another(backup, "restored")
    backup.rename(file)


def empty(file: Path) -> None:
    """Truncate it, as a shell's redirection does."""
    os.truncate(file, 0)


def move_folder(file: Path) -> None:
    """Rename the folder that it is in."""
    file.parent.rename(file.parent.with_name("moved"))


def replace_folder(file: Path) -> None:
    """Rename its folder, and put another one in its place, as a deployment does."""
    move_folder(file)
    file.parent.mkdir()
    another(file, "restored")


HARMS = [delete, delete_all, replace, empty, move_folder, replace_folder]
EVERY_HARM = pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
GONE = pytest.mark.parametrize(
    "harm", [delete, delete_all, move_folder], ids=lambda harm: harm.__name__
)
ANOTHER_ONE = pytest.mark.parametrize(
    "harm", [replace, replace_folder], ids=lambda harm: harm.__name__
)
Harm = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "data" / "notes.db"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open database with a row in it."""
    with ExitStack() as stack:
        database = new(tmp_path, pool={"max_size": 3}, busy_timeout=0.5)
        stack.callback(database.close, 1)
        add(database, BEFORE)
        yield database


# -- no write ------------------------------------------------------------------------------


def in_a_transaction(database: Database) -> None:
    """Write by ``database.transaction()``."""
    add(database, AFTER)


def in_a_block(database: Database) -> None:
    """Write in a ``with`` block of a connection."""
    with database.connection() as db, db:
        db.execute("INSERT INTO note (title) VALUES (?)", (AFTER,))


def by_commit(database: Database) -> None:
    """Write, and commit as sqlite3's users do."""
    with database.connection() as db:
        db.execute("INSERT INTO note (title) VALUES (?)", (AFTER,))
        db.commit()


WAYS = [in_a_transaction, in_a_block, by_commit]


@EVERY_HARM
def test_after_a_second_no_write_is_acknowledged(
    database: Database, file: Path, harm: Harm
) -> None:
    """Whoever borrows to write is told, whichever way, again and again; the message says what."""
    harm(file)
    sleep(LATEST)
    for way in [*WAYS, *WAYS]:
        with pytest.raises(DatabaseReplaced, match="notes") as caught:
            way(database)
        assert str(file) in str(caught.value)
    assert AFTER not in titles_anywhere(file.parent.parent)


def titles_anywhere(folder: Path) -> set[str]:
    """The titles of every database in a folder and below."""
    found = [each for each in folder.rglob("*.db") if each.stat().st_size]
    return {title for each in found for title in rows(each)}


@EVERY_HARM
def test_no_write_is_acknowledged_once_it_was_told(
    database: Database, file: Path, harm: Harm
) -> None:
    """From the first refusal on every write is refused, in every thread."""
    harm(file)
    for _ in range(WRITES):
        if is_refused(database):
            break
        sleep(0.01)
    else:
        pytest.fail(f"{WRITES} writes were acknowledged, and none was refused")
    assert all(elsewhere(partial(is_refused, database)) for _ in range(5))


def is_refused(database: Database) -> bool:
    """Whether a write is refused because the file is another one."""
    try:
        add(database, AFTER)
    except sqlite3.Error as error:
        return isinstance(error, DatabaseReplaced)
    return False


@EVERY_HARM
def test_no_new_connection_is_opened(database: Database, file: Path, harm: Harm) -> None:
    """Neither a writer nor a reader of the same pool is opened on another file."""
    with held_by_a_thread(database):
        harm(file)
        sleep(LATEST)
        for _ in range(2):
            with pytest.raises(DatabaseReplaced), database.reader():
                pass
            with pytest.raises(DatabaseReplaced), database.connection():
                pass


# -- no new file ---------------------------------------------------------------------------


@GONE
def test_nothing_appears_at_the_path(database: Database, file: Path, harm: Harm) -> None:
    """Neither lending, nor opening, nor closing makes a new file where the old one was."""
    with held_by_a_thread(database):
        harm(file)
        sleep(LATEST)
        there = contents(file.parent)
        for lend in (database.connection, database.reader, database.transaction):
            with pytest.raises(DatabaseReplaced), lend():
                pass
        assert contents(file.parent) <= there
    database.close()
    assert contents(file.parent) <= there


def contents(folder: Path) -> set[str]:
    """The names of what is in a folder, also if it is not there."""
    return files(folder) if folder.exists() else set()


@ANOTHER_ONE
def test_the_other_file_is_left_as_it_is(database: Database, file: Path, harm: Harm) -> None:
    """Nothing of the old database appears in the one that took its place, also after closing."""
    harm(file)
    sleep(LATEST)
    for way in WAYS:
        with pytest.raises(DatabaseReplaced):
            way(database)
    database.close()
    assert rows(file) == ["restored"]


# -- the way back --------------------------------------------------------------------------


@EVERY_HARM
def test_closing_works(database: Database, file: Path, harm: Harm) -> None:
    """No error, no new file, and closing again does nothing."""
    harm(file)
    there = contents(file.parent)
    database.close()
    assert database.closed
    assert contents(file.parent) <= there
    database.close()


@EVERY_HARM
def test_after_closing_and_opening_the_file_at_the_path_is_used(
    database: Database, file: Path, harm: Harm
) -> None:
    """The way back: what is there now is opened, and everything works.

    Closing has neither written the old pages into an emptied file, nor left a log behind that
    SQLite would add to another one.
    """
    harm(file)
    sleep(LATEST)
    with pytest.raises(DatabaseReplaced):
        add(database, AFTER)
    database.close()
    file.parent.mkdir(exist_ok=True)
    before = rows(file) if file.exists() and file.stat().st_size else []
    schema = file.parent.parent / "schema.sql"
    database.open({"path": str(file), "schema": str(schema)})
    add(database, AFTER)
    assert count(database) == len(before) + 1
    database.close()
    assert rows(file) == [*before, AFTER]


def test_a_link_that_leads_elsewhere_is_another_file(tmp_path: Path) -> None:
    """Where the path is a symbolic link, it counts what it leads to."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        another(tmp_path / name / "notes.db", name)
    link = tmp_path / "notes.db"
    link.symlink_to(tmp_path / "one" / "notes.db")
    database = Database("notes")
    database.open(str(link))
    add(database, BEFORE)
    link.unlink()
    link.symlink_to(tmp_path / "two" / "notes.db")
    sleep(LATEST)
    with pytest.raises(DatabaseReplaced):
        add(database, AFTER)
    database.close()
    assert rows(tmp_path / "one" / "notes.db") == ["one", BEFORE]
    assert rows(tmp_path / "two" / "notes.db") == ["two"]


def test_a_database_that_is_only_touched_is_the_same(database: Database, file: Path) -> None:
    """Another time, other rights, a longer file, a second name: that is no other file."""
    os.utime(file, (1, 1))
    file.chmod(0o600)
    os.link(file, file.with_name("second.db"))
    with plain(file) as other:
        other.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(100000))")
    sleep(LATEST)
    add(database, AFTER)
    assert count(database) == 3


# -- what kind of error --------------------------------------------------------------------


def test_the_error_is_of_both_kinds() -> None:
    """Code that catches sqlite3's error, or the package's, catches it."""
    assert issubclass(DatabaseReplaced, SQLiteContainerError)
    assert issubclass(DatabaseReplaced, sqlite3.OperationalError)


def test_in_flask_it_stays_a_500(tmp_path: Path) -> None:
    """It does not pass by itself, so a client is not told to try again."""
    app = Flask("notes", instance_path=str(tmp_path))
    container: Any = containers.DynamicContainer()
    container.notes = SQLite({"path": "notes.db"})

    @app.post("/")
    def view() -> str:
        with container.notes.connection() as db:
            db.execute("CREATE TABLE IF NOT EXISTS note (title)")
        return "done"

    init_app(app, container)
    try:
        assert app.test_client().post("/").status_code == 200
        (tmp_path / "notes.db").unlink()
        sleep(LATEST)
        response = app.test_client().post("/")
        assert response.status_code == 500
        assert "Retry-After" not in response.headers
    finally:
        shutdown(container)
