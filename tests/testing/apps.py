"""An app whose views share their module with every other app that a test makes.

Wiring looks at every method of each class that this module imports, so it imports few.
"""

from __future__ import annotations

import pathlib
from typing import Any

import flask.views
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, Provider, inject

from sqlite_container import Connection, Database, SQLite, SQLiteDict
from sqlite_container.flask import init_app
from testing.helpers import Service

bp = flask.Blueprint("views", __name__)


class Container(containers.DeclarativeContainer):
    """What an app is made of, wired to this module."""

    wiring_config = containers.WiringConfiguration(modules=[__name__])
    config = providers.Configuration(strict=True)
    notes = SQLite(config.notes)
    tenants = SQLiteDict(config.tenants)
    service = providers.Singleton(Service, notes.database)


def title(db: Connection) -> str:
    """What is written in a database."""
    return str(db.execute("SELECT title FROM note").fetchone()[0])


@bp.get("/connection")
@inject
def connection(db: Connection = Provide[Container.notes.connection]) -> str:
    return title(db)


@bp.get("/by-string")
@inject
def by_string(db: Connection = Provide["notes.reader"]) -> str:
    return title(db)


@bp.get("/tenant")
@inject
def tenant(db: Connection = Provide["tenants.acme.reader"]) -> str:
    return title(db)


@bp.get("/service")
@inject
def service(service: Service = Provide[Container.service]) -> str:
    with service.database.reader() as db:
        return title(db)


@bp.get("/provider")
@inject
def provider(connect: Any = Provider[Container.notes.connection]) -> str:
    return title(connect())


@bp.get("/streamed")
@inject
def streamed(db: Connection = Provide[Container.notes.reader]) -> Any:
    def parts() -> Any:
        yield title(db)

    return flask.stream_with_context(parts())


class Method(flask.views.MethodView):
    @inject
    def get(self, database: Database = Provide[Container.notes.database]) -> str:
        with database.reader() as db:
            return title(db)


bp.add_url_rule("/method", view_func=Method.as_view("method"))
NAMES = ["connection", "by-string", "tenant", "service", "provider", "streamed", "method"]


def create_app(folder: pathlib.Path) -> flask.Flask:
    """An app with its files in a folder, made as an application factory does."""
    folder.mkdir(exist_ok=True)
    schema = folder / "notes.sql"
    schema.write_text("CREATE TABLE note (title TEXT);")
    app = flask.Flask(__name__, instance_path=str(folder))
    container: Any = Container()
    container.config.from_dict(
        {
            "notes": {"path": "notes.db", "schema": str(schema)},
            "tenants": {"acme": {"path": "{name}.db", "schema": str(schema)}},
        }
    )
    app.register_blueprint(bp)
    init_app(app, container)
    return app


def mark(app: Any, text: str) -> None:
    """Write a text into each database of an app."""
    for database in (app.container.notes.database(), app.container.tenants["acme"].database()):
        with database.transaction() as db:
            db.execute("INSERT INTO note VALUES (?)", [text])


def answers(app: flask.Flask) -> set[str]:
    """What the views of an app say, all of them."""
    client = app.test_client()
    return {client.get(f"/{name}").text for name in NAMES}
