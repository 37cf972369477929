"""Whose turn it is to write."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from common.databases import (
    PATIENCE,
    Open,
    add,
    assign,
    count,
    elsewhere,
    held_by_a_thread,
    in_thread,
    plain,
    run_and_fail,
    wait_until,
)
from sqlite_container import Connection, Database, DatabaseBusy, LeakWarning

INSERT = "INSERT INTO note (title) VALUES ('x')"
WITH = "WITH one(t) AS (SELECT 'w') INSERT INTO note (title) SELECT t FROM one"
COMMENTED = "  -- a comment\n /* and one */ REPLACE INTO note VALUES (1, 'x', '')"


def waiting(database: Database) -> int:
    """How many writers wait for the turn of a database."""
    with database.reader() as db:
        return db.lender.write_lock.waiting


def test_writers_are_served_in_the_order_of_their_arrival(database: Database) -> None:
    """Who asks first, writes first."""
    order: list[int] = []

    def write(number: int) -> None:
        with database.transaction() as db:
            order.append(number)
            db.execute(INSERT)

    def is_next(number: int) -> None:
        wait_until(lambda: waiting(database) == number + 1)

    futures = []
    with held_by_a_thread(database, "BEGIN IMMEDIATE"):
        for number in range(6):
            futures.append(in_thread(partial(write, number)))
            is_next(number)
    for future in futures:
        future.result(PATIENCE)
    assert order == list(range(6))
    assert count(database) == 6


def test_contended_increments_end_in_the_right_sum(open_database: Open) -> None:
    """Eight threads that read, add one and write lose no update and see no error."""
    database = open_database(pool={"max_size": 8})
    with database.transaction() as db:
        db.execute("INSERT INTO note (title) VALUES ('0')")
    start = threading.Barrier(8)

    def increment() -> None:
        start.wait(PATIENCE)
        for _ in range(50):
            with database.transaction() as db:
                (value,) = db.execute("SELECT title FROM note").fetchone()
                db.execute("UPDATE note SET title = ?", (str(int(value) + 1),))

    futures = [in_thread(increment) for _ in range(8)]
    for future in futures:
        future.result(PATIENCE)
    with database.reader() as db:
        assert db.execute("SELECT title FROM note").fetchone() == ("400",)


def test_a_turn_that_does_not_come_names_the_holder(open_database: Open) -> None:
    """DatabaseBusy says which database, how long it waited, and which thread has the turn."""
    database = open_database(busy_timeout=0.05)
    with (
        held_by_a_thread(database, "BEGIN IMMEDIATE", "slow-writer"),
        pytest.raises(DatabaseBusy, match=r"'notes'.*0\.\d\d s.*'slow-writer'"),
    ):
        add(database)
    add(database)
    assert count(database) == 1


def test_a_turn_that_does_not_come_is_an_operational_error_with_its_code(
    open_database: Open,
) -> None:
    """Code that looks at sqlite_errorcode, as retries do, finds SQLITE_BUSY there."""
    database = open_database(busy_timeout=0.02)
    with (
        held_by_a_thread(database, "BEGIN IMMEDIATE"),
        pytest.raises(sqlite3.OperationalError) as caught,
    ):
        add(database)
    assert caught.value.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def test_another_process_is_named_as_such(open_database: Open, path: Path) -> None:
    """Where nobody of this process has the turn, DatabaseBusy says that another process has."""
    database = open_database(busy_timeout=0.05)
    with plain(path) as other:  # knows of no queue, like another process
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="another process"):
            add(database)
    elsewhere(lambda: add(database))
    assert count(database) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda db: db.execute(INSERT),
        lambda db: db.cursor().execute(INSERT),
        lambda db: db.executemany("INSERT INTO note (title) VALUES (?)", [("a",), ("b",)]),
        lambda db: db.executescript(INSERT),
        lambda db: db.execute(WITH),
        lambda db: db.execute("CREATE TABLE other (id)"),
        lambda db: db.execute(COMMENTED),
        lambda db: db.execute("BEGIN IMMEDIATE"),
        lambda db: db.execute("BEGIN  EXCLUSIVE"),
        lambda db: db.__enter__(),
        lambda db: db.execute("PRAGMA user_version = 3"),
        lambda db: db.execute("VACUUM"),
    ],
)  # fmt: skip
def test_every_write_waits_for_the_turn(open_database: Open, write: object) -> None:
    """Whatever writes waits in the fair queue, and is not running any more when it gave up."""
    assert callable(write)
    database = open_database(busy_timeout=0.02)
    with held_by_a_thread(database, "BEGIN IMMEDIATE", "first"), database.connection() as db:
        with pytest.raises(DatabaseBusy, match="'first'"):
            write(db)
        assert db.running is None


def test_blobopen_waits_for_the_turn(open_database: Open) -> None:
    """A blob that may be written is a write; one that is only read is not."""
    database = open_database(busy_timeout=0.02)
    with database.transaction() as db:
        db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(3))")
    with held_by_a_thread(database, "BEGIN IMMEDIATE"), database.connection() as db:
        with db.blobopen("note", "body", 1, readonly=True) as blob:
            assert blob.read() == b"\0\0\0"
        with pytest.raises(DatabaseBusy):
            db.blobopen("note", "body", 1)


def test_reads_never_wait(database: Database) -> None:
    """While somebody writes, connections and readers read what was committed before."""
    add(database)
    with held_by_a_thread(database, "BEGIN IMMEDIATE"):
        assert count(database) == 1
        with database.connection() as db:
            db.execute("BEGIN")
            assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)
            db.commit()
            db.execute("EXPLAIN QUERY PLAN SELECT * FROM note").fetchall()
            db.execute("PRAGMA table_info(note)").fetchall()
            db.execute("ATTACH ':memory:' AS other")
            assert db.lender.write_lock.holder is not db
        with database.reader() as db, db:
            assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)


@pytest.mark.parametrize(
    "end",
    [
        lambda db: db.commit(),
        lambda db: db.rollback(),
        lambda db: db.execute("COMMIT"),
        lambda db: db.execute("ROLLBACK"),
        lambda db: db.executescript("SELECT 1"),
        lambda db: setattr(db, "isolation_level", None),
    ],
)
def test_the_turn_is_given_up_with_the_transaction(open_database: Open, end: object) -> None:
    """Once the transaction ends, however it ends, the next writer writes."""
    assert callable(end)
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        db.execute("INSERT INTO note (title) VALUES ('mine')")
        end(db)
        elsewhere(lambda: add(database))


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO missing VALUES (1)",
        "INSERT INTO note VALUES",
        "CREATE TABLE note (id)",
        "UPDATE note SET missing = 1",
    ],
)
def test_a_statement_that_cannot_be_compiled_leaves_no_transaction(
    open_database: Open, sql: str
) -> None:
    """As in the standard library, a statement with a mistake begins nothing and holds nobody up."""
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        with pytest.raises(sqlite3.OperationalError):
            db.execute(sql)
        assert not db.in_transaction
        elsewhere(lambda: add(database))


def test_a_block_that_fails_gives_up_the_turn(open_database: Open) -> None:
    """An exception in a block rolls back, and the next writer writes."""
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        with pytest.raises(KeyError), db:
            run_and_fail(db, INSERT)
        elsewhere(lambda: add(database))
        assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)


def test_a_blob_that_cannot_be_opened_holds_no_turn(open_database: Open) -> None:
    """blobopen on a row that is not there is an error, and the next writer writes."""
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        with pytest.raises(sqlite3.OperationalError):
            db.blobopen("note", "body", 99)
        elsewhere(lambda: add(database))


def test_a_closed_blob_holds_no_turn(open_database: Open) -> None:
    """When a blob is written and closed, the next writer writes, though the connection is out."""
    database = open_database(busy_timeout=0.5)
    with database.transaction() as db:
        db.execute("INSERT INTO note (title, body) VALUES ('x', zeroblob(3))")
    with database.connection() as db:
        with db.blobopen("note", "body", 1) as blob:
            blob.write(b"abc")
        elsewhere(lambda: add(database))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
def test_the_turn_is_given_up_on_commit_with_autocommit_off(open_database: Open) -> None:
    """With autocommit=False, too, commit() lets the next writer write."""
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        assign(db, "autocommit", False)
        db.execute(INSERT)
        db.commit()
        elsewhere(lambda: add(database))
        assign(db, "autocommit", True)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
@pytest.mark.parametrize("autocommit", ["legacy", False])
def test_the_turn_is_kept_where_a_commit_fails(open_database: Open, autocommit: object) -> None:
    """What was written is still there, so nobody else can write."""
    database = open_database(busy_timeout=0.1)
    with database.connection() as db:
        db.executescript(
            "CREATE TABLE child (i REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        if autocommit != "legacy":
            assign(db, "autocommit", autocommit)
        db.execute("INSERT INTO child VALUES (7)")
        with pytest.raises(sqlite3.IntegrityError):
            db.commit()
        assert db.lender.write_lock.holder is db
        db.rollback()
        elsewhere(lambda: add(database))
        if autocommit != "legacy":
            assign(db, "autocommit", True)


def test_giving_back_gives_up_the_turn(open_database: Open) -> None:
    """A connection that goes back in the middle of a transaction holds nobody up."""
    database = open_database(busy_timeout=0.5)
    with pytest.warns(RuntimeWarning, match="rolled back"), database.connection() as db:
        db.execute(INSERT)
    elsewhere(lambda: add(database))
    assert count(database) == 1


def test_the_turn_of_a_dead_thread_is_given_up(open_database: Open) -> None:
    """A thread that ended inside a transaction does not keep the next writer from writing."""
    database = open_database(busy_timeout=5)

    def die() -> None:
        database.connection().__enter__().execute(INSERT)

    thread = threading.Thread(target=die, name="dead")
    thread.start()
    thread.join(PATIENCE)
    with pytest.warns(LeakWarning, match="'dead'"):
        add(database)
    assert count(database) == 1


def test_an_interrupt_gives_up_the_turn(open_database: Open) -> None:
    """A write that is interrupted is rolled back by SQLite, and the next writer writes."""
    database = open_database(busy_timeout=2, statement_timeout=0.05)
    forever = (
        "INSERT INTO note (title) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i FROM n WHERE i < 0"
    )
    with database.connection() as db:
        with pytest.raises(TimeoutError):
            db.execute(forever)
        if db.in_transaction:
            db.rollback()
        elsewhere(lambda: add(database))


def test_two_databases_in_opposite_order_are_no_deadlock(
    open_database: Open, tmp_path: Path
) -> None:
    """One of two threads that want each other's turn gets an error at once, the other goes on."""
    one = open_database(name="one", busy_timeout=PATIENCE)
    two = open_database(name="two", busy_timeout=PATIENCE, path=str(tmp_path / "two.db"))
    both = threading.Barrier(2)

    def write(first: Database, second: Database) -> str:
        try:
            with first.transaction() as db:
                db.execute(INSERT)
                both.wait(PATIENCE)
                with second.transaction() as other:
                    other.execute(INSERT)
        except DatabaseBusy as error:
            return str(error)
        return ""

    futures = [in_thread(lambda: write(one, two)), in_thread(lambda: write(two, one))]
    errors = sorted(future.result(PATIENCE / 2) for future in futures)
    assert errors[0] == ""
    assert "for ever" in errors[1]
    assert (count(one), count(two)) == (1, 1)


def test_a_circle_of_three_is_found(open_database: Open, tmp_path: Path) -> None:
    """Three threads that wait for one another in a circle are found out as well."""
    databases = [
        open_database(name=f"n{i}", busy_timeout=PATIENCE, path=str(tmp_path / f"{i}.db"))
        for i in range(3)
    ]
    ready = threading.Barrier(3)

    def write(number: int) -> bool:
        try:
            with databases[number].transaction():
                ready.wait(PATIENCE)
                add(databases[(number + 1) % 3])
        except DatabaseBusy:
            return False
        return True

    futures = [in_thread(partial(write, number)) for number in range(3)]
    assert sorted(future.result(PATIENCE / 2) for future in futures) == [False, True, True]


def test_the_same_thread_asking_twice_gets_an_error_at_once(open_database: Open) -> None:
    """A second writing connection inside a transaction would wait for itself: an error says so."""
    database = open_database(busy_timeout=900)
    with database.transaction() as db:
        db.execute(INSERT)
        name = threading.current_thread().name
        with database.connection() as second:
            with pytest.raises(DatabaseBusy, match=name):
                second.execute(INSERT)
            with pytest.raises(DatabaseBusy, match="for ever"), second:
                pytest.fail("it began")
    assert count(database) == 1


HANDED_OVER = """
    import sys, threading
    from pathlib import Path
    from sqlite_container import Database

    one, two = Database("one"), Database("two")
    one.open(sys.argv[1] + "/one.db"), two.open(sys.argv[1] + "/two.db")
    started = threading.Event()

    def both():
        with one.transaction():
            started.set()
            with two.transaction():
                pass

    with two.connection() as db:
        db.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=both, daemon=True)
        thread.start()
        started.wait()
        while not db.lender.write_lock.waiting:
            pass
        sys.setswitchinterval(1000)  # the thread gets its turn, and does not run yet
        db.commit()
        with one.transaction():
            pass
    thread.join()
    one.close(), two.close()
    print("done")
"""


def test_asking_while_a_turn_is_being_handed_over_does_not_hang(tmp_path: Path) -> None:
    """Who asks for a turn of a thread that was just given another one waits, and then has it."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HANDED_OVER), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.stdout == "done\n", done.stderr


def test_spellings_of_one_file_share_one_queue(
    open_database: Open, path: Path, tmp_path: Path
) -> None:
    """A symbolic link, a hard link and a detour through '..' lead to the same turn."""
    first = open_database(name="first", busy_timeout=0.02)
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder").mkdir()
    for spelling in [tmp_path / "link.db", tmp_path / "folder" / ".." / "notes.db"]:
        other = open_database(name="other", path=str(spelling), busy_timeout=0.02)
        with first.connection() as one, other.connection() as two:
            assert one.lender.write_lock is two.lender.write_lock
        with (
            held_by_a_thread(first, "BEGIN IMMEDIATE", "in-first"),
            pytest.raises(DatabaseBusy, match=r"'other'.*'in-first'"),
        ):
            add(other)


def test_databases_on_different_files_do_not_wait_for_each_other(
    open_database: Open, tmp_path: Path
) -> None:
    """One thread may write to two databases at the same time."""
    one = open_database()
    two = open_database(path=str(tmp_path / "two.db"))
    with one.transaction() as first, two.transaction() as second:
        first.execute(INSERT)
        second.execute(INSERT)
    assert (count(one), count(two)) == (1, 1)


def test_a_read_that_turns_into_a_write_too_late_says_what_to_do(open_database: Open) -> None:
    """A deferred transaction that read before somebody wrote is told to begin with 'with db:'."""
    database = open_database(busy_timeout=5)
    with database.connection() as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM note").fetchone()
        elsewhere(lambda: add(database))
        with pytest.raises(DatabaseBusy, match="with db"):
            db.execute(INSERT)
        db.rollback()
        elsewhere(lambda: add(database))


def test_a_write_that_failed_on_a_snapshot_holds_no_turn(open_database: Open) -> None:
    """Until it rolls back, too, the connection whose snapshot is stale holds nobody up."""
    database = open_database(busy_timeout=0.5)
    with database.connection() as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM note").fetchone()
        elsewhere(lambda: add(database))
        with pytest.raises(DatabaseBusy):
            db.execute(INSERT)
        db.rollback()


def test_a_block_is_immediate_from_its_start(database: Database) -> None:
    """With db: takes the lock before its first statement, so read-then-write cannot fail."""
    with database.connection() as db, db:
        assert db.in_transaction
        with database.connection() as other, pytest.raises(DatabaseBusy):
            other.execute("BEGIN IMMEDIATE")
        db.execute("SELECT count(*) FROM note").fetchone()
        db.execute(INSERT)


def test_implicit_transactions_are_immediate(database: Database) -> None:
    """An INSERT without a block begins IMMEDIATE, also where the borrower set DEFERRED."""
    for level in ("IMMEDIATE", "DEFERRED", ""):
        seen: list[str] = []
        with database.connection() as db:
            db.isolation_level = level
            db.set_trace_callback(seen.append)
            db.execute("DELETE FROM note WHERE id < 0")
            db.commit()
        assert seen[0].startswith("BEGIN IMMEDIATE"), (level, seen)


def test_a_timed_out_writer_is_no_longer_in_the_queue(open_database: Open) -> None:
    """Who gave up waiting is passed over, and those behind it still get their turn."""
    database = open_database(busy_timeout=PATIENCE)
    impatient = open_database(name="impatient", busy_timeout=0.02)
    with held_by_a_thread(database, "BEGIN IMMEDIATE"):
        with pytest.raises(DatabaseBusy):
            add(impatient)
        patient = in_thread(lambda: add(database))
        wait_until(lambda: waiting(database) == 1)
    patient.result(PATIENCE)
    assert waiting(database) == 0
    assert count(database) == 1


def test_turns_are_never_lost_where_waits_end_as_they_come(open_database: Open) -> None:
    """Writers that give up at about the moment of their turn leave it to the next."""
    database = open_database(busy_timeout=0.002, pool={"max_size": 8})
    start = threading.Barrier(6)

    def write() -> int:
        start.wait(PATIENCE)
        written = 0
        for _ in range(60):
            try:
                add(database)
                written += 1
            except DatabaseBusy:
                pass
        return written

    futures = [in_thread(write) for _ in range(6)]
    total = sum(future.result(PATIENCE) for future in futures)
    assert count(database) == total
    add(database)
    with database.connection() as db:
        assert isinstance(db, Connection)
        assert db.lender.write_lock.holder is None


def in_thread_number(number: int, call: Callable[[], object]) -> bool:
    """Run it in a new thread that was given this number; the system gives them out again."""

    def run_if_it_is() -> bool:
        if threading.get_ident() == number:
            call()
        return threading.get_ident() == number

    return any(elsewhere(run_if_it_is) for _ in range(100))


def test_a_thread_with_the_number_of_a_dead_one_is_another(open_database: Open) -> None:
    """It does not wait for itself: the turn of the dead thread is taken back."""
    database = open_database(busy_timeout=5)
    numbers: list[int] = []

    def begin_and_die() -> None:
        database.connection().__enter__().execute("BEGIN IMMEDIATE")
        numbers.append(threading.get_ident())

    thread = threading.Thread(target=begin_and_die)
    thread.start()
    thread.join(PATIENCE)
    with pytest.warns(LeakWarning, match="gone"):
        assert in_thread_number(numbers[0], lambda: add(database))
    assert count(database) == 1


def test_a_wait_for_the_turn_is_no_time_of_the_statement(open_database: Open) -> None:
    """statement_timeout does not count how long somebody else was writing."""
    database = open_database(statement_timeout=0.2)
    with held_by_a_thread(database, "BEGIN IMMEDIATE") as done:
        future = in_thread(partial(update_many, database))
        wait_until(lambda: waiting(database) == 1)
        threading.Timer(0.4, done.set).start()
        future.result(PATIENCE)


def update_many(database: Database) -> None:
    """A statement that asks the deadline more than once."""
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
    with database.connection() as db:
        db.execute(f"{many} INSERT INTO note (title) SELECT i FROM n")


def test_a_stale_snapshot_is_not_waited_for(open_database: Open, path: Path) -> None:
    """What can never succeed fails at once, also where other processes were met before."""
    database = open_database(busy_timeout=10 * PATIENCE)  # longer than a test may take
    add(database)
    add(database)
    with plain(path) as other, database.connection() as db:
        db.lender.write_lock.contention.met(float("inf"))
        cursor = db.execute("SELECT * FROM note")
        cursor.fetchone()
        other.execute(INSERT)
        with pytest.raises(DatabaseBusy, match="came after a read"):
            db.__enter__()


def test_a_blob_that_was_closed_holds_no_turn(database: Database) -> None:
    """The same thread can write through another connection afterwards."""
    with database.transaction() as db:
        db.execute("INSERT INTO note VALUES (1, 'x', zeroblob(4))")
    with database.connection() as one, database.connection() as two:
        with one.blobopen("note", "body", 1) as blob:
            blob.write(b"1")
        with two:
            two.execute(INSERT)
    assert count(database) == 2


def test_an_unfinished_statement_of_its_own_is_no_other_writer(database: Database) -> None:
    """SQLITE_LOCKED is told as what it is: it does not pass by itself."""
    add(database)
    add(database)
    with database.connection() as db:
        cursor = db.execute("SELECT * FROM note")
        cursor.fetchone()
        with pytest.raises(sqlite3.OperationalError, match="close its cursor") as caught:
            db.execute("DROP TABLE note")
    assert not isinstance(caught.value, DatabaseBusy)


def test_who_is_woken_is_not_passed_over_for_long(database: Database) -> None:
    """While others come and go, the first in the queue has its turn after a moment."""
    stop = threading.Event()

    def write_on() -> None:
        with database.connection() as db:
            while not stop.is_set():
                with db:
                    db.execute(INSERT)

    others = [in_thread(write_on) for _ in range(3)]
    for _ in range(20):
        add(database)
    stop.set()
    for other in others:
        other.result(PATIENCE)
