"""Blocks of one connection that do not end in reverse order: an error, and nothing is mixed up.

A block that has failed is never stored, and a block that is not stored says so.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from pathlib import Path
from threading import Event

import pytest
from dependency_injector import containers
from flask import Flask

from common.databases import PATIENCE
from faults.helpers import public, settings_in
from sqlite_container import (
    Connection,
    Database,
    NotYourConnection,
    SQLite,
    TransactionLost,
    shutdown,
)
from sqlite_container.flask import init_app

TransactionError = public("TransactionError")
REFUSED = (TransactionError, TransactionLost, NotYourConnection)
"""How a block may end that is not stored."""
INSERT = "INSERT INTO note (title) VALUES (?)"


class Fault(Exception):
    """Why a block fails."""


def titles_in(file: Path) -> list[str]:
    """Return which notes are stored."""
    with closing(sqlite3.connect(file)) as other:
        return [title for (title,) in other.execute("SELECT title FROM note ORDER BY id")]


def block(db: Connection, title: str) -> Iterator[None]:
    """Write a note in a block that stays open until it is asked for more."""
    with db:
        db.execute(INSERT, (title,))
        yield


# -- two generators ------------------------------------------------------------------------


def titles(database: Database) -> list[str]:
    assert database.engine is not None
    assert database.engine.file is not None
    return titles_in(database.engine.file)


def test_a_block_that_ends_before_the_one_inside_it_is_an_error(
    database: Database, db: Connection
) -> None:
    """Whoever ends out of order is told, and so is the other one; nothing is stored."""
    first, second = block(db, "first"), block(db, "second")
    next(first)
    next(second)
    with pytest.raises(TransactionError):
        next(first, None)
    with pytest.raises(REFUSED):
        next(second, None)
    assert titles(database) == []
    with db:
        db.execute(INSERT, ("next",))
    assert titles(database) == ["next"]


def test_a_failed_block_is_never_stored_by_the_one_inside_it(
    database: Database, db: Connection
) -> None:
    """The outer one fails first: the inner one cannot be stored without it, and says so."""
    outer, inner = block(db, "outer"), block(db, "inner")
    next(outer)
    next(inner)
    with pytest.raises(Fault):
        outer.throw(Fault)  # type: ignore[attr-defined]
    with pytest.raises(REFUSED):
        next(inner, None)
    assert titles(database) == []


def test_an_outer_block_that_ends_first_does_not_store_the_one_that_fails(
    database: Database, db: Connection
) -> None:
    """The outer one ends well, too early, and the inner one fails after that."""
    outer, inner = block(db, "outer"), block(db, "inner")
    next(outer)
    next(inner)
    with pytest.raises(TransactionError):
        next(outer, None)
    with pytest.raises(Fault):
        inner.throw(Fault)  # type: ignore[attr-defined]
    assert titles(database) == []


def test_a_middle_block_that_ends_too_early_costs_no_good_one_silently(
    database: Database, db: Connection
) -> None:
    """Of three blocks the middle one ends before the innermost; what is stored is what was said."""
    said = []
    blocks = {name: block(db, name) for name in ("outer", "middle", "inner")}
    for each in blocks.values():
        next(each)
    for name in ("middle", "inner", "outer"):
        with suppress(*REFUSED):
            next(blocks[name], None)
            said.append(name)
    assert "middle" not in said
    assert titles(database) == said


def test_blocks_that_end_in_order_are_stored(database: Database, db: Connection) -> None:
    """In reverse order two generators are as good as one function."""
    outer, inner = block(db, "outer"), block(db, "inner")
    next(outer)
    next(inner)
    next(inner, None)
    with suppress(Fault):
        failed = block(db, "failed")
        next(failed)
        failed.throw(Fault)  # type: ignore[attr-defined]
    next(outer, None)
    assert titles(database) == ["outer", "inner"]


def test_a_dropped_block_is_rolled_back(database: Database, db: Connection) -> None:
    """A generator that nobody keeps ends its block by failing."""
    next(block(db, "dropped"))
    with db:
        db.execute(INSERT, ("next",))
    assert titles(database) == ["next"]


# -- tasks and threads of one request ----------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An app with one database."""

    class Container(containers.DeclarativeContainer):
        notes = SQLite(settings_in(tmp_path))

    app = Flask(__name__)
    container = Container()
    init_app(app, container)
    yield app
    shutdown(container)


def connection_of(app: Flask) -> Connection:
    """Return the connection of the request."""
    db: Connection = app.container.notes.connection()  # type: ignore[attr-defined]
    return db


async def write(
    db: Connection, title: str, begin: asyncio.Event, begun: asyncio.Event, end: asyncio.Event
) -> None:
    """Write a note in a block that begins and ends when it is told to."""
    await begin.wait()
    with db:
        db.execute(INSERT, (title,))
        begun.set()
        await end.wait()
        if title == "failed":
            raise Fault


async def gather(db: Connection, first: str, second: str) -> list[BaseException | None]:
    """Begin two blocks in two tasks, the first first; end them in the same order."""
    at_once, begun, both, over = (asyncio.Event() for _ in range(4))
    at_once.set()

    async def end_second() -> None:
        await task
        over.set()

    task = asyncio.ensure_future(swallow(write(db, first, at_once, begun, both)))
    ending = asyncio.ensure_future(end_second())
    other = swallow(write(db, second, begun, both, over))
    results = await asyncio.gather(task, other)
    await ending
    return list(results)


async def swallow(call: Awaitable[None]) -> BaseException | None:
    """Return what it raises; and let no other task wait for it in vain."""
    try:
        await call
    except (Fault, *REFUSED) as error:
        return error
    return None


@pytest.mark.parametrize(
    ("first", "second"), [("good", "failed"), ("failed", "good"), ("good", "fine")]
)
def test_tasks_of_one_view_never_mix_up_their_blocks(
    app: Flask, tmp_path: Path, first: str, second: str
) -> None:
    """A task whose block is not stored is told so, and a failed one is never stored."""
    results: list[BaseException | None] = []

    @app.get("/")
    async def view() -> str:
        results.extend(await asyncio.wait_for(gather(connection_of(app), first, second), PATIENCE))
        return ""

    assert app.test_client().get("/").status == "200 OK"
    check(tmp_path, [first, second], results)
    assert any(isinstance(error, REFUSED) for error in results)


def check(folder: Path, names: list[str], results: list[BaseException | None]) -> None:
    """Compare what is stored with what was said."""
    said = [name for name, error in zip(names, results, strict=True) if error is None]
    assert "failed" not in said
    assert sorted(titles_in(folder / "data" / "notes.db")) == sorted(said)


@pytest.mark.parametrize(
    ("first", "second"), [("good", "failed"), ("failed", "good"), ("good", "fine")]
)
def test_threads_of_one_request_never_mix_up_their_blocks(
    app: Flask, tmp_path: Path, first: str, second: str
) -> None:
    """Two threads with a copied context, whose blocks overlap: the same holds."""
    begun, both, over = Event(), Event(), Event()

    def write(db: Connection, title: str, begun: Event, end: Event) -> None:
        try:
            with db:
                db.execute(INSERT, (title,))
                begun.set()
                end.wait(PATIENCE)
                if title == "failed":
                    raise Fault
        finally:
            begun.set()
            over.set()

    with app.app_context(), ThreadPoolExecutor(2) as executor:
        db = connection_of(app)
        one = executor.submit(copy_context().run, write, db, first, begun, both)
        begun.wait(PATIENCE)
        other = executor.submit(copy_context().run, write, db, second, both, over)
        results = [future.exception(PATIENCE) for future in (one, other)]
    assert all(error is None or isinstance(error, (Fault, *REFUSED)) for error in results)
    check(tmp_path, [first, second], results)


def test_to_thread_ends_its_block_before_the_view_does(app: Flask, tmp_path: Path) -> None:
    """A block of ``asyncio.to_thread`` inside that of its view is a savepoint of it."""

    def inner(db: Connection, title: str) -> None:
        with db:
            db.execute(INSERT, (title,))
            if title == "failed":
                raise Fault

    @app.get("/")
    async def view() -> str:
        db = connection_of(app)
        with db:
            await asyncio.to_thread(inner, db, "good")
            with suppress(Fault):
                await asyncio.to_thread(inner, db, "failed")
            db.execute(INSERT, ("outer",))
        return ""

    assert app.test_client().get("/").status == "200 OK"
    assert titles_in(tmp_path / "data" / "notes.db") == ["good", "outer"]
