"""What a type checker knows of the containers' databases: checked by `test_typing.py`."""

from __future__ import annotations

from typing import Annotated, Any, assert_type, reveal_type

from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, Provider, inject
from flask import Flask

from sqlite_container import (
    Connection,
    Database,
    DatabaseConfig,
    SQLite,
    SQLiteDict,
    shutdown,
    shutdown_at_exit,
)
from sqlite_container.flask import init_app


class Container(containers.DeclarativeContainer):
    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    mapping = SQLite({"path": "x.db"})
    direct = SQLite("x.db")
    configured = SQLite(DatabaseConfig(path="x.db"))
    tenants = SQLiteDict(config.tenants)
    size = providers.Callable(len, notes.connection)


container = Container()
reveal_type(Container.notes.connection())
reveal_type(container.notes.connection())
reveal_type(container.notes.reader())
reveal_type(container.notes.database())
reveal_type(container.tenants["acme"].connection())
reveal_type(container.tenants["acme"].reader())
reveal_type(container.tenants["acme"].database())
reveal_type(container.tenants.names())

with container.notes.database().connection() as db:
    reveal_type(db)
    with db as inner:
        reveal_type(inner)
    with db.transaction() as transaction:
        reveal_type(transaction)
with container.notes.database().transaction() as db:
    reveal_type(db)
reveal_type(container.notes.database().stats())


@inject
def view(
    db: Connection = Provide[Container.notes.connection],
    database: Database = Provide[Container.notes.database],
    tenant: Connection = Provide["tenants.acme.connection"],
    later: providers.Provider[Connection] = Provider[Container.notes.connection],
) -> str:
    return str(db)


@inject
def annotated(db: Annotated[Connection, Provide[Container.notes.reader]]) -> str:
    return str(db)


def create_app() -> Flask:
    app = Flask(__name__)
    container = Container()
    init_app(app, container)
    shutdown_at_exit(container)
    shutdown(container)
    return app


assert_type(view(), str)
unused: Any = Closing
