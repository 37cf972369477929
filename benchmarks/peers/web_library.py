"""This library in a Flask app, as its documentation says."""

from __future__ import annotations

from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from flask import Flask

from harness.measure import READ, WRITE
from peers.web_app import Served, add_routes
from sqlite_container import Connection, SQLite, shutdown
from sqlite_container.flask import init_app


class Container(containers.DeclarativeContainer):
    """One database."""

    config = providers.Configuration(strict=True)
    items = SQLite(config.items)


@inject
def read(number: int, db: Connection = Provide[Container.items.reader]) -> str:
    """Through a connection that only reads."""
    return str(db.execute(READ, (number,)).fetchone()[0])


@inject
def read_connection(number: int, db: Connection = Provide[Container.items.connection]) -> str:
    """Through a connection that could write as well."""
    return str(db.execute(READ, (number,)).fetchone()[0])


@inject
def write(number: int, db: Connection = Provide[Container.items.connection]) -> str:
    """One transaction."""
    with db:
        db.execute(WRITE, (number,))
    return "done"


def nothing() -> str:
    """A plain call, to compare with."""
    return ""


@inject
def injected(db: Connection = Provide[Container.items.reader]) -> str:
    """The same with a connection that is not used."""
    return ""


def create(path: str, *, reader: bool = True) -> Served:
    """The app."""
    app, container = Flask(__name__), _container(path)
    container.wire(modules=[__name__])
    add_routes(app, read if reader else read_connection, write)
    init_app(app, container)
    return Served(app, lambda: shutdown(container))


def create_blocks(path: str) -> Served:
    """An app whose views lend by hand what they need, without ``@inject``."""
    app, container = Flask(__name__), _container(path)

    def read(number: int) -> str:
        with container.items.database().reader() as db:
            return str(db.execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with container.items.database().transaction() as db:
            db.execute(WRITE, (number,))
        return "done"

    add_routes(app, read, write)
    init_app(app, container)
    return Served(app, lambda: shutdown(container))


def create_held(path: str) -> Served:
    """The same with a database that is not asked of the container in each request."""
    app, container = Flask(__name__), _container(path)
    database = container.items.database()

    def read(number: int) -> str:
        with database.reader() as db:
            return str(db.execute(READ, (number,)).fetchone()[0])

    def write(number: int) -> str:
        with database.transaction() as db:
            db.execute(WRITE, (number,))
        return "done"

    add_routes(app, read, write)
    init_app(app, container)
    return Served(app, lambda: shutdown(container))


def _container(path: str) -> Container:
    container = Container()
    container.config.from_dict({"items": {"path": path}})
    return container
