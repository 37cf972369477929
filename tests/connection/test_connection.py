"""A connection for the one who has it: transactions, cursors, and what is refused."""

import contextlib
import gc
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from common.databases import SLOW, Open, add, assign, count, elsewhere, pending, plain, run_and_fail
from sqlite_container import (
    Connection,
    Cursor,
    Database,
    DatabaseClosed,
    NotYourConnection,
    ReadOnlyConnection,
    SQLiteContainerError,
    StatementTimeout,
    TransactionError,
    TransactionLost,
    UncommittedWarning,
)

INSERT = "INSERT INTO note (title) VALUES ('x')"


def test_a_block_commits_and_stays_usable(database: Database) -> None:
    """After with db: the rows are there, no transaction is open, and the connection goes on."""
    with database.connection() as db:
        with db as same:
            assert same is db
            assert pending(db)
            db.execute(INSERT)
        assert not db.in_transaction
        with db.transaction():
            db.execute(INSERT)
        assert count(database) == 2


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    """An exception passes through the block as it is, and everything in it is undone."""
    with database.connection() as db:
        with pytest.raises(KeyError, match="mine"), db:
            run_and_fail(db, INSERT)
        assert not db.in_transaction
    assert count(database) == 0


def test_an_inner_block_that_raises_undoes_only_itself(database: Database) -> None:
    """A nested block is a savepoint: what came before it and after it is committed."""
    with database.connection() as db, db:
        db.execute("INSERT INTO note (title) VALUES ('before')")
        with contextlib.suppress(KeyError), db:
            db.execute("INSERT INTO note (title) VALUES ('inner')")
            with db:
                db.execute("INSERT INTO note (title) VALUES ('innermost')")
            raise KeyError
        with db:
            db.execute("INSERT INTO note (title) VALUES ('after')")
    with database.reader() as db:
        titles = [title for (title,) in db.execute("SELECT title FROM note ORDER BY id")]
    assert titles == ["before", "after"]


def test_an_outer_block_that_raises_undoes_the_inner_ones(database: Database) -> None:
    """What an inner block has finished goes with the outer one."""

    def inner_then_fail(db: Connection) -> None:
        with db:
            db.execute(INSERT)
        raise KeyError

    with database.connection() as db, pytest.raises(KeyError), db:
        inner_then_fail(db)
    assert count(database) == 0


ENDS: list[Callable[[Connection], object]] = [
    lambda db: db.commit(),
    lambda db: db.rollback(),
    lambda db: db.execute("COMMIT"),
    lambda db: db.execute("-- now\nEND TRANSACTION"),
    lambda db: db.execute("rollback"),
    lambda db: db.execute("BEGIN"),
    lambda db: db.execute("BEGIN IMMEDIATE"),
    lambda db: db.executescript("DELETE FROM note; COMMIT; SELECT 1"),
    lambda db: assign(db, "isolation_level", None),
]


def end_and_fail(db: Connection, end: Callable[[Connection], object]) -> None:
    """Write, try to end the transaction, and raise KeyError."""
    db.execute(INSERT)
    with suppress(TransactionError):
        end(db)
    raise KeyError


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_block_is_atomic(
    database: Database, end: Callable[[Connection], object], depth: int
) -> None:
    """What would end its transaction inside it is refused, and changes nothing."""
    with database.connection() as db:
        with ExitStack() as blocks:
            for _ in range(depth):
                blocks.enter_context(db)
            db.execute(INSERT)
            with pytest.raises(TransactionError, match="inside a 'with db:' block"):
                end(db)
            assert pending(db)
            db.execute(INSERT)
        assert count(database) == 2
        with pytest.raises(KeyError), db:
            end_and_fail(db, end)
    assert count(database) == 2


def script_and_fail(db: Connection) -> None:
    """Write, run a script, and raise KeyError."""
    db.execute(INSERT)
    db.executescript(f"{INSERT}; {INSERT};")
    raise KeyError


def test_a_script_runs_inside_a_block(database: Database) -> None:
    """executescript() is part of the block: what was before it, and what comes after."""
    with database.connection() as db:
        with pytest.raises(KeyError), db:
            script_and_fail(db)
        with db:
            db.executescript(f"{INSERT}; {INSERT};")
    assert count(database) == 2


def test_a_pending_transaction_ends_with_the_block(database: Database) -> None:
    """As in the standard library, a block after an INSERT commits the INSERT as well."""
    with database.connection() as db:
        db.execute(INSERT)
        with db:
            db.execute(INSERT)
        assert not db.in_transaction
    assert count(database) == 2


def test_a_commit_that_fails_is_rolled_back(database: Database) -> None:
    """A deferred constraint that fails at COMMIT leaves no transaction open."""
    with database.connection() as db:
        db.execute(
            "CREATE TABLE child (note INTEGER REFERENCES note DEFERRABLE INITIALLY DEFERRED)"
        )
        with pytest.raises(sqlite3.IntegrityError), db:
            db.execute("INSERT INTO child VALUES (99)")
        assert not db.in_transaction
    assert count(database, "child") == 0


def test_database_transaction_commits_or_rolls_back(database: Database) -> None:
    """database.transaction() is a connection and a block in one."""
    add(database)
    with pytest.raises(KeyError), database.transaction() as db:
        run_and_fail(db, INSERT)
    assert count(database) == 1


def test_what_is_not_committed_is_rolled_back_with_a_warning(database: Database) -> None:
    """The warning names the database, the thread and the line that asked for the connection."""
    with pytest.warns(UncommittedWarning) as caught, database.connection() as db:
        db.execute(INSERT)
    (warning,) = caught
    assert "'notes'" in str(warning.message)
    assert "MainThread" in str(warning.message)
    assert warning.filename == __file__
    assert count(database) == 0


def test_a_reader_in_a_transaction_of_its_own_is_not_warned_about(open_database: Open) -> None:
    """A read-only database has nothing to commit, so leaving a read transaction open is quiet."""
    open_database().close()
    database = open_database(mode="ro", schema=None)
    with database.connection() as db:
        db.execute("SELECT 1").fetchall()
    with database.reader() as db, pytest.raises(ReadOnlyConnection):
        db.execute(INSERT)


@pytest.mark.parametrize(
    "steps",
    [
        [INSERT, "SELECT count(*) FROM note", "COMMIT"],
        [INSERT, "INSERT INTO missing VALUES (1)", "SELECT count(*) FROM note"],
        ["INSERT INTO missing VALUES (1)", INSERT, "ROLLBACK"],
        ["INSERT INTO note (id, title) VALUES (1, 'a')"] * 2,
        ["UPDATE note SET title = NULL", INSERT, "UPDATE note SET title = NULL"],
        ["BEGIN", INSERT, "COMMIT", "COMMIT"],
        ["SAVEPOINT s", INSERT, "ROLLBACK TO s", "RELEASE s", "SELECT count(*) FROM note"],
        ["CREATE TABLE t (i)", "DROP TABLE t", "DROP TABLE t"],
        ["WITH one(t) AS (VALUES ('a')) INSERT INTO note (title) SELECT t FROM one", INSERT],
        [INSERT, "CREATE TABLE t (i)", "ROLLBACK", "SELECT count(*) FROM sqlite_schema"],
        ["INSERT INTO note (title) VALUES ('a') RETURNING id, title", "COMMIT"],
        ["SELECT 1; SELECT 2", "INSERT INTO note (title) VALUES ('a'); SELECT 2"],
        ["", "-- nothing", ";", "SELECT"],
        ["PRAGMA user_version = 7", "PRAGMA user_version", "EXPLAIN SELECT 1 WHERE 0"],
        ["INSERT OR ROLLBACK INTO note (id, title) VALUES (1, 'a')"] * 3,
        ["BEGIN EXCLUSIVE", "BEGIN", "INSERT INTO note (title) VALUES (?)", "END"],
        ["REPLACE INTO note (id, title) VALUES (1, 'a')", "COMMIT", "DELETE FROM note", "VACUUM"],
    ],
)
def test_statements_do_what_they_do_in_the_standard_library(
    database: Database, steps: list[str]
) -> None:
    """Rows, errors, row counts and open transactions are those of a plain connection."""

    def outcome(db: sqlite3.Connection, sql: str) -> object:
        try:
            cursor = db.execute(sql)
            seen = (cursor.fetchall(), cursor.description, cursor.rowcount, cursor.lastrowid)
        except sqlite3.Error as error:
            return type(error), str(error), db.in_transaction
        return seen, db.in_transaction

    with contextlib.closing(sqlite3.connect(":memory:")) as usual:
        usual.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body BLOB)")
        with database.connection() as db:
            for sql in steps:
                assert outcome(db, sql) == outcome(usual, sql), sql
                assert db.total_changes == usual.total_changes
            db.rollback()


@pytest.mark.parametrize("arguments", [(None,), (b"SELECT 1",), (["SELECT 1"],), (1,)])
def test_a_statement_that_is_no_text_is_a_type_error(
    database: Database, arguments: tuple[Any]
) -> None:
    """As in the standard library."""
    with database.connection() as db:
        for method in (db.execute, db.executescript, db.cursor().execute):
            with pytest.raises((TypeError, ValueError)):
                method(*arguments)
            assert db.running is None
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_executemany_executescript_and_returning(database: Database) -> None:
    """The other ways to execute do the same as in the standard library."""
    with database.connection() as db:
        db.executemany("INSERT INTO note (title) VALUES (?)", ((str(i),) for i in range(3)))
        assert pending(db)
        db.executescript("INSERT INTO note (title) VALUES ('3'); SELECT 1;")
        assert not db.in_transaction
        with db:
            rows = db.execute("INSERT INTO note (title) VALUES ('4') RETURNING id, title")
            assert rows.fetchall() == [(5, "4")]
        cursor = db.cursor()
        assert cursor.executescript("SELECT 1") is cursor
        assert cursor.executemany("DELETE FROM note WHERE id = ?", [(1,)]) is cursor
        assert cursor.rowcount == 1
        db.commit()
    assert count(database) == 4


def test_blobs_are_read_and_written(database: Database) -> None:
    """blobopen() works as in the standard library, and a transaction can be around it."""
    with database.connection() as db:
        with db:
            db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(4))")
            with db.blobopen("note", "body", 1) as blob:
                blob.write(b"abcd")
        with db.blobopen("note", "body", 1, readonly=True) as blob:
            assert blob.read(3) == b"abc"


def test_a_blob_ends_with_the_loan(database: Database) -> None:
    """A blob that was kept is closed when its connection goes back."""
    with database.transaction() as db:
        db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(4))")
    with database.connection() as db:
        blob = db.blobopen("note", "body", 1, readonly=True)
    with pytest.raises(sqlite3.ProgrammingError):
        blob.read()


def test_backup_iterdump_and_serialize_work(database: Database, tmp_path: Path) -> None:
    """What the standard library does with a whole connection, it does with this one."""
    add(database, "kept")
    with database.connection() as db, contextlib.closing(sqlite3.connect(":memory:")) as copy:
        db.backup(copy)
        assert copy.execute("SELECT title FROM note").fetchone() == ("kept",)
        assert "INSERT INTO" in "\n".join(db.iterdump())
        assert isinstance(db, sqlite3.Connection)
        assert len(db.serialize()) > 1000


class Mine(sqlite3.Cursor):
    """A cursor of the user's, which counts what it executes."""

    executed = 0

    def execute(self, *args: Any) -> "Mine":
        self.executed += 1
        super().execute(*args)
        return self


def test_the_users_own_cursor_class_is_checked_as_well(database: Database) -> None:
    """cursor(factory) gives the user's class, which waits, warns and ends like any other."""
    with database.connection() as db:
        cursor = db.cursor(Mine)
        assert isinstance(cursor, Mine)
        assert isinstance(cursor, Cursor)
        cursor.execute("SELECT 1")
        assert cursor.executed == 1
        assert cursor.fetchone() == (1,)
        assert isinstance(db.cursor(Cursor), Cursor)
        assert isinstance(db.cursor(sqlite3.Cursor), Cursor)
    with pytest.raises(NotYourConnection):
        cursor.execute("SELECT 1")


def _back_up(db: Connection) -> None:
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as copy:
        db.backup(copy)


USES: list[Callable[[Connection], object]] = [
    lambda db: db.execute("SELECT 1"),
    lambda db: db.executemany("SELECT ?", [(1,)]),
    lambda db: db.executescript("SELECT 1"),
    lambda db: db.cursor(),
    lambda db: db.cursor(Mine),
    lambda db: db.commit(),
    lambda db: db.rollback(),
    lambda db: db.__enter__(),
    lambda db: db.transaction().__enter__(),
    lambda db: db.blobopen("note", "body", 1),
    lambda db: db.create_function("f", 0, int),
    lambda db: db.set_authorizer(None),
    lambda db: db.set_progress_handler(None, 0),
    lambda db: db.set_trace_callback(None),
    lambda db: list(db.iterdump()),
    _back_up,
    lambda db: db.serialize(),
    lambda db: setattr(db, "isolation_level", None),
    lambda db: setattr(db, "row_factory", dict),
    lambda db: setattr(db, "text_factory", bytes),
]


@pytest.mark.parametrize("use", USES)
def test_a_connection_that_went_back_is_refused(
    database: Database, use: Callable[[Connection], object]
) -> None:
    """Whatever somebody does with a connection that they kept: a ProgrammingError says why."""
    with database.connection() as kept:
        pass
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        use(kept)
    assert isinstance(caught.value, NotYourConnection)
    assert "went back" in str(caught.value)
    with database.connection() as db:
        assert db.execute("SELECT title FROM note").fetchall() == []
        assert db.row_factory is None
        assert db.isolation_level == "IMMEDIATE"


@pytest.mark.parametrize("use", USES)
def test_another_thread_is_refused(database: Database, use: Callable[[Connection], object]) -> None:
    """A connection is out to one thread; all others are told so, and change nothing."""
    with database.connection() as db:
        with pytest.raises(sqlite3.ProgrammingError, match="not yours"):
            elsewhere(lambda: use(db))
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert db.row_factory is None
        assert db.isolation_level == "IMMEDIATE"


def test_a_kept_connection_does_not_close_the_next_borrowers(database: Database) -> None:
    """The close() of a former borrower, as teardowns like to do it, harms nobody."""
    with database.connection() as kept:
        pass
    with contextlib.suppress(sqlite3.Error):
        kept.close()
    with database.connection() as db:
        assert db.execute("SELECT count(*) FROM note").fetchone() == (0,)
    for _ in range(3):
        assert count(database) == 0


def test_a_cursor_that_was_kept_says_why_it_is_closed(database: Database) -> None:
    """Each cursor of a returned connection, half-read or new, raises a ProgrammingError."""
    with database.connection() as db:
        fresh, half = db.cursor(), db.execute("SELECT 1 UNION SELECT 2")
        half.fetchone()
    for cursor in (fresh, half):
        for use in (
            lambda cursor=cursor: cursor.execute("SELECT 1"),
            lambda cursor=cursor: cursor.executemany("SELECT ?", [(1,)]),
            lambda cursor=cursor: cursor.executescript("SELECT 1"),
            lambda cursor=cursor: cursor.fetchone(),
            lambda cursor=cursor: cursor.fetchmany(2),
            lambda cursor=cursor: cursor.fetchall(),
            lambda cursor=cursor: next(cursor),
            lambda cursor=cursor: list(cursor),
        ):
            with pytest.raises(NotYourConnection, match="went back"):
                use()


def test_a_half_read_cursor_holds_no_read_transaction(database: Database, path: Path) -> None:
    """A cursor left in a global does not keep the WAL from being truncated."""
    for _ in range(5):
        add(database)
    with database.reader() as db:
        kept = db.execute("SELECT * FROM note")
        kept.fetchone()
    add(database)
    with plain(path) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    del kept


def test_a_cursor_made_by_its_class_holds_no_read_transaction(
    database: Database, path: Path
) -> None:
    """Cursors that libraries make as sqlite3.Cursor(db) are finished as well."""
    for _ in range(5):
        add(database)
    with database.reader() as db:
        kept = Cursor(db)
        kept.execute("SELECT * FROM note")
        kept.fetchone()
    add(database)
    with plain(path) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    del kept


@pytest.mark.parametrize(
    "write",
    [
        lambda db: db.execute(INSERT),
        lambda db: db.execute("CREATE TABLE t (i)"),
        lambda db: db.execute("PRAGMA user_version = 3"),
        lambda db: db.executemany("DELETE FROM note WHERE id = ?", [(1,)]),
        lambda db: db.executescript("DROP TABLE note"),
        lambda db: db.execute("VACUUM"),
        lambda db: db.execute("WITH a AS (SELECT 1) DELETE FROM note"),
    ],
)
def test_a_reader_refuses_to_write(database: Database, write: Callable[[Connection], Any]) -> None:
    """A write through a reader is an error that says what to use instead."""
    add(database)
    with database.reader() as db:
        with pytest.raises(ReadOnlyConnection, match=r"'notes'.*\.connection"):
            write(db)
        assert not db.in_transaction
        assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)


@pytest.mark.parametrize(
    "pragma",
    ["PRAGMA query_only = 0", "PRAGMA query_only = OFF", "pragma main.query_only(0)"],
)
def test_a_reader_cannot_be_talked_into_writing(open_database: Open, pragma: str) -> None:
    """PRAGMA query_only does not open it, also not in the words that the pool itself uses."""
    database = open_database(pool={"max_size": 1})
    for _ in range(2):
        add(database)  # the same connection changes from writing to reading and back
        with database.reader() as db:
            with contextlib.suppress(sqlite3.Error):
                db.execute(pragma)
            with pytest.raises(sqlite3.OperationalError):
                db.execute(INSERT)
            with contextlib.suppress(sqlite3.Error):
                db.executescript(pragma)
            with pytest.raises(sqlite3.OperationalError):
                db.execute(INSERT)


def test_a_reader_opens_no_blob_to_write(database: Database) -> None:
    """blobopen() through a reader works with readonly=True only."""
    with database.transaction() as db:
        db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(3))")
    with database.reader() as db:
        with pytest.raises(ReadOnlyConnection):
            db.blobopen("note", "body", 1)
        with db.blobopen("note", "body", 1, readonly=True) as blob:
            assert len(blob) == 3


def test_a_reader_can_be_a_block(database: Database) -> None:
    """With reader: is one consistent view, whoever writes meanwhile."""
    add(database)
    with database.reader() as db, db:
        before = db.execute("SELECT count(*) FROM note").fetchone()
        elsewhere(lambda: add(database))
        assert db.execute("SELECT count(*) FROM note").fetchone() == before


def test_close_gives_a_connection_back(open_database: Open) -> None:
    """close() ends the loan; the next borrower gets the connection, and nobody is disturbed."""
    database = open_database(pool={"max_size": 1})
    with database.connection() as db:
        db.close()
        assert database.stats()["pool_available"] == 1
        with pytest.raises(NotYourConnection):
            db.execute("SELECT 1")
        db.close()
    assert count(database) == 0
    assert database.stats()["connections_num"] == 1


def test_close_in_another_thread_does_nothing(database: Database) -> None:
    """Only who has a connection gives it back."""
    with database.connection() as db:
        elsewhere(db.close)
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_that_runs_too_long_is_ended(open_database: Open) -> None:
    """StatementTimeout names the database, the statement without its values, and the limit."""
    database = open_database(statement_timeout=0.05)
    with database.connection() as db:
        with pytest.raises(StatementTimeout) as caught:
            db.execute(SLOW + " WHERE i <> ?", ("secret",))
        message = str(caught.value)
        assert "'notes'" in message
        assert "RECURSIVE" in message
        assert "0.05 s" in message
        assert "secret" not in message
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        assert db.execute("SELECT 1").fetchone() == (1,)


ROWS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 4000000)"
    " SELECT i FROM n WHERE i < 2 OR i > 100000000"
)


def _twice(fetch: Callable[[Any], object], cursor: Any) -> None:
    fetch(cursor)
    fetch(cursor)


@pytest.mark.parametrize(
    "fetch",
    [
        lambda cursor: cursor.fetchall(),
        lambda cursor: cursor.fetchone(),
        lambda cursor: cursor.fetchmany(5),
        next,
        list,
    ],
)
@pytest.mark.parametrize("factory", [None, Mine, sqlite3.Cursor])
def test_fetching_too_long_is_ended_as_well(
    database: Database, open_database: Open, tmp_path: Path, fetch: Any, factory: Any
) -> None:
    """The limit holds while rows are fetched, with the user's own cursor class too."""
    with database.connection() as other:
        other.cursor(Mine)  # a database without the limit knows the class already
    timed = open_database(statement_timeout=0.05, path=str(tmp_path / "timed.db"))
    with timed.connection() as db:
        cursor = db.cursor() if factory is None else db.cursor(factory)
        cursor.execute(ROWS)
        with pytest.raises(StatementTimeout, match="RECURSIVE"):
            _twice(fetch, cursor)


def test_a_limit_is_for_each_statement(open_database: Open) -> None:
    """Many short statements may take longer than the limit together."""
    database = open_database(statement_timeout=1)
    short = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n"
    )
    end = time.monotonic() + 1.1
    with database.connection() as db:
        cursor = db.cursor()
        while time.monotonic() < end:
            assert len(cursor.execute(short).fetchall()) == 500


def test_a_second_use_of_a_loan_is_a_new_one(database: Database) -> None:
    """The object that connection() gives can be entered again after its block."""
    loan = database.connection()
    for _ in range(2):
        with loan as db:
            db.execute("SELECT 1")
    assert database.stats()["pool_available"] == 1


def test_after_closing_every_use_says_that_it_is_closed(database: Database) -> None:
    """A database that is closed names itself, in an error that sqlite3 code already catches."""
    database.close()
    for use in (database.stats, database.holders, database.check, database.connection().__enter__):
        with pytest.raises(DatabaseClosed, match="'notes' is closed") as caught:
            use()
        assert isinstance(caught.value, sqlite3.ProgrammingError)
        assert isinstance(caught.value, SQLiteContainerError)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
def test_a_block_commits_whatever_autocommit_says(database: Database, autocommit: bool) -> None:
    """With db: commits, or rolls back, also where the borrower uses PEP 249's autocommit."""
    with database.connection() as db:
        assign(db, "autocommit", autocommit)
        with db:
            db.execute(INSERT)
        with pytest.raises(KeyError), db:
            run_and_fail(db, INSERT)
        elsewhere(lambda: add(database))
        assign(db, "autocommit", True)
    assert count(database) == 2


def test_a_block_whose_transaction_is_gone_does_not_pretend(open_database: Open) -> None:
    """If SQLite rolled the whole transaction back inside, the block does not end in silence."""
    database = open_database()
    with database.connection() as db:
        try:
            with db:
                db.execute("INSERT INTO note (id, title) VALUES (1, 'first')")
                with contextlib.suppress(sqlite3.IntegrityError):
                    db.execute("INSERT OR ROLLBACK INTO note (id, title) VALUES (1, 'second')")
        except sqlite3.Error:
            return
        pytest.fail("the first row is lost, and nobody was told")


def lose(db: Connection) -> None:
    """Have SQLite roll back the transaction, and go on as if nothing had happened."""
    with contextlib.suppress(sqlite3.IntegrityError):
        db.execute("INSERT OR ROLLBACK INTO note (id, title) VALUES (1, 'again')")


def test_a_lost_block_is_told_once(database: Database) -> None:
    """The blocks after it, of this borrower and of the next one, are none of its business."""
    add(database)
    with database.connection() as db:
        with pytest.raises(TransactionLost), db:
            lose(db)
        with db:
            db.execute(INSERT)
        db.__enter__()
        lose(db)
    add(database)
    assert count(database) == 3


@pytest.mark.parametrize("sql", ["SELECT", "SELECT * FROM missing", "INSERT INTO note VALUES (1)"])
@pytest.mark.parametrize("name", ["execute", "executescript"])
def test_an_error_does_not_keep_its_cursor(database: Database, sql: str, name: str) -> None:
    """When the error is gone, so is the cursor, without the garbage collector's help."""
    gc.disable()
    try:
        with database.connection() as db:
            cursor = db.cursor()
            remains = ref(cursor)
            with contextlib.suppress(sqlite3.Error):
                getattr(cursor, name)(sql)
            del cursor
            assert remains() is None
    finally:
        gc.enable()


def test_closing_a_database_closes_the_file(database: Database, path: Path) -> None:
    """Also while somebody keeps a cursor that was not read to its end."""
    add(database)
    add(database)
    with database.connection() as db:
        kept = db.execute("SELECT * FROM note")
        kept.fetchone()
    database.close()
    assert not is_open(path)
    with pytest.raises(sqlite3.ProgrammingError):
        kept.fetchone()


def is_open(path: Path) -> bool:
    """Whether this process has a descriptor of the file."""
    links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return path in links
