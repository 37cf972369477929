"""What an app adds to each connection: `on_connect`, `collations`, `text_factory`."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from common.databases import Open, count, elsewhere, files, plain
from sqlite_container import Connection, Database, DatabaseOpenError, NotYourConnection, SQLiteDict
from sqlite_container.testing import isolated, temporary_databases

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nobody_was_seen() -> None:
    seen.clear()


def greet(db: sqlite3.Connection) -> None:
    """Do what such functions do: functions, collations, pragmas, a temporary table."""
    seen.append(db)
    db.create_function("greeting", 0, lambda: "hello")
    db.create_collation("by_length", lambda a, b: len(a) - len(b))
    db.execute("PRAGMA cache_size = -1234")
    with db:
        db.execute("CREATE TEMP TABLE seen (i)")
        db.execute("INSERT INTO temp.seen VALUES (1)")


def is_greeted(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT greeting(), i, (SELECT cache_size FROM pragma_cache_size) FROM seen")
    return tuple(row.fetchone()) == ("hello", 1, -1234)


# -- on_connect: when it is called, and with what --------------------------------------------


@pytest.mark.parametrize("hook", [greet, f"{__name__}:greet", f"{__name__}.greet"])
def test_each_new_connection_is_introduced(path: Path, hook: object) -> None:
    """Readers and writers alike, once each, with the connection that the app gets."""
    database = Database("notes")
    database.open({"path": str(path), "on_connect": hook})
    with database.connection() as one, database.reader() as two, database.connection() as three:
        assert {id(each) for each in seen} == {id(each) for each in (one, two, three)}
        assert all(is_greeted(each) for each in (one, two, three))
        assert all(isinstance(each, Connection) for each in seen)
    with database.connection() as again:
        assert is_greeted(again)
    assert len(seen) == 3
    database.close()


def test_what_it_sets_outlives_every_loan(open_database: Open) -> None:
    """Nothing of it is a change of the borrower's; a connection that is replaced has it again."""
    database = open_database(on_connect=greet, pool={"max_size": 1})
    with database.connection() as db:
        first = id(db)
    with database.connection() as db:
        assert id(db) == first
        db.execute("PRAGMA cache_size = 5")
    with database.connection() as db:
        assert is_greeted(db)
    assert database.stats()["returns_bad"] == 1


def test_it_may_write_on_a_connection_that_becomes_a_reader(open_database: Open) -> None:
    """The pool makes a reader of a writer and back, so that it is called before that."""

    def mark(db: sqlite3.Connection) -> None:
        with db:
            db.execute("PRAGMA user_version = 7")

    database = open_database(on_connect=mark)
    with database.connection(), database.reader() as db:
        assert db.execute("PRAGMA user_version").fetchone() == (7,)
        with pytest.raises(sqlite3.OperationalError, match="only reads"):
            db.execute("DELETE FROM note")


def test_the_settings_are_in_effect_when_it_is_called(open_database: Open) -> None:
    """Pragmas, functions and collations come before it."""

    def look(db: sqlite3.Connection) -> None:
        seen.append(db.execute("SELECT two(), foreign_keys FROM pragma_foreign_keys").fetchone())
        db.execute("SELECT 1 ORDER BY 'a' COLLATE mine")

    open_database(
        on_connect=look,
        functions={"two": lambda: 2},
        collations={"mine": lambda a, b: 0},
    )
    assert set(seen) == {(2, 1)}


@pytest.mark.parametrize("exists", [False, True])
def test_a_schema_may_use_what_it_adds(path: Path, schema: Path, *, exists: bool) -> None:
    """The connection that makes the tables is a new one as well."""
    schema.write_text(
        "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT DEFAULT (greeting()));"
        "INSERT INTO note (id) VALUES (1);"
        "CREATE INDEX lengths ON note (title COLLATE by_length);"
    )
    if exists:
        path.touch()
    database = Database("notes")
    trusting = {"pragmas": {"trusted_schema": True}}
    database.open({"path": str(path), "schema": str(schema), "on_connect": greet, **trusting})
    with database.reader() as db:
        assert db.execute("SELECT title FROM note").fetchall() == [("hello",)]
    database.close()


def test_it_is_called_in_memory_as_well(open_database: Open) -> None:
    """Each connection to a database in memory is introduced."""
    database = open_database(path=":memory:", on_connect=greet)
    with database.connection() as one, database.connection() as two:
        assert is_greeted(one)
        assert is_greeted(two)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_connection_that_is_opened_again_after_a_fork_is_introduced_again(
    open_database: Open,
) -> None:
    """A connection that is out gets another handle, which knows nothing yet."""
    database = open_database(on_connect=greet)
    with database.connection() as db:
        db.execute("SELECT 1").fetchall()
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
        assert is_greeted(db)
        with db:
            db.execute("INSERT INTO note (title) VALUES ('x')")
    assert count(database) == 1


@pytest.mark.parametrize("use", [temporary_databases, isolated])
def test_temporary_databases_are_introduced_too(path: Path, schema: Path, use: Any) -> None:
    """With a schema, and with a copy of a real database that needs it."""
    schema.write_text("CREATE TABLE note (title TEXT COLLATE by_length DEFAULT (greeting()));")
    from dependency_injector import containers

    container: Any = containers.DynamicContainer()
    trusting = {"pragmas": {"trusted_schema": True}}
    settings = {"path": str(path), "on_connect": greet, **trusting}
    container.all = SQLiteDict({"notes": {**settings, "schema": str(schema)}})
    container.all["notes"].database()
    container.shutdown_resources()
    bare: Any = containers.DynamicContainer()
    bare.all = SQLiteDict({"notes": settings})
    for each in (container, bare):
        with use(each), each.all["notes"].database().transaction() as db:
            db.execute("INSERT INTO note DEFAULT VALUES")
            assert db.execute("SELECT * FROM note ORDER BY title").fetchall() == [("hello",)]


# -- on_connect: what it may not do ------------------------------------------------------


class Stop(BaseException):
    """No error: somebody stops the program."""


def fail(db: sqlite3.Connection) -> None:
    raise KeyError("mine")


def stop(db: sqlite3.Connection) -> None:
    with db:
        raise Stop


def fail_in_a_block(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("SELECT nonsense")


def leave_open(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")


def leave_row(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO note (title) VALUES ('x')")


def leave_block(db: sqlite3.Connection) -> None:
    db.__enter__()


def rows_of(db: sqlite3.Connection) -> None:
    db.row_factory = sqlite3.Row


def bytes_of(db: sqlite3.Connection) -> None:
    db.text_factory = bytes


def no_isolation(db: sqlite3.Connection) -> None:
    db.isolation_level = None


async def later(db: sqlite3.Connection) -> None:
    """Never awaited."""


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (fail, r"on_connect: fail raised KeyError: 'mine'"),
        (fail_in_a_block, r"on_connect: fail_in_a_block raised OperationalError: no such column"),
        (leave_open, r"on_connect: leave_open has left a transaction open"),
        (leave_row, r"on_connect: leave_row has left a transaction open"),
        (leave_block, r"on_connect: leave_block has left a transaction open"),
        (rows_of, r"on_connect: rows_of has set row_factory.*settings of their own"),
        (bytes_of, r"on_connect: bytes_of has set text_factory"),
        (no_isolation, r"on_connect: no_isolation has set isolation_level"),
        (len, r"on_connect: len raised TypeError"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_it_does_wrong_is_an_error_that_names_it(path: Path, hook: object, said: str) -> None:
    """The opening fails, with the database and the function; nothing stays open or locked."""
    with plain(path) as db:
        db.execute("CREATE TABLE note (title)")
    database = Database("notes")
    settings = {"path": str(path), "on_connect": hook}
    with pytest.raises(DatabaseOpenError, match=said) as caught:
        database.open(settings)
    assert f"database 'notes' ({path})" in str(caught.value)
    assert database.closed
    other = Database("other")
    other.open({"path": str(path), "busy_timeout": 0})
    with other.transaction() as db:
        db.execute("INSERT INTO note VALUES ('mine')")
    assert count(other) == 1
    other.close()
    assert files(path.parent) - {"schemas"} == {"notes.db"}


def test_a_later_connection_that_fails_leaves_the_others(open_database: Open) -> None:
    """Its place in the pool is free again, and so is the write lock."""

    def only_once(db: sqlite3.Connection) -> None:
        if any(each is not db for each in seen):
            db.execute("BEGIN IMMEDIATE")
            raise ValueError("enough")
        seen.append(db)

    database = open_database(pool={"max_size": 2}, busy_timeout=0)
    database.close()
    database = open_database(pool={"max_size": 2}, busy_timeout=0, on_connect=only_once)
    with database.connection():
        for _ in range(3):
            with pytest.raises(DatabaseOpenError, match="enough"), database.connection():
                pass
        assert database.stats()["pool_size"] == 1
    with database.transaction() as db:
        db.execute("INSERT INTO note (title) VALUES ('x')")


def test_an_exception_that_is_no_error_passes(path: Path) -> None:
    """Ctrl-C in it is Ctrl-C; nothing stays open."""
    database = Database("notes")
    with pytest.raises(Stop):
        database.open({"path": str(path), "on_connect": stop})
    database.open({"path": str(path), "busy_timeout": 0})
    with database.transaction() as db:
        db.execute("CREATE TABLE note (title)")
    database.close()


def test_it_may_not_use_its_own_database(path: Path) -> None:
    """That is being opened; the thread would wait for itself."""
    database = Database("notes")

    def borrow(_: sqlite3.Connection) -> None:
        with database.reader():
            pass

    def open_it(_: sqlite3.Connection) -> None:
        database.open(settings)

    for hook in (borrow, open_it):
        settings = {"path": str(path), "on_connect": hook}
        with pytest.raises(DatabaseOpenError, match="DatabaseClosed: database 'notes' is"):
            elsewhere(lambda: database.open(settings))  # noqa: B023
    database.open(str(path))
    database.close()


def test_an_async_function_is_refused(path: Path) -> None:
    """Nobody would await it."""
    with pytest.raises(ValueError, match=r"^notes.on_connect: a plain function is expected"):
        Database("notes").open({"path": str(path), "on_connect": later})


def test_it_may_not_keep_the_connection(open_database: Open) -> None:
    """Afterwards it belongs to whoever borrows it; to close it early changes nothing."""

    def close(db: sqlite3.Connection) -> None:
        seen.append(db)
        if isinstance(db, Connection):
            db.close()

    database = open_database(on_connect=close)
    with pytest.raises(NotYourConnection):
        seen[-1].execute("SELECT 1")
    with database.connection() as db:
        assert db is seen[-1]
        with pytest.raises(NotYourConnection):
            elsewhere(lambda: db.execute("SELECT 1"))


def test_a_statement_limit_stays_whatever_handler_it_sets(open_database: Open) -> None:
    """`statement_timeout` uses the progress handler."""
    database = open_database(
        statement_timeout=0.05, on_connect=lambda db: db.set_progress_handler(None, 0)
    )
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with database.reader() as db, pytest.raises(TimeoutError):
        db.execute(slow)


# -- collations, functions, text_factory ---------------------------------------------------


def test_collations_are_on_every_connection(path: Path, schema: Path) -> None:
    """Also while the schema is applied, and for an index that needs one."""
    schema.write_text(
        "CREATE TABLE note (title TEXT COLLATE by_length);"
        "CREATE INDEX lengths ON note (title);"
        "INSERT INTO note VALUES ('aaa'), ('b'), ('cc');"
    )
    settings = {"path": str(path), "schema": str(schema)}
    database = Database("notes")
    database.open({**settings, "collations": {"by_length": f"{__name__}:by_length"}})
    for lend in (database.connection, database.reader):
        with lend() as db:
            rows = db.execute("SELECT title FROM note ORDER BY title").fetchall()
            assert rows == [("b",), ("cc",), ("aaa",)]
    database.close()


def by_length(a: str, b: str) -> int:
    """Compare two texts by their length."""
    return len(a) - len(b)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"functions": {"f" * 300: len}}, "functions.fff"),
        ({"functions": {"f": {"call": len, "narg": 5000}}}, "functions.f: "),
        ({"collations": {"a\0b": by_length}}, "collations.a"),
        ({"collations": {"\ud800": by_length}}, "collations."),
    ],
)
def test_a_name_that_sqlite_refuses_is_told_with_its_setting(
    path: Path, settings: dict[str, object], said: str
) -> None:
    """SQLite only says that it cannot create it."""
    with pytest.raises(DatabaseOpenError, match=said):
        Database("notes").open({"path": str(path), **settings})
    assert not path.exists()


@pytest.mark.parametrize(
    ("factory", "expected"), [("bytes", b"x"), (lambda text: text.decode() * 2, "xx"), (None, "x")]
)
def test_a_text_factory_is_that_of_every_loan(
    open_database: Open, factory: object, expected: object
) -> None:
    """What a borrower sets in its place is set back."""
    database = open_database(text_factory=factory)
    for lend in (database.connection, database.reader, database.connection):
        with lend() as db:
            assert db.execute("SELECT 'x'").fetchone() == (expected,)
            db.text_factory = bytearray
    assert database.stats()["returns_bad"] == 0
    database.check()


@pytest.mark.parametrize("factory", ["bytes", str.__len__, "str"])
def test_the_library_reads_as_it_needs_whatever_the_text_factory(
    open_database: Open, factory: object
) -> None:
    """A reader may attach a database in memory, or one that is there, and make none."""
    database = open_database(text_factory=factory if factory != str.__len__ else len)
    with database.reader() as db:
        db.execute("ATTACH ':memory:' AS a")
        db.execute("ATTACH ? AS b", (str(database.file),))
        with pytest.raises(sqlite3.OperationalError, match="only reads"):
            db.execute("ATTACH 'new.db' AS c")
