"""The peers of the request benchmarks, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from peers.web_app import Served

NOTHING = "no database"
FLOOR = "one global connection"
LIBRARY = "this library, .reader"
LIBRARY_WRITER = "this library, .connection"
LIBRARY_BLOCK = "this library, with block"
QUEUE_POOL = "SQLAlchemy QueuePool"
QUEUE_POOL_INJECTED = "SQLAlchemy QueuePool, @inject"
TUTORIAL = "open and close (Flask tutorial)"

_PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    NOTHING: ("web_sqlite3", "no_database", {}),
    FLOOR: ("web_sqlite3", "global_connection", {}),
    LIBRARY: ("web_library", "create", {}),
    LIBRARY_WRITER: ("web_library", "create", {"reader": False}),
    LIBRARY_BLOCK: ("web_library", "create_blocks", {}),
    TUTORIAL: ("web_sqlite3", "open_and_close", {}),
    "Flask-SQLAlchemy": ("web_packages", "flask_sqlalchemy", {}),
    "Flask-SQLAlchemy-Lite": ("web_packages", "flask_sqlalchemy_lite", {}),
    QUEUE_POOL: ("web_packages", "queue_pool", {}),
    QUEUE_POOL_INJECTED: ("web_queue_pool", "create", {}),
    "peewee pool": ("web_packages", "peewee_pool", {}),
    "Resource with Closing": ("web_resource", "create", {}),
    "atexit list": ("web_sqlite3", "atexit_list", {}),
}
NAMES = tuple(_PEERS)
OURS = (LIBRARY, LIBRARY_WRITER, LIBRARY_BLOCK)
REFERENCES = (NOTHING, FLOOR)
"""What is compared with, but no way to work: no database, or one request at a time."""


def create(name: str, path: str) -> Served:
    """The app of one peer; only its own packages are imported."""
    module, function, options = _PEERS[name]
    make: Callable[..., Served] = getattr(import_module(f"peers.{module}"), function)
    return make(path, **options)
