"""Three databases, one of each kind, as a user of the library declares them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from sqlite_container import SQLite, SQLiteDict

FOLDER = Path(os.environ["ENDS_FOLDER"])
NAMES = ("wal", "journal", "tenants.acme")
SLOW = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000)
    SELECT max(i) + (SELECT count(*) FROM entry) FROM n
"""
ROWS = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000)
    SELECT i + (SELECT count(*) FROM entry) FROM n
"""


class Container(containers.DeclarativeContainer):
    config = providers.Configuration(strict=True)
    wal = SQLite(config.databases.wal)
    journal = SQLite(config.databases.journal)
    tenants = SQLiteDict(config.tenants)


def make_container() -> Container:
    """A container with its settings; the environment may change some of them."""
    common: dict[str, Any] = {
        "schema": str(Path(__file__).with_name("schema.sql")),
        "synchronous": os.environ.get("ENDS_SYNCHRONOUS", "full"),
    }
    for setting in ("shutdown_timeout", "statement_timeout"):
        if seconds := os.environ.get(f"ENDS_{setting.upper()}"):
            common[setting] = float(seconds)
    container = Container()
    container.config.from_dict(
        {
            "databases": {
                "wal": {"path": str(FOLDER / "wal.db"), **common},
                "journal": {
                    "path": str(FOLDER / "journal.db"),
                    "journal_mode": "delete",
                    **common,
                },
            },
            "tenants": {"acme": {"path": str(FOLDER / "{name}.db"), **common}},
        }
    )
    return container


def member(container: Any, name: str) -> Any:
    """One of the three by its name."""
    return container.tenants["acme"] if name == "tenants.acme" else getattr(container, name)


def mark(what: str) -> None:
    """Tell the test outside that this point is reached."""
    (FOLDER / f"mark-{what}-{os.getpid()}").touch()


def limit_life() -> None:
    """End this process and every fork of it after a minute, whatever happens to the test."""
    seconds = int(os.environ.get("ENDS_SECONDS", "60"))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    os.register_at_fork(after_in_child=lambda: signal.alarm(seconds) and None)
