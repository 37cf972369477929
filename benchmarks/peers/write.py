"""The peers of the writers' benchmarks: ways in which many threads write to one database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from harness.measure import BUSY_TIMEOUT, WRITE, connect, set_pragmas

Increment = Callable[[int], float]
"""One transaction; returns the moment from which it could write."""


@dataclass(frozen=True)
class Store:
    """An open database: ``session()`` gives one thread its way to write."""

    session: Callable[[], AbstractContextManager[Increment]]
    close: Callable[[], None]


@contextlib.contextmanager
def _own_connection(path: str, around: AbstractContextManager[object]) -> Iterator[Increment]:
    with contextlib.closing(connect(path, isolation_level=None)) as db:

        def increment(number: int) -> float:
            with around:
                return _transaction(db, number)

        yield increment


def _transaction(db: Any, number: int) -> float:
    db.execute("BEGIN IMMEDIATE")
    begun = perf_counter()
    try:
        db.execute(WRITE, (number,))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return begun


def busy_timeout(path: str) -> Store:
    """One connection per thread, and SQLite's own waiting."""
    return Store(lambda: _own_connection(path, contextlib.nullcontext()), lambda: None)


def plain_lock(path: str) -> Store:
    """One connection per thread, and a ``threading.Lock`` around each transaction."""
    lock = threading.Lock()
    return Store(lambda: _own_connection(path, lock), lambda: None)


def library(path: str, *, kept: bool = True) -> Store:
    """This library: one connection kept by each thread, or checked out for each transaction."""
    from sqlite_container import Database

    database = Database("bench")
    settings = {"path": path, "busy_timeout": BUSY_TIMEOUT, "pool": {"max_size": 20}}
    database.open(settings)

    def checked_out(number: int) -> float:
        with database.transaction() as db:
            begun = perf_counter()
            db.execute(WRITE, (number,))
        return begun

    @contextlib.contextmanager
    def session() -> Iterator[Increment]:
        with database.connection() as db:

            def increment(number: int) -> float:
                with db:
                    begun = perf_counter()
                    db.execute(WRITE, (number,))
                return begun

            yield increment

    return Store(session if kept else lambda: contextlib.nullcontext(checked_out), database.close)


def library_pooled(path: str) -> Store:
    """This library, a connection checked out for each transaction."""
    return library(path, kept=False)


def queue_pool_of_one(path: str) -> Store:
    """SQLAlchemy's QueuePool with one connection for all."""
    from sqlalchemy.pool import QueuePool

    def creator() -> Any:
        return connect(path, check_same_thread=False, isolation_level=None)

    pool = QueuePool(creator, pool_size=1, max_overflow=0, timeout=BUSY_TIMEOUT)

    def increment(number: int) -> float:
        with contextlib.closing(pool.connect()) as db:
            return _transaction(db.cursor(), number)

    return Store(lambda: contextlib.nullcontext(increment), pool.dispose)


def flask_sqlalchemy(path: str) -> Store:
    """Flask-SQLAlchemy: an app context and its session for each transaction."""
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy import event, text

    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}"
    pool = {"pool_size": 20, "connect_args": {"timeout": BUSY_TIMEOUT}}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = pool
    db = SQLAlchemy(app)
    with app.app_context():
        engine = db.engine
    event.listen(engine, "connect", set_pragmas)
    update = text(WRITE.replace("?", ":id"))

    def increment(number: int) -> float:
        with app.app_context():
            db.session.execute(update, {"id": number})
            begun = perf_counter()
            db.session.commit()
        return begun

    return Store(lambda: contextlib.nullcontext(increment), engine.dispose)


def queue_database(path: str) -> Store:
    """SqliteQueueDatabase of peewee: one thread writes for all, who wait for the result."""
    from peewee import AutoField, IntegerField, Model
    from playhouse.sqliteq import SqliteQueueDatabase

    pragmas = {"journal_mode": "wal", "synchronous": "normal"}
    db = SqliteQueueDatabase(path, autostart=True, pragmas=pragmas)

    class Item(Model):
        id = AutoField()
        n = IntegerField()

        class Meta:
            database = db

    def increment(number: int) -> float:
        Item.update(n=Item.n + 1).where(Item.id == number).execute()
        return perf_counter()

    return Store(lambda: contextlib.nullcontext(increment), db.stop)


LIBRARY = "this library"
BASE = "busy_timeout alone"
PEERS: dict[str, Callable[[str], Store]] = {
    BASE: busy_timeout,
    LIBRARY: library,
    "this library, checked out each time": library_pooled,
    "plain lock": plain_lock,
    "QueuePool of one": queue_pool_of_one,
    "Flask-SQLAlchemy": flask_sqlalchemy,
    "SqliteQueueDatabase": queue_database,
}
