"""SQLITE_BUSY is told truthfully, and only who needs the turn to write waits for it or keeps it."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from dependency_injector import containers
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.databases import PATIENCE, add, count, elsewhere, held_by_a_thread, in_thread, plain
from faults.shim import SCHEMA, new, opened
from sqlite_container import (
    Connection,
    Database,
    DatabaseBusy,
    NotYourConnection,
    SQLite,
    TransactionError,
    shutdown,
)
from sqlite_container.flask import init_app

RETURNING = "INSERT INTO note (title) VALUES ('a'), ('b'), ('c') RETURNING id"
WRITE = "INSERT INTO note (title) VALUES ('held')"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open database, in which nobody waits for long."""
    with opened(tmp_path, busy_timeout=0.05) as database:
        yield database


# -- rows that were not fetched ------------------------------------------------------------


@contextmanager
def told_of_unfetched_rows() -> Iterator[None]:
    """The block raises an error that names the true reason, and nobody else."""
    with pytest.raises(TransactionError, match="not been fetched") as caught:
        yield
    assert isinstance(caught.value, sqlite3.ProgrammingError)
    assert not isinstance(caught.value, DatabaseBusy)
    assert "another process" not in str(caught.value)


def commit(db: Connection) -> None:
    """Commit by the method."""
    db.commit()


def commit_statement(db: Connection) -> None:
    """Commit by the statement."""
    db.execute("COMMIT")


def end_statement(db: Connection) -> None:
    """Commit by its other name, with a comment before it."""
    db.execute("/* done */ END TRANSACTION")


@pytest.mark.parametrize("end", [commit, commit_statement, end_statement])
def test_a_commit_beside_unfetched_rows_says_so(
    database: Database, end: Callable[[Connection], None]
) -> None:
    """The transaction goes on; when the rows are fetched, it can be committed."""
    with database.connection() as db:
        cursor = db.execute(RETURNING)
        cursor.fetchone()
        with told_of_unfetched_rows():
            end(db)
        assert db.in_transaction
        assert len(cursor.fetchall()) == 2
        end(db)
    assert count(database) == 3


def test_a_block_that_ends_beside_unfetched_rows_says_so(database: Database) -> None:
    """Nothing of it is stored, as with sqlite3, and the connection is as good as before."""
    with database.connection() as db:
        with told_of_unfetched_rows(), db:
            cursor = db.execute(RETURNING)
            cursor.fetchone()
        assert not db.in_transaction
        with db:
            db.execute(WRITE)
        cursor.close()
    assert count(database) == 1


def test_a_transaction_that_ends_beside_unfetched_rows_says_so(database: Database) -> None:
    """The same with a loan that is a transaction."""
    with told_of_unfetched_rows(), database.transaction() as db:
        cursor = db.execute(RETURNING)
        cursor.fetchone()
    assert count(database) == 0
    add(database)


@pytest.mark.parametrize("statement", ["SAVEPOINT other", "RELEASE mine"])
def test_a_savepoint_beside_unfetched_rows_says_so(database: Database, statement: str) -> None:
    """Neither a new one nor the end of one; afterwards all goes on."""
    with database.connection() as db, db:
        db.execute("SAVEPOINT mine")
        cursor = db.execute(RETURNING)
        cursor.fetchone()
        with told_of_unfetched_rows():
            db.execute(statement)
        cursor.fetchall()
        db.execute(statement)
    assert count(database) == 3


def test_a_block_that_begins_beside_unfetched_rows_says_so(database: Database) -> None:
    """An inner block, which is a savepoint; the outer one goes on and is stored."""
    with database.connection() as db, db:
        cursor = db.execute(RETURNING)
        cursor.fetchone()
        with told_of_unfetched_rows(), db:
            db.execute(WRITE)  # is not reached
        cursor.fetchall()
        with db:
            db.execute(WRITE)
    assert count(database) == 4


def test_rows_of_a_query_stand_in_nobodys_way(database: Database) -> None:
    """A half-read SELECT does not keep a transaction from being committed."""
    with database.connection() as db:
        with db:
            db.execute(RETURNING).fetchall()
        rows = db.execute("SELECT id FROM note")
        rows.fetchone()
        with db:
            with db:
                db.execute(WRITE)
            db.execute(WRITE)
        rows.close()
    assert count(database) == 5


def test_unfetched_rows_are_a_500_in_flask(tmp_path: Path) -> None:
    """To try again would not help, so nobody is told to."""
    app = Flask("notes", instance_path=str(tmp_path))
    (tmp_path / "schema.sql").write_text(SCHEMA)
    container: Any = containers.DynamicContainer()
    container.notes = SQLite({"path": "notes.db", "schema": "schema.sql"})

    @app.post("/")
    def view() -> str:
        with container.notes.connection() as db:
            cursor = db.execute(RETURNING)
            return str(cursor.fetchone())

    init_app(app, container)
    try:
        response = app.test_client().post("/")
        assert response.status_code == 500
        assert "Retry-After" not in response.headers
    finally:
        shutdown(container)


# -- who holds the lock --------------------------------------------------------------------


def test_another_process_is_named_where_it_is_one(database: Database, tmp_path: Path) -> None:
    """What is not one of this process's own connections is told as before."""
    with plain(tmp_path / "data" / "notes.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="another process"):
            add(database)


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[Database]:
    """Another open database."""
    folder = tmp_path / "attached"
    folder.mkdir()
    with opened(folder, busy_timeout=0.05) as other:
        yield other


@pytest.mark.parametrize("in_a_block", [False, True])
def test_a_write_to_an_attached_file_of_this_process_says_so(
    database: Database, attached: Database, tmp_path: Path, in_a_block: bool
) -> None:
    """Who writes to it is a thread of this process, which is named."""
    file = tmp_path / "attached" / "data" / "notes.db"
    with held_by_a_thread(attached, WRITE, "archivist"), database.connection() as db:
        db.execute("ATTACH ? AS archive", (str(file),))
        block = db if in_a_block else nullcontext()
        with pytest.raises(DatabaseBusy) as caught, block:
            db.execute("INSERT INTO archive.note (title) VALUES ('x')")
    assert "another process" not in str(caught.value)
    assert "archivist" in str(caught.value)
    assert count(database) == count(attached) == 0


def test_a_write_to_an_attached_file_of_another_process_says_so(
    database: Database, attached: Database, tmp_path: Path
) -> None:
    """Where no thread of this process writes to the attached file, nobody here is blamed."""
    file = tmp_path / "attached" / "data" / "notes.db"
    with plain(file) as other, database.connection() as db:
        other.execute("BEGIN IMMEDIATE")
        db.execute("ATTACH ? AS archive", (str(file),))
        with pytest.raises(DatabaseBusy, match="another process"):
            db.execute("INSERT INTO archive.note (title) VALUES ('x')")


# -- the turn is kept as long as the lock --------------------------------------------------


@contextmanager
def half_read(database: Database, sql: str = RETURNING) -> Iterator[Event]:
    """A thread has fetched one row of a statement outside of a transaction, and not the rest."""
    ready, done = Event(), Event()

    def hold() -> None:
        with database.connection() as db:
            db.isolation_level = None
            cursor = db.execute(sql)
            cursor.fetchone()
            ready.set()
            done.wait(PATIENCE)
            cursor.close()

    future = in_thread(hold, "reader of rows")
    future.add_done_callback(lambda _: ready.set())
    ready.wait(PATIENCE)
    try:
        yield done
    finally:
        done.set()
        future.result(PATIENCE)


@pytest.mark.parametrize(
    "sql",
    [
        RETURNING,
        "WITH t(x) AS (VALUES ('a'), ('b')) INSERT INTO note (title) SELECT x FROM t RETURNING id",
        "UPDATE note SET title = 'c' RETURNING id",
        "DELETE FROM note RETURNING id",
    ],
    ids=["insert", "with", "update", "delete"],
)
def test_half_read_rows_outside_of_a_transaction_keep_the_turn(
    database: Database, sql: str
) -> None:
    """SQLite keeps its lock until they are read; so others wait, for a thread that is known."""
    add(database)
    add(database)
    with half_read(database, sql), pytest.raises(DatabaseBusy, match="reader of rows"):
        add(database)
    add(database)


def test_who_waits_for_half_read_rows_is_next(tmp_path: Path) -> None:
    """A writer that waits in the queue gets its turn when the cursor is closed."""
    with opened(tmp_path, busy_timeout=PATIENCE) as database:
        with half_read(database) as done:
            writer = in_thread(lambda: add(database))
            assert wait([writer], 0.05).not_done
            done.set()
            writer.result(PATIENCE)
        assert count(database) == 4


def test_rows_that_were_read_to_their_end_keep_nothing(database: Database) -> None:
    """A cursor that is still there, but has no more to give, does not hold the turn."""
    with database.connection() as db:
        db.isolation_level = None
        by_fetchall, by_loop = db.execute(RETURNING), db.cursor()
        by_fetchall.fetchall()
        elsewhere(lambda: add(database))
        for _ in by_loop.execute(RETURNING):
            pass
        elsewhere(lambda: add(database))
    assert count(database) == 8


# -- what needs no turn --------------------------------------------------------------------

READS = [
    "WITH x AS (SELECT 1) SELECT replace('a', 'b', 'c')",
    "WITH x AS (SELECT 'delete from note') SELECT * FROM x",
    "WITH x AS (SELECT 1 /* update note set title = 1 */) SELECT * FROM x",
    "WITH x AS (SELECT 1) -- then insert\nSELECT * FROM x",
    'WITH "insert" AS (SELECT 1 AS "delete") SELECT "delete" FROM "insert"',
    "WITH [update] AS (SELECT 1 AS [replace]) SELECT [replace] FROM [update]",
    "WITH `replace` AS (VALUES (1)) SELECT * FROM `replace`",
    "WITH x AS (SELECT 1) VALUES (2)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n",
    "SELECT replace(title, 'insert', 'delete') FROM note",
    "EXPLAIN INSERT INTO note (title) VALUES ('x')",
    "EXPLAIN QUERY PLAN DELETE FROM note",
    "EXPLAIN WITH x AS (SELECT 1) DELETE FROM note",
    "PRAGMA user_version",
    "PRAGMA table_info(note)",
]


@pytest.mark.parametrize("sql", READS)
def test_what_only_reads_does_not_wait_for_a_writer(database: Database, sql: str) -> None:
    """While another thread writes, it is answered."""
    with held_by_a_thread(database, WRITE), database.connection() as db:
        db.execute(sql).fetchall()


@pytest.mark.parametrize("start", ["", "/* copy */ ", "-- copy\n"])
def test_a_copy_does_not_wait_for_a_writer(database: Database, tmp_path: Path, start: str) -> None:
    """VACUUM INTO reads the database, and writes to another file."""
    copy = tmp_path / "copy.db"
    add(database)
    with held_by_a_thread(database, WRITE), database.connection() as db:
        db.execute(f"{start}VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(copy)) as other:
        assert other.execute("SELECT count(*) FROM note").fetchone() == (1,)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (SELECT 1 AS a) INSERT INTO note (title) SELECT a FROM x",
        "WITH x AS (SELECT 1) /* select */ DELETE FROM note",
        "WITH x AS (SELECT 'select') UPDATE note SET title = 'select'",
        "WITH x AS (SELECT 1) REPLACE INTO note (id, title) VALUES (1, 'x')",
        "VACUUM",
        "CREATE TABLE other (x)",
        "PRAGMA user_version = 3",
    ],
)
def test_what_writes_waits_for_a_writer(database: Database, sql: str) -> None:
    """It needs the turn, and is told who has it."""
    holding = held_by_a_thread(database, WRITE, "holder")
    with holding, database.connection() as db, pytest.raises(DatabaseBusy, match="holder"):
        db.execute(sql)


def with_a_blob(db: Connection) -> None:
    """Give the first row something to read."""
    with db:
        db.execute("INSERT INTO note (id, title, body) VALUES (1, 'x', zeroblob(100))")


def test_a_blob_that_is_only_read_does_not_keep_the_turn(tmp_path: Path) -> None:
    """It is open when a transaction was committed; another thread can write, and it reads on."""
    with opened(tmp_path, busy_timeout=0.3) as database, database.connection() as db:
        with_a_blob(db)
        with db.blobopen("note", "body", 1, readonly=True) as blob:
            with db:
                db.execute(WRITE)
            elsewhere(lambda: add(database))
            assert blob.read(3) == b"\0\0\0"
            elsewhere(lambda: add(database))
        assert count(database) == 4


def test_a_blob_that_is_written_keeps_the_turn(tmp_path: Path) -> None:
    """SQLite keeps its lock while it is open."""
    with opened(tmp_path, busy_timeout=0.3) as database, database.connection() as db:
        with_a_blob(db)
        with db.blobopen("note", "body", 1) as blob:
            blob.write(b"abc")
            with pytest.raises(DatabaseBusy, match="MainThread"):
                elsewhere(lambda: add(database))
        elsewhere(lambda: add(database))
        assert count(database) == 2


# -- any WITH ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    "insert into, delete from note, update, replace, REPLACE(, select".split(", ")
)
GAPS = st.one_of(
    st.sampled_from([" ", "\n", "\t "]),
    WORDS.map(" /* {} */ ".format),
    WORDS.map(" -- {}\n".format),
)
NAMES = st.one_of(
    st.sampled_from(["x", "inserted", "updates", "_delete"]),
    WORDS.map('"{}"'.format),
    WORDS.map("[{}]".format),
    WORDS.map("`{}`".format),
)
TEXTS = WORDS.map("'it''s {}'".format)
CHANGES = [
    "INSERT INTO note (title) SELECT {text}",
    "INSERT OR IGNORE INTO note (id, title) SELECT 1, a FROM {name}",
    "REPLACE INTO note (id, title) VALUES (1, {text})",
    "UPDATE note SET title = {text}",
    "DELETE FROM note WHERE title IN (SELECT a FROM {name})",
    "DELETE FROM note RETURNING {text}",
]
QUERIES = [
    "SELECT {text}",
    "SELECT a FROM {name}",
    "SELECT replace(a, 'a', {text}) FROM {name}",
    "SELECT title AS {name} FROM note",
    "VALUES ({text})",
]
BODIES = [
    "SELECT {text} AS a",
    "SELECT title AS a FROM note",
    "SELECT replace({text}, 'a', '') AS a",
]


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A statement that begins with WITH, and has the words of others where they mean nothing."""
    name, text = draw(NAMES), draw(TEXTS)
    body = draw(st.sampled_from(BODIES)).format(text=draw(TEXTS))
    last = draw(st.sampled_from(CHANGES + QUERIES)).format(name=name, text=text)
    parts = ["WITH", name, "AS", "(", body, ")", last]
    gaps = [draw(GAPS) for _ in parts]
    first = draw(st.sampled_from(["", "/* select */ ", "-- delete from note\n"]))
    return first + "".join(f"{part}{gap}" for part, gap in zip(parts, gaps, strict=True))


def needs_the_lock(db: sqlite3.Connection, sql: str) -> bool:
    """What SQLite itself says: whether its program begins a transaction that writes."""
    program = db.execute(f"EXPLAIN {sql}").fetchall()
    return any(row[1] == "Transaction" and row[3] for row in program)


def test_who_needs_the_lock_waits_for_it_and_nobody_else(tmp_path: Path) -> None:
    """Of any WITH that a program could send, while another thread writes."""
    database = new(tmp_path, busy_timeout=0.02)

    @settings(
        max_examples=200,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(statements())
    def check(sql: str) -> None:
        with database.connection() as db:
            if not needs_the_lock(explainer, sql):
                db.execute(sql).fetchall()
                return
            with pytest.raises(DatabaseBusy, match="holder"):
                db.execute(sql)

    with ExitStack() as stack:
        stack.callback(database.close, 1)
        explainer = stack.enter_context(plain(tmp_path / "data" / "notes.db"))
        stack.enter_context(held_by_a_thread(database, WRITE, "holder"))
        check()


def test_a_fetch_that_is_refused_to_another_thread_ends_nothing(db: Connection) -> None:
    """The rows are still there for the owner, and still in the way of an inner block."""
    with db:
        cursor = db.execute(RETURNING)
        assert cursor.fetchone() == (1,)
        with pytest.raises(NotYourConnection):
            elsewhere(cursor.fetchone)
        with told_of_unfetched_rows(), db:
            pass
        assert cursor.fetchall() == [(2,), (3,)]
