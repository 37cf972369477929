"""Smaller faults, each of a kind: forged log lines, kept texts, foreign locks, left drafts."""

import fcntl
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, suppress
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from dependency_injector import containers
from flask import Flask

from common.databases import PATIENCE, add, count, files, held_by_a_thread, in_thread, plain
from faults.shim import SCHEMA, new, opened, run, start
from sqlite_container import (
    ConfigurationError,
    Database,
    DatabaseBusy,
    ReadOnlyConnection,
    SQLite,
    shutdown,
)
from sqlite_container.flask import init_app
from sqlite_container.testing import temporary_databases


def with_schema(folder: Path, script: str, **settings: object) -> Database:
    """Open a new database with a schema of its own."""
    (folder / "schema.sql").write_text(script)
    database = Database("notes")
    file = folder / "data" / "notes.db"
    file.parent.mkdir(exist_ok=True)
    database.open({"path": str(file), "schema": str(folder / "schema.sql"), **settings})
    return database


# -- what a client sends does not forge a log line -----------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An app that leaves transactions open, keeps connections, and is busy, on any path."""
    (tmp_path / "schema.sql").write_text(SCHEMA)
    app = Flask("notes", instance_path=str(tmp_path))
    container: Any = containers.DynamicContainer()
    pool = {"leak_threshold": 0.001}
    container.notes = SQLite({"path": "notes.db", "schema": "schema.sql", "pool": pool})

    @app.get("/left/<rest>")
    def leave(rest: str) -> str:
        container.notes.connection().execute("INSERT INTO note (title) VALUES ('left')")
        return "left"

    @app.get("/kept/<rest>")
    def keep(rest: str) -> str:
        container.notes.connection().execute("SELECT 1").fetchall()
        sleep(0.01)
        return "kept"

    @app.get("/busy/<rest>")
    def be_busy(rest: str) -> str:
        raise DatabaseBusy("not now")

    @app.get("/held/<rest>")
    def tell(rest: str) -> str:
        container.notes.connection()
        return str(container.notes.database().holders()[0])

    init_app(app, container)
    yield app
    shutdown(container)


FORGED = ["x%0aERROR:root:forged", "x%0d%0aforged", "x%1b[2Kforged", "x%c2%85forged", "x%e2%80%a8"]


@pytest.mark.filterwarnings("ignore::sqlite_container.UncommittedWarning")
@pytest.mark.filterwarnings("ignore::sqlite_container.LeakWarning")
@pytest.mark.parametrize("rest", FORGED)
@pytest.mark.parametrize("view", ["left", "kept", "busy"])
def test_a_path_forges_no_log_line(
    app: Flask, caplog: pytest.LogCaptureFixture, view: str, rest: str
) -> None:
    """A record that names a request is one line of printable text."""
    with caplog.at_level(logging.WARNING):
        app.test_client().get(f"/{view}/{rest}").close()
    messages = [each.getMessage() for each in caplog.records if "GET" in each.getMessage()]
    assert messages
    assert all(message.isprintable() for message in messages)


@pytest.mark.filterwarnings("ignore::sqlite_container.LeakWarning")
@pytest.mark.parametrize("rest", FORGED)
def test_a_path_forges_no_holder(app: Flask, rest: str) -> None:
    """Who holds a connection is told on one line, and an honest path as it is."""
    assert app.test_client().get(f"/held/{rest}").text.isprintable()
    assert "/held/año" in app.test_client().get("/held/a%c3%b1o").text


# -- texts are not kept --------------------------------------------------------------------


def test_large_statements_do_not_stay_in_memory(tmp_path: Path) -> None:
    """When the connections that ran them are closed, their texts are gone."""
    assert int(run(execute_large_statements, tmp_path)) < 50 * 2**20


def execute_large_statements(folder: str) -> None:
    """Execute many texts of a megabyte, and print how much memory that takes in the end."""
    with opened(Path(folder)) as database:
        count(database)
        tracemalloc.start()
        for number in range(512):
            with database.reader() as db:
                db.execute(f"SELECT {number} -- {'x' * 990_000}").fetchall()
    print(tracemalloc.get_traced_memory()[0])


# -- another journal mode than configured --------------------------------------------------


def test_a_file_that_another_process_has_switched_keeps_working(tmp_path: Path) -> None:
    """New connections work while it is in use there; the setting is applied when it can be."""
    settings: dict[str, object] = {"journal_mode": "delete", "busy_timeout": 0.2}
    with opened(tmp_path, **settings) as database:
        add(database)
        other = start(switch_to_wal, tmp_path / "data" / "notes.db")
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "wal\n"
            with held_by_a_thread(database):
                add(database)
                assert count(database) == 2
        finally:
            other.communicate("\n", PATIENCE)
    with opened(tmp_path, **settings) as database, database.connection() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("SELECT count(*) FROM note").fetchone() == (2,)


def switch_to_wal(file: str) -> None:
    """Switch the file to WAL, and stay connected until told."""
    with plain(Path(file)) as db:
        mode = db.execute("PRAGMA journal_mode = wal").fetchone()[0]
        db.execute("SELECT count(*) FROM note").fetchone()
        print(mode, flush=True)
        sys.stdin.readline()


# -- a stranger's lock ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_strangers_lock_on_the_folder_holds_nobody_up_again_and_again(tmp_path: Path) -> None:
    """One give-back that closes may wait for it; those that come later do not."""
    with opened(tmp_path) as database:
        stranger = os.open(tmp_path / "data", os.O_RDONLY)
        try:
            fcntl.flock(stranger, fcntl.LOCK_EX)
            held_up = 0
            for pause in (0, 0, 6, 0):
                sleep(pause)
                held_up += is_held_up(database)
        finally:
            os.close(stranger)
    assert held_up <= 1


def is_held_up(database: Database) -> bool:
    """Whether to give back a connection that has to be closed takes a hundred times too long."""
    done = in_thread(lambda: replace_a_connection(database))
    _, late = wait([done], 0.5)
    done.result(PATIENCE)
    return bool(late)


def replace_a_connection(database: Database) -> None:
    """Give back a connection that has to be closed."""
    with database.connection() as db:
        db.execute("PRAGMA foreign_keys = OFF")


# -- drafts of a maker that was killed -----------------------------------------------------


def die_in_a_draft(folder: str) -> None:
    """Make the database, and be killed in the middle of it."""
    data = Path(folder, "data")

    def die() -> int:
        if any("-new-" in name for name in files(data)):
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    script = f"{SCHEMA} INSERT INTO note (title) VALUES (die());"
    with_schema(Path(folder), script, functions={"die": die}).close()


def wait_in_a_draft(folder: str) -> None:
    """Make the database, slowly: the rest is made when told."""

    def linger() -> int:
        if any("-new-" in name for name in files(Path(folder, "data"))):
            print("in the draft", flush=True)
            sys.stdin.readline()
        return 0

    script = f"{SCHEMA} INSERT INTO note (title) VALUES (linger());"
    database = with_schema(Path(folder), script, functions={"linger": linger})
    print(count(database), flush=True)
    database.close()


def killed(folder: Path) -> None:
    """Have a process killed while it makes the database, and make sure that it was."""
    (folder / "data").mkdir(exist_ok=True)
    process = start(die_in_a_draft, folder)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert any("-new-" in name for name in files(folder / "data"))


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    """At the next creation of that database, however often its makers were killed."""
    for _ in range(2):
        killed(tmp_path)
    with_schema(tmp_path, SCHEMA).close()
    assert files(tmp_path / "data") == {"notes.db"}


def test_the_draft_of_another_database_is_left_alone(tmp_path: Path) -> None:
    """Only drafts of this database are removed, and only drafts."""
    killed(tmp_path)
    data = tmp_path / "data"
    mine = {name for name in files(data) if name.startswith("notes.db")}
    others = {"notes.db-new-year", "old-notes.db-new-" + "0" * 32, "my-new-notes.db"}
    for name in others:
        (data / name).write_text("not yours")
    with_schema(tmp_path, SCHEMA).close()
    assert files(data) == {"notes.db", *others}
    assert not mine & files(data)


def test_the_draft_of_a_living_maker_is_left_alone(tmp_path: Path) -> None:
    """Who is slower than another process finds the other one's database, and uses it."""
    (tmp_path / "data").mkdir()
    process = start(wait_in_a_draft, tmp_path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the draft\n"
        with closing(with_schema(tmp_path, SCHEMA)) as database:
            assert any("-new-" in name for name in files(tmp_path / "data"))
            add(database)
            printed, complaints = process.communicate("\n", PATIENCE)
            assert (process.returncode, printed) == (0, "1\n"), complaints
    finally:
        process.kill()
        process.communicate()
    assert files(tmp_path / "data") == {"notes.db"}


# -- settings and paths --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["locking_mode", "Locking_Mode"])
@pytest.mark.parametrize("value", ["exclusive", "EXCLUSIVE"])
def test_an_exclusive_lock_is_refused(tmp_path: Path, name: str, value: str) -> None:
    """A pool whose first connection keeps all others out is a mistake in the settings."""
    database = Database("notes")
    with pytest.raises(ConfigurationError, match="locking_mode"):
        database.open({"path": str(tmp_path / "notes.db"), "pragmas": {name: value}})
    assert files(tmp_path) == set()


def test_a_path_that_begins_with_two_slashes_works(tmp_path: Path) -> None:
    """To the system it is the same path as with one; it is no name of another host."""
    file = tmp_path / "notes.db"
    for mode in ("rwc", "rw", "ro"):
        database = Database("notes")
        database.open({"path": f"/{file}", "mode": mode})
        with database.connection() as db:
            if mode == "rwc":
                db.executescript(SCHEMA)
            db.execute("SELECT * FROM note").fetchall()
        database.close()
    assert files(tmp_path) == {"notes.db"}


# -- schemas -------------------------------------------------------------------------------

LIBRARY = """
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE book (id INTEGER PRIMARY KEY, author INTEGER NOT NULL REFERENCES author (id));
INSERT INTO book VALUES(1,1);
INSERT INTO book VALUES(2,1);
CREATE TABLE author (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
INSERT INTO author VALUES(1,'Ann');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('author',7);
COMMIT;
"""


def expect_the_library(database: Database) -> None:
    """All rows are there, and foreign keys are watched again."""
    with database.connection() as db:
        assert db.execute("SELECT count(*) FROM book JOIN author").fetchone() == (2,)
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
        with pytest.raises(sqlite3.IntegrityError), db:
            db.execute("INSERT INTO book VALUES (3, 99)")
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_dump_whose_children_come_first_is_a_schema(tmp_path: Path) -> None:
    """``PRAGMA foreign_keys=OFF`` at its top has its effect, for the length of the schema."""
    with closing(with_schema(tmp_path, LIBRARY)) as database:
        expect_the_library(database)


def test_what_the_shell_of_sqlite_dumps_is_a_schema(tmp_path: Path) -> None:
    """The output of ``.dump``, as it is."""
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("there is no sqlite3 shell here")
    source = tmp_path / "source.db"
    with plain(source) as db:
        db.executescript(LIBRARY)
    dump = subprocess.run([shell, source, ".dump"], capture_output=True, text=True, check=True)
    assert dump.stdout.startswith("PRAGMA foreign_keys=OFF;")
    with closing(with_schema(tmp_path, dump.stdout)) as database:
        expect_the_library(database)


def test_a_dump_is_a_schema_of_a_temporary_database_too(tmp_path: Path) -> None:
    """Tests get the same database as the app."""
    (tmp_path / "schema.sql").write_text(LIBRARY)
    container: Any = containers.DynamicContainer()
    settings = {"path": str(tmp_path / "notes.db"), "schema": str(tmp_path / "schema.sql")}
    container.notes = SQLite(settings)
    with temporary_databases(container):
        expect_the_library(container.notes.database())
    shutdown(container)


LAYOUT = f"""
-- how the file is laid out
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA encoding = 'UTF-16le';
{SCHEMA}
"""


def layout(database: Database) -> tuple[object, ...]:
    """How the file is laid out."""
    with database.reader() as db:
        names = ("page_size", "auto_vacuum", "encoding", "journal_mode")
        return tuple(db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)


@pytest.mark.parametrize("before", ["no file", "an empty file"])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_schema_may_say_how_the_file_is_laid_out(
    tmp_path: Path, journal_mode: str, before: str
) -> None:
    """``page_size`` and its kin at the top of a schema take effect on a new database."""
    if before == "an empty file":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "notes.db").touch()
    with closing(with_schema(tmp_path, LAYOUT, journal_mode=journal_mode)) as database:
        assert layout(database) == (8192, 2, "UTF-16le", journal_mode)
        add(database)
        assert count(database) == 1


def test_a_temporary_database_is_laid_out_in_the_same_way(tmp_path: Path) -> None:
    """Tests get the same database as the app."""
    (tmp_path / "schema.sql").write_text(LAYOUT)
    container: Any = containers.DynamicContainer()
    settings = {"path": str(tmp_path / "notes.db"), "schema": str(tmp_path / "schema.sql")}
    container.notes = SQLite(settings)
    with temporary_databases(container):
        assert layout(container.notes.database()) == (8192, 2, "UTF-16le", "wal")
    shutdown(container)


# -- savepoints of the user's own ----------------------------------------------------------


@pytest.mark.parametrize("name", ["block_1", "BLOCK_1", "block_2"])
def test_a_savepoint_of_the_users_own_is_not_taken_for_a_block(tmp_path: Path, name: str) -> None:
    """A nested block that fails is undone whole, whatever savepoints were made in it."""
    with opened(tmp_path) as database:
        with database.connection() as db, db:
            write(db, "outer")
            with suppress(KeyError), db:
                write(db, "inner")
                db.execute(f"SAVEPOINT {name}")
                write(db, "mine")
                raise KeyError
            with db:
                write(db, "second")
                db.execute(f"SAVEPOINT {name}")
                write(db, "kept")
            write(db, "last")
        assert titles(database) == ["outer", "second", "kept", "last"]


def test_a_block_inside_a_savepoint_of_the_users_own_ends_only_itself(tmp_path: Path) -> None:
    """The savepoint is still there after the block, and can be rolled back to."""
    with opened(tmp_path) as database:
        with database.connection() as db, db:
            db.execute("SAVEPOINT block_1")
            write(db, "mine")
            with suppress(KeyError), db:
                write(db, "inner")
                raise KeyError
            with db:
                write(db, "second")
            db.execute("ROLLBACK TO block_1")
            db.execute("RELEASE block_1")
            write(db, "last")
        assert titles(database) == ["last"]


def write(db: sqlite3.Connection, title: str) -> None:
    """Write one row."""
    db.execute("INSERT INTO note (title) VALUES (?)", (title,))


def titles(database: Database) -> list[str]:
    """The titles of all rows, in order."""
    with database.reader() as db:
        return [row[0] for row in db.execute("SELECT title FROM note ORDER BY id")]


# -- a reader makes no file ----------------------------------------------------------------


MAKING = {
    "attach": ("ATTACH ? AS other", "{}"),
    "attach with a comment": ("/* SELECT */ attach database ? as other", "{}"),
    "attach a URI": ("ATTACH ? AS other", "file:{}?mode=rwc"),
    "copy": ("VACUUM INTO ?", "{}"),
    "copy with a comment": ("-- copy\nvacuum main into ?", "{}"),
}


@pytest.mark.parametrize("how", MAKING)
@pytest.mark.parametrize("mode", ["rwc", "ro"])
def test_a_reader_makes_no_file(tmp_path: Path, how: str, mode: str) -> None:
    """Neither a reader nor a database that is only read; the error says that it only reads."""
    new(tmp_path).close()
    made = tmp_path / "made.db"
    sql, parameter = MAKING[how]
    with opened(tmp_path, mode=mode) as database:
        with database.reader() as db, pytest.raises(ReadOnlyConnection):
            db.execute(sql, (parameter.format(made),))
        assert not made.exists()
        assert count(database) == 0


def test_a_reader_may_attach_a_file_that_is_there(tmp_path: Path) -> None:
    """To read from it; a write to it is refused, and the next reader knows nothing of it."""
    other = tmp_path / "other.db"
    with plain(other) as db:
        db.executescript(f"{SCHEMA} INSERT INTO note (title) VALUES ('there');")
    with opened(tmp_path, pool={"max_size": 1}) as database:
        with database.reader() as reader:
            reader.execute("ATTACH ? AS other", (str(other),))
            assert reader.execute("SELECT title FROM other.note").fetchall() == [("there",)]
            with pytest.raises(ReadOnlyConnection):
                reader.execute("DELETE FROM other.note")
        with database.reader() as reader:
            assert len(reader.execute("PRAGMA database_list").fetchall()) == 1


def test_a_writer_may_make_files(tmp_path: Path) -> None:
    """What is refused to a reader works for who may write."""
    with opened(tmp_path) as database, database.connection() as db:
        db.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
        db.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
        db.execute("CREATE TABLE other.made (x)")
    assert {"copy.db", "other.db"} <= files(tmp_path)


# -- copies of large databases for tests ---------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Any]:
    """A container with a database of more than 32 MB."""
    container: Any = containers.DynamicContainer()
    (tmp_path / "schema.sql").write_text(SCHEMA)
    settings = {"path": str(tmp_path / "notes.db"), "schema": str(tmp_path / "schema.sql")}
    container.notes = SQLite(settings)
    with container.notes.database().transaction() as db:
        db.execute("INSERT INTO note (title, body) VALUES ('large', zeroblob(34 * 1048576))")
    yield container
    shutdown(container)


def plant_a_link(place: Path, trap: Path) -> None:
    """Somebody has made a symbolic link to a folder of theirs."""
    place.symlink_to(trap, target_is_directory=True)


def plant_an_open_folder(place: Path, trap: Path) -> None:
    """Somebody has made a folder that all may write in."""
    place.mkdir()
    place.chmod(0o777)


def plant_a_folder_of_theirs(place: Path, trap: Path) -> None:
    """Somebody else owns the folder."""
    place.mkdir(mode=0o700)
    if os.getuid() != 0:
        pytest.skip("only root can make a folder that belongs to somebody else")
    os.chown(place, 12345, 12345)


PLANTS = [plant_a_link, plant_an_open_folder, plant_a_folder_of_theirs]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_large_copy_is_in_a_folder_that_only_this_user_has_made(
    large: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path, Path], None]
) -> None:
    """What somebody else has put where the folder would be is not used."""
    disk, trap = tmp_path / "disk", tmp_path / "trap"
    disk.mkdir()
    trap.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    memory = Path("/dev/shm")
    before = contents(memory)
    with temporary_databases(large, keep_data=True):
        planted = [disk / name for name in contents(memory) - before if not (disk / name).exists()]
        for place in planted:
            plant(place, trap)
        with large.notes.database().reader() as db:
            assert db.execute("SELECT title FROM note").fetchall() == [("large",)]
            folder = Path(db.execute("PRAGMA database_list").fetchone()[2]).parent
        status = folder.lstat()
        assert folder not in planted
        assert (status.st_uid, status.st_mode & 0o777) == (os.getuid(), 0o700)
        assert contents(trap) == set()
    assert not folder.exists()


def contents(folder: Path) -> set[str]:
    """The names of what is in a folder, also if it is not there."""
    return files(folder) if folder.exists() else set()
