"""A small app with three databases. For its end it does nothing but call ``init_app``."""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

from dependency_injector.wiring import Provide, inject
from flask import Blueprint, Flask, Response, current_app, stream_with_context

from ends import forks
from ends.databases import NAMES, ROWS, SLOW, Container, limit_life, make_container, mark, member
from sqlite_container import Connection
from sqlite_container.flask import init_app

bp = Blueprint("ends", __name__)


def connection(name: str) -> Connection:
    """This request's connection to one of the three."""
    return cast(Connection, member(cast(Any, current_app).container, name).connection())


@bp.get("/ping")
@inject
def ping(
    wal: Connection = Provide[Container.wal.reader],
    journal: Connection = Provide[Container.journal.reader],
    acme: Connection = Provide["tenants.acme.reader"],
) -> dict[str, object]:
    rows = [db.execute("SELECT count(*) FROM entry").fetchone()[0] for db in (wal, journal, acme)]
    return {"pid": os.getpid(), "rows": dict(zip(NAMES, rows, strict=True))}


@bp.post("/write/<name>/<int:row>")
def write(name: str, row: int) -> dict[str, object]:
    with connection(name) as db:
        db.execute("INSERT INTO entry VALUES (?, ?)", (row, f"by {os.getpid()}"))
    return {"id": row, "pid": os.getpid()}


@bp.get("/slow/<name>")
def slow(name: str) -> dict[str, object]:
    db = connection(name)
    mark(f"slow-{name}")
    return {"answer": db.execute(SLOW).fetchone()[0]}


@bp.get("/stream/<name>")
def stream(name: str) -> Response:
    def body() -> Iterator[str]:
        for count, (number,) in enumerate(connection(name).execute(ROWS)):
            if count == 3:
                mark(f"stream-{name}")
            yield f"{number}\n"
            time.sleep(0.02)

    return Response(stream_with_context(body()), mimetype="text/plain")


@bp.get("/sleep/<name>/<int:milliseconds>")
def sleep(name: str, milliseconds: int) -> dict[str, object]:
    """Hold a connection, and a transaction on it, without any statement that runs."""
    with connection(name) as db:
        db.execute("INSERT INTO entry VALUES (?, 'sleeping')", (-time.time_ns(),))
        mark(f"sleep-{name}")
        time.sleep(milliseconds / 1000)
    return {"slept": milliseconds}


@bp.get("/fork/<kind>")
def fork(kind: str) -> dict[str, object]:
    """Fork while this request holds a connection, in a transaction that goes on afterwards."""
    with connection("wal") as db, connection("journal") as other:
        for each in (db, other):
            each.execute("INSERT INTO entry VALUES (?, 'forked')", (-time.time_ns(),))
        told = forks.KINDS[kind](db)
        time.sleep(0.05)
    return {"child": told}


@bp.get("/check")
def check() -> dict[str, object]:
    found = [connection(name).execute("PRAGMA integrity_check").fetchone()[0] for name in NAMES]
    return {"found": found, "sqlite": sqlite3.sqlite_version}


def create_app() -> Flask:
    container = make_container()
    container.wire(modules=[__name__])
    app = Flask(__name__)
    app.register_blueprint(bp)
    init_app(app, container)
    return app


limit_life()
app = create_app()

if __name__ == "__main__":
    port = next(itertools.chain(map(int, sys.argv[1:]), [5000]))
    app.run(debug=True, port=port)
