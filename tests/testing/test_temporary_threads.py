"""Threads that are started in a block, and those that outlive it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sqlite_container import Database, DatabaseClosed, SQLiteContainerError, shutdown
from sqlite_container.testing import isolated, temporary_databases
from testing.helpers import PATIENCE, add, content, count, make


@pytest.fixture
def late() -> Iterator[ThreadPoolExecutor]:
    """One thread, which starts at its first task and lives to the end of the test."""
    with ThreadPoolExecutor(1, "late") as pool:
        yield pool


def refused(pool: ThreadPoolExecutor, call: Callable[..., object], *args: object) -> str:
    """Why a thread is not let in."""
    error = pool.submit(call, *args).exception(PATIENCE)
    assert isinstance(error, DatabaseClosed), error
    return str(error)


@pytest.mark.parametrize("opened", [True, False])
def test_a_thread_that_outlives_its_block_is_refused(
    shop: Any, tmp_path: Path, late: ThreadPoolExecutor, opened: bool
) -> None:
    """It reaches no real file, whether that is open or not, and is told why; others go on."""
    if not opened:
        shutdown(shop)
    with temporary_databases(shop):
        late.submit(add, shop.notes.database()).result(PATIENCE)
    before = content(tmp_path)
    said = refused(late, lambda: add(shop.notes.database()))
    assert "'notes'" in said
    assert "'late_0' was started within" in said
    assert "'tenants.acme'" in refused(late, lambda: add(shop.tenants["acme"].database()))
    assert "'words'" in refused(late, lambda: count(shop.words.database(), "word"))
    assert content(tmp_path) == before
    assert count(shop.notes.database()) == 1


def test_it_is_refused_whichever_container_it_asks(
    shop: Any, tmp_path: Path, late: ThreadPoolExecutor
) -> None:
    """Another container on the same file, made within the block or after it, is the same file."""
    with temporary_databases(shop):
        earlier = make(tmp_path)
        late.submit(lambda: add(earlier.notes.database())).result(PATIENCE)
    later = make(tmp_path)
    assert count(later.notes.database()) == 1
    for other in (earlier, later):
        refused(late, lambda other=other: add(other.notes.database()))
        shutdown(other)


def test_it_is_refused_the_memory_of_another(shop: Any, late: ThreadPoolExecutor) -> None:
    """A database in memory that was there before the block is the real one, too."""
    with shop.cache.database().connection() as db:
        db.execute("CREATE TABLE note (title TEXT)")
    with temporary_databases(shop):
        late.submit(count, shop.cache.database(), "sqlite_schema").result(PATIENCE)
    refused(late, add, shop.cache.database.current)
    assert count(shop.cache.database()) == 0


def test_a_pool_of_threads_can_be_used_by_one_test_after_the_other(
    shop: Any, late: ThreadPoolExecutor
) -> None:
    """A thread that was started by the first test is welcome in the next, and only there."""
    for _ in range(2):
        with temporary_databases(shop):
            late.submit(add, shop.notes.database()).result(PATIENCE)
            assert late.submit(count, shop.notes.database()).result(PATIENCE) == 1
    refused(late, add, shop.notes.database())


def test_a_thread_of_an_inner_block_does_not_reach_the_outer(
    shop: Any, late: ThreadPoolExecutor
) -> None:
    """What a suite has filled once is safe from the threads of one test."""
    with temporary_databases(shop):
        add(shop.notes.database())
        with isolated(shop):
            late.submit(add, shop.notes.database()).result(PATIENCE)
        refused(late, add, shop.notes.database())
        with isolated(shop):
            late.submit(add, shop.notes.database()).result(PATIENCE)
            assert count(shop.notes.database()) == 2
        assert count(shop.notes.database()) == 1


def test_a_thread_that_was_there_before_reaches_the_real_one_again(
    shop: Any, late: ThreadPoolExecutor
) -> None:
    """A thread of the program itself is moved there and back, as everybody else."""
    late.submit(add, shop.notes.database()).result(PATIENCE)
    with temporary_databases(shop):
        late.submit(add, shop.notes.database()).result(PATIENCE)
        assert count(shop.notes.database()) == 1
    late.submit(add, shop.notes.database()).result(PATIENCE)
    assert count(shop.notes.database()) == 3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # that it was left, and did not commit
def test_a_connection_that_is_kept_reaches_nothing(
    shop: Any, tmp_path: Path, late: ThreadPoolExecutor
) -> None:
    """Who still holds a connection when the block ends can do nothing with it."""
    shutdown(shop)
    before = content(tmp_path)
    over, held = threading.Event(), threading.Event()

    def hold(database: Database) -> object:
        with database.connection() as db:
            db.execute("INSERT INTO note VALUES ('too late')")
            held.set()
            assert over.wait(PATIENCE)
            try:
                return db.execute("INSERT INTO note VALUES ('later still')")
            except SQLiteContainerError as error:
                return error

    with temporary_databases(shop):
        result = late.submit(hold, shop.notes.database())
        assert held.wait(PATIENCE)
    over.set()
    assert isinstance(result.result(PATIENCE), DatabaseClosed)
    assert content(tmp_path) == before
    assert count(shop.notes.database()) == 1


def test_a_thread_that_is_about_to_finish_may_do_so(
    shop: Any, late: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short transaction that is under way when the block ends is not broken off."""
    monkeypatch.setattr("sqlite_container.testing.replacing._PATIENCE", PATIENCE)
    held = threading.Event()

    def write(database: Database) -> int:
        with database.transaction() as db:
            held.set()
            threading.Event().wait(0.05)
            return db.execute("INSERT INTO note VALUES ('in time')").rowcount

    with temporary_databases(shop):
        result = late.submit(write, shop.notes.database())
        assert held.wait(PATIENCE)
    assert result.result(PATIENCE) == 1


def test_threads_of_earlier_tests_are_forgotten(shop: Any) -> None:
    """What is asked at each loan does not grow with the number of tests."""
    from sqlite_container.database.for_tests import refusals, substitutes

    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            with temporary_databases(shop):
                pool.submit(add, shop.notes.database()).result(PATIENCE)
            refused(pool, add, shop.notes.database())
    with temporary_databases(shop):
        assert refusals == []
    assert refusals == substitutes == []
