"""Services that call each other, each with a transaction of its own."""

import sqlite3

import pytest

from common.databases import Open, add, count, elsewhere, in_thread, run_and_fail
from sqlite_container import Connection, Database, DatabaseBusy

INSERT = "INSERT INTO note (title) VALUES ('x')"


def service(database: Database) -> Connection:
    """Write one row, in a transaction."""
    with database.transaction() as db:
        db.execute(INSERT)
        return db


def test_a_transaction_inside_another_one_joins_it(database: Database) -> None:
    """The same connection, one commit."""
    with database.transaction() as db:
        assert service(database) is db
        assert elsewhere(lambda: count(database)) == 0
        assert db.in_transaction
    assert count(database) == 1


def test_what_the_inner_one_did_is_undone_alone(database: Database) -> None:
    """It is a savepoint: its failure, once caught, is not that of the outer one."""
    with database.transaction() as db:
        db.execute(INSERT)
        with pytest.raises(KeyError), database.transaction() as inner:
            run_and_fail(inner, INSERT)
    assert count(database) == 1


def test_a_failure_of_the_outer_one_undoes_both(database: Database) -> None:
    """What a service has written is part of the caller's transaction."""
    with pytest.raises(KeyError), database.transaction():
        run_and_fail(service(database))
    assert count(database) == 0


def test_a_block_on_a_loan_is_joined_as_well(database: Database) -> None:
    """Whichever way the transaction was begun."""
    with database.connection() as db, db:
        assert service(database) is db
    assert count(database) == 1


def test_a_pool_of_one_is_enough(open_database: Open) -> None:
    """Joining needs no second connection."""
    database = open_database(pool={"max_size": 1, "timeout": 0.1})
    with database.transaction():
        service(database)
    assert count(database) == 1


def test_another_thread_waits_for_its_own(open_database: Open) -> None:
    """Only the code that has the transaction joins it."""
    database = open_database(busy_timeout=0.05)
    with database.transaction():
        with pytest.raises(DatabaseBusy):
            elsewhere(lambda: add(database))
        future = in_thread(lambda: count(database))
        assert future.result(20) == 0


def test_an_inner_one_after_which_the_outer_goes_on(database: Database) -> None:
    """The connection stays with the outer one, and is its own."""
    with database.transaction() as db:
        service(database)
        db.execute(INSERT)
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute(INSERT)
    assert count(database) == 2
