"""Peers that other packages provide, each used as its documentation recommends."""

from __future__ import annotations

import contextlib
from typing import Any

from flask import Flask

from harness.measure import BUSY_TIMEOUT, READ, WRITE, connect, set_pragmas
from peers.web_app import Served, add_routes


def _add_session_routes(app: Flask, db: Any) -> None:
    from sqlalchemy import text

    select, update = (text(each.replace("?", ":id")) for each in (READ, WRITE))

    def read(number: int) -> str:
        return str(db.session.execute(select, {"id": number}).scalar_one())

    def write(number: int) -> str:
        db.session.execute(update, {"id": number})
        db.session.commit()
        return "done"

    add_routes(app, read, write)


def _prepared(app: Flask, db: Any) -> Served:
    from sqlalchemy import event

    db.init_app(app)
    with app.app_context():
        engine = db.engine
    event.listen(engine, "connect", set_pragmas)
    _add_session_routes(app, db)
    return Served(app, engine.dispose)


def flask_sqlalchemy(path: str) -> Served:
    """Flask-SQLAlchemy's session."""
    from flask_sqlalchemy import SQLAlchemy

    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}"
    return _prepared(app, SQLAlchemy())


def flask_sqlalchemy_lite(path: str) -> Served:
    """Flask-SQLAlchemy-Lite's session."""
    from flask_sqlalchemy_lite import SQLAlchemy

    app = Flask(__name__)
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{path}"}
    return _prepared(app, SQLAlchemy())


def queue_pool(path: str) -> Served:
    """SQLAlchemy's QueuePool around sqlite3, by hand."""
    from sqlalchemy.pool import QueuePool

    app = Flask(__name__)

    def creator() -> Any:
        return connect(path, check_same_thread=False)

    pool = QueuePool(creator, pool_size=10, max_overflow=0)

    def read(number: int) -> str:
        with contextlib.closing(pool.connect()) as db:
            return str(db.cursor().execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with contextlib.closing(pool.connect()) as db:
            db.cursor().execute(WRITE, (number,))
            db.commit()
        return "done"

    add_routes(app, read, write)
    return Served(app, pool.dispose)


def peewee_pool(path: str) -> Served:
    """The pool of peewee, connected before and closed after each request."""
    from playhouse.pool import PooledSqliteDatabase

    app = Flask(__name__)
    pragmas = {"journal_mode": "wal", "synchronous": "normal"}
    db = PooledSqliteDatabase(
        path, max_connections=20, timeout=BUSY_TIMEOUT, pragmas=pragmas, check_same_thread=False
    )

    @app.before_request
    def connect_db() -> None:
        db.connect()

    @app.teardown_request
    def close_db(error: BaseException | None) -> None:
        if not db.is_closed():
            db.close()

    def read(number: int) -> str:
        return str(db.execute_sql(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with db.atomic():
            db.execute_sql(WRITE, (number,))
        return "done"

    add_routes(app, read, write)
    return Served(app, db.close_all)
