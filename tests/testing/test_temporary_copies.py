"""What a temporary database begins with, and where."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dependency_injector import containers

from sqlite_container import (
    Database,
    DatabaseOpenError,
    SQLite,
    shutdown,
)
from sqlite_container.engine.engine import Engine
from sqlite_container.sqlite import file_state as state
from sqlite_container.testing import files as temporary
from sqlite_container.testing import isolated, templates, temporary_databases
from testing.helpers import add, content, count, make


def plain(file: Path, script: str) -> None:
    """Change a file behind the back of the library."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(script)


class CoarseClock:
    """The part of ``os`` that a module needs, on a file system whose times are whole seconds."""

    @staticmethod
    def stat(name: str) -> object:
        found = Path(name).stat()
        times = {
            each: getattr(found, each) // 10**9 * 10**9 for each in ("st_mtime_ns", "st_ctime_ns")
        }
        rest = {each: getattr(found, each) for each in ("st_dev", "st_ino", "st_size")}
        return SimpleNamespace(**times, **rest)


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_contents", {})


def one(notes: SQLite) -> Any:
    """A container with one database."""
    container: Any = containers.DynamicContainer()
    container.notes = notes
    notes.assign_parent(container)
    return container


def pragma(database: Database, name: str) -> object:
    with database.reader() as db:
        return db.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_database_without_a_schema_file_has_the_tables_of_the_real_one(tmp_path: Path) -> None:
    """Tables, indexes, views, triggers and virtual tables; no rows; the marks of migrations."""
    file = tmp_path / "old.db"
    plain(
        file,
        """
        CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT UNIQUE);
        CREATE TABLE log (text TEXT);
        CREATE VIRTUAL TABLE words USING fts5 (title);
        CREATE INDEX by_title ON note (title);
        CREATE VIEW titles AS SELECT title FROM note;
        CREATE TRIGGER keep AFTER INSERT ON note BEGIN INSERT INTO log VALUES (new.title); END;
        CREATE TABLE sqlitelike (id);
        INSERT INTO note (title) VALUES ('x');
        INSERT INTO words VALUES ('x');
        PRAGMA user_version = 7;
        PRAGMA application_id = 42;
        """,
    )
    before = content(tmp_path)
    notes = SQLite(str(file))
    container = one(notes)
    for _ in range(2):
        with temporary_databases(container):
            database = container.notes.database()
            assert [pragma(database, name) for name in ("user_version", "application_id")] == [
                7,
                42,
            ]
            assert [count(database, name) for name in ("note", "log", "words")] == [0, 0, 0]
            with database.transaction() as db:
                db.execute("INSERT INTO note (title) VALUES ('y')")
                db.execute("INSERT INTO words VALUES ('y')")
            assert [count(database, name) for name in ("titles", "log", "sqlitelike")] == [1, 1, 0]
    assert content(tmp_path) == before


PAGES = {
    "external content": """
        CREATE TABLE page_content (id INTEGER PRIMARY KEY, title TEXT);
        CREATE VIRTUAL TABLE page USING fts5 (title, content='page_content', content_rowid='id');
        CREATE INDEX by_title ON page_content (title);
    """,
    "made after the index": """
        CREATE VIRTUAL TABLE page USING fts5 (title, content='page_content', content_rowid='id');
        CREATE TABLE page_content (id INTEGER PRIMARY KEY, title TEXT);
        CREATE TRIGGER kept AFTER INSERT ON page_content BEGIN
            INSERT INTO page (rowid, title) VALUES (new.id, new.title);
        END;
    """,
    "columns of the content": """
        CREATE TABLE page_content (id INTEGER PRIMARY KEY, title TEXT);
        CREATE VIRTUAL TABLE page USING fts4 (content='page_content');
    """,
    "a name that FTS does not use": """
        CREATE VIRTUAL TABLE page USING fts5 (title, content='', columnsize=0);
        CREATE TABLE page_docsize (id INTEGER PRIMARY KEY, title TEXT);
        CREATE TABLE page_content (id INTEGER PRIMARY KEY, title TEXT);
    """,
    "a column of that name": """
        CREATE VIRTUAL TABLE page USING fts5 (page_content, tokenize='trigram');
    """,
    "a tree": """
        CREATE VIRTUAL TABLE page USING rtree (id, low, high);
        CREATE TABLE page_content (id INTEGER PRIMARY KEY, title TEXT);
    """,
}


@pytest.mark.parametrize("vacuum", [False, True])
@pytest.mark.parametrize("script", PAGES.values(), ids=PAGES)
def test_a_table_that_is_named_like_one_of_an_index(
    tmp_path: Path, script: str, vacuum: bool
) -> None:
    """SQLite takes it for a part of the virtual table `page`; it is there all the same."""
    file = tmp_path / "old.db"
    plain(file, script + ("VACUUM;" if vacuum else ""))
    container = one(SQLite({"path": str(file), "pragmas": {"trusted_schema": True}}))
    names = "SELECT name FROM sqlite_schema ORDER BY name"
    with container.notes.database().reader() as db:
        expected = db.execute(names).fetchall()
    shutdown(container)
    with (
        temporary_databases(container),
        container.notes.database().transaction() as db,
    ):
        assert db.execute(names).fetchall() == expected
        if ("page_content",) in expected and "title" in script:
            db.execute("INSERT INTO page_content (id, title) VALUES (1, 'x')")
        db.execute("SELECT count(*) FROM page_content").fetchall()


def test_looking_at_the_real_file_does_not_change_it(tmp_path: Path) -> None:
    """Not even its journal mode, which the program itself would change."""
    file = tmp_path / "old.db"
    plain(file, "PRAGMA journal_mode = DELETE; CREATE TABLE note (title TEXT);")
    before = content(tmp_path)
    container = one(SQLite({"path": str(file), "pragmas": {"user_version": 5}}))
    for keep_data in (False, True):
        with temporary_databases(container, keep_data=keep_data):
            assert pragma(container.notes.database(), "journal_mode") == "wal"
            assert pragma(container.notes.database(), "user_version") == 5
    assert content(tmp_path) == before


@pytest.mark.parametrize("journal_mode", ["wal", "delete", "truncate", "persist", "memory"])
@pytest.mark.parametrize("keep_data", [False, True])
def test_it_has_the_same_settings(tmp_path: Path, journal_mode: str, keep_data: bool) -> None:
    """Also those that can be chosen only before the first table."""
    (tmp_path / "notes.sql").write_text("CREATE TABLE note (title TEXT);")
    settings = {
        "path": str(tmp_path / "notes.db"),
        "schema": str(tmp_path / "notes.sql"),
        "journal_mode": journal_mode,
        "synchronous": "full",
        "pragmas": {"page_size": 8192, "auto_vacuum": "incremental", "encoding": "UTF-16le"},
    }
    container = one(SQLite(settings))
    names = ["journal_mode", "synchronous", "page_size", "auto_vacuum", "encoding"]
    real = [pragma(container.notes.database(), name) for name in names]
    assert real == [journal_mode, 2, 8192, 2, "UTF-16le"]
    with temporary_databases(container, keep_data=keep_data):
        assert [pragma(container.notes.database(), name) for name in names] == real
        add(container.notes.database())
    shutdown(container)


@pytest.mark.parametrize("clock", ["fine", "coarse"])
def test_a_schema_file_that_changes_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """However soon, and also if its length stays the same."""
    if clock == "coarse":
        monkeypatch.setattr(state, "os", CoarseClock)
    schema = tmp_path / "notes.sql"
    container = one(SQLite({"path": str(tmp_path / "notes.db"), "schema": str(schema)}))
    for name in ("one", "two", "six"):
        schema.write_text(f"CREATE TABLE note ({name} TEXT);")
        with temporary_databases(container):
            assert count(container.notes.database(), f"(SELECT {name} FROM note)") == 0


def test_the_same_schema_with_other_settings_is_made_again(tmp_path: Path) -> None:
    """What was made for one database is used for another only if both would be the same."""
    (tmp_path / "notes.sql").write_text("CREATE TABLE note (title TEXT);")
    for size in (4096, 8192, 4096):
        settings = {"path": str(tmp_path / "notes.db"), "schema": str(tmp_path / "notes.sql")}
        container = one(SQLite({**settings, "pragmas": {"page_size": size}}))
        with temporary_databases(container):
            assert pragma(container.notes.database(), "page_size") == size


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("clock", ["fine", "coarse", "set back"])
def test_a_copy_is_never_older_than_the_original(
    tmp_path: Path, shop: Any, monkeypatch: pytest.MonkeyPatch, journal_mode: str, clock: str
) -> None:
    """However soon after the last copy a row was written, it is in the next."""
    shutdown(shop)
    if clock == "coarse":
        monkeypatch.setattr(state, "os", CoarseClock)
    again = make(tmp_path, journal_mode=journal_mode)
    for rows in range(1, 20):
        with isolated(again):
            assert count(again.notes.database()) == rows
        add(again.notes.database())
        shutdown(again)
        if clock == "set back":
            os.utime(tmp_path / "notes.db", (10**9, 10**9))


@pytest.mark.parametrize("opened", [True, False])
def test_a_copy_is_made_once(shop: Any, monkeypatch: pytest.MonkeyPatch, opened: bool) -> None:
    """As long as nobody writes to the original, each test gets the same one."""
    if not opened:
        shutdown(shop)
    made: list[object] = []
    copy_to = Engine.copy_to

    def counted(engine: Engine, copy: str) -> None:
        made.append(engine.name)
        copy_to(engine, copy)

    monkeypatch.setattr(Engine, "copy_to", counted)
    monkeypatch.setattr(state, "_JUST_NOW", 0)
    for _ in range(5):
        with isolated(shop):
            assert count(shop.notes.database()) == 1
            add(shop.notes.database())
    assert made == ["notes"]


def test_what_is_only_in_the_write_ahead_log_counts(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open database may have written nothing to its file for long."""
    monkeypatch.setattr(state, "_JUST_NOW", 0)
    for rows in range(1, 4):
        with isolated(shop):
            assert count(shop.notes.database()) == rows
        add(shop.notes.database())


def test_what_a_nested_block_copied_is_forgotten(shop: Any) -> None:
    """What is kept to be used again does not grow with the number of tests."""
    for _ in range(3):
        with temporary_databases(shop):
            add(shop.notes.database())
            with isolated(shop):
                assert count(shop.notes.database()) == 1
    assert len(templates._contents) == 1


def test_a_database_in_memory_is_copied_too(shop: Any) -> None:
    """With its data, if that is asked for; what is written to the copy is gone afterwards."""
    with shop.cache.database().transaction() as db:
        db.execute("CREATE TABLE note (title TEXT)")
        db.execute("INSERT INTO note VALUES ('x')")
    with isolated(shop):
        add(shop.cache.database())
        assert count(shop.cache.database()) == 2
        with isolated(shop):
            add(shop.cache.database())
            assert count(shop.cache.database()) == 3
        assert count(shop.cache.database()) == 2
    assert count(shop.cache.database()) == 1


def test_a_database_that_is_only_read_keeps_its_data(shop: Any, tmp_path: Path) -> None:
    """Also for another container that writes to the same file, which sees the same copy."""
    before = (tmp_path / "words.db").read_bytes()
    writer = one(SQLite(str(tmp_path / "words.db")))
    with temporary_databases(shop):
        with writer.notes.database().transaction() as db:
            db.execute("INSERT INTO word VALUES ('wild')")
        assert count(shop.words.database(), "word") == 2
        with pytest.raises(sqlite3.OperationalError), shop.words.database().connection() as db:
            db.execute("DELETE FROM word")
    assert count(writer.notes.database(), "word") == count(shop.words.database(), "word") == 1
    shutdown(writer)
    shutdown(shop)
    assert content(tmp_path)["words.db"][100:] == before[100:]  # it is WAL now, as it was to be


def test_nothing_is_left_beside_a_file_that_is_only_read(tmp_path: Path) -> None:
    """Reading a database in WAL mode makes files that a reader cannot remove."""
    file = tmp_path / "words.db"
    plain(file, "PRAGMA journal_mode = WAL; CREATE TABLE word (word TEXT);")
    before = content(tmp_path)
    container = one(SQLite({"path": str(file), "mode": "ro"}))
    with temporary_databases(container):
        assert count(container.notes.database(), "word") == 0
    assert content(tmp_path) == before


def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    """Neither the real one nor, where the mode forbids that, a temporary one."""
    file = tmp_path / "none.db"
    for mode, error in (("ro", DatabaseOpenError), ("rw", DatabaseOpenError), ("rwc", None)):
        container = one(SQLite({"path": str(file), "mode": mode}))
        for keep_data in (False, True):
            with temporary_databases(container, keep_data=keep_data):
                if error is None:
                    container.notes.database().check()
                else:
                    with pytest.raises(error, match=r"none\.db.*no such file"):
                        container.notes.database()
    assert not file.exists()


def test_what_is_wrong_with_the_real_file_names_it(tmp_path: Path) -> None:
    """The message is that of the program, not one of a temporary file."""
    file = tmp_path / "bad.db"
    file.write_text("This is no database at all, and long enough to be read as one." * 10)
    container = one(SQLite(str(file)))
    for keep_data in (False, True):
        with (
            temporary_databases(container, keep_data=keep_data),
            pytest.raises(DatabaseOpenError, match=r"'notes' \(.*bad\.db\).*not an SQLite"),
        ):
            container.notes.database()


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("_ROOM", 2**60, "disk"),
        ("_LARGE", 4096, "disk"),
        ("_MEMORY", "/nowhere", "disk"),
        ("_LARGE", 2**30, "memory"),
    ],
)
def test_large_copies_are_not_made_in_memory(
    shop: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: object, where: str
) -> None:
    """Nor anything where memory has little room: in Docker it is 64 MB."""
    monkeypatch.setattr(temporary, name, value)
    with isolated(shop):
        add(shop.notes.database())
        engine = shop.notes.database().engine
        assert where in str(engine.file.parent.parent)
        assert engine.file.parent.stat().st_mode & 0o77 == 0
        assert count(shop.notes.database()) == 2
    assert not engine.file.parent.exists()
