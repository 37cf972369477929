"""A block is stored whole or not at all, whatever SQLite does to its transaction.

SQLite itself rolls back a transaction when a statement fails in certain ways. What the block
writes after that must not be stored as if it were all.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from common.databases import add, elsewhere
from faults.helpers import opened, public
from sqlite_container import (
    Connection,
    Database,
    SQLiteContainerError,
    StatementTimeout,
    TransactionLost,
)

TransactionError = public("TransactionError")
INSERT = "INSERT INTO note (title) VALUES (?)"
CONFLICT = "INSERT OR ROLLBACK INTO number VALUES (1)"
"""Fails, because the number is there, and takes the transaction with it."""
FIVE = "INSERT INTO note (title) VALUES ('1'), ('2'), ('3'), ('4'), ('5') RETURNING id"
LONG = (
    "WITH RECURSIVE n(i) AS (SELECT look(1) UNION ALL SELECT i + 1 FROM n WHERE i < 30000000)"
    " SELECT max(i) FROM n"
)


@pytest.fixture
def titles(database: Database) -> Callable[[], list[str]]:
    """Return which notes are stored, as a connection of sqlite3 sees them."""

    def look() -> list[str]:
        assert database.engine is not None
        with closing(sqlite3.connect(str(database.engine.file))) as other:
            return [title for (title,) in other.execute("SELECT title FROM note ORDER BY id")]

    return look


Titles = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def one(database: Database) -> None:
    """There is a number that another one can be in conflict with."""
    with database.transaction() as db:
        db.execute("INSERT INTO number VALUES (1)")


# -- how SQLite rolls back the transaction of a block ----------------------------------------


def conflict(db: Connection) -> None:
    """Conflict with a row that is there."""
    db.execute(CONFLICT)


def conflict_in_a_cursor(db: Connection) -> None:
    """The same with a cursor that exists before."""
    db.cursor().execute(CONFLICT)


def conflict_in_a_trigger(db: Connection) -> None:
    """A trigger rolls back."""
    db.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON half BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
    )
    db.execute("INSERT INTO half VALUES (1, 'left')")


def conflict_in_many(db: Connection) -> None:
    """Conflict amid many rows."""
    db.executemany("INSERT OR ROLLBACK INTO number VALUES (?)", [(7,), (1,), (8,)])


def conflict_in_many_that_read(db: Connection) -> None:
    """Conflict amid many rows, whose generator reads through the same connection."""

    def numbers() -> Iterator[tuple[int]]:
        for number in (7, 1, 8):
            db.execute("SELECT count(*) FROM number").fetchone()
            yield (number,)

    db.executemany("INSERT OR ROLLBACK INTO number VALUES (?)", numbers())


def generator_that_conflicts(db: Connection) -> None:
    """The generator that makes the rows of a good statement conflicts, and catches that."""

    def numbers() -> Iterator[tuple[str]]:
        yield ("first",)
        with suppress(sqlite3.IntegrityError):
            db.execute(CONFLICT)
        yield ("second",)

    db.executemany(INSERT, numbers())


def function_that_reads(db: Connection) -> None:
    """Conflict in a statement with a function that reads through the same connection."""

    def look(number: int) -> int:
        db.execute("SELECT count(*) FROM number").fetchone()
        return number

    db.create_function("look", 1, look)
    db.execute("INSERT OR ROLLBACK INTO number VALUES (look(1))")


def function_that_conflicts(db: Connection) -> None:
    """A function of a statement that only reads conflicts, and catches that."""

    def look(number: int) -> int:
        with suppress(sqlite3.IntegrityError):
            db.execute(CONFLICT)
        return number

    db.create_function("look", 1, look)
    db.execute("SELECT look(1)").fetchall()


def script_that_conflicts(db: Connection) -> None:
    """Conflict in a script."""
    db.executescript(f"INSERT INTO note (title) VALUES ('script'); {CONFLICT};")


def interrupted(db: Connection) -> None:
    """A statement that writes is interrupted."""

    def look(number: int) -> int:
        db.interrupt()
        return number

    db.create_function("look", 1, look)
    db.execute(f"INSERT INTO note (title) {LONG}")


def interrupted_while_fetching(db: Connection) -> None:
    """A statement that writes is interrupted while its rows are fetched one by one."""
    cursor = db.execute(FIVE)
    cursor.fetchone()
    db.interrupt()
    cursor.fetchone()


def interrupted_while_fetching_all(db: Connection) -> None:
    """The same when all rows are fetched."""
    cursor = db.execute(FIVE)
    db.interrupt()
    cursor.fetchall()


def interrupted_in_a_loop(db: Connection) -> None:
    """The same in a loop over the cursor."""
    for _ in db.execute(FIVE):
        db.interrupt()


Loss = Callable[[Connection], None]
LOSSES: list[Loss] = [
    conflict,
    conflict_in_a_cursor,
    conflict_in_a_trigger,
    conflict_in_many,
    conflict_in_many_that_read,
    generator_that_conflicts,
    function_that_reads,
    function_that_conflicts,
    script_that_conflicts,
    interrupted,
    interrupted_while_fetching,
    interrupted_while_fetching_all,
    interrupted_in_a_loop,
]
of_each_loss = pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)


def lose_it(db: Connection, lose: Loss) -> None:
    """Lose the transaction, and catch whatever that raises, as a careless block does."""
    with suppress(sqlite3.Error):
        lose(db)
    assert not pending(db)


def pending(db: Connection) -> bool:
    """Whether SQLite has a transaction open, whatever was asserted before."""
    return db.in_transaction


@of_each_loss
def test_a_block_that_goes_on_without_its_transaction_fails(
    database: Database, db: Connection, titles: Titles, lose: Loss
) -> None:
    """What it writes after the loss is not stored, and neither is what it wrote before."""
    with pytest.raises(TransactionLost), db:
        db.execute(INSERT, ("before",))
        lose_it(db, lose)
        db.execute(INSERT, ("after",))
    assert titles() == []
    elsewhere(lambda: add(database, "next"))
    with db:
        db.execute(INSERT, ("last",))
    assert titles() == ["next", "last"]


@of_each_loss
def test_a_block_that_ends_without_its_transaction_fails(
    db: Connection, titles: Titles, lose: Loss
) -> None:
    """A block whose transaction is lost never ends as if all were well."""
    with pytest.raises(TransactionLost), db:
        db.execute(INSERT, ("before",))
        lose_it(db, lose)
    assert titles() == []


@of_each_loss
def test_every_statement_after_the_loss_is_refused(
    db: Connection, titles: Titles, lose: Loss
) -> None:
    """Who catches the first refusal as well gets the next, and nothing is stored."""
    with pytest.raises(TransactionLost), db:
        db.execute(INSERT, ("before",))
        lose_it(db, lose)
        for write in (db.execute, db.cursor().execute):
            with suppress(TransactionLost):
                write(INSERT, ("after",))
        with suppress(TransactionLost):
            db.executemany(INSERT, [("after",), ("after",)])
        with suppress(TransactionLost):
            db.executescript("INSERT INTO note (title) VALUES ('after')")
        with suppress(TransactionLost), db:
            db.execute(INSERT, ("in a block of its own",))
    assert titles() == []


@of_each_loss
def test_a_blob_is_not_written_after_the_loss(db: Connection, lose: Loss) -> None:
    """A blob is written in the transaction of its block, or not at all."""
    with db:
        db.execute("INSERT INTO note VALUES (1, 'first', zeroblob(2))")
    with pytest.raises(TransactionLost), db:
        blob = db.blobopen("note", "body", 1)
        blob.write(b"x")
        lose_it(db, lose)
        with suppress(sqlite3.Error):
            blob.write(b"y")
        with suppress(sqlite3.Error), closing(db.blobopen("note", "body", 1)) as other:
            other.write(b"zz")
    assert db.execute("SELECT body FROM note").fetchone() == (b"\0\0",)


@of_each_loss
def test_a_loss_inside_an_inner_block_is_told_to_the_outer_one(
    db: Connection, titles: Titles, lose: Loss
) -> None:
    """The transaction is that of both blocks, so both have failed."""
    with pytest.raises(TransactionLost), db:
        db.execute(INSERT, ("before",))
        with suppress(sqlite3.Error), db:
            lose(db)
        db.execute(INSERT, ("after",))
    assert titles() == []


@of_each_loss
def test_the_error_of_the_block_itself_is_what_it_raises(
    db: Connection, titles: Titles, lose: Loss
) -> None:
    """A block that fails anyhow tells its own reason."""
    with pytest.raises(KeyError, match="mine"), db:
        db.execute(INSERT, ("before",))
        lose_it(db, lose)
        raise KeyError("mine")
    assert titles() == []
    with db:
        db.execute(INSERT, ("next",))
    assert titles() == ["next"]


@pytest.mark.parametrize("loss", ["ABORT", "FAIL", "IGNORE"])
def test_an_error_that_leaves_the_transaction_costs_nothing_else(
    db: Connection, titles: Titles, loss: str
) -> None:
    """Only a lost transaction ends the block: other errors can be caught, as in sqlite3."""
    with db:
        db.execute(INSERT, ("before",))
        with suppress(sqlite3.IntegrityError):
            db.execute(f"INSERT OR {loss} INTO number VALUES (1)")
        db.execute(INSERT, ("after",))
    assert titles() == ["before", "after"]


# -- scripts in a block ----------------------------------------------------------------------

SCRIPT = "INSERT INTO note (title) VALUES ('script'); CREATE TABLE made (x);"


def tables(db: Connection) -> list[str]:
    """Return which tables were made by a script."""
    return [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE name = 'made'")]


def test_a_script_is_rolled_back_with_its_block(db: Connection, titles: Titles) -> None:
    """A script in a block belongs to the transaction of the block."""
    with pytest.raises(KeyError), db:
        db.execute(INSERT, ("before",))
        db.executescript(SCRIPT)
        raise KeyError
    assert titles() == []
    assert tables(db) == []


def test_a_script_after_a_block_that_was_left_without_its_end_is_its_own(
    db: Connection, titles: Titles
) -> None:
    """A ``with`` statement looks its end up first; where it lost that, the block is undone."""
    end = db.__exit__
    db.__enter__()
    db.execute("INSERT INTO note (title) VALUES ('lost')")
    del end
    db.executescript("INSERT INTO note (title) VALUES ('kept')")
    assert not db.in_transaction
    assert titles() == ["kept"]


def test_a_script_is_stored_with_its_block(db: Connection, titles: Titles) -> None:
    """A block with a script in it is stored as one."""
    with db:
        db.execute(INSERT, ("before",))
        db.executescript(SCRIPT)
        assert pending(db)
        db.execute(INSERT, ("after",))
    assert titles() == ["before", "script", "after"]
    assert tables(db) == ["made"]


def test_a_script_is_rolled_back_with_an_inner_block(db: Connection, titles: Titles) -> None:
    """In an inner block it belongs to the inner block."""
    with db:
        db.execute(INSERT, ("before",))
        with suppress(KeyError), db:
            db.executescript(SCRIPT)
            raise KeyError
    assert titles() == ["before"]
    assert tables(db) == []


@pytest.mark.parametrize("wrong", ["INSERT INTO nowhere VALUES (1);", "SELECT 'unfinished"])
def test_nothing_of_a_block_with_a_failing_script_is_stored(
    db: Connection, titles: Titles, wrong: str
) -> None:
    """A script that fails in the middle fails the block, and nothing is left of either."""
    with pytest.raises(sqlite3.Error), db:
        db.execute(INSERT, ("before",))
        db.executescript(f"{SCRIPT} {wrong}")
    assert titles() == []
    assert tables(db) == []


def test_a_block_goes_on_after_a_failing_script(db: Connection, titles: Titles) -> None:
    """Who catches its error goes on in the same transaction, as after any statement."""
    with pytest.raises(KeyError), db:
        with suppress(sqlite3.Error):
            db.executescript(f"{SCRIPT} INSERT INTO nowhere VALUES (1);")
        db.execute(INSERT, ("after",))
        raise KeyError
    assert titles() == []
    assert tables(db) == []


@pytest.mark.parametrize(
    "script",
    [
        "/* ; */ INSERT INTO note (title) VALUES ('a;b'); -- the end;",
        (
            "CREATE TRIGGER t AFTER INSERT ON half BEGIN DELETE FROM number; END;"
            " INSERT INTO note (title) VALUES ('a;b')"
        ),
        "INSERT INTO note (title) VALUES ('a;b');;\n;",
        "SELECT 1; SELECT title FROM note; INSERT INTO note (title) VALUES ('a;b')",
    ],
)
def test_a_script_in_a_block_may_be_any_script(db: Connection, titles: Titles, script: str) -> None:
    """Semicolons in texts, comments and triggers do not end a statement."""
    with db:
        db.executescript(script)
    assert titles() == ["a;b"]


# -- ending a transaction inside of a block ----------------------------------------------------


def execute(sql: str, db: Connection) -> object:
    """Execute a statement."""
    return db.execute(sql)


CONTROLS: dict[str, Callable[[Connection], object]] = {
    "commit()": lambda db: db.commit(),
    "rollback()": lambda db: db.rollback(),
    **{
        sql: partial(execute, sql)
        for sql in (
            "COMMIT",
            "commit transaction;",
            " /* now */ COMMIT",
            "-- now\nEND",
            "END TRANSACTION",
            "ROLLBACK",
            "Rollback Transaction",
            "BEGIN",
            "BEGIN IMMEDIATE",
            "begin exclusive transaction",
        )
    },
    "a cursor": lambda db: db.cursor().execute("COMMIT"),
    "executemany": lambda db: db.executemany("COMMIT", [()]),
    "a script": lambda db: db.executescript("COMMIT"),
    "amid a script": lambda db: db.executescript("SELECT 1; COMMIT; SELECT 2;"),
    "a script that rolls back": lambda db: db.executescript("ROLLBACK; BEGIN;"),
}
of_each_control = pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS.keys())
Control = Callable[[Connection], object]


@of_each_control
def test_a_block_cannot_be_ended_from_inside(
    db: Connection, titles: Titles, control: Control
) -> None:
    """A helper that commits or rolls back is refused, and the block fails as a whole."""
    with pytest.raises(TransactionError) as caught, db:
        db.execute(INSERT, ("before",))
        control(db)
    assert isinstance(caught.value, SQLiteContainerError)
    assert isinstance(caught.value, sqlite3.ProgrammingError)
    assert titles() == []


@of_each_control
def test_a_refused_end_changes_nothing(db: Connection, titles: Titles, control: Control) -> None:
    """A block that catches it goes on in the same transaction, in an inner block as well."""
    with db:
        db.execute(INSERT, ("before",))
        with pytest.raises(TransactionError):
            control(db)
        with db:
            db.execute(INSERT, ("inner",))
            with pytest.raises(TransactionError):
                control(db)
        with suppress(KeyError), db:
            db.execute(INSERT, ("failed",))
            raise KeyError
        assert titles() == []
        assert pending(db)
    assert titles() == ["before", "inner"]


def test_outside_of_blocks_everything_ends_as_in_sqlite3(db: Connection, titles: Titles) -> None:
    """Without a block, transactions are begun and ended by hand as ever."""
    db.execute(INSERT, ("a",))
    db.commit()
    db.execute(INSERT, ("b",))
    db.rollback()
    db.execute("BEGIN")
    db.execute(INSERT, ("c",))
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")
    db.execute(INSERT, ("d",))
    db.execute("ROLLBACK")
    db.executescript("BEGIN; INSERT INTO note (title) VALUES ('e'); COMMIT;")
    assert titles() == ["a", "c", "e"]


def test_a_savepoint_of_ones_own_is_allowed_in_a_block(db: Connection, titles: Titles) -> None:
    """Savepoints nest in blocks, whatever their names."""
    with db:
        db.execute(INSERT, ("before",))
        for name in ("mine", "block_1", "sqlite_container_1"):
            db.execute(f"SAVEPOINT {name}")
            with db:
                db.execute(INSERT, (name,))
            with suppress(KeyError), db:
                db.execute(INSERT, ("failed",))
                raise KeyError
            if name == "mine":
                db.execute("ROLLBACK TO mine")
            db.execute(f"RELEASE {name}")
    assert titles() == ["before", "block_1", "sqlite_container_1"]


# -- an inner block that fails -----------------------------------------------------------------


def insert_returning(db: Connection) -> object:
    """Rows of an INSERT are not fetched."""
    return db.execute(FIVE)


def insert_returning_half_read(db: Connection) -> object:
    """Some rows of an INSERT are not fetched."""
    cursor = db.execute(FIVE)
    cursor.fetchone()
    return cursor


def update_returning(db: Connection) -> object:
    """Rows of an UPDATE are not fetched."""
    return db.execute("UPDATE note SET title = 'changed' RETURNING id")


def delete_returning(db: Connection) -> object:
    """Rows of a DELETE are not fetched."""
    return db.execute("DELETE FROM note RETURNING id")


def writable_blob(db: Connection) -> object:
    """A blob that can be written is open."""
    blob = db.blobopen("note", "body", 1)
    blob.write(b"xx")
    return blob


def reader_amid_rows(db: Connection) -> object:
    """Rows of a SELECT are not fetched."""
    db.execute(INSERT, ("inner",))
    cursor = db.execute("SELECT * FROM note")
    cursor.fetchone()
    return cursor


@pytest.mark.parametrize(
    "leave",
    [
        insert_returning,
        insert_returning_half_read,
        update_returning,
        delete_returning,
        writable_blob,
        reader_amid_rows,
    ],
    ids=lambda leave: leave.__name__,
)
def test_a_failed_inner_block_undoes_only_itself(
    db: Connection, titles: Titles, leave: Callable[[Connection], object]
) -> None:
    """The outer block is stored, whatever the inner one has left unread or open."""
    with db:
        db.execute("INSERT INTO note VALUES (1, 'first', zeroblob(2))")
        db.execute("INSERT INTO note VALUES (2, 'second', NULL)")
    kept = []
    with db:
        db.execute(INSERT, ("before",))
        with suppress(KeyError), db:
            kept.append(leave(db))
            raise KeyError
        assert pending(db)
        db.execute(INSERT, ("after",))
    assert titles() == ["first", "second", "before", "after"]
    assert db.execute("SELECT body FROM note WHERE id = 1").fetchone() == (b"\0\0",)


# -- what belongs to one statement -------------------------------------------------------------


def test_a_time_limit_outlives_a_statement_inside_another_one(tmp_path: Path) -> None:
    """A function that uses the same connection does not end the limit of its statement."""
    folder = tmp_path / "timed"
    folder.mkdir()
    with opened(folder, statement_timeout=0.3) as database, database.connection() as db:
        look_through(db)
        with pytest.raises(StatementTimeout):
            db.execute(LONG).fetchone()


def look_through(db: Connection) -> None:
    """Make a function that reads through the connection."""

    def look(number: int) -> int:
        db.execute("SELECT 1").fetchone()
        return number

    db.create_function("look", 1, look)


def test_a_statement_inside_another_one_does_not_end_its_transaction(
    db: Connection, titles: Titles
) -> None:
    """A statement that begins a transaction by itself, and fails in part, is rolled back."""
    look_through(db)
    with suppress(sqlite3.IntegrityError):
        db.execute("INSERT INTO number SELECT look(n) FROM (SELECT 2 AS n UNION ALL SELECT 1)")
    db.rollback()
    assert db.execute("SELECT n FROM number").fetchall() == [(1,)]


def test_a_transaction_inside_a_function_is_the_one_around_it(
    db: Connection, titles: Titles
) -> None:
    """What a function writes amid a statement of a block is stored, or not, with the block."""

    def note(title: str) -> str:
        db.execute(INSERT, (title,))
        return title

    db.create_function("note", 1, note)
    with suppress(KeyError), db:
        db.execute("SELECT note('failed')").fetchall()
        raise KeyError
    with db:
        db.execute("SELECT note('stored')").fetchall()
    assert titles() == ["stored"]
