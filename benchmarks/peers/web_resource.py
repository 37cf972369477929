"""dependency-injector's own way: a Resource for each call, with Closing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, inject
from flask import Flask

from harness.measure import READ, WRITE, connect
from peers.web_app import Served, add_routes


def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open, lend, close."""
    connection = connect(path, check_same_thread=False)
    yield connection
    connection.close()


class Container(containers.DeclarativeContainer):
    """One connection."""

    config = providers.Configuration(strict=True)
    db = providers.Resource(opened, config.path)


@inject
def read(number: int, db: sqlite3.Connection = Closing[Provide[Container.db]]) -> str:
    """The connection is opened before and closed after."""
    return str(db.execute(READ, (number,)).fetchone()[0])


@inject
def write(number: int, db: sqlite3.Connection = Closing[Provide[Container.db]]) -> str:
    """One transaction."""
    with db:
        db.execute(WRITE, (number,))
    return "done"


def create(path: str) -> Served:
    """The app."""
    app = Flask(__name__)
    container = Container()
    container.config.from_dict({"path": path})
    container.wire(modules=[__name__])
    add_routes(app, read, write)

    def close() -> None:
        container.shutdown_resources()

    return Served(app, close)
