"""A program with several containers that simply comes to its end."""

import sys
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from flask import Flask

from sqlite_container import Connection, Database, SQLite, SQLiteDict, shutdown_at_exit
from sqlite_container.flask import init_app


def noted(name: str) -> Any:
    yield name
    print("closed", name, flush=True)


class Container(containers.DeclarativeContainer):
    config = providers.Configuration(strict=True)
    name = providers.Resource(noted, config.name)
    notes = SQLite(config.notes)
    tenants = SQLiteDict(config.tenants)


def main(folder: Path) -> None:
    kept: list[Connection] = []
    for name in ("first", "second", "third"):
        app = Flask(name, instance_path=str(folder / name))
        (folder / name).mkdir()
        container: Any = Container()
        container.config.from_dict({"name": name, "notes": "notes.db", "tenants": {"a": "a.db"}})
        init_app(app, container)
        shutdown_at_exit(container)
        container.init_resources()
        for database in (container.notes.database(), container.tenants["a"].database()):
            fill(database)
        with app.app_context():
            kept.append(container.notes.connection())
            kept[-1].execute("SELECT * FROM t").fetchone()
        globals()[name] = app
    print("end", flush=True)


def fill(database: Database) -> None:
    with database.transaction() as db:
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(100)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
