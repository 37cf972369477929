"""The peers of the request benchmarks, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from served import Served

NOTHING = "no database"
FLOOR = "one global connection"
LIBRARY = "this library, .reader"
LIBRARY_WRITER = "this library, .connection"
LIBRARY_BLOCK = "this library, with block"
QUEUE_POOL = "SQLAlchemy QueuePool"
QUEUE_POOL_INJECTED = "SQLAlchemy QueuePool, @inject"
TUTORIAL = "open and close (Flask tutorial)"

_PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    NOTHING: ("peers_plain", "no_database", {}),
    FLOOR: ("peers_plain", "global_connection", {}),
    LIBRARY: ("peer_library", "create", {}),
    LIBRARY_WRITER: ("peer_library", "create", {"reader": False}),
    LIBRARY_BLOCK: ("peer_library", "create_blocks", {}),
    TUTORIAL: ("peers_plain", "open_and_close", {}),
    "Flask-SQLAlchemy": ("peers_packages", "flask_sqlalchemy", {}),
    "Flask-SQLAlchemy-Lite": ("peers_packages", "flask_sqlalchemy_lite", {}),
    QUEUE_POOL: ("peers_packages", "queue_pool", {}),
    QUEUE_POOL_INJECTED: ("peer_queue_pool", "create", {}),
    "peewee pool": ("peers_packages", "peewee_pool", {}),
    "Resource with Closing": ("peer_resource", "create", {}),
    "atexit list": ("peers_plain", "atexit_list", {}),
}
NAMES = tuple(_PEERS)
OURS = (LIBRARY, LIBRARY_WRITER, LIBRARY_BLOCK)
REFERENCES = (NOTHING, FLOOR)
"""What is compared with, but no way to work: no database, or one request at a time."""


def create(name: str, path: str) -> Served:
    """The app of one peer; only its own packages are imported."""
    module, function, options = _PEERS[name]
    make: Callable[..., Served] = getattr(import_module(module), function)
    return make(path, **options)
