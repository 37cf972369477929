"""What the tests of the temporary databases share: a shop, and what to do with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from sqlite_container import Database, SQLite, SQLiteDict

PATIENCE = 20.0
"""Seconds after which a test believes that something hangs."""


class Service:
    """Holds a database for good."""

    def __init__(self, database: Database) -> None:
        self.database = database


class Shop(containers.DeclarativeContainer):
    """A database of each kind: written, only read, in memory, named by the configuration."""

    config = providers.Configuration(strict=True)
    notes = SQLite(config.databases.notes)
    words = SQLite(config.databases.words)
    cache = SQLite(config.databases.cache)
    tenants = SQLiteDict(config.tenants)
    service = providers.Singleton(Service, notes.database)


def make(folder: Path, **notes: object) -> Any:
    """A shop on the files of a folder."""
    schema = str(folder / "notes.sql")
    container = Shop()
    container.config.from_dict(
        {
            "databases": {
                "notes": {"path": str(folder / "notes.db"), "schema": schema, **notes},
                "words": {"path": str(folder / "words.db"), "mode": "ro"},
                "cache": ":memory:",
            },
            "tenants": {"acme": {"path": str(folder / "{name}.db"), "schema": schema}},
        }
    )
    return container


def add(database: Database) -> None:
    """Write one row, in a transaction of its own."""
    with database.transaction() as db:
        db.execute("INSERT INTO note VALUES ('x')")


def count(database: Database, table: str = "note") -> int:
    """How many rows a new reader sees."""
    with database.reader() as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def content(folder: Path) -> dict[str, bytes]:
    """The database files of a folder, as they are on disk."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.db*"))}


def run_script(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which sees this module as ``testing.helpers``."""
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
