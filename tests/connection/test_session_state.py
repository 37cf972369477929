"""What one borrower changes, the next does not see."""

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.databases import Open, add, assign, count, elsewhere, files
from sqlite_container import Connection, Database, NotYourConnection, ReadOnlyConnection

PRAGMAS = {
    "foreign_keys": 0,
    "query_only": 1,
    "recursive_triggers": 1,
    "synchronous": 0,
    "cache_size": 17,
    "busy_timeout": 1,
    "temp_store": 2,
    "analysis_limit": 33,
    "ignore_check_constraints": 1,
    "trusted_schema": 1,
    "cell_size_check": 1,
    "defer_foreign_keys": 1,
    "read_uncommitted": 1,
    "reverse_unordered_selects": 1,
    "automatic_index": 0,
    "wal_autocheckpoint": 5,
    "legacy_alter_table": 1,
    "writable_schema": 1,
    "mmap_size": 65536,
    "journal_size_limit": 5,
    "cache_spill": 0,
    "secure_delete": 1,
}


@pytest.fixture
def single(open_database: Open) -> Database:
    """A database whose one connection every borrower gets in turn."""
    return open_database(pool={"max_size": 1})


@pytest.mark.parametrize("way", ["{} = {}", "{}({})", "main.{} = {}"])
@pytest.mark.parametrize("name", PRAGMAS)
def test_a_pragma_is_as_configured_for_the_next(single: Database, name: str, way: str) -> None:
    """Whatever PRAGMA a borrower sets, however it writes it, the next one does not see it."""
    with single.connection() as db:
        before = db.execute(f"PRAGMA {name}").fetchone()
        db.execute("PRAGMA " + way.format(name, PRAGMAS[name])).fetchall()
    with single.connection() as db:
        assert db.execute(f"PRAGMA {name}").fetchone() == before


def test_a_pragma_in_a_script_is_as_configured_for_the_next(single: Database) -> None:
    """A PRAGMA inside a script is noticed too."""
    with single.connection() as db:
        db.executescript("SELECT 1; PRAGMA foreign_keys = OFF; SELECT 2;")
    with single.connection() as db:
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)


ALTER: dict[str, tuple[Callable[[Connection], Any], Callable[[Connection], Any]]] = {
    "row_factory": (
        lambda db: setattr(db, "row_factory", sqlite3.Row),
        lambda db: type(db.execute("SELECT 1").fetchone()),
    ),
    "text_factory": (
        lambda db: setattr(db, "text_factory", bytes),
        lambda db: db.execute("SELECT 'a'").fetchone(),
    ),
    "isolation_level": (
        lambda db: setattr(db, "isolation_level", None),
        lambda db: db.isolation_level,
    ),
    "isolation_level DEFERRED": (
        lambda db: setattr(db, "isolation_level", "DEFERRED"),
        lambda db: db.isolation_level,
    ),
    "create_function": (
        lambda db: db.create_function("mine", 0, lambda: 1),
        lambda db: _fails(db, "SELECT mine()"),
    ),
    "create_aggregate": (
        lambda db: db.create_aggregate("mine", 1, _Sum),
        lambda db: _fails(db, "SELECT mine(1)"),
    ),
    "create_collation": (
        lambda db: db.create_collation("mine", lambda a, b: 0),
        lambda db: _fails(db, "SELECT 'a' = 'b' COLLATE mine"),
    ),
    "set_authorizer": (
        lambda db: db.set_authorizer(lambda *_: sqlite3.SQLITE_DENY),
        lambda db: _fails(db, "SELECT count(*) FROM note"),
    ),
    "set_progress_handler": (
        lambda db: db.set_progress_handler(lambda: 1, 1),
        lambda db: _fails(db, "SELECT count(*) FROM note"),
    ),
    "attach": (
        lambda db: db.execute("ATTACH ':memory:' AS other"),
        lambda db: db.execute("PRAGMA database_list").fetchall(),
    ),
    "temporary table": (
        lambda db: db.execute("CREATE TEMP TABLE note (id)"),
        lambda db: db.execute("SELECT * FROM sqlite_temp_schema").fetchall(),
    ),
    "temporary table by another name": (
        lambda db: db.execute("CREATE TABLE temp.mine (id)"),
        lambda db: db.execute("SELECT * FROM sqlite_temp_schema").fetchall(),
    ),
    "temporary view": (
        lambda db: db.execute("CREATE TEMP VIEW note AS SELECT 1"),
        lambda db: db.execute("SELECT * FROM sqlite_temp_schema").fetchall(),
    ),
    "temporary trigger": (
        lambda db: db.execute(
            "CREATE TEMP TRIGGER t AFTER INSERT ON note BEGIN DELETE FROM note; END"
        ),
        lambda db: db.execute("SELECT * FROM sqlite_temp_schema").fetchall(),
    ),
    "temporary virtual table": (
        lambda db: db.execute("CREATE VIRTUAL TABLE temp.words USING fts5(word)"),
        lambda db: db.execute("SELECT * FROM sqlite_temp_schema").fetchall(),
    ),
    "setlimit": (
        lambda db: db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100),
        lambda db: db.getlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH),
    ),
    "an attribute": (
        lambda db: _set_attribute(db, "tenant", "acme"),
        lambda db: getattr(db, "tenant", None),
    ),
}  # fmt: skip


class _Sum:
    def step(self, value: int) -> None: ...

    def finalize(self) -> int:
        return 1


def _fails(db: Connection, sql: str) -> bool:
    try:
        db.execute(sql).fetchall()
    except sqlite3.Error:
        return True
    return False


def _set_attribute(db: Connection, name: str, value: object) -> None:
    with contextlib.suppress(AttributeError):
        setattr(db, name, value)


@pytest.mark.parametrize("what", ALTER)
def test_the_next_borrower_finds_it_as_configured(single: Database, what: str) -> None:
    """What a borrower changes on the connection is undone, or the connection replaced."""
    alter, look = ALTER[what]
    with single.connection() as db:
        before = look(db)
        alter(db)
        if db.in_transaction:
            db.rollback()
    with single.connection() as db:
        assert look(db) == before
    assert single.stats()["pool_size"] == 1


def test_a_trace_callback_ends_with_the_loan(single: Database) -> None:
    """A borrower does not hear what the next one executes."""
    heard: list[str] = []
    with single.connection() as db:
        db.set_trace_callback(heard.append)
    add(single)
    assert heard == [each for each in heard if "INSERT" not in each]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.filterwarnings("ignore::sqlite_container.UncommittedWarning")
def test_autocommit_is_as_configured_for_the_next(single: Database, autocommit: bool) -> None:
    """A borrower may choose its autocommit mode, for itself only."""
    with single.connection() as db:
        assign(db, "autocommit", autocommit)
    with single.connection() as db:
        legacy = sqlite3.LEGACY_TRANSACTION_CONTROL  # type: ignore[attr-defined]
        assert db.__getattribute__("autocommit") == legacy
        assert not db.in_transaction


def test_a_reader_and_a_writer_do_not_find_the_others_changes(single: Database) -> None:
    """The same connection, now reading and now writing, is as configured each time."""
    for _ in range(2):
        with single.reader() as db, contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA query_only = 0")
        with single.connection() as db:
            assert db.execute("PRAGMA query_only").fetchone() == (0,)
            db.execute("PRAGMA query_only = 1")
        with single.reader() as db:
            assert db.execute("PRAGMA query_only").fetchone() == (1,)
        add(single)
    assert count(single) == 2


def test_what_reads_only_does_not_replace_the_connection(single: Database) -> None:
    """Pragmas that ask, and those that keep no state, cost no connection."""
    with single.connection() as db:
        for sql in (
            "PRAGMA foreign_keys",
            "PRAGMA table_info(note)",
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA integrity_check(1)",
            "PRAGMA user_version = 4",
            "PRAGMA optimize",
        ):
            db.execute(sql).fetchall()
    count(single)
    assert single.stats()["connections_num"] == 1


def test_a_changed_connection_is_replaced_and_its_file_let_go(
    single: Database, tmp_path: Path
) -> None:
    """An attached file is detached when the connection goes back."""
    with single.connection() as db:
        db.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
        db.execute("PRAGMA other.journal_mode = wal").fetchall()
        db.execute("CREATE TABLE other.t (i)")
        assert "other.db-wal" in files(tmp_path)
    assert "other.db-wal" not in files(tmp_path)


@pytest.mark.parametrize("where", [{}, {"path": ":memory:"}])
def test_pragmas_of_a_schema_do_not_leak_into_the_first_connection(
    open_database: Open, schema: Path, where: dict[str, str]
) -> None:
    """A PRAGMA or a temporary table in the schema file is not there for the first borrower."""
    schema.write_text(
        schema.read_text() + "PRAGMA recursive_triggers = 1; CREATE TEMP TABLE scratch (i);"
    )
    database = open_database(**where)
    with database.connection() as db:
        assert db.execute("PRAGMA recursive_triggers").fetchone() == (0,)
        assert db.execute("SELECT * FROM sqlite_temp_schema").fetchall() == []


HIDDEN = [
    "PRAGMA {}",
    ";PRAGMA {}",
    "\ufeffPRAGMA {}",
    " -- SELECT\n/* SELECT */ pragma {}",
    "EXPLAIN PRAGMA {}",
    "EXPLAIN QUERY PLAN PRAGMA {}",
    "PRAGMA/**/{}",
    "PRAGMA /**/ {} -- */ x.y",
    "PRAGMA main . {}",
    'PRAGMA "main".{}',
]
NAMED = ["{}=1", "{} /**/ (1)", "'{}' = 1", "[{}] = 1", '"{}"(on)', "`{}` = yes"]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_pragma_is_found_however_it_is_written(single: Database, hidden: str, name: str) -> None:
    """SQLite skips blanks, comments and semicolons, and knows four kinds of quotes."""
    with single.connection() as db, contextlib.suppress(sqlite3.OperationalError):
        db.execute(hidden.format(name.format("recursive_triggers")))
    with single.connection() as db:
        assert db.execute("PRAGMA recursive_triggers").fetchone() == (0,)


def test_a_reader_stays_one_through_an_attached_name(single: Database) -> None:
    """The flag is the connection's, whichever schema is named before it."""
    add(single)
    with single.reader() as db:
        db.execute("ATTACH '' AS 'a-b'")
        with pytest.raises(ReadOnlyConnection):
            db.execute("PRAGMA 'a-b'.query_only = 0")
        with pytest.raises(ReadOnlyConnection):
            db.execute("DELETE FROM note")


def test_rows_are_still_to_be_had_after_a_pragma(single: Database) -> None:
    """Watching one statement does not end another one that has rows to give."""
    with single.connection() as db:
        db.executemany("INSERT INTO note (title) VALUES (?)", [(str(i),) for i in range(500)])
        db.commit()
        cursor = db.execute("SELECT title FROM note ORDER BY id")
        rows = [cursor.fetchone()]
        for sql in ("PRAGMA table_info(note)", "PRAGMA cache_size = 5", "CREATE TEMP TABLE t (i)"):
            db.execute(sql)
            rows.append(cursor.fetchone())
        assert [*rows, *cursor] == [(str(i),) for i in range(500)]


def allow(asked: list[object], *action: object) -> int:
    """An authorizer that remembers what it was asked."""
    asked.append(action)
    return sqlite3.SQLITE_OK


def test_an_authorizer_of_the_borrowers_is_asked_all_the_time(single: Database) -> None:
    """Also while the library watches, and afterwards."""
    asked: list[object] = []
    with single.connection() as db:
        db.set_authorizer(partial(allow, asked))
        for sql in ("PRAGMA table_info(note)", "SELECT 1", "CREATE TABLE other (i)", "SELECT 2"):
            asked.clear()
            db.execute(sql).fetchall()
            assert asked, sql
        db.set_authorizer(None)
        asked.clear()
        for sql in ("PRAGMA table_info(note)", "SELECT 3"):
            db.execute(sql).fetchall()
        assert not asked


READS = [
    "WITH temp AS (SELECT replace(title, 'a', 'b') AS t FROM note) SELECT * FROM temp",
    "SELECT 'PRAGMA foreign_keys = 0; ATTACH x; CREATE TEMP TABLE y'",
    "EXPLAIN QUERY PLAN SELECT title AS temp FROM note",
    "PRAGMA temp.table_info('note')",
]


@pytest.mark.parametrize("sql", READS)
def test_words_alone_do_not_replace_a_connection(single: Database, sql: str) -> None:
    """What a statement does is what counts."""
    for _ in range(3):
        with single.connection() as db:
            db.execute(sql).fetchall()
    assert single.stats()["connections_num"] == 1


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_reader_stays_one_however_it_is_asked(single: Database, hidden: str, name: str) -> None:
    """No way of writing PRAGMA query_only lets a reader write, for itself or for the next."""
    add(single)
    for execute in ("execute", "executescript"):
        with single.reader() as db:
            with contextlib.suppress(sqlite3.Error):
                getattr(db, execute)(hidden.format(name.format("query_only")).replace("1", "0"))
            with pytest.raises(ReadOnlyConnection):
                db.execute("DELETE FROM note")


def test_a_reader_stays_one_with_an_authorizer_of_its_own(open_database: Open) -> None:
    """Whatever authorizer a borrower sets, or takes away, a reader does not write."""
    database = open_database()
    for authorizer in (None, lambda *_: sqlite3.SQLITE_OK):
        with database.reader() as db:
            db.set_authorizer(authorizer)
            with pytest.raises(ReadOnlyConnection):
                db.execute("PRAGMA query_only = 0")
    with database.reader() as db:
        db.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            db.execute("SELECT * FROM note")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit is new in 3.12")
def test_only_the_owner_sets_autocommit(single: Database) -> None:
    """A kept connection cannot commit what the next borrower writes."""
    with single.connection() as kept:
        pass
    with pytest.raises(NotYourConnection):
        assign(kept, "autocommit", False)
    with single.connection() as db:
        add_one = "INSERT INTO note (title) VALUES ('x')"
        db.execute(add_one)
        with pytest.raises(NotYourConnection):
            elsewhere(lambda: assign(kept, "autocommit", True))
        db.rollback()
    assert count(single) == 0


def test_nobody_interrupts_a_connection_that_went_back(single: Database) -> None:
    """interrupt() needs a borrower, too."""
    with single.connection() as kept:
        elsewhere(kept.interrupt)
    with pytest.raises(NotYourConnection):
        kept.interrupt()


def test_a_connection_takes_no_attributes(database: Database) -> None:
    """As with sqlite3's own, nobody can leave one behind for the next."""
    with database.connection() as db, pytest.raises(AttributeError):
        assign(db, "mine", 1)


def test_a_loan_says_that_it_needs_a_block(database: Database) -> None:
    """What is forgotten is the 'with'."""
    with pytest.raises(AttributeError, match="with database"):
        database.connection().execute("SELECT 1")
