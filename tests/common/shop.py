"""A small application for the tests: a container, a repository, a service, and apps of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from dependency_injector import containers, providers
from flask import Flask

from sqlite_container import Connection, Database, SQLite, SQLiteDict, shutdown
from sqlite_container.flask import init_app

SCHEMA = "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL);\n"


class Repository:
    """Works on the connection of the request that it is made for."""

    def __init__(self, db: Connection) -> None:
        self.db = db

    def titles(self) -> list[str]:
        return [row[0] for row in self.db.execute("SELECT title FROM note ORDER BY id")]


class Archive:
    """Takes a connection whenever it needs one."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def titles(self) -> list[str]:
        with self.database.reader() as db:
            return [row[0] for row in db.execute("SELECT title FROM note ORDER BY id")]


class Shop(containers.DeclarativeContainer):
    """Two databases, as many tenants as the configuration names, and what is made of them."""

    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    audit = SQLite(config.databases.audit)
    tenants = SQLiteDict(config.tenants)
    repository = providers.Factory(Repository, notes.connection)
    archive = providers.Singleton(Archive, notes.database)


class Strict(containers.DeclarativeContainer):
    """A database and tenants; what the configuration does not have is an error."""

    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    tenants = SQLiteDict(config.tenants)


class Lenient(containers.DeclarativeContainer):
    """The same where it is None."""

    config = providers.Configuration()
    notes = SQLite(config.databases.notes)
    tenants = SQLiteDict(config.tenants)


class MakeApp(Protocol):
    """Makes an app with its own folder; ``register`` adds views before ``init_app``."""

    def __call__(
        self,
        name: str = "one",
        register: Callable[[Flask], object] | None = None,
        /,
        **notes: object,
    ) -> Flask: ...


def settings(folder: Path, name: str, notes: Mapping[str, object]) -> dict[str, Any]:
    """What a configuration file would say."""
    schema = folder / "schema.sql"
    schema.write_text(SCHEMA)
    return {
        "title": name,
        "databases": {
            "notes": {"path": "notes.db", "schema": str(schema), **notes},
            "audit": {"path": "audit.db", "schema": str(schema)},
        },
        "tenants": {
            "acme": {"path": "{name}.db", "schema": str(schema)},
            "globex": {"path": "{name}.db", "schema": str(schema)},
        },
    }


def new_app(folder: Path, name: str) -> Flask:
    """A Flask app whose instance folder is there."""
    folder.mkdir(parents=True, exist_ok=True)
    app = Flask(name, instance_path=str(folder))
    app.config.from_mapping(TESTING=True, SECRET_KEY="test")
    return app


def container_of(app: Flask) -> Shop:
    """The container of an app, as its class; at run time it is an instance made of it."""
    return cast(Shop, app.extensions["sqlite_container"])


@contextlib.contextmanager
def factory(folder: Path, *modules: str) -> Iterator[MakeApp]:
    """Make apps whose containers are wired to ``modules``; shut them down at the end."""
    made: list[Any] = []

    def make(
        name: str = "one", register: Callable[[Flask], object] | None = None, /, **notes: object
    ) -> Flask:
        app = new_app(folder / name, name)
        container = Shop()
        made.append(container)
        container.config.from_dict(settings(folder / name, name, notes))
        if register is not None:
            register(app)
        container.wire(modules=[sys.modules[each] for each in modules])
        init_app(app, cast(Any, container))
        return app

    try:
        yield make
    finally:
        for container in made:
            shutdown(container)


def out(app: Flask) -> int:
    """How many connections of all databases of an app are out, without looking after them."""
    shop = container_of(app)
    singles = [shop.notes.database(), shop.audit.database()]
    tenants = [shop.tenants[name].database() for name in shop.tenants.names()]
    return sum(len(database.holders()) for database in [*singles, *tenants])


def nothing_lost(app: Flask) -> bool:
    """Whether all that was lent from the notes came back exactly once, and in good health."""
    figures = container_of(app).notes.database().stats()
    wrong = figures["returns_bad"] + figures["connections_lost"] + figures["requests_errors"]
    return figures["pool_available"] == figures["pool_size"] and wrong == 0


def fill(app: Flask) -> None:
    """Put the app's own name into each of its databases."""
    shop = container_of(app)
    databases = [shop.notes.database(), shop.audit.database()]
    databases += [shop.tenants[name].database() for name in shop.tenants.names()]
    for database in databases:
        with database.transaction() as db:
            db.execute("INSERT INTO note (title) VALUES (?)", (f"{database.name} of {app.name}",))
