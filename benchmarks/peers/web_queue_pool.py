"""SQLAlchemy's QueuePool around sqlite3, injected into the views."""

from __future__ import annotations

import contextlib
import functools

from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from flask import Flask
from sqlalchemy.pool import QueuePool

from harness.measure import READ, WRITE, connect
from peers.web_app import Served, add_routes


def opened(path: str) -> QueuePool:
    """The pool, as in the peer without injection."""
    creator = functools.partial(connect, path, check_same_thread=False)
    return QueuePool(creator, pool_size=10, max_overflow=0)


class Container(containers.DeclarativeContainer):
    """One pool."""

    config = providers.Configuration(strict=True)
    pool = providers.ThreadSafeSingleton(opened, config.path)


@inject
def read(number: int, pool: QueuePool = Provide[Container.pool]) -> str:
    """A connection is checked out and given back."""
    with contextlib.closing(pool.connect()) as db:
        return str(db.cursor().execute(READ, (number,)).fetchone()[0])


@inject
def write(number: int, pool: QueuePool = Provide[Container.pool]) -> str:
    """One transaction."""
    with contextlib.closing(pool.connect()) as db:
        db.cursor().execute(WRITE, (number,))
        db.commit()
    return "done"


def create(path: str) -> Served:
    """The app."""
    app, container = Flask(__name__), Container()
    container.config.from_dict({"path": path})
    container.wire(modules=[__name__])
    add_routes(app, read, write)
    return Served(app, container.pool().dispose)
