"""`flask --app notebook init-demo`: something to read on the first day."""

import sqlite3
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from dependency_injector.wiring import Provide, inject
from flask import current_app
from flask.cli import with_appcontext

from sqlite_container import Connection, SQLiteDict

from .container import Container

HERE = Path(__file__).parent


@click.command("init-demo")
@with_appcontext
@inject
def init_demo(
    notes: Connection = Provide[Container.notes.connection],
    audit: Connection = Provide[Container.audit.connection],
    tenants: SQLiteDict = Provide[Container.tenants.provider],
    reference: str = Provide[Container.config.databases.reference.path],
) -> None:
    """Fill the databases that are still empty, and make the reference database."""
    texts = tomllib.loads((HERE / "sample.toml").read_text(encoding="utf-8"))
    made = {"reference": make_reference(Path(current_app.instance_path, reference), texts["words"])}
    made["notes"] = fill_notebook(notes, texts["notes"])
    for name in tenants.names():
        written = texts["tenants"].get(name, [])
        made[f"tenants.{name}"] = fill_notebook(tenants[name].connection(), written)
    made["audit"] = fill_trail(audit, {"": texts["notes"], **texts["tenants"]})
    for name, new in made.items():
        click.echo(f"{name:16} {'filled' if new else 'left as it is'}")


def make_reference(path: Path, words: dict[str, list[str]]) -> bool:
    """Make the file that the app itself opens read-only; it gets its name when it is complete."""
    if path.exists():
        return False
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as db:
        db.executescript((HERE / "schema" / "reference.sql").read_text(encoding="utf-8"))
        with db:
            db.executemany(
                "INSERT INTO word (word, kind, meaning) VALUES (?, ?, ?)",
                [(word, kind, meaning) for word, (kind, meaning) in words.items()],
            )
    draft.replace(path)
    return True


def fill_notebook(db: Connection, notes: list[dict[str, Any]]) -> bool:
    """Write the notes, unless this notebook ever had one: what was deleted stays deleted."""
    with db:
        if db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'note'").fetchone():
            return False
        db.executemany(
            "INSERT INTO note (title, body, author, created) VALUES (?, ?, ?, ?)",
            [(n["title"], n["body"].strip(), n["author"], ago(n["hours"])) for n in notes],
        )
    return True


def fill_trail(db: Connection, notebooks: dict[str, list[dict[str, Any]]]) -> bool:
    entries = [
        (ago(note["hours"]), note["author"], name, number, note["title"])
        for name, notes in notebooks.items()
        for number, note in enumerate(notes, 1)
    ]
    with db:
        if db.execute("SELECT 1 FROM entry").fetchone():
            return False
        db.executemany(
            "INSERT INTO entry (at, who, action, notebook, note_id, title)"
            " VALUES (?, ?, 'wrote', ?, ?, ?)",
            sorted(entries),
        )
    return True


def ago(hours: float) -> str:
    return f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
