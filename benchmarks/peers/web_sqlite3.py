"""Peers that use sqlite3 itself."""

from __future__ import annotations

import sqlite3
import threading

from flask import Flask, g

from harness.measure import READ, WRITE, connect
from peers.web_app import Served, add_routes


def no_database(path: str) -> Served:
    """The same views without a database."""
    app = Flask(__name__)
    add_routes(app, lambda number: f"item {number}", lambda number: "done")
    return Served(app)


def global_connection(path: str) -> Served:
    """One connection for all, used by one request at a time."""
    app = Flask(__name__)
    db = connect(path, check_same_thread=False)
    lock = threading.Lock()

    def read(number: int) -> str:
        with lock:
            return str(db.execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with lock, db:
            db.execute(WRITE, (number,))
        return "done"

    add_routes(app, read, write)
    return Served(app, db.close)


def open_and_close(path: str) -> Served:
    """Flask's tutorial: ``g.db``, opened at its first use and closed at teardown."""
    app = Flask(__name__)

    def get_db() -> sqlite3.Connection:
        if "db" not in g:
            g.db = connect(path)
        return g.db  # type: ignore[no-any-return]

    def read(number: int) -> str:
        return str(get_db().execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with get_db() as db:
            db.execute(WRITE, (number,))
        return "done"

    @app.teardown_appcontext
    def close_db(error: BaseException | None = None) -> None:
        db = g.pop("db", None)
        if db is not None:
            db.close()

    add_routes(app, read, write)
    return Served(app)


def atexit_list(path: str) -> Served:
    """A connection for each request in a global list, which ``atexit`` would close."""
    app = Flask(__name__)
    connections: list[sqlite3.Connection] = []

    def get_db() -> sqlite3.Connection:
        connections.append(connect(path, check_same_thread=False))
        return connections[-1]

    def read(number: int) -> str:
        return str(get_db().execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with get_db() as db:
            db.execute(WRITE, (number,))
        return "done"

    def close_all() -> None:
        while connections:
            connections.pop().close()

    add_routes(app, read, write)
    return Served(app, close_all, tidy=close_all)
