"""What the instructions are counted of. As a script: so many rounds of one scenario."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.measure import WRITE, connect
from peers import web
from peers.web_app import Served

Round = Callable[[], object]

WARM_UP = 20
ROWS_READ = 1000
SELECT = f"SELECT id, name FROM item LIMIT {ROWS_READ}"
_kept = contextlib.ExitStack()  # what a scenario enters stays open until its process ends


def _request(create: Callable[[str], Served], path: str) -> Round:
    get = create(path).app.test_client().get

    def once() -> None:
        if get("/item/1").status_code != 200:
            raise RuntimeError("a peer does not answer")

    return once


def _peer(name: str) -> Callable[[str], Round]:
    return partial(_request, partial(web.create, name))


def _held(path: str) -> Served:
    from peers.web_library import create_held

    return create_held(path)


def _plain(path: str) -> Any:
    return connect(path, isolation_level=None)


def _database(path: str) -> Any:
    from sqlite_container import Database

    database = Database("bench")
    database.open({"path": path})
    return database


def _library(path: str) -> Any:
    return _kept.enter_context(_database(path).connection())


def _on(connection: Callable[[str], Any], run: Callable[[Any], None]) -> Callable[[str], Round]:
    """Run it in each round on the same connection."""
    return lambda path: partial(run, connection(path))


def _transaction(db: Any) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute(WRITE, (1,))
    db.execute("COMMIT")


def _block(db: Any) -> None:
    with db:
        db.execute(WRITE, (1,))


def _block_checked_out(database: Any) -> None:
    with database.connection() as db, db:
        db.execute(WRITE, (1,))


def _queue_pool(path: str) -> Any:
    from sqlalchemy.pool import QueuePool

    creator = partial(connect, path, check_same_thread=False, isolation_level=None)
    return QueuePool(creator, pool_size=10, max_overflow=0)


def _transaction_checked_out(pool: Any) -> None:
    with contextlib.closing(pool.connect()) as db:
        _transaction(db.cursor())


def _iterate(db: Any) -> None:
    for _ in db.execute(SELECT):
        pass


def _fetch_each(db: Any) -> None:
    fetch = db.execute(SELECT).fetchone
    while fetch():
        pass


def _fetch_all(db: Any) -> None:
    db.execute(SELECT).fetchall()


BASE = "request.none"
SCENARIOS: dict[str, tuple[str, Callable[[str], Round]]] = {
    BASE: ("the whole request, without a database", _peer(web.NOTHING)),
    "request.global": ("one global connection (the floor)", _peer(web.FLOOR)),
    "request.queue-pool": ("QueuePool by hand", _peer(web.QUEUE_POOL)),
    "request.queue-pool-inject": ("QueuePool, @inject", _peer(web.QUEUE_POOL_INJECTED)),
    "request.reader": ("this library, @inject .reader", _peer(web.LIBRARY)),
    "request.connection": ("this library, @inject .connection", _peer(web.LIBRARY_WRITER)),
    "request.block": ("this library, with database.reader()", partial(_request, _held)),
    "request.block-lookup": (
        "this library, with container.items.database().reader()",
        _peer(web.LIBRARY_BLOCK),
    ),
    "write.sqlite3": ("sqlite3, connection kept (the floor)", _on(_plain, _transaction)),
    "write.queue-pool": ("QueuePool, checked out", _on(_queue_pool, _transaction_checked_out)),
    "write.checked-out": ("this library, checked out", _on(_database, _block_checked_out)),
    "write.kept": ("this library, connection kept", _on(_library, _block)),
    "row.sqlite3-iterate": ("sqlite3, for row in cursor", _on(_plain, _iterate)),
    "row.iterate": ("this library, for row in cursor", _on(_library, _iterate)),
    "row.sqlite3-fetchone": ("sqlite3, fetchone()", _on(_plain, _fetch_each)),
    "row.fetchone": ("this library, fetchone()", _on(_library, _fetch_each)),
    "row.sqlite3-fetchall": ("sqlite3, fetchall()", _on(_plain, _fetch_all)),
    "row.fetchall": ("this library, fetchall()", _on(_library, _fetch_all)),
}
CAPTIONS = {
    "request": "One request with a SELECT by primary key: added to the request without a database",
    "write": "One write transaction: BEGIN IMMEDIATE, UPDATE, COMMIT",
    "row": f"One row of {ROWS_READ:,} that are read",
}


def main(name: str, rounds: int, path: str) -> None:
    """Warm up, run, and end at once: nothing but the rounds differs from run to run."""
    once = SCENARIOS[name][1](path)
    gc.disable()
    for _ in range(WARM_UP + rounds):
        once()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
